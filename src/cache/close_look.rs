//! Looking at some requests closely: how long they take, and how old what they hit is.
//!
//! The way of a read is written once, over a [`Witness`]. For almost all reads that is `()`, whose methods are empty, so they compile to what they would be
//! without; a read that is looked at passes a [`CloseLook`].
//!
//! Knows: clocks, histograms. Does not know: where values are found. Nothing is decided here.

use super::core::Core;
use super::read::Candidate;
use crate::counters::Counter;
use crate::histogram::Recorder;
use crate::observe::Temperature;
use crate::shard::Slot;
use crate::shard::memory::MemoryTier;

/// What is measured of sampled requests.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) memory_hit_ns: Recorder,
    pub(crate) disk_hit_ns: Recorder,
    pub(crate) miss_ns: Recorder,
    pub(crate) insert_ns: Recorder,
    pub(crate) remove_ns: Recorder,
    pub(crate) load_ns: Recorder,
    pub(crate) memory_hits_by_age: AgeCounters,
    pub(crate) disk_hits_by_age: AgeCounters,
}

/// Hits by age; the last is what is older than all limits.
#[derive(Debug, Default)]
pub(crate) struct AgeCounters([Counter; AGE_LIMITS_MS.len() + 1]);

/// Ages that hits are told apart by: see [`Temperature`].
const AGE_LIMITS_MS: [u64; 6] = [1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000];

impl AgeCounters {
    fn count(&self, age_ms: u64) {
        self.0[AGE_LIMITS_MS.iter().filter(|limit| age_ms >= **limit).count()].one();
    }

    pub(crate) fn snapshot(&self) -> Temperature {
        let [under_1_s, under_10_s, under_1_min, under_10_min, under_1_h, under_1_day, older] =
            std::array::from_fn(|class| self.0[class].get());
        Temperature { under_1_s, under_10_s, under_1_min, under_10_min, under_1_h, under_1_day, older }
    }
}

/// Where a read ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Memory,
    Disk,
    Miss,
}

/// Somebody who looks on while a value is read.
pub(crate) trait Witness {
    /// Memory has the entry. Called under the shard's lock.
    fn sees_entry(&mut self, memory: &MemoryTier, hash: u64);
    /// The log may have it.
    fn sees_candidate(&mut self, candidate: Option<&Candidate>);
    /// The value is copied, or there is none.
    fn sees_end(self, outcome: Outcome);
}

impl Witness for () {
    #[inline(always)]
    fn sees_entry(&mut self, _memory: &MemoryTier, _hash: u64) {}
    #[inline(always)]
    fn sees_candidate(&mut self, _candidate: Option<&Candidate>) {}
    #[inline(always)]
    fn sees_end(self, _outcome: Outcome) {}
}

/// A read that is looked at.
pub(crate) struct CloseLook<'a> {
    core: &'a Core,
    started_ns: u64,
    age_ms: Option<u64>,
}

impl Witness for CloseLook<'_> {
    fn sees_entry(&mut self, memory: &MemoryTier, hash: u64) {
        self.age_ms = memory.lives().and_then(|lives| lives.age_ms(hash));
    }

    fn sees_candidate(&mut self, candidate: Option<&Candidate>) {
        // As old as its segment: when that was made is all that is known without more reading.
        let made_s = candidate.map(|candidate| candidate.segment.header.clock_mark_s);
        self.age_ms = made_s.map(|made_s| u64::from(self.core.now_s().saturating_sub(made_s)) * 1_000);
    }

    fn sees_end(self, outcome: Outcome) {
        let measured = &self.core.measured;
        let (latency, hits_by_age) = match outcome {
            Outcome::Memory => (&measured.memory_hit_ns, Some(&measured.memory_hits_by_age)),
            Outcome::Disk => (&measured.disk_hit_ns, Some(&measured.disk_hits_by_age)),
            Outcome::Miss => (&measured.miss_ns, None),
        };
        latency.record(self.core.ns_since(self.started_ns));
        if let (Some(hits_by_age), Some(age_ms)) = (hits_by_age, self.age_ms) {
            hits_by_age.count(age_ms);
        }
    }
}

impl Core {
    /// Begins a close look at a read; `None` if the cache is closed, which is the other reason why one is due.
    #[cold]
    pub(crate) fn look_closely(&self, hash: u64, slot: &Slot) -> Option<CloseLook<'_>> {
        self.rearm(hash, slot);
        (!self.is_closed()).then(|| CloseLook { core: self, started_ns: self.clock.monotonic_ns(), age_ms: None })
    }

    /// When a mutation began, if this one is looked at.
    #[inline]
    pub(crate) fn start_if_due(&self, hash: u64, slot: &Slot) -> Option<u64> {
        if !slot.counters.is_look_due() {
            return None;
        }
        self.rearm(hash, slot);
        Some(self.clock.monotonic_ns())
    }

    pub(crate) fn ns_since(&self, started_ns: u64) -> u64 {
        self.clock.monotonic_ns().saturating_sub(started_ns)
    }

    fn rearm(&self, hash: u64, slot: &Slot) {
        let _shard = slot.read();
        // Under the lock, so that it is not overtaken by close: I-PAC-1.
        let counters = &slot.counters;
        if !self.is_closed() {
            counters.pace.rearm(&counters.memory_hits, self.sample_one_in, hash);
        }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_hit_counts_for_the_least_limit_that_its_age_is_under() {
        let counters = AgeCounters::default();
        for age_ms in [0, 999, 1_000, 59_999, 60_000, 86_399_999, 86_400_000, u64::MAX] {
            counters.count(age_ms);
        }
        let expected = Temperature {
            under_1_s: 2,
            under_10_s: 1,
            under_1_min: 1,
            under_10_min: 1,
            under_1_h: 0,
            under_1_day: 1,
            older: 2,
        };
        assert_eq!(counters.snapshot(), expected);
    }
}
