//! Promises that hold whatever the disk, the clock or the caller does, tested through the public API.
//!
//! Knows: the facade, the simulated disk, the format's public tables. Does not know: how the cache works inside.
//!
//! Randomised tests have a fixed default seed. `EMBERLOG_CASES=n` runs n cases of each; a failure names `SEED=… CASE=…`, and these two in the
//! environment run that case alone. `EMBERLOG_FULL=1` takes every step where the default takes a sample.

// The names that tests use.
use emberlog_torture::{oracle, setup as support, world};

mod bad_input;
mod budget;
mod close;
mod compaction;
mod config;
mod counters;
mod faulty;
mod model;
mod regressions;
mod repair;
mod torture;
mod warm;
mod warm_faults;
