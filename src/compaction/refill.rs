//! Memory after a restart: what the warm list names is read back from the log, in the background, before requests ask for it. It may push out what
//! requests have brought since: those entries were asked for once, these more often.
//!
//! Without this the records that memory had kept from retirement would lose that protection with the restart, and the hottest would be the first to
//! be lost: they are asked for in memory, so nothing on disk tells of it.
//!
//! Knows: shards, the log, the list. Does not know: threads. No lock is held while a record is read.

use super::CompactionCounters;
use crate::format::location::Location;
use crate::format::record::RecordKind;
use crate::log::Log;
use crate::recovery::warm_list::WarmList;
use crate::shard::memory::{Inserted, Restored};
use crate::shard::{Shard, Shards};

/// Entries that one step reads back.
const STEP_COUNT: usize = 128;

/// What is still to be read.
#[derive(Debug)]
pub(crate) struct Refill {
    list: Option<WarmList>,
    /// Bound on what is read back: what the main rings hold.
    bytes_left: u64,
}

impl Refill {
    /// A refill from this list.
    pub(crate) fn new(shards: &Shards, list: Option<WarmList>) -> Self {
        let bytes_left = shards.iter().map(|(shard, _)| shard.read().memory.capacity_bytes() / 10 * 9).sum();
        Self { list, bytes_left }
    }

    /// Whether nothing is left to be read.
    pub(crate) fn is_done(&self) -> bool {
        self.list.is_none()
    }

    /// Leaves the rest. The file can go then: its blocks are given back when nobody has it open.
    pub(crate) fn give_up(&mut self) {
        self.list = None;
    }

    /// Reads some entries back. Returns whether there were any.
    pub(crate) fn step(&mut self, shards: &Shards, log: &Log, now_s: u32, counters: &CompactionCounters) -> bool {
        let Some(list) = &mut self.list else { return false };
        // A list that can no longer be read is at its end.
        let entries = list.next_entries(STEP_COUNT).unwrap_or_default();
        let keys: Vec<(u64, u8)> =
            entries.iter().map_while(|entry| entry.as_key().map(|hash| (hash, entry.popularity))).collect();
        for &key in &keys {
            if let Some(record_len) = read_back(shards, log, key, now_s) {
                counters.restored_count.one();
                self.bytes_left = self.bytes_left.saturating_sub(record_len);
            }
        }
        // Behind the keys come records, which the open has dealt with.
        if keys.len() < entries.len() || entries.is_empty() || self.bytes_left == 0 {
            self.list = None;
        }
        true
    }
}

/// Reads one entry back, if the log has it and memory does not. Returns how long its record is.
fn read_back(shards: &Shards, log: &Log, (hash, popularity): (u64, u8), now_s: u32) -> Option<u64> {
    let (location, segment) = {
        let shard = shards.read(hash);
        let found = shard.index_find(hash).filter(|_| !shard.memory.may_hold(hash))?;
        let location = Location::unpack(found.location);
        (location, log.pin(location)?)
    };
    let (header, payload) = log.copy_record(&segment, location.offset)?;
    let is_expired = header.expiry_s != 0 && header.expiry_s <= now_s;
    if header.kind != RecordKind::Put || header.key_hash != hash || is_expired {
        return None;
    }
    let (key, value) = payload.split_at(usize::from(header.key_len));
    let mut shard = shards.write(hash);
    // Between the copy and this lock the key may have got a newer version. The pin lasts through the look: the location is still the record's.
    let is_current = |shard: &Shard| shard.index_find(hash).is_some_and(|found| found.location == location.pack());
    if !is_current(&shard) || shard.memory.may_hold(hash) {
        return None;
    }
    let restored = Restored { hash, key, value, expiry_s: header.expiry_s, popularity };
    let inserted = shard.memory.restore(restored, now_s);
    drop(segment);
    (inserted == Inserted::Stored).then(|| header.record_len())
}
