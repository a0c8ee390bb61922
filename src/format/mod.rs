//! The disk format, version 1: bytes to values and back. No I/O, no clock, no panic on any input.
//!
//! The specification is `format-spec/`; each file here names its page. Decoding follows one order: bound, checksum, believe.
//! Public for tools, fuzzers and tests that read a store without opening it; it follows the version of the disk format, not that of the crate.

pub mod batch;
mod checksum;
mod codec;
pub mod counters;
mod decode_error;
pub mod footer;
pub mod identity;
pub mod location;
pub mod names;
pub mod record;
pub mod segment;
pub mod warm;

pub use checksum::Seed;
pub use decode_error::{DecodeError, Fault};

/// The version of the format that this crate writes, and the highest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Feature bits that this crate knows. A store or segment that requires another is refused.
pub const KNOWN_FEATURES: u64 = 0;
/// All structures and records begin at multiples of this many bytes.
pub const ALIGN_BYTES: u64 = 8;

/// Rounds up to the alignment of the format.
pub const fn align_up(len: u64) -> u64 {
    (len + (ALIGN_BYTES - 1)) & !(ALIGN_BYTES - 1)
}
