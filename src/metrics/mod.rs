//! Statistics for monitoring: one table of metrics, written as OpenMetrics text or published to the `metrics` facade.
//!
//! [`METRICS`] is the only place that names metrics. The text ([`Stats::to_openmetrics`]), the facade (feature `metrics`) and the dashboard in
//! `tools/grafana/` follow it, each held to it by a test; and a test sees to it that no number of [`Stats`] is left out unless it is said why.
//!
//! | for | how |
//! | --- | --- |
//! | Prometheus and what reads its format | serve [`Stats::to_openmetrics`] under `/metrics`, as [`CONTENT_TYPE`] |
//! | services that use the `metrics` crate | call [`Cache::publish_metrics`](crate::Cache::publish_metrics) every few seconds |
//! | anything else | [`Stats`] is plain data that serde writes |
//!
//! Cost: a snapshot takes each shard's read lock in turn and looks at some kilobytes for each, well under a millisecond altogether; the text is about 40 KiB.
//! Labels of one process only: whoever runs several caches in one adds a label where it is scraped, or serves them under different paths.
//!
//! Knows: [`Stats`]. Does not know: caches, locks.
//!
//! ```
//! # fn main() -> Result<(), emberlog::Error> {
//! let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
//! cache.insert("key", "value");
//! let text = cache.stats().to_openmetrics();
//! assert!(text.contains("\nemberlog_inserts_total 1\n"));
//! assert!(text.ends_with("# EOF\n"));
//! # Ok(()) }
//! ```

#[cfg(feature = "metrics")]
mod facade;
mod openmetrics;
mod table;

#[cfg(feature = "metrics")]
pub use facade::{describe, publish};
pub use table::METRICS;

use crate::histogram::Histogram;
use crate::observe::Stats;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A family of numbers with one meaning, told apart by labels.
#[derive(Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, which ends with its unit if it has one. Counters are read as `name_total`, histograms as `name_bucket`, `name_count`, `name_sum`.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// `bytes`, `seconds`, or nothing.
    pub unit: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    read: fn(&Stats, &mut Points<'_>),
}

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows while the cache is open.
    Counter,
    /// As it is now.
    Gauge,
    /// Counts by size, which only grow.
    Histogram,
}

impl Metric {
    /// The names under which its numbers are read.
    pub fn sample_names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }
}

/// Names of labels and their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// One number of a metric, or one histogram.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Whole(u64),
    Real(f64),
    Histogram(Scaled<'a>),
}

/// A histogram with the unit that its values have.
#[derive(Debug, Clone, Copy)]
struct Scaled<'a> {
    histogram: &'a Histogram,
    /// So many make one of the metric's unit.
    per_unit: f64,
    /// Limits of the buckets that are told, as powers of two, first and last.
    limit_bits: (u32, u32),
}

impl<'a> Scaled<'a> {
    /// Nanoseconds, told as seconds: 64 ns to 17 s.
    fn of_ns(histogram: &'a Histogram) -> Self {
        Self { histogram, per_unit: 1e9, limit_bits: (6, 34) }
    }

    /// Milliseconds, told as seconds: 64 ms to 50 days.
    fn of_ms(histogram: &'a Histogram) -> Self {
        Self { histogram, per_unit: 1e3, limit_bits: (6, 32) }
    }

    /// Upper limits in the metric's unit, each with how many values are below, and then all of them. Times are cut to whole units when they are taken, so one
    /// that is told as a limit was above it.
    fn cumulative(self) -> impl Iterator<Item = (f64, u64)> {
        let (first, last) = self.limit_bits;
        let limits = (first..=last).map(move |bit| {
            let limit = 1u64 << bit;
            (limit as f64 / self.per_unit, self.histogram.count_below(limit))
        });
        limits.chain(std::iter::once((f64::INFINITY, self.histogram.count())))
    }

    fn sum(self) -> f64 {
        self.histogram.sum as f64 / self.per_unit
    }
}

/// Where a metric puts its numbers.
struct Points<'a>(&'a mut dyn FnMut(Labels<'_>, Value<'_>));

impl std::fmt::Debug for Points<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Points")
    }
}

impl Points<'_> {
    fn whole(&mut self, labels: Labels<'_>, value: u64) {
        (self.0)(labels, Value::Whole(value));
    }

    fn real(&mut self, labels: Labels<'_>, value: f64) {
        (self.0)(labels, Value::Real(value));
    }

    fn flag(&mut self, value: bool) {
        self.whole(&[], u64::from(value));
    }

    /// One number for each value of a label.
    fn by(&mut self, label: &str, values: &[(&str, u64)]) {
        values.iter().for_each(|(name, value)| self.whole(&[(label, name)], *value));
    }

    fn histogram(&mut self, labels: Labels<'_>, scaled: Scaled<'_>) {
        (self.0)(labels, Value::Histogram(scaled));
    }
}

impl Metric {
    fn visit(&self, stats: &Stats, mut act: impl FnMut(Labels<'_>, Value<'_>)) {
        (self.read)(stats, &mut Points(&mut act));
    }
}
