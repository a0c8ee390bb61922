//! The typed layer, through the public API.
//!
//! - `round_trip`: what goes in comes out, with every codec, in any order of operations, also after a restart.
//! - `misses`: other types, versions, codecs and damaged values are counted misses.
//! - `bounds`: bytes that lie cannot make decoding take memory, time or stack.
//! - `pod`: plain old data is lent as it lies.
//!
//! `EMBERLOG_SEED` sets the seed of the random tests; a failure names it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod help;
mod misses;
mod pod;
mod round_trip;
