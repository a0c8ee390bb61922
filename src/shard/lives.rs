//! How old entries get in memory, and how long nobody asks for them before they go: for some keys, which their hash chooses.
//!
//! Entries carry no times: a word for each would cost a tenth of what small entries take, and a hit would have to write it. Instead a small table remembers when
//! some entries came and when they were last asked for. A key is watched if some bits of its hash are zero, so the choice is fair over keys and the same for as
//! long as the store's salt is.
//!
//! Accuracy. Times are kept in steps of 17 ms. When an entry came is exact. When it was last asked for costs nothing on most hits: only those that raise its
//! popularity tell, and popularity ends at 3. In the main ring each round takes one from it, so an entry is evicted after at least three rounds without a
//! hit, if it was that popular, and hits that told nothing were in the round before these: idle times are exact for what was asked for less, and else too
//! long by a third at most. Where a bucket is full, a new entry is not watched.
//!
//! Knows: hashes, a clock. Does not know: entries, rings; nothing is decided here. Guarded by the shard's lock; [`used`](Lives::used) needs its read side only.
//!
//! Invariants
//!  I-LIV-1  A slot is of an entry that memory holds: who drops one says so.

use crate::clock::Clock;
use crate::histogram::Recorder;
use crate::sync::{Ordering, PlainArc, PlainAtomicU32};

const SLOTS_PER_BUCKET: usize = 4;
const SLOT_LEN: usize = 12;
/// Which bits of a hash choose. Those below are the tag in the index and those above choose shard and bucket, so what is watched is spread over both.
const WATCH_SHIFT: u32 = 22;
/// One key in 16 at most: more would cost inserts more than they tell.
const WATCH_BITS_MIN: u32 = 4;
const WATCH_BITS_MAX: u32 = 10;
/// Nanoseconds of a step, as a power of two: 17 ms, and 32 bits of them are two years.
const STEP_BITS: u32 = 24;

/// How large the tables are, and which keys they watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LivesPlan {
    bucket_count: usize,
    watch_bits: u32,
}

impl LivesPlan {
    /// A table for a shard with so much memory: a 512th of it, 768 bytes to 48 KiB.
    pub(crate) fn for_shard(memory_bytes: u64) -> Self {
        let buckets = (memory_bytes / 512 / (SLOT_LEN * SLOTS_PER_BUCKET) as u64).clamp(16, 1024);
        Self { bucket_count: 1 << buckets.ilog2(), watch_bits: WATCH_BITS_MIN }
    }

    /// Watches as many keys as fill half of the table, if the shard holds so many entries.
    pub(crate) fn watching(self, entry_count: u64) -> Self {
        let wanted = (self.bucket_count * SLOTS_PER_BUCKET / 2) as u64;
        let watch_bits = (entry_count / wanted).max(1).next_power_of_two().ilog2();
        Self { watch_bits: watch_bits.clamp(WATCH_BITS_MIN, WATCH_BITS_MAX), ..self }
    }

    /// What a table takes.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.bucket_count * SLOTS_PER_BUCKET * SLOT_LEN) as u64
    }

    /// One key in so many is watched.
    pub(crate) fn one_in(&self) -> u64 {
        1 << self.watch_bits
    }
}

/// What all shards tell of ages, and the clock they go by.
#[derive(Debug)]
pub(crate) struct Ages {
    clock: PlainArc<dyn Clock>,
    /// Milliseconds from coming into memory to being evicted.
    pub(crate) at_eviction_ms: Recorder,
    /// Milliseconds from the last use to being evicted.
    pub(crate) idle_at_eviction_ms: Recorder,
}

impl Ages {
    pub(crate) fn new(clock: PlainArc<dyn Clock>) -> Self {
        Self { clock, at_eviction_ms: Recorder::default(), idle_at_eviction_ms: Recorder::default() }
    }

    fn now_steps(&self) -> u32 {
        u32::try_from(self.clock.monotonic_ns() >> STEP_BITS).unwrap_or(u32::MAX)
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// 0 is empty.
    tag: PlainAtomicU32,
    came: PlainAtomicU32,
    used: PlainAtomicU32,
}

/// The watched entries of one shard.
#[derive(Debug)]
pub(crate) struct Lives {
    slots: Box<[Slot]>,
    watch_mask: u64,
    ages: PlainArc<Ages>,
}

impl Lives {
    pub(crate) fn new(plan: LivesPlan, ages: PlainArc<Ages>) -> Self {
        let slots = (0..plan.bucket_count * SLOTS_PER_BUCKET).map(|_| Slot::default()).collect();
        Self { slots, watch_mask: ((1 << plan.watch_bits) - 1) << WATCH_SHIFT, ages }
    }

    #[inline]
    fn is_watched(&self, hash: u64) -> bool {
        hash & self.watch_mask == 0
    }

    /// An entry came, or a new version of it.
    #[inline]
    pub(crate) fn came(&mut self, hash: u64) {
        if self.is_watched(hash) {
            self.note_came(hash);
        }
    }

    /// An entry was asked for.
    #[inline]
    pub(crate) fn used(&self, hash: u64) {
        if self.is_watched(hash)
            && let Some(slot) = self.find(hash)
        {
            slot.used.store(self.ages.now_steps(), Ordering::Relaxed);
        }
    }

    /// An entry was evicted.
    #[inline]
    pub(crate) fn evicted(&mut self, hash: u64) {
        if self.is_watched(hash) {
            self.note_evicted(hash);
        }
    }

    /// An entry went for another reason.
    #[inline]
    pub(crate) fn gone(&mut self, hash: u64) {
        if self.is_watched(hash)
            && let Some(slot) = self.find(hash)
        {
            slot.tag.store(0, Ordering::Relaxed);
        }
    }

    /// All went.
    pub(crate) fn clear(&mut self) {
        self.slots.iter().for_each(|slot| slot.tag.store(0, Ordering::Relaxed));
    }

    /// Milliseconds since an entry came, if it is watched.
    pub(crate) fn age_ms(&self, hash: u64) -> Option<u64> {
        let slot = self.is_watched(hash).then(|| self.find(hash)).flatten()?;
        Some(ms(self.ages.now_steps(), slot.came.load(Ordering::Relaxed)))
    }

    /// How many entries are watched, and milliseconds since the oldest of them came.
    pub(crate) fn oldest_ms(&self) -> (u64, Option<u64>) {
        let now = self.ages.now_steps();
        let used = self.slots.iter().filter(|slot| slot.tag.load(Ordering::Relaxed) != 0);
        used.fold((0, None), |(count, oldest), slot| {
            (count + 1, oldest.max(Some(ms(now, slot.came.load(Ordering::Relaxed)))))
        })
    }

    #[cold]
    fn note_came(&mut self, hash: u64) {
        let slot = self.find(hash).or_else(|| self.find_tag(hash, 0));
        if let Some(slot) = slot {
            let now = self.ages.now_steps();
            slot.came.store(now, Ordering::Relaxed);
            slot.used.store(now, Ordering::Relaxed);
            slot.tag.store(tag_of(hash), Ordering::Relaxed);
        }
    }

    #[cold]
    fn note_evicted(&mut self, hash: u64) {
        if let Some(slot) = self.find(hash) {
            let now = self.ages.now_steps();
            self.ages.at_eviction_ms.record(ms(now, slot.came.load(Ordering::Relaxed)));
            self.ages.idle_at_eviction_ms.record(ms(now, slot.used.load(Ordering::Relaxed)));
            slot.tag.store(0, Ordering::Relaxed);
        }
    }

    fn find(&self, hash: u64) -> Option<&Slot> {
        self.find_tag(hash, tag_of(hash))
    }

    fn find_tag(&self, hash: u64, tag: u32) -> Option<&Slot> {
        let bucket_count = self.slots.len() / SLOTS_PER_BUCKET;
        let bucket = (hash >> 32) as usize & (bucket_count - 1);
        let slots = &self.slots[bucket * SLOTS_PER_BUCKET..][..SLOTS_PER_BUCKET];
        slots.iter().find(|slot| slot.tag.load(Ordering::Relaxed) == tag)
    }
}

/// Never 0. Two watched keys of a shard that share it share a slot too: one in millions.
fn tag_of(hash: u64) -> u32 {
    (hash as u32 ^ (hash >> 29) as u32).max(1)
}

fn ms(now_steps: u32, then_steps: u32) -> u64 {
    (u64::from(now_steps.saturating_sub(then_steps)) << STEP_BITS) / 1_000_000
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::time::Duration;

    const STEP_MS: u64 = 17;

    fn table() -> (Lives, PlainArc<ManualClock>, PlainArc<Ages>) {
        let clock = PlainArc::new(ManualClock::new(1_000));
        let ages = PlainArc::new(Ages::new(PlainArc::<ManualClock>::clone(&clock)));
        (Lives::new(LivesPlan::for_shard(4 << 20), PlainArc::clone(&ages)), clock, ages)
    }

    fn watched(n: u64) -> u64 {
        n << 32 | n
    }

    fn near(told: u64, real: u64) -> bool {
        told.abs_diff(real) <= STEP_MS
    }

    #[test]
    fn an_evicted_entry_tells_its_age_and_how_long_nobody_asked_for_it() {
        let (mut lives, clock, ages) = table();
        lives.came(watched(1));
        clock.advance(Duration::from_secs(60));
        lives.used(watched(1));
        clock.advance(Duration::from_secs(30));
        assert!(near(lives.age_ms(watched(1)).expect("it is watched"), 90_000));
        lives.evicted(watched(1));
        let (age, idle) = (ages.at_eviction_ms.snapshot(), ages.idle_at_eviction_ms.snapshot());
        assert_eq!((age.count(), idle.count()), (1, 1));
        assert!(near(age.sum, 90_000) && near(idle.sum, 30_000), "{} and {}", age.sum, idle.sum);
        lives.evicted(watched(1));
        assert_eq!(ages.at_eviction_ms.snapshot().count(), 1, "it went once");
    }

    #[test]
    fn the_oldest_entry_that_is_still_there_is_told() {
        let (mut lives, clock, _) = table();
        for n in 1..=50 {
            lives.came(watched(n));
            clock.advance(Duration::from_secs(1));
        }
        (1..=20).for_each(|n| lives.gone(watched(n)));
        lives.came(watched(21));
        let (count, oldest) = lives.oldest_ms();
        assert!(count == 30 && near(oldest.expect("there are some"), 29_000), "{count} entries, {oldest:?} ms");
        lives.clear();
        assert_eq!(lives.oldest_ms(), (0, None));
    }

    #[test]
    fn what_is_not_watched_or_finds_its_bucket_full_is_not_told() {
        let (mut lives, _, ages) = table();
        lives.came(watched(1) | 1 << WATCH_SHIFT);
        assert_eq!(lives.oldest_ms().0, 0);
        // All of one bucket.
        (1..=6).for_each(|n| lives.came(n << 48));
        assert_eq!(lives.oldest_ms().0, SLOTS_PER_BUCKET as u64);
        lives.evicted(6 << 48);
        assert_eq!(ages.at_eviction_ms.snapshot().count(), 0);
    }

    #[test]
    fn as_many_keys_are_watched_as_fill_half_of_the_table() {
        for (memory_bytes, entry_count, one_in) in [(1 << 20, 100, 16), (4 << 20, 16_000, 64), (4 << 20, 100_000, 512)]
        {
            let plan = LivesPlan::for_shard(memory_bytes).watching(entry_count);
            assert_eq!(plan.one_in(), one_in, "{entry_count} entries");
            assert!(plan.held_bytes() <= (memory_bytes / 512).max(768));
        }
        assert_eq!(SLOT_LEN, size_of::<Slot>());
    }
}
