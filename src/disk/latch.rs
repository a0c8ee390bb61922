//! The latch: the first failed write or sync, kept for good.
//!
//! The kernel forgets: after a failed sync it marks pages clean, and the next sync succeeds though bytes are lost. So nothing is retried, and
//! whoever is about to report success asks here first.
//!
//! Invariants
//!  I-LATCH-1  Once [`Latch::trip`] has returned, every [`Latch::check`] that starts later, on any thread, is an error.
//!  I-LATCH-2  The first error stays; later ones are dropped. All callers see the same one.
//!
//! To report only true successes, ask *after* the I/O, before its result is published, and sync one file from one thread at a time: a sync that
//! runs beside a failing one can succeed before the other has come here.

use crate::error::Error;
use crate::sync::{AtomicBool, Mutex, Ordering};
use std::io;

/// Remembers the first I/O error of the disk tier.
#[derive(Debug)]
pub(crate) struct Latch {
    is_tripped: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Latch {
    /// A latch that nothing has tripped.
    pub(crate) fn new() -> Self {
        Self { is_tripped: AtomicBool::new(false), first: Mutex::new(None) }
    }

    /// Records that `what` failed, unless something failed before. Returns the error that was first.
    pub(crate) fn trip(&self, what: &str, error: io::Error) -> Error {
        let mut first = self.first.lock();
        let kept = first.get_or_insert_with(|| Error::io(what, error)).clone();
        // Under the lock, so that who sees the flag finds the error. Pairs with Acquire in is_tripped: publishes all that the failing thread did.
        self.is_tripped.store(true, Ordering::Release);
        kept
    }

    /// The first error, if there was one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.is_tripped() {
            return Ok(());
        }
        Err(self.first.lock().clone().expect("a tripped latch holds its error: trip sets both under the lock"))
    }

    /// Whether anything failed yet: one atomic load.
    #[inline]
    pub(crate) fn is_tripped(&self) -> bool {
        self.is_tripped.load(Ordering::Acquire) // pairs with Release in trip
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::sync::{Arc, Worker};
    use rustix::io::Errno;

    #[test]
    fn a_new_latch_lets_everything_pass() {
        let latch = Latch::new();
        assert!(!latch.is_tripped());
        assert!(latch.check().is_ok());
    }

    #[test]
    fn the_first_error_stays_for_good_and_later_ones_return_it() {
        let latch = Latch::new();
        let first = latch.trip("sync of segment 7", Errno::IO.into());
        assert_eq!(first.kind(), ErrorKind::Io);
        let second = latch.trip("write to segment 8", Errno::NOSPC.into());
        assert_eq!(second.kind(), ErrorKind::Io, "the first one wins");
        for error in [second, latch.check().expect_err("tripped"), latch.check().expect_err("still tripped")] {
            assert_eq!(error.to_string(), first.to_string());
            assert!(error.to_string().contains("segment 7"), "{error}");
        }
        assert!(latch.is_tripped());
    }

    #[test]
    fn a_full_medium_is_told_apart_from_a_failing_one() {
        assert_eq!(Latch::new().trip("write", Errno::NOSPC.into()).kind(), ErrorKind::DiskFull);
        assert_eq!(Latch::new().trip("write", Errno::IO.into()).kind(), ErrorKind::Io);
    }

    #[test]
    fn of_many_threads_that_trip_it_one_wins_and_each_sees_that_one_at_once() {
        let latch = Arc::new(Latch::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut workers: Vec<Worker> = (0..8)
            .map(|number| {
                let (latch, seen) = (Arc::clone(&latch), Arc::clone(&seen));
                Worker::start("latch-test", move || {
                    let tripped = latch.trip(&format!("write {number}"), Errno::IO.into()).to_string();
                    let checked = latch.check().expect_err("visible before any later success").to_string();
                    seen.lock().extend([tripped, checked]);
                })
                .expect("a thread")
            })
            .collect();
        workers.iter_mut().for_each(Worker::join);
        let seen = seen.lock();
        assert_eq!(seen.len(), 16);
        assert!(seen.iter().all(|message| *message == seen[0]), "{seen:?}");
    }
}

#[cfg(all(test, emberlog_loom))]
mod models {
    use super::*;
    use crate::sync::Arc;
    use loom::cell::Cell;
    use loom::thread;
    use rustix::io::Errno;

    trait Trip: 'static {
        fn start() -> Self;
        fn fail(&self);
        fn check(&self) -> Result<(), Error>;
        fn is_tripped(&self) -> bool;
    }

    impl Trip for Latch {
        fn start() -> Self {
            Self::new()
        }
        fn fail(&self) {
            self.trip("sync", Errno::IO.into());
        }
        fn check(&self) -> Result<(), Error> {
            Self::check(self)
        }
        fn is_tripped(&self) -> bool {
            Self::is_tripped(self)
        }
    }

    /// A sync fails in one thread, and another, whose sync came to its end, asks whether it may report that.
    fn model<L: Trip>() {
        loom::model(|| {
            let latch = Arc::new(L::start());
            // What the failing thread did before; loom reports a read that races with it.
            let lost_bytes = Arc::new(Cell::new(0));
            let failed = Arc::new(AtomicBool::new(false));
            let failing = {
                let (latch, lost_bytes, failed) = (Arc::clone(&latch), Arc::clone(&lost_bytes), Arc::clone(&failed));
                thread::spawn(move || {
                    lost_bytes.set(7);
                    latch.fail();
                    failed.store(true, Ordering::Release);
                })
            };
            let known = failed.load(Ordering::Acquire);
            let checked = latch.check();
            assert!(!known || checked.is_err(), "the failure was known, and a success was reported: I-LATCH-1");
            if latch.is_tripped() {
                assert_eq!(lost_bytes.get(), 7, "who sees the flag sees what the failing thread did");
                assert!(latch.check().is_err(), "the flag was seen without its error");
            } else {
                assert!(checked.is_ok(), "a latch never opens again: I-LATCH-2");
            }
            failing.join().expect("the failing thread ends");
            assert!(latch.check().is_err());
        });
    }

    #[test]
    fn a_failure_is_seen_before_any_later_success_and_with_all_that_led_to_it() {
        model::<Latch>();
    }

    #[test]
    fn of_two_failures_both_threads_see_the_same_one() {
        loom::model(|| {
            let latch = Arc::new(Latch::new());
            let other = {
                let latch = Arc::clone(&latch);
                thread::spawn(move || latch.trip("write", Errno::NOSPC.into()).to_string())
            };
            let mine = latch.trip("sync", Errno::IO.into()).to_string();
            assert_eq!(other.join().expect("the other thread ends"), mine, "the first error stays: I-LATCH-2");
        });
    }

    /// The broken twin: it raises the flag before the error is there.
    struct FlagFirst(Latch);

    impl Trip for FlagFirst {
        fn start() -> Self {
            Self(Latch::new())
        }
        fn fail(&self) {
            self.0.is_tripped.store(true, Ordering::Release);
            *self.0.first.lock() = Some(Error::io("sync", Errno::IO.into()));
        }
        fn check(&self) -> Result<(), Error> {
            self.0.check()
        }
        fn is_tripped(&self) -> bool {
            self.0.is_tripped()
        }
    }

    #[test]
    #[should_panic(expected = "a tripped latch holds its error")]
    fn a_twin_that_raises_the_flag_first_is_caught() {
        model::<FlagFirst>();
    }

    /// The broken twin: its flag publishes nothing.
    struct RelaxedFlag(Latch);

    impl Trip for RelaxedFlag {
        fn start() -> Self {
            Self(Latch::new())
        }
        fn fail(&self) {
            let mut first = self.0.first.lock();
            first.get_or_insert_with(|| Error::io("sync", Errno::IO.into()));
            self.0.is_tripped.store(true, Ordering::Relaxed);
        }
        fn check(&self) -> Result<(), Error> {
            // Without the lock, which would order by itself what the flag does not.
            if self.is_tripped() { Err(Error::io("sync", Errno::IO.into())) } else { Ok(()) }
        }
        fn is_tripped(&self) -> bool {
            self.0.is_tripped()
        }
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_twin_whose_flag_is_relaxed_is_caught() {
        model::<RelaxedFlag>();
    }
}
