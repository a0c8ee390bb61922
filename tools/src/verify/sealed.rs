//! Every record of a sealed segment, found by its footer: damage in one does not hide the next.
//!
//! Memory: a window, or the longest record if that is longer; no length is believed that the file does not have.

use std::io;

use emberlog::disk::DiskFile;
use emberlog::format::batch::BatchHeader;
use emberlog::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::format::segment::{DATA_START, SegmentHeader};
use emberlog::format::{DecodeError, Fault, Seed};
use emberlog::recovery::survey::SegmentSurvey;
use emberlog::recovery::verdict::{RecordFacts, record};

use crate::store::{Damage, DamageList, Verdict};

const WINDOW_LEN: usize = 256 << 10;
const ENTRIES_STEP: u64 = 4096;
const KNOWN: Verdict = Verdict::none("it was found before: the footer has a tombstone or clear in its place");
const NO_NEED: Verdict = Verdict::none("the footer names the records behind it");

/// Checks the records and batches. Returns how many records verify.
pub(super) fn check(file: &dyn DiskFile, segment: &SegmentSurvey, damage: &mut DamageList) -> io::Result<u64> {
    let Some(tail) = segment.footer else { return Ok(0) };
    let name = &segment.file;
    let mut window = Window { file, limit: tail.data_end_offset.into(), start: 0, bytes: Vec::new() };
    let mut sound_count = 0;
    // Where the next batch header is, if that is known: behind a record whose length verifies.
    let mut at = Some(DATA_START);
    let mut left = u64::from(tail.entry_count);
    let mut entries_at = u64::from(tail.data_end_offset);
    let mut raw = vec![0; left.min(ENTRIES_STEP) as usize * ENTRY_LEN];
    while left > 0 {
        let step = left.min(ENTRIES_STEP);
        let got = file.read_at(entries_at, &mut raw[..step as usize * ENTRY_LEN])?;
        for bytes in raw[..got].as_chunks::<ENTRY_LEN>().0 {
            // They verified a moment ago; if not, the file has changed, and another reading will tell.
            let entry =
                FooterEntry::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let offset = u64::from(entry.offset);
            check_batches(&mut window, name, &tail.header, at, offset, damage)?;
            at = check_record(&mut window, name, &tail, &entry, damage)?.map(|len| offset + len);
            sound_count += u64::from(at.is_some());
        }
        if got < step as usize * ENTRY_LEN {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        entries_at += got as u64;
        left -= step;
    }
    check_batches(&mut window, name, &tail.header, at, tail.data_end_offset.into(), damage)?;
    Ok(sound_count)
}

/// Checks the batch headers that fill the place between two records.
fn check_batches(
    window: &mut Window,
    name: &str,
    header: &SegmentHeader,
    from: Option<u64>,
    to: u64,
    damage: &mut DamageList,
) -> io::Result<()> {
    let Some(mut at) = from else { return Ok(()) };
    let len = BatchHeader::LEN as u64;
    while at < to {
        let bytes = window.get(at, len.min(to - at))?;
        if let Err(error) = BatchHeader::decode(header.seed(), at, bytes) {
            damage.push(Damage::of(name, at, len.min(to - at), error, NO_NEED));
        }
        at += len;
    }
    Ok(())
}

/// Checks one record. Returns its length if all of it verifies.
fn check_record(
    window: &mut Window,
    name: &str,
    tail: &FooterTail,
    entry: &FooterEntry,
    damage: &mut DamageList,
) -> io::Result<Option<u64>> {
    let offset = u64::from(entry.offset);
    let header = decode_header(window, tail.header.seed(), offset)?;
    let verdict = |header_ok, kind_of_put| {
        // A footer that names no put here has taken the damage into account.
        if tail.damaged_count > 0 && entry.kind != RecordKind::Put && kind_of_put {
            return KNOWN;
        }
        Verdict::of(record(RecordFacts { header_ok, payload_ok: false, named: true, synced: true }).0)
    };
    let header = match header {
        Ok(header) => header,
        Err(error) => {
            let clear = entry.kind == RecordKind::Clear;
            damage.push(Damage::of(name, offset, RecordHeader::LEN as u64, error, verdict(false, clear)));
            return Ok(None);
        }
    };
    let payload_at = offset + header.len() as u64;
    if let Err(error) = header.payload(window.get(payload_at, header.payload_len())?) {
        damage.push(Damage::of(
            name,
            offset,
            header.record_len(),
            error,
            verdict(true, header.kind == RecordKind::Put),
        ));
        return Ok(None);
    }
    if (header.key_hash, header.kind) != (entry.key_hash, entry.kind) {
        let fault = Fault::Field { field: "key hash and kind, as in the footer", found: header.key_hash };
        let error = DecodeError { structure: "record header", fault };
        let verdict = Verdict::none("the index finds another key's record there: a miss");
        damage.push(Damage::of(name, offset, header.record_len(), error, verdict));
    }
    Ok(Some(header.record_len()))
}

/// The header of a record, with its length held against the segment's.
fn decode_header(window: &mut Window, seed: Seed, offset: u64) -> io::Result<Result<RecordHeader, DecodeError>> {
    let room = window.limit.saturating_sub(offset);
    let bytes = window.get(offset, RecordHeader::LEN_MAX as u64)?;
    Ok(RecordHeader::decode(seed, offset, bytes).and_then(|header| {
        let fault = Fault::Truncated { expected: header.record_len(), found: room };
        let error = DecodeError { structure: "record header", fault };
        if header.record_len() <= room { Ok(header) } else { Err(error) }
    }))
}

/// Reads ahead.
struct Window<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// `len` bytes from `offset`, fewer at the limit.
    fn get(&mut self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let len = len.min(self.limit.saturating_sub(offset)) as usize;
        let held = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            let ahead = (len.max(WINDOW_LEN) as u64).min(self.limit.saturating_sub(offset)) as usize;
            self.bytes.resize(ahead, 0);
            let got = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(got);
            self.start = offset;
        }
        let from = (offset.saturating_sub(self.start) as usize).min(self.bytes.len());
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }
}
