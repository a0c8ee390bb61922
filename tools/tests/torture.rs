//! `emberlog torture`, as people run it: its report, its exit codes, and real processes that are killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::Value;
use std::process::{Command, Output};

fn torture(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberlog")).arg("torture").args(args).output().unwrap()
}

/// The report of a run that has to be good.
fn report(args: &[&str]) -> Value {
    let output = torture(&[args, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key} in {report}"))
}

#[test]
fn a_kill_undoes_nothing_that_was_written_and_at_most_the_buffer_of_what_was_not() {
    let report = report(&["--mode", "kill", "--seed", "5", "--runs", "20"]);
    assert_eq!(number(&report, "runs"), 20);
    assert!(number(&report, "crash_points") > 150, "{report}");
    assert!(number(&report, "values_checked") > 20_000, "most of a store is there after a kill: {report}");
    let lost_bytes = number(&report, "lost_unflushed_max_bytes");
    assert!((1..=64 << 10).contains(&lost_bytes), "the buffer was caught full, or this shows nothing: {report}");
}

#[test]
fn the_report_has_the_documented_keys_and_a_case_alone_is_that_case() {
    let whole = report(&["--mode", "power", "--seed", "9", "--runs", "12"]);
    for key in
        ["mode", "seed", "runs", "crash_points", "violations", "lost_unflushed_max_bytes", "lost_unflushed_max_ms"]
    {
        assert!(!whole[key].is_null(), "{key} in {whole}");
    }
    assert!(whole["elapsed_ms"].is_u64());
    let alone: Vec<Value> =
        (0..12).map(|case: u64| report(&["--mode", "power", "--seed", "9", "--case", &case.to_string()])).collect();
    for key in ["crash_points", "values_checked"] {
        let sum: u64 = alone.iter().map(|report| number(report, key)).sum();
        assert_eq!(sum, number(&whole, key), "the same cases do the same, one by one and together: {key}");
    }
    let lost = alone.iter().map(|report| number(report, "lost_unflushed_max_bytes")).max();
    assert_eq!(lost, Some(number(&whole, "lost_unflushed_max_bytes")));
}

#[test]
fn the_page_for_people_has_a_line_for_each_mode() {
    let output = torture(&["--mode", "all", "--runs", "4", "--seed", "3"]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{page}");
    for mode in ["power", "exhaustive", "truncate", "bitflip", "io-errors", "kill"] {
        assert!(page.lines().any(|line| line.starts_with(mode)), "{mode} in {page}");
    }
    assert!(page.ends_with("Every promise was kept.\n"), "{page}");
}

#[test]
fn what_cannot_be_run_is_said_with_exit_code_2() {
    for args in [&["--mode", "all", "--case", "3"][..], &["--mode", "nothing"], &["--mode", "power", "--time", "soon"]]
    {
        let output = torture(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}
