//! Counters: relaxed atomics, each owned by the part that counts; a snapshot pulls them.

use crate::sync::{Ordering, PlainAtomicU64};

/// A number that only grows. Never decides anything, so its order against other memory does not matter.
#[derive(Debug, Default)]
pub(crate) struct Counter(PlainAtomicU64);

impl Counter {
    /// Counts `n` more.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one more.
    #[inline]
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Counts one more; says whether it is the first.
    pub(crate) fn is_first(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// The count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
