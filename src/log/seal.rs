//! Sealing: the footer that makes a segment trusted. Written behind the synced data, synced itself, and the file ends with it.

use super::scan::{self, Depth, Item};
use super::segment::End;
use crate::disk::DiskFile;
use crate::format::align_up;
use crate::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use crate::format::record::RecordKind;
use crate::format::segment::{Link, SegmentHeader};
use std::io;
use std::ops::ControlFlow;

/// Gathers entries and writes them in pieces.
struct Entries<'a> {
    file: &'a dyn DiskFile,
    hasher: crc32fast::Hasher,
    pending: Vec<u8>,
    at: u64,
    count: u32,
    damaged: u32,
    error: Option<io::Error>,
}

const PENDING_LEN: usize = 4096 * ENTRY_LEN;

impl Entries<'_> {
    fn push(&mut self, entry: FooterEntry) -> ControlFlow<()> {
        let bytes = entry.encode();
        self.hasher.update(&bytes);
        self.pending.extend_from_slice(&bytes);
        self.count += 1;
        if self.pending.len() >= PENDING_LEN {
            return self.write_out();
        }
        ControlFlow::Continue(())
    }

    fn write_out(&mut self) -> ControlFlow<()> {
        if let Err(error) = self.file.write_at(self.at, &self.pending) {
            self.error = Some(error);
            return ControlFlow::Break(());
        }
        self.at += self.pending.len() as u64;
        self.pending.clear();
        ControlFlow::Continue(())
    }
}

/// Writes the footer of a segment whose records, up to `end`, are durable; cuts the file behind it and syncs both. Returns the tail.
///
/// Reads the record headers again within a window; with [`Depth::Payloads`] the payloads too. What does not verify is durable damage: it stands
/// as a tombstone where the key is known, else as a clear.
pub(crate) fn seal(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    link: &Link,
    end: End,
    clock_mark_s: u32,
    depth: Depth,
) -> io::Result<FooterTail> {
    let mut entries = Entries {
        file,
        hasher: FooterTail::entries_hasher(header.uid, end.data_end),
        pending: Vec::with_capacity(PENDING_LEN + ENTRY_LEN),
        at: end.data_end.into(),
        count: 0,
        damaged: 0,
        error: None,
    };
    let first_seqno = link.predecessor_last_seqno + 1;
    scan::scan(file, header, end.data_end, Some(first_seqno), depth, &mut |item| match item {
        Item::Batch { .. } => ControlFlow::Continue(()),
        Item::Record { offset, header, payload: Ok(()), .. } => entries.push(FooterEntry {
            key_hash: header.key_hash,
            offset,
            kind: header.kind,
            reinserted: header.reinserted,
        }),
        Item::Record { offset, header, payload: Err(_), .. } => {
            entries.damaged += 1;
            entries.push(FooterEntry {
                key_hash: header.key_hash,
                offset,
                kind: RecordKind::Tombstone,
                reinserted: false,
            })
        }
        Item::Gap(gap) if gap.loses_nothing() => ControlFlow::Continue(()),
        Item::Gap(gap) => {
            entries.damaged += 1;
            entries.push(FooterEntry { key_hash: 0, offset: gap.offset, kind: RecordKind::Clear, reinserted: false })
        }
    })?;
    if entries.error.is_none() {
        let padding = align_up(entries.pending.len() as u64) as usize - entries.pending.len();
        // Whole pieces are multiples of 16 bytes, so padding is due at the end only.
        entries.pending.resize(entries.pending.len() + padding, 0);
        let _ = entries.write_out();
    }
    if let Some(error) = entries.error {
        return Err(error);
    }
    let tail = FooterTail {
        header: SegmentHeader { clock_mark_s, ..*header },
        link: *link,
        first_seqno,
        last_seqno: end.last_seqno,
        data_end_offset: end.data_end,
        entry_count: entries.count,
        entries_crc: entries.hasher.finalize(),
        damaged_count: entries.damaged,
    };
    let tail_offset = entries.at;
    file.write_at(tail_offset, &tail.encode(tail_offset))?;
    file.truncate(tail_offset + FooterTail::LEN as u64)?;
    file.sync_data()?;
    Ok(tail)
}
