//! Every record that is intact, whatever recovery would make of what is lost around it.
//!
//! A record whose key is known and whose value is lost takes the key's older values away: they are known to be old. Where it is not even known
//! which key was lost, an older value may be given out.
//!
//! Segments in the order of their numbers; in a sealed one the footer's entries, else a walk, and where that stops making sense every place at
//! which a record could begin is tried: a record's header has a checksum of its own, seeded with its place.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use emberlog::disk::{Access, Disk, DiskFile};
use emberlog::format::ALIGN_BYTES;
use emberlog::format::footer::{ENTRY_LEN, FooterTail};
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::format::segment::{DATA_START, SegmentHeader};
use emberlog::log::scan::{self, Depth, Item};
use emberlog::recovery::survey::{SegmentSurvey, Survey};

use crate::store::{Place, View};

const WINDOW_LEN: usize = 256 << 10;

/// Finds the newest intact put of each key that no event behind it took back, in log order; and counts records of known keys that are lost.
pub(super) fn find(view: &View, survey: &Survey) -> io::Result<(Vec<Place>, u64)> {
    let mut lost_count = 0;
    let mut newest: HashMap<u64, (u32, u32)> = HashMap::new();
    for (index, segment) in survey.segments.iter().enumerate() {
        let Some(header) = segment.header else { continue };
        let file = match view.open(&segment.file, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut events = events(&*file, segment, &header)?;
        events.sort_unstable_by_key(|event| event.offset);
        events.dedup_by_key(|event| event.offset);
        for event in events {
            lost_count += u64::from(event.is_lost);
            match event.kind {
                RecordKind::Put => drop(newest.insert(event.key_hash, (index as u32, event.offset))),
                RecordKind::Tombstone => drop(newest.remove(&event.key_hash)),
                RecordKind::Clear => newest.clear(),
            }
        }
    }
    let mut places: Vec<Place> =
        newest.into_iter().map(|(key_hash, (segment, offset))| Place { segment, offset, key_hash }).collect();
    places.sort_unstable_by_key(|place| (place.segment, place.offset));
    Ok((places, lost_count))
}

/// One event, and whether it stands for a record that is lost.
struct Event {
    offset: u32,
    key_hash: u64,
    kind: RecordKind,
    is_lost: bool,
}

fn event_of(offset: u32, header: &RecordHeader, is_intact: bool) -> Event {
    let kind = if is_intact { header.kind } else { RecordKind::Tombstone };
    Event { offset, key_hash: header.key_hash, kind, is_lost: !is_intact }
}

fn events(file: &dyn DiskFile, segment: &SegmentSurvey, header: &SegmentHeader) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    let (limit, first_seqno) = match &segment.footer {
        Some(tail) => {
            from_footer(file, tail, &mut events)?;
            (tail.data_end_offset, Some(tail.first_seqno))
        }
        None => {
            let limit = u32::try_from(segment.file_len).unwrap_or(u32::MAX).min(header.len_bytes);
            (limit, None)
        }
    };
    if segment.footer.is_some() && !events.is_empty() {
        return Ok(events);
    }
    let mut gaps = Vec::new();
    scan::scan(file, header, limit, first_seqno, Depth::Payloads, &mut |item| {
        match item {
            Item::Record { offset, header, payload, .. } => {
                events.push(event_of(offset, &header, payload.is_ok()));
            }
            Item::Gap(gap) if !(gap.blank && gap.resume.is_none()) => {
                gaps.push((gap.offset, gap.resume.map_or(limit, |(offset, _)| offset)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    for (from, until) in gaps {
        search(file, header, from, until, &mut events)?;
    }
    Ok(events)
}

/// The footer's events. Its clears that stand for damage are none here.
fn from_footer(file: &dyn DiskFile, tail: &FooterTail, events: &mut Vec<Event>) -> io::Result<()> {
    let mut bytes = vec![0; tail.entry_count as usize * ENTRY_LEN];
    let got = file.read_at(tail.data_end_offset.into(), &mut bytes)?;
    let Ok(entries) = tail.entries(&bytes[..got]) else { return Ok(()) };
    let mut payload = Vec::new();
    for entry in entries.map_while(Result::ok) {
        let record = read_record(file, &tail.header, entry.offset, &mut payload)?;
        events.push(match record {
            Some(header) => event_of(entry.offset, &header, true),
            None if entry.kind == RecordKind::Clear => continue,
            None => {
                let is_lost = entry.kind == RecordKind::Put;
                Event { offset: entry.offset, key_hash: entry.key_hash, kind: RecordKind::Tombstone, is_lost }
            }
        });
    }
    Ok(())
}

/// Tries every place between two offsets.
fn search(
    file: &dyn DiskFile,
    segment: &SegmentHeader,
    from: u32,
    until: u32,
    events: &mut Vec<Event>,
) -> io::Result<()> {
    let align = ALIGN_BYTES as u32;
    let mut at = from.max(DATA_START as u32).next_multiple_of(align);
    let mut window = vec![0; WINDOW_LEN + RecordHeader::LEN_MAX];
    let mut payload = Vec::new();
    while at < until {
        let got = file.read_at(at.into(), &mut window)?;
        let here = WINDOW_LEN.min((until - at) as usize).min(got);
        let mut next = at + (here as u32).next_multiple_of(align).max(align);
        for start in (0..here).step_by(ALIGN_BYTES as usize) {
            let offset = at + start as u32;
            let Ok(header) = RecordHeader::decode(segment.seed(), offset.into(), &window[start..got]) else { continue };
            let is_intact = read_record(file, segment, offset, &mut payload)?.is_some();
            events.push(event_of(offset, &header, is_intact));
            if is_intact {
                // Nothing begins within a record that verifies.
                next = offset + header.record_len() as u32;
                break;
            }
        }
        at = next;
    }
    Ok(())
}

/// Reads the record at an offset: its header, and key and value into `payload`. `None` if any of it does not verify.
pub(super) fn read_record(
    file: &dyn DiskFile,
    segment: &SegmentHeader,
    offset: u32,
    payload: &mut Vec<u8>,
) -> io::Result<Option<RecordHeader>> {
    let mut raw = [0; RecordHeader::LEN_MAX];
    let got = file.read_at(offset.into(), &mut raw)?;
    let Ok(header) = RecordHeader::decode(segment.seed(), offset.into(), &raw[..got]) else { return Ok(None) };
    let start = u64::from(offset) + header.len() as u64;
    // No length is believed that the file does not have.
    if file.len()?.saturating_sub(start) < header.payload_len() {
        return Ok(None);
    }
    payload.resize(header.payload_len() as usize, 0);
    let got = file.read_at(start, payload)?;
    Ok((got == payload.len() && header.payload(payload).is_ok()).then_some(header))
}
