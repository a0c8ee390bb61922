//! What is printed: the seconds around the kill, both trials side by side; budgets against what was used; what follows from it.
//!
//! Every figure and every sentence comes from this run.

use std::fmt::Write;
use std::path::Path;

use emberlog::units::{show_bytes, show_count};

use crate::clock::SECOND_NS;
use crate::load::PATIENCE_NS;
use crate::promises::{Judged, Promise, percent};
use crate::seconds::Second;
use crate::supervisor::{Made, Options};

const BAR_LEN: usize = 10;
const SIDE_LEN: usize = 50;

/// The page.
pub(crate) fn page(options: &Options, made: &Made, warm: &Judged, control: &Judged, promises: &[Promise]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| writeln!(page, "{}", text.trim_end()).expect("a string takes what is written");
    line(String::new());
    line(format!(
        "  {} reports of {}, {} in all; SQLite takes {} for one. {} requests a second, Zipf {}, open loop.",
        show_count(u64::from(options.shops.report_count())),
        show_bytes(made.report_len_bytes),
        show_bytes(made.report_len_bytes * u64::from(options.shops.report_count())),
        show_ns(made.query_ns),
        options.rate_per_s,
        options.skew
    ));
    line(String::new());
    let heads = [
        format!("emberlog: {} memory, {} disk", show_bytes(options.memory_bytes), show_bytes(options.disk_bytes)),
        format!("control: {} memory, no disk", show_bytes(options.memory_bytes)),
    ];
    line(format!("  {:>6}   {:SIDE_LEN$}   {}", "", heads[0], heads[1]));
    let columns = format!("{:17} {:>7} {:>7} {:>7} {:>8}", "hit ratio", "p50", "p99", "p99.9", "origin/s");
    line(format!("  {:>6}   {columns:SIDE_LEN$}   {columns}", "second"));
    for (left, right) in warm.seconds.iter().zip(&control.seconds) {
        if left.number == 1 {
            let back = |judged: &Judged| format!("SIGKILL; listens again after {} ", show_ns(judged.outage.len_ns));
            line(format!("  {:─>6}   {:─<SIDE_LEN$}   {:─<SIDE_LEN$}", "", back(warm), back(control)));
        }
        line(format!("  {:>+6}   {:SIDE_LEN$}   {}", left.number, side(left), side(right)));
    }
    line(String::new());
    for (name, judged) in [("emberlog", warm), ("control", control)] {
        line(format!("  {name:9} {}", lost(judged)));
    }
    line(String::new());
    let peaks = &warm.trial.peaks;
    line(format!("  {:34} {:>10} {:>13}", "budgets (emberlog)", "limit", "highest use"));
    let mut used = |what: &str, limit: u64, use_: u64| {
        line(format!("  {what:34} {:>10} {:>13}  {}", show_bytes(limit), show_bytes(use_), bar(share(use_, limit), 20)));
    };
    used("memory, by the cache's accounts", options.memory_bytes, peaks.held_bytes);
    used("disk, blocks of all its files", options.disk_bytes, peaks.allocated_bytes.max(peaks.used_bytes));
    line(format!(
        "  the process: {} of anonymous memory before it opened the cache, {} more at the most since; the control {}",
        show_bytes(warm.trial.lives[1].baseline_bytes),
        show_bytes(peaks.growth_bytes),
        show_bytes(control.trial.peaks.growth_bytes)
    ));
    line(String::new());
    for promise in promises {
        line(format!("  {} {}", if promise.kept { "✓" } else { "✗" }, promise.text));
    }
    page
}

/// Where to look on, if the directory is kept.
pub(crate) fn places(made: &Made, kept: bool) -> String {
    if !kept {
        return "\n  Nothing was left behind. With --keep: emberlog inspect DIR/cache, sqlite3 DIR/shop.db\n".to_owned();
    }
    let show = |path: &Path| path.display().to_string();
    format!(
        "\n  Kept: cargo run --release -p emberlog-tools -- inspect {}\n        sqlite3 {}\n",
        show(&made.cache),
        show(&made.database)
    )
}

/// One trial's part of a line.
fn side(second: &Second) -> String {
    format!(
        "{:>6} {} {:>7} {:>7} {:>7} {:>8.0}",
        percent(second.hit_ratio).trim_end_matches(" %"),
        bar(second.hit_ratio, BAR_LEN),
        show_ns(second.p50_ns),
        show_ns(second.p99_ns),
        show_ns(second.p999_ns),
        second.origin_query_count
    )
}

/// What became of the requests that got no answer.
fn lost(judged: &Judged) -> String {
    let outage = &judged.outage;
    let lost_count: usize = judged.seconds.iter().filter(|second| second.number > 0).map(|second| second.lost_count).sum();
    format!(
        "{} ms without the service: {} requests were due, {} of them refused, {} before cut off; {lost_count} more lost since{}",
        outage.len_ns / 1_000_000,
        outage.due_count,
        outage.due_count - outage.answered_count,
        outage.cut_off_count,
        if lost_count > 0 { format!(" (no answer in {} s)", PATIENCE_NS / SECOND_NS) } else { String::new() }
    )
}

/// A bar that is full at 1.
fn bar(share: f64, len: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped")]
    let eighths = (share.clamp(0.0, 1.0) * len as f64 * 8.0).round() as usize;
    let text = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    format!("{text:·<len$}")
}

#[allow(clippy::cast_precision_loss, reason = "a share to look at")]
fn share(of: u64, limit: u64) -> f64 {
    of as f64 / limit.max(1) as f64
}

/// A duration in three digits, as nobody reads more.
pub(crate) fn show_ns(ns: u64) -> String {
    let (us, ms, s) = (1_000.0, 1_000_000.0, 1_000_000_000.0);
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    match ns as f64 {
        ns if ns < 0.9995 * ms => format!("{:.0} µs", ns / us),
        ns if ns < 9.995 * ms => format!("{:.2} ms", ns / ms),
        ns if ns < 99.95 * ms => format!("{:.1} ms", ns / ms),
        ns if ns < 999.5 * ms => format!("{:.0} ms", ns / ms),
        ns => format!("{:.2} s", ns / s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_next_unit_when_they_round_up_to_it() {
        let shown = [4_000, 999_400, 999_600, 1_234_567, 12_345_678, 99_960_000, 999_600_000, 2_000_000_000].map(show_ns);
        assert_eq!(shown, ["4 µs", "999 µs", "1.00 ms", "1.23 ms", "12.3 ms", "100 ms", "1.00 s", "2.00 s"]);
    }

    #[test]
    fn bars_are_as_long_as_they_say_and_never_longer() {
        assert_eq!(bar(0.0, 4), "····");
        assert_eq!(bar(0.5, 4), "██··");
        assert_eq!(bar(0.53, 4), "██▏·");
        assert_eq!([1.0, 7.0, -1.0].map(|share| bar(share, 2)), ["██", "██", "··"]);
    }

    #[test]
    fn every_line_of_seconds_is_as_wide_as_its_head() {
        let second = Second {
            number: 1,
            request_count: 500,
            hit_ratio: 1.0,
            p50_ns: 123_456,
            p99_ns: 12_345_678,
            p999_ns: 2_000_000_000,
            origin_query_count: 1234.4,
            lost_count: 0,
        };
        assert_eq!(side(&second).chars().count(), SIDE_LEN);
        assert_eq!(side(&Second { hit_ratio: 0.0, p999_ns: 0, origin_query_count: 0.0, ..second }).chars().count(), SIDE_LEN);
    }
}
