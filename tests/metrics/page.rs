//! The page that lists all metrics for people is the table.

use emberlog::metrics::{Kind, METRICS};
use std::fmt::Write as _;

const PAGE: &str = include_str!("../../tools/grafana/METRICS.md");

#[test]
fn the_page_lists_what_the_table_has() {
    let mut page = "# Metrics\n\n\
        What `Stats::to_openmetrics` writes and the `metrics` facade gets, in this order. Made from the table in `src/metrics/table.rs`; a test compares\n\
        the two. Histograms are read as `name_bucket`, `name_count` and `name_sum`.\n\n\
        | name | kind | meaning |\n| --- | --- | --- |\n"
        .to_owned();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            _ => "histogram",
        };
        let name = if metric.kind == Kind::Histogram { metric.name.to_owned() } else { metric.sample_names().concat() };
        writeln!(page, "| `{name}` | {kind} | {} |", metric.help).unwrap();
    }
    assert!(page == PAGE, "tools/grafana/METRICS.md should be\n{page}");
}
