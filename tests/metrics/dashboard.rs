//! The dashboard names metrics that there are, as they are read.

use emberlog::metrics::METRICS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const DASHBOARD: &str = include_str!("../../tools/grafana/emberlog.json");

/// What the dashboard does not show, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("emberlog_request_sampled_one_in", "a setting"),
    ("emberlog_watched_one_in", "a setting"),
    ("emberlog_watched_entries", "how sure ages are, not what they are"),
    ("emberlog_memory_limit_bytes", "the accounts that it was planned into are shown"),
    ("emberlog_memory_live_bytes", "shown as used, by account"),
    ("emberlog_memory_moved", "for those who work on eviction"),
    ("emberlog_ghost_hits", "for those who work on eviction"),
    ("emberlog_disk_planned_bytes", "the limit is shown"),
    ("emberlog_disk_buffered_bytes", "the lag in events is shown"),
    ("emberlog_reinserted", "shown in bytes"),
    ("emberlog_windows", "how long they were open is shown"),
    ("emberlog_window_open", "how long they were open is shown"),
    ("emberlog_window_moved", "shown in bytes"),
    ("emberlog_counters_page_failures", "warned of once; nothing but the page is lost"),
    ("emberlog_loads_overtaken", "harmless"),
    ("emberlog_recovery_fresh", "seen by the number of segments"),
    ("emberlog_recovery_emptied_by_clock", "an event"),
    ("emberlog_recovery_dropped", "part of the dropped slots"),
    ("emberlog_recovery_events", "entries are shown"),
];

/// Names in an expression that may be metrics of ours.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("emberlog_")).map(str::to_owned).collect()
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// Which metric each name is read from.
fn known() -> BTreeMap<String, &'static str> {
    METRICS.iter().flat_map(|metric| metric.sample_names().into_iter().map(|name| (name, metric.name))).collect()
}

#[test]
fn every_name_in_the_dashboard_is_one_that_is_read_and_no_family_is_left_out() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 20, "{} expressions", found.len());
    let known = known();
    let mut shown = BTreeSet::new();
    for expression in &found {
        let names = names(expression);
        assert!(!names.is_empty(), "no metric of ours in {expression}");
        for name in names {
            let family = known.get(&name).unwrap_or_else(|| panic!("{name} is read nowhere: {expression}"));
            if !name.ends_with("_total") && !name.ends_with("_bucket") {
                assert!(!expression.contains(&format!("rate({name}")), "a gauge has no rate: {expression}");
            }
            shown.insert(*family);
        }
    }
    let left_out: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    for metric in METRICS {
        let (is_shown, is_listed) = (shown.contains(metric.name), left_out.contains(metric.name));
        assert!(is_shown != is_listed, "{}: show it, or list it, not both: {is_shown} {is_listed}", metric.name);
    }
    assert_eq!(left_out.iter().filter(|name| METRICS.iter().all(|metric| metric.name != **name)).count(), 0);
}

#[test]
fn panels_have_titles_and_units_and_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()), "{title}: an id of its own");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is in the grid");
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel at {cell:?}");
        }
        if panel["type"] != "row" {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} says what it shows");
        }
    }
    let rows: Vec<&str> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|panel| panel["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Hits", "Latency", "Memory", "Age", "Disk", "Drops", "Recovery", "Quiet windows"]);
}
