//! The result of a replay: as JSON with stable keys, and as a page for people.
//!
//! Knows: what the figures mean. Does not know: how they came about.

use std::fmt;

use serde::Serialize;

use crate::replay::protocol::Level;
use crate::replay::run::{How, Outcome, Plan, Restart};
use crate::replay::trace::{Format, Origin};
use crate::replay::{ReplayArgs, Subject};
use crate::units::{show_bytes, show_count};

/// What a process holds beside the cache's budget: stacks, the allocator's own, the moment's values.
const MEMORY_SLACK_BYTES: u64 = 8 << 20;
const BAR_LEN: usize = 32;
/// Commands without a counterpart that are named on the page.
const SKIPPED_SHOWN_MAX: usize = 4;

/// The figures of one replay. `hit_ratio` counts gets alone; overwrites and removes do not hit.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    trace: String,
    /// What came of reading the trace; of `--generate` nothing.
    origin: Option<Origin>,
    requests: u64,
    keys: u32,
    gets: u64,
    insertions: u64,
    removes: u64,
    hits: u64,
    hit_ratio: f64,
    byte_hit_ratio: f64,
    l1_hits: u64,
    l2_hits: u64,
    wrong_values: u64,
    stale_values: u64,
    resurrected: u64,
    ops_per_second: f64,
    memory_bytes: u64,
    peak_anonymous_bytes: u64,
    disk_bytes: u64,
    peak_disk_bytes: u64,
    bytes_accepted: u64,
    bytes_requested: u64,
    bytes_written: u64,
    segments_retired: u64,
    reinserted: u64,
    refused_by_memory: u64,
    refused_by_disk: u64,
    restart: Option<RestartReport>,
    seed: u64,
    threads: usize,
    durability: Level,
    overwrite: f64,
    remove: f64,
    value_max_bytes: u32,
    /// Whether the trace says which requests write; `overwrite` and `remove` are shares of the others.
    names_writes: bool,
    /// Promises that were not kept, in words; empty means exit code 0.
    violations: Vec<String>,
    /// The cache's own stats at the end.
    stats: serde_json::Value,
    #[serde(skip)]
    parts: Vec<(u64, u64)>,
}

/// What the restart cost. The ratios are over the same `window_requests` requests each: before it, behind it, in the control that
/// never stopped, and in a cache that began empty there.
#[derive(Debug, Serialize)]
struct RestartReport {
    how: &'static str,
    at_request: u32,
    /// Requests sent and not answered when the process went.
    in_flight: u64,
    open_ms: f64,
    /// From the start of open to the answer to the first get.
    first_get_ms: f64,
    window_requests: u32,
    hit_ratio_before: f64,
    hit_ratio_after: f64,
    hit_ratio_control: f64,
    hit_ratio_cold: f64,
    /// Keys that were there: when close began, or in the control at the request where the kill came.
    keys_before: u64,
    /// Of these, keys not there after open with their last acknowledged version or a later one.
    missing_after: u64,
    /// Entries that close and recovery counted as dropped.
    counted_as_dropped: u64,
    /// The difference. Not a broken promise after a kill.
    lost_acknowledged: u64,
    /// Key and value bytes of the missing.
    bytes_at_risk: u64,
    entries_before: u64,
    entries_after: u64,
    #[serde(skip)]
    details: Restart,
}

impl Report {
    /// The figures of an outcome.
    pub(crate) fn new(subject: Subject, args: &ReplayArgs, plan: &Plan, outcome: Outcome) -> Report {
        let Subject { name, workload, shares, origin } = subject;
        let Outcome { tally, violations, counters, peak_anonymous_bytes, peak_disk_bytes, restart, parts, stats } =
            outcome;
        let mut report = Report {
            trace: name,
            origin,
            requests: tally.requests,
            keys: workload.key_count(),
            gets: tally.gets,
            insertions: tally.insertions,
            removes: tally.removes,
            hits: tally.hits,
            hit_ratio: ratio(tally.hits, tally.gets),
            byte_hit_ratio: ratio(tally.hit_bytes, tally.get_bytes),
            l1_hits: counters.l1_hits,
            l2_hits: counters.l2_hits,
            wrong_values: violations.wrong_values,
            stale_values: violations.stale_values,
            resurrected: violations.resurrected,
            ops_per_second: (tally.requests as f64 / (tally.traffic_ms / 1e3).max(1e-9)).round(),
            memory_bytes: plan.memory_bytes,
            peak_anonymous_bytes,
            disk_bytes: plan.disk_bytes,
            peak_disk_bytes,
            bytes_accepted: counters.bytes_accepted,
            bytes_requested: counters.bytes_requested,
            bytes_written: counters.bytes_written,
            segments_retired: counters.segments_retired,
            reinserted: counters.reinserted,
            refused_by_memory: tally.refused_by_memory,
            refused_by_disk: tally.refused_by_disk,
            restart: restart.map(RestartReport::new),
            seed: args.seed,
            threads: plan.lane_count,
            durability: plan.durability,
            overwrite: shares.overwrite,
            remove: shares.remove,
            names_writes: workload.says_deeds(),
            value_max_bytes: workload.size_max_bytes(),
            violations: violations.examples,
            stats,
            parts,
        };
        report.violations.extend(report.broken_promises());
        report
    }

    fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (count, what) in
            [(self.wrong_values, "wrong"), (self.stale_values, "stale"), (self.resurrected, "resurrected")]
        {
            if count > 0 {
                broken.push(format!("{} {what} values", show_count(count)));
            }
        }
        if self.peak_anonymous_bytes > self.memory_bytes + MEMORY_SLACK_BYTES {
            let (used, limit) = (show_bytes(self.peak_anonymous_bytes), show_bytes(self.memory_bytes));
            broken.push(format!("anonymous memory grew by {used}; the budget is {limit}, and 8 MiB beside it"));
        }
        if self.peak_disk_bytes > self.disk_bytes {
            let (used, limit) = (show_bytes(self.peak_disk_bytes), show_bytes(self.disk_bytes));
            broken.push(format!("files took {used}; the budget is {limit}"));
        }
        if let Some(restart) = &self.restart
            && restart.details.how == How::Close
            && restart.lost_acknowledged > 0
        {
            broken.push(format!("{} entries lost by an orderly close", show_count(restart.lost_acknowledged)));
        }
        broken
    }

    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

impl RestartReport {
    fn new(details: Restart) -> RestartReport {
        RestartReport {
            how: match details.how {
                How::Kill => "kill",
                How::Close => "close",
            },
            at_request: details.at_request,
            in_flight: details.in_flight,
            open_ms: round(details.open_ms),
            first_get_ms: round(details.first_get_ms),
            window_requests: details.window_requests,
            hit_ratio_before: total_ratio(&details.before),
            hit_ratio_after: total_ratio(&details.after),
            hit_ratio_control: total_ratio(&details.control),
            hit_ratio_cold: total_ratio(&details.cold),
            keys_before: details.keys_before,
            missing_after: details.missing_after,
            counted_as_dropped: details.counted_as_dropped,
            lost_acknowledged: details.lost_acknowledged,
            bytes_at_risk: details.bytes_at_risk,
            entries_before: details.entries_before,
            entries_after: details.entries_after,
            details,
        }
    }
}

/// Six decimals are more than any run can tell apart.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { round(part as f64 / whole as f64) }
}

fn total_ratio(slices: &[(u64, u64)]) -> f64 {
    let (gets, hits) = slices.iter().fold((0, 0), |sum, slice| (sum.0 + slice.0, sum.1 + slice.1));
    ratio(hits, gets)
}

fn bar(share: f64) -> String {
    let full = ((share.clamp(0.0, 1.0) * BAR_LEN as f64).round() as usize).min(BAR_LEN);
    format!("{}{}", "█".repeat(full), "·".repeat(BAR_LEN - full))
}

fn percent(share: f64) -> String {
    format!("{:5.1} %", share * 100.0)
}

fn slice_percent(slice: (u64, u64)) -> String {
    if slice.0 == 0 { "    -  ".into() } else { percent(slice.1 as f64 / slice.0 as f64) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.trace)?;
        let durability = match self.durability {
            Level::Buffered => "buffered",
            Level::Written => "written",
            Level::Synced => "synced",
        };
        writeln!(
            f,
            "  {} for {}, values up to {}; {}; {durability}, {}, seed {}",
            many(self.requests, "request"),
            many(u64::from(self.keys), "key"),
            show_bytes(u64::from(self.value_max_bytes)),
            self.writes(),
            if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) },
            self.seed,
        )?;
        if let Some(origin) = &self.origin {
            fmt_origin(origin, f)?;
        }
        match &self.restart {
            Some(restart) => restart.fmt_page(f)?,
            None => self.fmt_parts(f)?,
        }
        self.fmt_budgets(f)?;
        self.fmt_answers(f)
    }
}

impl Report {
    /// Where the writes come from.
    fn writes(&self) -> String {
        let shares = format!("{:.0} % overwrite, {:.0} % remove", self.overwrite * 100.0, self.remove * 100.0);
        match (self.names_writes, self.overwrite + self.remove > 0.0) {
            (false, _) => shares,
            (true, false) => "writes as in the trace".into(),
            (true, true) => format!("writes as in the trace, and of its reads {shares}"),
        }
    }
}

/// So many of what.
fn many(count: u64, what: &str) -> String {
    format!("{} {what}{}", show_count(count), if count == 1 { "" } else { "s" })
}

/// What a text trace held beside requests; nothing where nothing needs to be said.
fn fmt_origin(origin: &Origin, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if origin.format == Format::Records {
        return Ok(());
    }
    write!(f, "  {}", many(origin.lines, "line"))?;
    let skipped: u64 = origin.skipped.values().sum();
    if skipped > 0 {
        let mut names: Vec<(&String, &u64)> = origin.skipped.iter().collect();
        names.sort_by(|a, b| b.1.cmp(a.1));
        let shown: Vec<String> = names
            .iter()
            .take(SKIPPED_SHOWN_MAX)
            .map(|(name, count)| format!("{name} {}", show_count(**count)))
            .collect();
        let dots = if names.len() > SKIPPED_SHOWN_MAX { ", …" } else { "" };
        write!(f, "; {} skipped ({}{dots})", many(skipped, "command"), shown.join(", "))?;
    }
    writeln!(f)?;
    match &origin.first_bad {
        Some(first) => writeln!(f, "  {} left out; {first}", many(origin.bad_lines, "bad line")),
        None => Ok(()),
    }
}

impl Report {
    fn fmt_parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  requests         hit ratio")?;
        let step = 100 / self.parts.len().max(1);
        for (number, slice) in self.parts.iter().enumerate() {
            let share = slice.1 as f64 / slice.0.max(1) as f64;
            writeln!(
                f,
                "  {:3} % - {:3} %    {}  {}",
                number * step,
                (number + 1) * step,
                slice_percent(*slice),
                bar(share)
            )?;
        }
        Ok(())
    }

    fn fmt_budgets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  budgets             limit   highest use")?;
        for (name, limit, used) in
            [("memory", self.memory_bytes, self.peak_anonymous_bytes), ("disk", self.disk_bytes, self.peak_disk_bytes)]
        {
            let share = used as f64 / limit.max(1) as f64;
            writeln!(f, "  {name:<12}{:>13}{:>14}  {}", show_bytes(limit), show_bytes(used), bar(share))?;
        }
        let times = |bytes: u64| self.bytes_written as f64 / bytes.max(1) as f64;
        writeln!(
            f,
            "  written to disk {}: {:.2} x the {} of keys and values accepted, {:.2} x their records",
            show_bytes(self.bytes_written),
            times(self.bytes_accepted),
            show_bytes(self.bytes_accepted),
            times(self.bytes_requested),
        )?;
        writeln!(
            f,
            "  {} segments retired, {} records reinserted",
            show_count(self.segments_retired),
            show_count(self.reinserted),
        )
    }

    fn fmt_answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n  hit ratio {} of gets, {} of bytes; {} hits from memory, {} from disk; {} requests/s",
            percent(self.hit_ratio).trim(),
            percent(self.byte_hit_ratio).trim(),
            show_count(self.l1_hits),
            show_count(self.l2_hits),
            show_count(self.ops_per_second as u64),
        )?;
        writeln!(
            f,
            "  {} hits compared byte for byte: {} wrong, {} stale, {} resurrected",
            show_count(self.hits),
            self.wrong_values,
            self.stale_values,
            self.resurrected
        )?;
        if self.is_good() {
            return writeln!(f, "  every promise kept");
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "  BROKEN  {violation}"))
    }
}

impl RestartReport {
    fn fmt_page(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = u64::from(self.window_requests) / self.details.after.len().max(1) as u64;
        writeln!(f, "\n  hit ratio around the restart      {:BAR_LEN$}     never     begun", "")?;
        writeln!(f, "  requests           this cache     {:BAR_LEN$}   stopped     empty", "")?;
        let count = self.details.before.len() as u64;
        for (number, slice) in self.details.before.iter().enumerate() {
            let from = (count - number as u64) * step;
            let share = slice.1 as f64 / slice.0.max(1) as f64;
            writeln!(
                f,
                "  {:>10}          {}     {}",
                format!("-{}", show_count(from)),
                slice_percent(*slice),
                bar(share)
            )?;
        }
        let (stop, flying) = match self.details.how {
            How::Kill => ("SIGKILL", format!(", {} requests in flight", show_count(self.in_flight))),
            How::Close => ("close", String::new()),
        };
        let at = show_count(u64::from(self.at_request));
        writeln!(f, "  ---- {stop} at request {at}{flying}; open again after {:.1} ms ----", self.open_ms)?;
        for (number, slice) in self.details.after.iter().enumerate() {
            let share = slice.1 as f64 / slice.0.max(1) as f64;
            writeln!(
                f,
                "  {:>10}          {}     {}   {}   {}",
                format!("+{}", show_count((number as u64 + 1) * step)),
                slice_percent(*slice),
                bar(share),
                slice_percent(self.details.control[number]),
                slice_percent(self.details.cold[number]),
            )?;
        }
        let n = show_count(u64::from(self.window_requests));
        writeln!(
            f,
            "\n  over {n} requests: {} before, {} after the restart,",
            percent(self.hit_ratio_before).trim(),
            percent(self.hit_ratio_after).trim()
        )?;
        writeln!(
            f,
            "  {} had it never stopped, {} had it begun empty",
            percent(self.hit_ratio_control).trim(),
            percent(self.hit_ratio_cold).trim()
        )?;
        writeln!(
            f,
            "  first get answered {:.1} ms after open began; {} entries before, {} after",
            self.first_get_ms,
            show_count(self.entries_before),
            show_count(self.entries_after),
        )?;
        writeln!(
            f,
            "  of {} keys there before, {} missing ({}), {} counted as dropped",
            show_count(self.keys_before),
            show_count(self.missing_after),
            show_bytes(self.bytes_at_risk),
            show_count(self.counted_as_dropped),
        )
    }
}
