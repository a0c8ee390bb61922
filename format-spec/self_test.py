"""The reader's self-test: `reader.py --self-test`. Builds small stores, breaks them, and compares what the reader says.

The encoder here takes offsets and sizes from the tables of the pages too, so it proves the reader's rules, not the layout; the
layout is proved by the worked examples and by the golden stores, which another program wrote.
"""

import itertools
import json
import os
import random
import tempfile

from reader import P64_1, PageError, Pages, Refused, crc32, read_store, seeded, warm_entries_crc, xxh3_64


class Writer:
    """A small encoder for test stores, by the same tables. Writes what it is told, sensible or not."""

    STORE, SALT = bytes(range(16)), 0x0123456789ABCDEF

    def __init__(self, fmt):
        self.fmt, self.files = fmt, {}
        file = bytearray(fmt.identity_file.size)
        for copy, name in enumerate("ab"):
            values = dict(
                format_version=fmt.format_version, store_id=self.STORE, hash_salt=self.SALT, epoch_unix_s=1000,
                hash_kind=fmt.hash_kind, checksum_kind=fmt.checksum_kind, align_log2=fmt.align_log2, copy=copy,
            )
            self.put(file, fmt.identity_file.at(f"copy_{name}"), fmt.identity, bytes(16), values)
        self.files["identity"] = file

    def put(self, file, offset, structure, seed, values, behind=b""):
        """`behind`: what stands behind the structure and is under its checksum too."""
        raw = structure.encode(values) + behind
        raw[0:4] = seeded(seed, offset, raw).to_bytes(4, "little")
        if len(file) < offset + len(raw):
            file.extend(bytes(offset + len(raw) - len(file)))
        file[offset : offset + len(raw)] = raw

    def warm_list(self, entries, **changed):
        """A list of (key hash, popularity); fields of its header may be told."""
        fmt = self.fmt
        raw = b"".join(bytes(fmt.warm_entry.encode(dict(subject=s, popularity=p, kind=k))) for s, p, k in entries)
        values = dict(
            format_version=fmt.format_version, store_id=self.STORE, entry_count=len(entries),
            entries_crc=warm_entries_crc(fmt, self.STORE, raw),
        )
        file = self.files["warm"] = bytearray()
        self.put(file, 0, fmt.warm, self.STORE, {**values, **changed})
        file += raw
        return file

    def counters(self, *pages, **head):
        """A file with a head, of which fields may be told, and these pages: (sequence, text, cells, changed fields)."""
        fmt, places = self.fmt, self.fmt.counters_file
        file = self.files["counters"] = bytearray(places.size)
        place_len = places.fields["place_a"].size
        values = dict(format_version=fmt.format_version, place_len=place_len, store_id=self.STORE)
        self.put(file, 0, fmt.counters_head, self.STORE, {**values, **head})
        for sequence, text, cells, changed in pages:
            body = text + b"".join(bytes(fmt.counters_segment.encode(cell)) for cell in cells)
            offset = places.at("place_a" if sequence % 2 else "place_b")
            start = offset + fmt.counters_page.size
            file[start : start + len(body)] = body
            values = dict(
                sequence=sequence, written_unix_ms=5, opened_unix_ms=4, process_id=3, state=fmt.counters_state_open,
                body_crc=crc32(self.STORE, start.to_bytes(8, "little"), body), text_len=len(text), cell_count=len(cells),
            )
            self.put(file, offset, fmt.counters_page, self.STORE, {**values, **changed})
        return file


class WriterSegment:
    """One segment being written. `after`: the segment it links to, or None; `link=False`: a spare."""

    def __init__(self, writer, number, after=None, link=True, life=0):
        self.w, self.fmt, self.number = writer, writer.fmt, number
        fmt = self.fmt
        self.uid = bytes([number, life]) + b"uid-for-a-test"
        self.name = f"segment-{number:010}.log"
        self.len = fmt.segment_len_min_bytes
        self.file = writer.files[self.name] = bytearray(self.len)
        values = dict(
            uid=self.uid, store_id=writer.STORE, segment_number=number, format_version=fmt.format_version,
            segment_len_bytes=self.len, clock_mark=1,
        )
        for name in "ab":
            writer.put(self.file, fmt.front.at(f"header_{name}"), fmt.header, writer.STORE, values)
        self.link = dict(predecessor_number=0, predecessor_uid=bytes(16), predecessor_last_seqno=0, predecessor_end_offset=0)
        if after is not None:
            self.link = dict(
                predecessor_number=after.number, predecessor_uid=after.uid,
                predecessor_last_seqno=after.seqno - 1, predecessor_end_offset=after.end,
            )
        self.first = self.seqno = self.link["predecessor_last_seqno"] + 1
        self.end, self.entries, self.offsets = fmt.front.size, [], {}
        self.synced = 0
        if link:
            self.write_links()

    def write_links(self):
        fmt = self.fmt
        for name in "ab":
            offset = fmt.front.at(f"link_{name}")
            head = dict(first_seqno=self.first, body_len=fmt.link.size, kind=fmt.batch_kind_link)
            self.w.put(self.file, offset, fmt.batch, self.uid, head)
            self.w.put(self.file, offset + fmt.batch.size, fmt.link, self.uid, self.link)

    def batch(self, *events):
        """Events: ("put", key, value) | ("tombstone", key) | ("clear",). The batch's offset.

        Behind these up to three, an expiry, 0 too, gives any of them an expiry; None, or nothing, gives none.
        """
        fmt, start = self.fmt, self.end
        at = start + fmt.batch.size
        for kind, key, value, expiry in (e + (b"",) * (3 - len(e)) + (None,) * (len(e) < 4) for e in events):
            flags = 0 if expiry is None else 1 << fmt.flags.at("expires")
            behind = b"" if expiry is None else bytes(fmt.expiry.encode(dict(expiry=expiry)))
            key_hash = 0 if kind == "clear" else xxh3_64(key, self.w.SALT)
            payload = key + value if kind == "put" else b""
            values = dict(
                payload_crc=crc32(payload), key_hash=key_hash, value_len=len(value), flags=flags,
                key_len=len(key) if kind == "put" else 0, kind=getattr(fmt, f"record_kind_{kind}"),
            )
            self.w.put(self.file, at, fmt.record, self.uid, values, behind)
            body = at + fmt.record.size + len(behind)
            self.file[body : body + len(payload)] = payload
            self.entries.append((key_hash, at, values["kind"]))
            self.offsets[self.seqno + len(self.offsets_of_batch(start))] = at
            at = fmt.up(body + len(payload))
        values = dict(
            first_seqno=self.seqno, synced_through=self.synced, body_len=at - start - fmt.batch.size,
            record_count=len(events), clock_mark=2, kind=fmt.batch_kind_records,
        )
        self.w.put(self.file, start, fmt.batch, self.uid, values)
        self.seqno += len(events)
        self.end = at
        return start

    def offsets_of_batch(self, start):
        return [o for o in self.offsets.values() if o > start]

    def sync(self):
        self.synced = self.seqno - 1
        return self.batch()

    def seal(self, damaged_count=0):
        fmt = self.fmt
        raw = b""
        for key_hash, at, kind in self.entries:
            place = (at // fmt.align) << fmt.place.at("place_units") | kind << fmt.place.at("kind")
            raw += bytes(fmt.entry.encode(dict(key_hash=key_hash, place=place)))
        del self.file[self.end :]
        self.file += raw + bytes(-len(raw) % fmt.align)
        values = dict(
            self.link, uid=self.uid, store_id=self.w.STORE, segment_number=self.number, format_version=fmt.format_version,
            segment_len_bytes=self.len, clock_mark=2, first_seqno=self.first, last_seqno=self.seqno - 1,
            data_end_offset=self.end, entry_count=len(self.entries), damaged_count=damaged_count,
            entries_crc=crc32(self.uid, self.end.to_bytes(8, "little"), raw),
        )
        self.w.put(self.file, len(self.file), fmt.tail, self.w.STORE, values)
        return self


class SelfTest:
    """Each method is a sentence. A failed one names itself, and the seed if it has one."""

    def __init__(self, pages, fmt):
        self.pages, self.fmt = pages, fmt

    def run(self):
        failed, names = [], [name for name in dir(self) if name.startswith("test_")]
        for name in names:
            try:
                getattr(self, name)()
            except Exception as error:  # A test may fail in any way; the others still run.
                failed.append(f"{name}: {type(error).__name__}: {error}")
        return len(names), failed

    def read(self, writer, now=None):
        with tempfile.TemporaryDirectory() as folder:
            for name, data in writer.files.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(data)
            return read_store(self.fmt, folder, now)

    def expect(self, writer, labels, live, damages=None, **more):
        result = self.read(writer)
        got = {bytes.fromhex(k): bytes.fromhex(v["value_hex"]) for k, v in result["live"].items()}
        self.same([v["label"] for v in result["verdicts"]], labels, "verdicts")
        self.same(got, live, "live")
        if damages is not None:
            self.same([d["structure"] for d in result["damages"]], damages, "damages")
        for name, value in more.items():
            self.same(result[name], value, name)
        return result

    @staticmethod
    def same(found, expected, what):
        if found != expected:
            raise AssertionError(f"{what}: expected {expected}, found {found}")

    @staticmethod
    def flip(file, offset):
        file[offset] ^= 0x40

    def store(self):
        """Segment 1: a=1, b=1, sealed. Segment 2: a=2, synced, unsealed."""
        w = Writer(self.fmt)
        s1 = WriterSegment(w, 1)
        s1.batch(("put", b"a", b"1"), ("put", b"b", b"1"))
        s1.sync()
        s1.seal()
        s2 = WriterSegment(w, 2, s1)
        s2.batch(("put", b"a", b"2"))
        s2.sync()
        return w, s1, s2

    # -- key hash and pages

    def test_key_hash_agrees_with_published_values_in_every_length_class(self):
        expected = {
            0: 0x07F70F819703314D, 1: 0x719AE0FC4EB5DB08, 3: 0x06EE5108FC24830D, 4: 0x0C174CFF88ABC81D, 8: 0x1213D3FCD935724D,
            9: 0x37A4CD6CDD4F83EF, 16: 0x4370FDFF206BD0A8, 17: 0x6F592F36FE656A73, 128: 0x8DA2786FF9B61115, 129: 0x64F48A3811D20C14,
            240: 0xD703E47F2AA5C7A3, 241: 0x0190F591BC57435F, 1024: 0x247D14B2A4355674, 1025: 0x2E7FE58CCC749F32, 2049: 0x725E6A1944910F0E,
        }
        for length, value in expected.items():
            data = bytes(i * 7 & 255 for i in range(length))
            self.same(xxh3_64(data, P64_1), value, f"{length} bytes")
        self.same(xxh3_64(b"", 0), 0x2D06800538D394C2, "nothing, seed 0")

    def test_a_table_with_a_gap_an_overlap_or_a_wrong_sum_is_refused(self):
        row = "| {} | {} | {} | m | b |"
        head = "<!-- structure: t, 8 bytes -->\n| offset | size | name | meaning | on bad value |\n" + "| --- " * 5 + "|\n"
        a = (0, 4, "a")
        for rows in ((a, (5, 3, "b")), (a, (3, 5, "b")), (a, (4, 2, "b")), (a, (4, 4, "a"))):
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "t.md"), "w", encoding="utf-8") as file:
                    file.write(head + "\n".join(row.format(*r) for r in rows) + "\n")
                try:
                    Pages(folder)
                except PageError:
                    continue
                raise AssertionError(f"{rows} was accepted")

    # -- what a good store says

    def test_an_empty_store_has_no_end_and_starts_at_seqno_1(self):
        w = Writer(self.fmt)
        self.expect(w, [], {}, [], log_end=None, next_seqno=1, synced_max=0)

    def test_a_later_put_wins_and_a_tombstone_and_a_clear_hide(self):
        w, _, s2 = self.store()
        result = self.expect(w, ["S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [], next_seqno=4, synced_max=3)
        self.same(result["log_end"], {"segment": 2, "offset": s2.end}, "log end")
        s2.batch(("tombstone", b"b"))
        self.expect(w, ["S-TRUST", "S-SCAN"], {b"a": b"2"}, [], next_seqno=5)
        s2.batch(("clear",), ("put", b"", b""))
        self.expect(w, ["S-TRUST", "S-SCAN"], {b"": b""}, [], next_seqno=7)

    def test_footers_and_a_scan_of_the_same_bytes_say_the_same(self):
        w, s1, s2 = self.store()
        s2.batch(("put", b"c", b"3"), ("tombstone", b"b"), ("put", b"long" * 100, bytes(300)))
        s2.sync()
        scanned = self.read(w)
        s2.seal()
        sealed = self.read(w)
        for key in ("live", "log_end", "next_seqno", "synced_max", "damages"):
            self.same(sealed[key], scanned[key], key)
        self.same([v["label"] for v in sealed["verdicts"]], ["S-TRUST", "S-TRUST"], "verdicts")
        self.same(sealed["segments"][1]["records"], scanned["segments"][1]["records"], "records")

    def test_a_spare_is_removed_and_two_of_them_are(self):
        w, _, s2 = self.store()
        WriterSegment(w, 3, link=False)
        self.expect(w, ["S-SPARE", "S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [])
        WriterSegment(w, 4, link=False)
        self.expect(w, ["S-SPARE", "S-SPARE", "S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [])

    def test_expiry_and_a_clock_far_behind_are_judged_only_when_asked(self):
        w, _, s2 = self.store()
        s2.batch(("put", b"c", b"3", 50))
        self.same(sorted(bytes.fromhex(k) for k in self.read(w)["live"]), [b"a", b"b", b"c"], "no clock")
        self.same(sorted(bytes.fromhex(k) for k in self.read(w, 1049)["live"]), [b"a", b"b", b"c"], "just before")
        self.same(sorted(bytes.fromhex(k) for k in self.read(w, 1050)["live"]), [b"a", b"b"], "at expiry")
        values = dict(first_seqno=s2.seqno, clock_mark=self.fmt.clock_ahead_max_s + 60, kind=self.fmt.batch_kind_records)
        w.put(s2.file, s2.end, self.fmt.batch, s2.uid, values)
        self.same(self.read(w, 1059)["live"], {}, "clock far behind")
        self.same(len(self.read(w, 1060)["live"]), 2, "clock just not far enough behind")

    # -- the expiry behind a record's header

    # What must not get through: an expiry of 0, and any in what is no put.
    NO_EXPIRY = [("put", b"b", b"9", 0), ("tombstone", b"b", b"", 50), ("clear", b"", b"", 50), ("clear", b"", b"", 0)]

    def test_a_record_has_an_expiry_or_none_and_is_longer_by_it(self):
        fmt, most = self.fmt, (1 << 32) - 1
        for expiry in (None, 1, 3600, most):
            for value in (b"", b"v", b"four", b"v" * 300):
                w, _, s2 = self.store()
                at = s2.batch(("put", b"c", value, expiry), ("put", b"d", b"4", 7)) + fmt.batch.size
                for seal in (s2.sync, s2.seal):
                    seal()
                    result = self.read(w)
                    self.same([d["structure"] for d in result["damages"]], [], "damages")
                    first, second = [r for r in result["segments"][1]["records"] if r["offset"] >= at]
                    flags = fmt.flags.decode_bits(first["flags"])
                    self.same((first["expiry"], flags["expires"]), (expiry or 0, int(expiry is not None)), "record")
                    self.same((first["header_ok"], first["payload_ok"], first["key_hash_ok"]), (True, True, True), "record")
                    header = fmt.record.size + (fmt.expiry.size if expiry else 0)
                    self.same(second["offset"], fmt.up(at + header + 1 + len(value)), "where the next starts")
                    self.same([result["live"][k.hex()]["expiry"] for k in (b"a", b"c", b"d")], [0, expiry or 0, 7], "live")
                    self.same(result["live"][b"c".hex()]["value_len"], len(value), "value_len")

    def test_an_expiry_of_0_and_one_in_a_tombstone_or_a_clear_are_a_bad_header(self):
        for event in self.NO_EXPIRY:
            w, _, s2 = self.store()
            s2.batch(("put", b"c", b"3"), event, ("put", b"d", b"4"))
            bad = s2.offsets[s2.seqno - 2]
            live = {b"a": b"2", b"b": b"1", b"c": b"3"}
            log_end = {"segment": 2, "offset": bad}
            self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], live, [], log_end=log_end, next_seqno=5)
            s2.sync()
            result = self.expect(w, ["S-TRUST", "S-SCAN", "V-OLDER"], {}, ["record"], next_seqno=7)
            self.same((result["damages"][0]["offset"], result["damages"][0]["field"]), (bad, "header_crc"), "damage")
            self.same([r["header_ok"] for r in result["segments"][1]["records"]], [True, True, False], "headers")

    def test_an_expiry_of_0_and_one_in_a_tombstone_are_found_in_a_sealed_segment_too(self):
        for event in self.NO_EXPIRY[:2]:
            w, _, s2 = self.store()
            s2.batch(("put", b"c", b"3"), event, ("put", b"d", b"4"))
            s2.seal()
            self.expect(w, ["S-TRUST", "S-TRUST", "V-NAMED"], {b"a": b"2", b"c": b"3", b"d": b"4"}, ["record"], next_seqno=7)

    def test_a_record_that_is_cut_inside_its_expiry_or_by_its_expiry_is_a_bad_header(self):
        fmt = self.fmt
        for key, synced in itertools.product((b"", b"12345"), (False, True)):
            w, _, s2 = self.store()
            start = s2.batch(("put", key, b"", 50))
            at, s2.end = s2.offsets[4], s2.end - fmt.align
            # The body lacks the record's last 8 bytes: its expiry, or the end of its key that would be inside if there were no expiry.
            # The next batch stands there, and the checksum covers what stands there: nothing but the length is wrong.
            values = fmt.batch.decode(s2.file[start : start + fmt.batch.size])
            w.put(s2.file, start, fmt.batch, s2.uid, {**values, "body_len": s2.end - at})
            s2.batch(("put", b"c", b"4"))
            raw = s2.file[at : at + fmt.record.size + fmt.expiry.size]
            w.put(s2.file, at, fmt.record, s2.uid, fmt.record.decode(raw), raw[fmt.record.size :])
            if synced:
                s2.sync()
                self.expect(w, ["S-TRUST", "S-SCAN", "V-OLDER"], {b"c": b"4"}, ["record"], next_seqno=6)
            else:
                log_end = {"segment": 2, "offset": at}
                live = {b"a": b"2", b"b": b"1"}
                self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], live, [], log_end=log_end, next_seqno=4)

    def test_a_file_that_ends_inside_an_expiry_ends_the_log_before_the_record(self):
        fmt = self.fmt
        for left in range(fmt.record.size + fmt.expiry.size):
            w, _, s2 = self.store()
            s2.batch(("put", b"", b"", 50))
            at = s2.offsets[4]
            del s2.file[at + left :]
            result = self.read(w)
            self.same((result["log_end"], result["next_seqno"]), ({"segment": 2, "offset": at}, 4), f"{left} bytes of the header")

    def test_each_flipped_bit_of_a_header_and_its_expiry_is_seen(self):
        fmt = self.fmt
        for expiry in (None, 1, 3600, (1 << 32) - 1):
            w, _, s2 = self.store()
            s2.batch(("put", b"c", b"a value", expiry))
            s2.sync()
            at, size = s2.offsets[4], fmt.record.size + (fmt.expiry.size if expiry else 0)
            for bit in range(8 * at, 8 * (at + size)):
                s2.file[bit // 8] ^= 1 << bit % 8
                result = self.read(w)
                self.same([v["label"] for v in result["verdicts"]], ["S-TRUST", "S-SCAN", "V-OLDER"], f"bit {bit - 8 * at}")
                self.same((result["live"], result["damages"][0]["field"]), ({}, "header_crc"), f"bit {bit - 8 * at}")
                s2.file[bit // 8] ^= 1 << bit % 8
            self.same(len(self.read(w)["live"]), 3, "unflipped")

    # -- torn tails

    def test_a_torn_batch_that_nobody_was_told_of_is_cut(self):
        for what, label in (("batch", "V-TORN"), ("record", "V-TORN"), ("payload", "V-CUT")):
            w, _, s2 = self.store()
            before = s2.end
            s2.batch(("put", b"a", b"3"), ("put", b"b", b"3"))
            second = s2.offsets[s2.seqno - 1]
            at = {"batch": before, "record": second, "payload": second + self.fmt.record.size}[what]
            self.flip(s2.file, at)
            live = {b"a": b"2", b"b": b"1"} if what == "batch" else {b"a": b"3", b"b": b"1"}
            end = before if what == "batch" else second
            log_end, next_seqno = {"segment": 2, "offset": end}, 4 if what == "batch" else 5
            self.expect(w, ["S-TRUST", "S-SCAN", label], live, [], log_end=log_end, next_seqno=next_seqno)

    def test_a_batch_behind_a_torn_one_is_cut_with_it(self):
        w, _, s2 = self.store()
        torn = s2.batch(("put", b"a", b"3"))
        s2.batch(("put", b"b", b"4"))
        self.flip(s2.file, torn)
        self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], {b"a": b"2", b"b": b"1"}, [])

    def test_a_tail_cut_at_any_length_gives_a_prefix(self):
        w, _, s2 = self.store()
        whole = bytes(s2.file)
        for length in range(self.fmt.front.size, s2.end + 1):
            w.files[s2.name] = bytearray(whole[:length])
            result = self.read(w)
            a = result["live"].get(b"a".hex(), {}).get("value_hex")
            if a not in (b"1".hex(), b"2".hex()) or b"b".hex() not in result["live"]:
                raise AssertionError(f"length {length}: {result['live']}, {result['verdicts']}")

    def test_what_was_cut_off_once_does_not_come_back_when_the_footer_is_lost(self):
        w, _, s2 = self.store()
        torn = s2.batch(("put", b"b", b"3"), ("put", b"a", b"9"))
        s2.end, s2.seqno = s2.offsets[5], 5  # Sealed inside the batch, behind b=3; a=9 was torn.
        s3 = WriterSegment(w, 3, s2)
        s3.batch(("put", b"c", b"1"))
        s3.sync()
        live = {b"a": b"2", b"b": b"3", b"c": b"1"}
        result = self.expect(w, ["S-TRUST", "S-SCAN", "S-SCAN"], live, [])
        self.same(len(result["segments"][1]["records"]), 2, "records of segment 2")
        self.same(torn < s2.end, True, "the cut is inside the batch")

    def test_a_leftover_that_links_to_another_end_of_a_sealed_segment_is_removed(self):
        w, s1, s2 = self.store()
        s2.batch(("put", b"b", b"9"))
        s3 = WriterSegment(w, 3, s2)
        s3.batch(("put", b"c", b"9"))
        s2.end, s2.seqno, s2.entries = s2.offsets[4], 4, s2.entries[:-1]
        s2.seal()
        self.expect(w, ["S-STALE", "S-TRUST", "S-TRUST"], {b"a": b"2", b"b": b"1"}, [])

    def test_a_move_of_which_nothing_reached_the_disk_ends_the_log_before_it(self):
        w, _, s2 = self.store()
        s3 = WriterSegment(w, 3, s2, link=False)
        s4 = WriterSegment(w, 4, s3)
        s4.batch(("put", b"c", b"9"))
        self.expect(w, ["S-NOLINK", "S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [], log_end={"segment": 2, "offset": s2.end})

    # -- damage

    def test_damage_below_the_mark_forgets_and_goes_on(self):
        live_of = {"batch": {b"c": b"4"}, "record": {b"c": b"4"}, "payload": {b"a": b"2", b"c": b"4"}}
        label_of = {"batch": "V-OLDER", "record": "V-OLDER", "payload": "V-KEY"}
        damage_of = {"batch": "batch_header", "record": "record", "payload": "record"}
        for what, live in live_of.items():
            w, _, s2 = self.store()
            batch = s2.batch(("put", b"b", b"3"))
            s2.sync()
            s2.batch(("put", b"c", b"4"))
            record = s2.offsets[4]
            self.flip(s2.file, {"batch": batch, "record": record, "payload": record + self.fmt.record.size}[what])
            self.expect(w, ["S-TRUST", "S-SCAN", label_of[what]], live, [damage_of[what]], next_seqno=6)

    def test_damage_at_the_very_end_below_a_later_mark_moves_the_end_behind_it(self):
        w, _, s2 = self.store()
        lost = s2.sync()
        s2.synced = 0
        self.flip(s2.file, s2.offsets[3] - self.fmt.batch.size)
        self.flip(s2.file, lost)
        self.expect(w, ["S-TRUST", "S-SCAN", "V-OLDER", "V-TORN"], {}, ["batch_header"], next_seqno=4)

    def test_a_damaged_empty_batch_below_the_mark_costs_nothing(self):
        w, _, s2 = self.store()
        void = s2.sync()
        s2.batch(("put", b"b", b"3"))
        s2.sync()
        self.flip(s2.file, void)
        self.expect(w, ["S-TRUST", "S-SCAN", "V-VOID"], {b"a": b"2", b"b": b"3"}, ["batch_header"], next_seqno=5)

    def test_what_a_segment_that_is_cut_off_says_of_durability_still_counts(self):
        w, s1, s2 = self.store()
        lost = s2.batch(("put", b"a", b"3"))
        s3 = WriterSegment(w, 3, s2, link=False)
        s3.synced = s2.seqno - 1
        s3.batch(("put", b"c", b"1"))
        live = {b"a": b"3", b"b": b"1"}
        self.expect(w, ["S-NOLINK", "S-TRUST", "S-SCAN"], live, [], log_end={"segment": 2, "offset": s2.end}, synced_max=4)
        self.flip(s2.file, lost)
        self.expect(w, ["S-NOLINK", "S-TRUST", "S-SCAN", "V-OLDER"], {}, ["batch_header"], next_seqno=5)
        del s2.file[lost:]
        self.expect(w, ["S-NOLINK", "S-TRUST", "S-SCAN", "V-OLDER"], {}, next_seqno=1, log_end=None)

    def test_the_clock_mark_of_a_footer_and_of_a_header_count(self):
        w, s1, s2 = self.store()
        del w.files[s2.name]
        self.same(self.read(w)["clock_mark"], 2, "clock mark of the footer")
        WriterSegment(w, 2, s1, link=False)
        values = self.fmt.header.decode(w.files[s2.name][: self.fmt.header.size])
        w.put(w.files[s2.name], 0, self.fmt.header, w.STORE, {**values, "clock_mark": 9})
        self.same(self.read(w)["clock_mark"], 9, "clock mark of the spare")

    def test_damage_in_a_sealed_segment_forgets_one_key(self):
        for what, label in (("batch", None), ("record", "V-NAMED"), ("payload", "V-KEY")):
            w, s1, s2 = self.store()
            at = {"batch": self.fmt.front.size, "record": s1.offsets[2], "payload": s1.offsets[2] + self.fmt.record.size}[what]
            self.flip(s1.file, at)
            live = {b"a": b"2", b"b": b"1"} if what == "batch" else {b"a": b"2"}
            labels = ["S-TRUST", label, "S-SCAN"] if label else ["S-TRUST", "S-SCAN"]
            result = self.expect(w, labels, live, ["batch_header" if what == "batch" else "record"])
            self.same(len(result["segments"][0]["records"]), 2, "records")

    def test_a_bad_footer_is_replaced_by_a_scan(self):
        for back in (1, 60, self.fmt.tail.size + 10):
            w, s1, s2 = self.store()
            self.flip(s1.file, len(s1.file) - back)
            expected = ["footer_tail"]
            self.expect(w, ["S-SCAN", "S-SCAN"], {b"a": b"2", b"b": b"1"}, expected)

    def test_entries_that_stand_for_damage_are_the_events(self):
        w, s1, s2 = self.store()
        self.flip(s2.file, s2.offsets[3])
        key_hash, at, _ = s2.entries[0]
        s2.entries[0] = (0, at, self.fmt.record_kind_clear)
        s2.seal(damaged_count=1)
        self.expect(w, ["S-TRUST", "S-TRUST"], {}, ["record"])
        s2.entries[0] = (key_hash, at, self.fmt.record_kind_tombstone)
        s2.seal(damaged_count=1)
        self.expect(w, ["S-TRUST", "S-TRUST"], {b"b": b"1"}, ["record"])

    def test_one_bad_copy_of_anything_costs_nothing(self):
        for file, place in (("identity", 0), ("identity", self.fmt.identity_file.at("copy_b"))):
            w, _, _ = self.store()
            self.flip(w.files[file], place + 20)
            self.expect(w, ["S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, ["identity"])
        for where in ("header_a", "header_b", "link_a", "link_b"):
            w, _, s2 = self.store()
            self.flip(s2.file, self.fmt.front.at(where) + 60)
            structure = "segment_header" if where.startswith("header") else "link_batch"
            self.expect(w, ["S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [structure])

    def test_a_lost_link_forgets_if_synced_and_cuts_if_not(self):
        w, _, s2 = self.store()
        for where in ("link_a", "link_b"):
            self.flip(s2.file, self.fmt.front.at(where) + 60)
        self.expect(w, ["S-NOLINK"], {b"a": b"2"}, ["link_batch", "link_batch"], next_seqno=4)
        w, s1, s2 = self.store()
        del w.files[s2.name]
        s2 = WriterSegment(w, 2, s1, link=False)
        s2.batch(("put", b"a", b"3"))
        self.expect(w, ["S-NOLINK", "S-TRUST"], {b"a": b"1", b"b": b"1"}, [], log_end={"segment": 1, "offset": s1.end})

    def test_a_missing_or_unreadable_middle_forgets_all_older(self):
        for how in ("missing", "unreadable"):
            w, s1, s2 = self.store()
            s3 = WriterSegment(w, 3, s2)
            s3.batch(("put", b"c", b"1"))
            if how == "missing":
                del w.files[s2.name]
            else:
                w.files[s2.name] = bytearray(100)
            result = self.expect(w, ["S-HOLE", "S-SCAN"], {b"c": b"1"})
            fates = {s["number"]: s["fate"] for s in result["segments"]}
            self.same((fates[1], fates[3]), ("forgotten", "kept"), "fates")

    def test_an_unreadable_newest_segment_forgets_everything(self):
        w, _, s2 = self.store()
        w.files[s2.name] = bytearray(b"\xff" * 5000)
        self.expect(w, ["S-HOLE"], {}, log_end=None, next_seqno=1)

    def test_a_retired_oldest_segment_is_no_hole(self):
        w, s1, _ = self.store()
        del w.files[s1.name]
        self.expect(w, ["S-SCAN"], {b"a": b"2"}, [])

    def test_a_predecessor_of_another_life_is_forgotten(self):
        w, s1, s2 = self.store()
        other = WriterSegment(w, 1, life=7)
        other.batch(("put", b"b", b"9"))
        other.sync()
        other.seal()
        self.expect(w, ["S-SPLIT", "S-SCAN"], {b"a": b"2"}, ["segment_file"])

    def test_events_missing_before_the_end_that_a_link_names_are_judged_by_the_mark(self):
        for synced in (True, False):
            w, _, s2 = self.store()
            lost = s2.batch(("put", b"b", b"5"))
            s3 = WriterSegment(w, 3, s2)
            s3.batch(("put", b"c", b"1"))
            if synced:
                s3.sync()
            s2.file[lost : s2.end] = bytes(s2.end - lost)
            if synced:
                self.expect(w, ["S-TRUST", "S-SCAN", "V-OLDER", "S-SCAN"], {b"c": b"1"}, ["batch_header"], next_seqno=6)
            else:
                log_end = {"segment": 2, "offset": lost}
                self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], {b"a": b"2", b"b": b"1"}, [], log_end=log_end)

    # -- the warm list

    WARM = [(xxh3_64(b"a", Writer.SALT), 3, 0), (7, 0, 0), (xxh3_64(b"b", Writer.SALT), 255, 0), (752 << 32 | 1, 2, 1), (9, 9, 9)]

    def expect_warm(self, writer, verdict_offset, structures):
        """Whatever the list is like, the log says the same. `verdict_offset` None: it verifies."""
        labels = ["S-TRUST", "S-SCAN"] + ([] if verdict_offset is None else ["W-LIST"])
        result = self.expect(writer, labels, {b"a": b"2", b"b": b"1"}, structures, next_seqno=4)
        if verdict_offset is not None:
            self.same(result["verdicts"][-1], {"label": "W-LIST", "file": "warm", "offset": verdict_offset}, "verdict")
            self.same((result["warm_list"]["verified"], result["warm_list"]["entries"]), (False, None), "warm list")
        return result

    def test_a_warm_list_is_read_in_order_and_may_be_missing_or_empty(self):
        w, _, _ = self.store()
        self.same(self.expect_warm(w, None, [])["warm_list"], None, "no warm list")
        for entries in ([], self.WARM):
            file = w.warm_list(entries)
            shown = self.expect_warm(w, None, [])["warm_list"]
            self.same(shown["entries"], [{"subject": s, "popularity": p, "kind": k} for s, p, k in entries], "entries")
            self.same((shown["file_len"], shown["verified"]), (len(file), True), "warm list")
            self.same((shown["header"]["entry_count"], shown["header"]["store_id"]), (len(entries), w.STORE.hex()), "header")

    def test_any_fault_of_a_warm_list_means_only_that_it_is_ignored(self):
        w, _, _ = self.store()
        file = w.warm_list(self.WARM)
        for bit in range(8 * len(file)):
            file[bit // 8] ^= 1 << bit % 8
            self.expect_warm(w, 0 if bit < 8 * self.fmt.warm.size else self.fmt.warm.size, ["warm_header"])
            file[bit // 8] ^= 1 << bit % 8
        for length in range(len(file)):
            w.files["warm"] = file[:length]
            self.expect_warm(w, 0, ["warm_header"])
        w.files["warm"] = file + b"\0"
        self.expect_warm(w, 0, ["warm_header"])

    def test_a_warm_list_of_another_store_or_version_is_ignored_and_no_reason_to_refuse(self):
        most = self.fmt.warm_entry_count_max
        changes = [
            dict(store_id=bytes(16)), dict(format_version=2), dict(format_version=0), dict(required_features=1),
            dict(entry_count=most + 1), dict(entry_count=(1 << 64) - 1),
        ]
        for change in changes:
            w, _, _ = self.store()
            w.warm_list(self.WARM, **change)
            result = self.expect_warm(w, 0, ["warm_header"])
            self.same(result["damages"][0]["field"], next(iter(change)), "field")

    # -- the page of counters

    CELLS = [dict(first_number=1, segment_count=1, state=4, charged_bytes=9, data_bytes=8, event_count=7, live_count=6)]
    PAGES = [(7, b'{"stats":{}}    ', CELLS, {}), (8, b" " * 32, CELLS * 3, {})]

    def expect_counters(self, writer, ours, sequence):
        """Whatever the file is like, the log says the same, and nothing of it is damage."""
        result = self.expect(writer, ["S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [], next_seqno=4)
        shown = result["counters"]
        found = shown["page"]["sequence"] if shown["page"] else None
        self.same((shown["ours"], found), (ours, sequence), "counters")
        return shown["page"]

    def test_the_newer_page_of_counters_is_read_and_the_older_if_that_does_not_verify(self):
        w, _, _ = self.store()
        self.same("counters" in self.read(w), False, "no file")
        file = w.counters(*self.PAGES)
        page = self.expect_counters(w, True, 8)
        self.same((bytes.fromhex(page["text"]), page["segments"]), (b" " * 32, self.CELLS * 3), "page")
        newer = self.fmt.counters_file.at("place_b")
        for at in range(newer, newer + self.fmt.counters_page.size + 32 + 3 * self.fmt.counters_segment.size):
            file[at] ^= 4
            self.expect_counters(w, True, 7)
            file[at] ^= 4
        file[self.fmt.counters_file.at("place_a")] ^= 1
        self.expect_counters(w, True, 8)
        file[newer] ^= 1
        self.expect_counters(w, True, None)

    def test_a_file_that_is_not_of_this_store_is_somebody_elses(self):
        w, _, _ = self.store()
        file = w.counters(*self.PAGES)
        for bit in range(8 * self.fmt.counters_head.size):
            file[bit // 8] ^= 1 << bit % 8
            self.expect_counters(w, False, None)
            file[bit // 8] ^= 1 << bit % 8
        for other in (b"", b"3 apples", bytes(len(file))):
            w.files["counters"] = bytearray(other)
            self.expect_counters(w, False, None)

    def test_a_page_of_a_later_version_or_with_lengths_that_lie_is_not_believed(self):
        for change in (dict(format_version=2), dict(required_features=1), dict(place_len=4096), dict(store_id=bytes(16))):
            w, _, _ = self.store()
            w.counters(*self.PAGES, **change)
            self.expect_counters(w, True, None)
        lies = [dict(text_len=28), dict(text_len=24), dict(text_len=1 << 16), dict(cell_count=(1 << 32) - 1)]
        for change in lies + [dict(state=3), dict(state=0), dict(sequence=9)]:
            w, _, _ = self.store()
            sequence, text, cells, _ = self.PAGES[1]
            w.counters(self.PAGES[0], (sequence, text, cells, change))
            self.expect_counters(w, True, 7)
        for change in (dict(segment_count=0), dict(state=0), dict(state=5)):
            w, _, _ = self.store()
            w.counters(self.PAGES[0], (8, b"", [{**self.CELLS[0], **change}], {}))
            self.expect_counters(w, True, 7)

    # -- hostile and foreign bytes

    def test_every_flipped_bit_gives_the_newest_value_or_a_miss(self):
        w, s1, s2 = self.store()
        s2.sync()
        s2.sync()  # The mark stands three times, so that one flip does not lose it.
        fine = {b"a".hex(): b"2".hex(), b"b".hex(): b"1".hex()}
        for segment in (s1, s2):
            end = len(segment.file) if segment is s1 else segment.end
            for offset in range(end):
                segment.file[offset] ^= 1 << (offset % 8)
                result = self.read(w)
                got = {k: v["value_hex"] for k, v in result["live"].items()}
                if any(fine.get(k) != v for k, v in got.items()):
                    raise AssertionError(f"{segment.name} byte {offset}: {got}, {result['verdicts']}")
                segment.file[offset] ^= 1 << (offset % 8)

    def test_bytes_of_another_place_or_another_file_do_not_verify(self):
        w, s1, s2 = self.store()
        copy = s1.file[self.fmt.front.size : s1.end]
        s2.file[s2.end : s2.end + len(copy)] = copy
        self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], {b"a": b"2", b"b": b"1"}, [])

    def test_a_store_from_the_future_is_refused_and_a_damaged_identity_too(self):
        cases = [(dict(format_version=2), "unsupported"), (dict(required_features=4), "unsupported"), (dict(hash_kind=2), "unsupported")]
        for change, kind in cases + [(None, "corrupt")]:
            w, _, _ = self.store()
            for copy, name in enumerate("ab"):
                at = self.fmt.identity_file.at(f"copy_{name}")
                values = self.fmt.identity.decode(w.files["identity"][at : at + self.fmt.identity.size])
                if change:
                    w.put(w.files["identity"], at, self.fmt.identity, bytes(16), {**values, **change})
                else:
                    self.flip(w.files["identity"], at)
            try:
                self.read(w)
            except Refused as refused:
                self.same(refused.report["kind"], kind, "kind")
                continue
            raise AssertionError(f"{change} was accepted")

    def test_lengths_that_lie_are_bounded(self):
        w, _, s2 = self.store()
        huge = dict(first_seqno=s2.seqno, body_len=0xFFFFFFF0, record_count=0xFFFFFFFF, kind=self.fmt.batch_kind_records)
        w.put(s2.file, s2.end, self.fmt.batch, s2.uid, huge)
        self.expect(w, ["S-TRUST", "S-SCAN", "V-TORN"], {b"a": b"2", b"b": b"1"}, [])

    def test_other_files_are_ignored_and_ours_are_named(self):
        w, _, _ = self.store()
        others = ["notes.txt", "segment-0000000000.log", "segment-1.log", "segment-4294967296.log"]
        temporaries = ["counters.tmp", "identity.tmp", "segment-0000000009.tmp", "warm.tmp"]
        for name in others + temporaries + ["lock"]:
            w.files[name] = bytearray(b"x")
        files = self.read(w)["files"]
        self.same(files["removable"], temporaries, "removable")
        self.same(files["ignored"], others, "ignored")

    def test_unknown_optional_features_are_no_reason_to_refuse(self):
        w, _, _ = self.store()
        for copy in "ab":
            at = self.fmt.identity_file.at(f"copy_{copy}")
            values = self.fmt.identity.decode(w.files["identity"][at : at + self.fmt.identity.size])
            w.put(w.files["identity"], at, self.fmt.identity, bytes(16), {**values, "optional_features": 1 << 63})
        self.expect(w, ["S-TRUST", "S-SCAN"], {b"a": b"2", b"b": b"1"}, [])

    def test_a_segment_from_the_future_is_refused(self):
        w, _, s2 = self.store()
        values = self.fmt.header.decode(s2.file[: self.fmt.header.size])
        w.put(s2.file, 0, self.fmt.header, w.STORE, {**values, "format_version": 2})
        try:
            self.read(w)
        except Refused as refused:
            self.same((refused.report["kind"], refused.report["file"]), ("unsupported", s2.name), "refusal")
        else:
            raise AssertionError("it was accepted")

    def test_a_symbolic_link_is_refused(self):
        w, _, s2 = self.store()
        with tempfile.TemporaryDirectory() as folder:
            for name, data in w.files.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(data)
            os.rename(os.path.join(folder, s2.name), os.path.join(folder, "elsewhere"))
            os.symlink("elsewhere", os.path.join(folder, s2.name))
            try:
                read_store(self.fmt, folder)
            except Refused as refused:
                self.same(refused.report["kind"], "refused", "kind")
            else:
                raise AssertionError("it was followed")

    def test_a_sealed_file_cut_short_is_scanned_and_what_a_mark_speaks_of_is_damage(self):
        w, s1, s2 = self.store()
        s2.batch(("put", b"b", b"2"), ("put", b"c", b"2"))
        s2.sync()
        s3 = WriterSegment(w, 3, s2)
        s3.batch(("put", b"d", b"1"))
        s3.sync()
        del s2.file[s2.offsets[5] :]
        labels = ["S-TRUST", "S-SCAN", "V-OLDER", "S-SCAN"]
        self.expect(w, labels, {b"d": b"1"}, ["footer_tail"], next_seqno=7, synced_max=6)

    def test_the_output_is_the_same_each_time_and_is_json(self):
        w, _, _ = self.store()
        first, second = (json.dumps(self.read(w), sort_keys=True, indent=1) for _ in range(2))
        self.same(first, second, "output")

    # -- power cuts

    def test_a_power_cut_leaves_a_prefix_that_holds_all_that_was_synced(self):
        for seed in range(400):
            w, events, synced, durable = self.random_store(random.Random(seed))
            survival = random.Random(~seed).random()
            sectors = random.Random(seed + 1_000_000)
            for name in durable:
                latest, kept = bytes(w.files[name]), bytearray(w.files[name])
                for at in range(0, len(kept), 512):
                    if sectors.random() > survival:
                        kept[at : at + 512] = durable[name][at : at + 512].ljust(len(latest[at : at + 512]), b"\0")
                w.files[name] = kept
            result = self.read(w)
            got = {bytes.fromhex(k): bytes.fromhex(v["value_hex"]) for k, v in result["live"].items()}
            labels = [v["label"] for v in result["verdicts"]]
            end = result["next_seqno"] - 1
            if "S-NOLINK" in labels and result["verdicts"][labels.index("S-NOLINK")]["file"] == "segment-0000000001.log":
                continue  # The log's first link is lost: nothing is older, so what is behind it may stand without it.
            if not synced <= end <= len(events) or got != self.after(events[:end]):
                raise AssertionError(f"seed {seed}: synced {synced} of {len(events)}, log ends behind {end}, {result['verdicts']}")

    def test_one_flipped_bit_in_a_whole_log_never_brings_back_what_was_replaced(self):
        for seed in range(400):
            rng = random.Random(seed)
            w, events, synced, durable = self.random_store(rng)
            file = w.files[rng.choice(sorted(durable))]
            used = len(bytes(file).rstrip(b"\0"))
            file[rng.randrange(used)] ^= 1 << rng.randrange(8)
            result = self.read(w)
            for key, value in result["live"].items():
                key, value = bytes.fromhex(key), bytes.fromhex(value["value_hex"])
                if not any(self.after(events[:n]).get(key) == value for n in range(synced, len(events) + 1)):
                    raise AssertionError(f"seed {seed}: {key} is {value}, {result['verdicts']}")

    @staticmethod
    def after(events):
        live = {}
        for event in events:
            if event[0] == "put":
                live[event[1]] = event[2]
            elif event[0] == "tombstone":
                live.pop(event[1], None)
            else:
                live.clear()
        return live

    def random_store(self, rng):
        """A log of a few segments; its events, how many a sync confirmed, and what of each file surely survives a power cut."""
        w, events, synced, durable, unsealed = Writer(self.fmt), [], 0, {}, []
        version = 0

        def move():
            segment = WriterSegment(w, len(durable) + 1, unsealed[-1] if unsealed else None, link=False)
            durable[segment.name] = bytes(segment.file)
            segment.write_links()
            unsealed.append(segment)

        move()
        for _ in range(rng.randrange(1, 14)):
            choice, active = rng.random(), unsealed[-1]
            active.synced = synced
            if choice < 0.55:
                batch = []
                for _ in range(rng.randrange(1, 5)):
                    version += 1
                    key, what = b"key%d" % rng.randrange(4), rng.random()
                    put = ("put", key, b"%d." % version * rng.choice((1, 1, 20, 60)), version if version % 3 == 0 else None)
                    batch.append(put if what < 0.7 else ("tombstone", key) if what < 0.97 else ("clear",))
                active.batch(*batch)
                events += batch
            elif choice < 0.75:
                synced = active.synced = len(events)
                durable.update((segment.name, bytes(segment.file)) for segment in unsealed)
                active.batch()
                if rng.random() < 0.7:
                    durable[active.name] = bytes(active.file)
            elif choice < 0.88:
                move()
            elif len(unsealed) > 1 and unsealed[0].seqno - 1 <= synced:
                segment = unsealed.pop(0)
                segment.seal()
                durable[segment.name] = bytes(segment.file)
        if rng.random() < 0.5:
            spare = WriterSegment(w, len(durable) + 1, link=False)
            durable[spare.name] = bytes(spare.file)
        return w, events, synced, durable
