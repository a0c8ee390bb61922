//! Making room on disk: the oldest segment goes, and what earned it is appended again first (D6, D10).
//!
//! Knows: shards, the log. Does not know: threads, configuration. Foreground requests hardly wait for reinsertion: once they do, it goes on for
//! a millisecond at most. It copies outside every lock.

mod owed;
mod refill;
mod warm;

pub(crate) use owed::Owed;
pub(crate) use refill::Refill;
pub(crate) use warm::{WORKING_BYTES as WARM_WORKING_BYTES, Warm, list_bytes, list_bytes_max};

use crate::counters::Counter;
use crate::error::Error;
use crate::format::footer::FooterEntry;
use crate::format::location::Location;
use crate::format::record::{RecordHeader, RecordKind};
use crate::histogram::Recorder;
use crate::index::{Put, Table};
use crate::log::{Log, Reservation, Segment};
use crate::shard::{ShardCounters, Shards};
use crate::sync::Arc;

/// What compaction counts.
#[derive(Debug, Default)]
pub(crate) struct CompactionCounters {
    pub(crate) reinserted_count: Counter,
    pub(crate) reinserted_bytes: Counter,
    /// Bytes that were owed to the log and appended when there was room.
    pub(crate) owed_paid_bytes: Counter,
    /// Records that were still live when their segment went, and that memory did not hold, or not long enough for them to be appended again.
    pub(crate) dropped_live_count: Counter,
    /// Entries read back after an open.
    pub(crate) restored_count: Counter,
    /// Segments that went because the index was full, not the disk.
    pub(crate) retired_for_index: Counter,
    /// How long ago the segments were made that live records went with, in milliseconds; once for each such record.
    pub(crate) age_at_drop_ms: Recorder,
}

/// Bytes that are still appended again once requests wait for the room: about a millisecond of copying.
const CONTENDED_BYTES_MAX: u64 = 1 << 20;

/// What may be kept of a segment that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Records that the memory tier still holds, as far as room can be had at once, up to this many bytes.
    HeldByMemory {
        /// Bound on the bytes that are appended again.
        bytes_max: u64,
    },
    /// Nothing: the index is what is full, and appending again would fill it.
    Nothing,
}

impl Keep {
    /// All that memory holds, within bounds.
    pub(crate) fn all(log: &Log) -> Self {
        Self::HeldByMemory { bytes_max: log.reinsert_bytes_max() }
    }
}

/// Points the index of the log to a record that was just appended for a key that had none. Whose slot has to go for it is live no more. Called under
/// the lock of the key's shard: later the short name of the other's segment may be another's.
pub(crate) fn point_to(index: &mut Table, log: &Log, counters: &ShardCounters, hash: u64, location: Location) {
    let dropped = match index.put(hash, location.pack(), 0, |packed| log.age(Location::unpack(packed))) {
        Put::Inserted => return,
        Put::Replaced(old) => old,
        Put::Displaced(old) => {
            counters.index_displaced.one();
            old
        }
    };
    log.forget_live(Location::unpack(dropped));
}

/// Retires the oldest segment if it is sealed. Returns whether one went.
///
/// `reserve` gives room for a record of some length that is appended again, or none.
pub(crate) fn retire_oldest<'a>(
    shards: &Shards,
    log: &'a Log,
    keep: Keep,
    reserve: &dyn Fn(u64) -> Option<Reservation<'a>>,
    owed: &Owed,
    now_s: u32,
    counters: &CompactionCounters,
) -> Result<bool, Error> {
    let Some(segment) = log.oldest_sealed() else { return Ok(false) };
    let mut bytes_left = match keep {
        Keep::HeldByMemory { bytes_max } => bytes_max,
        Keep::Nothing => 0,
    };
    let mut is_hurried = false;
    let dropped_before = counters.dropped_live_count.get();
    let read = log.entries(&segment, &mut |entries| {
        if !is_hurried && log.is_contended() && log.needs_spare() {
            // Requests wait for the room that this segment holds (D10).
            is_hurried = true;
            bytes_left = bytes_left.min(CONTENDED_BYTES_MAX);
        }
        for entry in entries.iter().filter(|entry| entry.kind == RecordKind::Put) {
            bytes_left = bytes_left
                .saturating_sub(visit(shards, log, &segment, entry, bytes_left, reserve, owed, now_s, counters));
        }
    });
    if read.is_err() {
        // The footer can no longer be read, so it does not tell which slots name the segment: look at all of them.
        let name = segment.name;
        for (shard, _) in shards.iter() {
            if let Some(index) = &mut shard.write().disk_index {
                index.retain(|packed| Location::unpack(packed).segment != name);
            }
        }
    }
    // Others count here too, but only at the end, when what is still owed is given up.
    let dropped = counters.dropped_live_count.get().saturating_sub(dropped_before);
    let age_s = now_s.saturating_sub(segment.header.clock_mark_s);
    counters.age_at_drop_ms.record_n(u64::from(age_s) * 1_000, dropped);
    log.retire(segment)?;
    Ok(true)
}

/// Reinserts or forgets one record. Returns the bytes that were appended for it.
#[allow(clippy::too_many_arguments, reason = "one record's part of retire_oldest, whose arguments these are")]
fn visit<'a>(
    shards: &Shards,
    log: &'a Log,
    segment: &Arc<Segment>,
    entry: &FooterEntry,
    bytes_left: u64,
    reserve: &dyn Fn(u64) -> Option<Reservation<'a>>,
    owed: &Owed,
    now_s: u32,
    counters: &CompactionCounters,
) -> u64 {
    let location = Location { segment: segment.name, offset: entry.offset };
    let hash = entry.key_hash;
    let is_live =
        |shard: &crate::shard::Shard| shard.index_find(hash).is_some_and(|found| found.location == location.pack());
    let held = {
        let shard = shards.read(hash);
        if !is_live(&shard) {
            return 0;
        }
        shard.memory.may_hold(hash)
    };
    if held
        && bytes_left > 0
        && let Some((header, payload)) = log.copy_record(segment, entry.offset)
        && header.kind == RecordKind::Put
        && header.key_hash == hash
        && (header.expiry_s == 0 || header.expiry_s > now_s)
        && header.record_len() <= bytes_left
        && let Some(room) = reserve(header.record_len())
    {
        let (key, value) = payload.split_at(usize::from(header.key_len));
        let mut shard = shards.write(hash);
        // Between the copy and this lock the key may have got a newer version, or left the memory tier.
        if is_live(&shard) && shard.memory.holds(hash, key) {
            let header = RecordHeader { reinserted: true, ..header };
            let appended = log.append(room, &header, [key, value]);
            let moved = shard
                .disk_index
                .as_mut()
                .is_some_and(|index| index.relocate(hash, location.pack(), appended.location.pack()));
            assert!(moved, "the slot named the old location under this very lock");
            counters.reinserted_count.one();
            counters.reinserted_bytes.add(header.record_len());
            return header.record_len();
        }
    }
    if shards.write(hash).index_clear_if(hash, location) {
        if held {
            owed.push(hash, counters);
        } else {
            counters.dropped_live_count.one();
        }
    }
    0
}
