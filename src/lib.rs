//! emberlog: a persistent, memory-budgeted cache that long-running services embed.

mod budget;
mod cache;
pub mod clock;
mod compaction;
mod counters;
pub mod disk;
mod error;
pub mod format;
mod hash;
mod index;
pub mod log;
mod observe;
mod policy;
mod random;
pub mod recovery;
mod ring;
mod shard;
mod sync;

pub use cache::{
    Builder, Cache, Durability, EntryOptions, InsertOutcome, Maintained, Maintenance, MaintenanceBudget, ReadMode,
    Refusal, TierOutcome, WhenBehind,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind};
pub use observe::{DiskStats, MemoryAccounts, MemoryStats, RecoveryReport, RequestStats, Stats};
