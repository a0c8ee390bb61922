//! A disk of which only calls for one file fail.

use emberlog::disk::{Access, Disk, DiskFile, Mapping, SimDisk};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A call that concerns the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write,
    Sync,
    Allocate,
    Allocated,
    Truncate,
    Rename,
    UnlinkTemporary,
    Unlink,
    Read,
}

/// Which calls fail, and how many did.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Each with how many of its kind pass before.
    armed: Mutex<Vec<(Call, u64)>>,
    is_for_ever: AtomicBool,
    failed_count: AtomicU64,
    /// Files that were begun.
    pub(crate) begun_count: AtomicU64,
}

impl Plan {
    pub(crate) fn arm(&self, call: Call, passed_count: u64) {
        self.armed.lock().expect("no thread panics under it").push((call, passed_count));
    }

    /// From the armed call on, all of its kind fail.
    pub(crate) fn arm_for_ever(&self, call: Call, passed_count: u64) {
        self.is_for_ever.store(true, Ordering::Relaxed);
        self.arm(call, passed_count);
    }

    pub(crate) fn failed_count(&self) -> u64 {
        self.failed_count.load(Ordering::Relaxed)
    }

    /// Counts a call, and fails it once, or from then on.
    fn pass(&self, call: Call) -> io::Result<()> {
        let mut armed = self.armed.lock().expect("no thread panics under it");
        let Some(at) = armed.iter().position(|(armed, _)| *armed == call) else { return Ok(()) };
        if armed[at].1 > 0 {
            armed[at].1 -= 1;
            return Ok(());
        }
        if !self.is_for_ever.load(Ordering::Relaxed) {
            armed.remove(at);
        }
        self.failed_count.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other(format!("{call:?} fails")))
    }
}

/// A simulated disk of which only calls for one file fail, under its temporary name and its own.
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    inner: SimDisk,
    plan: Arc<Plan>,
    temporary: &'static str,
    name: &'static str,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl FaultyDisk {
    pub(crate) fn new(inner: &SimDisk, plan: &Arc<Plan>, [temporary, name]: [&'static str; 2]) -> Self {
        Self { inner: inner.clone(), plan: Arc::clone(plan), temporary, name }
    }

    fn file(&self, name: &str, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        if name == self.name || name == self.temporary {
            return Box::new(FaultyFile { inner, plan: Arc::clone(&self.plan) });
        }
        inner
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == self.temporary {
            self.plan.begun_count.fetch_add(1, Ordering::Relaxed);
            self.plan.pass(Call::Create)?;
        }
        Ok(self.file(name, self.inner.create_new(name)?))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name, access)?))
    }
    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        if target == self.name {
            self.plan.pass(Call::Rename)?;
        }
        self.inner.rename(source, target)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        if name == self.temporary {
            self.plan.pass(Call::UnlinkTemporary)?;
        }
        if name == self.name {
            self.plan.pass(Call::Unlink)?;
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
