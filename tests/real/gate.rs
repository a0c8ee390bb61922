//! The machine's disk behind gates: before every read, write and sync, opened and shut by the test.

use emberlog::disk::{Access, Disk, DiskFile, Mapping, OsDisk};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    Yes,
    /// Lets other threads go first, so that what the cache does around the call spreads out.
    Slowly,
    /// Waits until the gate opens.
    No,
    /// Fails from now on.
    Error,
}

/// Before one kind of call.
#[derive(Debug)]
pub(crate) struct Gate {
    /// What passes, and how many wait.
    state: Mutex<(Passes, u32)>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Self {
        Self { state: Mutex::new((Passes::Yes, 0)), changed: Condvar::new() }
    }

    pub(crate) fn set(&self, passes: Passes) {
        self.state.lock().unwrap().0 = passes;
        self.changed.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.0 == Passes::Slowly {
            drop(state);
            std::thread::yield_now();
            return Ok(());
        }
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.0 == Passes::No).unwrap();
        state.1 -= 1;
        if state.0 == Passes::Error { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    /// Waits until somebody stands before the gate. Only while it is shut: else whoever comes is through at once.
    pub(crate) fn wait_for_somebody(&self) {
        let state = self.state.lock().unwrap();
        let limit = Duration::from_secs(30);
        let (_state, waited) = self.changed.wait_timeout_while(state, limit, |state| state.1 == 0).unwrap();
        assert!(!waited.timed_out(), "nobody came to the gate");
    }
}

/// The gates of a disk. All open when the test's handle goes, also where it fails: nobody is left standing.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    pub(crate) reads: Arc<Gate>,
    pub(crate) writes: Arc<Gate>,
    pub(crate) syncs: Arc<Gate>,
}

#[derive(Debug)]
pub(crate) struct Opener(Gates);

impl std::ops::Deref for Opener {
    type Target = Gates;
    fn deref(&self) -> &Gates {
        &self.0
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        for gate in [&self.reads, &self.writes, &self.syncs] {
            if gate.state.lock().unwrap().0 == Passes::No {
                gate.set(Passes::Yes);
            }
        }
    }
}

/// The machine's disk behind gates.
#[derive(Debug)]
pub(crate) struct GateDisk {
    disk: OsDisk,
    gates: Gates,
}

#[derive(Debug)]
pub(crate) struct GateFile {
    file: Box<dyn DiskFile>,
    gates: Gates,
}

impl GateDisk {
    /// The directory at this path, all gates open, and the handle to them.
    pub(crate) fn new(path: &Path) -> (Arc<Self>, Opener) {
        let disk = OsDisk::open_or_create(path).unwrap();
        let gate = || Arc::new(Gate::new());
        let gates = Gates { reads: gate(), writes: gate(), syncs: gate() };
        (Arc::new(Self { disk, gates: gates.clone() }), Opener(gates))
    }

    fn gated(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(GateFile { file, gates: self.gates.clone() })
    }
}

impl Disk for GateDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.gated(self.disk.create_new(name)?))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.gated(self.disk.open(name, access)?))
    }
    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        self.disk.rename(source, target)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.gates.syncs.pass()?;
        self.disk.sync_dir()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn lock(&self, name: &str) -> io::Result<()> {
        self.disk.lock(name)
    }
    fn unlock(&self) {
        self.disk.unlock();
    }
}

impl DiskFile for GateFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.gates.writes.pass()?;
        self.file.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.gates.reads.pass()?;
        self.file.read_at(offset, buffer)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gates.syncs.pass()?;
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.file.next_data(offset)
    }
    fn map(&self, len: u64) -> io::Result<Mapping> {
        self.file.map(len)
    }
}
