//! Where do entries live in memory? In ring logs that share one arena, chunk by chunk.
//!
//! Knows: chunks, byte streams, the entry header. Does not know: the index, which entry should go (policy), locks.

mod arena;
mod entry;
mod log;

pub(crate) use arena::Arena;
pub(crate) use entry::Header;
pub(crate) use log::Rings;
