//! What is worth keeping? Pure decisions over plain data: no locks, no I/O, no clock.
//!
//! Knows: sizes, hits, hashes, how full rings are. Does not know: where bytes lie. The simulator runs this very code.

mod eviction;
mod ghost;
mod quiet;
mod reinsert;
mod s3_fifo;

pub(crate) use eviction::{Eviction, Head, MOVES_PER_INSERT_MAX, Occupancy, Origin, Placement, RingsView, Verdict};
pub(crate) use quiet::{Advice, Load, Quiet};
pub(crate) use reinsert::{Allowance, Candidate, Flow, Pace};
pub(crate) use s3_fifo::S3Fifo;
