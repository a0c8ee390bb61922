//! The flow between the tiers: get, insert, remove, clear.
//!
//! Invariants
//!  I-FLOW-1  Every mutation that changes a key takes its position in the log under the lock of the key's shard, and leaves a record there: a put, or
//!            a tombstone where the value does not go to the log (D7). So log order is lock order.
//!  I-FLOW-2  No I/O and no caller's code under a shard's lock; no caller's code while a segment is pinned (D3, D4).
//!  I-FLOW-3  A promotion keeps its pin until it has seen, under the lock, that the index still names the location and memory holds no entry.
//!  I-FLOW-4  Every mutation overtakes the loads of the keys that it changes, under the lock of their shard (I-FLY-1).

use super::builder::{Durability, Maintenance, WhenBehind};
use super::close_look::{Measured, Outcome, Witness};
use super::outcome::{EntryOptions, InsertOutcome, Refusal, TierOutcome};
use super::windows::Windows;
use crate::clock::Clock;
use crate::compaction::{CompactionCounters, Owed, Refill, Sweep, Warm};
use crate::counters::Counter;
use crate::error::{Error, ErrorKind};
use crate::format::location::Location;
use crate::format::record::RecordHeader;
use crate::hash::key_hash;
use crate::log::{Appended, Class, Found, Log, Reservation};
use crate::observe::{DiskAccounts, MemoryAccounts, RecoveryReport};
use crate::policy::Allowance;
use crate::shard::flights::{Flight, Waits};
use crate::shard::lives::Ages;
use crate::shard::memory::{Inserted, MemoryTier};
use crate::shard::{Indexed, Loaded, Shard, ShardCounters, Shards, Slot};
use crate::sync::{Arc, Mutex, Ordering, PlainArc, PlainAtomicBool, PlainAtomicU32, RwLock, RwLockReadGuard};
use bytes::Bytes;
use std::time::Duration;

/// Room for the empty batch that tells how far the log is durable.
pub(crate) const MARK_LEN: u64 = crate::format::batch::BatchHeader::LEN as u64;
/// Values up to this long are lent to `read`'s closure from the stack.
const STACK_VALUE_LEN: usize = 4096;

/// What the cache counts beside its parts.
#[derive(Debug, Default)]
pub(crate) struct CoreCounters {
    pub(crate) dropped_oversize: Counter,
    pub(crate) dropped_behind: Counter,
    pub(crate) dropped_off: Counter,
    pub(crate) dropped_at_close: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_errors: Counter,
    pub(crate) loads_shared: Counter,
    pub(crate) loads_overtaken: Counter,
}

/// What the budgets were divided into, by account.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) memory: MemoryAccounts,
    pub(crate) disk: DiskAccounts,
    /// One entry in so many is watched; 0 for none.
    pub(crate) watched_one_in: u64,
}

/// Everything behind a [`Cache`](super::Cache).
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shards: Shards,
    pub(crate) log: Option<Log>,
    pub(crate) disk: Option<PlainArc<dyn crate::disk::Disk>>,
    pub(crate) salt: u64,
    pub(crate) epoch_unix_ms: u64,
    pub(crate) clock: PlainArc<dyn Clock>,
    /// Highest time seen, in seconds since the epoch: time never goes back.
    pub(crate) latest_s: PlainAtomicU32,
    pub(crate) durability: Durability,
    pub(crate) when_behind: WhenBehind,
    pub(crate) maintenance: Maintenance,
    pub(crate) time_to_live: Option<Duration>,
    /// Mutations hold it shared, `close` exclusively: whether the cache is closed.
    pub(crate) gate: RwLock<bool>,
    /// The same as the gate says, for reads, which do not take it.
    pub(crate) closed: PlainAtomicBool,
    /// Tells maintenance to end.
    pub(crate) stopping: PlainAtomicBool,
    /// Tells the writer to end, when maintenance has.
    pub(crate) writer_stopping: PlainAtomicBool,
    /// Some shard's slice of the log's index is almost full.
    pub(crate) index_crowded: PlainAtomicBool,
    /// One retirement at a time.
    pub(crate) retiring: Mutex<()>,
    /// What is still to be read back into memory after a restart.
    pub(crate) refill: Mutex<Refill>,
    /// What a restart will read back.
    pub(crate) warm: Warm,
    pub(crate) counters: CoreCounters,
    pub(crate) compaction: CompactionCounters,
    /// How much may be appended again.
    pub(crate) allowance: Mutex<Allowance>,
    /// How far what goes next was gone through ahead of need.
    pub(crate) sweep: Mutex<Sweep>,
    /// When there is time for that.
    pub(crate) windows: Windows,
    /// Values to be appended again when there is room.
    pub(crate) owed: Owed,
    /// Who waits for whose load.
    pub(crate) waits: Waits<Loaded>,
    pub(crate) recovery: RecoveryReport,
    /// What is told to whoever looks into the directory.
    pub(crate) page: super::publish::CountersPage,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) fixed_bytes: u64,
    /// One request in so many is looked at closely; 0 for none.
    pub(crate) sample_one_in: u32,
    pub(crate) measured: Measured,
    pub(crate) ages: PlainArc<Ages>,
    /// What the budgets were divided into.
    pub(crate) planned: Planned,
}

/// What a put does to the log.
enum Room<'a> {
    /// There is no disk tier, or it is off.
    None(TierOutcome),
    /// The value is appended.
    Value(Reservation<'a>),
    /// A tombstone takes its place.
    Tombstone(Reservation<'a>, Refusal),
}

/// What a read does beside reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Counts the hit for eviction and may promote.
    Yes,
    /// Leaves everything as it is.
    No,
}

/// Where a value was found on disk.
struct DiskHit<T> {
    value: T,
    expiry_s: u32,
}

impl Core {
    // -- time

    /// Seconds since the epoch, never less than before.
    pub(crate) fn now_s(&self) -> u32 {
        let since_ms = self.clock.now_unix_ms().saturating_sub(self.epoch_unix_ms);
        let now = u32::try_from(since_ms / 1000).unwrap_or(u32::MAX);
        now.max(self.latest_s.fetch_max(now, Ordering::Relaxed))
    }

    /// Microseconds on the steady clock.
    pub(crate) fn now_us(&self) -> u64 {
        self.clock.monotonic_ns() / 1_000
    }

    fn expiry_s(&self, options: EntryOptions) -> u32 {
        let Some(time_to_live) = options.time_to_live.or(self.time_to_live) else { return 0 };
        let now_ms = self.clock.now_unix_ms().saturating_sub(self.epoch_unix_ms).max(u64::from(self.now_s()) * 1000);
        let until_ms =
            u128::from(now_ms) + time_to_live.as_millis() + u128::from(time_to_live.subsec_nanos() % 1_000_000 != 0);
        // Rounded up; 0 stands for never; what lies beyond the range of time never expires.
        u32::try_from(until_ms.div_ceil(1000)).map_or(0, |until| until.max(1))
    }

    fn is_expired(&self, expiry_s: u32) -> bool {
        expiry_s != 0 && self.now_s() >= expiry_s
    }

    // -- the disk tier's state

    /// The log, unless it is off.
    fn log_on(&self) -> Option<&Log> {
        self.log.as_ref().filter(|log| !log.latch.is_tripped())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    // -- reading

    /// Reads a value as bytes of its own.
    pub(crate) fn get(&self, key: &[u8], touch: Touch) -> Option<Bytes> {
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        if slot.counters.is_look_due() {
            return self.get_closely(hash, key, touch, slot);
        }
        self.get_before(hash, key, touch, slot, ())
    }

    #[cold]
    #[inline(never)]
    fn get_closely(&self, hash: u64, key: &[u8], touch: Touch, slot: &Slot) -> Option<Bytes> {
        let look = self.look_closely(hash, slot)?;
        self.get_before(hash, key, touch, slot, look)
    }

    /// Reads a value before a witness.
    #[inline(always)]
    fn get_before<W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        touch: Touch,
        slot: &Slot,
        mut witness: W,
    ) -> Option<Bytes> {
        let shard = slot.read();
        if let Some(hit) = shard.memory.lookup(hash, key, 0)
            && (hit.expiry_s() == 0 || !self.is_expired(hit.expiry_s()))
        {
            if touch == Touch::Yes {
                shard.memory.touch(&hit, hash);
            }
            let bytes = hit.to_bytes();
            witness.sees_entry(&shard.memory, hash);
            drop(shard);
            slot.counters.memory_hits.one();
            witness.sees_end(Outcome::Memory);
            return Some(bytes);
        }
        self.get_past_memory(hash, key, touch, &slot.counters, shard, witness)
    }

    /// What is left of a read if memory has no entry. Not inlined, so that hits need not keep room for what it needs.
    #[inline(never)]
    fn get_past_memory<W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        touch: Touch,
        counters: &ShardCounters,
        shard: RwLockReadGuard<'_, Shard>,
        mut witness: W,
    ) -> Option<Bytes> {
        counters.pace.tick();
        let location = self.find_on_disk(&shard, hash, touch);
        drop(shard);
        witness.sees_candidate(location.as_ref());
        let value = self.get_from_disk(hash, key, location);
        if value.is_some() {
            counters.disk_hits.one();
            witness.sees_end(Outcome::Disk);
        } else {
            counters.misses.one();
            witness.sees_end(Outcome::Miss);
        }
        value
    }

    /// Lends a value to a closure, which runs when every lock and pin is gone.
    pub(crate) fn read<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        if slot.counters.is_look_due() {
            return self.read_closely(hash, key, slot, read);
        }
        self.read_before(hash, key, slot, (), read)
    }

    #[cold]
    #[inline(never)]
    fn read_closely<R>(&self, hash: u64, key: &[u8], slot: &Slot, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let look = self.look_closely(hash, slot)?;
        self.read_before(hash, key, slot, look, read)
    }

    /// Lends a value before a witness, who does not see what the closure does.
    #[inline(always)]
    fn read_before<R, W: Witness>(
        &self,
        hash: u64,
        key: &[u8],
        slot: &Slot,
        mut witness: W,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let counters = &slot.counters;
        let shard = slot.read();
        if let Some(hit) = shard.memory.lookup(hash, key, 0)
            && (hit.expiry_s() == 0 || !self.is_expired(hit.expiry_s()))
        {
            shard.memory.touch(&hit, hash);
            let len = hit.value_len();
            witness.sees_entry(&shard.memory, hash);
            counters.memory_hits.one();
            // Stack buffers of several sizes, since each is cleared before it is filled.
            macro_rules! on_the_stack {
                ($size:expr) => {{
                    let mut buffer = [0u8; $size];
                    hit.copy_to(&mut buffer[..len]);
                    drop(shard);
                    witness.sees_end(Outcome::Memory);
                    return Some(read(&buffer[..len]));
                }};
            }
            match len {
                0..=128 => on_the_stack!(128),
                129..=1024 => on_the_stack!(1024),
                1025..=STACK_VALUE_LEN => on_the_stack!(STACK_VALUE_LEN),
                _ => {
                    let owned = hit.to_vec();
                    drop(shard);
                    witness.sees_end(Outcome::Memory);
                    return Some(read(&owned));
                }
            }
        }
        counters.pace.tick();
        let location = self.find_on_disk(&shard, hash, Touch::Yes);
        drop(shard);
        witness.sees_candidate(location.as_ref());
        let mut buffer = [0u8; STACK_VALUE_LEN];
        let copy = |value: &[u8]| match buffer.get_mut(..value.len()) {
            Some(target) => {
                target.copy_from_slice(value);
                (value.len(), None)
            }
            None => (value.len(), Some(value.to_vec())),
        };
        let found = self.get_from_disk_copied(hash, key, location, copy);
        let Some((len, owned, promote)) = found else {
            counters.misses.one();
            witness.sees_end(Outcome::Miss);
            return None;
        };
        counters.disk_hits.one();
        // Not unwrap_or: a length beyond the stack buffer must not even be looked at there.
        let value = owned.as_deref().unwrap_or_else(|| &buffer[..len]);
        if let Some(promote) = promote {
            self.promote(hash, key, value, promote);
        }
        witness.sees_end(Outcome::Disk);
        Some(read(value))
    }

    /// Reads once more, within one request: counts no request, only the hit for eviction.
    pub(crate) fn get_again(&self, hash: u64, key: &[u8]) -> Option<Bytes> {
        if self.is_closed() {
            return None;
        }
        let location = {
            let shard = self.shards.read(hash);
            if let Some(hit) = shard.memory.lookup(hash, key, 0)
                && !self.is_expired(hit.expiry_s())
            {
                shard.memory.touch(&hit, hash);
                return Some(hit.to_bytes());
            }
            self.find_on_disk(&shard, hash, Touch::Yes)
        };
        self.get_from_disk(hash, key, location)
    }

    /// Whether a value is there that could be read. Counts and moves nothing.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        if self.is_closed() {
            return false;
        }
        let hash = key_hash(self.salt, key);
        let location = {
            let shard = self.shards.read(hash);
            if let Some(hit) = shard.memory.lookup(hash, key, 0) {
                return !self.is_expired(hit.expiry_s());
            }
            self.find_on_disk(&shard, hash, Touch::No)
        };
        self.read_location(hash, key, location.as_ref(), |_| ()).is_some()
    }

    /// Looks a key up in the log's index and pins what it names. Called under the shard's lock.
    fn find_on_disk(&self, shard: &Shard, hash: u64, touch: Touch) -> Option<Candidate> {
        let log = self.log_on()?;
        let index = shard.disk_index.as_ref()?;
        let found = index.find(hash)?;
        if touch == Touch::Yes {
            index.bump(found, crate::index::POPULARITY_MAX);
        }
        let location = Location::unpack(found.location);
        let segment = log.pin(location)?;
        // Promotion rule: what was hit on disk before, or may have been before a restart, or anything while memory has room to spare.
        let promote = touch == Touch::Yes && (found.popularity > 0 || segment.is_recovered || shard.memory.has_room());
        Some(Candidate { location, segment, promote })
    }

    /// Reads and checks what a candidate names. Forgets it if it is damaged.
    fn read_location<T>(
        &self,
        hash: u64,
        key: &[u8],
        candidate: Option<&Candidate>,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<DiskHit<T>> {
        let (log, candidate) = (self.log.as_ref()?, candidate?);
        match log.read(&candidate.segment, candidate.location.offset, key, read) {
            Found::Value(value, header) if !self.is_expired(header.expiry_s) => {
                Some(DiskHit { value, expiry_s: header.expiry_s })
            }
            Found::Value(..) | Found::OtherKey => None,
            Found::Damaged => {
                let mut shard = self.shards.write(hash);
                if shard.index_clear_if(hash, candidate.location) {
                    log.forget_live(candidate.location);
                    drop(shard);
                    tracing::warn!(
                        segment = candidate.segment.header.number,
                        offset = candidate.location.offset,
                        "a record does not verify; its key is forgotten"
                    );
                }
                None
            }
        }
    }

    fn get_from_disk(&self, hash: u64, key: &[u8], candidate: Option<Candidate>) -> Option<Bytes> {
        let hit = self.read_location(hash, key, candidate.as_ref(), Bytes::copy_from_slice)?;
        if let Some(candidate) = candidate.filter(|candidate| candidate.promote) {
            self.promote(hash, key, &hit.value, Promotion { candidate, expiry_s: hit.expiry_s });
        }
        Some(hit.value)
    }

    #[allow(
        clippy::type_complexity,
        reason = "a length, an owned copy where the stack was too small, and what to promote"
    )]
    fn get_from_disk_copied(
        &self,
        hash: u64,
        key: &[u8],
        candidate: Option<Candidate>,
        copy: impl FnOnce(&[u8]) -> (usize, Option<Vec<u8>>),
    ) -> Option<(usize, Option<Vec<u8>>, Option<Promotion>)> {
        let hit = self.read_location(hash, key, candidate.as_ref(), copy)?;
        let (len, owned) = hit.value;
        let promotion = candidate
            .filter(|candidate| candidate.promote)
            .map(|candidate| Promotion { candidate, expiry_s: hit.expiry_s });
        Some((len, owned, promotion))
    }

    /// Puts a value that was read from disk into memory, if it still is the newest (I-FLOW-3).
    fn promote(&self, hash: u64, key: &[u8], value: &[u8], promotion: Promotion) {
        let Promotion { candidate, expiry_s } = promotion;
        let now_s = self.now_s();
        let mut shard = self.shards.write(hash);
        let current = shard.index_find(hash).is_some_and(|found| found.location == candidate.location.pack());
        let quarters = |memory: &MemoryTier| memory.inserted_bytes() / (memory.capacity_bytes() / 4).max(1);
        let before = quarters(&shard.memory);
        if current
            && !shard.memory.holds(hash, key)
            && shard.memory.promote(hash, key, value, expiry_s, now_s) == Inserted::Stored
        {
            let is_list_due = quarters(&shard.memory) != before;
            drop(shard);
            self.shards.counters(hash).promotions.one();
            if let (true, Some(log)) = (is_list_due, &self.log) {
                // Where nothing is inserted nothing else wakes it.
                log.wake_maintenance();
            }
        }
    }

    // -- writing

    /// Inserts a value into both tiers.
    pub(crate) fn insert(&self, key: &[u8], value: &[u8], options: EntryOptions) -> InsertOutcome {
        self.put(key, value, options, None).expect("only a load can be overtaken")
    }

    /// Inserts what a flight loaded. `None`, and nothing is changed, if the flight was overtaken.
    pub(crate) fn insert_loaded(
        &self,
        key: &[u8],
        value: &[u8],
        options: EntryOptions,
        flight: &Arc<Flight<Loaded>>,
    ) -> Option<InsertOutcome> {
        self.put(key, value, options, Some(flight))
    }

    fn put(
        &self,
        key: &[u8],
        value: &[u8],
        options: EntryOptions,
        flight: Option<&Arc<Flight<Loaded>>>,
    ) -> Option<InsertOutcome> {
        let gate = self.gate.read();
        if *gate {
            return Some(InsertOutcome::closed());
        }
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        let mut started_ns = None;
        if flight.is_none() {
            slot.counters.inserts.one();
            started_ns = self.start_if_due(hash, slot);
        }
        let expiry_s = self.expiry_s(options);
        let now_s = if expiry_s == 0 { self.latest_s.load(Ordering::Relaxed) } else { self.now_s() };
        if let Some(log) = self.log.as_ref().filter(|_| expiry_s != 0) {
            // Whoever recovers this record has to know how far time had come.
            log.note_clock(now_s);
        }
        let keyed = u16::try_from(key.len()).is_ok() && u32::try_from(value.len()).is_ok();
        let header = RecordHeader::put(hash, key, value, expiry_s);
        let room = if keyed { self.room_for_value(header.record_len()) } else { self.room_for_value(u64::MAX) };

        let mut shard = slot.write();
        match flight {
            // The room that was reserved gives itself back.
            Some(flight) if !shard.flights.land(flight) => return None,
            Some(_) => {}
            None => {
                shard.flights.overtake(hash);
                slot.counters.pace.tick();
            }
        }
        let memory = match shard.memory.insert(hash, key, value, expiry_s, now_s) {
            Inserted::Stored => TierOutcome::Stored,
            Inserted::Oversize => TierOutcome::Refused(Refusal::Oversize),
        };
        let (disk, appended, indexed) = match room {
            Room::None(outcome) => {
                // The log is off and read no more; but who read the older value before it went off must not promote it now.
                let dropped = shard.index_clear(hash);
                (outcome, None, Indexed { dropped, ..Indexed::default() })
            }
            Room::Value(room) => {
                let log = self.log.as_ref().expect("room comes from a log");
                let appended = log.append(room, &header, [key, value]);
                let indexed = shard.index_put(hash, appended.location, |location| log.age(location));
                (TierOutcome::Stored, Some(appended), indexed)
            }
            Room::Tombstone(room, why) => {
                let log = self.log.as_ref().expect("room comes from a log");
                let appended = log.append(room, &RecordHeader::tombstone(hash), [&[], &[]]);
                let dropped = shard.index_clear(hash);
                (TierOutcome::Refused(why), Some(appended), Indexed { dropped, ..Indexed::default() })
            }
        };
        self.forget_dropped(indexed.dropped);
        drop(shard);
        self.after_index(hash, indexed);
        let disk = self.settle(appended, disk);
        if let Some(started_ns) = started_ns {
            self.measured.insert_ns.record(self.ns_since(started_ns));
        }
        Some(InsertOutcome { memory, disk })
    }

    /// Removes a key from both tiers; tells whether it had a value.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        let gate = self.gate.read();
        if *gate {
            return false;
        }
        let hash = key_hash(self.salt, key);
        let slot = self.shards.slot(hash);
        slot.counters.removes.one();
        let started_ns = self.start_if_due(hash, slot);
        let room = self.room_for_control(RecordHeader::LEN as u64);

        let mut shard = slot.write();
        let in_memory = shard.memory.lookup(hash, key, 0).map(|hit| hit.expiry_s());
        shard.flights.overtake(hash);
        slot.counters.pace.tick();
        shard.memory.remove(hash, key);
        let candidate = if in_memory.is_some() { None } else { self.find_on_disk(&shard, hash, Touch::No) };
        let appended = room.map(|room| {
            let log = self.log.as_ref().expect("room comes from a log");
            log.append(room, &RecordHeader::tombstone(hash), [&[], &[]])
        });
        let dropped = shard.index_clear(hash);
        self.forget_dropped(dropped);
        drop(shard);

        let was = match in_memory {
            Some(expiry_s) => !self.is_expired(expiry_s),
            // The slot is cleared, but the pinned record still tells whether it was this key's.
            None => self.read_location(hash, key, candidate.as_ref(), |_| ()).is_some(),
        };
        drop(candidate);
        self.settle(appended, TierOutcome::Stored);
        if let Some(started_ns) = started_ns {
            self.measured.remove_ns.record(self.ns_since(started_ns));
        }
        was
    }

    /// Empties both tiers with one event.
    pub(crate) fn clear(&self) {
        let gate = self.gate.read();
        if *gate {
            return;
        }
        let room = self.room_for_control(RecordHeader::LEN as u64);
        let mut shards = self.shards.write_all();
        let appended = room.map(|room| {
            let log = self.log.as_ref().expect("room comes from a log");
            log.append(room, &RecordHeader::clear(), [&[], &[]])
        });
        for shard in &mut shards {
            shard.clear();
        }
        if let Some(log) = &self.log {
            log.forget_all_live();
        }
        drop(shards);
        self.settle(appended, TierOutcome::Stored);
    }

    /// Makes everything so far durable, or errs.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let gate = self.gate.read();
        if *gate {
            return Err(Error::new(ErrorKind::Closed, "the cache is closed"));
        }
        let Some(log) = &self.log else { return Ok(()) };
        log.latch.check()?;
        // The mark's room first, so that nothing can come between the sync and the record of it.
        let room = self.room_for_control(MARK_LEN);
        if room.is_none() {
            return log.latch.check();
        }
        self.flush_with(log, room)
    }

    /// Makes everything so far durable, and appends the mark that tells of it if there is room for one.
    pub(crate) fn flush_with(&self, log: &Log, room: Option<Reservation<'_>>) -> Result<(), Error> {
        log.note_clock(self.now_s());
        self.make_durable(log, log.last_seqno(), Durability::Synced)?;
        if let Some(room) = room {
            log.append_synced_mark(room);
        }
        self.drain(log)
    }

    pub(crate) fn drain(&self, log: &Log) -> Result<(), Error> {
        if self.is_inline() { log.write_all() } else { log.wait_drained() }
    }

    fn make_durable(&self, log: &Log, seqno: u64, durability: Durability) -> Result<(), Error> {
        if durability == Durability::Buffered {
            return Ok(());
        }
        if self.is_inline() {
            log.write_all()?;
        } else {
            log.wait_written(seqno)?;
        }
        if durability == Durability::Synced { log.sync_through(seqno) } else { Ok(()) }
    }

    /// Waits for the durability that was asked for, and does the maintenance that is due where no thread does it.
    fn settle(&self, appended: Option<Appended>, outcome: TierOutcome) -> TierOutcome {
        let (Some(appended), Some(log)) = (appended, &self.log) else { return outcome };
        let mut done = self.make_durable(log, appended.seqno, self.durability);
        if done.is_ok() && self.durability == Durability::Synced {
            // Not waited for: it only makes damage to the tail easier to tell from a torn one.
            if let Some(room) = log.try_reserve(Class::Control, MARK_LEN) {
                log.append_synced_mark(room);
            }
        }
        if self.is_inline() && appended.room_due {
            done = done.and_then(|()| self.make_room_ahead());
        }
        match done {
            Ok(()) => outcome,
            Err(_) => TierOutcome::Refused(Refusal::DiskOff),
        }
    }

    /// Notes that a slot no longer names a record. Called under the lock of its shard: later the segment's short name may be another's.
    fn forget_dropped(&self, dropped: Option<Location>) {
        if let (Some(log), Some(dropped)) = (&self.log, dropped) {
            log.forget_live(dropped);
        }
    }

    /// Does what setting a slot made due.
    fn after_index(&self, hash: u64, indexed: Indexed) {
        let Some(log) = &self.log else { return };
        if indexed.displaced {
            self.shards.counters(hash).index_displaced.one();
        }
        if (indexed.crowded || indexed.displaced) && !self.index_crowded.swap(true, Ordering::Relaxed) {
            if self.is_inline() {
                // An error here has tripped the latch, which the next request sees.
                let _ = self.relieve_index();
            } else {
                log.wake_maintenance();
            }
        }
    }

    /// Counts a value that the disk tier does not take. The first for each reason is an event; of the others only the count tells.
    fn count_drop(&self, counter: &Counter, reason: &'static str) {
        if counter.is_first() {
            tracing::warn!(reason, "the disk tier begins to drop values; how many is in the statistics");
        }
    }

    // -- room

    pub(crate) fn is_inline(&self) -> bool {
        self.maintenance == Maintenance::Manual
    }

    fn room_for_value(&self, record_len: u64) -> Room<'_> {
        let Some(log) = &self.log else { return Room::None(TierOutcome::Absent) };
        if log.latch.is_tripped() {
            self.count_drop(&self.counters.dropped_off, "off");
            return Room::None(TierOutcome::Refused(Refusal::DiskOff));
        }
        let why = if record_len > log.plan().record_len_max() {
            self.count_drop(&self.counters.dropped_oversize, "oversize");
            Refusal::Oversize
        } else {
            let room = match self.when_behind {
                WhenBehind::Wait => self.reserve(log, Class::Value, record_len),
                WhenBehind::Drop => match log.try_reserve(Class::Value, record_len) {
                    // Without threads nobody else would ever write, so that is not what being behind means.
                    None if self.is_inline() => self.reserve(log, Class::Value, record_len),
                    room => room,
                },
            };
            match room {
                Some(room) => return Room::Value(room),
                None if log.latch.is_tripped() => {
                    self.count_drop(&self.counters.dropped_off, "off");
                    return Room::None(TierOutcome::Refused(Refusal::DiskOff));
                }
                None => {
                    self.count_drop(&self.counters.dropped_behind, "behind");
                    Refusal::Behind
                }
            }
        };
        match self.reserve(log, Class::Control, RecordHeader::LEN as u64) {
            Some(room) => Room::Tombstone(room, why),
            None => Room::None(TierOutcome::Refused(Refusal::DiskOff)),
        }
    }

    fn room_for_control(&self, len: u64) -> Option<Reservation<'_>> {
        self.log_on().and_then(|log| self.reserve(log, Class::Control, len))
    }

    /// Reserves room, waiting for it or making it. `None` once the disk is off.
    fn reserve<'a>(&self, log: &'a Log, class: Class, record_len: u64) -> Option<Reservation<'a>> {
        if let Some(room) = log.try_reserve(class, record_len) {
            return (!log.latch.is_tripped()).then_some(room);
        }
        if !self.is_inline() {
            return log.reserve_or_wait(class, record_len);
        }
        loop {
            // Here the caller's thread does what the writer and maintenance would.
            let wrote = log.write_step().ok()?;
            if let Some(room) = log.try_reserve(class, record_len) {
                return Some(room);
            }
            if !wrote {
                self.make_spare().ok()?;
            }
        }
    }
}

/// A record that may be the key's, pinned.
#[derive(Debug)]
pub(crate) struct Candidate {
    location: Location,
    pub(super) segment: crate::sync::Arc<crate::log::Segment>,
    promote: bool,
}

/// A record to be copied into memory, still pinned.
struct Promotion {
    candidate: Candidate,
    expiry_s: u32,
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::{Cache, disk::SimDisk};

    #[test]
    fn a_promotion_that_was_under_way_when_the_disk_went_off_brings_no_older_value_back() {
        let settings = Cache::builder().memory_bytes(4 << 20).disk_bytes(2 << 20).shards(1);
        let settings = settings.maintenance(Maintenance::Manual);
        let cache = settings.open_on(PlainArc::new(SimDisk::new(1))).expect("an empty disk");
        let core = cache.core();
        let (key, hash) = (b"key", key_hash(core.salt, b"key"));
        cache.insert(key, "old");
        core.shards.write(hash).memory.remove(hash, key);
        // A reader finds the old value on disk and reads it ...
        let candidate = core.find_on_disk(&core.shards.read(hash), hash, Touch::Yes).expect("it is in the log");
        let log = core.log.as_ref().expect("with a disk tier");
        log.give_up("test", std::io::Error::other("test"));
        // ... then the key gets a value that neither tier takes ...
        let outcome = cache.insert(key, vec![0; 4 << 20]);
        assert!(!outcome.is_stored());
        // ... and only now the reader promotes what it read.
        core.promote(hash, key, b"old", Promotion { candidate, expiry_s: 0 });
        assert_eq!(cache.get(key), None, "an older value is never served again, whatever the outcome said");
    }
}
