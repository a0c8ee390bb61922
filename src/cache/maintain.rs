//! The work behind requests, in steps that any thread may take: the background threads', or the caller's under manual maintenance.
//!
//! Threads: the writer hands the append buffer to the kernel; maintenance seals, prepares the spare and retires. Neither waits for the other: where the
//! writer sees callers wait for a segment, it makes one itself (D15).

use super::core::Core;
use super::outcome::{Maintained, MaintenanceBudget};
use crate::compaction::{Keep, retire_oldest};
use crate::error::{Error, ErrorKind};
use crate::format::record::RecordHeader;
use crate::hash::key_hash;
use crate::log::{Class, Log, Prepared};
use crate::sync::{Ordering, PlainArc, Worker};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How soon room is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Ahead of need: what earned it may be reinserted.
    No,
    /// Callers wait.
    Yes,
}

impl Core {
    /// Makes the spare segment if there is none, retiring the oldest as far as that needs.
    pub(crate) fn make_spare(&self, haste: Haste) -> Result<(), Error> {
        let Some(log) = &self.log else { return Ok(()) };
        let (mut retired, mut waits) = (0u32, 0u32);
        loop {
            if log.prepare_step()? == Prepared::Ready {
                return Ok(());
            }
            // A pin lasts for a copy: rather than retire another segment, let the reader finish.
            if log.has_retired() && waits < 10_000 {
                waits += 1;
                crate::sync::yield_now();
                continue;
            }
            // One segment's room is one segment, give or take the last's shorter file: more would be paid for nothing on a disk that others fill.
            if retired < 8 && self.retire(haste, u64::from(log.plan().segment_len_bytes) / 2)? {
                retired += 1;
                continue;
            }
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(log.give_up("no room for a segment, though the oldest were retired", full));
        }
    }

    /// Retires the oldest segment. Seals it first if need be.
    fn retire(&self, haste: Haste, reinsert_bytes_max: u64) -> Result<bool, Error> {
        let Some(log) = &self.log else { return Ok(false) };
        let _one = self.retiring.lock();
        if log.oldest_sealed().is_none() {
            if self.is_inline() {
                log.write_all()?;
            }
            while log.seal_step()? {}
        }
        let keep = match haste {
            Haste::No => Keep::HeldByMemory { bytes_max: reinsert_bytes_max },
            Haste::Yes => Keep::Nothing,
        };
        retire_oldest(&self.shards, log, keep, self.now_s(), &self.compaction)
    }

    /// Retires the oldest segment if the index of the log is almost full.
    pub(crate) fn relieve_index(&self) -> Result<bool, Error> {
        if !self.index_crowded.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        let retired = self.retire(Haste::Yes, 0)?;
        if retired {
            self.compaction.retired_for_index.one();
        }
        Ok(retired)
    }

    /// One step of what is due, the most urgent first. Returns whether there was one.
    fn step(&self, log: &Log, reinsert_bytes_max: u64) -> Result<bool, Error> {
        if log.write_step()? || log.seal_step()? || self.relieve_index()? {
            return Ok(true);
        }
        if !log.needs_spare() {
            return Ok(false);
        }
        if log.prepare_step()? == Prepared::Ready {
            return Ok(true);
        }
        self.retire(Haste::No, reinsert_bytes_max)
    }

    /// Takes bounded steps in the caller's thread.
    pub(crate) fn maintain(&self, budget: MaintenanceBudget) -> Result<Maintained, Error> {
        let gate = self.gate.read();
        if *gate {
            return Err(Error::new(ErrorKind::Closed, "the cache is closed"));
        }
        let Some(log) = &self.log else { return Ok(Maintained { steps: 0, more: false }) };
        log.note_clock(self.now_s());
        let mut steps = 0;
        while steps < budget.steps_max {
            if !self.step(log, budget.reinsert_bytes_max)? {
                return Ok(Maintained { steps, more: false });
            }
            steps += 1;
        }
        Ok(Maintained { steps, more: true })
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
                let stop = || core.stopping.load(Ordering::Relaxed);
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
                self.stop_threads(&mut vec![writer]);
                Err(error)
            }
        }
    }

    /// Ends the background threads.
    pub(crate) fn stop_threads(&self, workers: &mut Vec<Worker>) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(log) = &self.log {
            log.wake_all();
        }
        workers.drain(..).for_each(|mut worker| worker.join());
    }

    fn run_writer(&self, log: &Log) {
        let stop = || self.stopping.load(Ordering::Relaxed);
        while !stop() {
            log.wait_for_writer_work(&stop);
            let step = log.write_step().and_then(|wrote| {
                if log.is_contended() && log.needs_spare() {
                    self.make_spare(Haste::Yes)?;
                }
                Ok(wrote)
            });
            if step.is_err() {
                log.wait_for_stop(&stop);
            }
        }
    }

    fn run_maintenance(&self, log: &Log) {
        let stop = || self.stopping.load(Ordering::Relaxed);
        while !stop() {
            let step = (|| {
                let mut busy = false;
                // The spare first: a seal may take long.
                if log.needs_spare() {
                    self.make_spare(if log.is_contended() { Haste::Yes } else { Haste::No })?;
                    busy = true;
                }
                busy |= self.relieve_index()?;
                busy |= log.seal_step()?;
                log.reap();
                log.note_clock(self.now_s());
                Ok::<bool, Error>(busy)
            })();
            match step {
                Ok(true) => {}
                Ok(false) => log.wait_for_maintenance_work(log.has_retired(), &stop),
                Err(_) => log.wait_for_stop(&stop),
            }
        }
    }

    // -- closing

    /// Closes the cache: nothing is accepted any more, what only memory holds is appended as far as there is room, all is made durable.
    pub(crate) fn close(&self, workers: &mut Vec<Worker>) -> Result<(), Error> {
        let mut gate = self.gate.write();
        if std::mem::replace(&mut *gate, true) {
            return Ok(());
        }
        self.closed.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        if let Some(log) = &self.log {
            result = log.latch.check().and_then(|()| self.append_memory(log)).and_then(|()| self.flush_open());
        }
        self.stop_threads(workers);
        if let Some(disk) = &self.disk {
            disk.unlock();
        }
        result
    }

    /// Appends the entries that only memory holds, without letting anything else go for them.
    fn append_memory(&self, log: &Log) -> Result<(), Error> {
        let now_s = self.now_s();
        loop {
            let (mut appended, mut left) = (0u64, 0u64);
            for (lock, _) in self.shards.iter() {
                let mut shard = lock.write();
                let crate::shard::Shard { memory, disk_index } = &mut *shard;
                let Some(index) = disk_index else { return Ok(()) };
                memory.for_each(|key, value, expiry_s| {
                    let hash = key_hash(self.salt, key);
                    if index.find(hash).is_some() || (expiry_s != 0 && now_s >= expiry_s) {
                        return;
                    }
                    let header = RecordHeader::put(hash, key, value, expiry_s);
                    if header.record_len() > log.plan().record_len_max() {
                        // Refused and counted when it was inserted.
                        return;
                    }
                    match log.try_reserve(Class::Value, header.record_len()) {
                        Some(room) if index.used_count() < index.capacity() => {
                            let location = log.append(room, &header, [key, value]).location;
                            index.put(hash, location.pack(), 0, |_| u64::MAX);
                            appended += 1;
                        }
                        _ => left += 1,
                    }
                });
            }
            if left == 0 {
                return Ok(());
            }
            if self.is_inline() {
                log.write_all()?
            } else {
                log.wait_drained()?
            };
            let room = !log.needs_spare() || log.prepare_step()? == Prepared::Ready;
            if appended == 0 || !room {
                self.counters.dropped_at_close.add(left);
                return Ok(());
            }
        }
    }
}
