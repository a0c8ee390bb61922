//! Handing the append buffer to the kernel, syncing, sealing: the way of a batch to the medium (P2, P4).

use super::{Depth, Log, Reservation, Segment, seal};
use crate::error::Error;
use crate::format::names;
use crate::sync::{Arc, Ordering};
use std::io;

impl Log {
    /// Writes what the buffer holds, up to one staging buffer or one large batch. Returns whether anything was written.
    pub(crate) fn write_step(&self) -> Result<bool, Error> {
        let mut staging = self.staging.lock();
        self.latch.check()?;
        let (segment, offset, stream, len, count, last_seqno);
        let mut copied;
        {
            let mut tail = self.tail.lock();
            if tail.queue.is_empty() {
                tail.close_batch();
            }
            let mut extents = tail.queue.iter();
            let Some(first) = extents.next() else { return Ok(false) };
            let (mut total, mut last, mut taken) = (first.len, first.last_seqno, 1);
            for next in extents {
                let joined = Arc::ptr_eq(&next.segment, &first.segment)
                    && u64::from(next.offset) == u64::from(first.offset) + total
                    && total + next.len <= staging.len() as u64;
                if !joined {
                    break;
                }
                (total, last, taken) = (total + next.len, next.last_seqno, taken + 1);
            }
            (segment, offset, stream) = (Arc::clone(&first.segment), first.offset, first.stream);
            (len, count, last_seqno) = (total, taken, last);
            copied = len.min(staging.len() as u64);
            tail.buffer.copy_out(stream, &mut staging[..copied as usize]);
        }
        let written = (|| {
            let file =
                segment.file().ok_or_else(|| io::Error::other("the segment was sealed before it was written"))?;
            file.write_at(offset.into(), &staging[..copied as usize])?;
            while copied < len {
                let step = (len - copied).min(staging.len() as u64);
                {
                    // Another thread's failure may have thrown the rest away.
                    let tail = self.tail.lock();
                    if self.latch.is_tripped() {
                        return Err(io::Error::other("the disk tier went off meanwhile"));
                    }
                    tail.buffer.copy_out(stream + copied, &mut staging[..step as usize]);
                }
                file.write_at(u64::from(offset) + copied, &staging[..step as usize])?;
                copied += step;
            }
            Ok(())
        })();
        if let Err(error) = written {
            return Err(self.fail(&format!("cannot write {}", names::segment(segment.header.number)), error));
        }
        self.counters.written_bytes.add(len);
        self.counters.write_count.one();
        // Before the buffer is freed: a reader finds the bytes in one place or the other.
        segment.watermark.publish(offset + len as u32);
        let mut tail = self.tail.lock();
        if self.latch.is_tripped() {
            return Ok(true);
        }
        tail.queue.drain(..count);
        tail.buffer.free(stream + len);
        tail.written_seqno = tail.written_seqno.max(last_seqno);
        let left_behind = !Arc::ptr_eq(&tail.active, &segment);
        drop(tail);
        self.moved.notify_all();
        if left_behind {
            self.maintenance_work.notify_one();
        }
        Ok(true)
    }

    /// Writes everything that was appended so far, in this thread.
    pub(crate) fn write_all(&self) -> Result<(), Error> {
        let target = self.last_seqno();
        loop {
            let wrote = self.write_step()?;
            let tail = self.tail.lock();
            if !wrote || (tail.written_seqno >= target && !tail.has_unwritten()) {
                // Nothing is left to write also when another thread's failure has just thrown it away.
                return self.latch.check();
            }
        }
    }

    /// Seqno of the last event appended.
    pub(crate) fn last_seqno(&self) -> u64 {
        self.tail.lock().next_seqno - 1
    }

    /// Waits until the writer has handed `seqno` to the kernel.
    pub(crate) fn wait_written(&self, seqno: u64) -> Result<(), Error> {
        let mut tail = self.tail.lock();
        while tail.written_seqno < seqno {
            self.latch.check()?;
            tail.urgent = true;
            self.writer_work.notify_one();
            self.moved.wait(&mut tail);
        }
        Ok(())
    }

    /// Makes every event up to `seqno`, which is written, durable. Many callers share one sync.
    pub(crate) fn sync_through(&self, seqno: u64) -> Result<(), Error> {
        if self.tail.lock().synced_seqno >= seqno {
            return Ok(());
        }
        let _one = self.syncing.lock();
        self.latch.check()?;
        let (files, target) = {
            let tail = self.tail.lock();
            if tail.synced_seqno >= seqno {
                // Whoever held the lock before synced for us as well.
                return Ok(());
            }
            let mut files: Vec<Arc<Segment>> = tail.unsealed.iter().map(|(segment, _)| Arc::clone(segment)).collect();
            files.push(Arc::clone(&tail.active));
            (files, tail.written_seqno)
        };
        // In log order, so that what is durable is always a prefix.
        for segment in files {
            self.sync_segment(&segment)?;
        }
        self.latch.check()?;
        let mut tail = self.tail.lock();
        tail.synced_seqno = tail.synced_seqno.max(target);
        drop(tail);
        self.moved.notify_all();
        Ok(())
    }

    fn sync_segment(&self, segment: &Segment) -> Result<(), Error> {
        let Some(file) = segment.file() else { return Ok(()) };
        self.counters.sync_count.one();
        file.sync_data()
            .map_err(|error| self.fail(&format!("cannot sync {}", names::segment(segment.header.number)), error))
    }

    /// Appends an empty batch that says how far the log is durable, unless a batch says so already.
    pub(crate) fn append_synced_mark(&self, reservation: Reservation<'_>) -> bool {
        let mut tail = self.tail.lock();
        tail.clock_mark_s = tail.clock_mark_s.max(self.latest_s.load(Ordering::Relaxed));
        let due = tail.recorded_seqno < tail.synced_seqno;
        if due {
            tail.append_synced_mark();
        }
        tail.release(reservation.cost);
        std::mem::forget(reservation);
        drop(tail);
        self.writer_work.notify_one();
        due
    }

    /// Waits until the background writer has written all that is in the buffer now.
    pub(crate) fn wait_drained(&self) -> Result<(), Error> {
        let mut tail = self.tail.lock();
        let target = tail.buffer.end();
        while tail.buffer.freed() < target {
            self.latch.check()?;
            tail.urgent = true;
            self.writer_work.notify_one();
            self.moved.wait(&mut tail);
        }
        Ok(())
    }

    /// Seals the oldest segment that the log has left, once all of it is written. Returns whether it did.
    pub(crate) fn seal_step(&self) -> Result<bool, Error> {
        let _one = self.syncing.lock();
        self.latch.check()?;
        let Some((segment, clock_mark_s)) =
            self.tail.lock().unsealed.front().map(|(segment, mark)| (Arc::clone(segment), *mark))
        else {
            return Ok(false);
        };
        let end = segment.end().expect("the log has left the segment, so its end is known");
        if segment.watermark.get() < end.data_end {
            return Ok(false);
        }
        self.sync_segment(&segment)?;
        {
            let mut tail = self.tail.lock();
            tail.synced_seqno = tail.synced_seqno.max(end.last_seqno);
        }
        let sealed = (|| {
            let file = segment.file().ok_or_else(|| io::Error::other("the segment is sealed already"))?;
            let tail = seal(&*file, &segment.header, &segment.link(), end, clock_mark_s, Depth::Headers)?;
            Ok((tail, file.allocated_bytes()?))
        })();
        let (tail, allocated) = sealed
            .map_err(|error| self.fail(&format!("cannot seal {}", names::segment(segment.header.number)), error))?;
        let footer_bytes = crate::format::footer::footer_len(tail.entry_count.into());
        self.counters.written_bytes.add(footer_bytes);
        self.counters.sync_count.one();
        self.counters.segments_sealed.one();
        {
            let mut charge = segment.charge.lock();
            let now = allocated.min(charge.bytes());
            charge.shrink_to(now);
        }
        segment.mark_sealed();
        self.tail.lock().unsealed.pop_front();
        self.moved.notify_all();
        Ok(true)
    }
}
