//! The example as a user starts it: what it promises, what it leaves behind, however it ends.
//!
//! One run at a time: they measure latencies, and would be each other's load.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The example, with its temporary files in a directory of the test's.
fn example(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warm_service"));
    command.env("TMPDIR", temporary).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end. Gives the page with what it said meanwhile below, and the exit code.
fn run(temporary: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = example(temporary, arguments).output().unwrap();
    (String::from_utf8(stdout).unwrap() + &String::from_utf8_lossy(&stderr), status.code())
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_short_run_keeps_its_promises_and_leaves_nothing_behind() {
    let (_turn, temporary) = (turn(), tempfile::tempdir().unwrap());
    // Little skew and a slow origin, so that a second is not enough to get warm again.
    let mut arguments = vec!["--shops", "6", "--orders", "20000", "--memory-kib", "4096", "--disk-kib", "16384"];
    arguments.extend(["--rate", "300", "--skew", "0.3", "--fill", "100", "--before", "2", "--after", "3"]);
    let (page, code) = run(temporary.path(), &arguments);
    assert_eq!(code, Some(0), "{page}");
    assert_eq!(page.matches("  ✓ ").count(), 5, "every promise is on the page");
    assert!(!page.contains('✗'));
    let seconds: Vec<&str> = page.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for second in ["-2", "-1", "+1", "+2"] {
        assert!(seconds.contains(&second), "the page has second {second}");
    }
    assert!(is_empty(temporary.path()), "the temporary directory is gone");
}

#[test]
fn a_promise_that_is_not_kept_is_marked_and_is_the_exit_code() {
    let (_turn, temporary) = (turn(), tempfile::tempdir().unwrap());
    let dir = temporary.path().join("kept");
    // Nearly all requests are for a handful of reports, so that the control is warm again at once.
    let mut arguments = vec!["--dir", dir.to_str().unwrap(), "--shops", "1", "--orders", "365", "--skew", "3"];
    arguments.extend(["--rate", "100", "--before", "2", "--after", "2", "--memory-kib", "4096", "--disk-kib", "16384"]);
    let (page, code) = run(temporary.path(), &arguments);
    assert_eq!(code, Some(1), "{page}");
    assert!(page.lines().any(|line| line.starts_with("  ✗ without the disk tier")));
    assert!(page.contains("  ✓ warm: hit ratio"), "the others are judged for themselves");
    assert!(dir.join("shop.db").is_file() && dir.join("cache").is_dir(), "a directory of the user's stays");
}

/// A run that is far from its end, with both of its children.
struct Running {
    supervisor: Child,
    children: Vec<Pid>,
}

/// Starts one and waits until the cache is being filled; what follows takes 15 s.
fn begin(temporary: &Path) -> Running {
    let arguments = ["--shops", "1", "--orders", "5000", "--memory-kib", "4096", "--disk-kib", "16384"];
    let mut supervisor = example(temporary, &arguments).spawn().unwrap();
    let mut told = BufReader::new(supervisor.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("filling the cache")), "it tells what it does");
    let pid = supervisor.id();
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<Pid> =
        listed.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    assert_eq!(children.len(), 2, "a service and a load");
    assert!(!is_empty(temporary), "and a directory");
    Running { supervisor, children }
}

/// Waits until a process is gone; fails if it stays.
fn gone(pid: Pid) {
    // An error says that there is no such process: gone already.
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(ended, 1, "process {pid:?} lives on");
    }
}

fn ends(running: Running) -> ExitStatus {
    let Running { mut supervisor, children } = running;
    children.into_iter().for_each(gone);
    supervisor.wait().unwrap()
}

#[test]
fn an_interrupt_ends_the_children_and_takes_the_directory_away() {
    for signal in [Signal::INT, Signal::TERM] {
        let (_turn, temporary) = (turn(), tempfile::tempdir().unwrap());
        let running = begin(temporary.path());
        kill_process(Pid::from_child(&running.supervisor), signal).unwrap();
        assert_eq!(ends(running).code(), Some(130), "{signal:?}");
        assert!(is_empty(temporary.path()), "{signal:?}: the temporary directory is gone");
    }
}

#[test]
fn children_end_with_a_supervisor_that_was_killed() {
    let (_turn, temporary) = (turn(), tempfile::tempdir().unwrap());
    let mut running = begin(temporary.path());
    running.supervisor.kill().unwrap();
    assert_eq!(ends(running).code(), None, "it was a signal");
}

#[test]
fn a_child_that_fails_ends_the_run_and_leaves_nothing_behind() {
    for number in [0, 1] {
        let (_turn, temporary) = (turn(), tempfile::tempdir().unwrap());
        let running = begin(temporary.path());
        kill_process(running.children[number], Signal::KILL).unwrap();
        assert_eq!(ends(running).code(), Some(2), "child {number}");
        assert!(is_empty(temporary.path()), "child {number}: the temporary directory is gone");
    }
}
