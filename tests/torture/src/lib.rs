//! Crashes, damages and starves caches, and checks every answer: what `emberlog torture` runs, and what the tests run.
//!
//! A [`Mode`] is a stream of numbered cases. A case follows from the seed and its number alone, whatever ran before it, so that a failure is replayed
//! by naming both. What a case may find is decided by an [oracle]: the value that a key may have now, or a miss.
//!
//! `setup` has settings of small stores, `world` a cache on a simulated disk with the oracle beside it, `fixture` stores to be damaged; each mode has a
//! file of its own; `runner` runs the cases and counts.
#![allow(
    missing_docs,
    reason = "published to nobody: these are the insides of tests, and their names say what they are"
)]

mod bitflip;
mod exhaustive;
pub mod fixture;
mod io_errors;
mod kill;
mod mode;
pub mod oracle;
mod power;
pub mod recorder;
mod report;
pub mod rng;
mod runner;
pub mod setup;
mod truncate;
pub mod values;
pub mod world;

pub use kill::{CHILD_COMMAND, serve_child};
pub use mode::{Effort, Mode};
pub use report::{Report, Violation};
pub use rng::Rng;
pub use runner::{Options, Watch, check, run};
