//! The hot paths of the cache, one group each. Every benchmark checks its answers, and that the tier it is about gave them.
//!
//! Not here: comparisons with other caches (`peers/`, a crate of its own), and hit ratios (`emberlog replay`).

#![allow(clippy::unwrap_used, reason = "benchmarks")]

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use emberlog::{Builder, Cache, Durability, Stats};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Steps through keys so that neighbours in time are none in memory.
const STRIDE: usize = 7_919;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    memory_hit(&mut criterion);
    memory_insert(&mut criterion);
    disk_hit(&mut criterion);
    disk_insert(&mut criterion);
    open(&mut criterion);
    criterion.final_summary();
}

/// The same salt each time: a key in some hundred thousand shares its tag with another one and is missed, and which one should not change.
fn settings() -> Builder {
    Cache::builder().random_seed(1)
}

/// Most keys that may be missing for that reason.
const COLLISIONS_MAX: usize = 5;

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, criterion::measurement::WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(2_500)).sample_size(30);
    group
}

fn key(number: usize) -> [u8; 16] {
    let mut key = *b"key:________:xyz";
    key[4..12].copy_from_slice(&(number as u64).to_be_bytes());
    key
}

/// The value of a key: its number over and over.
fn value(number: usize, len: usize) -> Vec<u8> {
    (number as u64).to_le_bytes().into_iter().cycle().take(len).collect()
}

/// Keys in the order in which they are asked for.
struct Keys {
    numbers: Vec<usize>,
    at: usize,
}

impl Keys {
    fn new(numbers: Vec<usize>) -> Self {
        assert!(!numbers.len().is_multiple_of(STRIDE));
        Self { numbers, at: 0 }
    }

    #[inline]
    fn next(&mut self) -> usize {
        self.at = (self.at + STRIDE) % self.numbers.len();
        self.numbers[self.at]
    }
}

/// Whether a value starts as that of a key does, and has the length: what is cheap enough to ask each time.
#[inline]
fn looks_right(value: &[u8], number: usize, len: usize) -> bool {
    value.len() == len && value[..8] == (number as u64).to_le_bytes()
}

fn disk_hits(stats: &Stats) -> u64 {
    stats.disk.as_ref().map_or(0, |disk| disk.hits)
}

fn memory_hit(criterion: &mut Criterion) {
    let mut group = group(criterion, "memory_hit");
    for len in [16, 128, 1024] {
        let cache = settings().memory_bytes(64 * MIB).open_memory_only().unwrap();
        let count = 20_000;
        (0..count).for_each(|number| assert!(cache.insert(key(number), value(number, len)).is_stored()));
        for number in 0..count {
            assert_eq!(cache.get(key(number)).unwrap(), value(number, len));
        }
        let before = cache.stats();
        let mut asked = 0;
        let mut keys = Keys::new((0..count).collect());
        group.bench_function(format!("read/{len}"), |bencher| {
            bencher.iter(|| {
                let number = keys.next();
                asked += 1;
                assert_eq!(cache.read(key(number), |value| looks_right(black_box(value), number, len)), Some(true));
            })
        });
        group.bench_function(format!("get/{len}"), |bencher| {
            bencher.iter(|| {
                let number = keys.next();
                asked += 1;
                let value = cache.get(key(number)).unwrap();
                assert!(looks_right(&value, number, len));
                value
            })
        });
        assert_eq!(cache.stats().memory.hits - before.memory.hits, asked, "all came from memory");
    }
    group.finish();
}

fn memory_insert(criterion: &mut Criterion) {
    let mut group = group(criterion, "memory_insert");
    for len in [16, 128, 1024] {
        // Full from the start, so each insert evicts.
        let settings = settings().memory_bytes(16 * MIB).expected_entry_bytes(16 + len as u64);
        let cache = settings.open_memory_only().unwrap();
        let bytes = value(0, len);
        let mut number = 0;
        while cache.stats().memory.entries == number as u64 {
            (0..10_000).for_each(|_| {
                assert!(cache.insert(key(number), &bytes).memory.is_stored());
                number += 1;
            });
        }
        group.bench_function(format!("fresh key/{len}"), |bencher| {
            bencher.iter(|| {
                assert!(cache.insert(key(number), black_box(&bytes)).memory.is_stored());
                number += 1;
            })
        });
        assert_eq!(cache.stats().requests.inserts, number as u64);
        assert_eq!(cache.get(key(number - 1)).unwrap(), bytes, "the last one is there");
    }
    group.finish();
}

/// Memory for little more than the index, so that entries are on disk.
fn disk_settings() -> Builder {
    settings().memory_bytes(4 * MIB).disk_bytes(512 * MIB).disk_index_bytes(3 * MIB / 2)
}

fn disk_hit(criterion: &mut Criterion) {
    let mut group = group(criterion, "disk_hit");
    for len in [100, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let cache = disk_settings().open(directory.path().join("store")).unwrap();
        let count = 100_000;
        (0..count).for_each(|number| assert!(cache.insert(key(number), value(number, len)).disk.is_stored()));
        cache.flush().unwrap();
        // Reading all of them warms the page cache, and tells which ones are on disk only.
        let (mut served, mut missing) = (0, 0);
        let mut on_disk = Vec::new();
        for number in 0..count {
            let Some(found) = cache.peek(key(number)) else {
                missing += 1;
                continue;
            };
            assert_eq!(found, value(number, len));
            let hits = disk_hits(&cache.stats());
            if hits > served {
                on_disk.push(number);
            }
            served = hits;
        }
        assert!(missing <= COLLISIONS_MAX, "{missing} of {count} are missing: {:#?}", cache.stats());
        assert!(on_disk.len() > count * 3 / 4, "{} of {count} are on disk only", on_disk.len());
        let mut asked = 0;
        let mut keys = Keys::new(on_disk);
        group.bench_function(format!("peek/{len}"), |bencher| {
            bencher.iter(|| {
                let number = keys.next();
                asked += 1;
                let value = cache.peek(key(number)).unwrap();
                assert!(looks_right(&value, number, len));
                value
            })
        });
        assert_eq!(disk_hits(&cache.stats()) - served, asked, "all came from disk: a peek moves nothing");
        // Hits that count may promote; with memory this small and keys this even, few are found there.
        let (before, mut asked) = (disk_hits(&cache.stats()), 0);
        group.bench_function(format!("read/{len}"), |bencher| {
            bencher.iter(|| {
                let number = keys.next();
                asked += 1;
                assert_eq!(cache.read(key(number), |value| looks_right(black_box(value), number, len)), Some(true));
            })
        });
        let from_disk = disk_hits(&cache.stats()) - before;
        assert!(from_disk * 10 >= asked * 8, "{from_disk} of {asked} came from disk");
    }
    group.finish();
}

fn disk_insert(criterion: &mut Criterion) {
    let mut group = group(criterion, "disk_insert");
    for len in [100, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings().memory_bytes(64 * MIB).disk_bytes(512 * MIB);
        let cache = settings.open(directory.path().join("store")).unwrap();
        let bytes = value(0, len);
        let mut number = 0;
        group.throughput(Throughput::Bytes(len as u64 + 16));
        group.bench_function(format!("fresh key/{len}"), |bencher| {
            bencher.iter(|| {
                assert!(cache.insert(key(number), black_box(&bytes)).disk.is_stored());
                number += 1;
            })
        });
        let disk = cache.stats().disk.unwrap();
        assert_eq!(disk.bytes_accepted, (len as u64 + 16) * number as u64);
        assert_eq!(cache.get(key(number - 1)).unwrap(), bytes, "the last one is there");
    }
    group.finish();
}

const OPEN_ENTRIES: usize = 100_000;

fn open_settings() -> Builder {
    settings().memory_bytes(64 * MIB).disk_bytes(512 * MIB).expected_entry_bytes(1024)
}

/// Files of a directory, with what tells whether they changed.
fn files(directory: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            (PathBuf::from(entry.file_name()), (metadata.len(), metadata.modified().unwrap()))
        })
        .collect()
}

/// A directory that is made the same as another one before each use.
struct Restored {
    source: PathBuf,
    target: PathBuf,
    last: BTreeMap<PathBuf, (u64, std::time::SystemTime)>,
}

impl Restored {
    fn new(source: PathBuf, target: PathBuf) -> Self {
        // Made by a cache, for the permissions that it asks of a directory.
        open_settings().open(&target).unwrap().close().unwrap();
        Self { source, target, last: BTreeMap::new() }
    }

    fn restore(&mut self) -> PathBuf {
        let (wanted, found) = (files(&self.source), files(&self.target));
        for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
            std::fs::remove_file(self.target.join(name)).unwrap();
        }
        for name in wanted.keys().filter(|name| !found.contains_key(*name) || found.get(*name) != self.last.get(*name))
        {
            std::fs::copy(self.source.join(name), self.target.join(name)).unwrap();
        }
        self.last = files(&self.target);
        self.target.clone()
    }
}

fn open(criterion: &mut Criterion) {
    let mut group = group(criterion, "open");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let directory = tempfile::tempdir().unwrap();
    let (live, killed, target) =
        (directory.path().join("live"), directory.path().join("killed"), directory.path().join("target"));
    let cache = open_settings().durability(Durability::Written).open(&live).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for number in (thread..OPEN_ENTRIES).step_by(4) {
                    assert!(cache.insert(key(number), value(number, 1000)).disk.is_stored());
                }
            });
        }
    });
    // What a SIGKILL leaves is what the kernel has: so copy it while the store is open and all of it is written.
    std::fs::create_dir(&killed).unwrap();
    for name in files(&live).into_keys() {
        std::fs::copy(live.join(&name), killed.join(&name)).unwrap();
    }
    cache.close().unwrap();
    let mut restored = [Restored::new(killed, target.join("killed")), Restored::new(live, target.join("closed"))];
    for (name, restored) in
        ["100k entries of 1 kB after SIGKILL", "100k entries of 1 kB after close"].iter().zip(&mut restored)
    {
        group.bench_function(*name, |bencher| {
            bencher.iter_batched(
                || restored.restore(),
                |path| {
                    let cache = open_settings().open(path).unwrap();
                    let recovery = cache.stats().recovery.unwrap();
                    assert!(recovery.entries as usize >= OPEN_ENTRIES - COLLISIONS_MAX, "{recovery:?}");
                    assert!(looks_right(&cache.get(key(77)).unwrap(), 77, 1000));
                    cache
                },
                BatchSize::PerIteration,
            )
        });
    }
    group.finish();
}
