//! Loads of many threads over a source that changes, against an oracle, while both tiers evict.
//!
//! The source of a key is a number that only grows. Its one writer raises it first and tells the cache then: by an insert of the new value, a remove, or
//! an invalidation of everything. From then on no request that begins may be answered with a smaller number, whoever loaded it and however long
//! that took. The floor also rises with what anybody was answered.

use crate::help::{self, Rng, key_bytes, settings};
use bytes::Bytes;
use emberlog::{Cache, Durability, EntryOptions};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEY_COUNT: u64 = 6;
const LOADER_COUNT: u64 = 5;

fn some_len(numbers: &mut Rng) -> usize {
    match numbers.below(8) {
        // More than memory takes: such a value is on disk only, if there is one.
        0 => 30_000 + numbers.below(10_000) as usize,
        _ => 16 + numbers.below(2_000) as usize,
    }
}

#[derive(Debug, Default)]
struct Source {
    number: AtomicU64,
    /// No smaller number may answer a request that begins now.
    floor: AtomicU64,
}

/// What one loader does to a request.
enum Fate {
    Value,
    Error,
    Panic,
}

fn ask(cache: &Cache, key: u64, source: &Source, numbers: &mut Rng) -> Option<u64> {
    let (rounds, len) = (numbers.below(30), some_len(numbers));
    let fate = match numbers.below(16) {
        0 => Fate::Panic,
        1 => Fate::Error,
        _ => Fate::Value,
    };
    let load = || {
        let number = source.number.load(Ordering::SeqCst);
        // A slow source: what was read grows old.
        (0..rounds).for_each(|_| std::thread::yield_now());
        match fate {
            Fate::Value => Ok(help::value_of(key, number, len)),
            Fate::Error => Err(number),
            Fate::Panic => std::panic::resume_unwind(Box::new("made to fail")),
        }
    };
    let number_of = |value: Bytes| help::version_of(key, &value);
    match numbers.below(4) {
        0 => cache.get(key_bytes(key)).map(number_of),
        1 => {
            let load = || load().unwrap_or_else(|number| help::value_of(key, number, 16));
            let asked = catch_unwind(AssertUnwindSafe(|| cache.get_with(key_bytes(key), load)));
            asked.ok().map(number_of)
        }
        2 => {
            let load = || load().or_else(|number| Ok::<_, Infallible>(help::value_of(key, number, 16)));
            let asked = catch_unwind(AssertUnwindSafe(|| cache.try_get_with(key_bytes(key), load)));
            asked.ok().and_then(Result::ok).map(number_of)
        }
        _ => {
            let options = EntryOptions::new().time_to_live(Duration::from_secs(3600));
            let asked =
                catch_unwind(AssertUnwindSafe(|| cache.try_get_with_options(key_bytes(key), options, load))).ok()?;
            // An error is shared like a value: it must not be older either.
            Some(asked.map_or_else(|number| *number, number_of))
        }
    }
}

fn no_request_is_answered_from_before_a_mutation_that_had_ended(cache: &Cache, what: &str) {
    let seed = help::seed();
    let sources: Vec<Source> = (0..KEY_COUNT).map(|_| Source::default()).collect();
    let (sources, stop) = (&sources[..], &AtomicBool::new(false));
    let end = Instant::now() + Duration::from_millis(help::env_or("EMBERLOG_LINEAR_MS", 2_000));
    std::thread::scope(|scope| {
        // A panic anywhere ends all threads, so that the test ends.
        let worker = |number: u64, body: &dyn Fn(&mut Rng)| {
            let mut numbers = Rng::new(seed ^ number << 32);
            let done = catch_unwind(AssertUnwindSafe(|| {
                while !stop.load(Ordering::Relaxed) {
                    body(&mut numbers);
                }
            }));
            stop.store(true, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        };
        for loader in 0..LOADER_COUNT {
            scope.spawn(move || {
                worker(10 + loader, &|numbers| {
                    let key = numbers.below(KEY_COUNT);
                    let source = &sources[key as usize];
                    let floor = source.floor.load(Ordering::SeqCst);
                    if let Some(seen) = ask(cache, key, source, numbers) {
                        assert!(
                            seen >= floor,
                            "EMBERLOG_SEED={seed}, {what}: key {key}: {seen} answered a request that began at {floor}"
                        );
                        source.floor.fetch_max(seen, Ordering::SeqCst);
                    }
                });
            });
        }
        scope.spawn(move || {
            worker(1, &|numbers| {
                let key = numbers.below(KEY_COUNT);
                let source = &sources[key as usize];
                let number = source.number.load(Ordering::SeqCst) + 1;
                source.number.store(number, Ordering::SeqCst);
                match numbers.below(8) {
                    0..4 => {
                        cache.insert(key_bytes(key), help::value_of(key, number, some_len(numbers)));
                    }
                    4..7 => _ = cache.remove(key_bytes(key)),
                    _ => cache.invalidate_all(),
                }
                source.floor.fetch_max(number, Ordering::SeqCst);
                // Fillers push what is watched out of both tiers.
                for _ in 0..numbers.below(30) {
                    let filler = 1_000_000 + numbers.below(20_000);
                    cache.insert(key_bytes(filler), help::value_of(filler, 1, 16 + numbers.below(1_500) as usize));
                }
            });
        });
        scope.spawn(move || {
            worker(2, &|_| {
                let requests = cache.stats().requests;
                let counts = [
                    requests.hits,
                    requests.loads,
                    requests.load_errors,
                    requests.loads_shared,
                    requests.loads_overtaken,
                ];
                let now = Instant::now();
                let has_shown = counts.iter().all(|count| *count > 10);
                if now > end && (has_shown || now > end + Duration::from_secs(20)) {
                    stop.store(true, Ordering::Relaxed);
                    assert!(has_shown, "{what}: {requests:?} show nothing");
                }
                std::thread::yield_now();
            });
        });
    });
    cache.validate();
    for (key, source) in (0..).zip(sources) {
        let number = source.number.load(Ordering::SeqCst);
        let floor = source.floor.load(Ordering::SeqCst);
        let seen = cache.get(key_bytes(key)).map(|value| help::version_of(key, &value));
        assert!(seen.is_none_or(|seen| seen >= floor && seen <= number), "{what}: at rest key {key} is {seen:?}");
    }
}

#[test]
fn loads_in_memory_never_answer_from_before_a_mutation() {
    help::must_end("loads, memory only", || {
        let cache = settings().open_memory_only().unwrap();
        no_request_is_answered_from_before_a_mutation_that_had_ended(&cache, "memory only");
    });
}

#[test]
fn loads_in_both_tiers_never_answer_from_before_a_mutation() {
    help::must_end("loads, both tiers", || {
        let directory = tempfile::tempdir().unwrap();
        let cache = settings().open(directory.path().join("store")).unwrap();
        no_request_is_answered_from_before_a_mutation_that_had_ended(&cache, "both tiers");
        let disk = cache.stats().disk.unwrap();
        assert!(disk.is_on && disk.hits > 10 && disk.segments_retired > 0, "{disk:?} shows nothing");
    });
}

#[test]
fn loads_that_wait_for_their_write_never_answer_from_before_a_mutation() {
    help::must_end("loads, written", || {
        let directory = tempfile::tempdir().unwrap();
        let cache = settings().durability(Durability::Written).open(directory.path().join("store")).unwrap();
        no_request_is_answered_from_before_a_mutation_that_had_ended(&cache, "written");
    });
}
