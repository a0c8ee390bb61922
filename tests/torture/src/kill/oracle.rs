//! What may survive of one thread's operations: a prefix of them.
//!
//! Each thread owns its keys, so the order of each key's operations is known. Operations follow from seed, round, thread and step, so a report is a step
//! number, and at most the one operation behind the last report may or may not have happened. For each thread there is one step such that every key
//! shows its state at that step, or nothing (evicted). With `Written` and `Synced` that step is the last one reported, or the one behind it.

use super::{Heard, KEYS_PER_THREAD};
use crate::rng::Rng;
use emberlog::Durability;
use emberlog::format::record::RecordHeader;
use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) key: u64,
    /// `None`: a remove.
    pub(super) len: Option<usize>,
    pub(super) version: u64,
}

impl Op {
    pub(super) fn of(seed: u64, round: u64, thread: u64, step: u64) -> Self {
        let mut numbers = Rng::new(seed ^ round.rotate_left(48) ^ thread.rotate_left(40) ^ step);
        // A third of the keys takes most of the operations, so that overwrites come both soon and late.
        let range = if numbers.below(3) == 0 { KEYS_PER_THREAD } else { KEYS_PER_THREAD / 3 };
        let key = thread * KEYS_PER_THREAD + numbers.below(range);
        let len = match numbers.below(100) {
            0..=14 => None,
            15..=17 => Some(4_000 + numbers.below(6_000) as usize),
            _ => Some(16 + numbers.below(900) as usize),
        };
        Self { key, len, version: round << 32 | step }
    }

    fn state(&self) -> Option<u64> {
        self.len.map(|_| self.version)
    }

    /// What it takes in the append buffer at least.
    fn bytes(&self) -> u64 {
        RecordHeader::LEN as u64 + self.len.map_or(0, |len| len as u64 + 8)
    }
}

/// What one key may hold.
type States = BTreeSet<u64>;

/// What the parent knows of one thread's keys.
#[derive(Debug)]
pub(super) struct Oracle {
    seed: u64,
    thread: u64,
    durability: Durability,
    /// Before the round: versions that each key may show, beside none.
    before: Vec<States>,
    round: u64,
    /// Operations that may have happened in the round, and how many of them were reported.
    ops: Vec<Op>,
    reported: u64,
    /// The prefix of `ops` that survived is this long at least and at most.
    shortest: u64,
    longest: u64,
    /// Age of each of the last reported operations when the process was killed, the newest last.
    ages_ms: Vec<u64>,
}

impl Oracle {
    pub(super) fn new(seed: u64, thread: u64, durability: Durability) -> Self {
        let before = vec![States::new(); KEYS_PER_THREAD as usize];
        Self {
            seed,
            thread,
            durability,
            before,
            round: 0,
            ops: Vec::new(),
            reported: 0,
            shortest: 0,
            longest: 0,
            ages_ms: Vec::new(),
        }
    }

    /// A round ended by a kill.
    pub(super) fn killed(&mut self, round: u64, reported: u64, heard: Heard, at: Instant) {
        self.ages_ms = heard.iter().map(|heard| at.saturating_duration_since(*heard).as_millis() as u64).collect();
        self.round = round;
        self.ops = (1..=reported + 1).map(|step| Op::of(self.seed, round, self.thread, step)).collect();
        self.reported = reported;
        self.longest = reported + 1;
        self.shortest = if self.durability == Durability::Buffered { 0 } else { reported };
    }

    /// A key shows a version: that narrows down which prefix survived.
    pub(super) fn found(&mut self, key: u64, version: u64) -> Result<(), String> {
        let of_key: Vec<u64> = self.ops.iter().zip(1..).filter(|(op, _)| op.key == key).map(|(_, step)| step).collect();
        let (from, until) = match of_key.iter().position(|&step| self.ops[step as usize - 1].state() == Some(version)) {
            Some(at) => (of_key[at], of_key.get(at + 1)),
            None if self.before[(key % KEYS_PER_THREAD) as usize].contains(&version) => (0, of_key.first()),
            None => {
                return Err(format!(
                    "key {key} shows version {:#x}, which was overwritten or removed before round {}, or never inserted; allowed was {:x?}",
                    version,
                    self.round,
                    self.before[(key % KEYS_PER_THREAD) as usize]
                ));
            }
        };
        let until = until.map_or(u64::MAX, |&step| step - 1);
        self.shortest = self.shortest.max(from);
        self.longest = self.longest.min(until);
        if self.shortest > self.longest {
            return Err(format!(
                "thread {} in round {}: no prefix of its {} operations ({} reported) explains what its keys show: key {key} at version {version:#x} is the state of steps {from}..={until}, others need {} at least and {} at most",
                self.thread,
                self.round,
                self.ops.len(),
                self.reported,
                self.shortest,
                self.longest
            ));
        }
        Ok(())
    }

    /// Bytes of reported operations that are lost for sure.
    pub(super) fn lost_bytes(&self) -> u64 {
        let lost = self.longest.min(self.reported) as usize..self.reported as usize;
        self.ops[lost].iter().map(Op::bytes).sum()
    }

    /// Age of the oldest of them.
    pub(super) fn lost_ms(&self) -> u64 {
        let lost = self.reported.saturating_sub(self.longest) as usize;
        if lost == 0 {
            return 0;
        }
        let oldest = self.ages_ms.len().saturating_sub(lost);
        self.ages_ms.get(oldest).copied().unwrap_or(0)
    }

    /// All that the next child found is told: what each key may hold from here on.
    pub(super) fn settle(&mut self, found: &[(u64, u64)]) {
        let sure = self.shortest as usize;
        for op in &self.ops[..sure] {
            self.before[(op.key % KEYS_PER_THREAD) as usize] = op.state().into_iter().collect();
        }
        for op in &self.ops[sure..self.longest as usize] {
            self.before[(op.key % KEYS_PER_THREAD) as usize].extend(op.state());
        }
        for &(key, version) in found.iter().filter(|(key, _)| key / KEYS_PER_THREAD == self.thread) {
            self.before[(key % KEYS_PER_THREAD) as usize] = States::from([version]);
        }
        self.ops.clear();
        (self.reported, self.shortest, self.longest) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first step of a thread that sets a key and the next one that changes it again.
    fn overwritten(thread: u64) -> (u64, u64) {
        let op = |step| Op::of(1, 1, thread, step);
        let pairs = (1..500).flat_map(|first| (first + 1..500).map(move |second| (first, second)));
        let mut pairs = pairs.filter(|&(first, second)| op(first).key == op(second).key && op(first).len.is_some());
        pairs.next().expect("keys come again")
    }

    #[test]
    fn an_older_version_after_a_newer_one_was_seen_is_refused_and_written_operations_may_not_be_lost() {
        let (first, second) = overwritten(0);
        let op = |step| Op::of(1, 1, 0, step);
        let at = crate::runner::now();
        // Buffered: the older version says that all from the second on was lost.
        let mut buffered = Oracle::new(1, 0, Durability::Buffered);
        buffered.killed(1, second, Heard::new(), at);
        buffered.found(op(first).key, op(first).version).expect("a prefix");
        assert!(buffered.lost_bytes() > 0);
        // Another key at a later state contradicts it.
        let later = (second..600).map(op).find(|later| later.len.is_some() && later.key != op(first).key);
        let mut both = Oracle::new(1, 0, Durability::Buffered);
        both.killed(1, 600, Heard::new(), at);
        let later = later.expect("there is one");
        both.found(later.key, later.version).expect("a prefix");
        assert!(both.found(op(first).key, op(first).version).is_err(), "no prefix has both");
        // Written: nothing that was reported may be lost.
        let mut written = Oracle::new(1, 0, Durability::Written);
        written.killed(1, second, Heard::new(), at);
        assert!(written.found(op(first).key, op(first).version).is_err());
        // Nor may what was never inserted, or was settled away.
        assert!(Oracle::new(1, 0, Durability::Buffered).found(3, 77).is_err());
    }
}
