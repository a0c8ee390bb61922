//! Writing: put, remove, clear, flush, and what each makes due.
//!
//! Knows: what happens under the lock of a key's shard (I-FLOW-1, I-FLOW-4 in `core.rs`). Does not know: how room in the log comes about.

use super::builder::Durability;
use super::core::Core;
use super::outcome::{EntryOptions, InsertOutcome, Refusal, TierOutcome};
use super::read::Touch;
use super::room::{MARK_LEN, Room};
use crate::error::{Error, ErrorKind};
use crate::format::location::Location;
use crate::format::record::RecordHeader;
use crate::hash::key_hash;
use crate::log::{Appended, Class, Log, Reservation};
use crate::shard::flights::Flight;
use crate::shard::memory::Inserted;
use crate::shard::{Indexed, Loaded};
use crate::sync::{Arc, Ordering};

impl Core {
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
}
