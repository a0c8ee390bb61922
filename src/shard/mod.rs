//! Shards: slices of the key space, each with its rings and indexes behind one lock.
//!
//! No I/O happens under a shard's lock. Lock order: shards in ascending order, then the log's tail.

pub(crate) mod flights;
pub(crate) mod memory;

use crate::counters::Counter;
use crate::format::location::Location;
use crate::index::{Put, Table};
use crate::sync::{PlainArc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use bytes::Bytes;
use flights::{Flights, Lists};
use memory::{MemoryPlan, MemoryTier};
use std::any::Any;
use std::io;

/// Most shards: what the top bits of a hash can choose without the buckets' choice suffering.
pub(crate) const SHARD_COUNT_MAX: usize = 1024;

/// What a load came to, as those who wait for it share it. The error is of the type that the loader's caller chose.
pub(crate) type Loaded = Result<Bytes, PlainArc<dyn Any + Send + Sync>>;

/// What a shard's lock guards.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) memory: MemoryTier,
    /// This slice of the index of the log; `None` without a disk tier.
    pub(crate) disk_index: Option<Table>,
    /// Loads of its keys that are under way and were not overtaken.
    pub(crate) flights: Flights<Loaded>,
}

/// Requests as one shard saw them.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    pub(crate) memory_hits: Counter,
    pub(crate) disk_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) inserts: Counter,
    pub(crate) removes: Counter,
    pub(crate) promotions: Counter,
    pub(crate) index_displaced: Counter,
}

/// One shard on cache lines of its own (two: adjacent lines are fetched in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Padded {
    lock: RwLock<Shard>,
    counters: ShardCounters,
}

/// All shards.
#[derive(Debug)]
pub(crate) struct Shards {
    slots: Box<[Padded]>,
    shift: u32,
}

impl Shards {
    /// `count` shards, a power of two, each with this memory and this much of the log's index (0: no disk tier).
    pub(crate) fn new(count: usize, memory: MemoryPlan, disk_index_bytes: usize, salt: u64) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= SHARD_COUNT_MAX, "the plan checked the number of shards: {count}");
        let slots = (0..count)
            .map(|_| {
                let with_disk = disk_index_bytes > 0;
                let memory =
                    if with_disk { MemoryTier::before_disk(memory, salt) } else { MemoryTier::new(memory, salt) }?;
                let disk_index = (disk_index_bytes > 0).then(|| Table::new(disk_index_bytes)).transpose()?;
                let shard = Shard { memory, disk_index, flights: Flights::default() };
                Ok(Padded { lock: RwLock::new(shard), counters: ShardCounters::default() })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { slots, shift: 64 - count.trailing_zeros() })
    }

    #[inline]
    fn slot(&self, hash: u64) -> &Padded {
        // A shift by 64, for one shard, is not defined: take it in two.
        &self.slots[((hash >> 1) >> (self.shift - 1)) as usize]
    }

    #[inline]
    pub(crate) fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        self.slot(hash).lock.read()
    }

    #[inline]
    pub(crate) fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard> {
        self.slot(hash).lock.write()
    }

    #[inline]
    pub(crate) fn counters(&self, hash: u64) -> &ShardCounters {
        &self.slot(hash).counters
    }

    /// Locks every shard, in order.
    pub(crate) fn write_all(&self) -> Vec<RwLockWriteGuard<'_, Shard>> {
        self.slots.iter().map(|slot| slot.lock.write()).collect()
    }

    /// Requests so far: reads, inserts and removes.
    pub(crate) fn operation_count(&self) -> u64 {
        let of = |c: &ShardCounters| {
            [&c.memory_hits, &c.disk_hits, &c.misses, &c.inserts, &c.removes].map(Counter::get).iter().sum::<u64>()
        };
        self.iter().map(|(_, counters)| of(counters)).sum()
    }

    /// Every shard and its counters, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RwLock<Shard>, &ShardCounters)> {
        self.slots.iter().map(|slot| (&slot.lock, &slot.counters))
    }
}

impl Lists<Loaded> for Shards {
    fn locked<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<Loaded>) -> R) -> R {
        act(&mut self.write(hash).flights)
    }
}

/// What setting a slot of the log's index did.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "what is not named any more is live no more"]
pub(crate) struct Indexed {
    /// The location that is not named any more.
    pub(crate) dropped: Option<Location>,
    /// Another key's slot had to go: both buckets were full.
    pub(crate) displaced: bool,
    /// The table is almost full.
    pub(crate) crowded: bool,
}

impl Shard {
    /// Points the log's index to a key's new record. A slot that has to go for it is that of the least popular, among equals the one whose
    /// segment `age` says is oldest (smallest).
    pub(crate) fn index_put(&mut self, hash: u64, location: Location, age: impl Fn(Location) -> u64) -> Indexed {
        let Some(index) = &mut self.disk_index else { return Indexed::default() };
        let put = index.put(hash, location.pack(), 0, |packed| age(Location::unpack(packed)));
        let (dropped, displaced) = match put {
            Put::Inserted => (None, false),
            Put::Replaced(old) => (Some(old), false),
            Put::Displaced(old) => (Some(old), true),
        };
        let crowded = index.used_count() * 20 > index.capacity() * 19;
        Indexed { dropped: dropped.map(Location::unpack), displaced, crowded }
    }

    /// Clears the slot of a key's tag in the log's index.
    pub(crate) fn index_clear(&mut self, hash: u64) -> Option<Location> {
        self.disk_index.as_mut()?.clear(hash).map(Location::unpack)
    }

    /// Clears it only if it names this location.
    pub(crate) fn index_clear_if(&mut self, hash: u64, location: Location) -> bool {
        self.disk_index.as_mut().is_some_and(|index| index.clear_if(hash, location.pack()))
    }

    /// Where the log has a record for the key's tag.
    pub(crate) fn index_find(&self, hash: u64) -> Option<crate::index::Found> {
        self.disk_index.as_ref()?.find(hash)
    }

    /// Empties both tiers' entries, and overtakes all loads.
    pub(crate) fn clear(&mut self) {
        self.flights.overtake_all();
        self.memory.clear();
        if let Some(index) = &mut self.disk_index {
            index.clear_all();
        }
    }
}
