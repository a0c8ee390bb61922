//! The warm list's file fails: the disk tier stays on, nothing is lost, and the next open works. Only warmth may go.

use crate::support::{KIB, START_UNIX_MS, Setup, named};
use emberlog::disk::{Access, Disk, DiskFile, Mapping, SimDisk};
use emberlog::format::names::{WARM, WARM_TEMPORARY};
use emberlog::{Cache, MaintenanceBudget, ManualClock};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A call that concerns the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Create,
    Write,
    Sync,
    Allocate,
    Allocated,
    Truncate,
    Rename,
    UnlinkTemporary,
    Read,
}

/// Which calls fail, and how many did.
#[derive(Debug, Default)]
struct Plan {
    /// Each with how many of its kind pass before.
    armed: Mutex<Vec<(Call, u64)>>,
    failed_count: AtomicU64,
    /// Lists that were begun.
    begun_count: AtomicU64,
}

impl Plan {
    fn arm(&self, call: Call, passed_count: u64) {
        self.armed.lock().expect("no thread panics under it").push((call, passed_count));
    }

    fn failed_count(&self) -> u64 {
        self.failed_count.load(Ordering::Relaxed)
    }

    /// Counts a call, and fails it once.
    fn pass(&self, call: Call) -> io::Result<()> {
        let mut armed = self.armed.lock().expect("no thread panics under it");
        let Some(at) = armed.iter().position(|(armed, _)| *armed == call) else { return Ok(()) };
        if armed[at].1 > 0 {
            armed[at].1 -= 1;
            return Ok(());
        }
        armed.remove(at);
        self.failed_count.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other(format!("{call:?} fails")))
    }
}

/// A simulated disk of which only calls for the list fail.
#[derive(Debug)]
struct FaultyDisk {
    inner: SimDisk,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl FaultyDisk {
    fn file(&self, name: &str, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        match name {
            WARM | WARM_TEMPORARY => Box::new(FaultyFile { inner, plan: Arc::clone(&self.plan) }),
            _ => inner,
        }
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == WARM_TEMPORARY {
            self.plan.begun_count.fetch_add(1, Ordering::Relaxed);
            self.plan.pass(Call::Create)?;
        }
        Ok(self.file(name, self.inner.create_new(name)?))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name, access)?))
    }
    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        if target == WARM {
            self.plan.pass(Call::Rename)?;
        }
        self.inner.rename(source, target)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        if name == WARM_TEMPORARY {
            self.plan.pass(Call::UnlinkTemporary)?;
        }
        self.inner.unlink(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }
    fn lock(&self, name: &str) -> io::Result<()> {
        self.inner.lock(name)
    }
    fn unlock(&self) {
        self.inner.unlock();
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.plan.pass(Call::Write) {
            // A part of it is there.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.plan.pass(Call::Read)?;
        self.inner.read_at(offset, buffer)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.plan.pass(Call::Allocate)?;
        self.inner.allocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.plan.pass(Call::Truncate)?;
        self.inner.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.plan.pass(Call::Sync)?;
        self.inner.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.plan.pass(Call::Allocated)?;
        self.inner.allocated_bytes()
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(offset)
    }
    fn map(&self, len: u64) -> io::Result<Mapping> {
        self.inner.map(len)
    }
}

const KEY_COUNT: u32 = 2500;

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
            let cache = open(Arc::new(FaultyDisk { inner: disk.clone(), plan: Arc::clone(&plan) }), 1);
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
            let cache = open(Arc::new(FaultyDisk { inner: left.clone(), plan: Arc::clone(&plan) }), 2);
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
