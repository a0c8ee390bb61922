//! Shards: slices of the key space, each with its rings and indexes behind one lock.
//!
//! No I/O happens under a shard's lock. Lock order: shards in ascending order, then the log's tail.

pub(crate) mod flights;
pub(crate) mod lives;
pub(crate) mod memory;
pub(crate) mod pace;

use crate::counters::Counter;
use crate::format::location::Location;
use crate::index::{Put, Table};
use crate::sync::{PlainArc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use bytes::Bytes;
use flights::{Flights, Lists};
use lives::{Ages, Lives, LivesPlan};
use memory::{MemoryPlan, MemoryTier};
use pace::Pace;
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
#[derive(Debug)]
pub(crate) struct ShardCounters {
    /// Which of them are looked at closely.
    pub(crate) pace: Pace,
    pub(crate) memory_hits: Counter,
    pub(crate) disk_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) inserts: Counter,
    pub(crate) removes: Counter,
    pub(crate) promotions: Counter,
    pub(crate) index_displaced: Counter,
}

impl ShardCounters {
    /// Whether to look at the request that comes now.
    #[inline(always)]
    pub(crate) fn is_look_due(&self) -> bool {
        self.pace.is_due(&self.memory_hits)
    }

    fn new(sample_one_in: u32) -> Self {
        Self {
            pace: Pace::new(sample_one_in),
            memory_hits: Counter::default(),
            disk_hits: Counter::default(),
            misses: Counter::default(),
            inserts: Counter::default(),
            removes: Counter::default(),
            promotions: Counter::default(),
            index_displaced: Counter::default(),
        }
    }
}

/// One shard on cache lines of its own (two: adjacent lines are fetched in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Slot {
    lock: RwLock<Shard>,
    pub(crate) counters: ShardCounters,
}

impl Slot {
    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.lock.read()
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.lock.write()
    }
}

/// All shards.
#[derive(Debug)]
pub(crate) struct Shards {
    slots: Box<[Slot]>,
    /// How far a hash has to be shifted once it is shifted by one: a shift by 64, for one shard, is not defined.
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
                Ok(Slot { lock: RwLock::new(shard), counters: ShardCounters::new(0) })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { slots, shift: 63 - count.trailing_zeros() })
    }

    /// Looks at one request in so many closely, and watches some entries grow old. Nothing is done so unless this is called, once, before the first request.
    pub(crate) fn observe(&mut self, sample_one_in: u32, plan: LivesPlan, ages: &PlainArc<Ages>) {
        for slot in &mut self.slots {
            slot.counters.pace = Pace::new(sample_one_in);
            slot.lock.write().memory.watch(Lives::new(plan, PlainArc::clone(ages)));
        }
    }

    /// Sees to it that every read looks, and finds that the cache is closed.
    pub(crate) fn close(&self) {
        for slot in &self.slots {
            let _alone = slot.lock.write();
            slot.counters.pace.close();
        }
    }

    #[inline]
    pub(crate) fn slot(&self, hash: u64) -> &Slot {
        &self.slots[(hash >> 1).wrapping_shr(self.shift) as usize]
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
        self.index_put_popular(hash, location, 0, age)
    }

    /// The same for a record that was hit before.
    pub(crate) fn index_put_popular(
        &mut self,
        hash: u64,
        location: Location,
        popularity: u8,
        age: impl Fn(Location) -> u64,
    ) -> Indexed {
        let Some(index) = &mut self.disk_index else { return Indexed::default() };
        let put = index.put(hash, location.pack(), popularity, |packed| age(Location::unpack(packed)));
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
