//! SIGKILL, again and again on one store. The child reports over a pipe; the parent only listens, predicts, and kills.
//!
//! Four threads of the child own a quarter of the keys each, so the order of each key's operations is known. Operations follow from seed, round,
//! thread and step, so a report is a step number, and at most the one operation behind the last report may or may not have happened. Each child
//! first tells what it finds: restart follows on restart, a torn tail on a torn tail, with nobody tidying up in between.
//!
//! What survives of a thread's operations must be a prefix of them: for each thread there is one step such that every key shows its state at that
//! step, or nothing (evicted). With `Written` and `Synced` that step is the last one reported, or the one behind it.

use crate::help::{self, Rng, key_bytes};
use emberlog::{Builder, Cache, Durability};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

const THREADS: u64 = 4;
const KEYS_PER_THREAD: u64 = 300;
const BUFFER_BYTES: u64 = 64 << 10;
/// A report: kind, subject (thread or key), number (step, version or count).
const RECORD_LEN: usize = 24;

const FOUND: u64 = 1;
const TOLD_ALL: u64 = 2;
const DONE: u64 = 3;
const NOT_TAKEN: u64 = 4;
const RETIRED: u64 = 5;

#[derive(Debug, Clone, Copy)]
struct Op {
    key: u64,
    /// `None`: a remove.
    len: Option<usize>,
    version: u64,
}

impl Op {
    fn of(seed: u64, round: u64, thread: u64, step: u64) -> Self {
        let mut numbers = Rng::new(seed ^ round.rotate_left(48) ^ thread.rotate_left(40) ^ step);
        // A third of the keys takes most of the operations, so that overwrites come both soon and late.
        let range = if numbers.below(3) == 0 { KEYS_PER_THREAD } else { KEYS_PER_THREAD / 3 };
        let key = thread * KEYS_PER_THREAD + numbers.below(range);
        let len = match numbers.below(100) {
            0..=14 => None,
            15..=17 => Some(4_000 + numbers.below(6_000) as usize),
            _ => Some(16 + numbers.below(900) as usize),
        };
        Self { key, len, version: round << 32 | step }
    }

    fn state(&self) -> Option<u64> {
        self.len.map(|_| self.version)
    }

    /// What it takes in the append buffer at least.
    fn bytes(&self) -> u64 {
        24 + self.len.map_or(0, |len| len as u64 + 8)
    }
}

fn settings(durability: Durability) -> Builder {
    // Tiny: segments retire all the time, entries leave memory at once, and some records reach the disk tier only.
    Cache::builder()
        .memory_bytes(1 << 20)
        .append_buffer_bytes(BUFFER_BYTES)
        .disk_bytes(1 << 20)
        .segment_len_bytes(64 << 10)
        .shards(4)
        .durability(durability)
}

fn durability_of(name: &str) -> Durability {
    match name {
        "written" => Durability::Written,
        "synced" => Durability::Synced,
        _ => Durability::Buffered,
    }
}

#[test]
#[ignore = "the child of the tests below; does nothing without them"]
fn child() {
    let Some(job) = help::job() else { return };
    let mut parts = job.splitn(4, ' ');
    let durability = durability_of(parts.next().unwrap());
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    let (seed, round) = (number(), number());
    let cache = settings(durability).open(parts.next().unwrap()).unwrap();
    let tell = |kind: u64, subject: u64, number: u64| {
        let mut record = [0; RECORD_LEN];
        for (word, bytes) in [kind, subject, number].iter().zip(record.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        help::tell(&record);
    };
    for key in 0..THREADS * KEYS_PER_THREAD {
        // Both ways of looking, since one of them moves entries between the tiers.
        let value = if key % 2 == 0 { cache.get(key_bytes(key)) } else { cache.peek(key_bytes(key)) };
        if let Some(value) = value {
            tell(FOUND, key, help::version_of(key, &value));
        }
    }
    tell(TOLD_ALL, 0, 0);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                for step in 1.. {
                    let op = Op::of(seed, round, thread, step);
                    let taken = match op.len {
                        Some(len) => {
                            let value = help::value_of(op.key, op.version, len);
                            cache.insert(key_bytes(op.key), value).disk.is_stored()
                        }
                        None => {
                            cache.remove(key_bytes(op.key));
                            true
                        }
                    };
                    tell(if taken { DONE } else { NOT_TAKEN }, thread, step);
                    if step % 16 == 0 {
                        tell(RETIRED, 0, cache.stats().disk.unwrap().segments_retired);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What one child reported before it died.
#[derive(Debug, Default)]
struct Report {
    found: Vec<(u64, u64)>,
    told_all: bool,
    /// Last step reported, by thread.
    done: [u64; THREADS as usize],
    /// Segments retired since it opened the store.
    retired: u64,
}

/// Runs a child and kills it `delay` after its start, or after its first operation.
fn run_and_kill(job: &str, from_first_operation: bool, delay: Duration) -> Report {
    let (mut child, mut reader) = help::start_child("kill::child", job);
    let (first_operation, started) = mpsc::channel();
    let (ended, end) = mpsc::channel::<()>();
    let listener = std::thread::spawn(move || {
        let _ended = ended;
        let mut report = Report::default();
        let mut record = [0; RECORD_LEN];
        while reader.read_exact(&mut record).is_ok() {
            let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
            let (kind, subject, number) = (word(0), word(8), word(16));
            match kind {
                FOUND => report.found.push((subject, number)),
                TOLD_ALL => report.told_all = true,
                RETIRED => report.retired = report.retired.max(number),
                DONE => {
                    let _ = first_operation.send(());
                    let done = &mut report.done[subject as usize];
                    assert_eq!(number, *done + 1, "reports of a thread come in order");
                    *done = number;
                }
                _ => panic!("thread {subject}: the disk tier refused the value of step {number}"),
            }
        }
        report
    });
    if from_first_operation {
        let _ = started.recv_timeout(Duration::from_secs(30));
    }
    // The wait ends early if the child does.
    let by_itself = end.recv_timeout(delay) == Err(mpsc::RecvTimeoutError::Disconnected);
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(!by_itself, "the child ended by itself: {status}");
    listener.join().unwrap()
}

/// What one key may hold.
type States = BTreeSet<u64>;

/// What the parent knows of one thread's keys.
#[derive(Debug)]
struct Oracle {
    seed: u64,
    thread: u64,
    durability: Durability,
    /// Before the round: versions that each key may show, beside none.
    before: Vec<States>,
    round: u64,
    /// Operations that may have happened in the round, and how many of them were reported.
    ops: Vec<Op>,
    reported: u64,
    /// The prefix of `ops` that survived is this long at least and at most.
    shortest: u64,
    longest: u64,
}

impl Oracle {
    fn new(seed: u64, thread: u64, durability: Durability) -> Self {
        let before = vec![States::new(); KEYS_PER_THREAD as usize];
        Self { seed, thread, durability, before, round: 0, ops: Vec::new(), reported: 0, shortest: 0, longest: 0 }
    }

    /// A round ended by a kill.
    fn killed(&mut self, round: u64, reported: u64) {
        self.round = round;
        self.ops = (1..=reported + 1).map(|step| Op::of(self.seed, round, self.thread, step)).collect();
        self.reported = reported;
        self.longest = reported + 1;
        self.shortest = if self.durability == Durability::Buffered { 0 } else { reported };
    }

    /// A key shows a version: that narrows down which prefix survived.
    fn found(&mut self, key: u64, version: u64) -> Result<(), String> {
        let of_key: Vec<u64> = self.ops.iter().zip(1..).filter(|(op, _)| op.key == key).map(|(_, step)| step).collect();
        let (from, until) = match of_key.iter().position(|&step| self.ops[step as usize - 1].state() == Some(version)) {
            Some(at) => (of_key[at], of_key.get(at + 1)),
            None if self.before[(key % KEYS_PER_THREAD) as usize].contains(&version) => (0, of_key.first()),
            None => {
                return Err(format!(
                    "key {key} shows version {:#x}, which was overwritten or removed before round {}, or never inserted; allowed was {:x?}",
                    version,
                    self.round,
                    self.before[(key % KEYS_PER_THREAD) as usize]
                ));
            }
        };
        let until = until.map_or(u64::MAX, |&step| step - 1);
        self.shortest = self.shortest.max(from);
        self.longest = self.longest.min(until);
        if self.shortest > self.longest {
            return Err(format!(
                "thread {} in round {}: no prefix of its {} operations ({} reported) explains what its keys show: key {key} at version {version:#x} is the state of steps {from}..={until}, others need {} at least and {} at most",
                self.thread,
                self.round,
                self.ops.len(),
                self.reported,
                self.shortest,
                self.longest
            ));
        }
        Ok(())
    }

    /// Bytes of reported operations that are lost for sure.
    fn lost_bytes(&self) -> u64 {
        let lost = self.longest.min(self.reported) as usize..self.reported as usize;
        self.ops[lost].iter().map(Op::bytes).sum()
    }

    /// All that the next child found is told: what each key may hold from here on.
    fn settle(&mut self, found: &[(u64, u64)]) {
        let sure = self.shortest as usize;
        for op in &self.ops[..sure] {
            self.before[(op.key % KEYS_PER_THREAD) as usize] = op.state().into_iter().collect();
        }
        for op in &self.ops[sure..self.longest as usize] {
            self.before[(op.key % KEYS_PER_THREAD) as usize].extend(op.state());
        }
        for &(key, version) in found.iter().filter(|(key, _)| key / KEYS_PER_THREAD == self.thread) {
            self.before[(key % KEYS_PER_THREAD) as usize] = States::from([version]);
        }
        self.ops.clear();
        (self.reported, self.shortest, self.longest) = (0, 0, 0);
    }
}

/// Everything that a series of kills saw.
#[derive(Debug, Default)]
struct Seen {
    found: u64,
    acknowledged: u64,
    lost_rounds: u64,
    retired: u64,
}

fn check(oracles: &mut [Oracle], report: &Report, what: &str, seen: &mut Seen) {
    for &(key, version) in &report.found {
        let checked = oracles[(key / KEYS_PER_THREAD) as usize].found(key, version);
        checked.unwrap_or_else(|violation| panic!("{violation} ({what})"));
    }
    if report.told_all {
        let lost: u64 = oracles.iter().map(Oracle::lost_bytes).sum();
        assert!(lost <= BUFFER_BYTES, "a kill lost {lost} bytes, more than the append buffer ({what})");
        seen.lost_rounds += u64::from(lost > 0);
        seen.found += report.found.len() as u64;
        oracles.iter_mut().for_each(|oracle| oracle.settle(&report.found));
    }
}

fn kill_again_and_again(name: &str, kills: u64) -> Seen {
    let seed = help::seed();
    let durability = durability_of(name);
    // A kill needs no medium: where syncs cost nothing, there is more between two kills. The others stay on the file system of the machine.
    let directory = match durability {
        Durability::Buffered => help::fast_directory(),
        _ => tempfile::tempdir().unwrap(),
    };
    let path = directory.path().join("store");
    let mut oracles: Vec<Oracle> = (0..THREADS).map(|thread| Oracle::new(seed, thread, durability)).collect();
    let mut numbers = Rng::new(seed);
    let mut seen = Seen::default();
    for round in 1..=kills {
        let from_first_operation = numbers.below(4) != 0;
        let delay = Duration::from_micros(numbers.below(if from_first_operation { 60_000 } else { 25_000 }));
        let what = format!("EMBERLOG_SEED={seed}, {name}, round {round} of {kills}");
        let job = format!("{name} {seed} {round} {}", path.display());
        let report = run_and_kill(&job, from_first_operation, delay);
        check(&mut oracles, &report, &what, &mut seen);
        if report.told_all {
            seen.retired += report.retired;
            seen.acknowledged += report.done.iter().sum::<u64>();
            for (oracle, reported) in oracles.iter_mut().zip(report.done) {
                oracle.killed(round, reported);
            }
        }
    }
    let what = format!("EMBERLOG_SEED={seed}, {name}, after {kills} kills");
    check(&mut oracles, &look(&path, durability), &what, &mut seen);
    check(&mut oracles, &look(&path, durability), &format!("{what} and a close"), &mut seen);
    seen
}

/// Opens a store here, reads all of it, recounts it and closes it.
fn look(path: &Path, durability: Durability) -> Report {
    let cache = settings(durability).open(path).unwrap();
    let mut report = Report { told_all: true, ..Report::default() };
    for key in 0..THREADS * KEYS_PER_THREAD {
        if let Some(value) = cache.get(key_bytes(key)) {
            report.found.push((key, help::version_of(key, &value)));
        }
    }
    let recovery = cache.stats().recovery.unwrap();
    assert_eq!(recovery.forgotten_older + recovery.forgotten_keys, 0, "a kill damages nothing: {recovery:?}");
    cache.validate();
    cache.close().unwrap();
    report
}

#[test]
fn a_kill_undoes_nothing_that_was_written() {
    let kills = help::env_or("EMBERLOG_KILLS", 100);
    let seen = kill_again_and_again("written", kills);
    assert!(seen.found > kills * 100, "most of the store is there after a kill: {seen:?}");
    assert!(seen.acknowledged > kills * 100, "much was acknowledged before the kills: {seen:?}");
    assert!(seen.retired > kills, "segments retired under the kills: {seen:?}");
    assert_eq!(seen.lost_rounds, 0);
}

#[test]
fn a_kill_leaves_a_prefix_of_what_was_buffered() {
    let kills = help::env_or("EMBERLOG_KILLS", 100) * 3 / 5;
    let seen = kill_again_and_again("buffered", kills);
    assert!(seen.found > kills * 100, "most of the store is there after a kill: {seen:?}");
    assert!(seen.acknowledged > kills * 100, "much was acknowledged before the kills: {seen:?}");
    assert!(seen.retired > kills, "segments retired under the kills: {seen:?}");
    assert!(seen.lost_rounds > 0, "the buffer was caught full now and then, or this shows nothing: {seen:?}");
}

#[test]
fn a_kill_undoes_nothing_that_was_synced() {
    let kills = help::env_or("EMBERLOG_KILLS", 100) / 4;
    let seen = kill_again_and_again("synced", kills);
    assert!(seen.found > kills * 20, "most of the store is there after a kill: {seen:?}");
    assert_eq!(seen.lost_rounds, 0);
}
