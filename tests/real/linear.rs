//! Linearizability of keys, both tiers together, while everything evicts.
//!
//! A key is a register that may lose its value at any moment but never gets an older one back. Memory and disk are tiny, so that the keys watched
//! are evicted, retired, reinserted and promoted all the time by fillers.
//!
//! - One writer per key: operations are numbered, so a read is checked on the spot against a floor: no value numbered below it may be seen any more.
//!   The floor rises when an operation completes, when anybody saw a value (later reads see it or a newer one), when anybody saw none (what was
//!   complete before that read is gone for good), and when all was invalidated.
//! - Several writers per key: every operation is recorded with the times around it, and the history is checked afterwards.

use crate::gate::{GateDisk, Passes};
use crate::help::{self, Rng, key_bytes, settings};
use emberlog::{Builder, Cache, Durability, QuietWindows, ReadMode, Stats, WhenBehind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Some times what the tiers hold, so that all is pushed out; not many times, or hardly any would be asked for twice while it is on disk.
const FILLERS: u64 = 3_000;

fn duration() -> Duration {
    Duration::from_millis(help::env_or("EMBERLOG_LINEAR_MS", 2_000))
}

/// Reads by calls that can be slowed, so that what happens between finding a record and promoting it has time to go wrong.
fn slow_reads() -> Builder {
    settings().read_mode(ReadMode::Pread)
}

fn some_len(numbers: &mut Rng) -> usize {
    match numbers.below(20) {
        0 => 4_000 + numbers.below(4_000) as usize,
        // More than memory takes: such a value is on disk only.
        1 => 30_000 + numbers.below(10_000) as usize,
        _ => 16 + numbers.below(600) as usize,
    }
}

/// Inserts and reads other keys, so that the watched ones are pushed out of both tiers.
fn fill(cache: &Cache, numbers: &mut Rng) {
    let key = 1_000_000 + numbers.below(FILLERS);
    if numbers.below(2) == 0 {
        cache.insert(key_bytes(key), help::value_of(key, 1, 16 + numbers.below(1_500) as usize));
    } else if let Some(value) = cache.get(key_bytes(key)) {
        assert_eq!(help::version_of(key, &value), 1);
    }
}

/// Reads a key in one of the three ways.
fn read(cache: &Cache, key: u64, numbers: &mut Rng) -> Option<u64> {
    match numbers.below(4) {
        0 => cache.peek(key_bytes(key)).map(|value| help::version_of(key, &value)),
        1 => cache.read(key_bytes(key), |value| help::version_of(key, value)),
        _ => cache.get(key_bytes(key)).map(|value| help::version_of(key, &value)),
    }
}

/// What has to happen, or the history shows nothing.
fn counts(cache: &Cache) -> [(u64, &'static str); 7] {
    let stats = cache.stats();
    let (disk, windows) = (stats.disk.expect("with a disk tier"), stats.windows.expect("with a disk tier"));
    [
        (stats.memory.hits, "hits in memory"),
        (disk.hits, "hits on disk"),
        (stats.requests.misses, "misses"),
        (stats.memory.evicted, "evictions"),
        (stats.memory.promotions, "promotions"),
        (disk.segments_retired, "segments retired"),
        // Only where one is open all the time; no load that goes on looks quiet.
        (if windows.is_open { windows.records_moved } else { u64::MAX }, "records moved in a window"),
    ]
}

/// Whether it is time to stop: late enough, and enough happened and was seen. A busy machine gets more time.
fn is_over(cache: &Cache, end: Instant, is_enough_seen: impl FnOnce() -> bool) -> bool {
    let now = Instant::now();
    let has_happened = || counts(cache).iter().all(|(count, _)| *count > 10);
    now > end && (now > end + Duration::from_secs(20) || (is_enough_seen() && has_happened()))
}

fn assert_that_much_happened(cache: &Cache, what: &str) {
    let disk = cache.stats().disk.expect("with a disk tier");
    assert!(disk.is_on, "{what}: {:?}", disk.off_because);
    assert_eq!(disk.damaged_records, 0, "{what}: records that do not verify");
    for (count, name) in counts(cache) {
        assert!(count > 10, "{what}: {count} {name} show nothing");
    }
}

/// One key with one writer.
#[derive(Debug, Default)]
struct Watched {
    /// Number of the last operation that started.
    started: AtomicU64,
    /// Number of the last operation that completed.
    completed: AtomicU64,
    /// Number of the last operation that took effect for sure: it completed, or its value was seen.
    effective: AtomicU64,
    /// No value numbered below may be seen by a read that starts now.
    floor: AtomicU64,
}

impl Watched {
    fn raise(&self, floor: u64) {
        self.floor.fetch_max(floor, Ordering::SeqCst);
    }

    fn took_effect(&self, number: u64) {
        self.effective.fetch_max(number, Ordering::SeqCst);
        self.raise(number);
    }
}

fn one_writer_per_key(
    settings: Builder,
    reads: Passes,
    key_count: u64,
    reader_count: u64,
    with_clears: bool,
    what: &str,
) -> Stats {
    let seed = help::seed();
    let directory = help::fast_directory();
    let (disk, gates) = GateDisk::new(&directory.path().join("store"));
    gates.reads.set(reads);
    let cache = settings.open_on(disk).unwrap();
    let watched: Vec<Watched> = (0..key_count).map(|_| Watched::default()).collect();
    let stop = AtomicBool::new(false);
    let (cache, watched, stop) = (&cache, &watched[..], &stop);
    let going = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        // A panic anywhere ends all threads, so that the test ends.
        let worker = |number: u64, body: &dyn Fn(&mut Rng)| {
            let mut numbers = Rng::new(seed ^ number << 32);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                while going() {
                    body(&mut numbers);
                }
            }));
            stop.store(true, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        };
        scope.spawn(move || {
            worker(1, &|numbers| {
                let key = numbers.below(key_count);
                let state = &watched[key as usize];
                let number = state.started.load(Ordering::SeqCst) + 1;
                state.started.store(number, Ordering::SeqCst);
                if numbers.below(8) == 0 {
                    cache.remove(key_bytes(key));
                } else {
                    cache.insert(key_bytes(key), help::value_of(key, number, some_len(numbers)));
                }
                state.completed.store(number, Ordering::SeqCst);
                state.took_effect(number);
                // Time for the others to push it out.
                for _ in 0..numbers.below(40) {
                    fill(cache, numbers);
                }
            });
        });
        for reader in 0..reader_count {
            scope.spawn(move || {
                worker(10 + reader, &|numbers| {
                    let key = numbers.below(key_count);
                    let state = &watched[key as usize];
                    let effective = state.effective.load(Ordering::SeqCst);
                    let floor = state.floor.load(Ordering::SeqCst);
                    let seen = read(cache, key, numbers);
                    let started = state.started.load(Ordering::SeqCst);
                    if let Some(version) = seen {
                        assert!(
                            version >= floor,
                            "EMBERLOG_SEED={seed}, {what}: key {key}: {version} was seen after {floor} was the least possible"
                        );
                        assert!(version <= started, "EMBERLOG_SEED={seed}, {what}: key {key}: {version} before its insert");
                        state.took_effect(version);
                    } else {
                        state.raise(effective + 1);
                    }
                    if numbers.below(3) == 0 {
                        fill(cache, numbers);
                    }
                });
            });
        }
        scope.spawn(move || {
            let end = Instant::now() + duration();
            worker(2, &|numbers| {
                for _ in 0..200 {
                    fill(cache, numbers);
                }
                if with_clears && numbers.below(20) == 0 {
                    let before: Vec<u64> = watched.iter().map(|state| state.completed.load(Ordering::SeqCst)).collect();
                    cache.invalidate_all();
                    watched.iter().zip(before).for_each(|(state, number)| state.raise(number + 1));
                }
                if is_over(cache, end, || true) {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        });
    });
    assert_that_much_happened(cache, what);
    cache.validate();
    for (key, state) in watched.iter().enumerate() {
        let last = state.completed.load(Ordering::SeqCst);
        let seen = cache.get(key_bytes(key as u64)).map(|value| help::version_of(key as u64, &value));
        assert!(seen.is_none_or(|version| version == last), "{what}: at rest key {key} is {seen:?}, not {last}");
    }
    cache.stats()
}

#[test]
fn one_key_never_goes_back_while_everything_evicts() {
    help::must_end("one key", || one_writer_per_key(settings(), Passes::Yes, 1, 2, false, "one key"));
}

#[test]
fn a_few_keys_never_go_back_when_all_is_invalidated_now_and_then() {
    help::must_end("five keys, cleared", || {
        one_writer_per_key(slow_reads(), Passes::Slowly, 5, 4, true, "five keys, cleared")
    });
}

#[test]
fn a_few_keys_never_go_back_when_the_writer_is_behind_and_drops() {
    help::must_end("three keys, dropping", || {
        one_writer_per_key(settings().when_behind(WhenBehind::Drop), Passes::Yes, 3, 3, true, "three keys, dropping")
    });
}

#[test]
fn a_few_keys_never_go_back_with_every_insert_waiting_for_its_write() {
    help::must_end("four keys, written", || {
        one_writer_per_key(settings().durability(Durability::Written), Passes::Yes, 4, 2, false, "four keys, written")
    });
}

#[test]
fn a_few_keys_never_go_back_while_a_window_is_open_all_the_time() {
    // An index for all that the disk has room for, or segments go for its sake, and nothing is worth moving.
    let settings = || {
        let sizes = settings().memory_bytes(1000 << 10).disk_bytes(2 << 20).disk_index_bytes(64 << 10);
        sizes.quiet_windows(QuietWindows::Always).reinsert_percent(100).write_overhead_percent(1000)
    };
    let stats = help::must_end("windows", move || {
        one_writer_per_key(settings(), Passes::Yes, 4, 2, false, "four keys in a window");
        let slowly = settings().read_mode(ReadMode::Pread);
        one_writer_per_key(slowly, Passes::Slowly, 4, 2, true, "four keys in a window, cleared")
    });
    let windows = stats.windows.expect("with a disk tier");
    assert!(windows.is_open && windows.bytes_moved > 0, "{windows:?}");
}

// -- several writers

#[derive(Debug, Clone, Copy)]
enum What {
    /// An insert of this value, or a remove.
    Wrote(Option<u64>),
    /// A read that found this value, or none.
    Read(Option<u64>),
}

/// An operation on one key with the times around it.
#[derive(Debug, Clone, Copy)]
struct Event {
    key: u64,
    start: u64,
    end: u64,
    what: What,
}

/// Checks a history of one key: each value read was written by an insert that began before the read ended, and no other write both began after
/// that insert ended and ended before the read began. Returns the first read that is not so.
fn first_violation(events: &[Event]) -> Option<(Event, &'static str)> {
    let mut writes: Vec<(Event, Option<u64>)> = events
        .iter()
        .filter_map(|event| match event.what {
            What::Wrote(value) => Some((*event, value)),
            What::Read(_) => None,
        })
        .collect();
    let inserts: std::collections::BTreeMap<u64, Event> =
        writes.iter().filter_map(|(event, value)| value.map(|value| (value, *event))).collect();
    // By end; with each, the latest start of it and all that ended before.
    writes.sort_by_key(|(event, _)| event.end);
    let mut latest = 0;
    let latest_starts: Vec<(u64, u64)> = writes
        .iter()
        .map(|(event, _)| {
            latest = latest.max(event.start);
            (event.end, latest)
        })
        .collect();
    events.iter().find_map(|event| {
        let What::Read(Some(value)) = event.what else { return None };
        let Some(insert) = inserts.get(&value) else { return Some((*event, "its value was never inserted")) };
        if insert.start > event.end {
            return Some((*event, "its value was inserted only later"));
        }
        let before = latest_starts.partition_point(|&(end, _)| end < event.start);
        let superseded = before > 0 && latest_starts[before - 1].1 > insert.end;
        superseded.then_some((*event, "its value had been superseded before it began"))
    })
}

#[test]
fn the_check_of_histories_finds_what_it_looks_for() {
    let event = |start, end, what| Event { key: 0, start, end, what };
    let (one, two) = (event(1, 2, What::Wrote(Some(1))), event(3, 6, What::Wrote(Some(2))));
    let read = |start, end, value| event(start, end, What::Read(Some(value)));
    for (history, is_right) in [
        (vec![one, two, read(4, 5, 1), read(5, 7, 2), read(7, 8, 2)], true),
        (vec![one, two, read(4, 5, 2), read(5, 8, 1)], true),
        (vec![one, two, read(7, 8, 1)], false),
        (vec![one, two, read(1, 2, 2)], false),
        (vec![one, two, read(4, 5, 3)], false),
        (vec![one, event(3, 4, What::Wrote(None)), read(5, 6, 1)], false),
        (vec![one, event(3, 6, What::Wrote(None)), read(5, 6, 1), event(7, 8, What::Read(None))], true),
    ] {
        assert_eq!(first_violation(&history).is_none(), is_right, "{history:?}");
    }
}

/// Values that are read in a history, at least.
const FOUND_COUNT_MIN: u64 = 1_000;

fn many_writers_per_key(settings: Builder, reads: Passes, key_count: u64, thread_count: u64, what: &str) {
    let seed = help::seed();
    let directory = help::fast_directory();
    let (disk, gates) = GateDisk::new(&directory.path().join("store"));
    gates.reads.set(reads);
    let cache = settings.open_on(disk).unwrap();
    let (clock, cache) = (&AtomicU64::new(1), &cache);
    let now = move || clock.fetch_add(1, Ordering::SeqCst);
    // Values read.
    let found = &AtomicU64::new(0);
    let is_enough = move || found.load(Ordering::Relaxed) > FOUND_COUNT_MIN;
    let end = Instant::now() + duration();
    let mut events: Vec<Event> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count)
            .map(|thread| {
                scope.spawn(move || {
                    let mut numbers = Rng::new(seed ^ thread << 40);
                    let mut events = Vec::new();
                    for step in 0u64.. {
                        if step % 64 == 0 && is_over(cache, end, is_enough) {
                            break;
                        }
                        let key = numbers.below(key_count);
                        let start = now();
                        let what = match numbers.below(10) {
                            0 => {
                                cache.remove(key_bytes(key));
                                What::Wrote(None)
                            }
                            1..=3 => {
                                let version = thread << 40 | (step + 1);
                                cache.insert(key_bytes(key), help::value_of(key, version, some_len(&mut numbers)));
                                What::Wrote(Some(version))
                            }
                            _ => {
                                let seen = read(cache, key, &mut numbers);
                                found.fetch_add(seen.is_some().into(), Ordering::Relaxed);
                                What::Read(seen)
                            }
                        };
                        events.push(Event { key, start, end: now(), what });
                        for _ in 0..numbers.below(8) {
                            fill(cache, &mut numbers);
                        }
                    }
                    events
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_that_much_happened(cache, what);
    cache.validate();
    assert!(is_enough(), "{what}: {found:?} values read of {} events show nothing", events.len());
    events.sort_by_key(|event| event.key);
    for events in events.chunk_by(|one, other| one.key == other.key) {
        if let Some((event, why)) = first_violation(events) {
            let near: Vec<&Event> =
                events.iter().filter(|other| other.end + 200 > event.start && other.start < event.end + 20).collect();
            panic!("EMBERLOG_SEED={seed}, {what}: {event:?}: {why}; near it: {near:?}");
        }
    }
}

#[test]
fn one_key_of_many_writers_is_linearizable() {
    help::must_end("one key, four threads", || {
        many_writers_per_key(settings(), Passes::Yes, 1, 4, "one key, four threads")
    });
}

#[test]
fn a_few_keys_of_many_writers_are_linearizable() {
    help::must_end("six keys, eight threads", || {
        many_writers_per_key(slow_reads(), Passes::Slowly, 6, 8, "six keys, eight threads")
    });
}
