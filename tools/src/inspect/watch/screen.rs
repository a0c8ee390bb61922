//! The live view: the terminal's other screen, keys, and the way back.
//!
//! Invariants
//!  I-SCREEN-1  However it ends (a key, a signal, an error, a panic), the terminal is as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::frame::Scene;
use super::history::History;
use super::look::Look;
use crate::failure::Failure;
use crate::stopwatch::Stopwatch;
use crate::store::Store;
use crate::verdict::Verdict;

/// Signals are seen at the latest after so long.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Runs until the user has seen enough.
pub(crate) fn run(store: &Store, first: Look, interval: Duration, is_coloured: bool) -> Result<Verdict, Failure> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_stopped);
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    // It also sees to it that a panic restores the terminal before it says anything.
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut terminal, store, first, interval, is_coloured, &is_stopped);
    let shown = terminal.show_cursor();
    ratatui::try_restore()?;
    shown?;
    outcome.map(|()| Verdict::Good)
}

fn watch(
    terminal: &mut DefaultTerminal,
    store: &Store,
    first: Look,
    interval: Duration,
    is_coloured: bool,
    is_stopped: &AtomicBool,
) -> Result<(), Failure> {
    let (mut history, directory) = (History::default(), store.name());
    history.note(&first);
    let mut look = first;
    let mut since = Stopwatch::start();
    loop {
        let scene = Scene { directory: &directory, look: &look, history: &history, is_coloured, hint: "q quit" };
        terminal.draw(|frame| scene.draw(frame))?;
        loop {
            if is_stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let left = interval.saturating_sub(Duration::from_secs_f64(since.ms() / 1e3));
            if left.is_zero() {
                since = Stopwatch::start();
                look = Look::take(store)?;
                history.note(&look);
                break;
            }
            if event::poll(left.min(WAIT_MAX))? {
                match event::read()? {
                    Event::Key(key) if ends(&key) => return Ok(()),
                    // Drawn anew, in its new size.
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
        }
    }
}

/// Whether a key says that the user has seen enough. Ctrl-C is a key while the terminal is ours.
fn ends(key: &KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('c') => is_control,
            KeyCode::Char('q' | 'Q') => !is_control,
            KeyCode::Esc => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_that_are_named_end_it() {
        let press = |code, modifiers| ends(&KeyEvent::new(code, modifiers));
        assert!(press(KeyCode::Char('q'), KeyModifiers::NONE) && press(KeyCode::Esc, KeyModifiers::NONE));
        assert!(press(KeyCode::Char('c'), KeyModifiers::CONTROL) && press(KeyCode::Char('Q'), KeyModifiers::SHIFT));
        assert!(!press(KeyCode::Char('c'), KeyModifiers::NONE) && !press(KeyCode::Char('x'), KeyModifiers::NONE));
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert!(!ends(&release));
    }
}
