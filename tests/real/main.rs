//! The cache as it runs in earnest: real processes, real kills, real threads, real memory.
//!
//! - `kill`: SIGKILL at random moments, over and over on one store.
//! - `linear`: linearizability of keys while everything evicts.
//! - `load`: loads of many threads over a source that changes.
//! - `memory`: what the process and the directory really take.
//! - `windows`: what is appended again under load, and windows that end with the disk.
//! - `behind`: a disk that is slower than its callers, and closures that misbehave.
//!
//! `EMBERLOG_SEED` sets the seed (printed when a test fails), `EMBERLOG_LINEAR_MS` how long each
//! history of `linear` runs.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests start threads and limit their own running time")]

mod behind;
mod gate;
mod help;
mod linear;
mod load;
mod memory;
mod windows;
