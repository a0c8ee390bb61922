//! No number that the cache counts is forgotten: each is in the text, or listed here with the reason why not.

use crate::{open, use_it};
use emberlog::disk::SimDisk;
use emberlog::{ManualClock, Stats};
use serde_json::Value;
use std::sync::Arc;

/// What the text leaves out, by the begin of its path, and why.
const NOT_EXPORTED: &[(&str, &str)] = &[
    ("/requests/hits", "the sum of the hits of both tiers"),
    ("/memory/held_bytes", "the sum of its accounts"),
    ("/disk/off_because", "a sentence; emberlog_disk_on says that, the event says why"),
    ("/recovery/findings/", "sentences, counted in findings_by_label"),
];

/// Paths of all leaves.
fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| leaves(value, format!("{path}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| leaves(value, format!("{path}/{index}"), found));
        }
        _ => found.push(path),
    }
}

/// Statistics without an empty place: what has nothing gets something.
fn full_stats() -> Value {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let cache = open(&disk, &clock);
    use_it(&cache, &clock, 0);
    let mut stats = serde_json::to_value(cache.stats()).unwrap();
    // One window is for its event to tell; metrics tell what all came to.
    stats["windows"]["last"] = serde_json::json!({});
    fill(&mut stats);
    let finding = serde_json::json!({ "label": "V-CUT", "file": "f", "offset": 7, "what": "w", "damage": false });
    stats["recovery"]["findings"] = Value::Array(vec![finding]);
    stats["recovery"]["findings_by_label"] = serde_json::json!({ "V-CUT": 1 });
    stats
}

fn fill(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(buckets)) = fields.get_mut("buckets") {
                *buckets = vec![serde_json::json!({ "from": 1024, "count": 5 })];
            }
            fields.values_mut().for_each(fill);
        }
        Value::Null => *value = Value::from(1),
        _ => {}
    }
}

#[test]
fn every_number_changes_the_text_or_is_listed_as_left_out() {
    let mut stats = full_stats();
    stats["disk"]["off_because"] = Value::from("a reason");
    let read = |value: &Value| serde_json::from_value::<Stats>(value.clone()).expect("what was written can be read");
    let text = read(&stats).to_openmetrics();
    let mut paths = Vec::new();
    leaves(&stats, String::new(), &mut paths);
    assert!(paths.len() > 100, "{} leaves", paths.len());
    let mut unused: Vec<&str> = NOT_EXPORTED.iter().map(|(path, _)| *path).collect();
    let mut forgotten = Vec::new();
    for path in &paths {
        let mut changed = stats.clone();
        let leaf = changed.pointer_mut(path).expect("it was there");
        *leaf = match &*leaf {
            Value::Bool(flag) => Value::from(!flag),
            Value::Number(number) if path.ends_with("/from") => Value::from(number.as_u64().unwrap() * 64),
            Value::Number(number) => Value::from(number.as_u64().expect("statistics are whole numbers") + 1_000_003),
            _ => Value::from("V-KEY"),
        };
        let is_told = read(&changed).to_openmetrics() != text;
        let listed = NOT_EXPORTED.iter().find(|(begin, _)| path.starts_with(begin));
        match (is_told, listed) {
            (true, None) => {}
            (false, Some((begin, _))) => unused.retain(|path| path != begin),
            (false, None) => forgotten.push(path),
            (true, Some(_)) => panic!("{path} is in the text, so it need not be listed"),
        }
    }
    assert!(forgotten.is_empty(), "give these a metric in src/metrics/table.rs, or list them here: {forgotten:?}");
    assert!(unused.is_empty(), "listed, and not there: {unused:?}");
}

#[test]
fn statistics_that_are_written_are_read_as_the_same_and_older_ones_too() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let cache = open(&disk, &clock);
    use_it(&cache, &clock, 0);
    let stats = cache.stats();
    let text = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<Stats>(&text).unwrap(), stats);
    let mut old: Value = serde_json::from_str(&text).unwrap();
    old.as_object_mut().unwrap().remove("ages");
    let read: Stats = serde_json::from_value(old).unwrap();
    assert_eq!((read.ages, read.requests), (Default::default(), stats.requests));
}
