//! The warm list's file fails: the disk tier stays on, nothing is lost, and the next open works. Only warmth may go.

use crate::faulty::{Call, FaultyDisk, Plan};
use crate::support::{KIB, START_UNIX_MS, Setup, named};
use emberlog::disk::{Disk, SimDisk};
use emberlog::format::names::{WARM, WARM_TEMPORARY};
use emberlog::{Cache, MaintenanceBudget, ManualClock};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const KEY_COUNT: u32 = 2500;

fn faulty(disk: &SimDisk, plan: &Arc<Plan>) -> Arc<FaultyDisk> {
    Arc::new(FaultyDisk::new(disk, plan, [WARM_TEMPORARY, WARM]))
}

fn setup() -> Setup {
    Setup { memory_bytes: 1024 * KIB, disk_bytes: 4096 * KIB, disk_index_bytes: 96 * KIB, ..Setup::small() }
}

fn key(key: u32) -> String {
    format!("key-{key}")
}

fn value(number: u32) -> Vec<u8> {
    key(number).bytes().cycle().take(300).collect()
}

fn open(disk: Arc<dyn Disk>, seed: u64) -> Cache {
    let clock = Arc::new(ManualClock::new(START_UNIX_MS));
    setup().builder(&clock, seed).open_on(disk).expect("the store opens")
}

fn maintain(cache: &Cache) {
    let budget = MaintenanceBudget { steps_max: 10_000, ..MaintenanceBudget::default() };
    assert!(!cache.maintain(budget).expect("the disk tier is on").more);
}

/// Inserts all keys, some of them asked for often, with maintenance in between: so lists are written and replaced.
fn work(cache: &Cache, disk: &SimDisk) {
    for number in 0..KEY_COUNT {
        cache.insert(key(number), value(number));
        if number % 100 == 99 {
            (0..50).for_each(|hot| assert!(cache.get(key(hot)).is_some()));
            maintain(cache);
            check(cache, disk);
        }
    }
}

/// The disk tier is on, what it takes is charged, and nothing is lost.
fn check(cache: &Cache, disk: &SimDisk) {
    let stats = cache.stats().disk.expect("a disk tier");
    assert!(stats.is_on, "{:?}", stats.off_because);
    assert!(disk.used_bytes() <= stats.used_bytes && stats.used_bytes <= stats.limit_bytes, "{stats:?}");
    assert_eq!(stats.segments_retired, 0, "all of it fits");
}

fn check_all(cache: &Cache) {
    for number in 0..KEY_COUNT {
        assert_eq!(cache.peek(key(number)).as_deref(), Some(value(number).as_slice()), "key {number}");
    }
    cache.validate();
}

#[test]
fn a_list_that_cannot_be_written_costs_only_itself() {
    use Call::{Allocate, Allocated, Create, Rename, Sync, Truncate, UnlinkTemporary, Write};
    let mut cases: Vec<(Vec<Call>, u64)> = Vec::new();
    for call in [Create, Allocate, Write, Truncate, Sync, Allocated, Rename] {
        // The first list, and one that replaces another.
        for passed_count in [0, 1, 2] {
            cases.push((vec![call], passed_count));
            if call != Create {
                cases.push((vec![call, UnlinkTemporary], passed_count));
            }
        }
    }
    for (calls, passed_count) in cases {
        named(&format!("{calls:?} after {passed_count}"), || {
            let (disk, plan) = (SimDisk::new(1), Arc::new(Plan::default()));
            let cache = open(faulty(&disk, &plan), 1);
            plan.arm(calls[0], passed_count);
            calls[1..].iter().for_each(|&call| plan.arm(call, 0));
            work(&cache, &disk);
            assert_eq!(plan.failed_count(), calls.len() as u64, "it failed");
            assert_eq!(disk.snapshot().contains_key(WARM_TEMPORARY), calls.len() == 2, "what was begun is removed");
            check_all(&cache);
            // A crash at this point, and a clean end.
            let crashed = [disk.after_kill(), disk.after_power_cut(7)];
            cache.close().expect("the disk tier is on");
            check(&cache, &disk);
            if calls[0] != Call::Write {
                // A list takes several writes, and one of everything else.
                let begun_count = plan.begun_count.load(Ordering::Relaxed);
                // It is asked twice how much a list takes.
                let list = if calls[0] == Call::Allocated { passed_count / 2 } else { passed_count };
                assert_eq!(begun_count, list + 1, "a failure ends the lists of this process");
            }
            for (number, left) in [disk.after_kill()].into_iter().chain(crashed).enumerate() {
                let cache = open(Arc::new(left.clone()), 2);
                let names = left.snapshot();
                assert!(!names.contains_key(WARM_TEMPORARY), "the next open tidies up");
                maintain(&cache);
                if number == 2 {
                    // What no flush covered may be gone.
                    assert!((0..100).all(|n| cache.peek(key(n)).is_none_or(|found| found == value(n))));
                } else if number == 0 {
                    check_all(&cache);
                }
                check(&cache, &left);
                cache.insert("more", "value");
                cache.close().expect("a sound disk is closed");
            }
        });
    }
}

#[test]
fn a_list_that_can_no_longer_be_read_is_at_its_end() {
    let disk = SimDisk::new(1);
    let cache = open(Arc::new(disk.clone()), 1);
    work(&cache, &disk);
    cache.close().expect("a sound disk is closed");
    let (mut unread, mut partly) = (0, 0);
    for passed_count in 0..8 {
        named(&format!("read {passed_count}"), || {
            let (left, plan) = (disk.after_kill(), Arc::new(Plan::default()));
            plan.arm(Call::Read, passed_count);
            let cache = open(faulty(&left, &plan), 2);
            maintain(&cache);
            check(&cache, &left);
            check_all(&cache);
            if plan.failed_count() > 0 {
                let restored = cache.stats().memory.restored;
                assert!(restored <= 50, "{restored} restored");
                *(if restored == 0 { &mut unread } else { &mut partly }) += 1;
            }
            cache.close().expect("the disk tier is on");
        });
    }
    assert!(unread > 0, "{unread} not read at all, {partly} in part");
}
