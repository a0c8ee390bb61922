//! A simulated disk: a directory in memory that can be crashed, filled up and made to fail at any call.
//!
//! Implements the weakest reading of the [contract](crate::disk) of what survives a crash. Deterministic: the same seed and the same calls give
//! the same disk. For tests, also of crates that embed a cache.
//!
//! Each clone is a handle of its own to the same directory, as two processes would have; the lock belongs to one of them, until it is dropped.
//!
//! `file` holds one file's bytes, `directory` the names, `fault` decides which call fails; this file puts them behind the [`Disk`] trait.
//!
//! Limits: all calls of one disk exclude each other; bytes read through a mapping never fail.

mod directory;
mod fault;
mod file;
mod image;
mod random;

pub use fault::{SimCause, SimFault, SimOp};

use super::os::{already_open, check_cut, check_name};
use super::{Access, Disk, DiskFile, Mapping};
use crate::sync::{Arc, Mutex, MutexGuard};
use directory::{Directory, FileId, Names};
use fault::{Faults, Refusal};
use file::SimFileState;
use random::Random;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// A disk that nobody limited has this much room.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

/// A directory in memory, to crash and to damage. See the [module](super) for what survives.
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Which of the handles to `state` this is.
    handle: u64,
}

/// All of a disk but its handles.
struct State {
    random: Random,
    directory: Directory,
    files: BTreeMap<FileId, SimFileState>,
    next_file: FileId,
    capacity_bytes: u64,
    /// What the medium held before this directory was made, and unsynced files may show after a power cut.
    stale: Option<Arc<Vec<u8>>>,
    faults: Faults,
    next_handle: u64,
    lock_holder: Option<u64>,
}

impl SimDisk {
    /// An empty disk. All that it leaves to chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::of(State::new(Random::new(seed), CAPACITY_BYTES_DEFAULT))
    }

    /// A disk that holds these files, all durable.
    pub fn from_snapshot(seed: u64, files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new(seed);
        for (name, bytes) in files {
            disk.write_file(name, bytes);
        }
        disk
    }

    /// The disk as it is found when this process has been killed: all that calls have returned from is kept, nothing of it is more durable than
    /// before. No faults, no lock; the same capacity.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        let mut killed = State::new(state.random.clone(), state.capacity_bytes);
        killed.directory = state.directory.clone();
        killed.next_file = state.next_file;
        killed.stale.clone_from(&state.stale);
        killed.files = state.reachable_files().map(|(id, file)| (id, file.after_kill())).collect();
        Self::of(killed)
    }

    /// The disk as the next boot finds it after a power cut: one of the many states that the contract allows, chosen by `seed`.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        self.booted(&mut Random::new(seed))
    }

    /// Every state in which the next boot may find the disk after a power cut, one after the other: each unsynced sector as it was, as it is, or as it
    /// was in between, each directory operation kept or undone, each undecided length at its ends. Their number grows with two to the power of
    /// [`undecided_count`](Self::undecided_count).
    pub fn power_cuts(&self) -> PowerCuts {
        PowerCuts { disk: self.after_kill(), ways: Some(Random::first_way()) }
    }

    /// How many sectors, lengths and directory operations a power cut decides on.
    pub fn undecided_count(&self) -> u64 {
        let state = self.state();
        let files: u64 = state.reachable_files().map(|(_, file)| file.undecided_count()).sum();
        files + state.directory.undecided_count()
    }

    fn booted(&self, random: &mut Random) -> Self {
        let state = self.state();
        let directory = state.directory.after_power_cut(random);
        let mut booted = State::new(Random::new(random.next()), state.capacity_bytes);
        booted.next_file = state.next_file;
        booted.stale.clone_from(&state.stale);
        let stale = state.stale.as_ref().map(|stale| stale.as_slice());
        for &id in directory.names().values() {
            booted.files.insert(id, state.file(id).after_power_cut(random, stale));
        }
        booted.directory = directory;
        Self::of(booted)
    }

    /// Makes the `nth` call from now on that does `op` fail; the next one is the first. Faults add up; the one armed first wins.
    pub fn fail_nth(&self, op: SimOp, nth: u64, fault: SimFault) {
        self.state().faults.arm(op, nth, fault);
    }

    /// Lets the process die in the `ops`-th mutating call from now on; the next one is the first. That call does nothing, or, if it writes, a
    /// prefix; it and all later ones fail, reads too.
    pub fn stop_after(&self, ops: u64) {
        self.state().faults.die_at(ops);
    }

    /// Takes all faults away, also the process's death.
    pub fn clear_faults(&self) {
        self.state().faults.disarm();
    }

    /// Mutating calls so far, failed ones included. A test that counts them in one run can die at each of them in others.
    pub fn op_count(&self) -> u64 {
        self.state().faults.op_count()
    }

    /// Calls of a kind so far, failed ones included. A test that counts them in one run can fail each of them in others.
    pub fn call_count(&self, op: SimOp) -> u64 {
        self.state().faults.call_count(op)
    }

    /// Sets how many bytes the disk holds. Less than it holds already only keeps new ones out.
    pub fn set_capacity_bytes(&self, capacity_bytes: u64) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// Says what the medium held before: blocks that no sync has made a file's own may show it after a power cut, at the same place of the file.
    /// Less than a page is as nothing.
    pub fn set_stale_bytes(&self, bytes: Vec<u8>) {
        self.state().stale = Some(Arc::new(bytes));
    }

    /// Bytes that files take which have a name or are open.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// All bytes of a file as readers see them now; empty if there is none. Neither counted nor failed by faults, like all helpers below.
    pub fn read_file(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.directory.find(name).map(|id| state.file(id).bytes()).unwrap_or_default()
    }

    /// Replaces or makes a file, durably, behind the back of whoever has it open or mapped.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let state = &mut *self.state();
        let id = state.directory.find(name).unwrap_or_else(|| state.add_file());
        state.directory.edit_durably(name, Some(id));
        let replaced = state.file_mut(id).replace_durably(bytes);
        replaced.expect("room is not asked for, and a test's files are far from the largest length");
    }

    /// Removes a file, durably, if it is there.
    pub fn remove_file(&self, name: &str) {
        let mut state = self.state();
        state.directory.edit_durably(name, None);
        state.drop_unreachable();
    }

    /// All files as readers see them now.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.directory.names().iter().map(|(name, &id)| (name.clone(), state.file(id).bytes())).collect()
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), handle: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn open_file(&self, state: &mut State, id: FileId, access: Access) -> Box<dyn DiskFile> {
        state.file_mut(id).open_count += 1;
        Box::new(SimFile { state: Arc::clone(&self.state), id, access })
    }
}

/// All states that a power cut may leave; see [`SimDisk::power_cuts`].
#[derive(Debug)]
pub struct PowerCuts {
    disk: SimDisk,
    /// `None` once all were told.
    ways: Option<Random>,
}

impl Iterator for PowerCuts {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let ways = self.ways.as_mut()?;
        let booted = self.disk.booted(ways);
        if !ways.next_way() {
            self.ways = None;
        }
        Some(booted)
    }
}

impl Clone for SimDisk {
    fn clone(&self) -> Self {
        let mut state = self.state();
        state.next_handle += 1;
        Self { state: Arc::clone(&self.state), handle: state.next_handle }
    }
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        let mut state = self.state();
        if state.lock_holder == Some(self.handle) {
            state.lock_holder = None;
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let (names, op_count) = (state.directory.names(), state.faults.op_count());
        f.debug_struct("SimDisk").field("names", names).field("op_count", &op_count).finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.faults.begin(SimOp::List)?;
        Ok(state.directory.names().keys().cloned().collect())
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let state = &mut *self.state();
        state.faults.begin(SimOp::Create)?;
        if state.directory.find(name).is_some() {
            return Err(Errno::EXIST.into());
        }
        let id = state.add_file();
        state.directory.name(name, id);
        Ok(self.open_file(state, id, Access::ReadWrite))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let state = &mut *self.state();
        state.faults.begin(SimOp::Open)?;
        let id = state.directory.find(name).ok_or(Errno::NOENT)?;
        Ok(self.open_file(state, id, access))
    }

    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        check_name(source)?;
        check_name(target)?;
        let mut state = self.state();
        state.faults.begin(SimOp::Rename)?;
        let id = state.directory.find(source).ok_or(Errno::NOENT)?;
        if source != target {
            state.directory.name(target, id);
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let mut state = self.state();
        state.faults.begin(SimOp::Unlink)?;
        let id = state.directory.find(name).ok_or(Errno::NOENT)?;
        state.directory.unlink(name, id);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let state = &mut *self.state();
        let begun = state.faults.begin(SimOp::SyncDir);
        match begun {
            Ok(()) => state.directory.sync(),
            Err(Refusal::Fault(_)) => state.directory.fail_sync(&mut state.random),
            Err(Refusal::Died | Refusal::Dead) => {}
        }
        state.drop_unreachable();
        Ok(begun?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        state.check_alive()?;
        Ok(state.room_bytes())
    }

    fn unlock(&self) {
        self.state().lock_holder = None;
    }

    fn lock(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let state = &mut *self.state();
        state.faults.begin(SimOp::Lock)?;
        let found = state.directory.find(name);
        if state.lock_holder.is_some() {
            return Err(already_open(&found.map(|id| state.file(id).bytes()).unwrap_or_default()));
        }
        let id = found.unwrap_or_else(|| {
            let id = state.add_file();
            state.directory.name(name, id);
            id
        });
        let content = format!("{}\n", rustix::process::getpid().as_raw_nonzero());
        let room_bytes = state.room_bytes();
        let file = state.file_mut(id);
        file.write(0, content.as_bytes(), room_bytes)?;
        file.truncate(content.len() as u64)?;
        state.lock_holder = Some(self.handle);
        Ok(())
    }
}

impl State {
    fn new(random: Random, capacity_bytes: u64) -> Self {
        Self {
            random,
            directory: Directory::all_durable(Names::new()),
            files: BTreeMap::new(),
            next_file: 0,
            capacity_bytes,
            stale: None,
            faults: Faults::default(),
            next_handle: 0,
            lock_holder: None,
        }
    }

    fn file(&self, id: FileId) -> &SimFileState {
        self.files.get(&id).expect("files stay while a name, an unsynced operation or a handle reaches them")
    }

    fn file_mut(&mut self, id: FileId) -> &mut SimFileState {
        self.files.get_mut(&id).expect("files stay while a name, an unsynced operation or a handle reaches them")
    }

    fn add_file(&mut self) -> FileId {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, SimFileState::new());
        id
    }

    fn reachable_files(&self) -> impl Iterator<Item = (FileId, &SimFileState)> {
        self.files.iter().filter(|(id, _)| self.directory.reaches(**id)).map(|(&id, file)| (id, file))
    }

    fn drop_unreachable(&mut self) {
        let directory = &self.directory;
        self.files.retain(|&id, file| file.open_count > 0 || directory.reaches(id));
    }

    fn used_bytes(&self) -> u64 {
        let open = self.files.iter().filter(|(_, file)| file.open_count > 0).map(|(&id, _)| id);
        let mut ids: Vec<FileId> = self.directory.names().values().copied().chain(open).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| self.file(id).allocated_bytes()).sum()
    }

    fn room_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.faults.is_dead() { Err(Refusal::Dead.into()) } else { Ok(()) }
    }
}

/// An open file of a simulated disk.
struct SimFile {
    state: Arc<Mutex<State>>,
    id: FileId,
    access: Access,
}

impl SimFile {
    /// Counts a call and hands out the disk.
    fn begin(&self, op: SimOp) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        state.faults.begin(op)?;
        Ok(state)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        state.check_alive()?;
        Ok(state)
    }

    fn check_may_change(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(Errno::BADF.into()),
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("id", &self.id).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let file = state.file_mut(self.id);
        file.open_count -= 1;
        if file.open_count == 0 {
            state.drop_unreachable();
        }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_may_change()?;
        let state = &mut *self.state.lock();
        let room_bytes = state.room_bytes();
        match state.faults.begin(SimOp::Write) {
            Ok(()) => state.file_mut(self.id).write(offset, bytes, room_bytes),
            Err(Refusal::Dead) => Err(Refusal::Dead.into()),
            Err(refusal) => {
                let landed_len = state.random.below(bytes.len() as u64 + 1) as usize;
                // Whatever goes wrong with the part that lands, the call has failed already.
                let _ = state.file_mut(self.id).write(offset, &bytes[..landed_len], room_bytes);
                Err(refusal.into())
            }
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.begin(SimOp::Read)?.file(self.id).read(offset, buffer))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_may_change()?;
        let mut state = self.begin(SimOp::Allocate)?;
        let room_bytes = state.room_bytes();
        state.file_mut(self.id).allocate(len, room_bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.begin(SimOp::Truncate)?;
        let file = state.file_mut(self.id);
        check_cut(file.len(), len)?;
        if self.access == Access::Read {
            return Err(Errno::INVAL.into()); // what ftruncate says
        }
        file.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let begun = state.faults.begin(SimOp::Sync);
        let State { files, random, stale, .. } = state;
        let file = files.get_mut(&self.id).expect("files stay while a handle reaches them");
        match begun {
            Ok(()) => file.sync(),
            Err(Refusal::Fault(_)) => file.fail_sync(random, stale.as_ref().map(|stale| stale.as_slice())),
            Err(Refusal::Died | Refusal::Dead) => {}
        }
        Ok(begun?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.file(self.id).len())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.alive()?.file(self.id).allocated_bytes())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok(self.alive()?.file(self.id).next_data(offset))
    }

    fn map(&self, len: u64) -> io::Result<Mapping> {
        self.begin(SimOp::Map)?.file_mut(self.id).map(len)
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests;
