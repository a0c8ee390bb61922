//! The modes of `emberlog torture` on simulated disks, each in a form that a test can afford.

use emberlog_torture::{Mode, Report, check};

/// A run that opens hardly anything, or nothing that serves, proves nothing.
fn is_worth(report: &Report, crash_points_min: u64, values_min: u64) {
    let is_whole = std::env::var("CASE").is_err() && std::env::var("EMBERLOG_CASES").is_err();
    assert!(!is_whole || report.crash_points >= crash_points_min, "{} states", report.crash_points);
    assert!(!is_whole || report.values_checked >= values_min, "{} values", report.values_checked);
}

#[test]
fn lives_that_end_in_power_cuts_and_kills_leave_a_prefix_of_their_events_each_time() {
    is_worth(&check(Mode::Power, Some(300)), 1_500, 1_000);
}

#[test]
fn every_short_sequence_of_operations_survives_a_crash_at_every_call() {
    is_worth(&check(Mode::Exhaustive, Some(180)), 10_000, 50_000);
}

#[test]
fn files_cut_at_any_byte_or_gone_lose_and_never_bring_back() {
    is_worth(&check(Mode::Truncate, Some(6_000)), 6_000, 50_000);
}

#[test]
fn any_bit_byte_or_page_that_rots_loses_and_never_brings_back() {
    is_worth(&check(Mode::Bitflip, Some(20_000)), 20_000, 100_000);
}

#[test]
fn any_call_that_fails_turns_the_disk_off_at_most_and_never_makes_an_answer_wrong() {
    is_worth(&check(Mode::IoErrors, Some(1_500)), 3_000, 10_000);
}
