//! Runs the cases of a mode, several at once, and counts what they find.
//!
//! Invariant: what a case does depends on the seed and its number, not on the thread that runs it, nor on which others were run.

use crate::mode::{Effort, Mode};
use crate::report::{Report, Tally, VIOLATIONS_MAX, Violation};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// The time now: for reports, and for runs that are to end after a while. No case decides by it.
#[allow(clippy::disallowed_methods, reason = "how long a run takes is reported, and may be limited")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub seed: u64,
    pub effort: Effort,
    /// Run this case alone.
    pub case: Option<u64>,
    /// Cases to run, of each mode; the mode's own number otherwise.
    pub runs: Option<u64>,
    /// Stop after this time, of each mode.
    pub time: Option<Duration>,
    /// Threads that run cases.
    pub threads: usize,
    /// A program that turns into the child of a mode when it is started with the arguments that the mode gives it.
    pub program: Option<PathBuf>,
}

impl Options {
    /// The quick form of a mode.
    pub fn new(mode: Mode, seed: u64) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { mode, seed, effort: Effort::Quick, case: None, runs: None, time: None, threads, program: None }
    }
}

/// Who wants to know how far a run is. Called from several threads.
pub trait Watch: Sync {
    /// A mode begins, with so many cases.
    fn begins(&self, mode: Mode, case_count: u64);
    /// So many of them are done, and so many states checked.
    fn done(&self, case_count: u64, crash_points: u64);
}

/// Nobody watches.
impl Watch for () {
    fn begins(&self, _: Mode, _: u64) {}
    fn done(&self, _: u64, _: u64) {}
}

/// Runs a mode, or all.
pub fn run(options: &Options, watch: &dyn Watch) -> Report {
    let from = now();
    let mut report = match options.mode {
        Mode::All => {
            let mut all = Report::new(Mode::All, options.seed, options.effort);
            for mode in Mode::EACH {
                all.add_mode(run_mode(mode, options, watch));
            }
            all
        }
        mode => run_mode(mode, options, watch),
    };
    report.elapsed_ms = from.elapsed().as_millis() as u64;
    report
}

/// Runs so many cases of a mode, for a test.
///
/// # Panics
/// With all that replays the first case that breaks a promise.
pub fn check(mode: Mode, runs: Option<u64>) -> Report {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("the variable holds a number"));
    let mut options = Options::new(mode, number("SEED").unwrap_or(1));
    options.case = number("CASE");
    options.runs = number("EMBERLOG_CASES").or(runs);
    if crate::setup::is_full() {
        (options.effort, options.runs) = (Effort::Long, number("EMBERLOG_CASES"));
    }
    let report = run(&options, &());
    if let Some(Violation { seed, case, mode, what }) = report.violations.first() {
        panic!("{mode}: SEED={seed} CASE={case}: {what}");
    }
    report
}

fn run_mode(mode: Mode, options: &Options, watch: &dyn Watch) -> Report {
    let from = now();
    let cases = mode.cases(options);
    let report = Mutex::new(Report::new(mode, options.seed, options.effort));
    let numbers = match options.case {
        Some(case) => case..case + 1,
        None => {
            let wanted = options.runs.unwrap_or_else(|| cases.runs());
            0..cases.count().map_or(wanted, |count| count.min(wanted))
        }
    };
    watch.begins(mode, numbers.end - numbers.start);
    let next = AtomicU64::new(numbers.start);
    let stop = AtomicBool::new(false);
    let work = || {
        loop {
            let is_late = options.time.is_some_and(|time| from.elapsed() >= time);
            let index = next.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) || is_late || index >= numbers.end {
                return;
            }
            // Those that were left out by `--runs` of a mode that can be counted are spread over all.
            let case = spread(index, &numbers, cases.count());
            let mut tally = Tally::default();
            let outcome = catch(|| cases.run(case, &mut tally));
            let mut report = report.lock().expect("no case panics under it");
            report.add(&tally);
            if let Err(what) = outcome {
                report.violations.push(Violation { seed: options.seed, case, mode, what });
                if report.violations.len() >= VIOLATIONS_MAX {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            watch.done(report.runs, report.crash_points);
        }
    };
    let threads = if cases.is_parallel() { options.threads.max(1) } else { 1 };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut report = report.into_inner().expect("no case panics under it");
    report.violations.sort_by_key(|violation| violation.case);
    report.runs_planned = Some(numbers.end - numbers.start);
    // Whole runs only: a case alone may well be about a store of which nothing is left.
    if options.case.is_none() && report.runs > 0 && report.violations.is_empty() && report.values_checked == 0 {
        let what = "nothing was served by anything that was opened, so nothing was checked".to_owned();
        report.violations.push(Violation { seed: options.seed, case: 0, mode, what });
    }
    report.elapsed_ms = from.elapsed().as_millis() as u64;
    report
}

/// The case with this index in a run of some of `count` cases, evenly spread.
fn spread(index: u64, numbers: &std::ops::Range<u64>, count: Option<u64>) -> u64 {
    let wanted = numbers.end - numbers.start;
    match count {
        Some(count) if numbers.start == 0 && wanted < count => {
            (u128::from(index) * u128::from(count) / u128::from(wanted)) as u64
        }
        _ => index,
    }
}

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static WHERE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a case; a panic is what it found. Says where it was, and prints nothing.
fn catch(run: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_CAUGHT.get() {
                let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
                // The first is the cause: whoever names the step panics once more.
                WHERE.with_borrow_mut(|first| {
                    if first.is_empty() {
                        *first = place
                    }
                });
            } else {
                before(info);
            }
        }));
    });
    IS_CAUGHT.set(true);
    WHERE.with_borrow_mut(String::clear);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let place = WHERE.with_borrow(String::clone);
        format!("{} ({place})", text.unwrap_or("a panic without a message"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn some_of_many_cases_are_spread_over_all() {
        let cases: BTreeSet<u64> = (0..10).map(|index| spread(index, &(0..10), Some(1000))).collect();
        assert_eq!(cases.into_iter().collect::<Vec<_>>(), (0..10).map(|index| index * 100).collect::<Vec<_>>());
        assert_eq!(spread(7, &(0..10), Some(10)), 7);
        assert_eq!(spread(7, &(0..10), None), 7);
        assert_eq!(spread(700, &(700..701), Some(1000)), 700, "a case that is named is that case");
    }

    #[test]
    fn a_panic_is_told_with_its_words_and_its_place() {
        assert_eq!(catch(|| {}), Ok(()));
        let what = catch(|| panic!("key {} is older", 3)).expect_err("it panicked");
        assert!(what.starts_with("key 3 is older (") && what.contains("runner.rs:"), "{what}");
    }
}
