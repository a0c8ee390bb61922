//! Tests that look behind the cache: what is owed to the log, and what a restart knows of popularity.

use super::*;
use crate::clock::ManualClock;
use crate::disk::{SimCause, SimDisk, SimFault, SimOp};
use crate::format::names::WARM;
use crate::hash::key_hash;
use crate::sync::{Ordering, PlainArc, Worker};
use std::time::Duration;

fn open(memory_bytes: u64, disk: &SimDisk, clock: &PlainArc<ManualClock>, seed: u64) -> Cache {
    let settings =
        Cache::builder().memory_bytes(memory_bytes).disk_bytes(8 << 20).shards(1).segment_len_bytes(64 << 10);
    let settings =
        settings.maintenance(Maintenance::Manual).random_seed(seed).shared_clock(PlainArc::<ManualClock>::clone(clock));
    settings.open_on(PlainArc::new(disk.clone())).expect("the store opens")
}

fn clock() -> PlainArc<ManualClock> {
    PlainArc::new(ManualClock::new(1_700_000_000_000))
}

fn maintain(cache: &Cache) {
    let budget = MaintenanceBudget { steps_max: 10_000, ..MaintenanceBudget::default() };
    assert!(!cache.maintain(budget).expect("a sound disk is maintained").more);
}

fn key(number: u32) -> String {
    format!("key-{number}")
}

fn value(number: u32) -> Vec<u8> {
    key(number).bytes().cycle().take(1000).collect()
}

fn is_in_log(cache: &Cache, number: u32) -> bool {
    let hash = key_hash(cache.core().salt, key(number).as_bytes());
    cache.core().shards.read(hash).index_find(hash).is_some()
}

fn is_in_memory(cache: &Cache, number: u32) -> bool {
    let (key, core) = (key(number), cache.core());
    let hash = key_hash(core.salt, key.as_bytes());
    core.shards.read(hash).memory.holds(hash, key.as_bytes())
}

/// Lets the oldest segment go as if the index were full: nothing of it is appended again at once. Returns the keys that it cost the log.
fn retire_for_index(cache: &Cache) -> Vec<u32> {
    let before: Vec<u32> = (0..400).filter(|&number| is_in_log(cache, number)).collect();
    cache.core().index_crowded.store(true, Ordering::Relaxed);
    assert!(cache.core().relieve_index().expect("a sound disk"), "a segment goes");
    let lost: Vec<u32> = before.into_iter().filter(|&number| !is_in_log(cache, number)).collect();
    assert!(lost.len() > 20 && lost.iter().all(|&number| is_in_memory(cache, number)), "{lost:?}");
    lost
}

/// What a kill leaves, opened.
fn after_kill(cache: &Cache, disk: &SimDisk, clock: &PlainArc<ManualClock>) -> Cache {
    cache.flush().expect("a sound disk is flushed");
    open(4 << 20, &disk.after_kill(), clock, 2)
}

/// A store whose memory holds all of its 400 values, in several segments.
fn filled(disk: &SimDisk, clock: &PlainArc<ManualClock>) -> Cache {
    let cache = open(4 << 20, disk, clock, 1);
    for number in 0..400 {
        let options = if number % 10 == 3 {
            EntryOptions::new().time_to_live(Duration::from_secs(50))
        } else {
            EntryOptions::new()
        };
        cache.insert_with(key(number), value(number), options);
    }
    maintain(&cache);
    assert!((0..400).all(|number| is_in_memory(&cache, number) && is_in_log(&cache, number)));
    cache
}

#[test]
fn what_memory_holds_and_the_log_lost_is_appended_again_and_survives_a_crash() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = filled(&disk, &clock);
    let lost = retire_for_index(&cache);
    let crashed = after_kill(&cache, &disk, &clock);
    assert!(lost.iter().all(|&number| crashed.get(key(number)).is_none()), "a crash at this point takes them");
    maintain(&cache);
    assert!(lost.iter().all(|&number| is_in_log(&cache, number)), "they are in the log again");
    let core = cache.core();
    let record_len = crate::format::record::RecordHeader::put(0, key(10).as_bytes(), &value(10), 0).record_len();
    assert!(core.compaction.owed_paid_bytes.get().abs_diff(lost.len() as u64 * record_len) < 16 * lost.len() as u64);
    assert_eq!(core.compaction.dropped_live_count.get(), 0, "nothing was lost");
    cache.validate();
    let crashed = after_kill(&cache, &disk, &clock);
    for &number in &lost {
        assert_eq!(crashed.get(key(number)).as_deref(), Some(value(number).as_slice()), "key {number}");
    }
    clock.advance(Duration::from_secs(51));
    for &number in &lost {
        assert_eq!(crashed.get(key(number)).is_some(), number % 10 != 3, "key {number} expires when it did");
    }
}

#[test]
fn what_was_removed_overwritten_or_evicted_meanwhile_is_owed_no_more() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = filled(&disk, &clock);
    let lost = retire_for_index(&cache);
    let core = cache.core();
    let expiring: Vec<u32> = lost.iter().copied().filter(|number| number % 10 == 3).collect();
    let others: Vec<u32> = lost.iter().copied().filter(|number| number % 10 != 3).collect();
    let (removed, overwritten, evicted) = (others[0], others[1], others[2]);
    assert!(cache.remove(key(removed)));
    cache.insert(key(overwritten), "newer");
    let hash = key_hash(core.salt, key(evicted).as_bytes());
    core.shards.write(hash).memory.remove(hash, key(evicted).as_bytes());
    clock.advance(Duration::from_secs(51));
    assert!(!expiring.is_empty());
    maintain(&cache);
    // It cannot be told any more that one of them was removed.
    assert_eq!(core.compaction.dropped_live_count.get(), 2, "the evicted one is counted, and the removed one");
    for &number in &expiring {
        assert!(!is_in_log(&cache, number), "key {number} has expired");
    }
    let crashed = after_kill(&cache, &disk, &clock);
    assert_eq!((crashed.get(key(removed)), crashed.get(key(evicted))), (None, None));
    assert_eq!(crashed.get(key(overwritten)).as_deref(), Some(b"newer".as_slice()));
    assert!(others[3..].iter().all(|&number| crashed.get(key(number)).as_deref() == Some(&value(number)[..])));
}

#[test]
fn close_appends_what_is_owed_and_counts_what_memory_no_longer_holds() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = filled(&disk, &clock);
    let lost = retire_for_index(&cache);
    let core = cache.core();
    let hash = key_hash(core.salt, key(lost[0]).as_bytes());
    core.shards.write(hash).memory.remove(hash, key(lost[0]).as_bytes());
    cache.close().expect("a sound disk is closed");
    let stats = cache.stats().disk.expect("a disk tier");
    assert_eq!((stats.dropped_with_segment, stats.dropped_at_close), (1, 0));
    let cache = open(4 << 20, &disk, &clock, 2);
    assert_eq!(cache.get(key(lost[0])), None);
    assert!(lost[1..].iter().all(|&number| cache.get(key(number)).as_deref() == Some(&value(number)[..])));
}

#[test]
fn what_is_owed_is_paid_within_a_quarter_of_what_requests_brought() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = filled(&disk, &clock);
    let core = cache.core();
    let log = core.log.as_ref().expect("with a disk tier");
    let lost: Vec<u32> = (0..3).flat_map(|_| retire_for_index(&cache)).collect();
    maintain(&cache);
    let paid = |cache: &Cache| lost.iter().filter(|&&number| is_in_log(cache, number)).count();
    let is_within = || {
        let most = log.counters.accepted_bytes.get() / 4 + 1100;
        core.compaction.owed_paid_bytes.get() <= most
    };
    let first = paid(&cache);
    assert!(first > 20 && first < lost.len() && is_within(), "{first} of {} are paid", lost.len());
    // More comes in, so more may be paid; in the end all is.
    for number in 1000..1000 + 4 * lost.len() as u32 {
        cache.insert(key(number), value(number));
    }
    maintain(&cache);
    assert!(is_within());
    assert_eq!((paid(&cache), core.compaction.dropped_live_count.get()), (lost.len(), 0));
    cache.validate();
}

#[test]
fn the_first_hit_on_disk_promotes_after_a_restart_and_the_second_before() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(1 << 20, &disk, &clock, 1);
    let mut next = 0;
    let fill = |cache: &Cache, next: &mut u32| {
        let evicted = cache.stats().memory.evicted;
        while cache.stats().memory.evicted < evicted + 100 {
            cache.insert(key(*next), value(*next));
            *next += 1;
        }
    };
    fill(&cache, &mut next);
    let promotions = |cache: &Cache| cache.stats().memory.promotions;
    let evicted: Vec<u32> =
        (0..next).filter(|&number| !is_in_memory(&cache, number) && is_in_log(&cache, number)).collect();
    let (one, other) = (evicted[0], evicted[1]);
    assert!(cache.get(key(one)).is_some());
    assert_eq!((promotions(&cache), is_in_memory(&cache, one)), (0, false), "just evicted: one hit is not enough");
    assert!(cache.get(key(one)).is_some());
    assert_eq!((promotions(&cache), is_in_memory(&cache, one)), (1, true), "two are");

    cache.flush().expect("a sound disk is flushed");
    let left = disk.after_kill();
    left.remove_file(WARM);
    let reopened = open(1 << 20, &left, &clock, 2);
    // No more room to spare in memory, as that would promote as well.
    fill(&reopened, &mut next);
    assert_eq!((promotions(&reopened), is_in_memory(&reopened, other)), (0, false));
    assert!(reopened.get(key(other)).is_some());
    assert_eq!((promotions(&reopened), is_in_memory(&reopened, other)), (1, true), "the first hit promotes");
}

#[test]
fn what_was_hit_on_disk_is_known_after_a_restart_and_nothing_else_is() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(1 << 20, &disk, &clock, 1);
    let popularity = |cache: &Cache, number: u32| {
        let hash = key_hash(cache.core().salt, key(number).as_bytes());
        cache.core().shards.read(hash).index_find(hash).map(|found| found.popularity)
    };
    for number in 0..1500 {
        cache.insert(key(number), value(number));
        // Keys of which one was asked for again, and the other not, lie side by side.
        if number >= 1000 && number % 2 == 0 {
            assert!(cache.get(key(number - 1000)).is_some());
        }
    }
    // Hit, and then overwritten: its record is another.
    assert!(popularity(&cache, 0) > Some(0));
    cache.insert(key(0), "newer");
    let before: Vec<_> = (0..1500).map(|number| popularity(&cache, number)).collect();
    assert!(before.iter().filter(|&&found| found > Some(0)).count() > 100, "{before:?}");
    assert!(before.iter().filter(|&&found| found == Some(0)).count() > 100, "{before:?}");
    cache.close().expect("a sound disk is closed");

    let reopened = open(1 << 20, &disk, &clock, 2);
    let after: Vec<_> = (0..1500).map(|number| popularity(&reopened, number)).collect();
    assert_eq!(after, before);
    drop(reopened);
    // Advice only: without it nothing is known, and all is there.
    disk.remove_file(WARM);
    let forgetful = open(1 << 20, &disk, &clock, 3);
    let expected: Vec<_> = before.iter().map(|found| found.map(|_| 0)).collect();
    assert_eq!((0..1500).map(|number| popularity(&forgetful, number)).collect::<Vec<_>>(), expected);
}

/// A file system that refuses new segments from some moment on: close ends all the same, and does not let the log go for a spare.
#[test]
fn a_close_without_room_for_a_spare_ends_and_keeps_the_log() {
    let (mut refused, mut kept) = (0, 0);
    for value_len in (200..520).step_by(8) {
        let disk = SimDisk::new(value_len);
        let settings = Cache::builder().memory_bytes(8 << 20).disk_bytes(8 << 20).segment_len_bytes(256 << 10);
        let cache = settings.open_on(PlainArc::new(disk.clone())).expect("an empty disk");
        let value = vec![7; value_len as usize];
        for number in 0..(10 << 20) / value_len {
            cache.insert(number.to_le_bytes(), &value);
        }
        let before = cache.stats().disk.expect("with a disk tier").segments;
        disk.fail_nth(SimOp::Allocate, 1, SimFault::forever(SimCause::Full));
        let (done, ended) = std::sync::mpsc::channel();
        let closing = cache.clone();
        let mut thread = Worker::start("closes", move || {
            let is_ok = closing.close().is_ok();
            // Whoever waited may have given up.
            let _ = done.send(Box::new((is_ok, closing.stats())));
        })
        .expect("a thread");
        // Not a measure of time: without an end there is nothing else to wait for.
        let ended = ended.recv_timeout(Duration::from_secs(60));
        let (is_ok, stats) = *ended.unwrap_or_else(|_| panic!("{value_len}: close hangs"));
        thread.join();
        let disk_stats = stats.disk.expect("with a disk tier");
        refused += u32::from(disk_stats.segments < before);
        kept += u32::from(is_ok);
        // A quarter for what memory holds, eight for the spare, and what maintenance was about to retire.
        assert!(
            disk_stats.segments + before / 4 + 10 >= before,
            "{value_len}: {} of {before} are left",
            disk_stats.segments
        );
    }
    assert!(refused > 0 && kept > 0, "some had to let segments go ({refused}), some closed in order ({kept})");
}

/// Without steps of maintenance nothing is read back; the list still says what memory held last.
#[test]
fn a_store_that_nobody_maintains_lists_what_it_held_last() {
    let (disk, clock) = (SimDisk::new(1), clock());
    for run in 0..3u32 {
        let cache = open(4 << 20, &disk, &clock, u64::from(run));
        // A quarter of memory, promoted: each is asked for on disk twice.
        let numbers = run * 1500..(run + 1) * 1500;
        for number in numbers.clone() {
            cache.insert(key(number), value(number));
        }
        for number in numbers.clone() {
            let hash = key_hash(cache.core().salt, key(number).as_bytes());
            cache.core().shards.write(hash).memory.remove(hash, key(number).as_bytes());
            (0..2).for_each(|_| drop(cache.get(key(number))));
        }
        let promoted: Vec<u32> = numbers.filter(|&number| is_in_memory(&cache, number)).collect();
        assert!(promoted.len() > 100, "run {run}: {}", promoted.len());
        cache.close().expect("a sound disk");
        let next = open(4 << 20, &disk, &clock, 100 + u64::from(run));
        maintain(&next);
        let restored = promoted.iter().filter(|&&number| is_in_memory(&next, number)).count();
        assert!(restored * 2 > promoted.len(), "run {run}: {restored} of {} come back", promoted.len());
        drop(next);
    }
}

/// What is paid back may push another key's slot out of a full index, which then is live no more.
#[test]
fn paying_what_is_owed_with_a_full_index_keeps_the_count_of_live_records() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let settings = Cache::builder().memory_bytes(4 << 20).disk_bytes(8 << 20).shards(1).disk_index_bytes(4096);
    let settings = settings.maintenance(Maintenance::Manual).random_seed(1).shared_clock(PlainArc::clone(&clock) as _);
    let cache = settings.open_on(PlainArc::new(disk.clone())).expect("the store opens");
    let core = cache.core();
    for number in 0..2000 {
        cache.insert(key(number), value(number));
        let hash = key_hash(core.salt, key(number / 2).as_bytes());
        if core.shards.read(hash).index_find(hash).is_none() {
            core.owed.push(hash, &core.compaction);
        }
        maintain(&cache);
        cache.validate();
    }
    assert!(core.compaction.owed_paid_bytes.get() > 100_000, "{}", core.compaction.owed_paid_bytes.get());
}

/// So may what close appends.
#[test]
fn closing_with_a_full_index_keeps_the_count_of_live_records_and_counts_the_slots_that_go() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let settings = Cache::builder().memory_bytes(4 << 20).disk_bytes(8 << 20).shards(1).disk_index_bytes(4096);
    let settings = settings.maintenance(Maintenance::Manual).random_seed(1).shared_clock(PlainArc::clone(&clock) as _);
    let cache = settings.open_on(PlainArc::new(disk.clone())).expect("the store opens");
    for number in 0..2000 {
        cache.insert(key(number), value(number));
    }
    let is_anywhere = |number: &u32| is_in_log(&cache, *number) || is_in_memory(&cache, *number);
    let before = (0..2000).filter(is_anywhere).count() as u64;
    let stats = |cache: &Cache| cache.stats().disk.expect("with a disk tier");
    let counted =
        |stats: &crate::DiskStats| stats.dropped_at_close + stats.dropped_with_segment + stats.dropped_by_index;
    let (counted_before, displaced_before) = (counted(&stats(&cache)), stats(&cache).dropped_by_index);
    cache.close().expect("a sound disk");
    cache.validate();
    let after = (0..2000).filter(|&number| is_in_log(&cache, number)).count() as u64;
    let closed = stats(&cache);
    assert!(closed.dropped_by_index > displaced_before, "close filled the index to the brim");
    // A slot that went may be that of a key that memory holds: it is counted where it went, and again where memory was the last to have it.
    assert!(before - after <= counted(&closed) - counted_before, "{before} keys, {after} kept: {closed:?}");
}

#[test]
fn a_close_that_failed_says_so_again() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let cache = open(4 << 20, &disk, &clock, 1);
    cache.insert(key(1), value(1));
    disk.fail_nth(SimOp::Any, 1, SimFault::forever(SimCause::Io));
    assert!(cache.close().is_err() && cache.close().is_err());
    let cache = open(4 << 20, &SimDisk::new(2), &clock, 1);
    assert!(cache.close().is_ok() && cache.close().is_ok());
}
