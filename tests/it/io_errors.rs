//! Calls of the disk that fail, once or for good: no panic, no wrong value; requests go on from memory, and `flush` errs from then on.

use crate::oracle::{Change, Oracle, key_bytes, value_bytes};
use crate::support::{Rng, START_UNIX_MS, Setup, is_full, named};
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
const KEY_COUNT: u32 = 30;

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
    fn new(setup: Setup) -> Self {
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        Self { setup, disk: SimDisk::new(1), oracle: Oracle::default(), clock, flushed_seqno: 0, seqno: 0 }
    }

    fn open(&self, seed: u64) -> Result<Cache, emberlog::Error> {
        self.setup.builder(&self.clock, seed).open_on(Arc::new(self.disk.clone()))
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

/// How many calls of a kind the whole day makes. Counted by failing the nth with what is not noticed is not possible, so by bisection on effect: a
/// fault that is never reached leaves everything as it is.
fn is_reached(op: SimOp, nth: u64, fault: SimFault, setup: &Setup) -> bool {
    let mut day = Day::new(setup.clone());
    day.disk.fail_nth(op, nth, fault);
    let mut trouble = false;
    match day.open(1) {
        Ok(cache) => {
            trouble |= !day.work(&cache, 7);
            let closed = cache.close();
            let is_off = !cache.stats().disk.expect("a disk tier").is_on;
            assert!(!is_off || closed.is_err(), "close says that the disk went off");
            trouble |= closed.is_err();
            if closed.is_ok() {
                day.flushed_seqno = day.seqno;
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            trouble = true;
        }
    }
    // What is left opens once the disk works, and holds a state that may be: no older than the last flush.
    for disk in [day.disk.after_kill(), day.disk.after_power_cut(nth)] {
        let Ok(cache) = day.setup.builder(&day.clock, 99).open_on(Arc::new(disk.clone())) else {
            panic!("what failing calls leave can be opened");
        };
        check_since(&day.oracle, day.flushed_seqno, &cache);
    }
    trouble
}

/// Each answer is the value at the last flush or a later one.
fn check_since(oracle: &Oracle, flushed_seqno: u64, cache: &Cache) {
    for key in 0..KEY_COUNT + 4 {
        let Some(answer) = cache.get(key_bytes(key)) else { continue };
        let is_right = (flushed_seqno..=oracle.last_seqno()).any(|seqno| {
            let mut then = oracle.clone();
            then.cut(seqno);
            then.current(key, START_UNIX_MS).is_some_and(|value| answer == value_bytes(key, value.version, value.len))
        });
        assert!(is_right, "key {key} is older than the flush at {flushed_seqno}, or was removed");
    }
}

#[test]
fn any_call_that_fails_turns_the_disk_off_at_most_and_never_makes_an_answer_wrong() {
    let setup = Setup { disk_bytes: 384 << 10, ..Setup::small() };
    let mut noticed = 0;
    for op in OPS {
        for cause in [SimCause::Io, SimCause::Full, SimCause::TooManyFiles, SimCause::Interrupted] {
            for fault in [SimFault::once(cause), SimFault::forever(cause)] {
                let mut quiet = 0;
                let mut nth = 1;
                // Some failures change nothing that can be seen, so the end of the calls is where many in a row do not.
                while quiet < 12 && nth < 400 {
                    let reached = named(&format!("{op:?} number {nth} fails with {fault:?}"), || {
                        is_reached(op, nth, fault, &setup)
                    });
                    assert!(!(reached && cause == SimCause::Interrupted), "interrupted calls are continued");
                    noticed += u32::from(reached);
                    quiet = if reached { 0 } else { quiet + 1 };
                    nth += if is_full() || nth < 20 { 1 } else { 3 };
                }
            }
        }
    }
    assert!(noticed > 300, "{noticed} failures were noticed");
}
