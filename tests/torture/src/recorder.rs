//! A simulated disk that keeps a copy of itself as it is before each call that may change what a crash leaves, so that one run gives every point at
//! which it could have been cut.

use emberlog::disk::{Access, Disk, DiskFile, Mapping, SimDisk};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What had been promised when a state was kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promised {
    /// Events up to here survive a power cut, and those up to there a kill.
    pub durable_seqno: u64,
    pub written_seqno: u64,
}

#[derive(Debug, Default)]
struct Kept {
    is_on: bool,
    promised: Promised,
    states: Vec<(SimDisk, Promised)>,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Recorder {
    disk: SimDisk,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct RecordedFile {
    inner: Box<dyn DiskFile>,
    recorder: Recorder,
}

impl Recorder {
    pub fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), kept: Arc::default() }
    }

    /// From now on states are kept.
    pub fn start(&self) {
        self.kept().is_on = true;
    }

    /// What calls have promised by now.
    pub fn promise(&self, promised: Promised) {
        self.kept().promised = promised;
    }

    /// All states since the start, the present one last.
    pub fn take(&self) -> Vec<(SimDisk, Promised)> {
        self.keep();
        std::mem::take(&mut self.kept().states)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics under it")
    }

    fn keep(&self) {
        let mut kept = self.kept();
        if kept.is_on {
            let state = (self.disk.after_kill(), kept.promised);
            kept.states.push(state);
        }
    }

    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(RecordedFile { inner, recorder: self.clone() })
    }
}

impl Disk for Recorder {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.keep();
        Ok(self.file(self.disk.create_new(name)?))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name, access)?))
    }
    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        self.keep();
        self.disk.rename(source, target)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.keep();
        self.disk.unlink(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.keep();
        self.disk.sync_dir()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn lock(&self, name: &str) -> io::Result<()> {
        self.keep();
        self.disk.lock(name)
    }
    fn unlock(&self) {
        self.disk.unlock();
    }
}

impl DiskFile for RecordedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.recorder.keep();
        self.inner.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.recorder.keep();
        self.inner.allocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.recorder.keep();
        self.inner.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.recorder.keep();
        self.inner.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.inner.allocated_bytes()
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(offset)
    }
    fn map(&self, len: u64) -> io::Result<Mapping> {
        self.inner.map(len)
    }
}
