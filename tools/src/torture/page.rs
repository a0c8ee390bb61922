//! The report for people: a line for each mode, and every violation with the command that replays it.

use std::fmt;

use emberlog_torture::Report;

use crate::units::{show_bytes, show_count};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Page<'a>(pub(crate) &'a Report);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Page(report) = self;
        writeln!(f, "seed {}", report.seed)?;
        let (mode, cases, states, values, seconds) = ("mode", "cases", "states", "values", "seconds");
        writeln!(f, "{mode:<12}{cases:>12}{states:>14}{values:>16}{seconds:>10}  broken promises")?;
        let modes = if report.modes.is_empty() { std::slice::from_ref(*report) } else { &report.modes };
        for mode in modes {
            let (name, cases) = (mode.mode.name(), show_count(mode.runs));
            let (states, values) = (show_count(mode.crash_points), show_count(mode.values_checked));
            let seconds = mode.elapsed_ms as f64 / 1000.0;
            let broken = mode.violations.len();
            writeln!(f, "{name:<12}{cases:>12}{states:>14}{values:>16}{seconds:>10.1}  {broken}")?;
        }
        if report.lost_unflushed_max_bytes > 0 {
            let lost = show_bytes(report.lost_unflushed_max_bytes);
            let age_ms = report.lost_unflushed_max_ms;
            writeln!(f, "\nOf what no flush had covered, one crash lost {lost} at most, the oldest {age_ms} ms old.")?;
        }
        for skipped in report.modes.iter().chain([*report]).flat_map(|mode| &mode.skipped) {
            writeln!(f, "\nSKIPPED: {skipped}")?;
        }
        for violation in &report.violations {
            let form = if report.effort == emberlog_torture::Effort::Long { " --form long" } else { "" };
            writeln!(f, "\nBROKEN: {}", violation.what)?;
            let (mode, seed, case) = (violation.mode, violation.seed, violation.case);
            writeln!(f, "  emberlog torture --mode {mode} --seed {seed} --case {case}{form}")?;
        }
        if report.is_good() {
            writeln!(f, "\nEvery promise was kept.")?;
        }
        Ok(())
    }
}
