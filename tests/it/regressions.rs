//! One test for each bug that was found, as small as it could be made.

use crate::support::{START_UNIX_MS, Setup};
use emberlog::disk::SimDisk;
use emberlog::{Cache, ErrorKind, ManualClock};
use std::sync::Arc;

fn open(disk: &SimDisk, seed: u64) -> Cache {
    let clock = Arc::new(ManualClock::new(START_UNIX_MS));
    Setup::small().builder(&clock, seed).open_on(Arc::new(disk.clone())).expect("a sound disk opens")
}

/// The count of live records of each segment was left as it was.
#[test]
fn clearing_everything_leaves_no_live_record_counted() {
    let cache = open(&SimDisk::new(1), 1);
    cache.insert("key", "value");
    cache.invalidate_all();
    cache.validate();
}

/// So it was when a record turned out to be damaged.
#[test]
fn a_damaged_record_is_no_longer_counted_as_live() {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1);
    cache.insert("key", vec![b'v'; 100]);
    cache.close().expect("a sound disk");
    let cache = open(&disk, 2);
    let name = "segment-0000000001.log";
    let mut bytes = disk.read_file(name);
    let at = bytes.windows(4).position(|window| window == b"vvvv").expect("the value is there");
    bytes[at] ^= 1;
    disk.write_file(name, &bytes);
    assert_eq!(cache.get("key"), None);
    cache.validate();
    assert_eq!(cache.stats().disk.expect("a disk tier").damaged_records, 1);
}

/// The stack buffer was sliced to the value's length even where the value was in an owned copy.
#[test]
fn a_value_larger_than_the_stack_buffer_is_lent_from_disk() {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1);
    cache.insert("key", vec![7; 5000]);
    cache.close().expect("a sound disk");
    let cache = open(&disk, 2);
    assert_eq!(cache.read("key", <[u8]>::len), Some(5000));
}

/// A reservation was made and dropped, under the lock that dropping it takes, where there was no room; the request hung.
#[test]
fn an_insert_that_finds_the_append_buffer_full_makes_room_itself() {
    let cache = open(&SimDisk::new(1), 1);
    for key in 0..200u32 {
        assert!(cache.insert(key.to_le_bytes(), [1; 4000]).disk.is_stored());
    }
}

/// Rounding the size up to whole pages overflowed.
#[test]
fn an_index_larger_than_all_memory_is_an_error() {
    let error = Cache::builder().disk_index_bytes(u64::MAX).open_on(Arc::new(SimDisk::new(1))).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

/// Without the segment that the log ends in, the spare behind it told that there was one; older values came back all the same.
#[test]
fn a_newest_segment_that_is_gone_is_a_hole_as_its_spare_is_still_there() {
    let disk = SimDisk::new(1);
    let cache = open(&disk, 1);
    cache.insert("key", "older");
    let mut key = 0u32;
    while cache.stats().disk.expect("a disk tier").segments < 2 {
        key += 1;
        cache.insert(key.to_le_bytes(), [1; 1000]);
    }
    cache.remove("key");
    cache.flush().expect("a sound disk");
    let disk = disk.after_kill();
    disk.remove_file("segment-0000000002.log");
    // Also when the next open dies while it removes what is forgotten.
    for ops in 1..20 {
        let disk = disk.after_kill();
        disk.stop_after(ops);
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        drop(Setup::small().builder(&clock, 2).open_on(Arc::new(disk.clone())));
        let cache = open(&disk.after_kill(), 3);
        assert_eq!(cache.get("key"), None, "removed, and flushed; the open died in call {ops}");
    }
}
