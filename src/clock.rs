//! Time, injected: the only place that asks the system for it.

use crate::sync::{OnceLock, Ordering, PlainAtomicU64};
use std::fmt;
use std::time::{Duration, Instant};

/// Wall-clock time in milliseconds, on which expiry depends, and steady time for rates. Eviction depends on neither.
///
/// ```
/// use emberlog::{Clock, ManualClock};
/// use std::time::Duration;
/// let clock = ManualClock::new(1_000);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now_unix_ms(), 6_000);
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_unix_ms(&self) -> u64;

    /// Microseconds since some moment, on a clock that does not go back: for rates and quiet windows. Default: the same as
    /// [`now_unix_ms`](Self::now_unix_ms); a clock that goes back is taken as one that stands.
    fn monotonic_us(&self) -> u64 {
        self.now_unix_ms().saturating_mul(1000)
    }
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one home of wall time")]
    fn now_unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    #[allow(clippy::disallowed_methods, reason = "the one home of time")]
    fn monotonic_us(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when told to, for tests and replays.
#[derive(Debug)]
pub struct ManualClock(PlainAtomicU64);

impl ManualClock {
    /// A clock that shows `unix_ms`.
    pub fn new(unix_ms: u64) -> Self {
        Self(PlainAtomicU64::new(unix_ms))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
