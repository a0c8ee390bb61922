//! The cache as a whole: requests, restarts, crashes and failing calls, against the model.
#![no_main]

use emberlog_fuzz::play::{Sabotage, Setup, play};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|setup: Setup| play(setup, Sabotage::None));
