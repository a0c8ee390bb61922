//! What the fuzz targets share: forged checksums, a small store to damage, and a model to hold the cache against.
//!
//! Targets are in `fuzz_targets/`, one a decoder, one for recovery, one for the cache as a whole, one for typed values, and a canary that must fail. Run one with
//! `cargo +nightly fuzz run TARGET`, all of them as `.ci/fuzz` does. Inputs that failed are kept in `artifacts/`; a bug that was found becomes
//! a test in `tests/`, so this folder keeps no corpus.

pub mod forge;
pub mod model;
pub mod play;
pub mod store;
