//! Segments come and go: the spare is made ahead of need (P3), the oldest is retired (P8).

use super::entries::{Listed, read_entries_from};
use super::{Log, LogPlan, Prepared, Segment, Source, read_entries};
use crate::budget::{Budget, Charge};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::identity::Identity;
use crate::format::names;
use crate::format::segment::{HEADER_OFFSETS, SegmentHeader};
use crate::random::Random;
use crate::sync::{Arc, PlainArc};
use std::io;

impl Log {
    /// Whether a spare is missing.
    pub(crate) fn needs_spare(&self) -> bool {
        self.tail.lock().spare.is_none() && !self.latch.is_tripped()
    }

    /// Makes the spare segment if there is none: a file with its final length and header, durable under its final name.
    pub(crate) fn prepare_step(&self) -> Result<Prepared, Error> {
        let _one = self.preparing.lock();
        self.latch.check()?;
        let (number, clock_mark_s) = {
            let tail = self.tail.lock();
            if tail.spare.is_some() {
                return Ok(Prepared::Ready);
            }
            (tail.active.header.number.checked_add(1), tail.clock_mark_s)
        };
        let Some(number) = number else {
            return Err(self.fail("cannot create a segment", io::Error::other("no number is left for it")));
        };
        self.reap();
        let Some(charge) = self.budget.try_charge(self.plan.segment_charge_bytes()) else {
            return Ok(Prepared::NeedsRetirement);
        };
        let Some(name) = self.free_names.lock().pop_front() else { return Ok(Prepared::NeedsRetirement) };
        let created = create_segment(
            &*self.disk,
            &self.identity,
            &self.plan,
            &self.random,
            &self.budget,
            charge,
            name,
            number,
            clock_mark_s,
        );
        let (segment, written) = match created {
            Ok(created) => created,
            Err(error) => {
                self.free_names.lock().push_front(name);
                if is_full(&error) {
                    return Ok(Prepared::NeedsRetirement);
                }
                return Err(self.fail(&format!("cannot create {}", names::segment(number)), error));
            }
        };
        self.counters.written_bytes.add(written);
        self.counters.segments_created.one();
        let segment = Arc::new(segment);
        self.segments.insert(name, Arc::clone(&segment));
        self.tail.lock().spare = Some(segment);
        self.moved.notify_all();
        Ok(Prepared::Ready)
    }

    /// The oldest segment, if it may be retired: sealed, and not the one that is appended to.
    pub(crate) fn oldest_sealed(&self) -> Option<Arc<Segment>> {
        let tail = self.tail.lock();
        tail.order.front().filter(|segment| segment.is_sealed()).cloned()
    }

    /// The oldest sealed segment behind this number, among those that go next: one in `share` of all.
    pub(crate) fn sealed_after(&self, number: u32, share: usize) -> Option<Arc<Segment>> {
        let tail = self.tail.lock();
        let ahead = (tail.order.len() / share).max(1);
        tail.order.iter().take(ahead).find(|segment| segment.is_sealed() && segment.header.number > number).cloned()
    }

    /// Whether the log has left a segment that is not sealed yet.
    pub(crate) fn has_unsealed(&self) -> bool {
        !self.tail.lock().unsealed.is_empty()
    }

    /// Removes the oldest segment, which no index slot names any more: its file at once, its mapping and charge when the last pin goes.
    pub(crate) fn retire(&self, segment: Arc<Segment>) -> Result<(), Error> {
        let _one = self.preparing.lock();
        self.latch.check()?;
        let name = segment.name;
        {
            let mut tail = self.tail.lock();
            let front = tail.order.front().is_some_and(|front| Arc::ptr_eq(front, &segment));
            if !front || !segment.is_sealed() {
                return Ok(());
            }
            tail.order.pop_front();
        }
        let number = segment.header.number;
        let file_name = names::segment(number);
        drop(segment);
        let retired = self.segments.retire(name);
        let unlinked = self.disk.unlink(&file_name).or_else(|error| match error.kind() {
            // Somebody tidied up: what was to be removed is gone.
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        let removed = unlinked.and_then(|()| self.disk.sync_dir());
        if let Err(error) = removed {
            return Err(self.fail(&format!("cannot remove {file_name}"), error));
        }
        self.retired.lock().extend(retired);
        self.counters.segments_retired.one();
        tracing::debug!(number, "a segment is retired");
        self.reap();
        self.moved.notify_all();
        Ok(())
    }

    /// Releases what retired segments held, for those that nobody reads any more.
    pub(crate) fn reap(&self) {
        let mut retired = self.retired.lock();
        let waiting = std::mem::take(&mut *retired);
        for segment in waiting {
            let name = segment.name;
            match segment.reclaim() {
                // The mapping goes first, then the charge (field order does not matter: both go here, before the name is free again).
                Ok(segment) => {
                    drop(segment);
                    self.free_names.lock().push_back(name);
                }
                Err(still_read) => retired.push(still_read),
            }
        }
    }

    /// Whether retired segments wait for their last pin.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.lock().is_empty()
    }

    /// Visits the footer entries of a sealed segment in steps of at most `step` entries.
    pub(crate) fn entries(&self, segment: &Segment, visit: &mut dyn FnMut(&Listed)) -> Result<(), Error> {
        let name = names::segment(segment.header.number);
        let file = self
            .disk
            .open(&name, crate::disk::Access::Read)
            .map_err(|error| Error::io(format!("cannot open {name}"), error))?;
        read_entries(&*file, self.identity.store_id, visit)
            .map_err(|error| Error::io(format!("cannot read the footer of {name}"), error))
    }

    /// Footer entries of a sealed segment, at most `count`, from the one with this number on. What they say is only a hint: their checksum is that
    /// of all of them together, and not looked at.
    pub(crate) fn entries_from(&self, segment: &Segment, from: u32, count: usize) -> io::Result<Listed> {
        let file = self.disk.open(&names::segment(segment.header.number), crate::disk::Access::Read)?;
        read_entries_from(&*file, self.identity.store_id, from, count)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

pub(super) fn source_of(plan: &LogPlan, file: &PlainArc<dyn DiskFile>, len: u64) -> io::Result<Source> {
    if plan.mapped { Ok(Source::Mapped(file.map(len)?)) } else { Ok(Source::File(PlainArc::clone(file))) }
}

/// Makes a segment file (P3): temporary name, length, header, sync; then its name, and the directory synced. On failure nothing is left behind.
#[allow(clippy::too_many_arguments, reason = "used at open, when there is no log yet, and by the log")]
pub(super) fn create_segment(
    disk: &dyn Disk,
    identity: &Identity,
    plan: &LogPlan,
    random: &Random,
    budget: &Budget,
    charge: Charge,
    name: u16,
    number: u32,
    clock_mark_s: u32,
) -> io::Result<(Segment, u64)> {
    let temporary = names::segment_temporary(number);
    let made = (|| {
        let file: PlainArc<dyn DiskFile> = disk.create_new(&temporary)?.into();
        file.allocate(plan.segment_len_bytes.into())?;
        let allocated = file.allocated_bytes()?;
        if allocated > charge.bytes() && budget.limit_bytes() - budget.used_bytes() < allocated - charge.bytes() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the file takes more blocks than the budget has"));
        }
        let header = SegmentHeader {
            uid: random.bytes()?,
            store_id: identity.store_id,
            number,
            len_bytes: plan.segment_len_bytes,
            clock_mark_s,
        };
        for offset in HEADER_OFFSETS {
            file.write_at(offset, &header.encode(offset))?;
        }
        file.sync_data()?;
        let source = source_of(plan, &file, plan.segment_len_bytes.into())?;
        disk.rename(&temporary, &names::segment(number))?;
        disk.sync_dir()?;
        Ok((file, header, source))
    })();
    match made {
        Ok((file, header, source)) => {
            let written = (HEADER_OFFSETS.len() * SegmentHeader::LEN) as u64;
            Ok((Segment::new(header, name, source, Some(file), charge, false), written))
        }
        Err(error) => {
            // Best effort: what stays is an orphan that the next open removes.
            let _ = disk.unlink(&temporary);
            Err(error)
        }
    }
}
