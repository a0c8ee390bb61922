//! Requests, restarts and crashes against a small cache on a simulated disk, checked by the model.
//!
//! Everything is small enough that segments are retired, slots are dropped and rings overflow within one input.

use crate::model::Model;
use arbitrary::Arbitrary;
use emberlog::disk::{Disk, SimCause, SimDisk, SimFault, SimOp};
use emberlog::{Cache, Durability, EntryOptions, Maintenance, MaintenanceBudget, ManualClock, ReadMode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Keys are below this.
const KEY_COUNT: u16 = 600;
const MEMORY_BYTES: u64 = 1 << 20;
const DISK_BYTES: u64 = 512 << 10;

/// One step.
#[derive(Debug, Clone, Arbitrary)]
pub enum Op {
    /// Gives a key a value of this length.
    Insert(u16, u16),
    /// The same, for so many seconds.
    InsertFor(u16, u16, u8),
    /// Takes a value away.
    Remove(u16),
    /// Reads it.
    Get(u16),
    /// Borrows it for a call.
    Read(u16),
    /// Reads it without moving anything.
    Peek(u16),
    /// Reads many in a row.
    GetRange(u16, u8),
    /// Inserts many in a row, of this length.
    InsertRange(u16, u8, u16),
    /// Takes all away.
    InvalidateAll,
    /// Makes all durable.
    Flush,
    /// Takes some steps of maintenance.
    Maintain(u8),
    /// Lets seconds pass.
    Wait(u8),
    /// Closes and opens again.
    Reopen,
    /// The process dies between two calls, and another opens the store.
    Kill,
    /// The power goes; `.0` chooses what is left.
    PowerCut(u64),
    /// The process dies in a later call to the disk.
    DieAfter(u8),
    /// A later call to the disk fails, once or for ever.
    Fail(u8, u8, bool),
    /// Checks everything that is counted.
    Validate,
}

/// Settings of a run.
#[derive(Debug, Clone, Arbitrary)]
pub struct Setup {
    seed: u64,
    durability: u8,
    by_pread: bool,
    ops: Vec<Op>,
}

/// A mistake that is built in to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    None,
    /// Removes do not reach the cache.
    LoseRemoves,
}

/// Half of all keys are one of sixteen, so that keys meet again within a short input.
fn key_of(raw: u16) -> u16 {
    if raw.is_multiple_of(2) { raw / 2 % 16 } else { raw / 2 % KEY_COUNT }
}

/// The value of a key in a version: it names both, and its bytes follow from them.
fn value_of(key: u16, version: u64, len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(len.max(10));
    value.extend_from_slice(&key.to_le_bytes());
    value.extend_from_slice(&version.to_le_bytes());
    let mut state = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(key);
    while value.len() < len {
        state = state.rotate_left(23).wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        value.push((state >> 56) as u8);
    }
    value
}

struct Player {
    disk: SimDisk,
    cache: Cache,
    clock: Arc<ManualClock>,
    setup: Setup,
    model: Model,
    /// Length and second of expiry of each version.
    versions: BTreeMap<u64, (usize, Option<u64>)>,
    next_version: u64,
    sabotage: Sabotage,
    disk_is_faulty: bool,
}

/// Carries out a run. Panics where a promise is broken.
pub fn play(setup: Setup, sabotage: Sabotage) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let disk = SimDisk::new(setup.seed);
    let cache = open(&setup, &disk, &clock);
    let ops = setup.ops.clone();
    let mut player = Player {
        disk,
        cache,
        clock,
        setup,
        model: Model::default(),
        versions: BTreeMap::new(),
        next_version: 1,
        sabotage,
        disk_is_faulty: false,
    };
    for op in ops {
        player.step(&op);
    }
    player.reopen();
    player.look_at_all();
}

fn open(setup: &Setup, disk: &SimDisk, clock: &Arc<ManualClock>) -> Cache {
    let durability = match setup.durability % 3 {
        0 => Durability::Buffered,
        1 => Durability::Written,
        _ => Durability::Synced,
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Cache::builder()
        .memory_bytes(MEMORY_BYTES)
        .disk_bytes(DISK_BYTES)
        .segment_len_bytes(64 << 10)
        .append_buffer_bytes(16 << 10)
        .disk_index_bytes(4096)
        .shards(1)
        .durability(durability)
        .read_mode(if setup.by_pread { ReadMode::Pread } else { ReadMode::Mapped })
        .maintenance(Maintenance::Manual)
        .shared_clock(Arc::<ManualClock>::clone(clock))
        .random_seed(setup.seed)
        .open_on(disk)
        .expect("a store opens after any crash")
}

impl Player {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Insert(key, len) => self.insert(key, len, None),
            Op::InsertFor(key, len, seconds) => self.insert(key, len, Some(seconds)),
            Op::InsertRange(key, count, len) => {
                (0..u16::from(count) % 64).for_each(|index| self.insert(key.wrapping_add(index), len % 2048, None))
            }
            Op::Remove(key) => self.remove(key_of(key)),
            Op::Get(key) => self.look(key_of(key), false),
            Op::Read(key) => {
                let key = key_of(key);
                if let Some(value) = self.cache.read(key.to_le_bytes(), <[u8]>::to_vec) {
                    self.check(key, &value);
                }
            }
            Op::Peek(key) => self.look(key_of(key), true),
            Op::GetRange(key, count) => {
                (0..u16::from(count)).for_each(|index| self.look(key_of(key.wrapping_add(index)), false));
            }
            Op::InvalidateAll => {
                self.cache.invalidate_all();
                self.model.clear();
                self.acknowledge();
            }
            Op::Flush => {
                if self.cache.flush().is_ok() {
                    self.model.synced();
                }
            }
            Op::Maintain(steps) => {
                let budget = MaintenanceBudget { steps_max: u32::from(steps) % 16, ..MaintenanceBudget::default() };
                let _ = self.cache.maintain(budget);
            }
            Op::Wait(seconds) => self.clock.advance(Duration::from_secs(seconds.into())),
            Op::Reopen => self.reopen(),
            Op::Kill => {
                let left = self.disk.after_kill();
                // Written and Synced promise that a kill loses nothing, as far as the disk took it.
                if self.setup.durability % 3 != 0 && !self.disk_is_faulty {
                    self.model.synced();
                }
                self.restart_on(left);
            }
            Op::PowerCut(seed) => {
                let left = self.disk.after_power_cut(seed);
                self.restart_on(left);
            }
            Op::DieAfter(calls) => {
                self.disk.stop_after(u64::from(calls) + 1);
                self.disk_is_faulty = true;
            }
            Op::Fail(op, nth, forever) => {
                let ops = [SimOp::Write, SimOp::Sync, SimOp::SyncDir, SimOp::Allocate, SimOp::Rename, SimOp::Create];
                let causes = [SimCause::Io, SimCause::Full, SimCause::TooManyFiles, SimCause::Interrupted];
                let (op, cause) = (ops[usize::from(op) % ops.len()], causes[usize::from(op / 8) % causes.len()]);
                let fault = if forever { SimFault::forever(cause) } else { SimFault::once(cause) };
                self.disk.fail_nth(op, u64::from(nth) + 1, fault);
                self.disk_is_faulty = true;
            }
            Op::Validate => {
                self.cache.validate();
                self.check_budgets();
            }
        }
    }

    fn insert(&mut self, key: u16, len: u16, seconds: Option<u8>) {
        let key = key_of(key);
        let version = self.next_version;
        self.next_version += 1;
        let value = value_of(key, version, usize::from(len) % 20_000);
        let expiry = seconds.map(|seconds| self.now_s() + u64::from(seconds));
        self.versions.insert(version, (value.len(), expiry));
        match seconds {
            None => self.cache.insert(key.to_le_bytes(), &value),
            Some(seconds) => {
                let options = EntryOptions::new().time_to_live(Duration::from_secs(seconds.into()));
                self.cache.insert_with(key.to_le_bytes(), &value, options)
            }
        };
        self.model.set(key, Some(version));
        self.acknowledge();
    }

    fn remove(&mut self, key: u16) {
        if self.sabotage != Sabotage::LoseRemoves {
            self.cache.remove(key.to_le_bytes());
        }
        self.model.set(key, None);
        self.acknowledge();
    }

    /// A call that mutates has returned.
    fn acknowledge(&mut self) {
        if self.setup.durability % 3 == 2 && !self.disk_is_faulty {
            self.model.synced();
        }
    }

    fn look(&mut self, key: u16, peek: bool) {
        let found = if peek { self.cache.peek(key.to_le_bytes()) } else { self.cache.get(key.to_le_bytes()) };
        if let Some(found) = found {
            self.check(key, &found);
        }
    }

    /// A key was served.
    fn check(&mut self, key: u16, found: &[u8]) {
        assert!(found.len() >= 10, "key {key}: {} bytes that nobody inserted", found.len());
        let version = u64::from_le_bytes(found[2..10].try_into().expect("eight bytes"));
        let Some(&(len, expiry)) = self.versions.get(&version) else {
            panic!("key {key} was served in version {version}, which was never inserted");
        };
        assert!(
            found == &value_of(key, version, len)[..],
            "key {key}, version {version}: not the bytes that were inserted"
        );
        // Rounded up to the second.
        let now_s = self.now_s();
        assert!(expiry.is_none_or(|expiry| now_s < expiry + 1), "key {key} outlived its time: {expiry:?}, now {now_s}");
        self.model.served(key, version);
    }

    fn look_at_all(&mut self) {
        (0..KEY_COUNT).for_each(|key| self.look(key, true));
    }

    fn reopen(&mut self) {
        let closed = self.cache.close();
        let left = self.disk.after_kill();
        match closed {
            Ok(()) => {
                self.model.synced();
                self.switch_to(left);
            }
            Err(_) => self.restart_on(left),
        }
    }

    fn restart_on(&mut self, left: SimDisk) {
        self.model.crash();
        self.switch_to(left);
        self.look_at_all();
    }

    fn switch_to(&mut self, left: SimDisk) {
        self.disk = left;
        self.disk_is_faulty = false;
        self.cache = open(&self.setup, &self.disk, &self.clock);
        self.check_budgets();
    }

    fn check_budgets(&self) {
        let used = self.disk.used_bytes();
        assert!(used <= DISK_BYTES, "files take {used} bytes");
        let stats = self.cache.stats();
        let held = stats.memory.held_bytes;
        assert!(held <= MEMORY_BYTES, "{held} bytes of memory are held");
    }

    fn now_s(&self) -> u64 {
        use emberlog::Clock;
        self.clock.now_unix_ms() / 1000
    }
}
