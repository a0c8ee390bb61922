//! What came of a run, as data.

use crate::mode::{Effort, Mode};
use serde::Serialize;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// With the case, all that replays it.
    pub seed: u64,
    /// Number of the case.
    pub case: u64,
    /// Its mode.
    pub mode: Mode,
    /// What was expected, and what was found.
    pub what: String,
}

/// Most violations that are told; a run ends there.
pub(crate) const VIOLATIONS_MAX: usize = 20;

/// What came of a mode, or of all.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub mode: Mode,
    pub seed: u64,
    pub effort: Effort,
    /// Cases that were run.
    pub runs: u64,
    /// Cases that there are, where they can be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_planned: Option<u64>,
    /// States that a crash, a failing call or damage left, each opened and checked.
    pub crash_points: u64,
    /// Values that were served by what was opened, each compared byte for byte.
    pub values_checked: u64,
    pub violations: Vec<Violation>,
    /// Bytes of operations that had returned and that no flush covered, which a crash lost: the most in one crash.
    pub lost_unflushed_max_bytes: u64,
    /// The age of the oldest of them, by the clock that the cache goes by.
    pub lost_unflushed_max_ms: u64,
    pub elapsed_ms: u64,
    /// Why something was not tried on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Each mode of [`Mode::All`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<Report>,
}

impl Report {
    pub(crate) fn new(mode: Mode, seed: u64, effort: Effort) -> Self {
        Self {
            mode,
            seed,
            effort,
            runs: 0,
            runs_planned: None,
            crash_points: 0,
            values_checked: 0,
            violations: Vec::new(),
            lost_unflushed_max_bytes: 0,
            lost_unflushed_max_ms: 0,
            elapsed_ms: 0,
            skipped: Vec::new(),
            modes: Vec::new(),
        }
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Adds what one case found.
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.runs += 1;
        self.crash_points += tally.crash_points;
        self.values_checked += tally.values_checked;
        self.lost_unflushed_max_bytes = self.lost_unflushed_max_bytes.max(tally.lost_bytes);
        self.lost_unflushed_max_ms = self.lost_unflushed_max_ms.max(tally.lost_ms);
        for skipped in &tally.skipped {
            if !self.skipped.contains(skipped) {
                self.skipped.push(skipped.clone());
            }
        }
    }

    /// Adds a mode of a run of all.
    pub(crate) fn add_mode(&mut self, report: Self) {
        self.runs += report.runs;
        self.crash_points += report.crash_points;
        self.values_checked += report.values_checked;
        self.lost_unflushed_max_bytes = self.lost_unflushed_max_bytes.max(report.lost_unflushed_max_bytes);
        self.lost_unflushed_max_ms = self.lost_unflushed_max_ms.max(report.lost_unflushed_max_ms);
        self.violations.extend(report.violations.iter().cloned());
        self.modes.push(report);
    }
}

/// What one case counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) crash_points: u64,
    pub(crate) values_checked: u64,
    pub(crate) lost_bytes: u64,
    pub(crate) lost_ms: u64,
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// One state was opened and checked, and served so many values.
    pub(crate) fn state(&mut self, values: u64) {
        self.crash_points += 1;
        self.values_checked += values;
    }

    /// A crash lost so much that had returned and was not covered by a flush.
    pub(crate) fn lost(&mut self, bytes: u64, ms: u64) {
        self.lost_bytes = self.lost_bytes.max(bytes);
        self.lost_ms = self.lost_ms.max(ms);
    }
}
