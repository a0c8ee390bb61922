//! Values that memory holds and the log lost: their segment had to go while there was no room to append them again. They are owed to the log, and
//! appended when there is room, so that a crash does not take the hottest first.
//!
//! Knows: shards, the log. Does not know: threads. Bounded: when more is owed than the list holds, the longest owed are let go.

use super::{CompactionCounters, Pass, point_to};
use crate::format::record::RecordHeader;
use crate::shard::Shards;
use crate::sync::Mutex;
use std::collections::VecDeque;

/// Most keys that are remembered; 8 bytes each.
const OWED_COUNT_MAX: usize = 4096;

/// Hashes of keys whose values are owed to the log, longest first.
#[derive(Debug, Default)]
pub(crate) struct Owed(Mutex<VecDeque<u64>>);

impl Owed {
    /// Remembers a key.
    pub(crate) fn push(&self, hash: u64, counters: &CompactionCounters) {
        let mut owed = self.0.lock();
        if owed.len() == OWED_COUNT_MAX {
            owed.pop_front();
            counters.dropped_live_count.one();
        }
        owed.push_back(hash);
    }

    /// Forgets what is owed, and counts what memory does not hold any more either.
    pub(crate) fn let_go(&self, shards: &Shards, counters: &CompactionCounters) {
        let owed = std::mem::take(&mut *self.0.lock());
        for hash in owed {
            let shard = shards.read(hash);
            if shard.index_find(hash).is_none() && !shard.memory.may_hold(hash) {
                counters.dropped_live_count.one();
            }
        }
    }

    /// Appends the next value that is still owed. Returns how many bytes that took; `None` if nothing is owed or there is no room.
    pub(crate) fn pay_one(&self, pass: &Pass<'_, '_>) -> Option<u64> {
        let Pass { shards, log, counters, now_s, .. } = *pass;
        loop {
            let hash = self.0.lock().pop_front()?;
            let held = {
                let shard = shards.read(hash);
                if shard.index_find(hash).is_some() {
                    continue;
                }
                shard.memory.entry(hash)
            };
            let Some((key, value, expiry_s)) = held else {
                // Evicted before there was room (or removed, which cannot be told any more).
                counters.dropped_live_count.one();
                continue;
            };
            let header = RecordHeader { reinserted: true, ..RecordHeader::put(hash, &key, &value, expiry_s) };
            if (expiry_s != 0 && expiry_s <= now_s) || header.record_len() > log.plan().record_len_max() {
                continue;
            }
            let taken = pass.allowance.lock().try_take(true, header.record_len(), pass.pace.get());
            let Some((room, taken)) = taken.and_then(|taken| match (pass.reserve)(header.record_len()) {
                Some(room) => Some((room, taken)),
                None => {
                    pass.allowance.lock().give_back(taken);
                    None
                }
            }) else {
                self.0.lock().push_front(hash);
                return None;
            };
            let shard = &mut *shards.write(hash);
            // Between the copy and this lock the key may have got a newer value, whose record (or tombstone) is in the log already.
            if shard.index_find(hash).is_none()
                && shard.memory.entry(hash).is_some_and(|now| now == (key.clone(), value.clone(), expiry_s))
            {
                let location = log.append(room, &header, [&key, &value]).location;
                counters.owed_paid_bytes.add(header.record_len());
                if let Some(index) = &mut shard.disk_index {
                    point_to(index, log, shards.counters(hash), hash, location);
                }
                return Some(header.record_len());
            }
            pass.allowance.lock().give_back(taken);
        }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::shard::memory::MemoryPlan;

    #[test]
    fn no_more_is_owed_than_the_list_holds_and_what_is_let_go_is_counted() {
        let plan = MemoryPlan::split(64 << 10, 64).expect("enough memory");
        let shards = Shards::new(1, plan, 4096, 7).expect("anonymous memory");
        let (owed, counters) = (Owed::default(), CompactionCounters::default());
        let most = OWED_COUNT_MAX as u64;
        (0..most).for_each(|hash| owed.push(hash, &counters));
        assert_eq!((owed.0.lock().len(), counters.dropped_live_count.get()), (OWED_COUNT_MAX, 0));
        (most..most + 10).for_each(|hash| owed.push(hash, &counters));
        assert_eq!((owed.0.lock().len(), counters.dropped_live_count.get()), (OWED_COUNT_MAX, 10));
        assert!(owed.0.lock().iter().copied().eq(10..most + 10), "the longest owed go first");
        // Memory holds none of them.
        owed.let_go(&shards, &counters);
        assert_eq!((owed.0.lock().len(), counters.dropped_live_count.get()), (0, most + 10));
    }
}
