//! The table: buckets of eight slots (one cache line), two buckets per key.
//!
//! An entry goes into its first bucket while that has room. Measured with one move per put: at nine tenths full, 87 % are in their first bucket,
//! and while every key is replaced once, one put in 4,000 drops a slot (none at 85 %, one in 100 at 95 %).
//!
//! The second bucket is computed from the first and the tag alone (partial-key cuckoo hashing: Fan et al., "Cuckoo Filter", CoNEXT 2014), as
//! `second = f(tag) - first` modulo the number of buckets. Two things follow. Keys that share a tag and a bucket share both buckets, so "at most
//! one slot for a tag in a key's buckets" is exact, and a lookup has one candidate. And a slot can be moved to its other bucket without its key,
//! which lets a full pair of buckets make room before anything is dropped.
//!
//! Knows: slots, hashes. Does not know: keys; so who looks up compares the key at the location it finds.
//!
//! Lossy where it must be: when no room can be made, the slot with the least popularity goes, and the caller is told.
//!
//! Thread safety: readers share it (`find`, `bump`), the writer has it alone (`&mut`).
//!
//! Invariants
//!  I-IDX-1  At most one slot exists for a tag in a key's two buckets (D7).
//!  I-IDX-2  A slot's tag names, from the bucket it is in, its other bucket.

use crate::disk::Words;
use crate::hash::reduce;
use crate::index::slot::{POPULARITY_MAX, Slot};
use crate::sync::{Ordering, PlainAtomicU64};
use std::io;

const SLOTS_PER_BUCKET: usize = 8;
const BUCKET_BYTES: usize = SLOTS_PER_BUCKET * 8;

/// The index of one shard in one tier.
#[derive(Debug)]
pub(crate) struct Table {
    words: Words,
    bucket_count: u32,
    used_count: u64,
}

/// The slot that a hash led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where the entry is, if the key there is the right one.
    pub location: u64,
    /// Hits counted so far.
    pub popularity: u8,
    place: usize,
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// Into an empty slot.
    Inserted,
    /// Over the slot of the same tag, which held this location: the key's older version, or another key's (a collision).
    Replaced(u64),
    /// Both buckets were full and nothing could move: the slot that held this location was dropped.
    Displaced(u64),
}

/// A tag and its two buckets; equal where the pair falls together.
#[derive(Debug, Clone, Copy)]
struct Home {
    tag: u32,
    first: u32,
    second: u32,
}

impl Table {
    /// A table of as many whole buckets as `bytes` holds, at least one.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let bucket_count = u32::try_from((bytes / BUCKET_BYTES).max(1)).unwrap_or(u32::MAX);
        let words = Words::new(bucket_count as usize * SLOTS_PER_BUCKET)?;
        Ok(Self { words, bucket_count, used_count: 0 })
    }

    /// The slot for a hash. At most one can match (I-IDX-1); whether it is this key's, only the key at its location tells.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64) -> Option<Found> {
        let home = self.home(hash);
        let place = match self.scan(home.first, home.tag) {
            Some(place) => place,
            None => self.scan(home.second, home.tag)?,
        };
        let slot = self.slot(place);
        Some(Found { location: slot.location(), popularity: slot.popularity(), place })
    }

    /// Counts a hit, up to `most`. Writes nothing when that is reached, nor when the slot no longer is the one that was found: so it may come
    /// late, and hits that race may count as one.
    #[inline(always)]
    pub(crate) fn bump(&self, found: Found, most: u8) {
        if found.popularity >= most.min(POPULARITY_MAX) {
            return;
        }
        self.bump_found(found, most);
    }

    fn bump_found(&self, found: Found, most: u8) {
        let Some(word) = self.words.get(found.place) else { return };
        // Relaxed: nothing is published by it; and the exchange is refused unless the word still is a used slot with that very location.
        let slot = Slot::from_bits(word.load(Ordering::Relaxed));
        if slot.location() == found.location && slot.popularity() < most {
            let _ = word.compare_exchange(slot.bits(), slot.bumped().bits(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Sets the slot for a hash. A slot of the same tag is replaced, whoever's it is. Where no room is, the slot of the least popularity is
    /// dropped, among equals the one for which `rank` (of its location) is least.
    pub(crate) fn put(&mut self, hash: u64, location: u64, popularity: u8, rank: impl Fn(u64) -> u64) -> Put {
        let home = self.home(hash);
        let new = Slot::new(home.tag, popularity, location);
        if let Some(place) = self.scan(home.first, home.tag).or_else(|| self.scan(home.second, home.tag)) {
            let old = self.slot(place);
            self.set(place, new);
            return Put::Replaced(old.location());
        }
        if let Some(place) = self.empty_place(home).or_else(|| self.make_place(home)) {
            self.set(place, new);
            self.used_count += 1;
            return Put::Inserted;
        }
        let victim = places(home.first)
            .chain(places(home.second))
            .min_by_key(|&place| {
                let slot = self.slot(place);
                (slot.popularity(), rank(slot.location()))
            })
            .expect("a bucket has eight places");
        let dropped = self.slot(victim);
        self.set(victim, new);
        Put::Displaced(dropped.location())
    }

    /// Empties the slot for a hash, whoever's it is, and returns its location.
    pub(crate) fn clear(&mut self, hash: u64) -> Option<u64> {
        let found = self.find(hash)?;
        self.set(found.place, Slot::EMPTY);
        self.used_count -= 1;
        Some(found.location)
    }

    /// Empties the slot for a hash if it names this location.
    pub(crate) fn clear_if(&mut self, hash: u64, location: u64) -> bool {
        let Some(found) = self.find(hash).filter(|found| found.location == location) else { return false };
        self.set(found.place, Slot::EMPTY);
        self.used_count -= 1;
        true
    }

    /// Points the slot for a hash to a new location if it names the old one; its popularity becomes what `popularity` makes of it.
    pub(crate) fn relocate(
        &mut self,
        hash: u64,
        old_location: u64,
        new_location: u64,
        popularity: impl FnOnce(u8) -> u8,
    ) -> bool {
        let Some(found) = self.find(hash).filter(|found| found.location == old_location) else { return false };
        self.relocate_found(found, new_location, popularity(found.popularity));
        true
    }

    /// Points a slot just found to a new location, with a new popularity.
    pub(crate) fn relocate_found(&mut self, found: Found, new_location: u64, popularity: u8) {
        let old = self.slot(found.place);
        assert!(!old.is_empty() && old.location() == found.location, "a slot is relocated before it changes");
        self.set(found.place, Slot::new(old.tag(), popularity, new_location));
    }

    /// Empties the slots whose location does not pass. Takes a pass over the whole table.
    pub(crate) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        for place in 0..self.words.len() {
            let slot = self.slot(place);
            if !slot.is_empty() && !keep(slot.location()) {
                self.set(place, Slot::EMPTY);
                self.used_count -= 1;
            }
        }
    }

    /// Empties every slot.
    pub(crate) fn clear_all(&mut self) {
        // Fresh pages cost nothing until touched; where the kernel refuses them, zeros do as well.
        if self.words.clear().is_err() {
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        self.used_count = 0;
    }

    /// Slots in use.
    pub(crate) fn used_count(&self) -> u64 {
        self.used_count
    }

    /// Slots in all.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.bucket_count) * SLOTS_PER_BUCKET as u64
    }

    /// Bytes of memory taken.
    pub(crate) fn held_bytes(&self) -> u64 {
        u64::from(self.bucket_count) * BUCKET_BYTES as u64
    }

    /// Every used slot, in the order of the table.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.words.iter().map(|word| Slot::from_bits(word.load(Ordering::Relaxed))).filter(|slot| !slot.is_empty())
    }

    /// Tells location and popularity of the slots that were hit, of `count` slots from this one on. Returns where to go on; `None` at the end.
    pub(crate) fn popular(&self, from: usize, count: usize, mut tell: impl FnMut(u64, u8)) -> Option<usize> {
        let until = self.words.len().min(from.saturating_add(count));
        for place in from..until {
            let slot = self.slot(place);
            if !slot.is_empty() && slot.popularity() > 0 {
                tell(slot.location(), slot.popularity());
            }
        }
        (until < self.words.len()).then_some(until)
    }

    /// Recounts everything and checks the invariants. Panics with a sentence where one does not hold.
    pub(crate) fn validate(&self) {
        assert_eq!(self.slots().count() as u64, self.used_count, "used_count is the number of used slots");
        for bucket in 0..self.bucket_count {
            for place in places(bucket) {
                let slot = self.slot(place);
                if slot.is_empty() {
                    continue;
                }
                assert!(slot.tag() != 0 && slot.location() != 0, "I-SLOT-1 at {place}: {slot:?}");
                let other = self.partner(bucket, slot.tag());
                assert_eq!(self.partner(other, slot.tag()), bucket, "I-IDX-2 at {place}");
                let same_tag = |&at: &usize| at != place && self.slot(at).tag() == slot.tag();
                let double = places(bucket).chain(places(other)).find(same_tag);
                assert_eq!(double, None, "I-IDX-1: two slots for tag {} of bucket {bucket}", slot.tag());
            }
        }
    }

    /// Where a hash belongs. The highest bits of a hash choose the shard and so are the same throughout a table: the product brings all the
    /// lower bits to the top, where `reduce` looks, and the tag is taken from the lowest.
    #[inline(always)]
    fn home(&self, hash: u64) -> Home {
        let tag = Slot::tag_of(hash);
        let mixed = hash.wrapping_mul(0x9FB2_1C65_1E98_DF25);
        let first = reduce((mixed >> 32) as u32, self.bucket_count);
        Home { tag, first, second: self.partner(first, tag) }
    }

    /// The other bucket of a slot with this tag in this bucket.
    #[inline(always)]
    fn partner(&self, bucket: u32, tag: u32) -> u32 {
        let sum = reduce(tag.wrapping_mul(0x9E37_79B1), self.bucket_count);
        if sum >= bucket { sum - bucket } else { self.bucket_count - (bucket - sum) }
    }

    /// The place of a tag in a bucket.
    #[inline(always)]
    fn scan(&self, bucket: u32, tag: u32) -> Option<usize> {
        let start = bucket as usize * SLOTS_PER_BUCKET;
        let words: &[PlainAtomicU64; SLOTS_PER_BUCKET] = self.words[start..].first_chunk().expect("a bucket is whole");
        let mut matches = 0u32;
        for (i, word) in words.iter().enumerate() {
            matches |= u32::from(Slot::from_bits(word.load(Ordering::Relaxed)).tag() == tag) << i;
        }
        if matches == 0 { None } else { Some(start + matches.trailing_zeros() as usize) }
    }

    /// An empty place in the first bucket, else in the second. (The emptier of the two would lose a little less when nearly full; this way nine
    /// of ten entries are found in the first cache line.)
    fn empty_place(&self, home: Home) -> Option<usize> {
        places(home.first).chain(places(home.second)).find(|&place| self.slot(place).is_empty())
    }

    /// Empties a place in one of two full buckets by moving a slot to its other bucket, if any of the sixteen can.
    fn make_place(&mut self, home: Home) -> Option<usize> {
        for bucket in [home.first, home.second] {
            for place in places(bucket) {
                let slot = self.slot(place);
                let other = self.partner(bucket, slot.tag());
                if let Some(target) = places(other).find(|&at| self.slot(at).is_empty()) {
                    self.set(target, slot);
                    self.set(place, Slot::EMPTY);
                    return Some(place);
                }
            }
        }
        None
    }

    #[inline(always)]
    fn slot(&self, place: usize) -> Slot {
        Slot::from_bits(self.words[place].load(Ordering::Relaxed))
    }

    fn set(&mut self, place: usize, slot: Slot) {
        self.words[place].store(slot.bits(), Ordering::Relaxed);
    }
}

/// The places of a bucket.
fn places(bucket: u32) -> std::ops::Range<usize> {
    let start = bucket as usize * SLOTS_PER_BUCKET;
    start..start + SLOTS_PER_BUCKET
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::hash::key_hash;

    fn hash(i: u64) -> u64 {
        key_hash(1, &i.to_le_bytes())
    }

    fn no_rank(_: u64) -> u64 {
        0
    }

    /// How many of `count` keys find no place in a table of `capacity` slots, all under one prefix of the hash.
    fn displaced(capacity: usize, count: u64, fixed_bits: u32) -> u64 {
        let mut table = Table::new(capacity * 8).expect("memory");
        let keys = (0..).map(hash).map(|h| if fixed_bits == 0 { h } else { h >> fixed_bits }).take(count as usize);
        keys.zip(1..).filter(|&(h, location)| matches!(table.put(h, location, 0, no_rank), Put::Displaced(_))).count()
            as u64
    }

    #[test]
    fn what_was_put_is_found_until_it_is_cleared() {
        let mut table = Table::new(64 * 100).expect("memory");
        assert_eq!((table.capacity(), table.held_bytes()), (800, 6400));
        for i in 0..400 {
            assert_eq!(table.put(hash(i), i + 1, 2, no_rank), Put::Inserted);
        }
        table.validate();
        for i in 0..400 {
            let found = table.find(hash(i)).expect("just put");
            assert_eq!((found.location, found.popularity), (i + 1, 2));
        }
        assert_eq!(table.find(hash(400)), None);
        for i in 0..200 {
            assert_eq!(table.clear(hash(i)), Some(i + 1));
            assert_eq!(table.clear(hash(i)), None);
            assert!(!table.clear_if(hash(i + 200), i), "another location stays");
            assert!(table.clear_if(hash(i + 200), i + 201));
        }
        table.validate();
        assert_eq!(table.used_count(), 0);
    }

    #[test]
    fn the_same_tag_replaces_and_a_relocation_keeps_popularity() {
        let mut table = Table::new(6400).expect("memory");
        assert_eq!(table.put(hash(1), 10, 3, no_rank), Put::Inserted);
        assert!(!table.relocate(hash(1), 11, 12, |hits| hits));
        assert!(table.relocate(hash(1), 10, 12, |hits| hits));
        assert_eq!(table.find(hash(1)).map(|found| (found.location, found.popularity)), Some((12, 3)));
        assert_eq!(table.put(hash(1), 20, 0, no_rank), Put::Replaced(12));
        assert_eq!(table.used_count(), 1);
        table.validate();
        table.clear_all();
        assert_eq!(table.find(hash(1)), None);
        table.validate();
    }

    #[test]
    fn a_bump_saturates_and_never_touches_another_slot() {
        let mut table = Table::new(64).expect("memory");
        table.put(hash(1), 10, 0, no_rank);
        for expected in [1, 2, 3, 3] {
            table.bump(table.find(hash(1)).expect("put"), 3);
            assert_eq!(table.find(hash(1)).map(|found| found.popularity), Some(expected));
        }
        let stale = Found { popularity: 0, ..table.find(hash(1)).expect("put") };
        table.put(hash(1), 11, 0, no_rank);
        table.bump(stale, 3);
        assert_eq!(table.find(hash(1)).map(|found| (found.location, found.popularity)), Some((11, 0)));
        table.clear(hash(1));
        table.bump(stale, 3);
        table.validate();
        assert_eq!(table.find(hash(1)), None, "a bump brings nothing back");
    }

    #[test]
    fn a_full_table_drops_the_least_popular_then_the_least_rank() {
        let mut table = Table::new(64).expect("memory");
        let popularity = |i: u64| if i == 3 || i == 6 { 0 } else { 1 };
        for i in 0..8 {
            assert_eq!(table.put(hash(i), i + 1, popularity(i), no_rank), Put::Inserted);
        }
        assert_eq!(table.put(hash(100), 100, 5, |location| 1000 - location), Put::Displaced(7));
        assert_eq!(table.put(hash(101), 101, 5, |location| location), Put::Displaced(4));
        table.validate();
        assert_eq!(table.used_count(), 8);
        assert_eq!((table.find(hash(3)), table.find(hash(6))), (None, None));
    }

    #[test]
    fn nothing_is_lost_at_nine_tenths_full_whatever_the_bucket_count_and_the_shard_bits() {
        for capacity in [8_000, 8_008, 65_536, 100_000] {
            for fixed_bits in [0, 1, 6, 10] {
                let lost = displaced(capacity, capacity as u64 * 90 / 100, fixed_bits);
                assert!(lost * 1000 <= capacity as u64, "{lost} of {capacity} slots, {fixed_bits} bits fixed");
            }
        }
    }

    #[test]
    fn random_operations_leave_what_a_map_says_or_less() {
        use std::collections::BTreeMap;
        for seed in 0..20u64 {
            let mut table = Table::new(64 * (1 + seed as usize % 7)).expect("memory");
            let mut model = BTreeMap::new();
            for step in 0..2000u64 {
                let random = key_hash(seed, &step.to_le_bytes());
                let key = random % 60;
                match (random >> 8) % 4 {
                    0 | 1 => {
                        let put = table.put(hash(key), step + 1, 0, |location| location);
                        if let Put::Displaced(location) = put {
                            model.retain(|_, &mut old| old != location);
                        }
                        model.insert(key, step + 1);
                    }
                    2 => assert_eq!(table.clear(hash(key)), model.remove(&key), "seed {seed} step {step}"),
                    _ => assert_eq!(
                        table.find(hash(key)).map(|found| found.location),
                        model.get(&key).copied(),
                        "seed {seed} step {step}"
                    ),
                }
                table.validate();
            }
            assert_eq!(table.used_count(), model.len() as u64, "seed {seed}");
        }
    }
}
