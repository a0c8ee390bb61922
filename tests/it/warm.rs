//! The warm list: a restart finds in memory what was hot, and nothing that is not the log's. The list costs room in the budget and nothing else.

use crate::support::{KIB, Rng, START_UNIX_MS, Setup, named};
use emberlog::disk::{Access, Disk as _, SimDisk};
use emberlog::format::names::{WARM, WARM_TEMPORARY};
use emberlog::format::warm::{ENTRY_LEN, WarmEntry, WarmHeader};
use emberlog::recovery::survey::read_identity;
use emberlog::{Cache, EntryOptions, MaintenanceBudget, ManualClock, RecoveryReport};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HOT_COUNT: u32 = 60;
/// Enough to go through memory more than once; all of it fits the disk.
const COLD_COUNT: u32 = 3000;

fn setup() -> Setup {
    Setup { memory_bytes: 1024 * KIB, disk_bytes: 4096 * KIB, shards: 2, disk_index_bytes: 96 * KIB, ..Setup::small() }
}

fn hot(key: u32) -> String {
    format!("hot-{key}")
}

fn cold(key: u32) -> String {
    format!("cold-{key}")
}

fn value(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(300).collect()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START_UNIX_MS))
}

fn open(setup: &Setup, disk: &SimDisk, clock: &Arc<ManualClock>, seed: u64) -> Cache {
    setup.builder(clock, seed).open_on(Arc::new(disk.clone())).expect("the store opens")
}

/// All maintenance that is due.
fn maintain(cache: &Cache) {
    let budget = MaintenanceBudget { steps_max: 10_000, ..MaintenanceBudget::default() };
    assert!(!cache.maintain(budget).expect("a sound disk is maintained").more, "it comes to an end");
}

/// Cold keys go through memory while the hot ones are asked for again and again, so that these are in its main ring.
fn heat(cache: &Cache) {
    for key in 0..HOT_COUNT {
        // Every fourth has a time to live.
        let options =
            if key % 4 == 2 { EntryOptions::new().time_to_live(Duration::from_secs(60)) } else { EntryOptions::new() };
        cache.insert_with(hot(key), value(&hot(key)), options);
    }
    for key in 0..COLD_COUNT {
        cache.insert(cold(key), value(&cold(key)));
        if key % 50 == 0 {
            assert!((0..HOT_COUNT).all(|key| cache.get(hot(key)).is_some()));
        }
    }
    maintain(cache);
    let disk = cache.stats().disk.expect("a disk tier");
    assert!(disk.segments_retired == 0 && disk.dropped_by_index == 0, "all of it fits: {disk:?}");
}

/// Hits in memory and on disk while these keys are asked for, each of which has its value.
fn hits(cache: &Cache, keys: impl IntoIterator<Item = String>) -> (u64, u64) {
    let counts = || {
        let stats = cache.stats();
        (stats.memory.hits, stats.disk.expect("a disk tier").hits)
    };
    let before = counts();
    for key in keys {
        assert_eq!(cache.get(&key).as_deref(), Some(value(&key).as_slice()), "{key}");
    }
    let after = counts();
    (after.0 - before.0, after.1 - before.1)
}

fn report(cache: &Cache) -> RecoveryReport {
    cache.stats().recovery.expect("a disk tier")
}

/// Keys that a list names.
fn listed(disk: &SimDisk) -> Vec<WarmEntry> {
    let bytes = disk.read_file(WARM);
    let entries = bytes.get(WarmHeader::LEN..).unwrap_or_default();
    entries.as_chunks::<ENTRY_LEN>().0.iter().map(WarmEntry::decode).filter(|entry| entry.as_key().is_some()).collect()
}

/// A list of this store, or of another.
fn list_of(store_id: [u8; 16], entries: &[WarmEntry]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(WarmEntry::encode).collect();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store_id);
    hasher.update(&(WarmHeader::LEN as u64).to_le_bytes());
    hasher.update(&body);
    let header = WarmHeader { store_id, entry_count: entries.len() as u64, entries_crc: hasher.finalize() };
    [header.encode().as_slice(), &body].concat()
}

fn allocated_bytes(disk: &SimDisk, name: &str) -> u64 {
    disk.open(name, Access::Read).map_or(0, |file| file.allocated_bytes().expect("a sound disk"))
}

#[test]
fn what_was_hot_is_in_memory_again_after_a_close_and_after_a_crash() {
    for is_closed in [true, false] {
        let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
        let cache = open(&setup, &disk, &clock, 1);
        heat(&cache);
        let left = if is_closed {
            cache.close().expect("a sound disk is closed");
            disk.clone()
        } else {
            cache.flush().expect("a sound disk is flushed");
            disk.after_kill()
        };
        assert_eq!(
            listed(&left).len(),
            HOT_COUNT as usize,
            "closed: {is_closed}: what was asked for again, and no more"
        );
        let cache = open(&setup, &left, &clock, 2);
        assert_eq!(cache.stats().memory.entries, 0, "memory is empty until maintenance fills it");
        maintain(&cache);
        let memory = cache.stats().memory;
        assert_eq!(
            (memory.restored, memory.entries),
            (u64::from(HOT_COUNT), u64::from(HOT_COUNT)),
            "closed: {is_closed}"
        );
        assert_eq!(memory.promotions, 0, "nobody asked");
        assert_eq!(hits(&cache, (0..HOT_COUNT).map(hot)), (u64::from(HOT_COUNT), 0), "closed: {is_closed}");
        assert_eq!(hits(&cache, [cold(0)]), (0, 1), "the others come from disk");
        assert_eq!(hits(&cache, (1..COLD_COUNT).map(cold)).1 + 1, u64::from(COLD_COUNT), "and none is lost");
        cache.validate();
    }
}

#[test]
fn what_was_asked_for_before_it_was_read_back_is_read_once() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.close().expect("a sound disk is closed");
    let cache = open(&setup, &disk, &clock, 2);
    assert_eq!(hits(&cache, (0..10).map(hot)), (0, 10));
    assert!(cache.insert(hot(10), "newer").is_stored() && cache.remove(hot(11)));
    maintain(&cache);
    let memory = cache.stats().memory;
    assert_eq!((memory.promotions, memory.restored), (10, u64::from(HOT_COUNT) - 12));
    assert_eq!(memory.entries, u64::from(HOT_COUNT) - 1);
    assert_eq!(cache.get(hot(10)).as_deref(), Some(b"newer".as_slice()));
    assert_eq!(cache.get(hot(11)), None);
    cache.validate();
}

#[test]
fn a_close_before_the_list_was_read_back_keeps_it() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.close().expect("a sound disk is closed");
    let list = disk.read_file(WARM);
    let cache = open(&setup, &disk, &clock, 2);
    assert_eq!(hits(&cache, (0..3).map(cold)), (0, 3));
    assert!(cache.stats().memory.entries > 0, "memory has something to write down");
    cache.close().expect("a sound disk is closed");
    assert!(disk.read_file(WARM) == list, "the old list knows more");
    let cache = open(&setup, &disk, &clock, 3);
    maintain(&cache);
    assert_eq!(cache.stats().memory.restored, u64::from(HOT_COUNT));
}

#[test]
fn a_power_cut_leaves_a_list_or_none() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.flush().expect("a sound disk is flushed");
    let mut found = [0, 0];
    for seed in 0..40 {
        let left = disk.after_power_cut(seed);
        let cache = open(&setup, &left, &clock, 2);
        maintain(&cache);
        let restored = cache.stats().memory.restored;
        assert!([0, u64::from(HOT_COUNT)].contains(&restored), "power cut {seed}: {restored} restored");
        assert!(report(&cache).findings.iter().all(|finding| finding.label != "W-LIST"), "power cut {seed}");
        hits(&cache, (0..HOT_COUNT).map(hot));
        found[usize::from(restored > 0)] += 1;
    }
    assert!(found[0] > 0 && found[1] > 0, "both happen: {found:?}");
}

#[test]
fn a_list_brings_back_nothing_that_was_removed_overwritten_or_has_expired_since() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    let list = disk.read_file(WARM);
    for key in 0..HOT_COUNT {
        match key % 4 {
            0 => assert!(cache.remove(hot(key))),
            1 => assert!(cache.insert(hot(key), "newer").is_stored()),
            // Expires, or stays.
            _ => {}
        }
    }
    cache.flush().expect("a sound disk is flushed");
    assert_eq!((disk.read_file(WARM), listed(&disk).len()), (list, HOT_COUNT as usize), "the list is from before");
    clock.advance(Duration::from_secs(100));
    let left = disk.after_kill();
    let reopened = open(&setup, &left, &clock, 2);
    maintain(&reopened);
    assert_eq!(
        reopened.stats().memory.restored,
        u64::from(HOT_COUNT) / 2,
        "removed and expired ones are not read back"
    );
    for key in 0..HOT_COUNT {
        let expected = match key % 4 {
            0 | 2 => None,
            1 => Some(b"newer".to_vec()),
            _ => Some(value(&hot(key))),
        };
        assert_eq!(reopened.get(hot(key)).map(|value| value.to_vec()), expected, "key {key}");
    }

    cache.invalidate_all();
    cache.flush().expect("a sound disk is flushed");
    let left = disk.after_kill();
    assert_eq!(listed(&left).len(), HOT_COUNT as usize);
    let reopened = open(&setup, &left, &clock, 2);
    maintain(&reopened);
    assert_eq!((reopened.stats().memory.restored, reopened.get(hot(3))), (0, None));
}

#[test]
fn a_value_that_is_to_expire_does_so_also_when_it_was_read_back() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.close().expect("a sound disk is closed");
    let cache = open(&setup, &disk, &clock, 2);
    maintain(&cache);
    assert_eq!(hits(&cache, [hot(2)]), (1, 0), "it is there, in memory");
    clock.advance(Duration::from_secs(61));
    assert_eq!(cache.get(hot(2)), None, "and then it is not");
}

#[test]
fn a_list_that_does_not_verify_is_too_large_or_is_of_another_store_costs_warmth_and_nothing_else() {
    let (setup, disk, clock) = (setup(), SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.close().expect("a sound disk is closed");
    let files = disk.snapshot();
    let (good, store_id) = (files[WARM].clone(), read_identity(&disk).expect("a sound identity").store_id);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        bytes
    };
    let many = |count: u64| (0..count).map(|n| WarmEntry::key(n << 40, 1));
    let oversized: Vec<_> = many((setup.disk_bytes / 64 + 8192) / 12).chain(listed(&disk)).collect();
    let twice: Vec<_> = many(50).chain(listed(&disk)).chain(listed(&disk)).collect();
    // What the file holds, whether that verifies, whether it is used.
    let mut cases = vec![
        ("as it was".to_owned(), good.clone(), true, true),
        ("unknown hashes, and each known one twice".to_owned(), list_of(store_id, &twice), true, true),
        ("oversized".to_owned(), list_of(store_id, &oversized), true, false),
        ("of another store".to_owned(), list_of([1; 16], &listed(&disk)), false, false),
        ("empty".to_owned(), Vec::new(), false, false),
        ("one byte more".to_owned(), [good.as_slice(), &[0]].concat(), false, false),
        ("noise".to_owned(), value("noise"), false, false),
    ];
    cases.extend(
        [0, 5, 9, 13, 17, 30, 41, 50, 64, 72, good.len() - 1]
            .map(|at| (format!("flipped at {at}"), flipped(at), false, false)),
    );
    cases.extend(
        [1, 63, 64, 65, good.len() - 1].map(|len| (format!("cut to {len}"), good[..len].to_vec(), false, false)),
    );
    for (name, bytes, verifies, is_used) in cases {
        named(&name, || {
            let mut files = files.clone();
            files.insert(WARM.to_owned(), bytes);
            let disk = SimDisk::from_snapshot(9, &files);
            let cache = open(&setup, &disk, &clock, 2);
            let findings: Vec<_> =
                report(&cache).findings.into_iter().map(|finding| (finding.label, finding.file)).collect();
            let expected = if verifies { vec![] } else { vec![("W-LIST", WARM.to_owned())] };
            assert_eq!(findings, expected);
            assert_eq!(disk.snapshot().contains_key(WARM), is_used, "what is of no use is gone");
            maintain(&cache);
            let restored = if is_used { u64::from(HOT_COUNT) } else { 0 };
            assert_eq!(cache.stats().memory.restored, restored);
            assert_eq!(hits(&cache, (0..HOT_COUNT).map(hot)), (restored, u64::from(HOT_COUNT) - restored));
            assert!((0..COLD_COUNT).all(|key| cache.contains_key(cold(key))), "nothing is lost");
            cache.validate();
            cache.close().expect("a sound disk is closed");
            assert!(!listed(&disk).is_empty(), "close writes a good one");
            let cache = open(&setup, &disk, &clock, 3);
            assert_eq!(report(&cache).findings, []);
        });
    }
}

#[test]
fn a_list_takes_room_from_the_oldest_segments_at_open_and_from_no_others() {
    let (setup, disk, clock) = (Setup { disk_bytes: 8192 * KIB, ..setup() }, SimDisk::new(1), clock());
    let cache = open(&setup, &disk, &clock, 1);
    heat(&cache);
    cache.close().expect("a sound disk is closed");
    let files = disk.snapshot();
    let list_bytes = allocated_bytes(&disk, WARM);
    let mut without = files.clone();
    without.remove(WARM);
    let segments: Vec<_> = files.keys().filter(|name| name.starts_with("segment-")).cloned().collect();
    let kept = |files: &BTreeMap<String, Vec<u8>>, disk_bytes: u64| {
        let disk = SimDisk::from_snapshot(9, files);
        let setup = Setup { disk_bytes, ..setup.clone() };
        let cache = open(&setup, &disk, &clock, 2);
        let stats = cache.stats().disk.expect("a disk tier");
        assert!(
            stats.used_bytes <= disk_bytes && disk.used_bytes() <= disk_bytes,
            "{} of {disk_bytes}",
            disk.used_bytes()
        );
        let left = disk.snapshot();
        let gone = segments.iter().take_while(|name| !left.contains_key(*name)).count();
        assert!(segments[gone..].iter().all(|name| left.contains_key(name)), "the oldest go");
        assert_eq!(left.contains_key(WARM), files.contains_key(WARM), "the list stays");
        (report(&cache).segments_kept, gone)
    };
    // The smallest budget that keeps as many segments as a large one does.
    let smallest = |files: &BTreeMap<String, Vec<u8>>| {
        let all = kept(files, setup.disk_bytes);
        let (mut low, mut high) = (512 * KIB, setup.disk_bytes);
        while low + 1 < high {
            let middle = (low + high) / 2;
            if kept(files, middle) == all { high = middle } else { low = middle }
        }
        assert_eq!(kept(files, low), (all.0 - 1, all.1 + 1), "one byte less costs the oldest segment");
        high
    };
    assert!(list_bytes > 0);
    assert_eq!(smallest(&files) - smallest(&without), list_bytes, "a list takes its own room");
}

#[test]
fn lists_are_written_and_replaced_within_the_budget_also_where_it_is_nearly_full() {
    let (mut lists, mut retired, mut replaced_at_close) = (0, 0, 0);
    // Budgets that leave all kinds of rests beside whole segments.
    for rest in 0..18 {
        let setup = Setup {
            memory_bytes: 768 * KIB,
            disk_bytes: 1280 * KIB + rest * 4 * KIB,
            shards: 1,
            disk_index_bytes: 32 * KIB,
            ..Setup::small()
        };
        let (disk, clock) = (SimDisk::new(rest), clock());
        disk.set_capacity_bytes(setup.disk_bytes);
        let check = |cache: &Cache| {
            let stats = cache.stats().disk.expect("a disk tier");
            assert!(stats.is_on && stats.used_bytes <= stats.limit_bytes, "rest {rest}: {stats:?}");
            assert!(disk.used_bytes() <= setup.disk_bytes, "rest {rest}: {} bytes on disk", disk.used_bytes());
            stats.used_bytes
        };
        let mut rng = Rng::new(rest);
        for life in 0..4 {
            let cache = open(&setup, &disk, &clock, life + 1);
            for _ in 0..3500 {
                let key = if rng.below(2) == 0 { rng.below(200) } else { rng.below(5000) } as u32;
                if cache.get(hot(key)).is_none() {
                    cache.insert(hot(key), value(&hot(key)));
                }
                let before = (check(&cache), disk.read_file(WARM), allocated_bytes(&disk, WARM));
                cache.maintain(MaintenanceBudget::default()).expect("a sound disk is maintained");
                let after = (check(&cache), disk.read_file(WARM), allocated_bytes(&disk, WARM));
                if before.1 != after.1 {
                    lists += 1;
                    assert_eq!(after.0 + before.2, before.0 + after.2, "rest {rest}: a list is charged what it takes");
                    assert!(after.2 <= setup.disk_bytes / 64, "rest {rest}: {} bytes of list", after.2);
                }
            }
            retired += cache.stats().disk.expect("a disk tier").segments_retired;
            let before = disk.read_file(WARM);
            cache.close().expect("a sound disk is closed");
            check(&cache);
            assert!(!disk.snapshot().contains_key(WARM_TEMPORARY), "rest {rest}");
            let after = disk.read_file(WARM);
            assert!(before.is_empty() || !after.is_empty(), "rest {rest}: a list is given up for another only");
            replaced_at_close += u64::from(before != after);
        }
    }
    assert!(
        lists > 100 && retired > 100 && replaced_at_close > 40,
        "{lists} lists, {retired} segments retired, {replaced_at_close} at close"
    );
}
