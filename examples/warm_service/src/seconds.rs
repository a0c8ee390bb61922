//! A trial second by second, around the kill: before it, seconds end with the kill; after it, they begin when the service listens again.
//!
//! A request belongs to the second in which it was due, however late its answer came. What was due between the two is the outage's.

use crate::clock::SECOND_NS;
use crate::load::{Outcome, Sample};
use crate::trial::{Counts, Look, Trial};

/// One second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Second {
    /// -1 is the last before the kill, 1 the first after it.
    pub(crate) number: i64,
    pub(crate) request_count: usize,
    /// Share of all requests that were answered from the cache; one without an answer is no hit.
    pub(crate) hit_ratio: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    /// What the service counted meanwhile.
    pub(crate) counts: Counts,
    /// Requests without a right answer.
    pub(crate) lost_count: usize,
}

/// What lies between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) len_ns: u64,
    /// Requests that were due meanwhile and got no answer.
    pub(crate) lost_count: usize,
    /// Requests that had been sent and were cut off.
    pub(crate) cut_off_count: usize,
}

/// The seconds of a trial, so many on either side, and what lies between them.
pub(crate) fn seconds(trial: &Trial, before_count: u64, after_count: u64) -> (Vec<Second>, Outage) {
    let (killed_ns, ready_ns) = (trial.killed_ns, trial.lives[1].at_ns);
    let mut seconds = Vec::new();
    for back in (1..=before_count).rev() {
        let from_ns = killed_ns - back * SECOND_NS;
        seconds.push(second(-number(back), from_ns, &trial.samples, &trial.looks[0]));
    }
    for ahead in 1..=after_count {
        let from_ns = ready_ns + (ahead - 1) * SECOND_NS;
        seconds.push(second(number(ahead), from_ns, &trial.samples, &trial.looks[1]));
    }
    let due = |sample: &&Sample| (killed_ns..ready_ns).contains(&sample.due_ns);
    let outage = Outage {
        len_ns: ready_ns - killed_ns,
        lost_count: trial.samples.iter().filter(due).filter(|sample| !sample.outcome.is_answer()).count(),
        cut_off_count: {
            let sent = trial.samples.iter().filter(|sample| sample.due_ns < killed_ns);
            sent.filter(|sample| sample.outcome == Outcome::Broken).count()
        },
    };
    (seconds, outage)
}

fn number(second: u64) -> i64 {
    i64::try_from(second).expect("minutes at most")
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
fn second(number: i64, from_ns: u64, samples: &[Sample], looks: &[Look]) -> Second {
    let span = from_ns..from_ns + SECOND_NS;
    let due: Vec<&Sample> = samples.iter().filter(|sample| span.contains(&sample.due_ns)).collect();
    let count = |is: &dyn Fn(Outcome) -> bool| due.iter().filter(|sample| is(sample.outcome)).count();
    let hit_count = count(&|outcome| outcome == Outcome::Hit);
    // One that was refused or cut off had no latency.
    let waited = due.iter().filter(|sample| !matches!(sample.outcome, Outcome::Refused | Outcome::Broken));
    let mut latencies: Vec<u64> = waited.map(|sample| sample.latency_ns).collect();
    latencies.sort_unstable();
    Second {
        number,
        request_count: due.len(),
        hit_ratio: hit_count as f64 / due.len().max(1) as f64,
        p50_ns: percentile(&latencies, 500),
        p99_ns: percentile(&latencies, 990),
        p999_ns: percentile(&latencies, 999),
        counts: counts_between(looks, span.start, span.end),
        lost_count: count(&|outcome| !outcome.is_answer()),
    }
}

/// The smallest of these sorted values that at least so many thousandths of them do not exceed; 0 of none.
pub(crate) fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    let rank = (sorted.len() * thousandths).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// What was counted between two points in time.
fn counts_between(looks: &[Look], from_ns: u64, to_ns: u64) -> Counts {
    let between = |count: fn(&Counts) -> f64| count_until(looks, to_ns, count) - count_until(looks, from_ns, count);
    Counts {
        origin_queries: between(|counts| counts.origin_queries),
        memory_hits: between(|counts| counts.memory_hits),
        disk_hits: between(|counts| counts.disk_hits),
    }
}

/// A count at a point in time, on a line between the looks before and after.
#[allow(clippy::cast_precision_loss, reason = "times of one run")]
fn count_until(looks: &[Look], at_ns: u64, count: fn(&Counts) -> f64) -> f64 {
    let next = looks.partition_point(|look| look.at_ns < at_ns);
    match (next.checked_sub(1).map(|last| &looks[last]), looks.get(next)) {
        (Some(last), Some(next)) => {
            let share = (at_ns - last.at_ns) as f64 / (next.at_ns - last.at_ns) as f64;
            count(&last.counts) + share * (count(&next.counts) - count(&last.counts))
        }
        (Some(only), None) | (None, Some(only)) => count(&only.counts),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_ns: u64, origin_queries: f64) -> Look {
        Look { at_ns, counts: Counts { origin_queries, memory_hits: 2.0 * origin_queries, disk_hits: 0.0 } }
    }

    fn sample(due_ms: u64, latency_ms: u64, outcome: Outcome) -> Sample {
        Sample { due_ns: due_ms * 1_000_000, latency_ns: latency_ms * 1_000_000, outcome }
    }

    #[test]
    fn a_request_belongs_to_the_second_in_which_it_was_due() {
        let samples = [
            sample(999, 1, Outcome::Hit),
            sample(1000, 1, Outcome::Hit),
            sample(1500, 1900, Outcome::Miss),
            sample(1700, 2000, Outcome::TimedOut),
            sample(1999, 0, Outcome::Broken),
            sample(2000, 1, Outcome::Miss),
        ];
        let looks = [look(0, 0.0), look(4 * SECOND_NS, 40.0)];
        let second = second(7, SECOND_NS, &samples, &looks);
        assert_eq!((second.number, second.request_count, second.lost_count), (7, 4, 2));
        assert!((second.hit_ratio - 0.25).abs() < 1e-9, "one of four");
        let quarter = Counts { origin_queries: 10.0, memory_hits: 20.0, disk_hits: 0.0 };
        assert_eq!(second.counts, quarter, "a quarter of what four seconds had");
        assert_eq!((second.p50_ns, second.p999_ns), (1_900_000_000, 2_000_000_000), "what was cut off has no latency");
    }

    #[test]
    fn what_was_due_without_a_service_belongs_to_no_second() {
        let mut trial = crate::trial::tests::trial(&[]);
        // Killed at 10 s, ready at 11 s.
        trial.samples = vec![
            sample(8_900, 1, Outcome::Hit),
            sample(9_999, 5, Outcome::Broken),
            sample(10_000, 1, Outcome::Refused),
            sample(10_999, 300, Outcome::Miss),
            sample(11_000, 1, Outcome::Hit),
            sample(12_500, 1, Outcome::Miss),
        ];
        let (seconds, outage) = seconds(&trial, 2, 2);
        let counts: Vec<(i64, usize)> = seconds.iter().map(|second| (second.number, second.request_count)).collect();
        assert_eq!(counts, [(-2, 1), (-1, 1), (1, 1), (2, 1)]);
        assert_eq!(outage, Outage { len_ns: SECOND_NS, lost_count: 1, cut_off_count: 1 });
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!([500, 990, 999].map(|share| percentile(&values, share)), [500, 990, 999]);
        assert_eq!(percentile(&values[..10], 990), 10);
        assert_eq!(percentile(&[], 990), 0);
    }

    #[test]
    fn questions_are_counted_between_looks_and_not_beyond_them() {
        let looks = [look(10, 0.0), look(20, 5.0)];
        let until = |at_ns| count_until(&looks, at_ns, |counts| counts.origin_queries);
        assert_eq!([5, 10, 14, 20, 30].map(until), [0.0, 0.0, 2.0, 5.0, 5.0]);
        assert_eq!(counts_between(&[], 1, 2), Counts::default());
    }
}
