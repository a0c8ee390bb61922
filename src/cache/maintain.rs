//! The work behind requests, in steps that any thread may take: the background threads', or the caller's under manual maintenance.
//!
//! Threads: the writer hands the append buffer to the kernel; maintenance seals, prepares the spare and retires. Neither waits for the other: where the
//! writer sees callers wait for a segment, it makes one itself (D15).

use super::core::Core;
use super::outcome::{Maintained, MaintenanceBudget};
use super::room::MARK_LEN;
use crate::compaction::{Keep, Pass, Swept, point_to};
use crate::error::{Error, ErrorKind};
use crate::format::record::RecordHeader;
use crate::hash::key_hash;
use crate::index::Table;
use crate::log::{Class, Log, Prepared, Reservation};
use crate::observe::WindowEnd;
use crate::policy::Pace;
use crate::sync::{Ordering, PlainArc, Worker};
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Whose thread takes a step: one that others wait for to write cannot wait for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hands {
    /// The writer's, or a caller's where there is no writer.
    Writer,
    /// Maintenance's.
    Maintenance,
}

/// What came of making the spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spare {
    /// It is there.
    Ready,
    /// Nothing can be retired before more is written and sealed.
    Later,
    /// Though the oldest segments went, there is no room.
    NoRoom,
}

impl Core {
    /// Makes the spare segment if there is none, retiring the oldest as far as that needs. Without room for one the disk tier is off.
    pub(crate) fn make_spare(&self) -> Result<(), Error> {
        let Some(log) = &self.log else { return Ok(()) };
        match self.try_spare(log)? {
            // All there is waits for the writer, and then for its footer: whoever asked asks again when they have come further.
            Spare::Ready | Spare::Later => Ok(()),
            Spare::NoRoom => {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                Err(log.give_up("no room for a segment, though the oldest were retired", full))
            }
        }
    }

    /// The same, as far as it goes.
    fn try_spare(&self, log: &Log) -> Result<Spare, Error> {
        let (mut retired, mut waits) = (0u32, 0u32);
        let used_bytes = log.budget().used_bytes();
        loop {
            if log.prepare_step()? == Prepared::Ready {
                return Ok(Spare::Ready);
            }
            // A pin lasts for a copy: rather than retire another segment, let the reader finish.
            if log.has_retired() && waits < 10_000 {
                waits += 1;
                crate::sync::yield_now();
                continue;
            }
            // One segment's room is one segment, give or take the last's shorter file, and many where restarts left short ones: until that much is
            // free. More would be paid for nothing on a disk that others fill.
            let freed_bytes = used_bytes.saturating_sub(log.budget().used_bytes());
            let is_due = retired < 8 || freed_bytes < log.plan().segment_charge_bytes();
            if is_due {
                if self.retire(Keep::all(log))? {
                    retired += 1;
                    continue;
                }
                if !self.is_inline() && log.has_unsealed() {
                    return Ok(Spare::Later);
                }
            }
            // There may have been nothing to retire because another thread just did.
            return Ok(if log.prepare_step()? == Prepared::Ready { Spare::Ready } else { Spare::NoRoom });
        }
    }

    /// Retires the oldest segment. Seals it first if need be.
    fn retire(&self, keep: Keep) -> Result<bool, Error> {
        let hands = if self.is_inline() { Hands::Writer } else { Hands::Maintenance };
        let _one = self.retiring.lock();
        self.retire_by(hands, keep)
    }

    /// The same, for one who holds the lock for it.
    fn retire_by(&self, by: Hands, keep: Keep) -> Result<bool, Error> {
        let Some(log) = &self.log else { return Ok(false) };
        if log.oldest_sealed().is_none() {
            if self.is_inline() {
                log.write_all()?;
            }
            while log.seal_step()? {}
        }
        let ask = || self.pace(by);
        self.with_room(log, by, |reserve| self.pass(log, &ask, reserve).retire_oldest(keep))
    }

    /// The time, and whether the rate for what is appended again holds: not under manual maintenance, where nothing depends on time, nor in quiet
    /// windows.
    fn pace(&self, by: Hands) -> (u64, Pace) {
        let pace = match by {
            _ if self.is_inline() => Pace::Free,
            // It only does this where callers wait.
            Hands::Writer => Pace::UnderLoad,
            Hands::Maintenance => {
                // The load may have returned since it was looked at last.
                self.advise();
                self.windows.pace()
            }
        };
        (self.now_us(), pace)
    }

    /// What appends again, with what it needs.
    pub(crate) fn pass<'a, 'b>(
        &'b self,
        log: &'a Log,
        ask: &'b dyn Fn() -> (u64, Pace),
        reserve: &'b dyn Fn(u64) -> Option<Reservation<'a>>,
    ) -> Pass<'a, 'b> {
        Pass {
            shards: &self.shards,
            log,
            owed: &self.owed,
            allowance: &self.allowance,
            ask,
            pace: Cell::new(Pace::UnderLoad),
            reserve,
            now_s: self.now_s(),
            counters: &self.compaction,
        }
    }

    /// Calls `act` with a way to get room for what is appended again.
    fn with_room<'a, T>(
        &self,
        log: &'a Log,
        by: Hands,
        act: impl FnOnce(&dyn Fn(u64) -> Option<Reservation<'a>>) -> T,
    ) -> T {
        let write = || {
            // A failure has tripped the latch, which is asked next.
            let _ = log.write_step();
        };
        let write: Option<&dyn Fn()> = if by == Hands::Writer { Some(&write) } else { None };
        act(&|record_len| log.reserve_ahead(record_len, write))
    }

    /// Appends again what is owed to the log, up to a bound. Returns whether there was anything.
    ///
    /// All of it together stays under a quarter of what requests brought: where memory holds as much as the disk does, each segment that goes leaves
    /// something owed, and paying it would fill the next.
    fn pay_owed(&self, log: &Log) -> bool {
        const STEP_BYTES_MAX: u64 = 256 << 10;
        let hands = if self.is_inline() { Hands::Writer } else { Hands::Maintenance };
        let ask = || self.pace(hands);
        self.with_room(log, hands, |reserve| {
            let pass = self.pass(log, &ask, reserve);
            pass.refresh();
            let mut paid = 0;
            let is_within = || self.compaction.owed_paid_bytes.get() < log.counters.accepted_bytes.get() / 4;
            while paid < STEP_BYTES_MAX && !log.needs_spare() && is_within() {
                match self.owed.pay_one(&pass) {
                    Some(bytes) => paid += bytes,
                    None => break,
                }
            }
            paid > 0
        })
    }

    fn refill_step(&self, log: &Log) -> bool {
        self.refill.lock().step(&self.shards, log, self.now_s(), &self.compaction)
    }

    /// Writes down what memory holds, if that is due or this is the end. Returns whether it did.
    fn list_memory(&self, log: &Log, is_end: bool) -> bool {
        let Some(disk) = &self.disk else { return false };
        let is_due = self.warm.is_due(&self.shards);
        {
            // Until the old list has been read back it knows more, unless this is the last chance and memory has changed since.
            let mut refill = self.refill.lock();
            let is_time = if refill.is_done() { is_end || is_due } else { is_end && is_due };
            if !is_time {
                return false;
            }
            refill.give_up();
        }
        let between = || {
            // A long list must not hold up what requests may wait for. An error has tripped the latch, which is asked next.
            if !is_end && !self.is_inline() && log.needs_room() {
                let _ = self.make_room_ahead();
            }
        };
        let written = self.warm.write(
            &self.shards,
            &**disk,
            log.budget(),
            log.store_id(),
            is_end,
            &|name| log.number_of(name),
            &between,
        );
        log.counters.written_bytes.add(written);
        written > 0
    }

    /// Makes the spare, and then room in the budget for one more segment, so that the oldest goes while there is time to keep what it is worth.
    pub(crate) fn make_room_ahead(&self) -> Result<(), Error> {
        let Some(log) = &self.log else { return Ok(()) };
        if log.needs_spare() {
            if log.needs_room() {
                self.make_spare()?;
            } else {
                // At once where there is room, so that the directory shows what its newest segment is; else later.
                log.prepare_step()?;
            }
        }
        // Not for want of a spare: the log may have moved into the one just made, and while the budget has room the next costs nobody's records.
        if log.needs_room() && log.is_budget_low() && !log.has_retired() {
            self.retire(Keep::all(log))?;
        }
        Ok(())
    }

    /// Retires the oldest segment if the index of the log is almost full.
    pub(crate) fn relieve_index(&self) -> Result<bool, Error> {
        if !self.index_crowded.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        let retired = self.retire(Keep::Nothing)?;
        if retired {
            self.compaction.retired_for_index.one();
        }
        Ok(retired)
    }

    /// One step of what is due, the most urgent first. Returns whether there was one.
    fn step(&self, log: &Log, reinsert_bytes_max: u64, swept: &mut Swept) -> Result<bool, Error> {
        if log.write_step()? || log.seal_step()? || self.relieve_index()? {
            return Ok(true);
        }
        if self.refill_step(log) || self.pay_owed(log) {
            return Ok(true);
        }
        if log.needs_spare() && log.prepare_step()? == Prepared::Ready {
            return Ok(true);
        }
        if self.list_memory(log, false) {
            return Ok(true);
        }
        log.reap();
        let is_due = log.needs_room() && (log.needs_spare() || log.is_budget_low());
        if !is_due {
            swept.add(self.sweep_step(log));
            return Ok(swept.more);
        }
        self.retire(Keep::Worth { bytes_max: reinsert_bytes_max.min(log.reinsert_bytes_max()) })
    }

    /// Takes bounded steps in the caller's thread.
    pub(crate) fn maintain(&self, budget: MaintenanceBudget) -> Result<Maintained, Error> {
        let gate = self.gate.read();
        if *gate {
            return Err(Error::new(ErrorKind::Closed, "the cache is closed"));
        }
        let Some(log) = &self.log else { return Ok(Maintained { steps: 0, more: false }) };
        log.note_clock(self.now_s());
        self.publish();
        let (began_unix_ms, began_us) = (self.clock.now_unix_ms(), self.now_us());
        let (mut steps, mut swept) = (0, Swept::default());
        let mut done = Ok(true);
        while steps < budget.steps_max {
            done = self.step(log, budget.reinsert_bytes_max, &mut swept);
            if !matches!(done, Ok(true)) {
                break;
            }
            steps += 1;
        }
        self.windows.asked(swept, began_unix_ms, began_us, self.now_us());
        done.map(|more| Maintained { steps, more })
    }

    // -- threads

    /// Starts the background threads.
    pub(crate) fn start_threads(self: &PlainArc<Self>) -> Result<Vec<Worker>, Error> {
        if self.log.is_none() || self.is_inline() {
            return Ok(Vec::new());
        }
        let start = |name: &str, body: fn(&Core, &Log)| {
            let core = PlainArc::clone(self);
            Worker::start(name, move || {
                let Some(log) = &core.log else { return };
                let stop = || core.writer_stopping.load(Ordering::Relaxed);
                // A bug in a background step must not take requests with it: the disk tier goes off, memory serves on.
                if catch_unwind(AssertUnwindSafe(|| body(&core, log))).is_err() && !stop() {
                    log.give_up("a background thread panicked", io::Error::other("panic"));
                }
            })
            .map_err(|error| Error::io("cannot start a thread", error))
        };
        let writer = start("emberlog-writer", Core::run_writer)?;
        match start("emberlog-maint", Core::run_maintenance) {
            Ok(maintenance) => Ok(vec![writer, maintenance]),
            Err(error) => {
                self.writer_stopping.store(true, Ordering::Relaxed);
                self.stop_threads(&mut vec![writer]);
                Err(error)
            }
        }
    }

    /// Ends the background threads: maintenance first, since it may wait for the writer.
    pub(crate) fn stop_threads(&self, workers: &mut Vec<Worker>) {
        self.stop_maintenance(workers);
        self.writer_stopping.store(true, Ordering::Relaxed);
        self.join_all_but(0, workers);
    }

    /// Ends the maintenance thread; from then on its steps are the caller's.
    fn stop_maintenance(&self, workers: &mut Vec<Worker>) {
        self.stopping.store(true, Ordering::Relaxed);
        // The writer is the first.
        self.join_all_but(1, workers);
    }

    fn join_all_but(&self, count: usize, workers: &mut Vec<Worker>) {
        for mut worker in workers.drain(count.min(workers.len())..).rev() {
            self.wake_to_stop();
            worker.join();
        }
    }

    fn wake_to_stop(&self) {
        if let Some(log) = &self.log {
            log.wake_all();
        }
    }

    fn run_writer(&self, log: &Log) {
        let stop = || self.writer_stopping.load(Ordering::Relaxed);
        while !stop() {
            log.wait_for_writer_work(&stop);
            let step = log.write_step().and_then(|wrote| {
                // Only when nothing waits to be written: making a segment takes syncs, and who waits for room in the buffer waits for the writer.
                if !wrote && log.is_contended() && log.needs_spare() {
                    self.lend_a_hand(log)?;
                }
                Ok(wrote)
            });
            if step.is_err() {
                log.wait_for_stop(&stop);
            }
        }
    }

    /// Makes the segment that callers wait for, where maintenance is busy with a slow sync. Never waits for maintenance, which may wait for the writer.
    fn lend_a_hand(&self, log: &Log) -> Result<(), Error> {
        if log.prepare_step()? == Prepared::NeedsRetirement
            && !log.has_retired()
            && let Some(_one) = self.retiring.try_lock()
        {
            self.retire_by(Hands::Writer, Keep::all(log))?;
        }
        Ok(())
    }

    fn run_maintenance(&self, log: &Log) {
        let stop = || self.stopping.load(Ordering::Relaxed);
        while !stop() {
            self.publish();
            let step = (|| {
                let mut busy = false;
                // Room first: a seal may take long.
                log.reap();
                if log.needs_room() && (!self.is_closed() || log.is_contended()) {
                    self.make_room_ahead()?;
                    busy = !log.needs_spare();
                } else if log.needs_spare() {
                    busy = log.prepare_step()? == Prepared::Ready;
                }
                busy |= self.relieve_index()?;
                busy |= log.seal_step()?;
                busy |= self.pay_owed(log);
                busy |= self.refill_step(log);
                busy |= self.list_memory(log, false);
                log.note_clock(self.now_s());
                // Last, so that nothing comes between the look at the load and the step.
                let (more, wait) = self.sweep_if_quiet(log);
                Ok::<(bool, Option<Duration>), Error>((busy || more, wait))
            })();
            match step {
                Ok((true, _)) => {}
                Ok((false, wait)) => {
                    let woken = || stop() || self.index_crowded.load(Ordering::Relaxed);
                    log.wait_for_maintenance_work(
                        log.has_retired(),
                        self.page_wait().into_iter().chain(wait).min(),
                        &woken,
                    );
                }
                Err(_) => {
                    self.windows.end(WindowEnd::DiskOff, self.now_us());
                    while !stop() {
                        self.publish();
                        log.wait_for_stop(&|| stop() || self.is_page_due());
                    }
                }
            }
        }
    }

    // -- closing

    /// Closes the cache: nothing is accepted any more, what only memory holds is appended as far as there is room, all is made durable.
    pub(crate) fn close(&self, workers: &mut Vec<Worker>) -> Result<(), Error> {
        let mut gate = self.gate.write();
        if std::mem::replace(&mut *gate, true) {
            // What went wrong stays wrong.
            return self.log.as_ref().map_or(Ok(()), |log| log.latch.check());
        }
        self.closed.store(true, Ordering::Relaxed);
        self.shards.close();
        // Nothing may go uncounted behind the last look at what memory holds: so only this thread retires from here on.
        self.stop_maintenance(workers);
        self.windows.end(WindowEnd::Closed, self.now_us());
        let result = self.log.as_ref().map_or(Ok(()), |log| self.close_log(log));
        self.stop_threads(workers);
        self.publish_end();
        if let Some(disk) = &self.disk {
            disk.unlock();
        }
        result
    }

    fn close_log(&self, log: &Log) -> Result<(), Error> {
        let mut appended = 0;
        let saved = (|| {
            log.latch.check()?;
            self.append_memory(log, &mut appended)?;
            // Room for the mark if there is some: nobody would make any.
            self.flush_with(log, log.try_reserve(Class::Control, MARK_LEN))?;
            while log.seal_step()? {}
            self.list_memory(log, true);
            Ok(())
        })();
        self.count_unsaved(log);
        tracing::info!(
            appended,
            unsaved = self.counters.dropped_at_close.get(),
            is_durable = saved.is_ok(),
            "the cache is closed"
        );
        saved
    }

    /// Appends the entries that only memory holds, and sees to it that the next open has room for a fresh segment (that of the spare). For the sake
    /// of memory at most a quarter of the segments go. Counts what it appends.
    fn append_memory(&self, log: &Log, appended_count: &mut u64) -> Result<(), Error> {
        let retired_max = log.counters.segments_retired.get() + log.snapshot().segment_count / 4;
        let mut is_enough = false;
        loop {
            let (appended, left) = if is_enough { (0, 0) } else { self.append_memory_once(log) };
            *appended_count += appended;
            if left == 0 && !log.needs_spare() {
                return Ok(());
            }
            self.drain(log)?;
            if log.needs_spare() {
                let retired_before = log.counters.segments_retired.get();
                if self.try_spare(log)? != Spare::Ready {
                    // The next open finds room by letting the oldest go, or says why not.
                    return Ok(());
                }
                let retired = log.counters.segments_retired.get();
                is_enough |= retired > retired_before && retired >= retired_max;
            } else if appended == 0 && left > 0 {
                is_enough = true;
            }
        }
    }

    /// Appends what only memory holds as far as there is room now. Returns how many entries were appended, and how many had no room.
    fn append_memory_once(&self, log: &Log) -> (u64, u64) {
        let (mut appended, mut left) = (0, 0);
        self.for_each_unsaved(log, |index, header, payload| match log.try_reserve(Class::Value, header.record_len()) {
            Some(room) if index.used_count() < index.capacity() => {
                let location = log.append(room, &header, payload).location;
                point_to(index, log, self.shards.counters(header.key_hash), header.key_hash, location);
                appended += 1;
            }
            _ => left += 1,
        });
        (appended, left)
    }

    /// Counts what is lost with this process.
    fn count_unsaved(&self, log: &Log) {
        let mut left = 0;
        self.for_each_unsaved(log, |_, _, _| left += 1);
        self.counters.dropped_at_close.add(left);
        self.owed.let_go(&self.shards, &self.compaction);
    }

    /// Visits the entries that memory holds and the log does not, but would take.
    fn for_each_unsaved(&self, log: &Log, mut visit: impl FnMut(&mut Table, RecordHeader, [&[u8]; 2])) {
        let now_s = self.now_s();
        for (lock, _) in self.shards.iter() {
            let mut shard = lock.write();
            let crate::shard::Shard { memory, disk_index, .. } = &mut *shard;
            let Some(index) = disk_index else { return };
            memory.for_each(|key, value, expiry_s| {
                let hash = key_hash(self.salt, key);
                if index.find(hash).is_some() || (expiry_s != 0 && now_s >= expiry_s) {
                    return;
                }
                let header = RecordHeader::put(hash, key, value, expiry_s);
                // What is larger was refused and counted when it was inserted.
                if header.record_len() <= log.plan().record_len_max() {
                    visit(index, header, [key, value]);
                }
            });
        }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::SimDisk;
    use crate::sync::PlainArc;
    use crate::{Builder, Cache, Maintenance, QuietWindows};

    fn open(when: QuietWindows, change: impl FnOnce(Builder) -> Builder) -> Cache {
        let settings = Cache::builder().memory_bytes(4 << 20).disk_bytes(8 << 20).shards(1).quiet_windows(when);
        change(settings).open_on(PlainArc::new(SimDisk::new(1))).expect("an empty disk")
    }

    #[test]
    fn the_rate_holds_for_who_lends_a_hand_whatever_window_is_open() {
        let cache = open(QuietWindows::Always, |settings| settings);
        assert_eq!(cache.core().pace(Hands::Maintenance).1, Pace::Free);
        assert_eq!(cache.core().pace(Hands::Writer).1, Pace::UnderLoad, "callers wait");
        let cache = open(QuietWindows::Asked, |settings| settings.maintenance(Maintenance::Manual));
        assert_eq!(cache.core().pace(Hands::Writer).1, Pace::Free, "nothing depends on time");
    }

    #[test]
    fn a_load_that_returned_since_the_last_look_counts_at_once() {
        let clock = PlainArc::new(ManualClock::new(1_700_000_000_000));
        let cache = open(QuietWindows::Detected, |settings| settings.shared_clock(PlainArc::clone(&clock) as _));
        let core = cache.core();
        let look = |count: u32, per_look: u32| {
            for _ in 0..count {
                (0..per_look).for_each(|key| assert_eq!(cache.get(key.to_le_bytes()), None));
                clock.advance(Duration::from_millis(250));
                core.advise();
            }
        };
        look(240, 50);
        assert_eq!(core.pace(Hands::Maintenance).1, Pace::UnderLoad);
        look(100, 0);
        assert_eq!(core.pace(Hands::Maintenance).1, Pace::Free);
        // Nobody looks between these and the question.
        (0..50u32).for_each(|key| assert_eq!(cache.get(key.to_le_bytes()), None));
        clock.advance(Duration::from_millis(10));
        assert_eq!(core.pace(Hands::Maintenance).1, Pace::UnderLoad);
    }
}
