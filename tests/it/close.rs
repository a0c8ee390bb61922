//! Close keeps what is there, or counts it.

use crate::support::{KIB, Rng, START_UNIX_MS, Setup, cases};
use emberlog::disk::SimDisk;
use emberlog::{Builder, Cache, Maintenance, MaintenanceBudget, ManualClock};
use std::cell::Cell;
use std::sync::Arc;

const KEY_COUNT: u64 = 3000;

fn key(key: u64) -> String {
    format!("key-{key}")
}

/// What one store's life came to.
#[derive(Debug, Default)]
struct Outcome {
    missing: u64,
    retired_by_close: u64,
    appended_by_close: u64,
}

/// Fills a small store with random requests, closes it and opens it again. Fails if a key is gone that nobody counted.
fn live(rng: &mut Rng, open: &dyn Fn(u64) -> Cache, is_manual: bool) -> Outcome {
    let cache = open(1);
    let most = rng.pick(&[300, 1200, 4000]);
    let is_idle = rng.below(2) == 0;
    for _ in 0..rng.pick(&[400, 1000, 2500]) {
        let among = rng.pick(&[40, KEY_COUNT]);
        let number = rng.below(among);
        match rng.below(12) {
            0 => drop(cache.remove(key(number))),
            1..=4 => drop(cache.get(key(number))),
            _ => {
                // Some only memory takes, or only the log.
                let len = if rng.below(200) == 0 { 60_000 } else { rng.below(most) };
                cache.insert(key(number), vec![number as u8; len as usize]);
            }
        }
        if is_manual && !is_idle && rng.below(40) == 0 {
            let reinsert_bytes_max = rng.pick(&[0, 2000, 1 << 20]);
            let budget = MaintenanceBudget { steps_max: 1 + rng.below(6) as u32, reinsert_bytes_max };
            cache.maintain(budget).expect("a sound disk is maintained");
        }
    }
    let is_there = |cache: &Cache| (0..KEY_COUNT).filter(|&number| cache.contains_key(key(number))).collect::<Vec<_>>();
    let counted = |cache: &Cache| {
        let disk = cache.stats().disk.expect("a disk tier");
        assert!(disk.is_on, "{:?}", disk.off_because);
        (disk.dropped_at_close + disk.dropped_with_segment + disk.dropped_by_index, disk)
    };
    // First the counts: while threads run, what goes between the two is counted twice, and never not at all.
    let (counted_before, disk_before) = counted(&cache);
    let before = is_there(&cache);
    cache.close().expect("a sound disk is closed");
    let (counted_after, disk_after) = counted(&cache);
    drop(cache);
    let cache = open(2);
    let recovered = cache.stats().recovery.expect("a disk tier");
    assert!(recovered.findings.iter().all(|finding| !finding.damage), "{:?}", recovered.findings);
    let after = is_there(&cache);
    let missing = before.iter().filter(|&number| after.binary_search(number).is_err()).count() as u64;
    let allowed = counted_after - counted_before + recovered.dropped_by_index;
    assert!(missing <= allowed, "{missing} of {} keys are gone, {allowed} were counted", before.len());
    Outcome {
        missing,
        retired_by_close: disk_after.segments_retired - disk_before.segments_retired,
        appended_by_close: disk_after.last_seqno - disk_before.last_seqno,
    }
}

fn settings(rng: &mut Rng) -> Setup {
    Setup {
        memory_bytes: rng.pick(&[600, 800, 1200]) * KIB,
        disk_bytes: rng.pick(&[384, 400, 431, 512, 700]) * KIB,
        disk_index_bytes: rng.pick(&[8, 64]) * KIB,
        ..Setup::random(rng)
    }
}

#[test]
fn every_key_that_was_there_before_close_is_there_after_it_or_is_counted() {
    let (missing, retired, appended) = (Cell::new(0), Cell::new(0), Cell::new(0));
    cases(0x636c_6f73, 300, |mut rng| {
        let setup = settings(&mut rng);
        let (disk, clock) = (SimDisk::new(rng.next()), Arc::new(ManualClock::new(START_UNIX_MS)));
        disk.set_capacity_bytes(setup.disk_bytes);
        let open = |seed| setup.builder(&clock, seed).open_on(Arc::new(disk.clone())).expect("the store opens");
        let outcome = live(&mut rng, &open, true);
        missing.set(missing.get() + outcome.missing);
        retired.set(retired.get() + outcome.retired_by_close);
        appended.set(appended.get() + outcome.appended_by_close);
    });
    let (missing, retired, appended) = (missing.get(), retired.get(), appended.get());
    let is_one_case = std::env::var("CASE").is_ok();
    assert!(
        is_one_case || (missing > 100 && retired > 30 && appended > 100),
        "close lost {missing}, retired {retired} and appended {appended}: less proves little"
    );
}

#[test]
fn with_threads_every_key_that_was_there_before_close_is_there_after_it_or_is_counted() {
    cases(0x7468_7264, 8, |mut rng| {
        let setup = settings(&mut rng);
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        let threads = |builder: Builder| builder.maintenance(Maintenance::Background);
        let open =
            |seed| threads(setup.builder(&clock, seed)).open(directory.path().join("store")).expect("the store opens");
        live(&mut rng, &open, false);
    });
}
