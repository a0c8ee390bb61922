//! The warm list: what memory holds and what was hit on disk, written down from time to time, so that a restart can read the one back and knows of
//! the other what is worth appending again. Advice only: see
//! `format-spec/10-warm-list.md`.
//!
//! Knows: shards, the disk, the budget. Does not know: threads, the log. Written under a temporary name, synced, then renamed; so there is one list or
//! the other. It is due when a part of memory has been replaced, and the more seldom the longer it is: so it stays below a hundredth of what comes
//! into memory. A failure ends it, not the disk tier.

use crate::budget::{Budget, Charge};
use crate::disk::{Disk, DiskFile};
use crate::format::location::Location;
use crate::format::names;
use crate::format::warm::{ENTRY_COUNT_MAX, ENTRY_LEN, WarmEntry, WarmHeader, list_len};
use crate::shard::{Shard, Shards};
use crate::sync::{Mutex, RwLock};
use std::io;

/// Entries of a ring that are looked at under one lock.
const STEP_COUNT: usize = 64;
/// Slots of the log's index that are counted under one lock.
const COUNT_STEP: usize = 2048;
/// Memory that writing a list takes.
pub(crate) const WORKING_BYTES: u64 = (STEP_COUNT * (ENTRY_LEN + size_of::<WarmEntry>())) as u64;
/// A list is at most this share of the disk budget long.
const SHARE_OF_DISK: u64 = 64;
/// What a file may take beyond its length: the last block, and an extent block of the file system.
const SLACK_BYTES: u64 = 8192;

/// Most bytes that a list may take on disk.
pub(crate) fn list_bytes_max(disk_bytes: u64) -> u64 {
    disk_bytes / SHARE_OF_DISK + SLACK_BYTES
}

/// What a list with this many entries is charged.
pub(crate) fn list_bytes(entry_count: u64) -> u64 {
    list_len(entry_count.min(ENTRY_COUNT_MAX)).next_multiple_of(4096) + SLACK_BYTES
}

/// The list of one store, and when the next one is due.
#[derive(Debug)]
pub(crate) struct Warm(Mutex<State>);

#[derive(Debug)]
struct State {
    /// What the present file takes of the budget.
    charge: Option<Charge>,
    /// What had come into memory when it was written.
    written_at_bytes: u64,
    /// The same when it was last tried.
    tried_at_bytes: u64,
    /// How much has to come in until the next.
    interval_bytes: u64,
    is_off: bool,
}

impl Warm {
    /// The state behind an open: `charge` is that of the file that is there.
    pub(crate) fn new(shards: &Shards, charge: Option<Charge>) -> Self {
        let interval_bytes = interval_bytes(shards, 0);
        Self(Mutex::new(State { charge, written_at_bytes: 0, tried_at_bytes: 0, interval_bytes, is_off: false }))
    }

    /// Whether enough has come into memory for another list.
    pub(crate) fn is_due(&self, shards: &Shards) -> bool {
        let state = self.0.lock();
        !state.is_off && inserted_bytes(shards) - state.tried_at_bytes >= state.interval_bytes
    }

    /// Writes a list if the budget has room for it beside the old one; `or_instead` gives the old one up where that is what it takes. `between`
    /// is called after each step, without a shard's lock. Returns how many bytes were written.
    #[allow(clippy::too_many_arguments, reason = "what a list is made of, by parts with owners of their own")]
    pub(crate) fn write(
        &self,
        shards: &Shards,
        disk: &dyn Disk,
        budget: &Budget,
        store_id: [u8; 16],
        or_instead: bool,
        number_of: &dyn Fn(u16) -> Option<u32>,
        between: &dyn Fn(),
    ) -> u64 {
        let mut state = self.0.lock();
        let now_bytes = inserted_bytes(shards);
        if state.is_off || now_bytes == state.written_at_bytes {
            return 0;
        }
        // Whatever comes of it, the next is due later.
        state.tried_at_bytes = now_bytes;
        let shard_count = shards.iter().count() as u64;
        let shard_max = (budget.limit_bytes() / SHARE_OF_DISK / ENTRY_LEN as u64).min(ENTRY_COUNT_MAX) / shard_count;
        let (mut wanted, mut is_empty) = (0, true);
        for (shard, _) in shards.iter() {
            let mut popular = 0;
            for_each_popular(shard, between, |_, _| popular += 1);
            let shard = shard.read();
            wanted += shard_max.min(shard.memory.len() + popular);
            is_empty &= popular == 0 && shard.memory.main_bytes() == 0;
        }
        if is_empty {
            return 0;
        }
        let bytes = list_bytes(wanted);
        let mut charge = budget.try_charge(bytes);
        let free_bytes = budget.limit_bytes() - budget.used_bytes();
        // Not where even its room would not do: an old list is better than none.
        let does_its_room_do = state.charge.as_ref().is_some_and(|old| free_bytes + old.bytes() >= bytes);
        if charge.is_none() && or_instead && does_its_room_do {
            if disk.unlink(names::WARM).is_err() {
                state.is_off = true;
                return 0;
            }
            state.charge = None;
            charge = budget.try_charge(bytes);
        }
        let Some(charge) = charge else { return 0 };
        match write_list(shards, disk, store_id, charge, (shard_max, wanted), number_of, between) {
            Ok((charge, len)) => {
                // The old file went with the rename, and its charge goes here.
                state.charge = Some(charge);
                state.written_at_bytes = now_bytes;
                state.interval_bytes = interval_bytes(shards, len);
                len
            }
            Err(error) => {
                tracing::warn!(%error, "cannot write the warm list; a restart will find an older one, or none");
                state.is_off = true;
                0
            }
        }
    }
}

fn inserted_bytes(shards: &Shards) -> u64 {
    shards.iter().map(|(shard, _)| shard.read().memory.inserted_bytes()).sum()
}

/// A quarter of what memory holds, and at least so much that lists of this length stay a small part of it.
fn interval_bytes(shards: &Shards, list_len: u64) -> u64 {
    let capacity_bytes: u64 = shards.iter().map(|(shard, _)| shard.read().memory.capacity_bytes()).sum();
    (capacity_bytes / 4).max(128 * list_len)
}

/// Writes the file and gives it its name: at most so many entries of each shard, and so many of all. Returns the charge, cut to what the file takes,
/// and its length.
fn write_list(
    shards: &Shards,
    disk: &dyn Disk,
    store_id: [u8; 16],
    mut charge: Charge,
    (shard_max, entry_count_max): (u64, u64),
    number_of: &dyn Fn(u16) -> Option<u32>,
    between: &dyn Fn(),
) -> io::Result<(Charge, u64)> {
    let file = disk.create_new(names::WARM_TEMPORARY)?;
    let written = (|| {
        // Before anything is written, so that no file system takes more ahead of a file that grows.
        file.allocate(list_len(entry_count_max))?;
        let check = |allocated_bytes| match allocated_bytes <= charge.bytes() {
            true => Ok(allocated_bytes),
            false => Err(io::Error::new(io::ErrorKind::StorageFull, "the file takes more blocks than were charged")),
        };
        check(file.allocated_bytes()?)?;
        let len = write_entries(&*file, shards, store_id, (shard_max, entry_count_max), number_of, between)?;
        file.truncate(len)?;
        file.sync_data()?;
        let allocated_bytes = check(file.allocated_bytes()?)?;
        disk.rename(names::WARM_TEMPORARY, names::WARM)?;
        Ok((len, allocated_bytes))
    })();
    match written {
        Ok((len, allocated_bytes)) => {
            charge.shrink_to(allocated_bytes);
            Ok((charge, len))
        }
        Err(error) => {
            if disk.unlink(names::WARM_TEMPORARY).is_err() {
                // It may still be there, and take room.
                charge.keep();
            }
            Err(error)
        }
    }
}

fn write_entries(
    file: &dyn DiskFile,
    shards: &Shards,
    store_id: [u8; 16],
    (shard_max, entry_count_max): (u64, u64),
    number_of: &dyn Fn(u16) -> Option<u32>,
    between: &dyn Fn(),
) -> io::Result<u64> {
    let mut out = Entries { file, hasher: WarmHeader::entries_hasher(store_id), count: 0, bytes: Vec::new() };
    let mut left = Vec::with_capacity(shards.iter().count());
    let mut entries = Vec::with_capacity(STEP_COUNT);
    for (shard, _) in shards.iter() {
        let (mut position, mut shard_left) = (Some(0), shard_max.min(entry_count_max - out.count));
        while let Some(from) = position.filter(|_| shard_left > 0) {
            entries.clear();
            position = shard.read().memory.list_main(from, STEP_COUNT, |key_hash, popularity| {
                entries.push(WarmEntry::key(key_hash, popularity));
            });
            between();
            entries.truncate(shard_left as usize);
            shard_left -= entries.len() as u64;
            out.write(&entries)?;
        }
        left.push(shard_left);
    }
    // Behind all keys: memory is read back from those alone.
    for ((shard, _), shard_left) in shards.iter().zip(left) {
        let mut shard_left = shard_left.min(entry_count_max - out.count);
        let mut position = Some(0);
        while let Some(from) = position.filter(|_| shard_left > 0) {
            entries.clear();
            position = shard.read().disk_index.as_ref().and_then(|index| {
                index.popular(from, STEP_COUNT, |location, popularity| {
                    let location = Location::unpack(location);
                    let number = number_of(location.segment);
                    entries.extend(number.map(|number| WarmEntry::record(number, location.offset, popularity)));
                })
            });
            between();
            entries.truncate(shard_left as usize);
            shard_left -= entries.len() as u64;
            out.write(&entries)?;
        }
    }
    let header = WarmHeader { store_id, entry_count: out.count, entries_crc: out.hasher.finalize() };
    file.write_at(0, &header.encode())?;
    Ok(list_len(out.count))
}

/// Entries on their way to the file.
struct Entries<'a> {
    file: &'a dyn DiskFile,
    hasher: crc32fast::Hasher,
    count: u64,
    bytes: Vec<u8>,
}

impl Entries<'_> {
    fn write(&mut self, entries: &[WarmEntry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.bytes.clear();
        entries.iter().for_each(|entry| self.bytes.extend_from_slice(&entry.encode()));
        self.file.write_at(list_len(self.count), &self.bytes)?;
        self.hasher.update(&self.bytes);
        self.count += entries.len() as u64;
        Ok(())
    }
}

/// Visits what was hit on disk, in steps under the shard's lock.
fn for_each_popular(shard: &RwLock<Shard>, between: &dyn Fn(), mut visit: impl FnMut(u64, u8)) {
    let mut position = Some(0);
    while let Some(from) = position {
        position = shard.read().disk_index.as_ref().and_then(|index| index.popular(from, COUNT_STEP, &mut visit));
        between();
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::disk::{SimCause, SimDisk, SimFault, SimOp};
    use crate::hash::key_hash;
    use crate::recovery::warm_list::WarmList;
    use crate::shard::memory::MemoryPlan;

    const STORE_ID: [u8; 16] = [9; 16];

    /// Shards whose main rings hold entries.
    fn shards(shard_count: usize, entry_count: u64) -> Shards {
        let plan = MemoryPlan::split(256 << 10, 64).expect("enough memory");
        let shards = Shards::new(shard_count, plan, 4096, 7).expect("anonymous memory");
        (0..entry_count).for_each(|n| promote(&shards, n));
        shards
    }

    fn promote(shards: &Shards, n: u64) {
        let key = n.to_le_bytes();
        let hash = key_hash(7, &key);
        shards.write(hash).memory.promote(hash, &key, b"value", 0, 0);
    }

    fn listed(disk: &SimDisk) -> Vec<WarmEntry> {
        let Some(mut list) = WarmList::open(disk, STORE_ID).expect("what is there verifies") else { return Vec::new() };
        let mut entries = Vec::new();
        while list.left_count() > 0 {
            entries.extend(list.next_entries(1000).expect("it can be read"));
        }
        entries
    }

    #[test]
    fn a_list_names_what_the_main_rings_hold_within_its_share_of_the_disk() {
        for (shard_count, entry_count, disk_bytes) in
            [(1, 1, 64 << 20), (1, 512, 64 << 20), (4, 3000, 64 << 20), (4, 3000, 1 << 20), (2, 600, 512 << 10)]
        {
            let (shards, disk, budget) = (shards(shard_count, entry_count), SimDisk::new(1), Budget::new(disk_bytes));
            let warm = Warm::new(&shards, None);
            let written = warm.write(&shards, &disk, &budget, STORE_ID, false, &|_| None, &|| ());
            assert_eq!(written, disk.read_file(names::WARM).len() as u64);
            assert_eq!(budget.used_bytes(), disk.used_bytes(), "what the file takes, and no more");
            assert!(disk.used_bytes() <= list_bytes_max(disk_bytes), "{} of {disk_bytes}", disk.used_bytes());
            let list = listed(&disk);
            let per_shard = (list_bytes_max(disk_bytes) - SLACK_BYTES) / ENTRY_LEN as u64 / shard_count as u64;
            let expected: u64 = shards.iter().map(|(shard, _)| shard.read().memory.len().min(per_shard)).sum();
            assert_eq!(list.len() as u64, expected, "{shard_count} shards, {entry_count} entries, {disk_bytes}");
            assert!(
                list.iter().all(|entry| entry.as_key().is_some_and(|hash| shards.read(hash).memory.may_hold(hash)))
            );
        }
    }

    #[test]
    fn an_old_list_is_given_up_only_for_a_new_one_and_only_at_the_end() {
        let (mut beside, mut instead, mut kept) = (0, 0, 0);
        for is_end in [false, true] {
            for free in (0..80 << 10).step_by(1024) {
                let (shards, disk, budget) = (shards(1, 700), SimDisk::new(1), Budget::new(64 << 20));
                let warm = Warm::new(&shards, None);
                assert!(warm.write(&shards, &disk, &budget, STORE_ID, false, &|_| None, &|| ()) > 0);
                let (old, old_bytes) = (listed(&disk), disk.used_bytes());
                (0..200).for_each(|n| promote(&shards, 1_000_000 + n));
                // Others take the rest of the budget but this.
                let others = budget.try_charge(budget.limit_bytes() - budget.used_bytes() - free).expect("it is free");
                let written = warm.write(&shards, &disk, &budget, STORE_ID, is_end, &|_| None, &|| ());
                let list = listed(&disk);
                let needed = list_len(900).next_multiple_of(4096) + SLACK_BYTES;
                assert_eq!(
                    written > 0,
                    free + if is_end { old_bytes } else { 0 } >= needed,
                    "{free} bytes free, end: {is_end}"
                );
                if written > 0 {
                    assert_eq!((list.len(), list_len(900)), (900, written), "{free} bytes free, end: {is_end}");
                    *(if free >= needed { &mut beside } else { &mut instead }) += 1;
                } else {
                    assert!(list == old, "{free} bytes free, end: {is_end}: no new one, so the old one stays");
                    assert_eq!(disk.used_bytes(), old_bytes);
                    kept += 1;
                }
                assert_eq!(budget.used_bytes(), others.bytes() + disk.used_bytes(), "{free} bytes free, end: {is_end}");
                assert_eq!(disk.list().expect("a sound disk"), [names::WARM]);
            }
        }
        assert!(beside > 20 && instead > 0 && kept > 10, "{beside} beside the old one, {instead} instead, {kept} kept");
    }

    #[test]
    fn an_old_list_that_cannot_be_removed_for_a_new_one_stays_and_stays_charged() {
        let (shards, disk, budget) = (shards(1, 700), SimDisk::new(1), Budget::new(64 << 20));
        let warm = Warm::new(&shards, None);
        assert!(warm.write(&shards, &disk, &budget, STORE_ID, false, &|_| None, &|| ()) > 0);
        let (old, old_bytes) = (listed(&disk), disk.used_bytes());
        let free = old_bytes;
        let others = budget.try_charge(budget.limit_bytes() - budget.used_bytes() - free).expect("it is free");
        (0..200).for_each(|n| promote(&shards, 1_000_000 + n));
        disk.fail_nth(SimOp::Unlink, 1, SimFault::once(SimCause::Io));
        assert_eq!(
            warm.write(&shards, &disk, &budget, STORE_ID, true, &|_| None, &|| ()),
            0,
            "there is no room beside it"
        );
        assert!(listed(&disk) == old, "it is as it was");
        assert_eq!(budget.used_bytes(), others.bytes() + old_bytes);
        drop(others);
        promote(&shards, 2_000_000);
        assert_eq!(
            warm.write(&shards, &disk, &budget, STORE_ID, true, &|_| None, &|| ()),
            0,
            "a failure ends the list"
        );
    }

    #[test]
    fn a_list_is_due_when_a_part_of_memory_was_replaced_and_written_only_if_something_was() {
        let (shards, disk, budget) = (shards(1, 0), SimDisk::new(1), Budget::new(64 << 20));
        let warm = Warm::new(&shards, None);
        let write = |is_end| warm.write(&shards, &disk, &budget, STORE_ID, is_end, &|_| None, &|| ());
        assert_eq!((warm.is_due(&shards), write(true)), (false, 0), "of nothing there is no list");
        let (mut next, mut written) = (0, 0);
        for round in 0..4 {
            let before = inserted_bytes(&shards);
            while !warm.is_due(&shards) {
                promote(&shards, next);
                next += 1;
            }
            let came_in = inserted_bytes(&shards) - before;
            let capacity_bytes = shards.read(0).memory.capacity_bytes();
            let expected = (capacity_bytes / 4).max(128 * written);
            assert!((expected..expected + 100).contains(&came_in), "round {round}: {came_in}, expected {expected}");
            written = write(false);
            assert!(written > 0 && (round < 2 || written * 30 < came_in), "round {round}: {written} for {came_in}");
            assert_eq!((warm.is_due(&shards), write(true)), (false, 0), "round {round}: it is as it was");
        }
    }
}
