//! emberlog: a persistent, memory-budgeted cache that long-running services embed.

mod budget;
pub mod clock;
pub mod disk;
mod error;
pub mod format;
mod hash;
mod index;
mod policy;
mod ring;
mod shard;
mod sync;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind};
