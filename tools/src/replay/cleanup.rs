//! What must not outlive the tool: temporary directories and child processes, also after an error or Ctrl-C.
//!
//! Knows: what is out there. Does not know: what for.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;

/// A child that can be ended from any thread.
pub(crate) type SharedChild = Arc<Mutex<Child>>;

#[derive(Default)]
struct Registry {
    directories: Vec<std::path::PathBuf>,
    children: Vec<SharedChild>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

/// The value behind a lock, also after a panic elsewhere: cleaning up goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cleans up when the tool is interrupted (SIGINT, SIGTERM, SIGHUP), then ends it with exit code 2.
pub(crate) fn on_interrupt() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        let mut registry = lock(&REGISTRY);
        for child in registry.children.drain(..) {
            end(&child);
        }
        for directory in registry.directories.drain(..) {
            // Whatever cannot be removed stays; there is no one to report to.
            let _ = std::fs::remove_dir_all(directory);
        }
        // The shell's prompt is not to stand behind half a progress bar.
        if std::io::stderr().is_terminal() {
            let _ = writeln!(std::io::stderr().lock());
        }
        std::process::exit(2);
    })
    .map_err(|error| Failure::new(format!("cannot watch for interrupts: {error}")))
}

/// Kills a child and waits until it is gone, so that its files and locks are free.
pub(crate) fn end(child: &SharedChild) {
    let mut child = lock(child);
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts a child that is ended on interrupt.
pub(crate) fn spawn(command: &mut Command) -> io::Result<SharedChild> {
    // Held meanwhile: an interrupt between starting and noting would leave it behind.
    let mut registry = lock(&REGISTRY);
    let child = Arc::new(Mutex::new(command.spawn()?));
    registry.children.push(Arc::clone(&child));
    Ok(child)
}

/// No longer has it ended.
pub(crate) fn unwatch(child: &SharedChild) {
    lock(&REGISTRY).children.retain(|watched| !Arc::ptr_eq(watched, child));
}

/// A temporary directory, readable by its owner alone, that goes with this value or on interrupt.
#[derive(Debug)]
pub(crate) struct Temporary(tempfile::TempDir);

impl Temporary {
    /// Makes one, inside `parent` or where the system keeps such things.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Temporary, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        // Held meanwhile: an interrupt between making and noting would leave it behind.
        let mut registry = lock(&REGISTRY);
        let directory = tempfile::Builder::new().prefix("emberlog-replay-").tempdir_in(&parent).map_err(|error| {
            Failure::new(format!("cannot make a temporary directory in {}: {error}", parent.display()))
        })?;
        registry.directories.push(directory.path().to_owned());
        Ok(Temporary(directory))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        lock(&REGISTRY).directories.retain(|directory| directory != self.0.path());
    }
}
