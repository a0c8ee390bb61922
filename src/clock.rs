//! Time, injected: the only place that asks the system for it.

use std::fmt;

/// Wall-clock time in whole seconds. Expiry and nothing else depends on it; eviction never does.
///
/// ```
/// use emberlog::{Clock, ManualClock};
/// let clock = ManualClock::new(1_000);
/// clock.advance(5);
/// assert_eq!(clock.now_unix_s(), 1_005);
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// Seconds since 1970-01-01 UTC.
    fn now_unix_s(&self) -> u64;
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one home of wall time")]
    fn now_unix_s(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// A clock that moves only when told to, for tests and replays.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicU64);

impl ManualClock {
    /// A clock that shows `unix_s`.
    pub fn new(unix_s: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(unix_s))
    }

    /// Moves the clock forward by `seconds`.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, std::sync::atomic::Ordering::Relaxed);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, unix_s: u64) {
        self.0.store(unix_s, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_unix_s(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
