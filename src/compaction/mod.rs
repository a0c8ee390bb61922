//! Making room on disk: the oldest segment goes, and what earned it is appended again first (D6, D10).
//!
//! Knows: shards, the log. Does not know: threads, configuration. Foreground requests hardly wait for reinsertion: once they do, it goes on for
//! a millisecond at most. It copies outside every lock.

mod owed;
mod refill;
mod sweep;
mod warm;

pub(crate) use owed::Owed;
pub(crate) use refill::Refill;
pub(crate) use sweep::{Sweep, Swept};
pub(crate) use warm::{WORKING_BYTES as WARM_WORKING_BYTES, Warm, list_bytes, list_bytes_max};

use crate::counters::Counter;
use crate::error::Error;
use crate::format::footer::FooterEntry;
use crate::format::location::Location;
use crate::format::record::{RecordHeader, RecordKind};
use crate::histogram::Recorder;
use crate::index::{Put, Table};
use crate::log::{Log, Reservation, Segment};
use crate::policy::{Allowance, Candidate, Flow, Pace};
use crate::shard::{Shard, ShardCounters, Shards};
use crate::sync::{Arc, Mutex};
use std::cell::Cell;

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
    /// What is worth it, as far as room can be had at once, up to this many bytes.
    Worth {
        /// Bound on the bytes that are appended again.
        bytes_max: u64,
    },
    /// Nothing: the index is what is full, and appending again would fill it.
    Nothing,
}

impl Keep {
    /// All that is worth it, within bounds.
    pub(crate) fn all(log: &Log) -> Self {
        Self::Worth { bytes_max: log.reinsert_bytes_max() }
    }
}

/// Who appends again, and with what.
pub(crate) struct Pass<'a, 'b> {
    pub(crate) shards: &'b Shards,
    pub(crate) log: &'a Log,
    pub(crate) owed: &'b Owed,
    pub(crate) allowance: &'b Mutex<Allowance>,
    /// The time in microseconds, and whether the rate holds: asked for again in the midst of long work.
    pub(crate) ask: &'b dyn Fn() -> (u64, Pace),
    /// The answer.
    pub(crate) pace: Cell<Pace>,
    /// Gives room for a record of some length, or none.
    pub(crate) reserve: &'b dyn Fn(u64) -> Option<Reservation<'a>>,
    pub(crate) now_s: u32,
    pub(crate) counters: &'b CompactionCounters,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The index does not name it (any more).
    NotLive,
    /// Appended again, so many bytes.
    Again(u64),
    /// Neither; and whether memory holds it.
    Left { is_held: bool },
    /// Worth it, but there is no room; and the same.
    NoRoom { is_held: bool },
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

impl Pass<'_, '_> {
    /// Retires the oldest segment if it is sealed. Returns whether one went.
    pub(crate) fn retire_oldest(&self, keep: Keep) -> Result<bool, Error> {
        let log = self.log;
        let Some(segment) = log.oldest_sealed() else { return Ok(false) };
        let mut bytes_left = match keep {
            Keep::Worth { bytes_max } => bytes_max,
            Keep::Nothing => 0,
        };
        let mut is_hurried = false;
        let dropped_before = self.counters.dropped_live_count.get();
        let read = log.entries(&segment, &mut |listed| {
            if !is_hurried && log.is_contended() && log.needs_spare() {
                // Requests wait for the room that this segment holds (D10).
                is_hurried = true;
                bytes_left = bytes_left.min(CONTENDED_BYTES_MAX);
            }
            self.refresh();
            for (entry, len) in listed.iter().filter(|(entry, _)| entry.kind == RecordKind::Put) {
                match self.append_again(&segment, entry, (len, listed.mean_len), bytes_left) {
                    Fate::Again(bytes) => bytes_left = bytes_left.saturating_sub(bytes),
                    Fate::Left { is_held } | Fate::NoRoom { is_held } => self.let_go(&segment, entry, is_held),
                    Fate::NotLive => {}
                }
            }
        });
        if read.is_err() {
            // The footer can no longer be read, so it does not tell which slots name the segment: look at all of them.
            let name = segment.name;
            for (shard, _) in self.shards.iter() {
                if let Some(index) = &mut shard.write().disk_index {
                    index.retain(|packed| Location::unpack(packed).segment != name);
                }
            }
        }
        // Others count here too, but only at the end, when what is still owed is given up.
        let dropped = self.counters.dropped_live_count.get().saturating_sub(dropped_before);
        let age_s = self.now_s.saturating_sub(segment.header.clock_mark_s);
        self.counters.age_at_drop_ms.record_n(u64::from(age_s) * 1_000, dropped);
        log.retire(segment)?;
        Ok(true)
    }

    /// Fills the allowance with what came since, and asks whether the rate holds.
    pub(crate) fn refresh(&self) {
        let (now_us, pace) = (self.ask)();
        self.pace.set(pace);
        let counters = &self.log.counters;
        // In this order: what was appended again is written later, and what is written was accepted before.
        let again_bytes = self.counters.reinserted_bytes.get() + self.counters.owed_paid_bytes.get();
        let written_bytes = (counters.written_bytes.get() + self.log.unwritten_bytes()).saturating_sub(again_bytes);
        let accepted_bytes = counters.accepted_bytes.get();
        let flow = Flow {
            appended_bytes: counters.requested_bytes.get(),
            accepted_bytes,
            overhead_bytes: written_bytes.saturating_sub(accepted_bytes),
            again_bytes,
        };
        self.allowance.lock().refresh(flow, now_us);
    }

    /// Appends a record again if it is worth that, and there is room for it. It is as long as is said, and records of its segment in the mean.
    fn append_again(
        &self,
        segment: &Arc<Segment>,
        entry: &FooterEntry,
        (len_bytes, mean_len_bytes): (u32, u32),
        bytes_left: u64,
    ) -> Fate {
        let candidate = |is_held, popularity| Candidate { is_held, popularity, len_bytes, mean_len_bytes };
        let Self { shards, log, counters, .. } = *self;
        let location = Location { segment: segment.name, offset: entry.offset };
        let hash = entry.key_hash;
        let find = |shard: &Shard| shard.index_find(hash).filter(|found| found.location == location.pack());
        let (is_held, is_worth) = {
            let shard = shards.read(hash);
            let Some(found) = find(&shard) else { return Fate::NotLive };
            let is_held = shard.memory.may_hold(hash);
            (is_held, bytes_left > 0 && self.allowance.lock().is_worth(candidate(is_held, found.popularity)))
        };
        let left = Fate::Left { is_held };
        if !is_worth {
            return left;
        }
        let Some((header, payload)) = log.copy_record(segment, entry.offset) else { return left };
        let is_wanted = header.kind == RecordKind::Put
            && header.key_hash == hash
            && (header.expiry_s == 0 || header.expiry_s > self.now_s)
            && header.record_len() <= bytes_left;
        if !is_wanted {
            return left;
        }
        let taken = self.allowance.lock().try_take(is_held, header.record_len(), self.pace.get());
        let Some(taken) = taken else { return left };
        let give_back = || self.allowance.lock().give_back(taken);
        let Some(room) = (self.reserve)(header.record_len()) else {
            give_back();
            return Fate::NoRoom { is_held };
        };
        let (key, value) = payload.split_at(usize::from(header.key_len));
        let mut shard = shards.write(hash);
        // Between the copy and this lock the key may have got a newer version, or left the memory tier. Hits do not go away; but whose hits were not
        // looked at may have overdrawn the share.
        let is_worth = find(&shard).is_some_and(|found| {
            !is_held
                || shard.memory.holds(hash, key)
                || self.allowance.lock().is_worth(candidate(false, found.popularity))
        });
        if !is_worth {
            drop(shard);
            give_back();
            return left;
        }
        let header = RecordHeader { reinserted: true, ..header };
        let appended = log.append(room, &header, [key, value]);
        let moved = shard
            .disk_index
            .as_mut()
            .is_some_and(|index| index.relocate(hash, location.pack(), appended.location.pack(), Allowance::kept));
        assert!(moved, "the slot named the old location under this very lock");
        log.forget_live(location);
        counters.reinserted_count.one();
        counters.reinserted_bytes.add(header.record_len());
        Fate::Again(header.record_len())
    }

    /// Takes a record out of the index: its segment goes.
    fn let_go(&self, segment: &Segment, entry: &FooterEntry, is_held: bool) {
        let location = Location { segment: segment.name, offset: entry.offset };
        if self.shards.write(entry.key_hash).index_clear_if(entry.key_hash, location) {
            if is_held {
                self.owed.push(entry.key_hash, self.counters);
            } else {
                self.counters.dropped_live_count.one();
            }
        }
    }
}
