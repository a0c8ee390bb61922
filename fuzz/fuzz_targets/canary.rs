//! A target that must fail within seconds: the same as `ops_vs_model`, on a cache that loses its removes. If it does not fail, the fuzzing finds
//! nothing, and the other targets' success means nothing.
#![no_main]

use emberlog_fuzz::play::{Sabotage, Setup, play};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|setup: Setup| play(setup, Sabotage::LoseRemoves));
