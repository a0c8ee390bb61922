//! The `metrics` facade gets what the text says.

use crate::parser::parse;
use crate::{open, use_it};
use emberlog::ManualClock;
use emberlog::disk::SimDisk;
use emberlog::metrics::{METRICS, describe};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[test]
fn the_facade_gets_every_sample_of_the_text_under_the_same_name_with_unit_and_meaning() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let cache = open(&disk, &clock);
    use_it(&cache, &clock, 0);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let text = metrics::with_local_recorder(&recorder, || {
        describe();
        cache.publish_metrics();
        // Again, with more: what counts is the last.
        use_it(&cache, &clock, 1);
        cache.publish_metrics();
        cache.stats().to_openmetrics()
    });
    let mut expected = BTreeMap::new();
    for family in parse(&text).unwrap().into_values() {
        expected.extend(family.samples);
    }
    let mut found = BTreeMap::new();
    let mut described = BTreeSet::new();
    for (key, unit, help, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let mut labels: Vec<_> = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        labels.sort();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => panic!("{} has {} values", key.name(), values.len()),
        };
        assert!(unit.is_some() && help.is_some(), "{} is described", key.name());
        described.insert(key.name().to_owned());
        found.insert((key.name().to_owned(), labels), value);
    }
    assert_eq!(found, expected);
    assert!(described.len() > METRICS.len(), "{} names", described.len());
}
