//! One file for each bug that a fuzzer or a long run found: the shortest way to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clear_leaves_live_counts;
mod names_left_by_a_kill;
mod read_of_a_long_value_from_disk;
