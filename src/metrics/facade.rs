//! Publishing to the `metrics` facade, whose recorder is whichever the program installed.
//!
//! Names are those of the OpenMetrics text, suffixes included, so that one dashboard serves both. The facade's own histograms take one value after another
//! and keep what their recorder likes; ours are counted already. So they are published as what Prometheus reads: counters `name_bucket` with a label `le`
//! and `name_count`, and a gauge `name_sum`. `histogram_quantile` works on them as on any other.

use super::{Kind, Labels, METRICS, Value};
use crate::cache::Cache;
use crate::observe::Stats;
use metrics::{Label, Unit};

impl Cache {
    /// Takes the statistics and publishes them to the recorder of the `metrics` facade: see [`metrics::publish`](crate::metrics::publish).
    pub fn publish_metrics(&self) {
        publish(&self.stats());
    }
}

/// Tells the recorder the unit and the meaning of each metric. Once, after the recorder is installed.
pub fn describe() {
    for metric in METRICS {
        let unit = match metric.unit {
            "bytes" => Unit::Bytes,
            "seconds" => Unit::Seconds,
            _ => Unit::Count,
        };
        for name in metric.sample_names() {
            match metric.kind {
                Kind::Gauge => metrics::describe_gauge!(name, unit, metric.help),
                Kind::Histogram if name.ends_with("_sum") => metrics::describe_gauge!(name, unit, metric.help),
                Kind::Histogram => metrics::describe_counter!(name, Unit::Count, metric.help),
                Kind::Counter => metrics::describe_counter!(name, unit, metric.help),
            }
        }
    }
}

/// Publishes a snapshot: counters are set to what they are (`absolute`), gauges too. Call it every few seconds, from one thread; a recorder that exports more
/// often shows the last one. Allocates, and takes some tens of microseconds.
pub fn publish(stats: &Stats) {
    for metric in METRICS {
        let name = metric.name;
        metric.visit(stats, |labels, value| match (metric.kind, value) {
            (Kind::Counter, Value::Whole(value)) => {
                metrics::counter!(format!("{name}_total"), owned(labels)).absolute(value);
            }
            (_, Value::Whole(value)) => metrics::gauge!(name, owned(labels)).set(value as f64),
            (_, Value::Real(value)) => metrics::gauge!(name, owned(labels)).set(value),
            (_, Value::Histogram(scaled)) => {
                for (limit, count) in scaled.cumulative() {
                    let limit = if limit.is_finite() { format!("{limit:?}") } else { "+Inf".to_owned() };
                    let mut labels = owned(labels);
                    labels.push(Label::new("le", limit));
                    metrics::counter!(format!("{name}_bucket"), labels).absolute(count);
                }
                let count = scaled.histogram.count();
                metrics::counter!(format!("{name}_count"), owned(labels)).absolute(count);
                metrics::gauge!(format!("{name}_sum"), owned(labels)).set(scaled.sum());
            }
        });
    }
}

fn owned(labels: Labels<'_>) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new((*name).to_owned(), (*value).to_owned())).collect()
}
