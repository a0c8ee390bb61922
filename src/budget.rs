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
}
