//! Recovery to the letter: what it must not believe, and what it must make durable before it vouches for it. Here a miss is not good enough.

use crate::support::{START_UNIX_MS, Setup, named};
use emberlog::disk::{Access, Disk as _, SimDisk};
use emberlog::format::names;
use emberlog::format::record::RecordHeader;
use emberlog::format::segment::SegmentHeader;
use emberlog::log::scan::{Depth, Item, scan};
use emberlog::recovery::survey::read_identity;
use emberlog::{Cache, Durability, ManualClock, ReadMode, RecoveryReport};
use std::ops::ControlFlow;
use std::sync::Arc;

fn setup() -> Setup {
    // All that is inserted is in the kernel at once, and durable when it is flushed.
    Setup { durability: Durability::Written, disk_index_bytes: 16 << 10, ..Setup::small() }
}

fn open(disk: &SimDisk, seed: u64) -> Result<Cache, emberlog::Error> {
    let clock = Arc::new(ManualClock::new(START_UNIX_MS));
    setup().builder(&clock, seed).open_on(Arc::new(disk.clone()))
}

fn value(tag: &str, len: usize) -> Vec<u8> {
    tag.bytes().cycle().take(len).collect()
}

fn report(cache: &Cache) -> RecoveryReport {
    cache.stats().recovery.expect("a disk tier")
}

fn damaged_records(cache: &Cache) -> u64 {
    cache.stats().disk.expect("a disk tier").damaged_records
}

/// Where the records of a segment that is not sealed stand, in order.
fn records(disk: &SimDisk, number: u32) -> Vec<(usize, RecordHeader)> {
    let name = names::segment(number);
    let bytes = disk.read_file(&name);
    let store_id = read_identity(disk).expect("a sound identity").store_id;
    let header = SegmentHeader::decode_either(store_id, &bytes).expect("a sound header");
    let file = disk.open(&name, Access::Read).expect("the file is there");
    let mut found = Vec::new();
    scan(&*file, &header, bytes.len() as u32, None, Depth::Headers, &mut |item| {
        if let Item::Record { offset, header, .. } = item {
            found.push((offset as usize, header));
        }
        ControlFlow::Continue(())
    })
    .expect("a sound file is read");
    found
}

/// Flips a bit in the payload of the nth record, from the end of the segment.
fn damage_payload(disk: &SimDisk, number: u32, from_end: usize) {
    let records = records(disk, number);
    let (offset, header) = records[records.len() - 1 - from_end];
    let name = names::segment(number);
    let mut bytes = disk.read_file(&name);
    bytes[offset + header.len() + header.payload_len() as usize / 2] ^= 1;
    disk.write_file(&name, &bytes);
}

#[test]
fn a_segment_left_over_from_an_end_that_was_cut_is_removed_and_nothing_of_it_is_served() {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1).expect("an empty disk");
    cache.insert("a", "1");
    cache.insert("b", "1");
    cache.flush().expect("a sound disk is flushed");
    // The log moves into its second segment, and nothing of that is durable.
    for round in 0..5 {
        cache.insert(format!("k{round}"), value(&format!("value {round} "), 15_000));
    }
    cache.insert("a", "2");
    cache.remove("b");
    let before = disk.after_kill();
    let second = before.read_file(&names::segment(2));
    assert!(!records(&before, 2).is_empty(), "the second is in use");
    // A power cut took the second and the end of the first. Recovery cut the log there and sealed it.
    let cut = before.after_kill();
    cut.remove_file(&names::segment(2));
    cut.remove_file(&names::segment(3));
    damage_payload(&cut, 1, 0);
    let cache = open(&cut, 2).expect("the store opens");
    assert_eq!(report(&cache).findings.iter().map(|finding| finding.label).collect::<Vec<_>>(), ["V-CUT"]);
    let sealed = cut.after_kill();
    let names_then = sealed.snapshot();
    drop(cache);
    for (name, is_reused) in [("before its number was given again", false), ("as it came back later", true)] {
        named(name, || {
            // Then the second came back: a medium may show it again as long as the directory was not synced.
            let left = sealed.after_kill();
            if is_reused {
                // Whatever the next process had made is gone instead.
                names_then
                    .keys()
                    .filter(|name| **name > names::segment(2) && name.starts_with("segment-"))
                    .for_each(|name| left.remove_file(name));
            }
            left.write_file(&names::segment(2), &second);
            let cache = open(&left, 3).expect("the store opens");
            assert!(
                report(&cache)
                    .findings
                    .iter()
                    .any(|finding| finding.label == "S-STALE" && finding.file == names::segment(2))
            );
            assert_eq!(cache.get("a").as_deref(), Some(b"1".as_slice()), "not what was cut");
            assert_eq!(cache.get("b").as_deref(), Some(b"1".as_slice()), "nor is it removed");
            assert!((0..5).all(|round| {
                cache.get(format!("k{round}")).is_none_or(|found| found == value(&format!("value {round} "), 15_000))
            }));
            assert!(left.read_file(&names::segment(2)) != second, "it is removed, and its number given again");
            cache.insert("c", "3");
            cache.flush().expect("a sound disk is flushed");
            let cache = open(&left.after_kill(), 4).expect("the store opens");
            assert_eq!(report(&cache).findings, []);
            for (key, expected) in [("a", "1"), ("b", "1"), ("c", "3")] {
                assert_eq!(cache.get(key).as_deref(), Some(expected.as_bytes()), "{key}");
            }
        });
    }
}

#[test]
fn a_recovery_that_loses_power_has_vouched_for_nothing_that_was_not_durable() {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1).expect("an empty disk");
    for key in 0..10 {
        cache.insert(format!("k{key}"), value(&format!("old {key} "), 900));
    }
    cache.flush().expect("a sound disk is flushed");
    for key in 0..10 {
        cache.insert(format!("k{key}"), value(&format!("new {key} "), 900));
    }
    // The kernel has the newer ones, and the medium does not.
    let killed = disk.after_kill();
    drop(cache);
    let ops = {
        let left = killed.after_kill();
        let before = left.op_count();
        let cache = open(&left, 2).expect("the store opens");
        assert!((0..10).all(|key| {
            cache.get(format!("k{key}")).is_some_and(|found| found == value(&format!("new {key} "), 900))
        }));
        left.op_count() - before
    };
    let (mut sealed, mut unsealed, mut newer) = (0, 0, 0);
    for at in 1..=ops + 1 {
        for seed in 0..40 {
            named(&format!("recovery loses power in call {at}, seed {seed}"), || {
                let left = killed.after_kill();
                left.stop_after(at);
                drop(open(&left, 2));
                let left = left.after_power_cut(seed);
                let cache = open(&left, 3).expect("the store opens");
                // A segment that is trusted by its footer, or one that is read through.
                *(if report(&cache).segments_trusted > 0 { &mut sealed } else { &mut unsealed }) += 1;
                for key in 0..10 {
                    let found =
                        cache.get(format!("k{key}")).expect("the older one was flushed, so there is one of the two");
                    let is_newer = found == value(&format!("new {key} "), 900);
                    newer += u32::from(is_newer);
                    assert!(is_newer || found == value(&format!("old {key} "), 900), "key {key}");
                }
                assert_eq!(damaged_records(&cache), 0);
                assert!(report(&cache).findings.iter().all(|finding| !finding.damage), "a crash is not damage");
            });
        }
    }
    assert!(sealed > 50 && unsealed > 50 && newer > 100, "{sealed} sealed, {unsealed} not, {newer} newer values");
}

/// A store with three values that were flushed twice each, then `later` events that were not; not sealed.
fn twice_flushed(later: &dyn Fn(&Cache)) -> SimDisk {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1).expect("an empty disk");
    for tag in ["old", "new"] {
        for key in ["a", "b", "c"] {
            cache.insert(key, value(&format!("{tag} {key} "), 700));
        }
        cache.flush().expect("a sound disk is flushed");
    }
    later(&cache);
    disk.after_kill()
}

#[test]
fn a_durable_record_whose_payload_does_not_verify_is_forgotten_once_and_for_all() {
    for read_mode in [ReadMode::Mapped, ReadMode::Pread] {
        let left = twice_flushed(&|_| {});
        // The newer value of "b".
        damage_payload(&left, 1, 1);
        // At first from the segment itself, then from the footer that was made of it.
        for (round, forgotten) in [(0, 1), (1, 0), (2, 0)] {
            named(&format!("{read_mode:?}, open {round}"), || {
                let clock = Arc::new(ManualClock::new(START_UNIX_MS));
                let setup = Setup { read_mode, ..setup() };
                let cache = setup.builder(&clock, 2 + round).open_on(Arc::new(left.clone())).expect("the store opens");
                let report = report(&cache);
                assert_eq!((report.forgotten_keys, report.forgotten_older, report.entries), (forgotten, 0, 2));
                assert_eq!(report.findings.iter().filter(|finding| finding.label == "V-KEY").count() as u64, forgotten);
                assert_eq!(cache.get("b"), None, "never the older one");
                for key in ["a", "c"] {
                    assert_eq!(cache.get(key).as_deref(), Some(value(&format!("new {key} "), 700).as_slice()));
                }
                assert_eq!(damaged_records(&cache), 0, "nobody comes upon it again");
                cache.close().expect("a sound disk is closed");
            });
        }
    }
}

#[test]
fn a_record_that_was_never_durable_and_does_not_verify_ends_the_log_before_it() {
    let left = twice_flushed(&|cache| {
        cache.insert("a", value("newest a ", 700));
        cache.insert("b", value("newest b ", 700));
        cache.insert("c", value("newest c ", 700));
    });
    damage_payload(&left, 1, 1);
    for round in 0..3 {
        named(&format!("open {round}"), || {
            let cache = open(&left, 2 + round).expect("the store opens");
            let report = report(&cache);
            let labels: Vec<_> = report.findings.iter().map(|finding| (finding.label, finding.damage)).collect();
            assert_eq!(labels, if round == 0 { vec![("V-CUT", false)] } else { vec![] });
            assert_eq!((report.forgotten_keys, report.forgotten_older, report.entries), (0, 0, 3));
            for (key, tag) in [("a", "newest a "), ("b", "new b "), ("c", "new c ")] {
                assert_eq!(cache.get(key).as_deref(), Some(value(tag, 700).as_slice()), "{key}");
            }
            assert_eq!(damaged_records(&cache), 0);
            cache.close().expect("a sound disk is closed");
        });
    }
}
