//! OpenMetrics 1.0 text, as in the specification of the Prometheus project (prometheus/OpenMetrics, `specification/OpenMetrics.md`).
//!
//! Families come in the order of the table; one without numbers, such as those of a disk tier that is not there, is left out. Reading and writing take no
//! state, so the text says nothing of when the counters began.

use super::{Kind, Labels, METRICS, Value};
use crate::observe::Stats;
use std::fmt::{self, Write};

impl Stats {
    /// All of it as OpenMetrics text: for a page that Prometheus scrapes, under [`CONTENT_TYPE`](crate::metrics::CONTENT_TYPE). See [`metrics`](crate::metrics).
    pub fn to_openmetrics(&self) -> String {
        let mut text = String::with_capacity(64 << 10);
        self.write_openmetrics(&mut text).expect("a string takes all that is written");
        text
    }

    /// The same into a buffer of the caller's.
    ///
    /// # Errors
    /// Those of the buffer.
    pub fn write_openmetrics(&self, target: &mut impl Write) -> fmt::Result {
        for metric in METRICS {
            let mut is_begun = false;
            let mut result = Ok(());
            metric.visit(self, |labels, value| {
                if result.is_ok() {
                    result = write_point(target, metric, &mut is_begun, labels, value);
                }
            });
            result?;
        }
        target.write_str("# EOF\n")
    }
}

fn write_point(
    target: &mut impl Write,
    metric: &super::Metric,
    is_begun: &mut bool,
    labels: Labels<'_>,
    value: Value<'_>,
) -> fmt::Result {
    let name = metric.name;
    if !std::mem::replace(is_begun, true) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(target, "# TYPE {name} {kind}")?;
        if !metric.unit.is_empty() {
            writeln!(target, "# UNIT {name} {}", metric.unit)?;
        }
        writeln!(target, "# HELP {name} {}", Escaped(metric.help))?;
    }
    let suffix = if metric.kind == Kind::Counter { "_total" } else { "" };
    match value {
        Value::Whole(value) => writeln!(target, "{name}{suffix}{} {value}", Braced(labels, None)),
        Value::Real(value) => writeln!(target, "{name}{suffix}{} {value:?}", Braced(labels, None)),
        Value::Histogram(scaled) => {
            for (limit, count) in scaled.cumulative() {
                writeln!(target, "{name}_bucket{} {count}", Braced(labels, Some(limit)))?;
            }
            writeln!(target, "{name}_count{} {}", Braced(labels, None), scaled.histogram.count())?;
            writeln!(target, "{name}_sum{} {:?}", Braced(labels, None), scaled.sum())
        }
    }
}

/// Labels in braces, with the limit of a bucket behind them; nothing if there are none.
struct Braced<'a>(Labels<'a>, Option<f64>);

impl fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(labels, limit) = self;
        let mut before = '{';
        for (name, value) in *labels {
            write!(f, "{before}{name}=\"{}\"", Escaped(value))?;
            before = ',';
        }
        match limit {
            Some(limit) if limit.is_finite() => write!(f, "{before}le=\"{limit:?}\"}}"),
            Some(_) => write!(f, "{before}le=\"+Inf\"}}"),
            None if labels.is_empty() => Ok(()),
            None => f.write_char('}'),
        }
    }
}

/// Text with what would end it escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            char => f.write_char(char),
        })
    }
}
