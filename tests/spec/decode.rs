//! What the crate makes of a store's bytes, in the words of the reader's output (`format-spec/README.md`).
//!
//! All but `damages`, which are the reader's own list. Structures are decoded by `emberlog::format`, batches walked by `emberlog::log::scan`,
//! verdicts, chain and live keys taken from `emberlog::recovery::survey`; nothing here judges by itself.

use crate::store::Files;
use emberlog::disk::{Access, Disk as _, SimDisk};
use emberlog::format::batch::{BatchHeader, BatchKind};
use emberlog::format::counters::{CellState, PLACE_OFFSETS, Page, PageHeader, RunState};
use emberlog::format::footer::{FooterEntry, FooterTail};
use emberlog::format::identity::{COPY_OFFSETS, Identity};
use emberlog::format::names::{self, FileName};
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::format::segment::{HEADER_OFFSETS, LINK_OFFSETS, Link, SegmentHeader};
use emberlog::format::warm::WarmHeader;
use emberlog::log::scan::{self, Depth, Item};
use emberlog::recovery::counters_page::{self, CountersFile};
use emberlog::recovery::survey::{SegmentSurvey, Survey, Visitor};
use emberlog::recovery::verdict::{self, RecordFacts, SegmentVerdict};
use emberlog::recovery::warm_list::WarmList;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;

/// Values up to this length are shown whole.
const SHOWN_VALUE_MAX: usize = 256;

/// A store as the crate reads it.
pub(crate) struct Decoded {
    /// The reader's output.
    pub(crate) shown: Value,
    /// Live keys with their values.
    pub(crate) live: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
}

/// The events that count, as a map from key hash to place.
#[derive(Default)]
struct Events {
    current: usize,
    applied: Vec<usize>,
    live: BTreeMap<u64, (usize, u32)>,
}

impl Visitor for Events {
    fn segment(&mut self, index: usize) {
        self.current = index;
        self.applied.push(index);
    }
    fn put(&mut self, key_hash: u64, offset: u32) {
        self.live.insert(key_hash, (self.current, offset));
    }
    fn tombstone(&mut self, key_hash: u64) {
        self.live.remove(&key_hash);
    }
    fn clear(&mut self) {
        self.live.clear();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// Reads a store as `Builder::open` would.
///
/// # Errors
/// Those of the survey.
pub(crate) fn decode(files: &Files) -> Result<Decoded, emberlog::Error> {
    let disk = SimDisk::from_snapshot(0, files);
    let mut events = Events::default();
    let survey = Survey::read(&disk, Depth::Headers, None, &mut events)?;
    let segments: Vec<Segment<'_>> = survey
        .segments
        .iter()
        .map(|found| Segment::read(&disk, &survey.identity, found, &survey.segments, &files[&found.file]))
        .collect();

    let mut live = BTreeMap::new();
    let mut shown_live = Map::new();
    for (&key_hash, &(index, offset)) in &events.live {
        let segment = &segments[index];
        let Some(record) = segment.record(offset, &survey.identity) else { continue };
        let Some((key, value)) = record.payload else { continue };
        if record.header.kind != RecordKind::Put || record.header.key_hash != key_hash || !record.key_hash_ok {
            continue;
        }
        let mut shown = json!({
            "expiry": record.header.expiry_s, "key_hash": key_hash, "segment": segment.found.number,
            "offset": offset, "value_len": record.header.value_len,
        });
        show_value(&mut shown, value);
        shown_live.insert(hex(key), shown);
        live.insert(key.to_vec(), (value.to_vec(), record.header.expiry_s));
    }
    let last = survey.kept().next_back().map(|index| &survey.segments[index]);
    let of_kind =
        |wanted: FileName| -> Vec<&String> { files.keys().filter(|name| names::parse(name) == wanted).collect() };
    let mut shown = json!({
        "clock_mark": survey.clock_mark_s,
        "files": {"ignored": of_kind(FileName::Foreign), "removable": of_kind(FileName::Temporary)},
        "identity": show_identity(&survey.identity, &files["identity"]),
        "live": shown_live,
        "log_end": last.map(|last| json!({"segment": last.number, "offset": last.data_end})),
        "next_seqno": last.map_or(1, |last| last.last_seqno + 1),
        "synced_max": survey.synced_max,
        "segments": segments.iter().map(|segment| segment.show(&survey.identity)).collect::<Vec<_>>(),
        "verdicts": show_verdicts(&survey, &events.applied, &segments),
        "warm_list": show_warm_list(&survey, &disk, files),
    });
    if let Some(counters) = show_counters(&survey, &disk, files) {
        shown["counters"] = counters;
    }
    Ok(Decoded { shown, live })
}

fn show_value(shown: &mut Value, value: &[u8]) {
    if value.len() <= SHOWN_VALUE_MAX {
        shown["value_hex"] = json!(hex(value));
    } else {
        shown["value_crc32"] = json!(crc32fast::hash(value));
    }
}

fn show_identity(identity: &Identity, file: &[u8]) -> Value {
    let is_good = |offset: u64| {
        let copy = file.get(offset as usize..).unwrap_or(&[]);
        Identity::decode(offset, copy).is_ok()
    };
    let [a, b] = COPY_OFFSETS.map(is_good);
    let used = if a { COPY_OFFSETS[0] } else { COPY_OFFSETS[1] } as usize;
    json!({
        "checksum": u32_at(file, used), "format_version": identity.format_version,
        "required_features": identity.required_features, "optional_features": identity.optional_features,
        "store_id": hex(&identity.store_id), "hash_salt": identity.hash_salt, "epoch_unix_s": identity.epoch_unix_s,
        "hash_kind": 1, "checksum_kind": 1, "align_log2": 3, "copy": usize::from(!a), "copies": {"a": a, "b": b},
    })
}

/// In the order of being given: those of the chain, newest first; then those of each segment whose events were looked at, oldest first.
fn show_verdicts(survey: &Survey, applied: &[usize], segments: &[Segment<'_>]) -> Vec<Value> {
    let line = |label: &str, file: &str, offset: u64| json!({"label": label, "file": file, "offset": offset});
    let mut shown = Vec::new();
    for found in survey.segments.iter().rev() {
        if found.label == "S-SPARE" {
            shown.push(line(found.label, &found.file, 0));
        }
        let of_chain = survey.findings.iter().filter(|finding| finding.file == found.file);
        for finding in of_chain.filter(|finding| finding.label.starts_with("S-")) {
            shown.push(line(finding.label, &finding.file, 0));
        }
    }
    for &index in applied {
        let segment = &segments[index];
        let file = &segment.found.file;
        if segment.found.footer.is_some() {
            shown.push(line("S-TRUST", file, 0));
            for (label, offset) in segment.damaged_entries(&survey.identity) {
                shown.push(line(label, file, offset.into()));
            }
        } else if segment.found.link.is_some() {
            shown.push(line("S-SCAN", file, 0));
        }
        let of_log = survey.findings.iter().filter(|finding| finding.file == *file);
        for finding in of_log.filter(|finding| finding.label.starts_with("V-")) {
            shown.push(line(finding.label, file, finding.offset));
        }
    }
    let of_warm_list = survey.findings.iter().filter(|finding| finding.label.starts_with("W-"));
    shown.extend(of_warm_list.map(|finding| line(finding.label, &finding.file, finding.offset)));
    shown
}

/// The header by the codec, the entries as an open reads them.
fn show_warm_list(survey: &Survey, disk: &SimDisk, files: &Files) -> Option<Value> {
    let (file, found) = (files.get(names::WARM)?, survey.warm.as_ref().expect("the survey saw the file"));
    let store_id = survey.identity.store_id;
    let header = WarmHeader::decode(store_id, file.len() as u64, file).ok().map(|header| {
        json!({
            "checksum": u32_at(file, 0), "format_version": emberlog::format::FORMAT_VERSION,
            "entries_crc": header.entries_crc, "required_features": 0, "store_id": hex(&header.store_id),
            "entry_count": header.entry_count,
        })
    });
    let list = WarmList::open(disk, store_id).ok().map(|list| list.expect("the file is there"));
    let named = found.named.map(|named| named.keys + named.records);
    assert_eq!(list.as_ref().map(WarmList::left_count), named, "survey and list agree");
    let entries = list.map(|mut list| {
        let mut shown = Vec::new();
        while list.left_count() > 0 {
            let next = list.next_entries(2).expect("reading works");
            shown
                .extend(next.iter().map(
                    |entry| json!({"subject": entry.subject, "popularity": entry.popularity, "kind": entry.kind}),
                ));
        }
        shown
    });
    Some(json!({
        "file_len": found.file_len, "verified": entries.is_some(), "header": header, "entries": entries,
    }))
}

/// The file as the tools read it.
fn show_counters(survey: &Survey, disk: &SimDisk, files: &Files) -> Option<Value> {
    let file = counters_page::read(disk, survey.identity.store_id).expect("reading works")?;
    let bytes = &files[names::COUNTERS];
    Some(match file {
        CountersFile::Foreign => json!({"ours": false, "page": null}),
        CountersFile::Ours { page, .. } => json!({"ours": true, "page": page.map(|page| show_page(&page, bytes))}),
    })
}

fn show_page(page: &Page, file: &[u8]) -> Value {
    let PageHeader { sequence, written_unix_ms, opened_unix_ms, process_id, state, text_len, cell_count } = page.header;
    let offset = PageHeader::place_offset(sequence) as usize;
    assert!(PLACE_OFFSETS.contains(&(offset as u64)));
    let cells = page.cells.iter().map(|cell| {
        let state = match cell.state {
            CellState::Spare => 1,
            CellState::Active => 2,
            CellState::Unsealed => 3,
            CellState::Sealed => 4,
        };
        json!({
            "first_number": cell.first_number, "segment_count": cell.segment_count, "state": state,
            "charged_bytes": cell.charged_bytes, "data_bytes": cell.data_bytes,
            "event_count": cell.event_count, "live_count": cell.live_count,
        })
    });
    json!({
        "checksum": u32_at(file, offset), "sequence": sequence, "written_unix_ms": written_unix_ms,
        "opened_unix_ms": opened_unix_ms, "process_id": process_id, "state": if state == RunState::Open { 1 } else { 2 },
        "body_crc": u32_at(file, offset + 40), "text_len": text_len, "cell_count": cell_count, "text": hex(&page.text),
        "segments": cells.collect::<Vec<_>>(),
    })
}

/// A segment of the survey, with its bytes.
struct Segment<'a> {
    found: &'a SegmentSurvey,
    bytes: &'a [u8],
    store_id: [u8; 16],
    limit: Option<u32>,
    items: Vec<Item>,
    entries: Vec<FooterEntry>,
}

/// A record whose header verifies.
struct Record<'a> {
    header: RecordHeader,
    payload: Option<(&'a [u8], &'a [u8])>,
    key_hash_ok: bool,
}

impl<'a> Segment<'a> {
    fn read(
        disk: &SimDisk,
        identity: &Identity,
        found: &'a SegmentSurvey,
        all: &[SegmentSurvey],
        bytes: &'a [u8],
    ) -> Self {
        let mut segment =
            Self { found, bytes, store_id: identity.store_id, limit: None, items: Vec::new(), entries: Vec::new() };
        let Some(header) = found.header else { return segment };
        // Where the successor says that the segment ends, nothing behind that is of the log.
        let names_this = |link: &Link| link.predecessor_uid == header.uid;
        let successor = all.iter().find(|other| Some(other.number) == found.number.checked_add(1));
        let named = successor.and_then(|other| other.link).filter(names_this).map(|link| link.predecessor_end_offset);
        let whole = header.len_bytes.min(bytes.len() as u32) / 8 * 8;
        let limit = found.footer.map_or(whole.min(named.unwrap_or(u32::MAX)), |tail| tail.data_end_offset);
        let first_seqno = found.link.map(|link| link.predecessor_last_seqno + 1);
        let file = disk.open(&found.file, Access::Read).expect("the file is there");
        scan::scan(&*file, &header, limit, first_seqno, Depth::Payloads, &mut |item| {
            segment.items.push(item);
            ControlFlow::Continue(())
        })
        .expect("reading works");
        segment.limit = Some(limit);
        if let Some(tail) = found.footer {
            let entries = tail.entries(&bytes[tail.data_end_offset as usize..]).expect("the survey believed them");
            segment.entries = entries.map(|entry| entry.expect("the survey believed it")).collect();
        }
        segment
    }

    /// The record at `offset`, if its header verifies and it ends where the records end.
    fn record(&self, offset: u32, identity: &Identity) -> Option<Record<'a>> {
        let (header, limit) = (self.found.header?, self.limit? as usize);
        let bytes = self.bytes.get(offset as usize..limit)?;
        let record = RecordHeader::decode(header.seed(), offset.into(), bytes).ok()?;
        if record.record_len() > bytes.len() as u64 {
            return None;
        }
        let payload = record.payload(&bytes[record.len()..]).ok();
        let is_of = |key: &[u8]| xxhash_rust::xxh3::xxh3_64_with_seed(key, identity.hash_salt) == record.key_hash;
        Some(Record { header: record, payload, key_hash_ok: payload.is_some_and(|(key, _)| is_of(key)) })
    }

    /// Entries of the footer whose record does not verify, with the verdict of the table. Entries that stand for damage already are none of them.
    fn damaged_entries(&self, identity: &Identity) -> Vec<(&'static str, u32)> {
        let stands_for_damage = |entry: &FooterEntry| {
            self.found.footer.is_some_and(|tail| tail.damaged_count > 0) && entry.kind != RecordKind::Put
        };
        let judge = |entry: &FooterEntry| {
            let record = self.record(entry.offset, identity);
            let is_it =
                |record: &Record<'_>| (record.header.kind, record.header.key_hash) == (entry.kind, entry.key_hash);
            let record = record.filter(is_it);
            let payload_ok = record.as_ref().is_some_and(|record| record.payload.is_some());
            let facts = RecordFacts { header_ok: record.is_some(), payload_ok, named: true, synced: true };
            (verdict::record(facts).0, entry.offset)
        };
        self.entries
            .iter()
            .filter(|entry| !stands_for_damage(entry))
            .map(judge)
            .filter(|(label, _)| *label != "V-KEEP")
            .collect()
    }

    fn show(&self, identity: &Identity) -> Value {
        let found = self.found;
        let own = |offset: u64| {
            let bytes = self.bytes.get(offset as usize..).unwrap_or(&[]);
            SegmentHeader::decode(self.store_id, offset, bytes).ok().filter(|header| header.number == found.number)
        };
        let [a, b] = HEADER_OFFSETS.map(own);
        let header_offset = HEADER_OFFSETS[usize::from(a.is_none())] as usize;
        let link_copy = |offset: u64| {
            let seed = found.header?.seed();
            let header = BatchHeader::decode(seed, offset, self.bytes.get(offset as usize..)?).ok()?;
            let body = offset + BatchHeader::LEN as u64;
            let link = Link::decode(seed, body, self.bytes.get(body as usize..)?).ok()?;
            (header.kind == BatchKind::Link).then_some(link)
        };
        let [link_a, link_b] = LINK_OFFSETS.map(|offset| link_copy(offset).is_some());
        let state = match (found.footer, a.or(b)) {
            (Some(_), _) => "sealed",
            (None, None) => "unreadable",
            (None, Some(_)) if found.link.is_some() || self.has_batch() => "unsealed",
            _ => "spare",
        };
        let fate = match found.verdict {
            _ if found.kept => "kept",
            SegmentVerdict::Spare | SegmentVerdict::Stale | SegmentVerdict::CutBefore => "removed",
            _ => "forgotten",
        };
        json!({
            "file": found.file, "number": found.number, "file_len": self.bytes.len(), "state": state, "fate": fate,
            "header": a.or(b).map(|header| show_header(&header, u32_at(self.bytes, header_offset))),
            "header_copies": {"a": a.is_some(), "b": b.is_some()},
            "link": found.link.map(|link| show_link(&link)),
            "link_copies": {"a": link_a, "b": link_b},
            "limit_offset": self.limit,
            "batches": self.show_batches(),
            "records": self.show_records(identity),
            "footer": found.footer.map(|tail| self.show_footer(&tail)),
        })
    }

    fn has_batch(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Batch { .. }))
    }

    fn show_batches(&self) -> Vec<Value> {
        let show = |item: &Item| {
            let Item::Batch { offset, header } = item else { return None };
            Some(json!({
                "checksum": u32_at(self.bytes, *offset as usize), "first_seqno": header.first_seqno,
                "synced_through": header.synced_through, "body_len": header.body_len,
                "record_count": header.record_count, "clock_mark": header.clock_mark_s, "kind": 1, "offset": offset,
            }))
        };
        self.items.iter().filter_map(show).collect()
    }

    fn show_records(&self, identity: &Identity) -> Vec<Value> {
        let mut shown = BTreeMap::new();
        for item in &self.items {
            match item {
                Item::Record { offset, seqno, payload, .. } => {
                    let record = self.show_record(*offset, Some(*seqno), identity);
                    assert_eq!(record["payload_ok"], json!(payload.is_ok()), "walk and decoder agree at {offset}");
                    shown.insert(*offset, record);
                }
                Item::Gap(gap) if gap.error.structure == "record header" => {
                    shown.insert(gap.offset, self.show_record(gap.offset, Some(gap.first_seqno), identity));
                }
                Item::Batch { .. } | Item::Gap(_) => {}
            }
        }
        // What stands behind a bad header in a batch is known only by the footer.
        if let Some(tail) = &self.found.footer {
            let is_exact = tail.damaged_count == 0;
            for (seqno, entry) in (tail.first_seqno..).zip(&self.entries) {
                if is_exact || entry.kind == RecordKind::Put {
                    let seqno = is_exact.then_some(seqno);
                    shown.entry(entry.offset).or_insert_with(|| self.show_record(entry.offset, seqno, identity));
                }
            }
        }
        shown.into_values().collect()
    }

    fn show_record(&self, offset: u32, seqno: Option<u64>, identity: &Identity) -> Value {
        let Some(record) = self.record(offset, identity) else {
            return json!({"offset": offset, "seqno": seqno, "header_ok": false});
        };
        let header = record.header;
        let mut shown = json!({
            "offset": offset, "seqno": seqno, "header_ok": true, "payload_ok": record.payload.is_some(),
            "header_crc": u32_at(self.bytes, offset as usize), "payload_crc": header.payload_crc,
            "key_hash": header.key_hash, "value_len": header.value_len, "expiry": header.expiry_s,
            "key_len": header.key_len, "kind": header.kind.code(), "flags": u8::from(header.reinserted) | u8::from(header.expiry_s != 0) << 1,
        });
        if let (Some((key, value)), RecordKind::Put) = (record.payload, header.kind) {
            shown["key_hex"] = json!(hex(key));
            shown["key_hash_ok"] = json!(record.key_hash_ok);
            show_value(&mut shown, value);
        }
        shown
    }

    fn show_footer(&self, tail: &FooterTail) -> Value {
        let offset = self.bytes.len() - FooterTail::LEN;
        let entries = self.entries.iter().map(|entry| {
            json!({
                "key_hash": entry.key_hash, "kind": entry.kind.code(), "offset": entry.offset,
                "reinserted": u8::from(entry.reinserted),
            })
        });
        let mut shown = json!({
            "offset": offset, "first_seqno": tail.first_seqno, "last_seqno": tail.last_seqno,
            "data_end_offset": tail.data_end_offset, "entry_count": tail.entry_count, "entries_crc": tail.entries_crc,
            "damaged_count": tail.damaged_count, "entries": entries.collect::<Vec<_>>(),
        });
        for (name, value) in [show_header(&tail.header, u32_at(self.bytes, offset)), show_link(&tail.link)]
            .into_iter()
            .filter_map(|part| if let Value::Object(fields) = part { Some(fields) } else { None })
            .flatten()
        {
            shown[name] = value;
        }
        shown
    }
}

fn show_header(header: &SegmentHeader, checksum: u32) -> Value {
    json!({
        "checksum": checksum, "uid": hex(&header.uid), "store_id": hex(&header.store_id),
        "segment_number": header.number, "format_version": emberlog::format::FORMAT_VERSION,
        "segment_len_bytes": header.len_bytes, "clock_mark": header.clock_mark_s, "required_features": 0,
    })
}

fn show_link(link: &Link) -> Value {
    json!({
        "predecessor_number": link.predecessor_number, "predecessor_uid": hex(&link.predecessor_uid),
        "predecessor_last_seqno": link.predecessor_last_seqno, "predecessor_end_offset": link.predecessor_end_offset,
    })
}

/// The first place where two values differ, and how; `None` if they are the same.
pub(crate) fn difference(place: &str, reader: &Value, crate_: &Value) -> Option<String> {
    match (reader, crate_) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            names.into_iter().find_map(|name| {
                let (left, right) = (left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null));
                difference(&format!("{place}.{name}"), left, right)
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            (0..left.len()).find_map(|index| difference(&format!("{place}[{index}]"), &left[index], &right[index]))
        }
        _ if reader == crate_ => None,
        _ => Some(format!("{place}: the reader says {reader}, the crate says {crate_}")),
    }
}
