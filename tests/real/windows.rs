//! What maintenance appends again beside threads that load the cache.

use crate::gate::{GateDisk, Passes};
use crate::help::{self, Rng};
use emberlog::{Builder, Cache, MaintenanceBudget, QuietWindows, Stats, WindowEnd};
use std::time::{Duration, Instant};

const SEGMENT: u64 = 64 << 10;
const THREADS: u64 = 4;

/// Nothing but the rate bounds what is appended again.
fn settings() -> Builder {
    let settings = help::settings().segment_len_bytes(SEGMENT).disk_index_bytes(32 << 10);
    settings.reinsert_percent(100).write_overhead_percent(1000)
}

fn disk() -> (tempfile::TempDir, std::sync::Arc<GateDisk>, crate::gate::Opener) {
    let directory = help::fast_directory();
    let (disk, gates) = GateDisk::new(&directory.path().join("store"));
    (directory, disk, gates)
}

/// Threads that insert, and read what is in memory and what is only on disk, so that much of what goes was asked for.
fn load(cache: &Cache, requests: u64) {
    let seed = help::seed();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut numbers = Rng::new(seed ^ thread << 32);
                for _ in 0..requests {
                    let key = numbers.below(900);
                    match cache.get(key.to_le_bytes()) {
                        Some(value) => drop(help::version_of(key, &value)),
                        None => {
                            cache.insert(
                                key.to_le_bytes(),
                                help::value_of(key, thread, 16 + numbers.below(3_000) as usize),
                            );
                        }
                    }
                }
            });
        }
    });
}

fn stats_after_load(settings: Builder, requests: u64) -> (Stats, Duration) {
    let (_directory, disk, _gates) = disk();
    let begin = Instant::now();
    let cache = settings.open_on(disk).unwrap();
    load(&cache, requests);
    // In this order: what is granted later must not count.
    let stats = cache.stats();
    let passed = begin.elapsed();
    cache.validate();
    let disk = stats.disk.as_ref().unwrap();
    assert!(disk.is_on && disk.segments_retired > 20 && disk.hits > 100, "EMBERLOG_SEED={}: {disk:?}", help::seed());
    (stats, passed)
}

#[test]
fn where_the_rate_is_nothing_nothing_is_appended_again_under_load() {
    let asked = settings().quiet_windows(QuietWindows::Asked);
    let (without, _) = stats_after_load(asked.clone().reinsert_bytes_per_s(0), 5_000);
    assert_eq!(without.disk.unwrap().bytes_reinserted, 0, "EMBERLOG_SEED={}", help::seed());
    let (with, _) = stats_after_load(asked, 5_000);
    assert!(with.disk.unwrap().bytes_reinserted > 0, "there was something to append again");
}

#[test]
fn under_load_no_more_is_appended_again_than_the_rate_grants() {
    let rate = 200_000;
    let settings = settings().quiet_windows(QuietWindows::Asked).reinsert_bytes_per_s(rate);
    let (stats, passed) = stats_after_load(settings, 10_000);
    let most = SEGMENT / 2 + (rate as f64 * passed.as_secs_f64()) as u64;
    let moved = stats.disk.unwrap().bytes_reinserted;
    assert!(moved <= most, "EMBERLOG_SEED={}: {moved} bytes in {passed:?}, {most} are granted", help::seed());
    assert!(moved > 0);
}

#[test]
fn who_asks_gets_a_window_whatever_the_rate() {
    let (_directory, disk, _gates) = disk();
    let settings = settings().quiet_windows(QuietWindows::Asked).reinsert_bytes_per_s(0);
    let cache = settings.open_on(disk).unwrap();
    let moved = || cache.stats().windows.unwrap().bytes_moved;
    for _ in 0..50 {
        load(&cache, 1_000);
        let budget = MaintenanceBudget { steps_max: 1_000, ..MaintenanceBudget::default() };
        cache.maintain(budget).unwrap();
        if moved() > 0 {
            break;
        }
    }
    assert!(moved() > 0, "EMBERLOG_SEED={}: {:?}", help::seed(), cache.stats());
    cache.validate();
}

#[test]
fn a_window_ends_when_the_disk_goes_off() {
    let (_directory, disk, gates) = disk();
    let cache = settings().quiet_windows(QuietWindows::Always).open_on(disk).unwrap();
    let windows = || cache.stats().windows.unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < end, "{what}: {:?}", windows());
            std::thread::yield_now();
        }
    };
    let mut rounds = 0;
    while windows().bytes_moved == 0 {
        load(&cache, 1_000);
        rounds += 1;
        assert!(rounds < 100, "{:?}", cache.stats());
    }
    assert!(windows().is_open);
    gates.writes.set(Passes::Error);
    cache.insert([1; 8], vec![1; 100]);
    assert!(cache.flush().is_err());
    // Maintenance sees it when it looks next.
    until("the window ends", &|| !windows().is_open);
    assert_eq!(windows().last.unwrap().ended, Some(WindowEnd::DiskOff));
}
