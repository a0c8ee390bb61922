//! What the run has to show, as sentences with the figures of this run, each kept or broken.

use emberlog::units::{show_bytes, show_count};

use crate::load::Outcome;
use crate::page::show_ns;
use crate::seconds::{Outage, Second};
use crate::supervisor::Options;
use crate::trial::Trial;

/// How much lower the first second's hit ratio may be than the last one's.
const LOSS_MAX: f64 = 0.02;

/// A sentence, and whether it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) text: String,
    pub(crate) kept: bool,
}

/// A trial with its seconds.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) trial: Trial,
    pub(crate) seconds: Vec<Second>,
    pub(crate) outage: Outage,
}

impl Judged {
    /// The second with this number.
    pub(crate) fn second(&self, number: i64) -> &Second {
        self.seconds.iter().find(|second| second.number == number).expect("there is one on each side at least")
    }

    fn wrong_count(&self) -> usize {
        self.trial.samples.iter().filter(|sample| sample.outcome == Outcome::Wrong).count()
    }
}

/// Judges the two trials.
pub(crate) fn judge(options: &Options, warm: &Judged, control: &Judged) -> Vec<Promise> {
    let (last, first) = (warm.second(-1), warm.second(1));
    let (control_last, control_first) = (control.second(-1), control.second(1));
    let peaks = &warm.trial.peaks;
    let memory_peak_bytes = peaks.held_bytes.max(control.trial.peaks.held_bytes);
    let disk_peak_bytes = peaks.allocated_bytes.max(peaks.used_bytes);
    let answer_count =
        |judged: &Judged| judged.trial.samples.iter().filter(|sample| sample.outcome.is_answer()).count();
    let wrong_count = (warm.wrong_count() + control.wrong_count()) as u64;
    let right_count = (answer_count(warm) + answer_count(control)) as u64;
    vec![
        Promise {
            text: format!(
                "warm: hit ratio {} in the last second before SIGKILL, {} in the first after it (at most {LOSS_MAX} less)",
                percent(last.hit_ratio),
                percent(first.hit_ratio)
            ),
            kept: last.hit_ratio - first.hit_ratio <= LOSS_MAX && last.hit_ratio > 0.0,
        },
        Promise {
            text: format!(
                "without the disk tier: {} before, {} after (under half)",
                percent(control_last.hit_ratio),
                percent(control_first.hit_ratio)
            ),
            kept: control_first.hit_ratio < control_last.hit_ratio / 2.0,
        },
        Promise {
            text: format!(
                "p99 of that first second: {} warm, {} without the disk tier: {} times as long (at least twice)",
                show_ns(first.p99_ns),
                show_ns(control_first.p99_ns),
                show_ratio(ratio(control_first.p99_ns, first.p99_ns))
            ),
            kept: ratio(control_first.p99_ns, first.p99_ns) >= 2.0,
        },
        Promise {
            text: format!(
                "budgets: memory at most {} of {}, disk at most {} of {}",
                show_bytes(memory_peak_bytes),
                show_bytes(options.memory_bytes),
                show_bytes(disk_peak_bytes),
                show_bytes(options.disk_bytes)
            ),
            kept: memory_peak_bytes <= options.memory_bytes && disk_peak_bytes <= options.disk_bytes,
        },
        Promise {
            text: format!(
                "answers compared byte for byte: {} right, {} wrong",
                show_count(right_count),
                show_count(wrong_count)
            ),
            kept: wrong_count == 0 && right_count > 0,
        },
    ]
}

/// A ratio in as many digits as matter.
fn show_ratio(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

/// A share as people read it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "latencies of seconds at most")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{self, Counts};

    /// A trial in which the last second before the kill and the first after it were like this: hit ratio and p99.
    fn judged(last: (f64, u64), first: (f64, u64)) -> Judged {
        let second = |number, (hit_ratio, p99_ns)| Second {
            number,
            request_count: 100,
            hit_ratio,
            p50_ns: p99_ns,
            p99_ns,
            p999_ns: p99_ns,
            counts: Counts::default(),
            lost_count: 0,
        };
        Judged {
            trial: trial::tests::trial(&[Outcome::Hit, Outcome::Miss]),
            seconds: vec![second(-1, last), second(1, first)],
            outage: Outage { len_ns: 1, lost_count: 0, cut_off_count: 0 },
        }
    }

    /// Which promises are broken, by their place on the page.
    fn broken(warm: &Judged, control: &Judged) -> Vec<usize> {
        let promises = judge(&Options::default(), warm, control);
        (0..promises.len()).filter(|at| !promises[*at].kept).collect()
    }

    #[test]
    fn each_promise_breaks_by_itself_and_at_its_limit() {
        let warm = judged((0.99, 5), (0.98, 5));
        let control = judged((0.9, 5), (0.4, 500));
        assert_eq!(broken(&warm, &control), [0; 0]);
        assert_eq!(broken(&judged((0.99, 5), (0.96, 5)), &control), [0], "three hundredths lost");
        assert_eq!(broken(&judged((0.0, 5), (0.0, 5)), &control), [0], "nothing was warm to begin with");
        assert_eq!(broken(&warm, &judged((0.9, 5), (0.45, 500))), [1], "half is not under half");
        assert_eq!(broken(&warm, &judged((0.9, 5), (0.4, 9))), [2], "not twice as long");
        let mut greedy = judged((0.99, 5), (0.98, 5));
        greedy.trial.peaks.allocated_bytes = Options::default().disk_bytes + 1;
        assert_eq!(broken(&greedy, &control), [3]);
        greedy.trial.peaks.allocated_bytes = 0;
        greedy.trial.peaks.held_bytes = Options::default().memory_bytes + 1;
        assert_eq!(broken(&greedy, &control), [3]);
        let mut wrong = judged((0.9, 5), (0.4, 500));
        wrong.trial = trial::tests::trial(&[Outcome::Hit, Outcome::Wrong]);
        assert_eq!(broken(&warm, &wrong), [4], "one wrong answer, in the control as well");
    }

    #[test]
    fn ratios_have_the_digits_that_matter() {
        assert_eq!([0.4, 9.94, 9.96, 331.2].map(show_ratio), ["0.4", "9.9", "10", "331"]);
    }
}
