//! A number of bytes that may never be exceeded, and who holds how much of it.
//!
//! Invariants
//!  I-BUD-1  The sum of all charges never exceeds the limit, at any instant.
//!  I-BUD-2  A charge is released exactly once, when its `Charge` is dropped.

use crate::sync::{Arc, AtomicU64, Ordering};

/// A budget in bytes; shared by all that draw on it.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl Budget {
    /// A budget of `limit_bytes`, nothing of it used.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self(Arc::new(Inner { limit_bytes, used_bytes: AtomicU64::new(0) }))
    }

    /// Takes `bytes`, or nothing at all if that would exceed the limit.
    pub(crate) fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let mut used = self.0.used_bytes.load(Ordering::Relaxed);
        loop {
            let wanted = used.checked_add(bytes).filter(|&sum| sum <= self.0.limit_bytes)?;
            // AcqRel: a charge that reuses released bytes happens after what released them (pairs with Drop).
            match self.0.used_bytes.compare_exchange_weak(used, wanted, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Charge { budget: self.clone(), bytes }),
                Err(now) => used = now,
            }
        }
    }

    /// Bytes charged now.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Acquire)
    }

    /// The limit.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.0.limit_bytes
    }
}

/// Bytes taken from a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Charge {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Leaves the bytes charged for as long as the budget lives.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }

    /// Gives back all but `bytes`. Growing is not possible this way.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        assert!(bytes <= self.bytes, "a charge only shrinks: {} to {bytes}", self.bytes);
        let released = self.bytes - bytes;
        self.bytes = bytes;
        // Release pairs with AcqRel in try_charge.
        self.budget.0.used_bytes.fetch_sub(released, Ordering::AcqRel);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_charge_beyond_the_limit_takes_nothing() {
        let budget = Budget::new(100);
        let first = budget.try_charge(60).expect("60 of 100");
        assert!(budget.try_charge(41).is_none());
        assert_eq!(budget.used_bytes(), 60);
        let second = budget.try_charge(40).expect("exactly the rest");
        assert_eq!(budget.used_bytes(), budget.limit_bytes());
        drop(first);
        assert_eq!(budget.used_bytes(), 40);
        assert!(budget.try_charge(u64::MAX).is_none(), "no wrap");
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_shrunk_charge_releases_the_rest_once() {
        let budget = Budget::new(100);
        let mut charge = budget.try_charge(80).expect("80 of 100");
        charge.shrink_to(30);
        assert_eq!((charge.bytes(), budget.used_bytes()), (30, 30));
        drop(charge);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_kept_charge_stays_and_does_not_keep_the_budget_alive() {
        let budget = Budget::new(100);
        budget.try_charge(80).expect("80 of 100").keep();
        assert_eq!(budget.used_bytes(), 80);
        assert_eq!(Arc::strong_count(&budget.0), 1);
    }
}

#[cfg(all(test, emberlog_loom))]
mod models {
    use super::*;
    use crate::sync::{PlainArc, PlainAtomicU64};
    use loom::thread;

    const LIMIT_BYTES: u64 = 3;

    /// Something that bytes can be taken from, and given back to by dropping what it returns.
    trait Purse: Clone + 'static {
        type Held;
        fn start() -> Self;
        fn take(&self, bytes: u64) -> Option<Self::Held>;
        fn used_bytes(&self) -> u64;
    }

    impl Purse for Budget {
        type Held = Charge;
        fn start() -> Self {
            Self::new(LIMIT_BYTES)
        }
        fn take(&self, bytes: u64) -> Option<Charge> {
            self.try_charge(bytes)
        }
        fn used_bytes(&self) -> u64 {
            Self::used_bytes(self)
        }
    }

    /// Threads take these many bytes each, and give them back. A recount beside the budget, which no model delays, adds what is held.
    fn model<P: Purse>(takes: &'static [&'static [u64]], preemptions_max: Option<usize>) {
        let mut explored = loom::model::Builder::new();
        explored.preemption_bound = preemptions_max;
        explored.check(move || {
            let purse = P::start();
            let recount = PlainArc::new(PlainAtomicU64::new(0));
            let work = |purse: P, recount: PlainArc<PlainAtomicU64>, takes: &'static [u64]| {
                for &bytes in takes {
                    let Some(held) = purse.take(bytes) else { continue };
                    let sum = recount.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    assert!(sum <= LIMIT_BYTES, "{sum} of {LIMIT_BYTES} bytes are held: I-BUD-1");
                    let used = purse.used_bytes();
                    assert!((bytes..=LIMIT_BYTES).contains(&used), "{used} counted, {bytes} held here: I-BUD-1");
                    recount.fetch_sub(bytes, Ordering::SeqCst);
                    drop(held);
                }
            };
            let (mine, others) = takes.split_last().expect("at least one thread");
            let threads: Vec<_> = others
                .iter()
                .map(|takes| {
                    let (purse, recount) = (purse.clone(), PlainArc::clone(&recount));
                    thread::spawn(move || work(purse, recount, takes))
                })
                .collect();
            work(purse.clone(), recount, mine);
            for thread in threads {
                thread.join().expect("the thread ends");
            }
            assert_eq!(purse.used_bytes(), 0, "every charge was given back once: I-BUD-2");
        });
    }

    #[test]
    fn two_threads_that_take_and_give_back_never_hold_more_than_the_limit() {
        model::<Budget>(&[&[2, 3], &[1, 2]], None);
    }

    #[test]
    fn three_threads_that_want_two_of_three_bytes_never_hold_more_than_the_limit() {
        // With three threads, all interleavings are too many; those with up to two preemptions take a second.
        model::<Budget>(&[&[2], &[2], &[1]], Some(2));
    }

    #[test]
    fn a_shrunk_charge_makes_room_for_another_and_gives_each_byte_back_once() {
        loom::model(|| {
            let budget = Budget::new(LIMIT_BYTES);
            let mut charge = budget.try_charge(3).expect("all of it");
            let other = {
                let budget = budget.clone();
                thread::spawn(move || budget.try_charge(2).map(|charge| charge.bytes()))
            };
            charge.shrink_to(1);
            let took = other.join().expect("the thread ends");
            assert!(matches!(took, None | Some(2)));
            assert_eq!(budget.used_bytes(), 1);
            drop(charge);
            assert_eq!(budget.used_bytes(), 0);
        });
    }

    /// The broken twin: it looks, and then takes.
    #[derive(Clone)]
    struct LookThenTake(Arc<AtomicU64>);

    struct Taken(LookThenTake, u64);

    impl Drop for Taken {
        fn drop(&mut self) {
            self.0.0.fetch_sub(self.1, Ordering::AcqRel);
        }
    }

    impl Purse for LookThenTake {
        type Held = Taken;
        fn start() -> Self {
            Self(Arc::new(AtomicU64::new(0)))
        }
        fn take(&self, bytes: u64) -> Option<Taken> {
            let sum = self.0.load(Ordering::Acquire) + bytes;
            if sum > LIMIT_BYTES {
                return None;
            }
            self.0.store(sum, Ordering::Release);
            Some(Taken(self.clone(), bytes))
        }
        fn used_bytes(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }
    }

    #[test]
    #[should_panic(expected = "I-BUD-")]
    fn a_twin_that_looks_before_it_takes_is_caught() {
        model::<LookThenTake>(&[&[2], &[2]], None);
    }

    /// The broken twin: it takes, and then looks.
    #[derive(Clone)]
    struct TakeThenLook(LookThenTake);

    impl Purse for TakeThenLook {
        type Held = Taken;
        fn start() -> Self {
            Self(LookThenTake::start())
        }
        fn take(&self, bytes: u64) -> Option<Taken> {
            let sum = self.0.0.fetch_add(bytes, Ordering::AcqRel) + bytes;
            let taken = Taken(self.0.clone(), bytes);
            (sum <= LIMIT_BYTES).then_some(taken)
        }
        fn used_bytes(&self) -> u64 {
            self.0.used_bytes()
        }
    }

    #[test]
    #[should_panic(expected = "I-BUD-")]
    fn a_twin_that_takes_before_it_looks_is_caught() {
        model::<TakeThenLook>(&[&[2], &[2]], None);
    }
}
