#!/usr/bin/env python3
"""Reads an emberlog store (disk format version 1), read-only, and tells what is in it.

Written from the pages of this folder and from nothing else, as a check on them: it has no offsets, sizes, limits or verdicts of its
own, but takes them out of the pages' tables at its start (README.md, "The tables are executable"), and stops if a table does not
add up. Needs Python 3.9 and its standard library.

Parts, top to bottom: XXH3 · the tables · checksums and decoding · identity · segments · the warm list · the page of counters ·
recovery (07-recovery.md) · output · worked examples · command line. The self-test is in self_test.py.
Damage in a store is a result, never an exception; `Refused` is the one way to fail.
"""

import argparse
import itertools
import json
import os
import re
import stat
import sys
import zlib

# ---- XXH3-64 with a seed (Yann Collet's public description) ------------------------------------------------------------------

M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PMX_1, PMX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
    "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb17"
    "0ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def _u32(data, offset):
    return int.from_bytes(data[offset : offset + 4], "little")


def _u64(data, offset):
    return int.from_bytes(data[offset : offset + 8], "little")


def _swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _rotl64(value, count):
    return ((value << count) | (value >> (64 - count))) & M64


def _fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def _avalanche64(h):
    h = ((h ^ (h >> 33)) * P64_2) & M64
    h = ((h ^ (h >> 29)) * P64_3) & M64
    return h ^ (h >> 32)


def _avalanche(h):
    h = ((h ^ (h >> 37)) * PMX_1) & M64
    return h ^ (h >> 32)


def _mix16(data, offset, secret_offset, seed):
    return _fold(
        _u64(data, offset) ^ ((_u64(SECRET, secret_offset) + seed) & M64),
        _u64(data, offset + 8) ^ ((_u64(SECRET, secret_offset + 8) - seed) & M64),
    )


def _accumulate(acc, data, offset, secret, secret_offset):
    for lane in range(8):
        value = _u64(data, offset + 8 * lane)
        keyed = value ^ _u64(secret, secret_offset + 8 * lane)
        acc[lane ^ 1] = (acc[lane ^ 1] + value) & M64
        acc[lane] = (acc[lane] + (keyed & M32) * (keyed >> 32)) & M64


def _xxh3_long(data, seed):
    secret = b"".join(
        ((_u64(SECRET, i) + seed) & M64).to_bytes(8, "little") + ((_u64(SECRET, i + 8) - seed) & M64).to_bytes(8, "little")
        for i in range(0, len(SECRET), 16)
    )
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n = len(data)
    stripes = (len(secret) - 64) // 8
    block = 64 * stripes
    blocks = (n - 1) // block
    for b in range(blocks):
        for s in range(stripes):
            _accumulate(acc, data, b * block + s * 64, secret, s * 8)
        for lane in range(8):
            mixed = acc[lane] ^ (acc[lane] >> 47) ^ _u64(secret, len(secret) - 64 + 8 * lane)
            acc[lane] = (mixed * P32_1) & M64
    for s in range((n - 1 - blocks * block) // 64):
        _accumulate(acc, data, blocks * block + s * 64, secret, s * 8)
    _accumulate(acc, data, n - 64, secret, len(secret) - 64 - 7)
    result = (n * P64_1) & M64
    for pair in range(4):
        result += _fold(acc[2 * pair] ^ _u64(secret, 11 + 16 * pair), acc[2 * pair + 1] ^ _u64(secret, 19 + 16 * pair))
    return _avalanche(result & M64)


def xxh3_64(data, seed):
    """XXH3-64 of `data` under a 64-bit seed. Standard test vectors are in the self-test."""
    n = len(data)
    if n == 0:
        return _avalanche64(seed ^ _u64(SECRET, 56) ^ _u64(SECRET, 64))
    if n <= 3:
        combined = (data[0] << 16) | (data[n >> 1] << 24) | data[n - 1] | (n << 8)
        return _avalanche64(combined ^ (((_u32(SECRET, 0) ^ _u32(SECRET, 4)) + seed) & M64))
    if n <= 8:
        seed ^= _swap(seed & M32, 4) << 32
        flip = ((_u64(SECRET, 8) ^ _u64(SECRET, 16)) - seed) & M64
        h = (_u32(data, n - 4) + (_u32(data, 0) << 32)) ^ flip
        h ^= _rotl64(h, 49) ^ _rotl64(h, 24)
        h = (h * PMX_2) & M64
        h ^= (h >> 35) + n
        h = (h * PMX_2) & M64
        return h ^ (h >> 28)
    if n <= 16:
        low = _u64(data, 0) ^ (((_u64(SECRET, 24) ^ _u64(SECRET, 32)) + seed) & M64)
        high = _u64(data, n - 8) ^ (((_u64(SECRET, 40) ^ _u64(SECRET, 48)) - seed) & M64)
        return _avalanche((n + _swap(low, 8) + high + _fold(low, high)) & M64)
    if n <= 128:
        acc = (n * P64_1) & M64
        for i in range((n - 1) // 32, -1, -1):
            acc += _mix16(data, 16 * i, 32 * i, seed) + _mix16(data, n - 16 * (i + 1), 32 * i + 16, seed)
        return _avalanche(acc & M64)
    if n <= 240:
        acc = (n * P64_1) & M64
        for i in range(8):
            acc += _mix16(data, 16 * i, 16 * i, seed)
        acc = _avalanche(acc & M64)
        for i in range(8, n // 16):
            acc += _mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
        acc += _mix16(data, n - 16, 136 - 17, seed)
        return _avalanche(acc & M64)
    return _xxh3_long(data, seed)


# ---- the tables of the pages ------------------------------------------------------------------------------------------------


class PageError(Exception):
    """A page contradicts itself or the program. Nothing can be read with such pages."""


class Refused(Exception):
    """The store cannot be read: `kind` says why (README.md, "The reader's output")."""

    def __init__(self, kind, file, offset, expected, found):
        super().__init__(f"{file} at {offset}: expected {expected}, found {found}")
        self.report = {"kind": kind, "file": file, "offset": offset, "expected": expected, "found": found}


class Field:
    """One row of a table: `offset` and `size` count in the unit of the table, bytes or bits."""

    def __init__(self, name, offset, size, meaning):
        self.name, self.offset, self.size = name, offset, size
        self.is_integer = size in (1, 2, 4, 8) and name != "magic"
        self.magic = None
        if name == "magic":
            word = re.search(r"`([^`]+)`", meaning)
            if not word or len(word.group(1)) != size:
                raise PageError(f"a magic of {size} bytes needs a word of {size} letters in backticks, not {meaning!r}")
            self.magic = word.group(1).encode("ascii")


class Structure:
    """A table of fields that has been checked for gaps, overlaps and its sum."""

    def __init__(self, name, size, unit, fields):
        self.name, self.size, self.unit, self.fields = name, size, unit, {f.name: f for f in fields}
        if len(self.fields) != len(fields):
            raise PageError(f"{name}: a field name stands twice")
        end = 0
        for field in fields:
            if field.offset != end:
                raise PageError(f"{name}: field {field.name} is at {field.offset}, but the one before ends at {end}")
            end += field.size
        if end != size:
            raise PageError(f"{name}: the fields add up to {end} {unit}, not {size}")

    def at(self, field):
        return self.fields[field].offset

    def decode(self, raw):
        """All fields but reserved ones, zero areas and the magic."""
        values = {}
        for field in self.fields.values():
            part = raw[field.offset : field.offset + field.size]
            if field.name != "reserved" and field.magic is None:
                values[field.name] = int.from_bytes(part, "little") if field.is_integer else bytes(part)
        return values

    def decode_bits(self, number):
        return {f.name: (number >> f.offset) & ((1 << f.size) - 1) for f in self.fields.values() if f.name != "reserved"}

    def encode(self, values):
        """For the self-test: what is not given is zero."""
        raw = bytearray(self.size)
        for field in self.fields.values():
            value = field.magic or values.get(field.name, 0 if field.is_integer else bytes(field.size))
            value = value.to_bytes(field.size, "little") if field.is_integer else value
            raw[field.offset : field.offset + field.size] = value
        return raw


class Pages:
    """All structures and constants of the pages in a folder."""

    COLUMNS = ["offset", "size", "name", "meaning", "on bad value"]
    CONSTANT_COLUMNS = ["constant", "value", "meaning"]
    VERDICT_COLUMNS = ["label", "header", "payload", "named", "synced", "void", "verdict", "how this arises"]

    def __init__(self, folder):
        self.structures, self.constants, self.texts, self.verdicts = {}, {}, {}, {}
        for name in sorted(os.listdir(folder)):
            if name.endswith(".md"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    self.texts[name] = file.read()
                try:
                    self._read(self.texts[name].split("\n"))
                except (PageError, ValueError) as error:
                    raise PageError(f"{name}: {error}") from None

    def _rows(self, lines, start, columns):
        rows = []
        for line in lines[start:]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        if len(rows) < 3 or rows[0] != columns or set("".join(rows[1])) != {"-"}:
            raise PageError(f"line {start + 1}: no table with the columns {columns}")
        for row in rows[2:]:
            if len(row) != len(columns) or not all(row):
                raise PageError(f"a row needs {len(columns)} cells: {row}")
        return rows[2:]

    def _read_verdicts(self, rows):
        """Every combination of the five facts must be met by one row, and one only."""
        names = {"ok": True, "bad": False, "yes": True, "no": False}
        for facts in itertools.product((True, False), repeat=5):
            labels = [row[0] for row in rows if all(cell == "any" or names[cell] == fact for cell, fact in zip(row[1:6], facts))]
            if len(labels) != 1:
                raise PageError(f"facts {facts} are met by the rows {labels}, not by one")
            self.verdicts[facts] = labels[0]

    def _read(self, lines):
        for number, line in enumerate(lines):
            marker = re.fullmatch(r"<!-- structure: (\w+), (\d+) (bytes|bits) -->", line)
            if marker:
                name, size, unit = marker.group(1), int(marker.group(2)), marker.group(3)
                if name in self.structures:
                    raise PageError(f"structure {name} stands twice")
                fields = [Field(row[2], int(row[0]), int(row[1]), row[3]) for row in self._rows(lines, number + 1, self.COLUMNS)]
                self.structures[name] = Structure(name, size, unit, fields)
            elif line == "<!-- constants -->":
                for row in self._rows(lines, number + 1, self.CONSTANT_COLUMNS):
                    if row[0] in self.constants:
                        raise PageError(f"constant {row[0]} stands twice")
                    self.constants[row[0]] = int(row[1])
            elif line == "<!-- verdicts -->":
                self._read_verdicts(self._rows(lines, number + 1, self.VERDICT_COLUMNS))
            elif line.startswith("<!--"):
                raise PageError(f"line {number + 1}: a marker that is not understood: {line}")


class Format:
    """The pages in the form in which the code below uses them."""

    def __init__(self, pages):
        s = pages.structures
        try:
            self.identity_file, self.identity = s["identity_file"], s["identity"]
            self.front, self.header = s["segment_front"], s["segment_header"]
            self.batch, self.link_batch, self.link = s["batch_header"], s["link_batch"], s["link_body"]
            self.record, self.flags, self.expiry = s["record"], s["record_flags"], s["record_expiry"]
            self.flags.at("expires")
            self.entry, self.place, self.tail = s["footer_entry"], s["footer_place"], s["footer_tail"]
            self.warm, self.warm_entry = s["warm_header"], s["warm_entry"]
            self.counters_file, self.counters_head = s["counters_file"], s["counters_head"]
            self.counters_page, self.counters_segment = s["counters_page"], s["counters_segment"]
            if not pages.verdicts:
                raise KeyError("verdicts")
            self.verdicts = pages.verdicts
            for name, value in pages.constants.items():
                setattr(self, name, value)
            self.align = 1 << self.align_log2
            self.kinds = (self.record_kind_put, self.record_kind_tombstone, self.record_kind_clear)
        except (KeyError, AttributeError) as error:
            raise PageError(f"the pages lack {error}") from None
        for where, field in self.front.fields.items():
            structure = {"header": self.header, "link": self.link_batch}.get(where.split("_")[0])
            if structure and field.size != structure.size:
                raise PageError(f"{structure.name} does not fit its region {where}")
        if self.batch.size + self.link.size != self.link_batch.size or self.link_batch.at("body") != self.batch.size:
            raise PageError("link_batch is not a batch header and a link body")

    def record_size(self, flags):
        """Bytes of a record's header with these flags."""
        return self.record.size + (self.expiry.size if self.flags.decode_bits(flags)["expires"] else 0)

    def verdict(self, *, header, payload=False, named=False, synced, void=False):
        """The label for a record or batch header, from the table of 07-recovery.md."""
        return self.verdicts[(header, payload, named, synced, void)]

    def up(self, offset):
        """`offset` rounded up to where a structure may start."""
        return -(-offset // self.align) * self.align


# ---- checksums and decoding -------------------------------------------------------------------------------------------------


def crc32(*parts):
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def seeded(seed, offset, raw):
    """The checksum that a structure at `offset` should carry. It covers what stands behind the checksum field, the first one."""
    return crc32(seed, offset.to_bytes(8, "little"), raw[4:])


class Bad(Exception):
    """A structure does not verify: which field says so, and what was expected."""

    def __init__(self, field, expected, found):
        super().__init__(field)
        self.field, self.expected, self.found = field, str(expected), str(found)


def need(condition, field, expected, found):
    if not condition:
        raise Bad(field, expected, found)


def verified(structure, seed, data, offset):
    """Bounds, checksum, magic; only then the fields."""
    raw = data[offset : offset + structure.size]
    need(len(raw) == structure.size, None, f"{structure.size} bytes", f"{len(raw)} bytes")
    checksum = next(iter(structure.fields))
    found, expected = int.from_bytes(raw[:4], "little"), seeded(seed, offset, raw)
    need(found == expected, checksum, f"{expected:#010x}", f"{found:#010x}")
    magic = structure.fields.get("magic")
    if magic:
        word = bytes(raw[magic.offset : magic.offset + magic.size])
        need(word == magic.magic, "magic", magic.magic, word)
    return structure.decode(raw)


def verified_record(fmt, seed, data, offset, end):
    """A record's header; `expiry` is 0 where it has none. Of what is not verified yet, only the flag that tells its length is used."""
    size = fmt.record.size
    need(offset + size <= end, None, "a header within the batch", "its end")
    raw = data[offset : offset + size]
    need(len(raw) == size, None, f"{size} bytes", f"{len(raw)} bytes")
    values, size = fmt.record.decode(raw), fmt.record_size(fmt.record.decode(raw)["flags"])
    need(offset + size <= end, None, "a header with its expiry within the batch", "its end")
    raw = data[offset : offset + size]
    need(len(raw) == size, None, f"{size} bytes", f"{len(raw)} bytes")
    found, expected = values["header_crc"], seeded(seed, offset, raw)
    need(found == expected, "header_crc", f"{expected:#010x}", f"{found:#010x}")
    if size == fmt.record.size:
        return {**values, "expiry": 0}
    expiry = fmt.expiry.decode(raw[fmt.record.size :])["expiry"]
    need(values["kind"] not in (fmt.record_kind_tombstone, fmt.record_kind_clear), "flags", "no expiry but in a put", values["flags"])
    need(expiry != 0, "expiry", "1 or more", 0)
    return {**values, "expiry": expiry}


def check_version(fmt, file, offset, structure, values):
    """What is whole but not for us is refused, not skipped: it may be somebody's future."""
    if values["format_version"] != fmt.format_version:
        at = offset + structure.at("format_version")
        raise Refused("unsupported", file, at, f"format version {fmt.format_version}", f"version {values['format_version']}")
    unknown = values["required_features"] & ~fmt.required_features_known
    if unknown:
        at = offset + structure.at("required_features")
        raise Refused("unsupported", file, at, "no unknown required feature", f"bits {unknown:#x}")


def check_data_end(fmt, field, end):
    need(end >= fmt.front.size and end % fmt.align == 0, field, f"a multiple of {fmt.align} from {fmt.front.size}", end)


def check_link(fmt, number, link):
    """A footer's link that was lost has no number, but still a seqno: the one before the segment's first."""
    if link["predecessor_number"] == 0:
        need(not any(link["predecessor_uid"]), "predecessor_uid", "zeros", link["predecessor_uid"].hex())
        last_seqno = link.get("first_seqno", 1) - 1
        need(link["predecessor_last_seqno"] == last_seqno, "predecessor_last_seqno", last_seqno, link["predecessor_last_seqno"])
        need(link["predecessor_end_offset"] == 0, "predecessor_end_offset", 0, link["predecessor_end_offset"])
    else:
        need(link["predecessor_number"] == number - 1, "predecessor_number", number - 1, link["predecessor_number"])
        check_data_end(fmt, "predecessor_end_offset", link["predecessor_end_offset"])


class Damages:
    """What did not verify. One line a place."""

    def __init__(self):
        self.found = {}

    def add(self, file, offset, structure, bad):
        key = (file, offset, structure, bad.field or "")
        self.found.setdefault(key, {"expected": bad.expected, "found": bad.found, "field": bad.field})

    def drop(self, file, from_offset):
        self.found = {k: v for k, v in self.found.items() if not (k[0] == file and k[1] >= from_offset)}

    def drop_exact(self, file, offset):
        self.found = {k: v for k, v in self.found.items() if k[:2] != (file, offset)}

    def listed(self):
        return [{"file": k[0], "offset": k[1], "structure": k[2], **v} for k, v in sorted(self.found.items())]


# ---- identity ---------------------------------------------------------------------------------------------------------------


def read_file(path, limit):
    """The first `limit` bytes of a plain file, and its length. Links and devices are refused."""
    name = os.path.basename(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise Refused("missing", name, 0, "a file", "none") from None
    except OSError as error:
        raise Refused("refused", name, 0, "a plain file", error.strerror) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused("refused", name, 0, "a plain file", "something else")
        return file.read(min(limit, status.st_size)), status.st_size


def read_identity(fmt, folder, damages):
    data, _ = read_file(os.path.join(folder, "identity"), fmt.identity_file.size)
    copies = {}
    for copy, name in enumerate("ab"):
        offset = fmt.identity_file.at(f"copy_{name}")
        try:
            values = verified(fmt.identity, bytes(16), data, offset)
            need(values["copy"] == copy, "copy", copy, values["copy"])
            copies[name] = (values, offset)
        except Bad as bad:
            damages.add("identity", offset, "identity", bad)
    if not copies:
        raise Refused("corrupt", "identity", 0, "a copy that verifies", "two bad copies")
    values, offset = copies.get("a") or copies["b"]
    check_version(fmt, "identity", offset, fmt.identity, values)
    for field in ("hash_kind", "checksum_kind", "align_log2"):
        known = getattr(fmt, field)
        if values[field] != known:
            raise Refused("unsupported", "identity", offset + fmt.identity.at(field), f"{field} {known}", str(values[field]))
    return values, {name: name in copies for name in "ab"}


# ---- segments ---------------------------------------------------------------------------------------------------------------


class Segment:
    """One segment file, as far as its own bytes go: header, footer, link. What it means is decided in `recover`."""

    def __init__(self, fmt, identity, folder, file, damages):
        self.fmt, self.identity, self.file, self.damages = fmt, identity, file, damages
        self.number = int(file[8:18])
        self.data, self.file_len = read_file(os.path.join(folder, file), fmt.segment_len_max_bytes)
        self.fate = "forgotten"
        self.batches, self.limit, self.limit_is_named = [], None, False
        self.first_batch_seqno, self.synced_mark, self.clock_mark = None, 0, 0
        self._read_headers()
        self._read_footer()
        self.uid = self.footer["uid"] if self.footer else self.header["uid"] if self.header else None
        self.segment_len = (self.footer or self.header or {"segment_len_bytes": 0})["segment_len_bytes"]
        self._read_links()
        self._find_marks()

    def _check_whose(self, values):
        """What header and footer have in common: it is this file's, and its length is within the limits."""
        fmt, length, store_id = self.fmt, values["segment_len_bytes"], self.identity["store_id"]
        need(any(values["uid"]), "uid", "not all zeros", "zeros")
        need(values["store_id"] == store_id, "store_id", store_id.hex(), values["store_id"].hex())
        need(values["segment_number"] == self.number, "segment_number", self.number, values["segment_number"])
        fits = fmt.segment_len_min_bytes <= length <= fmt.segment_len_max_bytes and length % fmt.segment_len_multiple_bytes == 0
        need(fits, "segment_len_bytes", "a length within the limits", length)

    def _read_headers(self):
        copies = {}
        for name in "ab":
            offset = self.fmt.front.at(f"header_{name}")
            try:
                values = verified(self.fmt.header, self.identity["store_id"], self.data, offset)
                check_version(self.fmt, self.file, offset, self.fmt.header, values)
                self._check_whose(values)
                copies[name] = values
            except Bad as bad:
                self.damages.add(self.file, offset, "segment_header", bad)
        self.header = copies.get("a") or copies.get("b")
        self.header_copies = {name: name in copies for name in "ab"}

    def _read_footer(self):
        """The tail at the end of the file, and the entries in front of it; all or nothing."""
        fmt, self.footer, self.entries = self.fmt, None, []
        offset = self.file_len - fmt.tail.size
        self.tail_offset = offset
        unsealed_len = self.header["segment_len_bytes"] if self.header else None
        try:
            need(offset >= fmt.front.size and offset % fmt.align == 0, None, "room for a footer", f"{self.file_len} bytes")
            tail = verified(fmt.tail, self.identity["store_id"], self.data, offset)
            check_version(fmt, self.file, offset, fmt.tail, tail)
            self._check_tail(tail, offset)
            self.entries = self._read_entries(tail, offset)
            self.footer = tail
        except Bad as bad:
            if unsealed_len is None or self.file_len < unsealed_len:
                self.damages.add(self.file, max(offset, 0), "footer_tail", bad)

    def _check_tail(self, tail, offset):
        fmt = self.fmt
        if self.header:
            need(tail["uid"] == self.header["uid"], "uid", self.header["uid"].hex(), tail["uid"].hex())
        self._check_whose(tail)
        need(self.file_len <= tail["segment_len_bytes"], "segment_len_bytes", f"{self.file_len} or more", tail["segment_len_bytes"])
        check_link(fmt, self.number, tail)
        need(tail["first_seqno"] >= 1, "first_seqno", "1 or more", 0)
        need(tail["last_seqno"] >= tail["first_seqno"] - 1, "last_seqno", f"{tail['first_seqno'] - 1} or more", tail["last_seqno"])
        end = tail["data_end_offset"]
        check_data_end(fmt, "data_end_offset", end)
        entries_end = fmt.up(end + tail["entry_count"] * fmt.entry.size)
        need(entries_end == offset, "entry_count", f"entries that end at {offset}", f"an end at {entries_end}")
        need(tail["damaged_count"] <= tail["entry_count"], "damaged_count", f"at most {tail['entry_count']}", tail["damaged_count"])
        if tail["damaged_count"] == 0:
            count = tail["last_seqno"] - tail["first_seqno"] + 1
            need(tail["entry_count"] == count, "entry_count", f"{count}, one a seqno", tail["entry_count"])

    def _read_entries(self, tail, offset):
        fmt, start = self.fmt, tail["data_end_offset"]
        raw = self.data[start : start + tail["entry_count"] * fmt.entry.size]
        expected = crc32(tail["uid"], start.to_bytes(8, "little"), raw)
        need(tail["entries_crc"] == expected, "entries_crc", f"{expected:#010x}", f"{tail['entries_crc']:#010x}")
        entries, before = [], fmt.front.size - 1
        for i in range(tail["entry_count"]):
            values = fmt.entry.decode(raw[i * fmt.entry.size : (i + 1) * fmt.entry.size])
            place = fmt.place.decode_bits(values["place"])
            at = place["place_units"] * fmt.align
            need(place["kind"] in fmt.kinds, "entries_crc", "entries with a kind", f"entry {i}: {place}")
            need(before < at < start, "entries_crc", "places that rise, before the data end", f"entry {i} at {at}")
            is_clear = place["kind"] == fmt.record_kind_clear
            need(not is_clear or values["key_hash"] == 0, "entries_crc", "a clear without key hash", f"entry {i}")
            entries.append({"key_hash": values["key_hash"], "kind": place["kind"], "offset": at, "reinserted": place["reinserted"]})
            before = at
        return entries

    def _read_links(self):
        fmt, copies = self.fmt, {}
        for name in "ab":
            offset = fmt.front.at(f"link_{name}")
            if self.uid is None:
                continue
            try:
                header = self.batch_at(offset, fmt.batch_kind_link)
                link = verified(fmt.link, self.uid, self.data, offset + fmt.link_batch.at("body"))
                check_link(fmt, self.number, link)
                follows = link["predecessor_last_seqno"] + 1
                need(header["first_seqno"] == follows, "first_seqno", follows, header["first_seqno"])
                copies[name] = (header, link)
            except Bad as bad:
                self.damages.add(self.file, offset, "link_batch", Bad(None, bad.expected, bad.found))
        self.link_copies = {name: name in copies for name in "ab"}
        self.link_header, link = copies.get("a") or copies.get("b") or (None, None)
        source = self.footer or link
        self.link = {k: source[k] for k in fmt.link.fields if k.startswith("predecessor")} if source else None

    def _find_marks(self):
        """What its header, its footer and all batches say of durability and time, wherever the log ends: 07-recovery.md, section 3."""
        fmt = self.fmt
        if self.header:
            self.clock_mark = self.header["clock_mark"]
        if self.footer:
            self.clock_mark = max(self.clock_mark, self.footer["clock_mark"])
            self.synced_mark = self.footer["last_seqno"]
        elif self.header:
            found = []
            for name in "ab":
                try:
                    found.append(self.batch_at(fmt.front.at(f"link_{name}"), fmt.batch_kind_link))
                except Bad:
                    pass
            batches = list(self._batches(min(len(self.data), self.segment_len), 1))
            self.first_batch_seqno = batches[0]["first_seqno"] if batches else None
            for batch in found + batches:
                self.synced_mark = max(self.synced_mark, batch["synced_through"])
                self.clock_mark = max(self.clock_mark, batch["clock_mark"])

    def batch_at(self, offset, kind):
        """The batch header at `offset`, if it verifies there."""
        fmt = self.fmt
        values = verified(fmt.batch, self.uid, self.data, offset)
        need(values["kind"] == kind, "kind", kind, values["kind"])
        need(values["first_seqno"] >= 1, "first_seqno", "1 or more", values["first_seqno"])
        first, body_len = values["first_seqno"], values["body_len"]
        need(values["synced_through"] < first, "synced_through", f"below {first}", values["synced_through"])
        need(body_len % fmt.align == 0, "body_len", f"a multiple of {fmt.align}", body_len)
        need(offset + fmt.batch.size + body_len <= self.segment_len, "body_len", "a body within the segment", body_len)
        if kind == fmt.batch_kind_link:
            need(values["record_count"] == 0, "record_count", 0, values["record_count"])
            need(values["body_len"] == fmt.link.size, "body_len", fmt.link.size, values["body_len"])
        else:
            most = values["body_len"] // fmt.record.size
            need(values["record_count"] <= most, "record_count", f"at most {most}", values["record_count"])
        return {**values, "offset": offset}

    def _batches(self, limit, expected, follow=False):
        """Every batch from the data start to `limit` with no seqno below `expected`, which moves on with `follow`."""
        fmt, offset = self.fmt, self.fmt.front.size
        magic, magic_at = fmt.batch.fields["magic"].magic, fmt.batch.at("magic")
        while offset + fmt.batch.size <= limit:
            try:
                # The limit is the end of the data for all that is read, so nothing behind it can help a batch to verify.
                batch = self.batch_at(offset, fmt.batch_kind_records)
                need(batch["first_seqno"] >= expected, "first_seqno", f"{expected} or more", batch["first_seqno"])
            except Bad:
                # Nothing verifies without the magic: looking for that is the same as trying each offset, but quick.
                found = self.data.find(magic, offset + fmt.align + magic_at, limit)
                while found >= 0 and (found - magic_at) % fmt.align:
                    found = self.data.find(magic, found + 1, limit)
                if found < 0:
                    return
                offset = found - magic_at
                continue
            batch["end"] = offset + fmt.batch.size + batch["body_len"]
            yield batch
            offset = batch["end"]
            if follow:
                expected = batch["first_seqno"] + batch["record_count"]

    def find_batches(self, limit):
        """Every batch from the data start to `limit`, with its records: 07-recovery.md, section 3."""
        self.limit, offset = limit, self.fmt.front.size
        expected = self.link["predecessor_last_seqno"] + 1 if self.link else 1
        self.batches = list(self._batches(limit, expected, follow=True))
        for batch in self.batches:
            if batch["offset"] > offset:
                self._add_gap(offset, batch["offset"])
            batch["records"] = self._records_of(batch, limit)
            offset = batch["end"]
        if offset < limit and (self.footer or self.limit_is_named or not self.only_zeros(offset)):
            self._add_gap(offset, limit)

    def _add_gap(self, offset, end):
        self.damages.add(self.file, offset, "batch_header", Bad(None, "a batch header that verifies", f"none before {end}"))

    def only_zeros(self, offset):
        return not self.data[offset : self.limit].strip(b"\0")

    def is_blank(self, offset):
        """Whether zeros stand where a batch header should."""
        return not self.data[offset : min(offset + self.fmt.batch.size, self.limit)].strip(b"\0")

    def _records_of(self, batch, limit):
        fmt, records = self.fmt, []
        offset = batch["offset"] + fmt.batch.size
        for i in range(batch["record_count"]):
            if offset >= min(batch["end"], limit):
                return records
            record = self.record_at(offset, min(batch["end"], limit), limit)
            record["seqno"] = batch["first_seqno"] + i
            records.append(record)
            if not record["header_ok"]:
                return records
            offset = record["end"]
        if offset != batch["end"] and offset < limit:
            bad = Bad("body_len", f"records that end at {batch['end']}", f"an end at {offset}")
            self.damages.add(self.file, batch["offset"], "batch_header", bad)
        return records

    def record_at(self, offset, body_end, limit):
        """The record at `offset`; its damage is noted here, its verdict given elsewhere."""
        fmt = self.fmt
        record = {"offset": offset, "header_ok": False, "end": None, "key": None, "value": None}
        try:
            values = verified_record(fmt, self.uid, self.data, offset, min(body_end, limit))
            self._check_record(values, offset, body_end)
        except Bad as bad:
            self.damages.add(self.file, offset, "record", Bad("header_crc", bad.expected, bad.found))
            return record
        record.update(values, header_ok=True, payload_ok=False)
        start = offset + fmt.record_size(values["flags"])
        end = start + values["key_len"] + values["value_len"]
        record["end"] = fmt.up(end)
        payload = self.data[start:end]
        crc = crc32(payload)
        if end > limit or len(payload) < end - start or crc != values["payload_crc"]:
            found = f"{values['payload_crc']:#010x}" if end <= limit else f"only {max(0, limit - start)} bytes"
            self.damages.add(self.file, offset, "record", Bad("payload_crc", f"{crc:#010x}", found))
            return record
        record["payload_ok"] = True
        if values["kind"] == fmt.record_kind_put:
            record["key"], record["value"] = payload[: values["key_len"]], payload[values["key_len"] :]
            key_hash = xxh3_64(record["key"], self.identity["hash_salt"])
            record["key_hash_ok"] = key_hash == values["key_hash"]
            if not record["key_hash_ok"]:
                self.damages.add(self.file, offset, "record", Bad("key_hash", f"{key_hash:#018x}", f"{values['key_hash']:#018x}"))
        return record

    def _check_record(self, values, offset, body_end):
        fmt = self.fmt
        need(values["kind"] in fmt.kinds, "kind", "a known kind", values["kind"])
        end = fmt.up(offset + fmt.record_size(values["flags"]) + values["key_len"] + values["value_len"])
        need(end <= body_end, "value_len", f"an end at or before {body_end}", end)
        if values["kind"] != fmt.record_kind_put:
            for field in ("key_len", "value_len", "payload_crc"):
                need(values[field] == 0, field, 0, values[field])
        if values["kind"] == fmt.record_kind_clear:
            need(values["key_hash"] == 0, "key_hash", 0, values["key_hash"])

    @property
    def state(self):
        if self.footer:
            return "sealed"
        if not self.header:
            return "unreadable"
        return "unsealed" if self.link or self.first_batch_seqno is not None else "spare"


# ---- the warm list (10-warm-list.md) ------------------------------------------------------------------------------------------


class WarmList:
    """The file `warm`. Whatever is wrong with it, it is ignored, and nothing else is the worse for it."""

    FILE = "warm"

    def __init__(self, fmt, identity, folder, damages):
        self.fmt, self.header, self.entries, self.fault_offset = fmt, None, None, None
        data, self.file_len = read_file(os.path.join(folder, self.FILE), fmt.warm.size + fmt.warm_entry_count_max * fmt.warm_entry.size)
        try:
            self.header = self._read_header(identity["store_id"], data)
            self.entries = self._read_entries(data)
        except Bad as bad:
            self.fault_offset = fmt.warm.size if self.header else 0
            damages.add(self.FILE, 0, "warm_header", bad)

    def _read_header(self, store_id, data):
        fmt = self.fmt
        values = verified(fmt.warm, store_id, data, 0)
        need(values["format_version"] == fmt.format_version, "format_version", fmt.format_version, values["format_version"])
        unknown = values["required_features"] & ~fmt.required_features_known
        need(not unknown, "required_features", "no unknown required feature", f"bits {unknown:#x}")
        need(values["store_id"] == store_id, "store_id", store_id.hex(), values["store_id"].hex())
        count, most = values["entry_count"], fmt.warm_entry_count_max
        need(count <= most, "entry_count", f"at most {most}", count)
        expected = fmt.warm.size + count * fmt.warm_entry.size
        need(self.file_len == expected, "entry_count", f"a file of {expected} bytes", f"{self.file_len} bytes")
        return values

    def _read_entries(self, data):
        raw, size = data[self.fmt.warm.size :], self.fmt.warm_entry.size
        expected, found = warm_entries_crc(self.fmt, self.header["store_id"], raw), self.header["entries_crc"]
        need(found == expected, "entries_crc", f"{expected:#010x}", f"{found:#010x}")
        return [self.fmt.warm_entry.decode(raw[i : i + size]) for i in range(0, len(raw), size)]

    def shown(self):
        header = plain(self.header) if self.header else None
        return {"file_len": self.file_len, "verified": self.entries is not None, "header": header, "entries": self.entries}


def warm_entries_crc(fmt, store_id, raw):
    return crc32(store_id, fmt.warm.size.to_bytes(8, "little"), raw)


# ---- the page of counters (11-counters.md) ------------------------------------------------------------------------------------


class Counters:
    """The file `counters`. No fault of it is damage: a page that does not verify is not believed, and that is all."""

    FILE = "counters"

    def __init__(self, fmt, identity, folder):
        self.fmt, self.store_id, self.ours, self.page = fmt, identity["store_id"], False, None
        try:
            data, _ = read_file(os.path.join(folder, self.FILE), fmt.counters_file.size)
            head = verified(fmt.counters_head, self.store_id, data, 0)
        except (Bad, Refused):
            return
        self.ours = True
        try:
            need(head["format_version"] == fmt.format_version, "format_version", fmt.format_version, head["format_version"])
            unknown = head["required_features"] & ~fmt.required_features_known
            need(not unknown, "required_features", "no unknown required feature", f"bits {unknown:#x}")
            need(head["store_id"] == self.store_id, "store_id", self.store_id.hex(), head["store_id"].hex())
            place_len = fmt.counters_file.fields["place_a"].size
            need(head["place_len"] == place_len, "place_len", place_len, head["place_len"])
        except Bad:
            return
        pages = []
        for place in ("place_a", "place_b"):
            try:
                pages.append(counters_page(fmt, self.store_id, data, fmt.counters_file.at(place)))
            except Bad:
                pass
        self.page = max(pages, key=lambda page: page["sequence"], default=None)

    def shown(self):
        return {"ours": self.ours, "page": self.page}


def counters_page(fmt, store_id, data, offset):
    """The page at one place, with its text and its cells."""
    values = verified(fmt.counters_page, store_id, data, offset)
    place = "place_a" if values["sequence"] % 2 else "place_b"
    need(fmt.counters_file.at(place) == offset, "sequence", f"one of {place}", values["sequence"])
    states = (fmt.counters_state_open, fmt.counters_state_closed)
    need(values["state"] in states, "state", "a known state", values["state"])
    room, cell = fmt.counters_file.fields[place].size - fmt.counters_page.size, fmt.counters_segment
    text_len, cells_len = values["text_len"], values["cell_count"] * cell.size
    need(text_len <= room and text_len % fmt.align == 0, "text_len", f"at most {room}, a multiple of {fmt.align}", text_len)
    need(text_len + cells_len <= room, "cell_count", f"cells in {room - text_len} bytes", values["cell_count"])
    start = offset + fmt.counters_page.size
    body = data[start : start + text_len + cells_len]
    need(len(body) == text_len + cells_len, "text_len", text_len + cells_len, len(body))
    crc = crc32(store_id, start.to_bytes(8, "little"), body)
    need(crc == values["body_crc"], "body_crc", f"{crc:#010x}", f"{values['body_crc']:#010x}")
    cells = [cell.decode(body[i : i + cell.size]) for i in range(text_len, len(body), cell.size)]
    for values_of in cells:
        need(values_of["segment_count"] > 0, "segment_count", "1 or more", 0)
        need(0 < values_of["state"] <= fmt.counters_cell_state_max, "state", "a known state", values_of["state"])
    return {**plain(values), "text": body[:text_len].hex(), "segments": cells}


# ---- recovery (07-recovery.md) ----------------------------------------------------------------------------------------------


class Recovery:
    """What the log says. `verdicts` in the order of being given; `live` maps a key hash to (segment, record or None)."""

    def __init__(self, fmt, segments):
        self.fmt, self.segments = fmt, segments
        self.verdicts, self.live, self.chain = [], {}, []
        self.synced_max, self.last_seqno, self.log_end = 0, 0, None
        by_number = {s.number: s for s in segments}
        for segment in segments:
            self._look(segment, by_number.get(segment.number + 1))
        self._find_chain()
        self.synced_max = max([self.synced_max] + [s.synced_mark for s in self.chain])
        self._apply_all()
        for segment in self.chain:
            segment.fate = "kept"
        for segment in segments:
            if segment.fate == "removed":
                segment.damages.drop(segment.file, 0)
        self.next_seqno = self.last_seqno + 1 if self.chain else 1

    def _say(self, label, file, offset=0):
        self.verdicts.append({"label": label, "file": file, "offset": offset})

    def _look(self, segment, following):
        """Finds the batches of `segment`, given the segment of the next number if there is one."""
        if segment.uid is None:
            return
        named = following.link["predecessor_end_offset"] if following is not None and following.link else None
        if segment.footer:
            segment.find_batches(segment.footer["data_end_offset"])
            return
        limit = min(len(segment.data), segment.segment_len)
        if named is not None and following.link["predecessor_uid"] == segment.uid:
            segment.limit_is_named = named <= limit
            limit = min(limit, named)
        limit -= limit % self.fmt.align
        segment.find_batches(limit)

    def _find_chain(self):
        synced = 0  # By the chain so far: only newer segments can speak of a segment's first event.
        for index in range(len(self.segments) - 1, -1, -1):
            s, older = self.segments[index], self.segments[:index]
            if s.uid is None:
                self._say("S-HOLE", s.file)
                return
            if s.link is None:
                first = s.first_batch_seqno
                if first is None and not self.chain:
                    if older and older[-1].number != s.number - 1:
                        # A spare is made when the log has moved into the segment before it: that one is lost.
                        self._say("S-HOLE", s.file)
                        s.damages.add(f"segment-{s.number - 1:010}.log", 0, "segment_file", Bad(None, "a segment", "no file"))
                        return
                    self._say("S-SPARE", s.file)
                    s.fate = "removed"
                    continue
                self._say("S-NOLINK", s.file)
                if first is None and self.chain[0].link:
                    first = self.chain[0].link["predecessor_last_seqno"]
                if first is not None and first <= max(synced, s.synced_mark):
                    if s.first_batch_seqno is not None:
                        self.chain.insert(0, s)
                    return
                # What it and newer ones say of durability stays true.
                self.synced_max = max(self.synced_max, synced, s.synced_mark)
                self._remove_newer(s)
                synced = 0
                continue
            label = self._relation(s, older[-1]) if older else None
            if label == "S-STALE":
                self._say(label, s.file)
                self._remove_newer(s)
                synced = 0
                continue
            self.chain.insert(0, s)
            synced = max(synced, s.synced_mark)
            if label:
                self._say(label, s.file)
                if label == "S-SPLIT":
                    s.damages.add(s.file, 0, "segment_file", Bad(None, "the predecessor that the link names", "another"))
                if label == "S-HOLE" and older[-1].number != s.number - 1:
                    s.damages.add(f"segment-{s.number - 1:010}.log", 0, "segment_file", Bad(None, "a segment", "no file"))
                return

    def _relation(self, s, p):
        """What is wrong between a segment with a link and the next older file; None if nothing is."""
        if s.link["predecessor_number"] != s.number - 1:
            return "S-SPLIT"
        if p.number != s.number - 1 or p.uid is None:
            return "S-HOLE"
        if s.link["predecessor_uid"] != p.uid:
            return "S-SPLIT"
        if p.footer and p.footer["data_end_offset"] != s.link["predecessor_end_offset"]:
            return "S-STALE"
        if p.footer and p.footer["last_seqno"] != s.link["predecessor_last_seqno"]:
            return "S-SPLIT"
        return None

    def _remove_newer(self, segment):
        for gone in [segment] + self.chain:
            gone.fate = "removed"
        self.chain = []

    def _apply_all(self):
        for index, segment in enumerate(self.chain):
            following = self.chain[index + 1] if index + 1 < len(self.chain) else None
            if segment.footer:
                self._say("S-TRUST", segment.file)
                self._apply_entries(segment)
                self.log_end, self.last_seqno = (segment, segment.footer["data_end_offset"]), segment.footer["last_seqno"]
            else:
                if segment.link:
                    self._say("S-SCAN", segment.file)
                if self._scan(segment, following):
                    self._cut(index + 1)
                    break
        if self.chain and self.last_seqno < self.synced_max:
            # Durable events behind the end are gone without a trace of their keys.
            self._say("V-OLDER", self.log_end[0].file, self.log_end[1])
            self.live, self.chain, self.log_end = {}, [], None

    def _cut(self, index):
        """The log ends before the chain's segment `index`."""
        for segment in self.chain[index:]:
            segment.fate = "removed"
        self.chain = self.chain[:index]
        segment, offset = self.log_end
        if not segment.footer:
            segment.damages.drop(segment.file, offset)

    def _apply_entries(self, segment):
        """A footer's entries are the events. Records are looked at too, which is a checker's duty: reads would come to the same."""
        fmt, tail = self.fmt, segment.footer
        known = {r["offset"]: r for b in segment.batches for r in b["records"]}
        for entry in segment.entries:
            at = entry["offset"]
            stands_for_damage = tail["damaged_count"] > 0 and entry["kind"] != fmt.record_kind_put
            record = known.get(at)
            if record is None and not stands_for_damage:
                record = segment.record_at(at, tail["data_end_offset"], tail["data_end_offset"])
            record = record or {"header_ok": False}
            is_it = record["header_ok"] and record["kind"] == entry["kind"] and record["key_hash"] == entry["key_hash"]
            if entry["kind"] == fmt.record_kind_clear:
                self.live.clear()
            elif entry["kind"] == fmt.record_kind_tombstone or not is_it or not record["payload_ok"] or not record["key_hash_ok"]:
                self.live.pop(entry["key_hash"], None)
            else:
                self.live[entry["key_hash"]] = (segment, record)
            label = fmt.verdict(header=is_it, payload=record.get("payload_ok", False), named=True, synced=True)
            if label != "V-KEEP" and not stands_for_damage:
                self._say(label, segment.file, at)
                if not is_it and record["header_ok"]:
                    expected, found = (f"kind {x['kind']} of {x['key_hash']:#018x}" for x in (entry, record))
                    segment.damages.add(segment.file, at, "record", Bad("key_hash", expected, found))

    def _bad_header(self, segment, offset, seqno, void=False):
        """True: go on behind it."""
        label = self.fmt.verdict(header=False, synced=seqno <= self.synced_max, void=void)
        self._say(label, segment.file, offset)
        if label == "V-OLDER":
            self.live.clear()
        return label != "V-TORN"

    def _scan(self, segment, following):
        """Judges an unsealed segment; sets where it ends. True if the log ends in it."""
        limit, step = segment.limit, self.fmt.align
        offset = end = self.fmt.front.size
        seqno = segment.link["predecessor_last_seqno"] + 1 if segment.link else segment.first_batch_seqno
        batches, reached, damaged_end = list(segment.batches), seqno, 0
        while offset < limit:
            batch = batches[0] if batches else None
            if batch and batch["offset"] == offset and batch["first_seqno"] == seqno:
                batches.pop(0)
                cut = self._judge_records(segment, batch)
                if cut is not None:
                    self.log_end, self.last_seqno = (segment, cut["offset"]), cut["seqno"] - 1
                    return True
                records = batch["records"]
                if records and not records[-1]["header_ok"]:
                    end, reached = min(batch["end"], limit), batch["first_seqno"] + batch["record_count"]
                    damaged_end = damaged_end if batch["end"] < limit else records[-1]["offset"] + step
                else:
                    end = records[-1]["end"] if records else offset + self.fmt.batch.size
                    reached = batch["first_seqno"] + len(records)
                offset, seqno = batch["end"], batch["first_seqno"] + batch["record_count"]
                continue
            if batch is None and following is None and seqno > self.synced_max and segment.is_blank(offset):
                self.log_end, self.last_seqno = (segment, offset), seqno - 1
                return True
            if not self._bad_header(segment, offset, seqno, void=batch is not None and batch["first_seqno"] == seqno):
                self.log_end, self.last_seqno = (segment, offset), seqno - 1
                return True
            if batch is None:
                damaged_end = offset + step
                break
            offset, seqno = batch["offset"], batch["first_seqno"]
        if following is None:
            self.log_end = (segment, max(end, damaged_end))
            self.last_seqno = max(reached - 1, self.synced_max if damaged_end else 0)
            return False
        link = following.link
        if reached <= link["predecessor_last_seqno"] and damaged_end <= end and not self._bad_header(segment, end, reached):
            self.log_end, self.last_seqno = (segment, end), reached - 1
            return True
        self.log_end, self.last_seqno = (segment, link["predecessor_end_offset"]), link["predecessor_last_seqno"]
        return False

    def _judge_records(self, segment, batch):
        """The record at which the log ends, if it does."""
        fmt = self.fmt
        for record in batch["records"]:
            if not record["header_ok"]:
                return None if self._bad_header(segment, record["offset"], record["seqno"]) else record
            if not record["payload_ok"]:
                label = fmt.verdict(header=True, synced=record["seqno"] <= self.synced_max)
                self._say(label, segment.file, record["offset"])
                if label == "V-CUT":
                    return record
                self.live.pop(record["key_hash"], None)
            elif record["kind"] == fmt.record_kind_clear:
                self.live.clear()
            elif record["kind"] == fmt.record_kind_tombstone or not record["key_hash_ok"]:
                self.live.pop(record["key_hash"], None)
            else:
                self.live[record["key_hash"]] = (segment, record)
        return None


# ---- output -----------------------------------------------------------------------------------------------------------------

SHOWN_VALUE_MAX = 256


def plain(values, without=()):
    return {k: v.hex() if isinstance(v, (bytes, bytearray)) else v for k, v in values.items() if k not in without}


def shown_value(value):
    if len(value) <= SHOWN_VALUE_MAX:
        return {"value_hex": value.hex()}
    return {"value_crc32": crc32(value)}


def shown_record(record):
    shown = plain(record, without=("end", "key", "value"))
    if record["key"] is not None:
        shown.update(key_hex=record["key"].hex(), **shown_value(record["value"]))
    return shown


def shown_segment(segment):
    footer = None
    if segment.footer:
        footer = {**plain(segment.footer), "offset": segment.tail_offset, "entries": segment.entries}
    records = {r["offset"]: r for b in segment.batches for r in b["records"]}
    if segment.footer:
        end, exact = segment.footer["data_end_offset"], segment.footer["damaged_count"] == 0
        for i, entry in enumerate(segment.entries):
            if entry["offset"] in records:
                continue
            if exact or entry["kind"] == segment.fmt.record_kind_put:
                record = segment.record_at(entry["offset"], end, end)
                records[entry["offset"]] = {**record, "seqno": segment.footer["first_seqno"] + i if exact else None}
    return {
        "file": segment.file,
        "number": segment.number,
        "file_len": segment.file_len,
        "state": segment.state,
        "fate": segment.fate,
        "header": plain(segment.header) if segment.header else None,
        "header_copies": segment.header_copies,
        "link": plain(segment.link) if segment.link else None,
        "link_copies": segment.link_copies,
        "limit_offset": segment.limit,
        "batches": [plain(b, without=("end", "records")) for b in segment.batches],
        "records": [shown_record(records[offset]) for offset in sorted(records)],
        "footer": footer,
    }


def read_store(fmt, folder, now_unix_s=None):
    """The whole output as one object (README.md, "The reader's output")."""
    damages = Damages()
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise Refused("missing", os.path.basename(folder), 0, "a directory", error.strerror) from None
    identity, copies = read_identity(fmt, folder, damages)
    segment_name = re.compile(r"segment-([0-9]{10})\.(log|tmp)")
    ours, removable, ignored = [], [], []
    for name in names:
        match = segment_name.fullmatch(name)
        if match and 1 <= int(match.group(1)) <= fmt.segment_number_max:
            (ours if match.group(2) == "log" else removable).append(name)
        elif name in ("identity.tmp", WarmList.FILE + ".tmp", Counters.FILE + ".tmp"):
            removable.append(name)
        elif name not in ("identity", "lock", WarmList.FILE, Counters.FILE):
            ignored.append(name)
    segments = [Segment(fmt, identity, folder, name, damages) for name in ours]
    recovery = Recovery(fmt, segments)
    warm = WarmList(fmt, identity, folder, damages) if WarmList.FILE in names else None
    if warm and warm.entries is None:
        recovery.verdicts.append({"label": "W-LIST", "file": WarmList.FILE, "offset": warm.fault_offset})
    shown = [shown_segment(s) for s in segments]
    for segment in segments:  # A spare has no link: that is no damage.
        if segment.state == "spare":
            for name in "ab":
                damages.drop_exact(segment.file, fmt.front.at(f"link_{name}"))

    clock_mark = max([s.clock_mark for s in segments] + [0])

    live = {}
    now = None if now_unix_s is None else max(0, now_unix_s - identity["epoch_unix_s"])
    emptied = now is not None and clock_mark > now + fmt.clock_ahead_max_s
    if emptied:
        recovery.verdicts.append({"label": "S-AHEAD", "file": None, "offset": 0})
    for key_hash, (segment, record) in recovery.live.items():
        expired = now is not None and 0 < record["expiry"] <= max(now, clock_mark)
        if not emptied and not expired:
            live[record["key"].hex()] = {
                "expiry": record["expiry"],
                "key_hash": key_hash,
                "segment": segment.number,
                "offset": record["offset"],
                "value_len": record["value_len"],
                **shown_value(record["value"]),
            }
    counters = {"counters": Counters(fmt, identity, folder).shown()} if Counters.FILE in names else {}
    return {
        **counters,
        "clock_mark": clock_mark,
        "damages": damages.listed(),
        "files": {"ignored": ignored, "removable": removable},
        "identity": {**plain(identity), "copies": copies},
        "live": live,
        "log_end": {"segment": recovery.log_end[0].number, "offset": recovery.log_end[1]} if recovery.chain else None,
        "next_seqno": recovery.next_seqno,
        "synced_max": recovery.synced_max,
        "segments": shown,
        "verdicts": recovery.verdicts,
        "warm_list": warm.shown() if warm else None,
    }


def summary(result):
    lines = [f"store {result['identity']['store_id']}, {len(result['live'])} live keys, next seqno {result['next_seqno']}"]
    for s in result["segments"]:
        lines.append(f"  {s['file']}  {s['state']}, {s['fate']}, {len(s['records'])} records in {len(s['batches'])} batches")
    if result["warm_list"]:
        entries = result["warm_list"]["entries"]
        lines.append(f"  warm  {'does not verify' if entries is None else f'{len(entries)} keys'}")
    if result.get("counters"):
        page = result["counters"]["page"]
        lines.append("  counters  " + (f"page {page['sequence']}" if page else "no page"))
    for v in result["verdicts"]:
        lines.append(f"  {v['label']:9} {v['file']} at {v['offset']}")
    for d in result["damages"]:
        what = f"{d['structure']} {d['field'] or ''}".strip()
        lines.append(f"  damage: {d['file']} at {d['offset']}: {what}: expected {d['expected']}, found {d['found']}")
    return "\n".join(lines)


# ---- worked examples of the pages -------------------------------------------------------------------------------------------


def flat(values, prefix=""):
    """Nested values under dotted names."""
    result = {}
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, (dict, list)):
            result.update(flat(value, f"{prefix}{name}."))
        else:
            result[f"{prefix}{name}"] = value
    return result


def decode_example(fmt, structure, seed, offset, raw):
    """Decodes and verifies one worked dump; the values by name."""
    data = bytes(offset) + raw
    if structure.name == "link_batch":
        header = verified(fmt.batch, seed, data, offset)
        return flat({"header": header, "body": verified(fmt.link, seed, data, offset + fmt.batch.size)})
    if structure.name == "footer_tail" and len(raw) > fmt.tail.size:
        tail = verified(fmt.tail, seed, data, len(data) - fmt.tail.size)
        need(tail["data_end_offset"] == offset, "data_end_offset", offset, tail["data_end_offset"])
        listed = raw[: tail["entry_count"] * fmt.entry.size]
        crc = crc32(tail["uid"], offset.to_bytes(8, "little"), listed)
        need(crc == tail["entries_crc"], "entries_crc", f"{crc:#x}", f"{tail['entries_crc']:#x}")
        entries = [fmt.entry.decode(listed[i : i + fmt.entry.size]) for i in range(0, len(listed), fmt.entry.size)]
        for entry in entries:
            entry.update(fmt.place.decode_bits(entry["place"]))
        return flat({**tail, "entries": entries})
    if structure.name == "record":
        values = verified_record(fmt, seed, data, offset, len(data))
        start = fmt.record_size(values["flags"])
        payload = raw[start : start + values["key_len"] + values["value_len"]]
        need(crc32(payload) == values["payload_crc"], "payload_crc", f"{crc32(payload):#x}", f"{values['payload_crc']:#x}")
        need(len(raw) == fmt.up(start + len(payload)), "value_len", "the dump's length", len(raw))
        return {**values, "key": payload[: values["key_len"]], "value": payload[values["key_len"] :]}
    values = verified(structure, seed, data, offset)
    if structure.name == "warm_header":
        listed, size = raw[structure.size :], fmt.warm_entry.size
        need(len(listed) == values["entry_count"] * size, "entry_count", values["entry_count"], f"{len(listed)} bytes")
        crc = warm_entries_crc(fmt, seed, listed)
        need(crc == values["entries_crc"], "entries_crc", f"{crc:#x}", f"{values['entries_crc']:#x}")
        return flat({**values, "entries": [fmt.warm_entry.decode(listed[i : i + size]) for i in range(0, len(listed), size)]})
    if structure.name == "counters_page":
        page = counters_page(fmt, seed, data, offset)
        size = structure.size + page["text_len"] + len(page["segments"]) * fmt.counters_segment.size
        need(len(raw) == size, None, f"{size} bytes", len(raw))
        return flat({**page, "text": json.loads(bytes.fromhex(page["text"]))})
    need(len(raw) == structure.size, None, f"{structure.size} bytes", len(raw))
    return values


def parse_value(text):
    if text.startswith('"'):
        return text.strip('"').encode()
    if text.startswith("hex:"):
        return bytes.fromhex(text[4:])
    return int(text, 0)


def check_pages(pages, fmt):
    """Verifies every worked example; how many there were, and all that is wrong."""
    count, wrong = 0, []
    for page, text in pages.texts.items():
        for match in re.finditer(r"^```(\w+) ?(.*)\n((?:(?!```).*\n)*)```\n((?:\s*\n)?(?:- `.*\n)*)", text, re.M):
            kind, options, body, listed = match.groups()
            if kind not in ("hexdump", "checksum", "key_hash"):
                continue
            count += 1
            where = f"{page}, {kind} {options}"
            given = dict(word.split("=", 1) for word in options.split() if "=" in word)
            try:
                if kind == "checksum":
                    offset = int(given["offset"]).to_bytes(8, "little")
                    values = {"result": crc32(bytes.fromhex(given["seed"]), offset, bytes.fromhex(body))}
                elif kind == "key_hash":
                    values = {"result": xxh3_64(body.strip().encode(), int(given["salt"], 0))}
                else:
                    raw = bytes.fromhex("".join(line[6:] for line in body.splitlines()))
                    structure = fmt_structure(pages, options.split()[0])
                    values = decode_example(fmt, structure, bytes.fromhex(given["seed"]), int(given["offset"]), raw)
            except (Bad, KeyError, ValueError) as error:
                wrong.append(f"{where}: {error!r} {getattr(error, 'expected', '')} {getattr(error, 'found', '')}")
                continue
            said = re.findall(r"^- `([\w.]+)` = `([^`]+)`", listed, re.M)
            if not said:
                wrong.append(f"{where}: no values are listed")
            for name, value in said:
                if name not in values or values[name] != parse_value(value):
                    wrong.append(f"{where}: the list says {name} = {value}, the dump says {values.get(name)!r}")
    return count, wrong


def fmt_structure(pages, name):
    if name not in pages.structures:
        raise PageError(f"a worked example of an unknown structure {name}")
    return pages.structures[name]


# ---- command line -----------------------------------------------------------------------------------------------------------


def main(arguments):
    parser = argparse.ArgumentParser(description="Reads an emberlog store by the tables of the format pages.")
    parser.add_argument("folders", nargs="*", metavar="DIR", help="the store; several with --json give a list")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--now", type=int, metavar="UNIX_SECONDS", help="judge expiry and clock marks at this time")
    parser.add_argument("--check-pages", action="store_true", help="verify the worked examples of the pages")
    parser.add_argument("--self-test", action="store_true", help="build small stores, break them, compare the verdicts")
    options = parser.parse_args(arguments)
    if not (options.folders or options.check_pages or options.self_test):
        parser.error("give a directory, --check-pages or --self-test")
    try:
        pages = Pages(os.path.dirname(os.path.abspath(__file__)))
        fmt = Format(pages)
    except PageError as error:
        print(f"the pages are wrong: {error}", file=sys.stderr)
        return 2
    code = 0
    if options.check_pages:
        count, wrong = check_pages(pages, fmt)
        print(f"{len(pages.structures)} tables, {count} worked examples, {len(wrong)} wrong", file=sys.stderr)
        for line in wrong:
            print(f"  {line}", file=sys.stderr)
        code = 1 if wrong or not count else code
    if options.self_test:
        from self_test import SelfTest  # Only here, so that this file alone is a complete reader.

        count, failed = SelfTest(pages, fmt).run()
        print(f"{count} tests, {len(failed)} failed", file=sys.stderr)
        for line in failed:
            print(f"  {line}", file=sys.stderr)
        code = 1 if failed else code
    results = []
    for folder in options.folders:
        try:
            results.append(read_store(fmt, folder, options.now))
            code = max(code, 1 if results[-1]["damages"] else 0)
        except Refused as refused:
            results.append({"error": refused.report})
            print(refused, file=sys.stderr)
            code = 2
    if options.json and results:
        print(json.dumps(results if len(results) > 1 else results[0], sort_keys=True, indent=1))
    elif not options.json:
        for result in results:
            if "error" not in result:
                print(summary(result))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
