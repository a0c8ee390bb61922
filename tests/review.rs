//! Scenarios that a sceptical reader of the engine put together: each was wrong once.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; a slow disk sleeps")]

use emberlog::disk::{Access, Disk, SimDisk};
use emberlog::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use emberlog::format::segment::SegmentHeader;
use emberlog::log::scan::{self, Depth, Item};
use emberlog::recovery::survey::read_identity;
use emberlog::{Builder, Cache, Maintenance, MaintenanceBudget};
use std::ops::ControlFlow;
use std::sync::Arc;

fn small() -> Builder {
    Cache::builder()
        .memory_bytes(2 << 20)
        .disk_bytes(2 << 20)
        .segment_len_bytes(64 << 10)
        .append_buffer_bytes(32 << 10)
        .maintenance(Maintenance::Manual)
        .shards(1)
        .random_seed(7)
}

fn open(settings: Builder, disk: &SimDisk) -> Cache {
    settings.open_on(Arc::new(disk.clone())).unwrap()
}

#[test]
fn a_burst_larger_than_the_whole_disk_does_not_turn_the_disk_tier_off() {
    let disk = SimDisk::new(1);
    let settings = Cache::builder().memory_bytes(64 << 20).disk_bytes(1 << 20).append_buffer_bytes(8 << 20);
    let cache = open(settings, &disk);
    let value = [7u8; 4000];
    for i in 0..10_000u32 {
        cache.insert(i.to_le_bytes(), value);
    }
    let stats = cache.stats().disk.unwrap();
    assert!(stats.is_on, "{:?}", stats.off_because);
    cache.flush().unwrap();
}

#[test]
fn a_segment_cut_between_two_batches_brings_no_older_value_back() {
    let disk = SimDisk::new(2);
    let cache = open(small(), &disk);
    let filler = [1u8; 1000];
    let mut next = 0u32;
    let mut fill = |until: u64| {
        while cache.stats().disk.unwrap().segments < until {
            cache.insert(format!("filler {next}"), filler);
            cache.flush().unwrap();
            next += 1;
        }
    };
    cache.insert("key", "old");
    fill(2);
    cache.insert("key", "new");
    cache.flush().unwrap();
    fill(3);
    cache.flush().unwrap();
    let crashed = disk.after_kill();
    let identity = read_identity(&crashed).unwrap();
    let name = "segment-0000000002.log";
    let mut bytes = crashed.read_file(name);
    let header = SegmentHeader::decode_either(identity.store_id, &bytes).unwrap();
    // Where the batch begins that holds the new value.
    let (mut batch_at, mut cut_at) = (0, None);
    let file = crashed.open(name, Access::Read).unwrap();
    scan::scan(&*file, &header, header.len_bytes, None, Depth::Headers, &mut |item| {
        match item {
            Item::Batch { offset, .. } => batch_at = offset as usize,
            Item::Record { header, .. } if header.value_len == 3 => cut_at = Some(batch_at),
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    bytes.truncate(cut_at.unwrap());
    crashed.write_file(name, &bytes);
    for attempt in 1..=2 {
        let cache = open(small(), &crashed);
        assert_eq!(cache.get("key"), None, "open {attempt}: the newest version was durable and is lost");
        drop(cache);
    }
}

#[test]
fn a_file_with_the_largest_number_does_not_break_opening() {
    let disk = SimDisk::new(3);
    drop(open(small(), &disk));
    disk.write_file("segment-4294967295.log", b"not a segment");
    let cache = open(small(), &disk);
    cache.insert("key", "value");
    cache.flush().unwrap();
    drop(cache);
    assert_eq!(open(small(), &disk).get("key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_footer_that_names_places_beyond_its_segment_is_not_trusted() {
    let disk = SimDisk::new(4);
    let cache = open(small(), &disk);
    cache.insert("key", "1");
    cache.insert("key", "2");
    let mut i = 0u32;
    while cache.stats().disk.unwrap().segments < 3 {
        cache.insert(i.to_le_bytes(), [0; 1000]);
        i += 1;
    }
    while cache.maintain(MaintenanceBudget { steps_max: 100, ..Default::default() }).unwrap().more {}
    drop(cache);
    let identity = read_identity(&disk).unwrap();
    let name = "segment-0000000001.log";
    let mut bytes = disk.read_file(name);
    let tail_at = bytes.len() - FooterTail::LEN;
    let mut tail = FooterTail::decode(identity.store_id, tail_at as u64, &bytes[tail_at..]).unwrap();
    let start = tail.data_end_offset as usize;
    let entries_len = tail.entry_count as usize * ENTRY_LEN;
    let first = FooterEntry::decode(bytes[start..start + ENTRY_LEN].try_into().unwrap()).unwrap();
    let beyond = FooterEntry { offset: first.offset + (1 << 30), ..first };
    bytes[start..start + ENTRY_LEN].copy_from_slice(&beyond.encode());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&tail.header.uid);
    hasher.update(&u64::from(tail.data_end_offset).to_le_bytes());
    hasher.update(&bytes[start..start + entries_len]);
    tail.entries_crc = hasher.finalize();
    bytes[tail_at..].copy_from_slice(&tail.encode(tail_at as u64));
    disk.write_file(name, &bytes);
    let cache = open(small(), &disk);
    assert_eq!(cache.get("key").as_deref(), Some(&b"2"[..]), "the segment itself is sound, so it is scanned");
    cache.validate();
}

#[test]
fn what_is_counted_stays_right_when_everything_is_invalidated() {
    let disk = SimDisk::new(5);
    let cache = open(small(), &disk);
    cache.insert("key", "value");
    cache.invalidate_all();
    cache.validate();
}

#[test]
fn a_segment_file_that_someone_removed_does_not_turn_the_disk_tier_off() {
    let disk = SimDisk::new(6);
    let cache = open(small(), &disk);
    let mut i = 0u32;
    while cache.stats().disk.unwrap().segments_retired < 3 {
        if i == 200 {
            disk.remove_file("segment-0000000001.log");
        }
        cache.insert(i.to_le_bytes(), [0; 1000]);
        i += 1;
        assert!(cache.stats().disk.unwrap().is_on, "after {i} inserts: {:?}", cache.stats().disk.unwrap().off_because);
    }
    cache.validate();
}

#[test]
fn a_power_cut_while_what_lies_beyond_the_end_is_removed_keeps_the_rest() {
    // Segment 1 ends torn, 2 and 3 follow it: both are to go. Whatever of that survives a cut, segment 1 stays.
    let disk = SimDisk::new(8);
    let cache = open(small(), &disk);
    cache.insert("kept", "value");
    cache.flush().unwrap();
    let mut i = 0u32;
    while cache.stats().disk.unwrap().segments < 4 {
        cache.insert(i.to_le_bytes(), [3; 1000]);
        i += 1;
    }
    cache.maintain(MaintenanceBudget { steps_max: 0, ..Default::default() }).unwrap();
    let torn = disk.after_kill();
    let name = "segment-0000000001.log";
    let mut bytes = torn.read_file(name);
    bytes[20_000..24_000].fill(0);
    torn.write_file(name, &bytes);
    for seed in 0..100 {
        for ops in 1..8 {
            let before = torn.after_kill();
            // The process dies in the middle of recovery, and then the power goes.
            before.stop_after(ops);
            let _ = small().open_on(Arc::new(before.clone()));
            let after = before.after_power_cut(seed);
            let cache = open(small(), &after);
            assert!(cache.get("kept").is_some(), "seed {seed}, died at operation {ops}: {:?}", cache.stats().recovery);
        }
    }
}

#[test]
fn the_time_that_a_sealed_log_has_seen_counts_at_the_next_open() {
    let disk = SimDisk::new(9);
    let clock = Arc::new(emberlog::ManualClock::new(1_000_000_000_000));
    let settings = || small().shared_clock(clock.clone());
    drop(open(settings(), &disk));
    clock.advance(std::time::Duration::from_secs(10 * 86_400));
    let cache = open(settings(), &disk);
    cache.insert("key", "value");
    cache.maintain(MaintenanceBudget::default()).unwrap();
    drop(cache);
    // Twice: the first open seals what the second then trusts by its footer.
    drop(open(settings(), &disk));
    clock.set(1_000_000_000_000 + 5 * 86_400_000);
    let cache = open(settings(), &disk);
    assert!(cache.stats().recovery.unwrap().emptied_by_clock, "the log has seen a time five days ahead of the clock");
}

/// A disk whose syncs take a while, as real ones do.
#[derive(Debug)]
struct Slow(SimDisk);

#[derive(Debug)]
struct SlowFile(Box<dyn emberlog::disk::DiskFile>);

impl emberlog::disk::DiskFile for SlowFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn allocate(&self, len: u64) -> std::io::Result<()> {
        self.0.allocate(len)
    }
    fn truncate(&self, len: u64) -> std::io::Result<()> {
        self.0.truncate(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.0.sync_data()
    }
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn allocated_bytes(&self) -> std::io::Result<u64> {
        self.0.allocated_bytes()
    }
    fn next_data(&self, offset: u64) -> std::io::Result<Option<u64>> {
        self.0.next_data(offset)
    }
    fn map(&self, len: u64) -> std::io::Result<emberlog::disk::Mapping> {
        self.0.map(len)
    }
}

impl Disk for Slow {
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.0.list()
    }
    fn create_new(&self, name: &str) -> std::io::Result<Box<dyn emberlog::disk::DiskFile>> {
        Ok(Box::new(SlowFile(self.0.create_new(name)?)))
    }
    fn open(&self, name: &str, access: Access) -> std::io::Result<Box<dyn emberlog::disk::DiskFile>> {
        Ok(Box::new(SlowFile(self.0.open(name, access)?)))
    }
    fn rename(&self, source: &str, target: &str) -> std::io::Result<()> {
        self.0.rename(source, target)
    }
    fn unlink(&self, name: &str) -> std::io::Result<()> {
        self.0.unlink(name)
    }
    fn sync_dir(&self) -> std::io::Result<()> {
        self.0.sync_dir()
    }
    fn free_bytes(&self) -> std::io::Result<u64> {
        self.0.free_bytes()
    }
    fn lock(&self, name: &str) -> std::io::Result<()> {
        self.0.lock(name)
    }
    fn unlock(&self) {
        self.0.unlock();
    }
}

#[test]
fn many_threads_over_a_tiny_disk_end_with_the_tier_on_and_the_budget_kept() {
    for durability in [emberlog::Durability::Buffered, emberlog::Durability::Synced] {
        let disk = SimDisk::new(10);
        let settings = Cache::builder()
            .memory_bytes(2 << 20)
            .disk_bytes(512 << 10)
            .segment_len_bytes(64 << 10)
            .append_buffer_bytes(64 << 10)
            .durability(durability)
            .shards(2);
        let cache = settings.open_on(Arc::new(Slow(disk.clone()))).unwrap();
        let rounds = if durability == emberlog::Durability::Synced { 40 } else { 1500 };
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (cache, disk) = (&cache, &disk);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let key = ((thread * 7919 + round * 104_729) % 300).to_le_bytes();
                        match round % 8 {
                            0 => drop(cache.remove(key)),
                            1 | 2 => drop(cache.get(key)),
                            3 if round % 400 == 3 => cache.invalidate_all(),
                            _ => drop(cache.insert(key, vec![round as u8; 900])),
                        }
                        assert!(disk.used_bytes() <= 512 << 10, "{} bytes on disk", disk.used_bytes());
                        if round % 100 == 99 {
                            cache.flush().unwrap();
                        }
                    }
                });
            }
        });
        let stats = cache.stats().disk.unwrap();
        assert!(stats.is_on, "{durability:?}: {:?}", stats.off_because);
        cache.flush().unwrap();
        cache.validate();
        cache.close().unwrap();
    }
}
