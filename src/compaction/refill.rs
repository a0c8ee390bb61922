//! Memory after a restart: read back from the log, in the background, before requests ask for it.
//!
//! What compaction had appended again comes first, newest segments first: memory held those records when their segment went, so they were hot. Then
//! the newest others, while a shard's memory has room to spare. The former may push out what requests have brought since: those entries were asked
//! for once, these were hot. Without this the records that memory had kept from retirement would
//! lose that protection with the restart, and the hottest would be the first to be lost.
//!
//! Knows: shards, the log. Does not know: threads. One segment a step; no lock is held while a record is read.

use crate::format::footer::FooterEntry;
use crate::format::location::Location;
use crate::format::record::RecordKind;
use crate::log::{Log, Segment};
use crate::shard::Shards;

/// Which records a pass over the log takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Reinserted,
    Others,
}

/// What is still to be read.
#[derive(Debug)]
pub(crate) struct Refill {
    pass: Pass,
    /// Numbers of segments, the next one last.
    left: Vec<u32>,
    /// Bound on what is read back whether or not there is room to spare: what memory holds.
    bytes_left: u64,
}

impl Refill {
    /// A refill from all that the log holds now.
    pub(crate) fn new(shards: &Shards, log: &Log) -> Self {
        let bytes_left = shards.iter().map(|(shard, _)| shard.read().memory.capacity_bytes() / 10 * 9).sum();
        Self { pass: Pass::Reinserted, left: Self::segments(log), bytes_left }
    }

    fn segments(log: &Log) -> Vec<u32> {
        let mut numbers = log.sealed_numbers();
        numbers.reverse();
        numbers
    }

    /// Reads one segment. Returns whether there was one.
    pub(crate) fn step(&mut self, shards: &Shards, log: &Log, now_s: u32) -> bool {
        let Some(number) = self.left.pop() else {
            if self.pass == Pass::Others {
                return false;
            }
            (self.pass, self.left) = (Pass::Others, Self::segments(log));
            return true;
        };
        let is_done = match self.pass {
            Pass::Reinserted => self.bytes_left == 0,
            Pass::Others => !shards.iter().any(|(shard, _)| shard.read().memory.has_room()),
        };
        if is_done {
            self.left.clear();
            return self.pass == Pass::Reinserted;
        }
        // A segment that was retired since is nothing to read back; neither is one whose footer cannot be read.
        if let Some(segment) = log.segment_numbered(number) {
            let reinserted = self.pass == Pass::Reinserted;
            let bytes_left = &mut self.bytes_left;
            let _ = log.entries(&segment, &mut |entries| {
                for entry in
                    entries.iter().filter(|entry| entry.kind == RecordKind::Put && entry.reinserted == reinserted)
                {
                    read_back(shards, log, &segment, entry, now_s, bytes_left);
                }
            });
        }
        true
    }
}

fn read_back(shards: &Shards, log: &Log, segment: &Segment, entry: &FooterEntry, now_s: u32, bytes_left: &mut u64) {
    let location = Location { segment: segment.name, offset: entry.offset };
    let hash = entry.key_hash;
    let is_wanted = |shard: &crate::shard::Shard| {
        (entry.reinserted || shard.memory.has_room())
            && !shard.memory.may_hold(hash)
            && shard.index_find(hash).is_some_and(|found| found.location == location.pack())
    };
    if (entry.reinserted && *bytes_left == 0) || !is_wanted(&shards.read(hash)) {
        return;
    }
    let Some((header, payload)) = log.copy_record(segment, entry.offset) else { return };
    if header.kind != RecordKind::Put || header.key_hash != hash || (header.expiry_s != 0 && header.expiry_s <= now_s) {
        return;
    }
    let (key, value) = payload.split_at(usize::from(header.key_len));
    let mut shard = shards.write(hash);
    // Between the copy and this lock the key may have got a newer version.
    if is_wanted(&shard) {
        if entry.reinserted {
            shard.memory.promote(hash, key, value, header.expiry_s, now_s);
            *bytes_left = bytes_left.saturating_sub(header.record_len());
        } else {
            shard.memory.insert(hash, key, value, header.expiry_s, now_s);
        }
    }
}
