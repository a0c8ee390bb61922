//! `emberlog inspect --watch`: a running cache, seen from outside, from the page of counters in its directory.
//!
//! Knows: when to look and when to stop. Does not know: what is in a look (`look`), over time (`history`), on the screen (`frame`, `map`, `words`), nor
//! terminals (`screen`).

mod frame;
mod history;
mod look;
mod map;
mod screen;
#[cfg(test)]
mod tests;
mod words;

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::failure::Failure;
use crate::store::Store;
use crate::verdict::Verdict;
use frame::Scene;
use history::History;
use look::{Life, Look};

/// What the command can be told about watching.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Watch a running cache: tiers, hit ratios, segments, writer, drops, as they change. q, Esc or Ctrl-C ends it
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
    /// With --watch: time between two frames
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval, requires = "watch")]
    interval: Duration,
    /// With --watch: one frame as text instead of a live view, after one interval, so that there are rates
    #[arg(long, requires = "watch", conflicts_with = "frames")]
    once: bool,
    /// With --watch: this many frames as text instead of a live view
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// With --once or --frames: size of a frame
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "100x30", value_parser = parse_size, requires = "watch")]
    size: (u16, u16),
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = emberlog::units::parse_duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&interval) {
        return Ok(interval);
    }
    Err(format!("{text:?} is not between 100ms and 1h"))
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match parsed {
        Some((width, height)) if (20..=500).contains(&width) && (5..=200).contains(&height) => Ok((width, height)),
        _ => Err(format!("{text:?} is not a size from 20x5 to 500x200, such as 100x30")),
    }
}

/// Watches until the user has seen enough.
pub(crate) fn watch(store: &Store, args: &WatchArgs) -> Result<Verdict, Failure> {
    // What is no store is said at once, and not on another screen.
    let first = Look::take(store)?;
    if let Some(frame_count) = args.frames.or(args.once.then_some(1)) {
        return print(store, first, args, frame_count);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "stdout is no terminal, so there is nothing to watch on: --watch --once prints one frame as text, --frames N more of them",
        ));
    }
    let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    screen::run(store, first, args.interval, is_coloured)
}

/// Frames as text, an interval between them, and one before the first.
fn print(store: &Store, first: Look, args: &WatchArgs, frame_count: u64) -> Result<Verdict, Failure> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Who does not wait any more has stopped already.
        let _ = stop.send(());
    })
    .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let mut history = History::default();
    history.note(&first);
    let mut look = first;
    let directory = store.name();
    for number in 0..frame_count {
        // Of a cache that is not running there is nothing more to come.
        if number > 0 || matches!(look.life(), Some(Life::Running | Life::Starting)) {
            let mut is_new = false;
            // Short intervals bring a page only now and then.
            for _ in 0..if number == 0 { 30 } else { 1 } {
                if stopped.recv_timeout(args.interval) != Err(RecvTimeoutError::Timeout) {
                    return Ok(Verdict::Good);
                }
                look = Look::take(store)?;
                is_new |= history.note(&look);
                if is_new || look.life() != Some(Life::Running) {
                    break;
                }
            }
        }
        let scene = Scene { directory: &directory, look: &look, history: &history, is_coloured: false, hint: "" };
        let mut out = std::io::stdout().lock();
        out.write_all(text(&scene, args.size).as_bytes())?;
        out.flush()?;
    }
    Ok(Verdict::Good)
}

/// A frame as text.
fn text(scene: &Scene<'_>, (width, height): (u16, u16)) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| scene.draw(frame)) {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for line in buffer.content.chunks(usize::from(width)) {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
