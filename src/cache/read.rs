//! Reading: memory first, then the log, and from there into memory.
//!
//! Knows: what a read holds, and until when (I-FLOW-2, I-FLOW-3 in `core.rs`). Does not know: how values come into the log.

use super::close_look::{Outcome, Witness};
use super::core::Core;
use crate::format::location::Location;
use crate::hash::key_hash;
use crate::log::Found;
use crate::shard::memory::{Inserted, MemoryTier};
use crate::shard::{Shard, ShardCounters, Slot};
use crate::sync::RwLockReadGuard;
use bytes::Bytes;

/// Values up to this long are lent to `read`'s closure from the stack.
const STACK_VALUE_LEN: usize = 4096;

/// What a read does beside reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Counts the hit for eviction and may promote.
    Yes,
    /// Leaves everything as it is.
    No,
}

/// Where a value was found on disk.
pub(super) struct DiskHit<T> {
    value: T,
    expiry_s: u32,
}

impl Core {
    /// Reads a value as bytes of its own.
    pub(crate) fn get(&self, key: &[u8], touch: Touch) -> Option<Bytes> {
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        if slot.counters.is_look_due() {
            return self.get_closely(hash, key, touch, slot);
        }
        self.get_before(hash, key, touch, slot, ())
    }

    #[cold]
    #[inline(never)]
    fn get_closely(&self, hash: u64, key: &[u8], touch: Touch, slot: &Slot) -> Option<Bytes> {
        let look = self.look_closely(hash, slot)?;
        self.get_before(hash, key, touch, slot, look)
    }

    /// Reads a value before a witness.
    #[inline(always)]
    fn get_before<W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        touch: Touch,
        slot: &Slot,
        mut witness: W,
    ) -> Option<Bytes> {
        let shard = slot.read();
        if let Some(hit) = shard.memory.lookup(hash, key, 0)
            && (hit.expiry_s() == 0 || !self.is_expired(hit.expiry_s()))
        {
            if touch == Touch::Yes {
                shard.memory.touch(&hit, hash);
            }
            let bytes = hit.to_bytes();
            witness.sees_entry(&shard.memory, hash);
            drop(shard);
            slot.counters.memory_hits.one();
            witness.sees_end(Outcome::Memory);
            return Some(bytes);
        }
        self.get_past_memory(hash, key, touch, &slot.counters, shard, witness)
    }

    /// What is left of a read if memory has no entry. Not inlined, so that hits need not keep room for what it needs.
    #[inline(never)]
    fn get_past_memory<W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        touch: Touch,
        counters: &ShardCounters,
        shard: RwLockReadGuard<'_, Shard>,
        mut witness: W,
    ) -> Option<Bytes> {
        counters.pace.tick();
        let location = self.find_on_disk(&shard, hash, touch);
        drop(shard);
        witness.sees_candidate(location.as_ref());
        let value = self.get_from_disk(hash, key, location);
        if value.is_some() {
            counters.disk_hits.one();
            witness.sees_end(Outcome::Disk);
        } else {
            counters.misses.one();
            witness.sees_end(Outcome::Miss);
        }
        value
    }

    /// Lends a value to a closure, which runs when every lock and pin is gone.
    pub(crate) fn read<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        if slot.counters.is_look_due() {
            return self.read_closely(hash, key, slot, read);
        }
        self.read_before(hash, key, slot, (), read)
    }

    #[cold]
    #[inline(never)]
    fn read_closely<R>(&self, hash: u64, key: &[u8], slot: &Slot, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let look = self.look_closely(hash, slot)?;
        self.read_before(hash, key, slot, look, read)
    }

    /// Lends a value before a witness, who does not see what the closure does.
    #[inline(always)]
    fn read_before<R, W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        slot: &Slot,
        mut witness: W,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let counters = &slot.counters;
        let shard = slot.read();
        if let Some(hit) = shard.memory.lookup(hash, key, 0)
            && (hit.expiry_s() == 0 || !self.is_expired(hit.expiry_s()))
        {
            shard.memory.touch(&hit, hash);
            let len = hit.value_len();
            witness.sees_entry(&shard.memory, hash);
            counters.memory_hits.one();
            // Stack buffers of several sizes, since each is cleared before it is filled.
            macro_rules! on_the_stack {
                ($size:expr) => {{
                    let mut buffer = [0u8; $size];
                    hit.copy_to(&mut buffer[..len]);
                    drop(shard);
                    witness.sees_end(Outcome::Memory);
                    return Some(read(&buffer[..len]));
                }};
            }
            match len {
                0..=128 => on_the_stack!(128),
                129..=1024 => on_the_stack!(1024),
                1025..=STACK_VALUE_LEN => on_the_stack!(STACK_VALUE_LEN),
                _ => {
                    let owned = hit.to_vec();
                    drop(shard);
                    witness.sees_end(Outcome::Memory);
                    return Some(read(&owned));
                }
            }
        }
        counters.pace.tick();
        let location = self.find_on_disk(&shard, hash, Touch::Yes);
        drop(shard);
        witness.sees_candidate(location.as_ref());
        let mut buffer = [0u8; STACK_VALUE_LEN];
        let copy = |value: &[u8]| match buffer.get_mut(..value.len()) {
            Some(target) => {
                target.copy_from_slice(value);
                (value.len(), None)
            }
            None => (value.len(), Some(value.to_vec())),
        };
        let found = self.get_from_disk_copied(hash, key, location, copy);
        let Some((len, owned, promote)) = found else {
            counters.misses.one();
            witness.sees_end(Outcome::Miss);
            return None;
        };
        counters.disk_hits.one();
        // Not unwrap_or: a length beyond the stack buffer must not even be looked at there.
        let value = owned.as_deref().unwrap_or_else(|| &buffer[..len]);
        if let Some(promote) = promote {
            self.promote(hash, key, value, promote);
        }
        witness.sees_end(Outcome::Disk);
        Some(read(value))
    }

    /// Reads once more, within one request: counts no request, only the hit for eviction.
    pub(crate) fn get_again(&self, hash: u64, key: &[u8]) -> Option<Bytes> {
        if self.is_closed() {
            return None;
        }
        let location = {
            let shard = self.shards.read(hash);
            if let Some(hit) = shard.memory.lookup(hash, key, 0)
                && !self.is_expired(hit.expiry_s())
            {
                shard.memory.touch(&hit, hash);
                return Some(hit.to_bytes());
            }
            self.find_on_disk(&shard, hash, Touch::Yes)
        };
        self.get_from_disk(hash, key, location)
    }

    /// Whether a value is there that could be read. Counts and moves nothing.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        if self.is_closed() {
            return false;
        }
        let hash = key_hash(self.salt, key);
        let location = {
            let shard = self.shards.read(hash);
            if let Some(hit) = shard.memory.lookup(hash, key, 0) {
                return !self.is_expired(hit.expiry_s());
            }
            self.find_on_disk(&shard, hash, Touch::No)
        };
        self.read_location(hash, key, location.as_ref(), |_| ()).is_some()
    }

    /// Looks a key up in the log's index and pins what it names. Called under the shard's lock.
    pub(super) fn find_on_disk(&self, shard: &Shard, hash: u64, touch: Touch) -> Option<Candidate> {
        let log = self.log_on()?;
        let index = shard.disk_index.as_ref()?;
        let found = index.find(hash)?;
        if touch == Touch::Yes {
            index.bump(found, crate::index::POPULARITY_MAX);
        }
        let location = Location::unpack(found.location);
        let segment = log.pin(location)?;
        // Promotion rule: what was hit on disk before, or may have been before a restart, or anything while memory has room to spare.
        let promote = touch == Touch::Yes && (found.popularity > 0 || segment.is_recovered || shard.memory.has_room());
        Some(Candidate { location, segment, promote })
    }

    /// Reads and checks what a candidate names. Forgets it if it is damaged.
    pub(super) fn read_location<T>(
        &self,
        hash: u64,
        key: &[u8],
        candidate: Option<&Candidate>,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<DiskHit<T>> {
        let (log, candidate) = (self.log.as_ref()?, candidate?);
        match log.read(&candidate.segment, candidate.location.offset, key, read) {
            Found::Value(value, header) if !self.is_expired(header.expiry_s) => {
                Some(DiskHit { value, expiry_s: header.expiry_s })
            }
            Found::Value(..) | Found::OtherKey => None,
            Found::Damaged => {
                let mut shard = self.shards.write(hash);
                if shard.index_clear_if(hash, candidate.location) {
                    log.forget_live(candidate.location);
                    drop(shard);
                    tracing::warn!(
                        segment = candidate.segment.header.number,
                        offset = candidate.location.offset,
                        "a record does not verify; its key is forgotten"
                    );
                }
                None
            }
        }
    }

    fn get_from_disk(&self, hash: u64, key: &[u8], candidate: Option<Candidate>) -> Option<Bytes> {
        let hit = self.read_location(hash, key, candidate.as_ref(), Bytes::copy_from_slice)?;
        if let Some(candidate) = candidate.filter(|candidate| candidate.promote) {
            self.promote(hash, key, &hit.value, Promotion { candidate, expiry_s: hit.expiry_s });
        }
        Some(hit.value)
    }

    #[allow(
        clippy::type_complexity,
        reason = "a length, an owned copy where the stack was too small, and what to promote"
    )]
    fn get_from_disk_copied(
        &self,
        hash: u64,
        key: &[u8],
        candidate: Option<Candidate>,
        copy: impl FnOnce(&[u8]) -> (usize, Option<Vec<u8>>),
    ) -> Option<(usize, Option<Vec<u8>>, Option<Promotion>)> {
        let hit = self.read_location(hash, key, candidate.as_ref(), copy)?;
        let (len, owned) = hit.value;
        let promotion = candidate
            .filter(|candidate| candidate.promote)
            .map(|candidate| Promotion { candidate, expiry_s: hit.expiry_s });
        Some((len, owned, promotion))
    }

    /// Puts a value that was read from disk into memory, if it still is the newest (I-FLOW-3).
    fn promote(&self, hash: u64, key: &[u8], value: &[u8], promotion: Promotion) {
        let Promotion { candidate, expiry_s } = promotion;
        let now_s = self.now_s();
        let mut shard = self.shards.write(hash);
        let current = shard.index_find(hash).is_some_and(|found| found.location == candidate.location.pack());
        let quarters = |memory: &MemoryTier| memory.inserted_bytes() / (memory.capacity_bytes() / 4).max(1);
        let before = quarters(&shard.memory);
        if current
            && !shard.memory.holds(hash, key)
            && shard.memory.promote(hash, key, value, expiry_s, now_s) == Inserted::Stored
        {
            let is_list_due = quarters(&shard.memory) != before;
            drop(shard);
            self.shards.counters(hash).promotions.one();
            if let (true, Some(log)) = (is_list_due, &self.log) {
                // Where nothing is inserted nothing else wakes it.
                log.wake_maintenance();
            }
        }
    }
}

/// A record that may be the key's, pinned.
#[derive(Debug)]
pub(crate) struct Candidate {
    location: Location,
    pub(super) segment: crate::sync::Arc<crate::log::Segment>,
    promote: bool,
}

/// A record to be copied into memory, still pinned.
struct Promotion {
    candidate: Candidate,
    expiry_s: u32,
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::sync::PlainArc;
    use crate::{Cache, Maintenance, disk::SimDisk};

    #[test]
    fn a_promotion_that_was_under_way_when_the_disk_went_off_brings_no_older_value_back() {
        let settings = Cache::builder().memory_bytes(4 << 20).disk_bytes(2 << 20).shards(1);
        let settings = settings.maintenance(Maintenance::Manual);
        let cache = settings.open_on(PlainArc::new(SimDisk::new(1))).expect("an empty disk");
        let core = cache.core();
        let (key, hash) = (b"key", key_hash(core.salt, b"key"));
        cache.insert(key, "old");
        core.shards.write(hash).memory.remove(hash, key);
        // A reader finds the old value on disk and reads it ...
        let candidate = core.find_on_disk(&core.shards.read(hash), hash, Touch::Yes).expect("it is in the log");
        let log = core.log.as_ref().expect("with a disk tier");
        log.give_up("test", std::io::Error::other("test"));
        // ... then the key gets a value that neither tier takes ...
        let outcome = cache.insert(key, vec![0; 4 << 20]);
        assert!(!outcome.is_stored());
        // ... and only now the reader promotes what it read.
        core.promote(hash, key, b"old", Promotion { candidate, expiry_s: 0 });
        assert_eq!(cache.get(key), None, "an older value is never served again, whatever the outcome said");
    }
}
