//! Calls of the disk that fail, once or from then on: no panic, no wrong value; requests go on from memory, and `flush` errs while the disk tier is off.
//!
//! The cases are numbered: each kind of call, each cause, once and for ever, at each call of that kind that a day of requests makes.

use crate::mode::Cases;
use crate::oracle::{Change, Oracle, key_bytes, value_bytes};
use crate::report::Tally;
use crate::rng::Rng;
use crate::runner::Options;
use crate::setup::{START_UNIX_MS, Setup, named};
use emberlog::disk::{SimCause, SimDisk, SimFault, SimOp};
use emberlog::{Cache, MaintenanceBudget, ManualClock};
use std::sync::Arc;

const OPS: [SimOp; 13] = [
    SimOp::Write,
    SimOp::Read,
    SimOp::Sync,
    SimOp::SyncDir,
    SimOp::Allocate,
    SimOp::Rename,
    SimOp::Unlink,
    SimOp::Create,
    SimOp::Open,
    SimOp::Truncate,
    SimOp::Map,
    SimOp::Lock,
    SimOp::List,
];
const CAUSES: [SimCause; 4] = [SimCause::Io, SimCause::Full, SimCause::TooManyFiles, SimCause::Interrupted];
const KEY_COUNT: u32 = 30;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct IoErrors {
    seed: u64,
    cases: Vec<Case>,
    runs: u64,
}

/// The nth call of a kind fails.
#[derive(Debug, Clone, Copy)]
struct Case {
    op: SimOp,
    nth: u64,
    fault: SimFault,
}

impl IoErrors {
    pub(crate) fn new(options: &Options) -> Self {
        let mut sound = Day::new(options.seed);
        sound.run(options.seed).expect("a sound disk opens");
        let mut cases = Vec::new();
        for op in OPS {
            for cause in CAUSES {
                for fault in [SimFault::once(cause), SimFault::forever(cause)] {
                    cases.extend((1..=sound.disk.call_count(op)).map(|nth| Case { op, nth, fault }));
                }
            }
        }
        let runs = options.effort.of(4_000, cases.len() as u64);
        Self { seed: options.seed, cases, runs }
    }
}

impl Cases for IoErrors {
    fn count(&self) -> Option<u64> {
        Some(self.cases.len() as u64)
    }

    fn runs(&self) -> u64 {
        self.runs
    }

    fn run(&self, case: u64, tally: &mut Tally) {
        let Case { op, nth, fault } = self.cases[case as usize];
        named(&format!("{op:?} number {nth} fails with {fault:?}"), || {
            let mut day = Day::new(self.seed);
            day.disk.fail_nth(op, nth, fault);
            let is_untroubled = match day.run(self.seed) {
                Ok(is_untroubled) => is_untroubled,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    false
                }
            };
            let is_continued = [SimFault::once(SimCause::Interrupted), SimFault::forever(SimCause::Interrupted)];
            assert!(is_untroubled || !is_continued.contains(&fault), "interrupted calls are continued");
            // What is left opens once the disk works, and holds a state that may be: no older than the last flush.
            for disk in [day.disk.after_kill(), day.disk.after_power_cut(nth)] {
                let opened = day.setup.builder(&day.clock, 99).open_on(Arc::new(disk.clone()));
                let cache = opened.unwrap_or_else(|error| panic!("what failing calls leave can be opened: {error}"));
                tally.state(check_since(&day.oracle, day.flushed_seqno, &cache));
            }
        });
    }
}

/// One client's day on a disk that fails.
struct Day {
    setup: Setup,
    disk: SimDisk,
    oracle: Oracle,
    clock: Arc<ManualClock>,
    /// Events that a flush has covered.
    flushed_seqno: u64,
    seqno: u64,
}

impl Day {
    fn new(seed: u64) -> Self {
        let setup = Setup { disk_bytes: 384 << 10, ..Setup::small() };
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        Self { setup, disk: SimDisk::new(seed), oracle: Oracle::default(), clock, flushed_seqno: 0, seqno: 0 }
    }

    fn open(&self, seed: u64) -> Result<Cache, emberlog::Error> {
        self.setup.builder(&self.clock, seed).open_on(Arc::new(self.disk.clone()))
    }

    /// A day from open to close. Returns whether nothing was noticed of what failed.
    fn run(&mut self, seed: u64) -> Result<bool, emberlog::Error> {
        let cache = self.open(seed)?;
        let stayed_on = self.work(&cache, seed);
        let closed = cache.close();
        let is_on = cache.stats().disk.expect("a disk tier").is_on;
        assert!(is_on || closed.is_err(), "close says that the disk went off");
        if closed.is_ok() {
            self.flushed_seqno = self.seqno;
        }
        Ok(stayed_on && closed.is_ok())
    }

    /// Requests that turn the log over, checked one by one. Returns false if the disk tier went off.
    fn work(&mut self, cache: &Cache, seed: u64) -> bool {
        let mut rng = Rng::new(seed);
        let mut was_off = false;
        for round in 0..150 {
            let key = rng.below(KEY_COUNT.into()) as u32;
            self.seqno += 1;
            if rng.below(6) == 0 {
                self.oracle.note(self.seqno, Change::Remove { key });
                cache.remove(key_bytes(key));
                assert_eq!(cache.get(key_bytes(key)), None, "removed just now");
            } else {
                let (version, len) = (self.oracle.next_version(), rng.below(6000) as usize);
                self.oracle.note(self.seqno, Change::Put { key, version, len, until_ms: None });
                let outcome = cache.insert(key_bytes(key), value_bytes(key, version, len));
                assert!(outcome.memory.is_stored(), "memory goes on: {outcome:?}");
                assert_eq!(cache.get(key_bytes(key)).as_deref(), Some(value_bytes(key, version, len).as_slice()));
            }
            let other = rng.below(KEY_COUNT.into()) as u32;
            self.oracle.check(other, START_UNIX_MS, cache.get(key_bytes(other)).as_deref());
            let (flushed, maintained) = match round % 10 {
                4 => (Some(cache.flush()), None),
                7 => (None, Some(cache.maintain(MaintenanceBudget { steps_max: 4, ..Default::default() }))),
                _ => (None, None),
            };
            let is_off = !cache.stats().disk.expect("a disk tier").is_on;
            match flushed {
                Some(Ok(())) => {
                    assert!(!is_off, "a flush that succeeds leaves the disk on");
                    self.flushed_seqno = self.seqno;
                }
                Some(Err(error)) => assert!(is_off, "a flush that errs has turned the disk off: {error}"),
                None => {}
            }
            if let Some(Err(error)) = maintained {
                assert!(is_off, "maintenance that errs has turned the disk off: {error}");
            }
            if was_off {
                assert!(is_off, "it stays off");
                assert!(cache.flush().is_err(), "and flush says so each time");
            }
            was_off = is_off;
        }
        self.oracle.check_all(cache, KEY_COUNT, START_UNIX_MS);
        !was_off
    }
}

/// Each answer is the value at the last flush or a later one. Returns how many values were served.
fn check_since(oracle: &Oracle, flushed_seqno: u64, cache: &Cache) -> u64 {
    let mut hits = 0;
    for key in 0..KEY_COUNT + 4 {
        let Some(answer) = cache.get(key_bytes(key)) else { continue };
        hits += 1;
        let is_right = (flushed_seqno..=oracle.last_seqno()).any(|seqno| {
            let mut then = oracle.clone();
            then.cut(seqno);
            then.current(key, START_UNIX_MS).is_some_and(|value| answer == value_bytes(key, value.version, value.len))
        });
        assert!(is_right, "key {key} is older than the flush at {flushed_seqno}, or was removed");
    }
    hits
}
