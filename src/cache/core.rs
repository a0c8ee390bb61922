//! What the flow between the tiers goes over: the state, its time, and what holds for reads (`read.rs`) and writes (`write.rs`, `room.rs`) alike.
//!
//! Invariants
//!  I-FLOW-1  Every mutation that changes a key takes its position in the log under the lock of the key's shard, and leaves a record there: a put, or
//!            a tombstone where the value does not go to the log (D7). So log order is lock order.
//!  I-FLOW-2  No I/O and no caller's code under a shard's lock; no caller's code while a segment is pinned (D3, D4).
//!  I-FLOW-3  A promotion keeps its pin until it has seen, under the lock, that the index still names the location and memory holds no entry.
//!  I-FLOW-4  Every mutation overtakes the loads of the keys that it changes, under the lock of their shard (I-FLY-1).

use super::builder::{Durability, Maintenance, WhenBehind};
use super::close_look::Measured;
use super::outcome::EntryOptions;
use super::windows::Windows;
use crate::clock::Clock;
use crate::compaction::{CompactionCounters, Owed, Refill, Sweep, Warm};
use crate::counters::Counter;
use crate::log::Log;
use crate::observe::{DiskAccounts, MemoryAccounts, RecoveryReport};
use crate::policy::Allowance;
use crate::shard::flights::Waits;
use crate::shard::lives::Ages;
use crate::shard::{Loaded, Shards};
use crate::sync::{Mutex, Ordering, PlainArc, PlainAtomicBool, PlainAtomicU32, RwLock};
use std::time::Duration;

/// What the cache counts beside its parts.
#[derive(Debug, Default)]
pub(crate) struct CoreCounters {
    pub(crate) dropped_oversize: Counter,
    pub(crate) dropped_behind: Counter,
    pub(crate) dropped_off: Counter,
    pub(crate) dropped_at_close: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_errors: Counter,
    pub(crate) loads_shared: Counter,
    pub(crate) loads_overtaken: Counter,
}

/// What the budgets were divided into, by account.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) memory: MemoryAccounts,
    pub(crate) disk: DiskAccounts,
    /// One entry in so many is watched; 0 for none.
    pub(crate) watched_one_in: u64,
}

/// Everything behind a [`Cache`](super::Cache).
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shards: Shards,
    pub(crate) log: Option<Log>,
    pub(crate) disk: Option<PlainArc<dyn crate::disk::Disk>>,
    pub(crate) salt: u64,
    pub(crate) epoch_unix_ms: u64,
    pub(crate) clock: PlainArc<dyn Clock>,
    /// Highest time seen, in seconds since the epoch: time never goes back.
    pub(crate) latest_s: PlainAtomicU32,
    pub(crate) durability: Durability,
    pub(crate) when_behind: WhenBehind,
    pub(crate) maintenance: Maintenance,
    pub(crate) time_to_live: Option<Duration>,
    /// Mutations hold it shared, `close` exclusively: whether the cache is closed.
    pub(crate) gate: RwLock<bool>,
    /// The same as the gate says, for reads, which do not take it.
    pub(crate) closed: PlainAtomicBool,
    /// Tells maintenance to end.
    pub(crate) stopping: PlainAtomicBool,
    /// Tells the writer to end, when maintenance has.
    pub(crate) writer_stopping: PlainAtomicBool,
    /// Some shard's slice of the log's index is almost full.
    pub(crate) index_crowded: PlainAtomicBool,
    /// One retirement at a time.
    pub(crate) retiring: Mutex<()>,
    /// What is still to be read back into memory after a restart.
    pub(crate) refill: Mutex<Refill>,
    /// What a restart will read back.
    pub(crate) warm: Warm,
    pub(crate) counters: CoreCounters,
    pub(crate) compaction: CompactionCounters,
    /// How much may be appended again.
    pub(crate) allowance: Mutex<Allowance>,
    /// How far what goes next was gone through ahead of need.
    pub(crate) sweep: Mutex<Sweep>,
    /// When there is time for that.
    pub(crate) windows: Windows,
    /// Values to be appended again when there is room.
    pub(crate) owed: Owed,
    /// Who waits for whose load.
    pub(crate) waits: Waits<Loaded>,
    pub(crate) recovery: RecoveryReport,
    /// What is told to whoever looks into the directory.
    pub(crate) page: super::publish::CountersPage,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) fixed_bytes: u64,
    /// One request in so many is looked at closely; 0 for none.
    pub(crate) sample_one_in: u32,
    pub(crate) measured: Measured,
    pub(crate) ages: PlainArc<Ages>,
    /// What the budgets were divided into.
    pub(crate) planned: Planned,
}

impl Core {
    // -- time

    /// Seconds since the epoch, never less than before.
    pub(crate) fn now_s(&self) -> u32 {
        let since_ms = self.clock.now_unix_ms().saturating_sub(self.epoch_unix_ms);
        let now = u32::try_from(since_ms / 1000).unwrap_or(u32::MAX);
        now.max(self.latest_s.fetch_max(now, Ordering::Relaxed))
    }

    /// Microseconds on the steady clock.
    pub(crate) fn now_us(&self) -> u64 {
        self.clock.monotonic_ns() / 1_000
    }

    pub(super) fn expiry_s(&self, options: EntryOptions) -> u32 {
        let Some(time_to_live) = options.time_to_live.or(self.time_to_live) else { return 0 };
        let now_ms = self.clock.now_unix_ms().saturating_sub(self.epoch_unix_ms).max(u64::from(self.now_s()) * 1000);
        let until_ms =
            u128::from(now_ms) + time_to_live.as_millis() + u128::from(time_to_live.subsec_nanos() % 1_000_000 != 0);
        // Rounded up; 0 stands for never; what lies beyond the range of time never expires.
        u32::try_from(until_ms.div_ceil(1000)).map_or(0, |until| until.max(1))
    }

    pub(super) fn is_expired(&self, expiry_s: u32) -> bool {
        expiry_s != 0 && self.now_s() >= expiry_s
    }

    // -- state

    /// The log, unless it is off.
    pub(super) fn log_on(&self) -> Option<&Log> {
        self.log.as_ref().filter(|log| !log.latch.is_tripped())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.maintenance == Maintenance::Manual
    }
}
