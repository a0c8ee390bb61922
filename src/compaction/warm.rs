//! The warm list: what memory holds, written down from time to time, so that a restart can read it back. Advice only: see
//! `format-spec/10-warm-list.md`.
//!
//! Knows: shards, the disk, the budget. Does not know: threads, the log. Written under a temporary name, synced, then renamed; so there is one list or
//! the other. It is due when a part of memory has been replaced, and the more seldom the longer it is: so it stays below a thirtieth of what comes
//! into memory. A failure ends it, not the disk tier.

use crate::budget::{Budget, Charge};
use crate::disk::{Disk, DiskFile};
use crate::format::names;
use crate::format::warm::{ENTRY_COUNT_MAX, ENTRY_LEN, WarmEntry, WarmHeader, list_len};
use crate::shard::Shards;
use crate::sync::Mutex;
use std::io;

/// Entries of a ring that are looked at under one lock.
const STEP_COUNT: usize = 512;
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
    /// How much has to come in until the next.
    interval_bytes: u64,
    is_off: bool,
}

impl Warm {
    /// The state behind an open: `charge` is that of the file that is there.
    pub(crate) fn new(shards: &Shards, charge: Option<Charge>) -> Self {
        let interval_bytes = interval_bytes(shards, 0);
        Self(Mutex::new(State { charge, written_at_bytes: 0, interval_bytes, is_off: false }))
    }

    /// Whether enough has come into memory for another list.
    pub(crate) fn is_due(&self, shards: &Shards) -> bool {
        let state = self.0.lock();
        !state.is_off && inserted_bytes(shards) - state.written_at_bytes >= state.interval_bytes
    }

    /// Writes a list if the budget has room for it beside the old one; `or_instead` gives the old one up where that is what it takes. Returns how
    /// many bytes were written.
    pub(crate) fn write(
        &self,
        shards: &Shards,
        disk: &dyn Disk,
        budget: &Budget,
        store_id: [u8; 16],
        or_instead: bool,
    ) -> u64 {
        let mut state = self.0.lock();
        let now_bytes = inserted_bytes(shards);
        let is_empty = shards.iter().all(|(shard, _)| shard.read().memory.main_bytes() == 0);
        if state.is_off || is_empty || now_bytes == state.written_at_bytes {
            return 0;
        }
        // Whatever comes of it, the next is due later.
        state.written_at_bytes = now_bytes;
        let shard_count = shards.iter().count() as u64;
        let shard_max = (budget.limit_bytes() / SHARE_OF_DISK / ENTRY_LEN as u64).min(ENTRY_COUNT_MAX) / shard_count;
        let wanted = shards.iter().map(|(shard, _)| shard.read().memory.len().min(shard_max)).sum();
        let bytes = list_bytes(wanted);
        let mut charge = budget.try_charge(bytes);
        if charge.is_none() && or_instead && state.charge.is_some() {
            if disk.unlink(names::WARM).is_err() {
                state.is_off = true;
                return 0;
            }
            state.charge = None;
            charge = budget.try_charge(bytes);
        }
        let Some(charge) = charge else { return 0 };
        match write_list(shards, disk, store_id, charge, shard_max, wanted) {
            Ok((charge, len)) => {
                // The old file went with the rename, and its charge goes here.
                state.charge = Some(charge);
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
    (capacity_bytes / 4).max(32 * list_len)
}

/// Writes the file and gives it its name. Returns the charge, cut to what the file takes, and its length.
fn write_list(
    shards: &Shards,
    disk: &dyn Disk,
    store_id: [u8; 16],
    mut charge: Charge,
    shard_max: u64,
    entry_count_max: u64,
) -> io::Result<(Charge, u64)> {
    let file = disk.create_new(names::WARM_TEMPORARY)?;
    let written = (|| {
        let len = write_entries(&*file, shards, store_id, shard_max, entry_count_max)?;
        file.sync_data()?;
        let allocated_bytes = file.allocated_bytes()?;
        if allocated_bytes > charge.bytes() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the file takes more blocks than were charged"));
        }
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
    shard_max: u64,
    entry_count_max: u64,
) -> io::Result<u64> {
    let mut hasher = WarmHeader::entries_hasher(store_id);
    let mut entry_count = 0;
    let mut entries = Vec::with_capacity(STEP_COUNT);
    let mut bytes = Vec::with_capacity(STEP_COUNT * ENTRY_LEN);
    for (shard, _) in shards.iter() {
        let (mut position, mut left) = (Some(0), shard_max.min(entry_count_max - entry_count));
        while let Some(from) = position.filter(|_| left > 0) {
            entries.clear();
            position = shard.read().memory.list_main(from, STEP_COUNT, |key_hash, popularity| {
                entries.push(WarmEntry { key_hash, popularity });
            });
            entries.truncate(left as usize);
            if entries.is_empty() {
                continue;
            }
            bytes.clear();
            entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.encode()));
            file.write_at(list_len(entry_count), &bytes)?;
            hasher.update(&bytes);
            left -= entries.len() as u64;
            entry_count += entries.len() as u64;
        }
    }
    let header = WarmHeader { store_id, entry_count, entries_crc: hasher.finalize() };
    file.write_at(0, &header.encode())?;
    Ok(list_len(entry_count))
}
