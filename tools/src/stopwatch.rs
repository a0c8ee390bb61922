//! How long things took, for reports only.
//!
//! Invariant: nothing is decided by these times.

use std::time::Instant;

/// Runs from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[allow(clippy::disallowed_methods, reason = "a tool measures; durations are only reported")]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Milliseconds since the start.
    pub(crate) fn ms(self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1e3
    }
}
