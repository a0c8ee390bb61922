//! What was seen so far, as far as it is shown: figures over time, and how fast they grow.
//!
//! Figures go by their names in the page, such as `disk.hits`; one that is not there is not known, and shown as such. So pages of other versions of
//! the crate are read as far as they agree.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::look::{Life, Look, Seen};

/// Most samples that are kept: as many as the widest line of bars shows.
const SAMPLE_COUNT_MAX: usize = 240;
/// A cache writes about once a second while something changes: who has not written for so long has nothing to tell.
const IDLE_AFTER_MS: u64 = 2_500;

#[derive(Debug, Clone)]
struct Sample {
    unix_ms: u64,
    figures: BTreeMap<String, u64>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// Which life of which process the samples are of.
    life: Option<(u32, u64)>,
    sequence: u64,
}

impl History {
    /// Takes a look into account. Returns whether it told something new.
    pub(crate) fn note(&mut self, look: &Look) -> bool {
        let Some(seen) = look.seen() else { return false };
        let life = Some((seen.header.process_id, seen.header.opened_unix_ms));
        if self.life != life {
            // Counts begin anew with each open.
            *self = History { life, ..History::default() };
        }
        if self.samples.is_empty() || self.sequence != seen.header.sequence {
            self.sequence = seen.header.sequence;
            self.push(seen.header.written_unix_ms, figures(seen));
            return true;
        }
        let last_ms = self.samples.back().map_or(0, |last| last.unix_ms);
        let is_idle = look.life() == Some(Life::Running)
            && look.at_unix_ms.saturating_sub(seen.header.written_unix_ms) >= IDLE_AFTER_MS
            && look.at_unix_ms.saturating_sub(last_ms) >= 1_000;
        if is_idle {
            let figures = self.samples.back().map(|last| last.figures.clone()).unwrap_or_default();
            self.push(look.at_unix_ms, figures);
        }
        is_idle
    }

    fn push(&mut self, unix_ms: u64, figures: BTreeMap<String, u64>) {
        if self.samples.len() == SAMPLE_COUNT_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { unix_ms, figures });
    }

    /// The newest value of a figure.
    pub(crate) fn total(&self, name: &str) -> Option<u64> {
        self.samples.back()?.figures.get(name).copied()
    }

    /// All figures whose names begin so, with their newest values.
    pub(crate) fn totals<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let figures = self.samples.back().map(|last| &last.figures).into_iter().flatten();
        figures.map(|(name, value)| (name.as_str(), *value)).filter(move |(name, _)| name.starts_with(prefix))
    }

    /// How fast a figure grew in the last interval, per second.
    pub(crate) fn rate(&self, name: &str) -> Option<f64> {
        self.rates(name, 1).pop().flatten()
    }

    /// How fast a figure grew in each of the last intervals, the newest last.
    pub(crate) fn rates(&self, name: &str, count: usize) -> Vec<Option<f64>> {
        self.intervals(count, |before, after| {
            let (from, to) = (before.figures.get(name)?, after.figures.get(name)?);
            let seconds = after.unix_ms.saturating_sub(before.unix_ms).max(1) as f64 / 1e3;
            Some(to.saturating_sub(*from) as f64 / seconds)
        })
    }

    /// What share of the growth of some figures is that of another, in each of the last intervals, the newest last.
    pub(crate) fn shares(&self, part: &[&str], whole: &[&str], count: usize) -> Vec<Option<f64>> {
        self.intervals(count, |before, after| {
            let grown = |names: &[&str]| -> Option<u64> {
                names
                    .iter()
                    .map(|name| Some(after.figures.get(*name)?.saturating_sub(*before.figures.get(*name)?)))
                    .sum()
            };
            share(grown(part)?, grown(whole)?)
        })
    }

    /// What share of some figures is that of another, over all.
    pub(crate) fn total_share(&self, part: &[&str], whole: &[&str]) -> Option<f64> {
        let sum = |names: &[&str]| -> Option<u64> { names.iter().map(|name| self.total(name)).sum() };
        share(sum(part)?, sum(whole)?)
    }

    fn intervals(&self, count: usize, of: impl Fn(&Sample, &Sample) -> Option<f64>) -> Vec<Option<f64>> {
        let first = self.samples.len().saturating_sub(count + 1);
        let pairs = self.samples.iter().skip(first).zip(self.samples.iter().skip(first + 1));
        pairs.map(|(before, after)| of(before, after)).collect()
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The numbers of a page, by group and name.
fn figures(seen: &Seen) -> BTreeMap<String, u64> {
    let mut figures = BTreeMap::new();
    for (group, fields) in seen.stats.as_object().into_iter().flatten() {
        for (name, value) in fields.as_object().into_iter().flatten() {
            if let Some(number) = number(value) {
                figures.insert(format!("{group}.{name}"), number);
            }
        }
    }
    // Its parts are few, and shown.
    for (name, value) in seen.stats["memory"]["accounts"].as_object().into_iter().flatten() {
        figures.extend(number(value).map(|number| (format!("accounts.{name}"), number)));
    }
    figures
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_bool().map(u64::from))
}

#[cfg(test)]
mod tests {
    use super::super::look::Sight;
    use super::*;
    use emberlog::format::counters::{PageHeader, RunState};
    use serde_json::json;

    fn look(sequence: u64, opened_unix_ms: u64, at_unix_ms: u64, stats: Value) -> Look {
        let header = PageHeader {
            sequence,
            written_unix_ms: 10_000 + sequence * 1_000,
            opened_unix_ms,
            process_id: 7,
            state: RunState::Open,
            text_len: 0,
            cell_count: 0,
        };
        let seen = Seen { header, stats, crate_version: None, cells: Vec::new() };
        let holder = Some(crate::store::Holder { process_id: 7, holds_lock: true });
        Look { at_unix_ms, holder, sight: Sight::Page(Box::new(seen)) }
    }

    #[test]
    fn rates_and_shares_come_from_pages_and_not_from_looks() {
        let mut history = History::default();
        let stats =
            |hits: u64, misses: u64| json!({"requests": {"hits": hits, "misses": misses}, "new": [1, {"x": 2}]});
        assert!(history.note(&look(1, 5, 11_000, stats(100, 10))));
        assert_eq!((history.total("requests.hits"), history.rate("requests.hits")), (Some(100), None));
        assert!(!history.note(&look(1, 5, 11_500, stats(100, 10))), "the same page");
        assert!(history.note(&look(3, 5, 13_000, stats(400, 110))), "one page was not seen");
        assert_eq!(history.rate("requests.hits"), Some(150.0));
        assert_eq!(history.shares(&["requests.hits"], &["requests.hits", "requests.misses"], 9), [Some(0.75)]);
        let share = history.total_share(&["requests.hits"], &["requests.hits", "requests.misses"]);
        assert_eq!(share, Some(400.0 / 510.0));
        assert_eq!((history.total("requests.loads"), history.rate("requests.loads")), (None, None), "not known, not 0");
        // Nothing more is written, as nothing changes.
        assert!(
            !history.note(&look(3, 5, 15_000, stats(400, 110))) && history.note(&look(3, 5, 15_500, stats(400, 110)))
        );
        assert_eq!((history.rate("requests.hits"), history.total("requests.hits")), (Some(0.0), Some(400)));
        assert!(
            !history.note(&look(3, 5, 16_000, stats(400, 110))) && history.note(&look(3, 5, 16_500, stats(400, 110)))
        );
        // Another process, or the same one again: counts begin anew.
        assert!(history.note(&look(1, 20_000, 21_000, stats(3, 4))));
        assert_eq!((history.total("requests.hits"), history.rate("requests.hits")), (Some(3), None));
    }

    #[test]
    fn what_is_kept_is_bounded_and_counts_that_shrink_do_not_wrap() {
        let mut history = History::default();
        for sequence in 0..1_000 {
            history.note(&look(sequence, 5, sequence, json!({"disk": {"hits": 5_000 - sequence}})));
        }
        assert_eq!(history.samples.len(), SAMPLE_COUNT_MAX);
        assert!(history.rates("disk.hits", 500).iter().all(|rate| *rate == Some(0.0)));
        assert_eq!(history.rates("disk.hits", 500).len(), SAMPLE_COUNT_MAX - 1);
    }
}
