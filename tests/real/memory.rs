//! What the process and the directory really take, next to what was promised.
//!
//! Anonymous memory is measured in a child of its own for each case, as growth since just before `open`, while threads fill the cache to the brim and
//! go on. Storage is measured from outside, from allocated blocks, by a thread that looks all the time.

use crate::help::{self, Rng};
use emberlog::{Builder, Cache, Stats};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may come on top of the budget: stacks of threads, heaps of the allocator, values on their way.
const SLACK_BYTES: u64 = 8 << 20;

fn assert_that_accounts_add_up(stats: &Stats, what: &str) {
    let memory = &stats.memory;
    let accounts = &memory.accounts;
    let sum =
        accounts.memory_tier + accounts.disk_index + accounts.append_buffer + accounts.statistics + accounts.fixed;
    assert_eq!(sum, memory.held_bytes, "{what}: the accounts are all that is held");
    assert!(sum <= memory.limit_bytes, "{what}: accounts of {sum} bytes in a budget of {}", memory.limit_bytes);
    if let Some(disk) = &stats.disk {
        assert!(
            disk.used_bytes <= disk.limit_bytes,
            "{what}: {} of {} bytes of disk",
            disk.used_bytes,
            disk.limit_bytes
        );
        assert!(disk.is_on, "{what}: {:?}", disk.off_because);
    }
}

/// Inserts and reads keys until `enough`, from two threads.
fn work(
    cache: &Cache,
    seed: u64,
    key_count: u64,
    len: impl Fn(&mut Rng) -> usize + Sync,
    enough: impl Fn() -> bool + Sync,
) {
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let (len, enough) = (&len, &enough);
            scope.spawn(move || {
                let mut numbers = Rng::new(seed ^ thread << 32);
                let mut buffer = help::value_of(thread, 1, 80_000);
                for step in 0u64.. {
                    if step % 256 == 0 && enough() {
                        break;
                    }
                    let key = numbers.below(key_count);
                    if numbers.below(4) == 0 {
                        cache.get(key.to_be_bytes());
                        continue;
                    }
                    let len = len(&mut numbers);
                    buffer[..8].copy_from_slice(&step.to_le_bytes());
                    cache.insert(key.to_be_bytes(), &buffer[..len]);
                }
            });
        }
    });
}

fn settings(value_len: u64) -> Builder {
    Cache::builder().memory_bytes(24 << 20).disk_bytes(48 << 20).expected_entry_bytes(value_len + 8)
}

/// What a child tells that stayed within its budget.
const WITHIN: &[u8] = b"within";

#[test]
#[ignore = "the child of the tests below; does nothing without them"]
fn child() {
    let Some(job) = help::job() else { return };
    let mut parts = job.splitn(3, ' ');
    let value_len: u64 = parts.next().unwrap().parse().unwrap();
    let bytes_to_insert: u64 = parts.next().unwrap().parse().unwrap();
    let directory = parts.next().filter(|path| !path.is_empty());
    let before = help::rss_anon_bytes();
    let cache = match directory {
        Some(path) => settings(value_len).open(path).unwrap(),
        None => settings(value_len).open_memory_only().unwrap(),
    };
    let limit = cache.stats().memory.limit_bytes;
    let most = AtomicU64::new(0);
    let look = || {
        let now = help::rss_anon_bytes().saturating_sub(before);
        most.fetch_max(now, Ordering::Relaxed);
        cache.stats().requests.inserts * (value_len + 8) >= bytes_to_insert
    };
    let key_count = bytes_to_insert / (value_len + 8);
    work(&cache, help::seed(), key_count, |_| value_len as usize, look);
    let stats = cache.stats();
    assert_that_accounts_add_up(&stats, &job);
    assert!(stats.memory.evicted > 0, "memory was full: {stats:?}");
    assert!(stats.memory.entries * (value_len + 8) > limit / 8, "a good part of memory holds entries: {stats:?}");
    if let Some(disk) = &stats.disk {
        assert!(disk.segments_retired > 0, "the disk was full: {stats:?}");
    }
    cache.close().unwrap();
    look();
    let most = most.into_inner();
    assert!(most > limit / 2, "{most} bytes of growth cannot be all of a full cache");
    assert!(
        most <= limit + SLACK_BYTES,
        "{job}: the process grew by {most} bytes; {limit} were allowed, and {SLACK_BYTES}"
    );
    help::tell(WITHIN);
}

/// Runs the cases of one kind, each in a fresh process.
fn grow(with_disk: bool) {
    for value_len in [16u64, 100, 1_000, 4_096, 65_536] {
        // Small values have a share of memory in overhead, so less of them fills it; disk and memory are full well before the end.
        let bytes = match (value_len, with_disk) {
            (16, true) => 24 << 20,
            (16, false) => 40 << 20,
            (100, true) => 64 << 20,
            _ => 100u64 << 20,
        };
        let directory = tempfile::tempdir().unwrap();
        let path = if with_disk { directory.path().join("store").display().to_string() } else { String::new() };
        let job = format!("{value_len} {bytes} {path}");
        let (mut child, mut reader) = help::start_child("memory::child", &job);
        let status = child.wait().unwrap();
        assert!(status.success(), "values of {value_len} bytes, disk: {with_disk}: {status}; the reason is above");
        // A child that finds no test of that name succeeds too.
        let mut told = Vec::new();
        reader.read_to_end(&mut told).unwrap();
        assert_eq!(told, WITHIN, "the child measured");
    }
}

#[test]
fn memory_stays_within_its_budget_with_a_disk_tier() {
    grow(true);
}

#[test]
fn memory_stays_within_its_budget_without_a_disk_tier() {
    grow(false);
}

/// Allocated bytes by name; what vanishes between listing and looking is left out.
fn allocated(directory: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.file_name().into_string().unwrap(), metadata.blocks() * 512))
        })
        .collect()
}

/// Runs a body while a thread adds up what the directory takes. Returns the largest sum and the number of sums.
///
/// A sum counts when two looks in a row agree on every file: as files are never used again under one name and only grow, then shrink, all of it
/// was there at one moment between the two.
fn sampled(directory: &Path, body: impl FnOnce()) -> (u64, u64) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let (mut most, mut count) = (0, 0);
            let mut last = allocated(directory);
            while !stop.load(Ordering::Relaxed) {
                let now = allocated(directory);
                if now == last {
                    most = most.max(now.values().sum::<u64>());
                    count += 1;
                }
                last = now;
            }
            (most, count)
        });
        let done = catch_unwind(AssertUnwindSafe(body));
        stop.store(true, Ordering::Relaxed);
        let sampled = sampler.join().unwrap();
        done.unwrap_or_else(|panic| resume_unwind(panic));
        sampled
    })
}

fn stay_within(disk_bytes: u64, segment_len_bytes: u64, root: &Path, ms: u64) {
    let directory = tempfile::tempdir_in(root).unwrap();
    let path = directory.path().join("store");
    std::fs::create_dir(&path).unwrap();
    std::os::unix::fs::PermissionsExt::set_mode(&mut std::fs::metadata(&path).unwrap().permissions(), 0o700);
    let what = format!(
        "EMBERLOG_SEED={}, {disk_bytes} bytes in segments of {segment_len_bytes} on {}",
        help::seed(),
        root.display()
    );
    let (most, count) = sampled(&path, || {
        // Opened again and again, so that recovery's files are among those seen.
        for round in 0..3 {
            let settings = Cache::builder().memory_bytes(2 << 20).append_buffer_bytes(128 << 10);
            let settings = settings.disk_bytes(disk_bytes).segment_len_bytes(segment_len_bytes);
            let cache = settings.open(&path).unwrap();
            let end = Instant::now() + Duration::from_millis(ms);
            let len = |numbers: &mut Rng| {
                let most = [100, 1_000, 40_000][numbers.below(3) as usize];
                16 + numbers.below(most) as usize
            };
            work(&cache, help::seed() + round, 5_000, len, || {
                let stats = cache.stats();
                assert_that_accounts_add_up(&stats, &what);
                // A busy machine gets more time.
                let (now, is_full) = (Instant::now(), stats.disk.unwrap().segments_retired > 5);
                now > end && (is_full || now > end + Duration::from_secs(20))
            });
            assert!(cache.stats().disk.unwrap().segments_retired > 5, "{what}: the disk was full");
            if round < 2 {
                cache.close().unwrap();
            }
        }
    });
    assert!(count > 50, "{what}: {count} looks show nothing");
    assert!(most > disk_bytes / 2, "{what}: {most} bytes is not a full disk");
    assert!(most <= disk_bytes, "{what}: the files took {most} bytes");
}

#[test]
fn files_stay_within_their_budget_at_every_moment() {
    let root = std::env::temp_dir();
    stay_within(2 << 20, 64 << 10, &root, 500);
    stay_within(8 << 20, 1 << 20, &root, 500);
    // The smallest budget that works for its segments; and a file system with other habits.
    let segment_len = 256u64 << 10;
    let smallest = (64 << 10) + 4 * (segment_len + 8192 + segment_len / 1024);
    stay_within(smallest, segment_len, &root, 400);
    let other = Path::new("/dev/shm");
    if other.is_dir() {
        stay_within(1 << 20, 64 << 10, other, 300);
    }
}

#[test]
fn nothing_is_retired_while_the_disk_has_room() {
    (0..8).for_each(fill_a_third);
}

fn fill_a_third(seed: u64) {
    // Many short segments, so that the log moves on while maintenance still looks at the one before.
    let directory = help::fast_directory();
    let settings = Cache::builder().memory_bytes(4 << 20).shards(1).expected_entry_bytes(500);
    let settings = settings.disk_bytes(96 << 20).segment_len_bytes(64 << 10).random_seed(seed);
    let cache = settings.open(directory.path().join("store")).unwrap();
    let count = 60_000u64;
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let cache = &cache;
            scope.spawn(move || {
                for key in (thread..count).step_by(3) {
                    assert!(cache.insert(key.to_be_bytes(), help::value_of(key, 1, 500)).disk.is_stored());
                }
            });
        }
    });
    let disk = cache.stats().disk.unwrap();
    assert!(disk.used_bytes < disk.limit_bytes / 2, "{disk:?}");
    assert_eq!(
        disk.segments_retired, 0,
        "seed {seed}: {} of {} bytes are used: {disk:?}",
        disk.used_bytes, disk.limit_bytes
    );
    let missing = (0..count).filter(|key| cache.get(key.to_be_bytes()).is_none()).count();
    assert!(missing <= 5, "{missing} keys are missing: more than share their tag with others");
}
