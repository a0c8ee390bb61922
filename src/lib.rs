//! emberlog: a persistent, memory-budgeted cache that long-running services embed.

mod budget;
pub mod clock;
mod counters;
pub mod disk;
mod error;
pub mod format;
mod hash;
mod index;
pub mod log;
mod policy;
mod random;
pub mod recovery;
mod ring;
mod shard;
mod sync;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind};
