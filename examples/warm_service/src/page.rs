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
use crate::trial::Counts;

const BAR_LEN: usize = 10;
const SIDE_LEN: usize = 49;

/// The page.
pub(crate) fn page(options: &Options, made: &Made, warm: &Judged, control: &Judged, promises: &[Promise]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| writeln!(page, "{}", text.trim_end()).expect("a string takes what is written");
    line(String::new());
    line(
        "  A service over SQLite, killed with SIGKILL in the middle of its load and started again at once.".to_owned(),
    );
    line(format!(
        "  {} reports of {} ({} in all) by HTTP, from SQLite, which takes {} for one.",
        show_count(u64::from(options.shops.report_count())),
        show_bytes(made.report_len_bytes),
        show_bytes(made.report_len_bytes * u64::from(options.shops.report_count())),
        show_ns(made.query_ns),
    ));
    line(format!(
        "  {} requests a second, Zipf {}, open loop: sent when they are due, latency counted from then.",
        show_count(made.rate_per_s),
        options.skew
    ));
    line(String::new());
    let heads = [
        format!("emberlog, {} memory, {} disk", show_bytes(options.memory_bytes), show_bytes(options.disk_bytes)),
        format!("the same without the disk tier, {} memory", show_bytes(options.memory_bytes)),
    ];
    line(format!("  {:>6}  {:SIDE_LEN$}   {}", "", heads[0], heads[1]));
    let columns = format!("hit % {:BAR_LEN$} {:>7} {:>7} {:>7} {:>8}", "", "p50", "p99", "p99.9", "origin/s");
    line(format!("  {:>6}  {columns:SIDE_LEN$}   {columns}", "second"));
    for (left, right) in warm.seconds.iter().zip(&control.seconds) {
        if left.number == 1 {
            let gap = |judged: &Judged| format!("SIGKILL, listens again after {} ", show_ns(judged.outage.len_ns));
            line(format!("  {:─>6}  {:─<SIDE_LEN$}   {:─<SIDE_LEN$}", "", gap(warm), gap(control)));
        }
        line(format!("  {:>+6}  {:SIDE_LEN$}   {}", left.number, side(left), side(right)));
    }
    line(format!("  {:>6}  {:5} █ from memory, ▒ from disk", "", ""));
    line(String::new());
    for (name, judged) in [("emberlog", warm), ("without", control)] {
        line(format!("  {name:9} {}", gap(judged)));
    }
    line(String::new());
    let peaks = &warm.trial.peaks;
    line(format!("  {:9} {:>9} {:>12}", "budgets", "limit", "highest use"));
    for (what, limit_bytes, use_bytes) in [
        ("memory", options.memory_bytes, peaks.held_bytes),
        ("disk", options.disk_bytes, peaks.allocated_bytes.max(peaks.used_bytes)),
    ] {
        let bar = bar(share(use_bytes, limit_bytes), 0.0, 32);
        line(format!("  {what:9} {:>9} {:>12}  {bar}", show_bytes(limit_bytes), show_bytes(use_bytes)));
    }
    line(format!(
        "  {:9} {} before it opened the cache, {} at the most (anonymous memory; {} without the disk tier)",
        "process",
        show_bytes(warm.trial.lives[1].baseline_bytes),
        show_bytes(peaks.anonymous_bytes),
        show_bytes(control.trial.peaks.anonymous_bytes)
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
        return "\n  Nothing is left behind; with --keep there is a store to look at with `emberlog inspect`.\n"
            .to_owned();
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
    let Counts { memory_hits, disk_hits, origin_queries } = second.counts;
    // The ratio is what the load saw; the service only tells how it divides.
    let from_disk = if disk_hits > 0.0 { second.hit_ratio * disk_hits / (memory_hits + disk_hits) } else { 0.0 };
    format!(
        "{:>5} {} {:>7} {:>7} {:>7} {origin_queries:>8.0}",
        percent(second.hit_ratio).trim_end_matches(" %"),
        bar(second.hit_ratio - from_disk, from_disk, BAR_LEN),
        show_latency(second.p50_ns),
        show_latency(second.p99_ns),
        show_latency(second.p999_ns),
    )
}

/// A latency; who had no answer in time would have waited longer still.
fn show_latency(ns: u64) -> String {
    if ns < PATIENCE_NS { show_ns(ns) } else { format!("> {} s", PATIENCE_NS / SECOND_NS) }
}

/// The time without a service, and the requests that got no answer.
fn gap(judged: &Judged) -> String {
    let outage = &judged.outage;
    let mut text = format!(
        "down for {}, {} of it to open the cache",
        show_ns(outage.len_ns),
        show_ns(judged.trial.lives[1].open_ns)
    );
    let write = |text: &mut String, more: std::fmt::Arguments<'_>| text.write_fmt(more).expect("a string takes it");
    if let Some(recovery) = &judged.trial.stats[1].cache.recovery {
        write(&mut text, format_args!(" with {} entries", show_count(recovery.entries)));
    }
    write(&mut text, format_args!("; {} requests refused, {} cut off", outage.lost_count, outage.cut_off_count));
    let later: usize = judged.seconds.iter().filter(|second| second.number > 0).map(|second| second.lost_count).sum();
    if later > 0 {
        let later = show_count(later as u64);
        write(&mut text, format_args!(", {later} later without an answer in {} s", PATIENCE_NS / SECOND_NS));
    }
    text
}

/// A bar of two parts; full where they add up to 1.
fn bar(solid: f64, shaded: f64, len: usize) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped")]
    let cells = |share: f64| (share.clamp(0.0, 1.0) * len as f64).round() as usize;
    let (solid, both) = (cells(solid), cells(solid + shaded));
    format!("{}{}{}", "█".repeat(solid), "▒".repeat(both - solid), "·".repeat(len - both))
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
        let shown =
            [4_000, 999_400, 999_600, 1_234_567, 12_345_678, 99_960_000, 999_600_000, 2_000_000_000].map(show_ns);
        assert_eq!(shown, ["4 µs", "999 µs", "1.00 ms", "1.23 ms", "12.3 ms", "100 ms", "1.00 s", "2.00 s"]);
    }

    #[test]
    fn bars_have_two_parts_and_are_always_as_long_as_they_should() {
        assert_eq!(bar(0.0, 0.0, 4), "····");
        assert_eq!(bar(0.5, 0.25, 4), "██▒·");
        assert_eq!(bar(0.51, 0.49, 4), "██▒▒");
        assert_eq!(
            [(1.0, 0.0), (7.0, 7.0), (-1.0, 0.0)].map(|(solid, shaded)| bar(solid, shaded, 2)),
            ["██", "██", "··"]
        );
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
            counts: Counts { origin_queries: 1234.4, memory_hits: 7.0, disk_hits: 3.0 },
            lost_count: 0,
        };
        assert_eq!(side(&second).chars().count(), SIDE_LEN);
        assert!(side(&second).contains("███████▒▒▒"));
        let empty = Second { hit_ratio: 0.0, p999_ns: 0, counts: Counts::default(), ..second };
        assert_eq!(side(&empty).chars().count(), SIDE_LEN);
    }
}
