//! How far a long command is, for people who wait: one bar on stderr over all requests of a replay, or all cases of a mode.
//!
//! Knows: counts and the name of the stretch. Does not know: what is counted. Without a terminal, or with `--quiet`,
//! there is nothing to see,
//! and on stdout there never is.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::units::show_count;

/// How often the bar moves while nothing is counted: a cache is being opened, a trace begins.
const STILL_TICK: Duration = Duration::from_millis(200);

/// A bar, or nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over so many requests; not known yet: none.
    pub(crate) fn new(total: Option<u64>, is_quiet: bool) -> Progress {
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Progress::on(target, total)
    }

    fn on(target: ProgressDrawTarget, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{prefix:>10} {wide_bar} {percent:>3} %  {done} of {all}  {rate}/s  {left}",
            None => "{prefix:>10} {spinner} {done} requests  {rate}/s",
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are sound");
        bar.set_style(
            style
                .progress_chars("█·")
                .with_key("done", |state: &ProgressState, out: &mut dyn Write| show(out, state.pos()))
                .with_key("all", |state: &ProgressState, out: &mut dyn Write| show(out, state.len().unwrap_or(0)))
                .with_key("left", |state: &ProgressState, out: &mut dyn Write| show_left(out, state))
                .with_key("rate", |state: &ProgressState, out: &mut dyn Write| show(out, state.per_sec() as u64)),
        );
        if !bar.is_hidden() {
            bar.enable_steady_tick(STILL_TICK);
        }
        Progress { bar }
    }

    /// There will be so many requests in all.
    pub(crate) fn expect(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Names the stretch that begins.
    pub(crate) fn phase(&self, name: &'static str) {
        self.bar.set_prefix(name);
    }

    /// What was counted so far is over: another stretch begins, with a rate of its own.
    pub(crate) fn restart(&self) {
        self.bar.reset();
        self.bar.set_position(0);
    }

    /// So many are done, of all.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// How many are done.
    pub(crate) fn done(&self) -> u64 {
        self.bar.position()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn show_left(out: &mut dyn Write, state: &ProgressState) {
    if state.per_sec() >= 1.0 {
        let _ = write!(out, "{:#} left", indicatif::HumanDuration(state.eta()));
    }
}

fn show(out: &mut dyn Write, count: u64) {
    // A bar that cannot be shown is no reason to stop.
    let _ = out.write_str(&show_count(count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    fn shown(total: Option<u64>) -> (Progress, InMemoryTerm) {
        let term = InMemoryTerm::new(5, 100);
        (Progress::on(ProgressDrawTarget::term_like(Box::new(term.clone())), total), term)
    }

    #[test]
    fn a_bar_shows_stretch_share_counts_and_goes_without_a_trace() {
        let (progress, term) = shown(Some(200_000));
        progress.phase("before");
        progress.set(50_000);
        progress.bar.force_draw();
        let line = term.contents();
        for words in ["before", " 25 %", "50,000 of 200,000", "/s"] {
            assert!(line.contains(words), "{words:?} is not in {line:?}");
        }
        assert!(!line.contains('\n'), "{line:?}");
        drop(progress);
        assert_eq!(term.contents(), "");
    }

    #[test]
    fn without_a_total_there_is_a_count() {
        let (progress, term) = shown(None);
        progress.phase("reading");
        progress.set(1_234);
        progress.bar.force_draw();
        assert!(term.contents().contains("1,234 requests"), "{}", term.contents());
    }
}
