//! What must not outlive the supervisor: its children and its temporary directory, also after a failure or Ctrl-C.
//!
//! Knows: what is out there. Does not know: what for.
//!
//! Children are ended here, and tie themselves to this process besides (`process::die_with_parent`), for the case that it is killed itself.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::failure::Failure;
use crate::process::PARENT;

#[derive(Debug, Default)]
struct Inner {
    children: Vec<Child>,
    directory: Option<PathBuf>,
}

impl Inner {
    fn clean_up(&mut self) {
        for mut child in self.children.drain(..) {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(directory) = self.directory.take() {
            // What cannot be removed stays; there is no one to report to.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Children and a directory; they go with this value, or on SIGINT, SIGTERM and SIGHUP, which end the process.
#[derive(Debug)]
pub(crate) struct Household(Arc<Mutex<Inner>>);

impl Household {
    /// An empty one, watching for signals.
    pub(crate) fn new() -> Result<Household, Failure> {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let watched = Arc::clone(&inner);
        ctrlc::set_handler(move || {
            // Kept to the end: nobody starts another child after this.
            let mut inner = watched.lock().unwrap_or_else(PoisonError::into_inner);
            inner.clean_up();
            std::process::exit(130);
        })
        .map_err(|error| Failure::new("cannot watch for interrupts", error))?;
        Ok(Household(inner))
    }

    /// Makes the temporary directory, which goes with this value.
    pub(crate) fn make_directory(&self) -> Result<PathBuf, Failure> {
        let mut inner = self.lock();
        let made = tempfile::Builder::new().prefix("emberlog-warm-service-").tempdir();
        let path = made.map_err(|error| Failure::new("cannot make a temporary directory", error))?.keep();
        inner.directory = Some(path.clone());
        Ok(path)
    }

    /// Leaves the directory where it is, from now on.
    pub(crate) fn keep_directory(&self) {
        self.lock().directory = None;
    }

    /// Starts this program in another role.
    pub(crate) fn start(&self, role: &str, settings: &impl Serialize) -> Result<Helper, Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::new(format_args!("cannot start the {role}"), error);
        let program = std::env::current_exe().map_err(|error| fail(&error))?;
        let settings = serde_json::to_string(settings).map_err(|error| fail(&error))?;
        let mut inner = self.lock();
        let mut child = Command::new(program)
            .args([role, &settings])
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| fail(&error))?;
        let out = child.stdout.take().expect("its output is piped");
        let pid = child.id();
        inner.children.push(child);
        let (tell, lines) = mpsc::channel();
        // Ends with the child's output, or when nobody listens any more.
        let ear = move || BufReader::new(out).lines().try_for_each(|line| tell.send(line)).unwrap_or_default();
        std::thread::Builder::new().name(format!("ear-{role}")).spawn(ear).map_err(|error| fail(&error))?;
        Ok(Helper { pid, role: role.to_owned(), lines })
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&self, pid: u32) {
        self.end(pid, true);
    }

    /// Waits for a process that is about to end by itself. Called when its output has ended, so this takes no time.
    pub(crate) fn bury(&self, pid: u32) -> bool {
        self.end(pid, false)
    }

    fn end(&self, pid: u32, kill: bool) -> bool {
        let mut inner = self.lock();
        let Some(at) = inner.children.iter().position(|child| child.id() == pid) else { return false };
        let mut child = inner.children.swap_remove(at);
        if kill {
            // Fails only if it is gone already.
            let _ = child.kill();
        }
        child.wait().is_ok_and(|status| status.success())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        self.lock().clean_up();
    }
}

/// A child that tells, a line of JSON at a time.
#[derive(Debug)]
pub(crate) struct Helper {
    pub(crate) pid: u32,
    role: String,
    lines: Receiver<std::io::Result<String>>,
}

impl Helper {
    /// What it says next, waited for until then.
    pub(crate) fn hear<T: DeserializeOwned>(&self, until_ns: u64) -> Result<Heard<T>, Failure> {
        let fail =
            |error: &dyn std::fmt::Display| Failure::new(format_args!("cannot understand the {}", self.role), error);
        match self.lines.recv_timeout(Duration::from_nanos(until_ns.saturating_sub(clock::now_ns()))) {
            Ok(Ok(line)) => serde_json::from_str(&line).map(Heard::Said).map_err(|error| fail(&error)),
            Ok(Err(error)) => Err(fail(&error)),
            Err(RecvTimeoutError::Timeout) => Ok(Heard::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Heard::End),
        }
    }

    /// The same, from one that has to say something by then.
    pub(crate) fn expect<T: DeserializeOwned>(&self, until_ns: u64) -> Result<T, Failure> {
        match self.hear(until_ns)? {
            Heard::Said(said) => Ok(said),
            Heard::Nothing => Err(Failure::new(format_args!("the {}", self.role), "takes too long")),
            Heard::End => Err(Failure::new(format_args!("the {}", self.role), "ended without a word")),
        }
    }
}

/// What was heard of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard<T> {
    Said(T),
    /// Not a word so far.
    Nothing,
    /// Its output is at its end.
    End,
}

/// Makes a directory of the user's.
pub(crate) fn make_directory_at(path: &Path) -> Result<PathBuf, Failure> {
    let fail = |error| Failure::new(format_args!("cannot make {}", path.display()), error);
    std::fs::create_dir_all(path).map_err(fail)?;
    std::path::absolute(path).map_err(fail)
}
