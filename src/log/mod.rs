//! The second tier: a segmented, append-only log on disk.
//!
//! Knows: segments, their order, the append buffer, durability. Does not know: keys' current locations (the index does), tiers, when to retire.
//! Every step that touches the disk (`write_step`, `sync`, `seal_step`, `prepare_step`, `retire_oldest`) may be called by any thread: the
//! background threads call them, or the caller's own thread under manual maintenance. The first failed write or sync trips the latch for good.
//!
//! Appending and reading are here; `write` hands bytes to the kernel and the medium, `turnover` makes and retires segments.
//!
//! Lock order: shard, then tail; `staging`, `syncing` and `preparing` are taken before the tail and never under a shard's lock.

mod buffer;
mod cells;
mod entries;
mod pins;
pub mod scan;
mod seal;
mod segment;
mod tail;
#[cfg(all(test, not(emberlog_loom)))]
mod tests;
mod turnover;
mod watermark;
mod write;

pub(crate) use entries::{Listed, read_entries};
pub(crate) use scan::Depth;
pub(crate) use seal::seal;
pub(crate) use segment::{End, Found, Segment, Source};
pub(crate) use tail::{Class, cost};

use crate::budget::Budget;
use crate::counters::Counter;
use crate::disk::{AnonBytes, Disk, DiskFile, Latch};
use crate::error::Error;
use crate::format::footer::FooterTail;
use crate::format::identity::Identity;
use crate::format::location::Location;
use crate::format::names;
use crate::format::record::{RecordHeader, RecordKind};
use crate::format::segment::Link;
use crate::random::Random;
use crate::sync::{Arc, Condvar, Mutex, Ordering, PlainArc, PlainAtomicU32};
use pins::{Pin, PinTable, Retired};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tail::{Position, Tail};
use turnover::{create_segment, source_of};

/// Sizes and modes of a log, fixed at open.
#[derive(Debug, Clone)]
pub(crate) struct LogPlan {
    pub(crate) segment_len_bytes: u32,
    pub(crate) buffer_bytes: usize,
    /// Part of the buffer that values may not use.
    pub(crate) headroom_bytes: usize,
    /// Largest write; also where a batch is closed.
    pub(crate) staging_bytes: usize,
    /// Most segments at once, the spare and retired ones that are still mapped included.
    pub(crate) segment_count_max: usize,
    /// Read by mapping, or by positioned reads.
    pub(crate) mapped: bool,
    /// Whether values leave room for what is appended again, and wait instead.
    pub(crate) keeps_room: bool,
}

impl LogPlan {
    /// Bytes that a segment may take on disk beyond its length: extent blocks of the file system.
    pub(crate) fn slack_bytes(len_bytes: u32) -> u64 {
        8192 + u64::from(len_bytes) / 1024
    }

    /// What one fresh segment is charged.
    pub(crate) fn segment_charge_bytes(&self) -> u64 {
        u64::from(self.segment_len_bytes) + Self::slack_bytes(self.segment_len_bytes)
    }

    /// Bytes of batches and records that a fresh segment has room for, with its footer.
    pub(crate) fn segment_capacity_bytes(&self) -> u64 {
        tail::segment_capacity(self.segment_len_bytes)
    }

    /// Largest record that fits the log.
    pub(crate) fn record_len_max(&self) -> u64 {
        let buffer = (self.buffer_bytes - self.headroom_bytes) as u64;
        buffer.min(self.segment_capacity_bytes()).saturating_sub(cost(0))
    }

    /// Memory that the log takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.buffer_bytes + self.staging_bytes) as u64
    }
}

/// A sealed segment that recovery accepted.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) tail: FooterTail,
    pub(crate) name: u16,
    /// Records in it that the index names.
    pub(crate) live_count: u32,
}

/// What the log counts.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    pub(crate) accepted_bytes: Counter,
    /// The same with what the records take besides.
    pub(crate) requested_bytes: Counter,
    pub(crate) written_bytes: Counter,
    pub(crate) write_count: Counter,
    pub(crate) sync_count: Counter,
    pub(crate) segments_created: Counter,
    pub(crate) segments_sealed: Counter,
    pub(crate) segments_retired: Counter,
    pub(crate) buffer_reads: Counter,
    pub(crate) damaged_records: Counter,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Log {
    disk: PlainArc<dyn Disk>,
    identity: Identity,
    plan: LogPlan,
    budget: Budget,
    random: Random,
    pub(crate) latch: Latch,
    pub(crate) counters: LogCounters,
    segments: PinTable<Segment>,
    free_names: Mutex<VecDeque<u16>>,
    retired: Mutex<Vec<Retired<Segment>>>,
    tail: Mutex<Tail>,
    /// Highest time noted, in seconds since the epoch; the tail takes it over with the next record.
    latest_s: PlainAtomicU32,
    /// Room, written or synced moved on. Used with `tail`.
    moved: Condvar,
    /// There is something for the writer. Used with `tail`.
    writer_work: Condvar,
    /// There is something for maintenance. Used with `tail`.
    maintenance_work: Condvar,
    /// One writer at a time.
    staging: Mutex<AnonBytes>,
    /// One sync or seal at a time.
    syncing: Mutex<()>,
    /// One preparation or retirement at a time.
    preparing: Mutex<()>,
}

/// Room in buffer and log for one record; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    log: &'a Log,
    cost: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.log.tail.lock().release(self.cost);
        self.log.moved.notify_all();
    }
}

/// Where an event was put, and what to wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended {
    pub(crate) location: Location,
    pub(crate) seqno: u64,
    /// A spare, or room for one more, is due.
    pub(crate) room_due: bool,
}

/// What came of preparing a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// There is a spare.
    Ready,
    /// The budget or the names are used up: the oldest segment has to go first.
    NeedsRetirement,
}

impl Log {
    /// A log that goes on behind `recovered` (oldest first) in a fresh segment.
    ///
    /// `number` is the fresh segment's, `link` what it follows.
    #[allow(clippy::too_many_arguments, reason = "the parts of a log, brought together in one place")]
    pub(crate) fn start(
        disk: PlainArc<dyn Disk>,
        identity: Identity,
        plan: LogPlan,
        budget: Budget,
        random: Random,
        recovered: Vec<Recovered>,
        number: u32,
        link: Link,
        clock_mark_s: u32,
    ) -> Result<Self, Error> {
        let memory = |error| Error::io("cannot take memory for the append buffer", error);
        let segments = PinTable::new(plan.segment_count_max);
        let mut order = VecDeque::new();
        for Recovered { tail, name, live_count } in &recovered {
            let file_name = names::segment(tail.header.number);
            let context = || format!("cannot open {file_name}");
            let file: PlainArc<dyn DiskFile> =
                disk.open(&file_name, crate::disk::Access::Read).map_err(|error| Error::io(context(), error))?.into();
            let allocated = file.allocated_bytes().map_err(|error| Error::io(context(), error))?;
            let charge = budget.try_charge(allocated).ok_or_else(|| {
                Error::new(
                    crate::ErrorKind::Io,
                    format!("{file_name}: its {allocated} bytes do not fit the disk budget"),
                )
            })?;
            let source = source_of(&plan, &file, u64::from(tail.data_end_offset))
                .map_err(|error| Error::io(format!("cannot map {file_name}"), error))?;
            let segment = Segment::new(tail.header, *name, source, None, charge, true);
            segment.set_link(tail.link);
            segment.set_end(End { data_end: tail.data_end_offset, last_seqno: tail.last_seqno });
            segment.watermark.publish(tail.data_end_offset);
            segment.mark_sealed();
            segment.live_count.store(*live_count, Ordering::Relaxed);
            let segment = Arc::new(segment);
            segments.insert(*name, Arc::clone(&segment));
            order.push_back(segment);
        }
        let mut free_names: VecDeque<u16> = (recovered.len()..plan.segment_count_max).map(|name| name as u16).collect();
        let name = free_names
            .pop_front()
            .ok_or_else(|| Error::new(crate::ErrorKind::InvalidConfig, "more segments than can be named".to_owned()))?;
        let charge = budget.try_charge(plan.segment_charge_bytes()).ok_or_else(|| {
            Error::new(crate::ErrorKind::InvalidConfig, "disk_bytes has no room for a segment".to_owned())
        })?;
        let (active, written) =
            create_segment(&*disk, &identity, &plan, &random, &budget, charge, name, number, clock_mark_s)
                .map_err(|error| Error::io(format!("cannot create {}", names::segment(number)), error))?;
        let active = Arc::new(active);
        segments.insert(name, Arc::clone(&active));
        let buffer = buffer::AppendBuffer::new(plan.buffer_bytes).map_err(memory)?;
        let (capacity, headroom) = (plan.buffer_bytes as u64, plan.headroom_bytes as u64);
        let batch_len_max = plan.staging_bytes as u64;
        let tail = Tail::new(buffer, capacity, headroom, batch_len_max, active, order, link, clock_mark_s);
        let log = Self {
            disk,
            identity,
            budget,
            random,
            latch: Latch::new(),
            counters: LogCounters::default(),
            segments,
            free_names: Mutex::new(free_names),
            retired: Mutex::new(Vec::new()),
            tail: Mutex::new(tail),
            latest_s: PlainAtomicU32::new(clock_mark_s),
            moved: Condvar::new(),
            writer_work: Condvar::new(),
            maintenance_work: Condvar::new(),
            staging: Mutex::new(AnonBytes::new(plan.staging_bytes).map_err(memory)?),
            syncing: Mutex::new(()),
            preparing: Mutex::new(()),
            plan,
        };
        log.counters.segments_created.one();
        log.counters.written_bytes.add(written);
        Ok(log)
    }

    /// The number of the segment with this short name.
    pub(crate) fn number_of(&self, name: u16) -> Option<u32> {
        self.segments.pin(name).map(|segment| segment.header.number)
    }

    pub(crate) fn plan(&self) -> &LogPlan {
        &self.plan
    }

    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.identity.store_id
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    // -- appending

    /// Reserves room if there is some now and nobody waits for it.
    pub(crate) fn try_reserve(&self, class: Class, record_len: u64) -> Option<Reservation<'_>> {
        let cost = cost(record_len);
        let granted = {
            let mut tail = self.tail.lock();
            let kept_bytes = self.kept_bytes(&tail);
            tail.try_reserve(class, cost, None, kept_bytes)
        };
        // Not `then_some`: a reservation that is made and dropped would give back room that nobody took.
        granted.then(|| Reservation { log: self, cost })
    }

    /// Reserves room, in order of asking, waiting for the background threads to make some. `None` once the disk is off.
    pub(crate) fn reserve_or_wait(&self, class: Class, record_len: u64) -> Option<Reservation<'_>> {
        let cost = cost(record_len);
        let mut tail = self.tail.lock();
        let ticket = tail.take_ticket();
        loop {
            if self.latch.is_tripped() {
                tail.drop_ticket(ticket);
                self.moved.notify_all();
                return None;
            }
            let kept_bytes = self.kept_bytes(&tail);
            if tail.try_reserve(class, cost, Some(ticket), kept_bytes) {
                // The next in the queue may have room as well.
                if tail.is_contended() {
                    self.moved.notify_all();
                }
                return Some(Reservation { log: self, cost });
            }
            self.writer_work.notify_one();
            self.maintenance_work.notify_one();
            self.moved.wait(&mut tail);
        }
    }

    /// Reserves room for a record that is appended again, ahead of those who wait, as there is a bound on such bytes. Waits for the writer, or calls
    /// `write` where the caller is the writer; not for a segment: where that has no room, this is `None` at once.
    pub(crate) fn reserve_ahead(&self, record_len: u64, write: Option<&dyn Fn()>) -> Option<Reservation<'_>> {
        let cost = cost(record_len);
        let mut tail = self.tail.lock();
        let ticket = tail.take_first_ticket();
        let granted = loop {
            if self.latch.is_tripped() || !tail.segment_has_room(cost) {
                break false;
            }
            if tail.try_reserve(Class::Reinserted, cost, Some(ticket), 0) {
                break true;
            }
            match write {
                Some(write) => {
                    drop(tail);
                    write();
                    tail = self.tail.lock();
                }
                None => {
                    tail.urgent = true;
                    self.writer_work.notify_one();
                    self.moved.wait(&mut tail);
                }
            }
        };
        if !granted {
            tail.drop_ticket(ticket);
        }
        if tail.is_contended() {
            self.moved.notify_all();
        }
        granted.then(|| Reservation { log: self, cost })
    }

    /// Bytes of the active segment that values leave alone: while the next segment takes the oldest one's room, what that one is worth needs a
    /// place. Without this, how much of the hot set is appended again would depend on which thread comes first.
    fn kept_bytes(&self, tail: &Tail) -> u64 {
        let is_kept = self.plan.keeps_room && tail.spare.is_none() && self.is_budget_low();
        if is_kept { self.reinsert_bytes_max() } else { 0 }
    }

    /// Most bytes that are appended again when a segment goes: half of what its going gives, or compaction would feed itself.
    pub(crate) fn reinsert_bytes_max(&self) -> u64 {
        u64::from(self.plan.segment_len_bytes) / 2
    }

    /// Whether the next segment's room should be made now: ahead of need, but because of what was appended, not because the store was opened.
    fn is_room_due(&self, tail: &Tail) -> bool {
        (tail.is_quarter_full() || tail.is_contended()) && (tail.spare.is_none() || self.is_budget_low())
    }

    /// Whether a spare, or room for one more, is due.
    pub(crate) fn needs_room(&self) -> bool {
        !self.latch.is_tripped() && self.is_room_due(&self.tail.lock())
    }

    /// Whether the budget has no room for another segment.
    pub(crate) fn is_budget_low(&self) -> bool {
        self.budget.limit_bytes() - self.budget.used_bytes() < self.plan.segment_charge_bytes()
    }

    /// Whether segments have to go for those that come: the budget has room for no more than the one that is kept ahead of need.
    pub(crate) fn is_budget_used_up(&self) -> bool {
        self.budget.limit_bytes() - self.budget.used_bytes() < 2 * self.plan.segment_charge_bytes()
    }

    /// Appends an event with its reserved room. Called under the lock of the key's shard, or of all shards.
    pub(crate) fn append(&self, reservation: Reservation<'_>, header: &RecordHeader, payload: [&[u8]; 2]) -> Appended {
        let mut tail = self.tail.lock();
        tail.clock_mark_s = tail.clock_mark_s.max(self.latest_s.load(Ordering::Relaxed));
        let idle = !tail.has_unwritten();
        let Position { segment_name, offset, seqno } = tail.append(header, payload);
        tail.release(reservation.cost);
        std::mem::forget(reservation);
        let wake = idle || tail.buffer.used() >= self.plan.staging_bytes as u64;
        if header.kind == RecordKind::Put {
            tail.active.live_count.fetch_add(1, Ordering::Relaxed);
            if !header.reinserted {
                self.counters.accepted_bytes.add(header.payload_len());
            }
        }
        if !header.reinserted {
            self.counters.requested_bytes.add(header.record_len());
        }
        let room_due = tail.spare.is_none() || self.is_room_due(&tail);
        drop(tail);
        if room_due {
            self.maintenance_work.notify_one();
        }
        if wake {
            self.writer_work.notify_one();
        }
        Appended { location: Location { segment: segment_name, offset }, seqno, room_due }
    }

    /// Notes that the index names no record any more. Called under the locks of all shards.
    pub(crate) fn forget_all_live(&self) {
        self.tail.lock().order.iter().for_each(|segment| segment.live_count.store(0, Ordering::Relaxed));
    }

    /// Notes that the index no longer names a record. Called under the lock of its shard.
    pub(crate) fn forget_live(&self, location: Location) {
        if let Some(segment) = self.segments.pin(location.segment) {
            segment.live_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Which segment a location is in, by age: smaller is older.
    pub(crate) fn age(&self, location: Location) -> u64 {
        self.segments.pin(location.segment).map_or(0, |segment| segment.header.number.into())
    }

    /// Notes the time, which never goes back. The next record takes it along.
    pub(crate) fn note_clock(&self, now_s: u32) {
        // Relaxed: it publishes nothing but itself.
        self.latest_s.fetch_max(now_s, Ordering::Relaxed);
    }

    // -- reading

    /// Pins the segment of a location. Called under the lock of the key's shard.
    #[inline]
    pub(crate) fn pin(&self, location: Location) -> Option<Pin<Segment>> {
        self.segments.pin(location.segment)
    }

    /// Reads the record at a location of a pinned segment and gives its value to `read` if it is sound and of this key.
    #[inline]
    pub(crate) fn read<T>(
        &self,
        segment: &Segment,
        offset: u32,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Found<T> {
        let found = if offset < segment.watermark.get() {
            segment.read_record(offset, key, read)
        } else {
            match self.copy_unwritten(segment, offset) {
                Copied::Record(header, payload) => {
                    let (found, value) = payload.split_at(usize::from(header.key_len));
                    if found == key { Found::Value(read(value), header) } else { Found::OtherKey }
                }
                Copied::Written => segment.read_record(offset, key, read),
                Copied::Lost => Found::Damaged,
            }
        };
        if matches!(found, Found::Damaged) {
            self.counters.damaged_records.one();
        }
        found
    }

    /// Copies the record at a location, whatever its key, if it is sound: header, key and value.
    pub(crate) fn copy_record(&self, segment: &Segment, offset: u32) -> Option<(RecordHeader, Vec<u8>)> {
        if offset >= segment.watermark.get() {
            match self.copy_unwritten(segment, offset) {
                Copied::Record(header, payload) => return Some((header, payload)),
                Copied::Written => {}
                Copied::Lost => return None,
            }
        }
        segment.copy_record(offset)
    }

    fn copy_unwritten(&self, segment: &Segment, offset: u32) -> Copied {
        let tail = self.tail.lock();
        if offset < segment.watermark.get() {
            // Written in the meantime; bytes are freed under this lock, after the watermark was published.
            return Copied::Written;
        }
        let at = segment.stream_base.load(Ordering::Relaxed).wrapping_add(offset.into());
        let here = tail.buffer.freed()..tail.buffer.end();
        let fits = |len: u64| here.contains(&at) && len <= here.end - at;
        if !fits(RecordHeader::LEN as u64) {
            return Copied::Lost;
        }
        let mut raw = [0; RecordHeader::LEN_MAX];
        let raw = &mut raw[..RecordHeader::LEN_MAX.min((here.end - at) as usize)];
        tail.buffer.copy_out(at, raw);
        let Ok(header) = RecordHeader::decode(segment.seed(), offset.into(), raw) else { return Copied::Lost };
        if !fits(header.record_len()) {
            return Copied::Lost;
        }
        let mut payload = vec![0; header.payload_len() as usize];
        tail.buffer.copy_out(at + header.len() as u64, &mut payload);
        self.counters.buffer_reads.one();
        Copied::Record(header, payload)
    }

    /// Bytes that are appended and not yet written.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        self.tail.lock().buffer.used()
    }

    // -- for the background threads

    /// Waits until the writer has something to do, at most `wait_max`; lingers a little for more when there is only little and nobody waits.
    pub(crate) fn wait_for_writer_work(&self, stop: &dyn Fn() -> bool) {
        let mut tail = self.tail.lock();
        // Nothing to write, and callers wait for a segment: the writer may have to make it.
        let idle = |tail: &Tail| !(tail.has_unwritten() || tail.is_contended() && tail.spare.is_none());
        while idle(&tail) && !stop() {
            self.writer_work.wait(&mut tail);
        }
        let little = tail.buffer.used() < self.plan.staging_bytes as u64;
        if little && !tail.urgent && !tail.is_contended() && !stop() {
            self.writer_work.wait_for(&mut tail, Duration::from_millis(1));
        }
        tail.urgent = false;
    }

    /// Waits until maintenance may have something to do, at most `wait_max` if that is given.
    pub(crate) fn wait_for_maintenance_work(&self, busy: bool, wait_max: Option<Duration>, stop: &dyn Fn() -> bool) {
        let mut tail = self.tail.lock();
        if stop() {
            return;
        }
        let due = self.is_room_due(&tail) && !self.latch.is_tripped();
        if busy || due || !tail.unsealed.is_empty() {
            // Something is due that needs another thread's progress: look again soon.
            self.maintenance_work.wait_for(&mut tail, Duration::from_millis(2));
        } else if let Some(wait_max) = wait_max {
            self.maintenance_work.wait_for(&mut tail, wait_max);
        } else {
            self.maintenance_work.wait(&mut tail);
        }
    }

    /// Wakes everybody, so that they see that the cache closes or that the disk is off.
    pub(crate) fn wake_all(&self) {
        let _tail = self.tail.lock();
        self.moved.notify_all();
        self.writer_work.notify_all();
        self.maintenance_work.notify_all();
    }

    /// Wakes maintenance.
    pub(crate) fn wake_maintenance(&self) {
        // Under the lock, or it could come between the look at what is due and the wait.
        let _tail = self.tail.lock();
        self.maintenance_work.notify_one();
    }

    /// Waits until told to stop; for a thread whose work is over because the disk is off.
    pub(crate) fn wait_for_stop(&self, stop: &dyn Fn() -> bool) {
        let mut tail = self.tail.lock();
        while !stop() {
            self.maintenance_work.wait_for(&mut tail, Duration::from_millis(100));
        }
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_contended(&self) -> bool {
        self.tail.lock().is_contended()
    }

    /// Turns the disk tier off for a reason of the caller's.
    pub(crate) fn give_up(&self, what: &str, error: io::Error) -> Error {
        self.fail(what, error)
    }

    fn fail(&self, what: &str, error: io::Error) -> Error {
        tracing::error!(what, %error, "the disk tier is off");
        let error = self.latch.trip(what, error);
        self.tail.lock().discard();
        self.wake_all();
        error
    }

    // -- statistics

    /// Segments that hold the log now, oldest first, and what the buffer holds.
    pub(crate) fn snapshot(&self) -> LogSnapshot {
        let tail = self.tail.lock();
        LogSnapshot {
            segment_count: tail.order.len() as u64,
            charged_bytes: tail.order.iter().chain(&tail.spare).map(|segment| segment.charge.lock().bytes()).sum(),
            oldest_made_s: tail.order.front().map(|segment| segment.header.clock_mark_s),
            buffered_bytes: tail.buffer.used(),
            next_seqno: tail.next_seqno,
            written_seqno: tail.written_seqno,
            synced_seqno: tail.synced_seqno,
        }
    }

    /// Recomputes what the invariants say; for tests.
    pub(crate) fn validate(&self) {
        self.tail.lock().validate();
    }

    /// Recounts live records: `named` says how many slots of the index name each segment; for tests.
    pub(crate) fn validate_live(&self, named: &std::collections::BTreeMap<u16, u64>) {
        let tail = self.tail.lock();
        for segment in &tail.order {
            let counted = u64::from(segment.live_count.load(Ordering::Relaxed));
            let found = named.get(&segment.name).copied().unwrap_or(0);
            assert_eq!(counted, found, "segment {}: live records counted and found", segment.header.number);
        }
        let known: u64 = tail.order.iter().map(|segment| named.get(&segment.name).copied().unwrap_or(0)).sum();
        assert_eq!(known, named.values().sum::<u64>(), "every slot names a segment that is there");
        let charged: u64 = tail.order.iter().chain(&tail.spare).map(|segment| segment.charge.lock().bytes()).sum();
        assert!(charged <= self.budget.used_bytes(), "every segment is charged");
    }
}

/// Some numbers of the log at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSnapshot {
    pub(crate) segment_count: u64,
    /// What segments are charged, the spare included, retired ones not.
    pub(crate) charged_bytes: u64,
    /// When the oldest segment was made, in seconds since the epoch.
    pub(crate) oldest_made_s: Option<u32>,
    pub(crate) buffered_bytes: u64,
    pub(crate) next_seqno: u64,
    pub(crate) written_seqno: u64,
    pub(crate) synced_seqno: u64,
}

enum Copied {
    Record(RecordHeader, Vec<u8>),
    Written,
    Lost,
}
