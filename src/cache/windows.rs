//! When there is time for work ahead of need, and what was done in it.
//!
//! Knows: the setting, the detector, what windows came to. Does not know: what the work is.
//!
//! Invariants
//!  I-WIN-1  At most one window is open; what is moved in it is counted to it, and it ends with an event if anything was.

use super::builder::QuietWindows;
use super::core::Core;
use crate::compaction::{Pass, Sweep, Swept};
use crate::log::{Class, Log};
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

    fn moved(&mut self, swept: Swept) {
        if let Some((window, _)) = &mut self.open {
            window.records_moved += swept.records;
            window.bytes_moved += swept.bytes;
        }
        self.ended.records_moved += swept.records;
        self.ended.bytes_moved += swept.bytes;
    }

    /// Ends the window that is open. Returns it if anything was moved, for [`tell`].
    #[must_use = "whoever listens is told"]
    fn end(&mut self, why: WindowEnd, now_us: u64) -> Option<Window> {
        let (mut window, began_us) = self.open.take()?;
        window.lasted_ms = now_us.saturating_sub(began_us) / 1000;
        window.ended = Some(why);
        self.ended.count += 1;
        self.ended.lasted_ms += window.lasted_ms;
        if window.records_moved == 0 {
            return None;
        }
        self.ended.last = Some(window.clone());
        Some(window)
    }
}

/// Tells of a window that ended. Without the lock: who listens may ask for the statistics.
fn tell(ended: Option<Window>) {
    let Some(window) = ended else { return };
    tracing::info!(
        why = ?window.why,
        ended = ?window.ended.unwrap_or(WindowEnd::Done),
        began_unix_ms = window.began_unix_ms,
        lasted_ms = window.lasted_ms,
        load_per_s = window.load_per_s,
        level_per_s = window.level_per_s,
        records = window.records_moved,
        bytes = window.bytes_moved,
        "records were appended again in a quiet window"
    );
}

impl Windows {
    pub(crate) fn new(when: QuietWindows) -> Self {
        Self { when, state: Mutex::new(State::default()) }
    }

    /// How long maintenance may wait without looking at the load; `None` for as long as it likes.
    pub(crate) fn sample_every(&self) -> Option<Duration> {
        (self.when != QuietWindows::Asked).then_some(SAMPLE)
    }

    /// What the load allows now.
    fn advise(&self, load: impl FnOnce() -> Load, now_unix_ms: impl FnOnce() -> u64) -> Advice {
        let mut locked = self.state.lock();
        let state = &mut *locked;
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
        let mut ended = None;
        match (advice, &state.open) {
            (Advice::Busy, Some(_)) => ended = state.end(WindowEnd::LoadReturned, load.now_us),
            (Advice::Pause | Advice::Step, None) => state.begin(why, now_unix_ms(), load.now_us),
            _ => {}
        }
        drop(locked);
        tell(ended);
        advice
    }

    /// Whether the rate for reinsertion under load holds.
    pub(crate) fn pace(&self) -> Pace {
        if self.state.lock().open.is_some() { Pace::Free } else { Pace::UnderLoad }
    }

    /// Counts what a step moved to the window that is open.
    fn moved(&self, swept: Swept) {
        self.state.lock().moved(swept);
    }

    /// The same for all the steps of somebody who asked for them and began then: without an open window they are one.
    pub(crate) fn asked(&self, swept: Swept, began_unix_ms: u64, began_us: u64, now_us: u64) {
        if swept.records == 0 {
            return;
        }
        let mut state = self.state.lock();
        let is_alone = state.open.is_none();
        if is_alone {
            state.begin(WindowReason::Asked, began_unix_ms, began_us);
        }
        state.moved(swept);
        let ended = if is_alone { state.end(WindowEnd::Done, now_us) } else { None };
        drop(state);
        tell(ended);
    }

    /// Ends the window that is open.
    pub(crate) fn end(&self, why: WindowEnd, now_us: u64) {
        let ended = self.state.lock().end(why, now_us);
        tell(ended);
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
        let load = || Load { now_us: self.now_us(), operations: self.shards.operation_count() };
        self.windows.advise(load, || self.clock.now_unix_ms())
    }

    /// Calls `act` with the sweep and what it needs.
    fn with_sweep<T>(&self, log: &Log, act: impl FnOnce(&mut Sweep, &Pass<'_, '_>) -> T) -> T {
        let reserve = |record_len| log.try_reserve(Class::Value, record_len);
        let ask = || (self.now_us(), Pace::Free);
        act(&mut self.sweep.lock(), &self.pass(log, &ask, &reserve))
    }

    /// Takes a step of what is done ahead of need.
    pub(crate) fn sweep_step(&self, log: &Log) -> Swept {
        self.with_sweep(log, Sweep::step)
    }

    /// Looks at the load, and takes a step if it allows one. Returns whether there may be another at once, and else when to look again.
    pub(crate) fn sweep_if_quiet(&self, log: &Log) -> (bool, Option<Duration>) {
        let wait = self.windows.sample_every();
        match self.advise() {
            Advice::Step => {
                let swept = self.sweep_step(log);
                self.windows.moved(swept);
                (swept.more, wait)
            }
            // Without anything to do there is nothing to wait for.
            Advice::Pause if self.with_sweep(log, |sweep, pass| sweep.due(pass).is_some()) => (false, Some(PAUSE)),
            Advice::Pause | Advice::Busy => (false, wait),
        }
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
        windows.moved(swept(3));
        // Whoever asks meanwhile adds to it.
        windows.asked(swept(4), 5, 5, 5);
        assert_eq!(look(&windows, &mut at, 2, 1_000), Advice::Busy);
        let stats = windows.stats(at.now_us);
        assert_eq!((stats.count, stats.is_open, stats.records_moved, stats.bytes_moved), (1, false, 7, 700));
        let last = stats.last.expect("it moved something");
        assert_eq!((last.why, last.ended), (WindowReason::Quiet, Some(WindowEnd::LoadReturned)));
        assert_eq!((last.records_moved, last.bytes_moved), (7, 700));
        assert!((26_000..=31_000).contains(&last.lasted_ms), "{last:?}");
        assert!(last.load_per_s <= 150 && (900..=1_000).contains(&last.level_per_s), "{last:?}");
    }

    #[test]
    fn always_is_one_window_and_asked_is_none_until_somebody_asks() {
        let always = Windows::new(QuietWindows::Always);
        let mut at = Load { now_us: 0, operations: 0 };
        assert_eq!(look(&always, &mut at, 10, 100_000), Advice::Step);
        always.end(WindowEnd::Closed, at.now_us);
        assert_eq!((always.stats(at.now_us).count, always.stats(at.now_us).last), (1, None), "nothing was moved");

        let asked = Windows::new(QuietWindows::Asked);
        assert_eq!(look(&asked, &mut at, 60, 0), Advice::Busy);
        assert_eq!((asked.stats(at.now_us).count, asked.pace()), (0, Pace::UnderLoad));
        asked.asked(swept(0), 0, 0, at.now_us);
        assert_eq!(asked.stats(at.now_us).count, 0);
        asked.asked(swept(2), 17, at.now_us - 3_000, at.now_us);
        let stats = asked.stats(at.now_us);
        assert_eq!((stats.count, stats.records_moved, stats.is_open), (1, 2, false));
        let last = stats.last.expect("it moved something");
        assert_eq!((last.why, last.ended), (WindowReason::Asked, Some(WindowEnd::Done)));
        assert_eq!((last.began_unix_ms, last.lasted_ms, last.bytes_moved), (17, 3, 200));
    }

    #[test]
    fn maintenance_looks_again_by_itself_unless_windows_are_only_asked_for() {
        for (when, every) in [
            (QuietWindows::Detected, Some(SAMPLE)),
            // What has come to be worth it, or has room now, wakes nobody.
            (QuietWindows::Always, Some(SAMPLE)),
            (QuietWindows::Asked, None),
        ] {
            assert_eq!(Windows::new(when).sample_every(), every, "{when:?}");
        }
    }
}
