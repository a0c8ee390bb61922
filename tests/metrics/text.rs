//! The OpenMetrics text of a cache that is used.

use crate::parser::{Family, parse};
use crate::{open, use_it};
use emberlog::disk::SimDisk;
use emberlog::metrics::{Kind, METRICS};
use emberlog::{Cache, ManualClock, Stats};
use std::collections::BTreeMap;
use std::sync::Arc;

fn sample(families: &BTreeMap<String, Family>, family: &str, labels: &[(&str, &str)]) -> f64 {
    let mut labels: Vec<_> = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    labels.sort();
    let suffix = if families[family].kind == "counter" { "_total" } else { "" };
    families[family].samples[&(format!("{family}{suffix}"), labels)]
}

#[test]
fn the_text_can_be_read_says_what_the_statistics_say_and_its_counts_never_fall() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let cache = open(&disk, &clock);
    let mut before: Option<BTreeMap<String, Family>> = None;
    for round in 0..8 {
        use_it(&cache, &clock, round);
        let stats = cache.stats();
        let text = stats.to_openmetrics();
        let families = parse(&text).unwrap();
        for metric in METRICS {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
                _ => unreachable!("there are three"),
            };
            if metric.name == "emberlog_recovery_findings_by_label" {
                continue; // a fresh store has none
            }
            let family = families.get(metric.name).unwrap_or_else(|| panic!("{} is not in the text", metric.name));
            assert_eq!((family.kind.as_str(), family.unit.as_str()), (kind, metric.unit), "{}", metric.name);
            assert_eq!(family.help, metric.help);
        }
        let outcome = |name| sample(&families, "emberlog_reads", &[("outcome", name)]);
        assert_eq!(outcome("memory_hit") + outcome("disk_hit"), stats.requests.hits as f64);
        assert_eq!(outcome("miss"), stats.requests.misses as f64);
        assert_eq!(sample(&families, "emberlog_inserts", &[]), 3_001.0 * (round + 1) as f64);
        let held = &families["emberlog_memory_held_bytes"].samples;
        assert_eq!(held.values().sum::<f64>(), stats.memory.held_bytes as f64, "the accounts are all there is");
        let charged = &families["emberlog_disk_charged_bytes"].samples;
        assert_eq!(charged.values().sum::<f64>(), sample(&families, "emberlog_disk_used_bytes", &[]));
        // All requests were measured, under a clock that moves only in loads.
        let loads = &families["emberlog_request_duration_seconds"].samples;
        let of = |name: &str| loads[&(name.to_owned(), vec![("operation".to_owned(), "load".to_owned())])];
        let (count, sum) = (of("emberlog_request_duration_seconds_count"), of("emberlog_request_duration_seconds_sum"));
        assert_eq!(count, 40.0 * (round + 1) as f64);
        assert!((sum - 0.003 * count / 2.0).abs() < 1e-9, "{sum} s for {count} loads");

        for (name, family) in before.iter().flatten().filter(|(_, family)| family.kind != "gauge") {
            for (sample, value) in &family.samples {
                assert!(families[name].samples[sample] >= *value, "{sample:?} fell from {value}");
            }
        }
        before = Some(families);
    }
    let stats = cache.stats();
    let (dropped, told) = (stats.disk.unwrap().dropped_with_segment, stats.ages.disk_at_drop_ms);
    assert!(dropped > 0 && told.count() <= dropped && told.count() * 10 > dropped * 9, "{dropped}, {}", told.count());
    assert!((1_000.0..1_000_000.0).contains(&told.mean().unwrap()), "seconds to minutes: {told:?}");
    let last = before.unwrap();
    for family in ["emberlog_promotions", "emberlog_segments_retired", "emberlog_syncs", "emberlog_load_errors"] {
        assert!(last[family].samples.values().sum::<f64>() > 0.0, "the test does not reach {family}");
    }
}

#[test]
fn without_a_disk_tier_nothing_is_said_of_one() {
    let cache = Cache::builder().memory_bytes(1 << 20).open_memory_only().unwrap();
    cache.insert("key", "value");
    let families = parse(&cache.stats().to_openmetrics()).unwrap();
    let told: Vec<&String> = families
        .iter()
        .filter(|(name, family)| {
            let is_labelled = family.samples.keys().any(|(_, labels)| labels.iter().any(|(_, value)| value == "disk"));
            name.starts_with("emberlog_disk") || name.starts_with("emberlog_recovery") || is_labelled
        })
        .map(|(name, _)| name)
        .collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(families.contains_key("emberlog_memory_limit_bytes"));
}

#[test]
fn what_another_version_wrote_into_a_label_cannot_break_the_text() {
    let mut stats: Stats = serde_json::from_str(r#"{"recovery": {}}"#).unwrap();
    let odd = "a\"b\\c\nd{}=,";
    stats.recovery.as_mut().unwrap().findings_by_label.insert(odd.to_owned(), 3);
    let families = parse(&stats.to_openmetrics()).unwrap();
    assert_eq!(sample(&families, "emberlog_recovery_findings_by_label", &[("label", odd)]), 3.0);
}

#[test]
fn names_are_unique_and_follow_the_rules() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "each name once");
    for metric in METRICS {
        assert!(metric.name.starts_with("emberlog_"), "{}", metric.name);
        assert!(metric.help.ends_with('.') && metric.help.len() < 120, "{}: {}", metric.name, metric.help);
        let said = ["bytes", "seconds"].into_iter().find(|unit| metric.name.ends_with(&format!("_{unit}")));
        assert_eq!(said.unwrap_or(""), metric.unit, "{} ends with its unit", metric.name);
    }
}
