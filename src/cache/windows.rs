//! When there is time for work ahead of need, and what was done in it.
//!
//! Knows: the setting, the detector, what windows came to. Does not know: what the work is.
//!
//! Invariants
//!  I-WIN-1  At most one window is open; what is moved in it is counted to it, and it ends with an event if anything was.

use super::builder::QuietWindows;
use super::core::Core;
use crate::compaction::Swept;
use crate::observe::{Window, WindowEnd, WindowReason, WindowStats};
use crate::policy::{Advice, Load, Pace, Quiet};
use crate::sync::Mutex;
use std::time::Duration;

/// How often the load is looked at outside windows, and within them when there is nothing to do.
pub(crate) const SAMPLE: Duration = Duration::from_millis(250);
/// How long a step waits when requests are there.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Windows {
    when: QuietWindows,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    quiet: Quiet,
    /// The window that is open, and when it began on the steady clock.
    open: Option<(Window, u64)>,
    ended: WindowStats,
}

impl State {
    fn begin(&mut self, why: WindowReason, now_unix_ms: u64, now_us: u64) {
        let window = Window {
            why,
            began_unix_ms: now_unix_ms,
            load_per_s: self.quiet.rate() as u64,
            level_per_s: self.quiet.level() as u64,
            ..Window::default()
        };
        self.open = Some((window, now_us));
    }

    fn end(&mut self, why: WindowEnd, now_us: u64) {
        let Some((mut window, began_us)) = self.open.take() else { return };
        window.lasted_ms = now_us.saturating_sub(began_us) / 1000;
        window.ended = Some(why);
        self.ended.count += 1;
        self.ended.lasted_ms += window.lasted_ms;
        if window.records_moved > 0 {
            tracing::info!(
                why = ?window.why,
                ended = ?why,
                began_unix_ms = window.began_unix_ms,
                lasted_ms = window.lasted_ms,
                load_per_s = window.load_per_s,
                level_per_s = window.level_per_s,
                records = window.records_moved,
                bytes = window.bytes_moved,
                "records were appended again in a quiet window"
            );
            self.ended.last = Some(window);
        }
    }
}

impl Windows {
    pub(crate) fn new(when: QuietWindows) -> Self {
        Self { when, state: Mutex::new(State::default()) }
    }

    /// How long maintenance may wait without looking at the load; `None` for as long as it likes.
    pub(crate) fn sample_every(&self) -> Option<Duration> {
        (self.when == QuietWindows::Detected).then_some(SAMPLE)
    }

    /// What the load allows now.
    fn advise(&self, load: impl FnOnce() -> Load, now_unix_ms: impl FnOnce() -> u64) -> Advice {
        let mut state = self.state.lock();
        let state = &mut *state;
        let advice = match self.when {
            QuietWindows::Asked => return Advice::Busy,
            QuietWindows::Always => Advice::Step,
            QuietWindows::Detected => Advice::Busy,
        };
        let load = load();
        let (advice, why) = match self.when {
            QuietWindows::Detected => (state.quiet.observe(load), WindowReason::Quiet),
            _ => (advice, WindowReason::Always),
        };
        match (advice, &state.open) {
            (Advice::Busy, Some(_)) => state.end(WindowEnd::LoadReturned, load.now_us),
            (Advice::Pause | Advice::Step, None) => state.begin(why, now_unix_ms(), load.now_us),
            _ => {}
        }
        advice
    }

    /// Whether the rate for reinsertion under load holds.
    pub(crate) fn pace(&self) -> Pace {
        if self.state.lock().open.is_some() { Pace::Free } else { Pace::UnderLoad }
    }

    /// Counts what a step moved to the window that is open; without one, to one that was asked for and is over.
    fn moved(&self, swept: Swept, now: impl FnOnce() -> (u64, u64)) {
        if swept.records == 0 {
            return;
        }
        let mut state = self.state.lock();
        let is_asked = state.open.is_none();
        let (now_unix_ms, now_us) = now();
        if is_asked {
            state.begin(WindowReason::Asked, now_unix_ms, now_us);
        }
        if let Some((window, _)) = &mut state.open {
            window.records_moved += swept.records;
            window.bytes_moved += swept.bytes;
        }
        state.ended.records_moved += swept.records;
        state.ended.bytes_moved += swept.bytes;
        if is_asked {
            state.end(WindowEnd::Done, now_us);
        }
    }

    /// Ends the window that is open.
    pub(crate) fn close(&self, now_us: u64) {
        self.state.lock().end(WindowEnd::Closed, now_us);
    }

    /// What windows came to so far, the open one included.
    pub(crate) fn stats(&self, now_us: u64) -> WindowStats {
        let state = self.state.lock();
        let mut stats = state.ended.clone();
        stats.load_per_s = state.quiet.rate() as u64;
        stats.level_per_s = state.quiet.level() as u64;
        if let Some((window, began_us)) = &state.open {
            let lasted_ms = now_us.saturating_sub(*began_us) / 1000;
            stats.is_open = true;
            stats.count += 1;
            stats.lasted_ms += lasted_ms;
            stats.last = Some(Window { lasted_ms, ..window.clone() });
        }
        stats
    }
}

impl Core {
    /// What the load allows now.
    pub(crate) fn advise(&self) -> Advice {
        if self.is_closed() {
            return Advice::Busy;
        }
        let load = || Load { now_us: self.clock.monotonic_ns() / 1000, operations: self.shards.operation_count() };
        self.windows.advise(load, || self.clock.now_unix_ms())
    }

    /// Takes a step of what is done ahead of need. Returns whether there may be another.
    pub(crate) fn sweep_step(&self, log: &crate::log::Log) -> bool {
        let reserve = |record_len| log.try_reserve(crate::log::Class::Value, record_len);
        let swept = self.sweep.lock().step(&self.pass(log, Pace::Free, &reserve));
        self.windows.moved(swept, || (self.clock.now_unix_ms(), self.clock.monotonic_ns() / 1000));
        swept.more
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    fn swept(records: u64) -> Swept {
        Swept { records, bytes: records * 100, more: true }
    }

    /// Looks at the load once in a while, at so many operations per second. Time and count go on from where they were.
    fn look(windows: &Windows, at: &mut Load, seconds: u64, per_s: u64) -> Advice {
        let mut advice = Advice::Busy;
        for _ in 0..seconds * 4 {
            at.now_us += 250_000;
            at.operations += per_s / 4;
            advice = windows.advise(|| *at, || at.now_us / 1000);
        }
        advice
    }

    #[test]
    fn a_window_is_told_with_its_reason_its_length_and_what_was_moved() {
        let windows = Windows::new(QuietWindows::Detected);
        let mut at = Load { now_us: 0, operations: 0 };
        assert_eq!(look(&windows, &mut at, 60, 1_000), Advice::Busy);
        assert_eq!((windows.pace(), windows.stats(at.now_us).is_open), (Pace::UnderLoad, false));
        assert_ne!(look(&windows, &mut at, 30, 0), Advice::Busy);
        assert_eq!(windows.pace(), Pace::Free);
        windows.moved(swept(3), || unreachable_now(&at));
        windows.moved(swept(4), || unreachable_now(&at));
        assert_eq!(look(&windows, &mut at, 2, 1_000), Advice::Busy);
        let stats = windows.stats(at.now_us);
        assert_eq!((stats.count, stats.is_open, stats.records_moved, stats.bytes_moved), (1, false, 7, 700));
        let last = stats.last.expect("it moved something");
        assert_eq!((last.why, last.ended), (WindowReason::Quiet, Some(WindowEnd::LoadReturned)));
        assert_eq!((last.records_moved, last.bytes_moved), (7, 700));
        assert!((26_000..=31_000).contains(&last.lasted_ms), "{last:?}");
        assert!(last.load_per_s <= 150 && (900..=1_000).contains(&last.level_per_s), "{last:?}");
    }

    fn unreachable_now(at: &Load) -> (u64, u64) {
        (at.now_us / 1000, at.now_us)
    }

    #[test]
    fn always_is_one_window_and_asked_is_none_until_somebody_asks() {
        let always = Windows::new(QuietWindows::Always);
        let mut at = Load { now_us: 0, operations: 0 };
        assert_eq!(look(&always, &mut at, 10, 100_000), Advice::Step);
        always.close(at.now_us);
        assert_eq!((always.stats(at.now_us).count, always.stats(at.now_us).last), (1, None), "nothing was moved");

        let asked = Windows::new(QuietWindows::Asked);
        assert_eq!(look(&asked, &mut at, 60, 0), Advice::Busy);
        assert_eq!((asked.stats(at.now_us).count, asked.pace()), (0, Pace::UnderLoad));
        asked.moved(swept(0), || unreachable_now(&at));
        assert_eq!(asked.stats(at.now_us).count, 0);
        asked.moved(swept(2), || unreachable_now(&at));
        let stats = asked.stats(at.now_us);
        assert_eq!((stats.count, stats.records_moved, stats.is_open), (1, 2, false));
        assert_eq!(stats.last.map(|last| (last.why, last.ended)), Some((WindowReason::Asked, Some(WindowEnd::Done))));
    }
}
