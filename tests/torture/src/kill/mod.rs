//! SIGKILL, again and again on one store, of a real process with real threads on a real file system.
//!
//! The child reports over a pipe what it finds and which operations have returned; the parent only listens, predicts, and kills. A case is a series of
//! kills: restart follows on restart, a torn tail on a torn tail, with nobody tidying up in between. When a child is hit is up to the machine, so a case
//! that is run again makes the same operations, but is not cut at the same places.
//!
//! `child` is the process that dies, `oracle` knows what may survive of each thread's operations.

mod child;
mod oracle;

use crate::mode::Cases;
use crate::report::Tally;
use crate::rng::Rng;
use crate::runner::{Options, now};
use crate::values::{key_bytes, version_of};
pub use child::{CHILD_COMMAND, serve_child};
use emberlog::{Builder, Cache, Durability, QuietWindows};
use oracle::Oracle;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Threads of the child that own a quarter of the keys each.
const THREADS: u64 = 4;
const KEYS_PER_THREAD: u64 = 300;
const BUFFER_BYTES: u64 = 64 << 10;
/// Kills in a case.
pub(crate) const KILLS_PER_CASE: u64 = 10;
/// A report: kind, subject (thread or key), number (step, version or count).
const RECORD_LEN: usize = 24;

const FOUND: u64 = 1;
const TOLD_ALL: u64 = 2;
const DONE: u64 = 3;
const NOT_TAKEN: u64 = 4;

/// What one child is to do.
#[derive(Debug, Clone, Copy)]
struct Job {
    durability: Durability,
    /// How many of the four threads write; one of four cases is of one thread alone.
    threads: u64,
    seed: u64,
    round: u64,
}

fn settings(durability: Durability) -> Builder {
    // Tiny: segments retire all the time, entries leave memory at once, and some records reach the disk tier only. Windows that are always open let
    // maintenance append again as much as it can.
    Cache::builder()
        .memory_bytes(1 << 20)
        .append_buffer_bytes(BUFFER_BYTES)
        .disk_bytes(1 << 20)
        .segment_len_bytes(64 << 10)
        .shards(4)
        .quiet_windows(QuietWindows::Always)
        .durability(durability)
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Written => "written",
        Durability::Synced => "synced",
        _ => "buffered",
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Kill {
    seed: u64,
    runs: u64,
    program: Option<PathBuf>,
}

impl Kill {
    pub(crate) fn new(options: &Options) -> Self {
        Self { seed: options.seed, runs: options.effort.of(50, 2_000), program: options.program.clone() }
    }
}

impl Cases for Kill {
    fn count(&self) -> Option<u64> {
        None
    }

    fn runs(&self) -> u64 {
        self.runs
    }

    fn is_parallel(&self) -> bool {
        // The child has threads enough, and what a kill hits is decided by time.
        false
    }

    fn run(&self, case: u64, tally: &mut Tally) {
        let Some(program) = &self.program else {
            tally.skipped.push("kill: no program to turn into the child".to_owned());
            return;
        };
        let durability =
            [Durability::Buffered, Durability::Written, Durability::Buffered, Durability::Synced][case as usize % 4];
        let threads = if case / 4 % 4 == 3 { 1 } else { THREADS };
        // A kill needs no medium: where syncs cost nothing, there is more between two kills.
        let directory = fast_directory().expect("there is a place for temporary directories");
        let path = directory.path().join("store");
        let mut numbers = Rng::of_case(self.seed, case);
        let seed = numbers.next();
        let mut oracles: Vec<Oracle> = (0..THREADS).map(|thread| Oracle::new(seed, thread, durability)).collect();
        for round in 1..=KILLS_PER_CASE {
            let from_first_operation = numbers.below(4) != 0;
            let delay = Duration::from_micros(numbers.below(if from_first_operation { 60_000 } else { 25_000 }));
            let job = Job { durability, threads, seed, round };
            let (report, heard) = run_and_kill(program, &path, job, from_first_operation, delay);
            let what = format!("{}, {threads} threads, kill {round}", durability_name(durability));
            check(&mut oracles, &report, &what, tally);
            if report.told_all {
                for (oracle, (reported, times)) in oracles.iter_mut().zip(report.done.iter().zip(heard)) {
                    oracle.killed(round, *reported, times, report.killed_at);
                }
            }
        }
        let what = format!("{}, {threads} threads, after the last kill", durability_name(durability));
        check(&mut oracles, &look(&path, durability), &what, tally);
        check(&mut oracles, &look(&path, durability), &format!("{what} and a close"), tally);
    }
}

/// A directory where syncs cost nothing, if there is such a place.
fn fast_directory() -> io::Result<tempfile::TempDir> {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }
}

/// What one child reported before it died.
#[derive(Debug)]
struct Report {
    found: Vec<(u64, u64)>,
    told_all: bool,
    /// Last step reported, by thread.
    done: [u64; THREADS as usize],
    killed_at: Instant,
}

impl Report {
    fn new() -> Self {
        Self { found: Vec::new(), told_all: false, done: [0; THREADS as usize], killed_at: now() }
    }
}

/// When the last reports of a thread were heard, the newest last.
type Heard = VecDeque<Instant>;

/// Reports whose times are kept: more than a buffer holds.
const HEARD_MAX: usize = 4096;

#[allow(clippy::disallowed_methods, reason = "a listener that is joined below")]
/// Runs a child and kills it `delay` after its start, or after its first operation.
fn run_and_kill(
    program: &Path,
    store: &Path,
    job: Job,
    from_first_operation: bool,
    delay: Duration,
) -> (Report, [Heard; THREADS as usize]) {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut child = Command::new(program)
        .arg(CHILD_COMMAND)
        .args([
            durability_name(job.durability),
            &job.threads.to_string(),
            &job.seed.to_string(),
            &job.round.to_string(),
        ])
        .arg(store)
        .stdin(Stdio::from(writer))
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let (first_operation, started) = mpsc::channel();
    let (ended, end) = mpsc::channel::<()>();
    let listener = std::thread::spawn(move || {
        let _ended = ended;
        let mut report = Report::new();
        let mut heard: [Heard; THREADS as usize] = Default::default();
        let mut record = [0; RECORD_LEN];
        while reader.read_exact(&mut record).is_ok() {
            let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
            let (kind, subject, number) = (word(0), word(8), word(16));
            match kind {
                FOUND => report.found.push((subject, number)),
                TOLD_ALL => report.told_all = true,
                DONE => {
                    let _ = first_operation.send(());
                    let done = &mut report.done[subject as usize];
                    assert_eq!(number, *done + 1, "reports of a thread come in order");
                    *done = number;
                    let heard = &mut heard[subject as usize];
                    heard.push_back(now());
                    if heard.len() > HEARD_MAX {
                        heard.pop_front();
                    }
                }
                _ => panic!("thread {subject}: the disk tier refused the value of step {number}"),
            }
        }
        (report, heard)
    });
    if from_first_operation {
        let _ = started.recv_timeout(Duration::from_secs(30));
    }
    // The wait ends early if the child does.
    let by_itself = end.recv_timeout(delay) == Err(mpsc::RecvTimeoutError::Disconnected);
    let killed_at = now();
    let _ = child.kill();
    let status = child.wait().expect("it was started");
    assert!(!by_itself, "the child ended by itself: {status}");
    match listener.join() {
        Ok((report, heard)) => (Report { killed_at, ..report }, heard),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn check(oracles: &mut [Oracle], report: &Report, what: &str, tally: &mut Tally) {
    for &(key, version) in &report.found {
        let checked = oracles[(key / KEYS_PER_THREAD) as usize].found(key, version);
        checked.unwrap_or_else(|violation| panic!("{violation} ({what})"));
    }
    if report.told_all {
        let lost: u64 = oracles.iter().map(Oracle::lost_bytes).sum();
        let lost_ms = oracles.iter().map(Oracle::lost_ms).max().unwrap_or(0);
        assert!(lost <= BUFFER_BYTES, "a kill lost {lost} bytes, more than the append buffer ({what})");
        tally.lost(lost, lost_ms);
        tally.state(report.found.len() as u64);
        oracles.iter_mut().for_each(|oracle| oracle.settle(&report.found));
    }
}

/// Opens a store here, reads all of it, recounts it and closes it.
fn look(path: &Path, durability: Durability) -> Report {
    let cache = settings(durability).open(path).unwrap_or_else(|error| panic!("a killed store opens: {error}"));
    let mut report = Report { told_all: true, ..Report::new() };
    for key in 0..THREADS * KEYS_PER_THREAD {
        if let Some(value) = cache.get(key_bytes(key)) {
            report.found.push((key, version_of(key, &value)));
        }
    }
    let recovery = cache.stats().recovery.expect("with a disk tier");
    assert_eq!(recovery.forgotten_older + recovery.forgotten_keys, 0, "a kill damages nothing: {recovery:?}");
    cache.validate();
    cache.close().unwrap_or_else(|error| panic!("a sound store closes: {error}"));
    report
}
