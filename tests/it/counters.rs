//! The page of counters: what a cache tells of itself in its directory. It costs 44 KiB of what is charged anyway, and whatever happens to it happens
//! to it alone.

use crate::faulty::{Call, FaultyDisk, Plan};
use crate::support::{KIB, START_UNIX_MS, Setup, named};
use emberlog::disk::{Disk, SimDisk};
use emberlog::format::counters::{CellState, CountersHead, FILE_LEN, Page, PageHeader, RunState};
use emberlog::format::names::{COUNTERS, COUNTERS_TEMPORARY};
use emberlog::recovery::counters_page::{self, CountersFile};
use emberlog::recovery::survey::read_identity;
use emberlog::{Cache, MaintenanceBudget, ManualClock};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn setup() -> Setup {
    Setup { memory_bytes: 1024 * KIB, disk_bytes: 1024 * KIB, disk_index_bytes: 32 * KIB, ..Setup::small() }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START_UNIX_MS))
}

fn open(disk: Arc<dyn Disk>, clock: &Arc<ManualClock>, seed: u64) -> Cache {
    setup().builder(clock, seed).open_on(disk).expect("the store opens")
}

fn maintain(cache: &Cache) {
    let budget = MaintenanceBudget { steps_max: 1000, ..MaintenanceBudget::default() };
    cache.maintain(budget).expect("the disk tier is on");
}

/// Maintenance with nothing left to do, and then once more, a second later: so the page is of a cache at rest.
fn settle(cache: &Cache, clock: &ManualClock) {
    maintain(cache);
    clock.advance(SECOND);
    maintain(cache);
}

fn page(disk: &SimDisk) -> Option<Page> {
    let store_id = read_identity(disk).expect("a sound identity").store_id;
    match counters_page::read(disk, store_id).expect("a sound disk") {
        Some(CountersFile::Ours { page, .. }) => page,
        Some(CountersFile::Foreign) => panic!("it is ours"),
        None => None,
    }
}

fn stats_in(page: &Page) -> Value {
    let text: Value = serde_json::from_slice(&page.text).expect("JSON");
    text["stats"].clone()
}

fn stats_of(cache: &Cache) -> Value {
    let mut stats = serde_json::to_value(cache.stats()).expect("JSON");
    stats["recovery"]["findings"] = Value::Array(Vec::new());
    stats
}

fn fill(cache: &Cache, keys: std::ops::Range<u32>) {
    for key in keys {
        cache.insert(key.to_le_bytes(), [7; 500]);
        cache.get(key.to_le_bytes());
        cache.get((key / 2).to_le_bytes());
    }
}

#[test]
fn a_page_is_written_once_a_second_while_something_changes_and_says_what_the_cache_says() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    fill(&cache, 0..200);
    maintain(&cache);
    assert_eq!(page(&disk), None, "who opens it for less than a second gets no file");
    settle(&cache, &clock);
    let first = page(&disk).expect("a second has passed");
    let header = first.header;
    assert_eq!((header.sequence, header.state, header.process_id), (1, RunState::Open, std::process::id()));
    assert_eq!((header.opened_unix_ms, header.written_unix_ms), (START_UNIX_MS, START_UNIX_MS + 1000));
    assert_eq!(stats_in(&first), stats_of(&cache));
    assert!(stats_in(&first)["requests"]["hits"].as_u64() > Some(200), "{:#}", stats_in(&first));

    cache.get("no such key");
    clock.advance(Duration::from_millis(999));
    maintain(&cache);
    assert_eq!(page(&disk), Some(first.clone()), "it is not due");
    clock.advance(Duration::from_millis(1));
    maintain(&cache);
    let second = page(&disk).expect("it is there");
    assert_eq!((second.header.sequence, stats_in(&second)), (2, stats_of(&cache)));
    assert_ne!(stats_in(&second), stats_in(&first));
    // Nothing changes: nothing is written.
    for _ in 0..5 {
        settle(&cache, &clock);
    }
    assert_eq!(page(&disk), Some(second));
    // Where the clock was set back, pages go on.
    clock.set(START_UNIX_MS - 1_000_000);
    cache.get("no such key");
    maintain(&cache);
    assert_eq!(page(&disk).expect("it is there").header.sequence, 3);
    assert_eq!(disk.read_file(COUNTERS).len() as u64, FILE_LEN);
    let disk_stats = cache.stats().disk.expect("a disk tier");
    assert!(disk.used_bytes() <= disk_stats.used_bytes, "its room is charged");
}

#[test]
fn the_cells_are_the_segments_with_their_live_records() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    for round in 0..30 {
        fill(&cache, round * 60..round * 60 + 100);
        settle(&cache, &clock);
        let found = page(&disk).expect("it is there");
        let stats = cache.stats().disk.expect("a disk tier");
        let count = |state| found.cells.iter().filter(|cell| cell.state == state).count() as u64;
        assert_eq!(stats.segments, found.cells.len() as u64 - count(CellState::Spare), "round {round}: {found:?}");
        assert_eq!((count(CellState::Active), count(CellState::Spare) <= 1), (1, true), "round {round}");
        let live: u64 = found.cells.iter().map(|cell| u64::from(cell.live_count)).sum();
        assert_eq!(live, stats.entries, "round {round}: each slot names a record in one segment");
        let events: u64 = found.cells.iter().map(|cell| u64::from(cell.event_count)).sum();
        let first_numbers: Vec<u32> = found.cells.iter().map(|cell| cell.first_number).collect();
        assert!(events <= stats.last_seqno && first_numbers.is_sorted(), "round {round}: {found:?}");
        assert_eq!(events == stats.last_seqno, stats.segments_retired == 0, "round {round}: {found:?}");
        let charged: u64 = found.cells.iter().map(|cell| cell.charged_bytes).sum();
        assert!(charged < stats.used_bytes && charged + 200 * KIB > stats.used_bytes, "round {round}: {charged}");
        assert!(found.cells.iter().all(|cell| cell.data_bytes <= cell.charged_bytes), "round {round}: {found:?}");
    }
    assert!(cache.stats().disk.expect("a disk tier").segments_retired > 5, "segments came and went");
}

#[test]
fn the_last_page_says_that_the_cache_was_closed_and_none_is_made_for_it() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    fill(&cache, 0..50);
    cache.close().expect("a sound disk is closed");
    assert_eq!(page(&disk), None, "there was none before");
    let cache = open(Arc::new(disk.clone()), &clock, 2);
    settle(&cache, &clock);
    fill(&cache, 50..99);
    cache.close().expect("a sound disk is closed");
    let last = page(&disk).expect("it is there");
    assert_eq!((last.header.sequence, last.header.state), (2, RunState::Closed));
    assert_eq!(stats_in(&last), stats_of(&cache));
    assert_eq!(stats_in(&last)["requests"]["inserts"], 49);
}

#[test]
fn an_open_removes_the_page_of_an_earlier_life_also_that_of_a_later_version_and_with_the_setting_off() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    settle(&cache, &clock);
    let mut later = disk.read_file(COUNTERS);
    drop(cache);
    let store_id = read_identity(&disk).expect("a sound identity").store_id;
    later[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store_id);
    hasher.update(&0u64.to_le_bytes());
    hasher.update(&later[4..CountersHead::LEN]);
    later[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
    let left = disk.after_kill();
    for (name, change) in [("as it was left", None), ("of a later version", Some(later))] {
        for is_kept in [true, false] {
            named(&format!("{name}, setting {is_kept}"), || {
                let disk = left.after_kill();
                change.iter().for_each(|bytes| disk.write_file(COUNTERS, bytes));
                let settings = setup().builder(&clock, 2).counters_page(is_kept);
                let cache = settings.open_on(Arc::new(disk.clone())).expect("the store opens");
                assert!(!disk.snapshot().contains_key(COUNTERS), "it is gone");
                fill(&cache, 0..9);
                settle(&cache, &clock);
                assert_eq!(page(&disk).map(|page| page.header.sequence), is_kept.then_some(1));
                assert_eq!(cache.stats().disk.expect("a disk tier").counters_failures, 0);
            });
        }
    }
}

#[test]
fn a_file_of_that_name_that_is_not_ours_stays_as_it_is() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    settle(&cache, &clock);
    let ours = disk.read_file(COUNTERS);
    cache.close().expect("a sound disk is closed");
    let other_stores = {
        let (other, store) = (SimDisk::new(2), open(Arc::new(SimDisk::new(2)), &clock, 9));
        drop(store);
        let cache = open(Arc::new(other.clone()), &clock, 10);
        settle(&cache, &clock);
        other.read_file(COUNTERS)
    };
    let cut = ours[..CountersHead::LEN - 1].to_vec();
    for theirs in [b"3 apples".to_vec(), Vec::new(), vec![0; FILE_LEN as usize], other_stores, cut] {
        named(&format!("{} bytes", theirs.len()), || {
            let disk = disk.after_kill();
            disk.write_file(COUNTERS, &theirs);
            let cache = open(Arc::new(disk.clone()), &clock, 3);
            fill(&cache, 0..50);
            settle(&cache, &clock);
            assert!(cache.stats().disk.expect("a disk tier").is_on);
            cache.close().expect("a sound disk is closed");
            assert!(disk.read_file(COUNTERS) == theirs && !disk.snapshot().contains_key(COUNTERS_TEMPORARY));
        });
    }
    // Somebody makes it while the cache is open, before its first page.
    let disk = disk.after_kill();
    let cache = open(Arc::new(disk.clone()), &clock, 4);
    disk.write_file(COUNTERS, b"4 pears");
    settle(&cache, &clock);
    cache.close().expect("a sound disk is closed");
    assert_eq!(disk.read_file(COUNTERS), b"4 pears");
}

#[test]
fn links_of_that_name_are_left_alone_and_what_they_point_to_as_well() {
    let parent = tempfile::tempdir().expect("a directory");
    let (path, target) = (parent.path().join("store"), parent.path().join("target"));
    std::fs::write(&target, "precious").expect("written");
    let clock = clock();
    drop(setup().builder(&clock, 1).open(&path).expect("a fresh store"));
    for is_hard in [false, true] {
        let link = path.join(COUNTERS);
        if is_hard {
            std::fs::hard_link(&target, &link).expect("linked");
        } else {
            std::os::unix::fs::symlink(&target, &link).expect("linked");
        }
        let cache = setup().builder(&clock, 2).open(&path).expect("it is no reason to refuse the store");
        fill(&cache, 0..50);
        settle(&cache, &clock);
        cache.close().expect("closed");
        assert_eq!(std::fs::read_to_string(&target).expect("the target"), "precious");
        assert!(std::fs::symlink_metadata(&link).is_ok(), "the link is still there");
        std::fs::remove_file(&link).expect("removed");
    }
}

#[test]
fn a_page_that_cannot_be_written_costs_only_itself() {
    use Call::{Allocate, Allocated, Create, Rename, Sync, Unlink, UnlinkTemporary, Write};
    // Of the writes the first is the head.
    let calls =
        [(Create, 0), (Allocate, 0), (Allocated, 0), (Sync, 0), (Rename, 0), (Write, 0), (Write, 1), (Write, 4)];
    let with_rest = [Allocate, Allocated, Sync, Rename].map(|call| (vec![call, UnlinkTemporary], 0));
    let cases = calls.map(|(call, passed)| (vec![call], passed)).into_iter().chain(with_rest);
    for ((calls, passed_count), is_for_ever) in cases.flat_map(|case| [(case.clone(), false), (case, true)]) {
        named(&format!("{calls:?} after {passed_count}, for ever: {is_for_ever}"), || {
            let (disk, plan, clock) = (SimDisk::new(1), Arc::new(Plan::default()), clock());
            let faulty = FaultyDisk::new(&disk, &plan, [COUNTERS_TEMPORARY, COUNTERS]);
            let cache = open(Arc::new(faulty), &clock, 1);
            for (number, &call) in calls.iter().enumerate() {
                let passed_count = if number == 0 { passed_count } else { 0 };
                if is_for_ever { plan.arm_for_ever(call, passed_count) } else { plan.arm(call, passed_count) }
            }
            for round in 0..8 {
                fill(&cache, round * 10..round * 10 + 10);
                settle(&cache, &clock);
                let stats = cache.stats().disk.expect("a disk tier");
                assert!(stats.is_on && disk.used_bytes() <= stats.used_bytes, "{stats:?}");
            }
            assert_eq!(plan.failed_count(), calls.len() as u64, "one failure ends the pages of this process");
            assert_eq!(cache.stats().disk.expect("a disk tier").counters_failures, 1);
            assert_eq!(disk.snapshot().contains_key(COUNTERS_TEMPORARY), calls.len() == 2, "what was begun is removed");
            let before = disk.snapshot().get(COUNTERS).cloned();
            assert_eq!(before.is_some(), calls[0] == Write && passed_count > 0);
            if passed_count == 4 {
                assert_eq!(page(&disk).expect("the page before is whole").header.sequence, 3);
            }
            cache.close().expect("the disk tier is on");
            assert_eq!(disk.snapshot().get(COUNTERS).cloned(), before, "nor does close write one");
            let cache = open(Arc::new(disk.clone()), &clock, 2);
            assert!(!disk.snapshot().contains_key(COUNTERS_TEMPORARY), "the next open tidies up");
            assert!((0..80u32).all(|key| cache.peek(key.to_le_bytes()).is_some()), "nothing is lost");
            settle(&cache, &clock);
            assert_eq!(page(&disk).expect("the next process has its own").header.sequence, 1);
        });
    }
    named("the old one cannot be removed", || {
        let (disk, plan, clock) = (SimDisk::new(1), Arc::new(Plan::default()), clock());
        let cache = open(Arc::new(disk.clone()), &clock, 1);
        settle(&cache, &clock);
        let before = page(&disk);
        let left = disk.after_kill();
        plan.arm(Unlink, 0);
        let faulty = FaultyDisk::new(&left, &plan, [COUNTERS_TEMPORARY, COUNTERS]);
        let cache = open(Arc::new(faulty), &clock, 2);
        settle(&cache, &clock);
        assert_eq!((plan.failed_count(), page(&left)), (1, before), "it stays, and is not written to");
        assert!(cache.stats().disk.expect("a disk tier").is_on);
    });
}

#[test]
fn the_page_of_a_cache_whose_disk_tier_is_off_says_so() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    settle(&cache, &clock);
    disk.fail_nth(emberlog::disk::SimOp::Sync, 1, emberlog::disk::SimFault::once(emberlog::disk::SimCause::Io));
    cache.insert("key", "value");
    cache.flush().expect_err("the sync failed");
    clock.advance(SECOND);
    cache.maintain(MaintenanceBudget::default()).expect_err("the disk tier is off");
    let found = page(&disk).expect("it is there");
    assert_eq!(stats_in(&found)["disk"]["is_on"], false);
    assert!(stats_in(&found)["disk"]["off_because"].is_string(), "{:#}", stats_in(&found));
}

#[test]
fn behind_a_kill_or_a_power_cut_at_any_time_the_file_is_ours_or_none_and_the_next_open_works() {
    let (mut with_page, mut without_page, mut none) = (0, 0, 0);
    for seed in 0..300 {
        named(&format!("SEED={seed}"), || {
            let (disk, clock) = (SimDisk::new(seed), clock());
            let cache = open(Arc::new(disk.clone()), &clock, 1);
            fill(&cache, 0..20);
            for _ in 0..seed % 5 {
                settle(&cache, &clock);
                fill(&cache, 20..30);
                if seed % 3 == 0 {
                    // Syncs the directory now and then.
                    cache.flush().expect("a sound disk");
                    fill(&cache, 100..160);
                }
            }
            for left in [disk.after_kill(), disk.after_power_cut(seed)] {
                let files = left.snapshot();
                match (files.contains_key(COUNTERS), page(&left)) {
                    (true, Some(page)) => {
                        with_page += 1;
                        assert_eq!(page.header.state, RunState::Open);
                        assert!(stats_in(&page)["requests"]["inserts"].as_u64() >= Some(20));
                    }
                    (true, None) => without_page += 1,
                    (false, _) => none += 1,
                }
                let cache = open(Arc::new(left.clone()), &clock, 2);
                settle(&cache, &clock);
                assert_eq!(page(&left).expect("it has a page of its own").header.sequence, 1);
            }
        });
    }
    assert!(with_page > 100 && without_page > 10 && none > 50, "{with_page} {without_page} {none}");
}

#[test]
fn a_place_is_large_enough_for_any_figures() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(Arc::new(disk.clone()), &clock, 1);
    fn largest(value: &mut Value) {
        match value {
            Value::Number(number) => *number = u64::MAX.into(),
            Value::Array(values) => values.iter_mut().for_each(largest),
            Value::Object(fields) => fields.values_mut().for_each(largest),
            Value::Null => *value = Value::String("x".repeat(1000)),
            Value::Bool(_) | Value::String(_) => {}
        }
    }
    let mut stats = stats_of(&cache);
    largest(&mut stats);
    let text_len = stats.to_string().len();
    let room = emberlog::format::counters::PLACE_LEN - PageHeader::LEN;
    assert!(text_len + 160 * 32 < room, "{text_len} bytes and 160 cells in {room}");
}
