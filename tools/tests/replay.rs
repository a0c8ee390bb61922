//! `emberlog replay` as a user runs it: its exit codes, its JSON, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Small enough for a debug build, large enough to be restarted in the middle.
const WORKLOAD: [&str; 6] = ["replay", "--generate", "zipf:5k:0.9:40k:10-500", "--memory", "16MiB", "--disk=64MiB"];

fn emberlog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberlog"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    emberlog(&[&WORKLOAD[..], arguments].concat()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let problem = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}; stderr: {problem}"))
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_killed_cache_keeps_its_promises_and_the_report_has_every_key() {
    let output = run(&["--restart", "kill", "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["violations"]);
    for key in [
        "requests",
        "hits",
        "hit_ratio",
        "byte_hit_ratio",
        "l1_hits",
        "l2_hits",
        "wrong_values",
        "stale_values",
        "resurrected",
        "ops_per_second",
        "memory_bytes",
        "peak_anonymous_bytes",
        "disk_bytes",
        "peak_disk_bytes",
        "bytes_accepted",
        "bytes_written",
        "segments_retired",
        "reinserted",
    ] {
        assert!(report[key].is_number(), "{key} is {}", report[key]);
    }
    for key in [
        "open_ms",
        "first_get_ms",
        "hit_ratio_before",
        "hit_ratio_after",
        "hit_ratio_control",
        "lost_acknowledged",
        "bytes_at_risk",
        "entries_before",
        "entries_after",
    ] {
        assert!(report["restart"][key].is_number(), "restart.{key} is {}", report["restart"][key]);
    }
    assert_eq!(report["requests"], 40_000, "every request was answered, those in flight at the kill too");
    assert!(report["hits"].as_u64().unwrap() > 10_000);
    let restart = &report["restart"];
    assert!(restart["in_flight"].as_u64().unwrap() > 0, "the kill came while requests were in flight");
    assert_eq!(restart["window_requests"], 4_000);
    let ratio = |name: &str| restart[name].as_f64().unwrap();
    assert!(ratio("hit_ratio_after") > ratio("hit_ratio_cold"), "{restart:#}");
}

#[test]
fn an_orderly_close_loses_nothing() {
    let output = run(&["--restart", "close", "--restart-at", "0.7", "--threads", "3", "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["violations"]);
    let restart = &report["restart"];
    assert_eq!(restart["lost_acknowledged"], 0);
    assert_eq!(restart["at_request"], 28_000);
    assert!(restart["keys_before"].as_u64().unwrap() > 1_000);
}

#[test]
fn the_page_for_people_says_what_the_restart_cost() {
    let output = run(&["--restart", "kill"]);
    let page = String::from_utf8(output.stdout).unwrap();
    for words in ["SIGKILL at request", "never", "empty", "budgets", "every promise kept"] {
        assert!(page.contains(words), "{words:?} is not in:\n{page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 120), "{page}");
}

#[test]
fn several_traces_make_one_object_and_share_no_cache() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<u8> =
        (0..2_000u64).flat_map(|n| [&(n % 500).to_le_bytes()[..], &1u32.to_le_bytes()].concat()).collect();
    let packed = ruzstd::encoding::compress_to_vec(&records[..], ruzstd::encoding::CompressionLevel::Uncompressed);
    let path = directory.path().join("loop.trace.zst");
    std::fs::write(&path, packed).unwrap();
    let path = path.to_str().unwrap();
    let output = emberlog(&["replay", path, path, "--json", "--memory=16MiB", "--disk=64MiB"]).output().unwrap();
    let report = json(&output);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["trace"]), (2, &Value::from("loop")));
    assert_eq!(runs[0]["insertions"], runs[1]["insertions"], "the second began empty too");
    assert!(runs[0]["restart"].is_null());
}

#[test]
fn what_cannot_run_exits_with_2_and_a_sentence() {
    let occupied = tempfile::tempdir().unwrap();
    std::fs::write(occupied.path().join("precious"), b"x").unwrap();
    let dir = occupied.path().to_str().unwrap();
    for (arguments, words) in [
        (&["replay", "--generate", "zipf:10:1:10", "--dir", dir][..], "not empty"),
        (&["replay", "/nowhere/x.trace.zst"], "cannot open trace"),
        (&["replay", "--generate", "zipf:10:1"], "expected zipf"),
        (&["replay"], "required"),
        (&["replay", "--generate", "zipf:10:1:10", "--memory", "1KiB"], "memory"),
    ] {
        let output = emberlog(arguments).output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {problem}");
        assert!(problem.contains(words), "{arguments:?}: {problem}");
        assert!(output.stdout.is_empty());
    }
    assert!(occupied.path().join("precious").exists());
}

#[test]
fn temporary_directories_go_and_a_named_one_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("kept");
    let mut command = emberlog(&WORKLOAD);
    let output =
        command.args(["--restart", "close", "--dir"]).arg(&dir).env("TMPDIR", temporary.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(is_empty(temporary.path()));
    assert!(!is_empty(&dir));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "the control's directory beside it went");
}

/// A run that lasts until something ends it, and the process that holds its cache.
fn long_run(temporary: &Path) -> (std::process::Child, String) {
    let mut run = emberlog(&["replay", "--generate", "zipf:50k:0.5:20M:200"])
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    for _ in 0..6_000 {
        let child = std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        if !child.is_empty() && std::fs::read_dir(temporary).unwrap().count() > 0 {
            return (run, child);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    run.kill().and_then(|()| run.wait()).unwrap();
    panic!("no child process within a minute");
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

#[test]
fn an_interrupt_leaves_neither_files_nor_processes() {
    let temporary = tempfile::tempdir().unwrap();
    let (run, child) = long_run(temporary.path());
    signal("-INT", &run.id().to_string());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(is_empty(temporary.path()));
    assert!(!Path::new("/proc").join(child).exists());
}

#[test]
fn a_child_that_dies_is_reported_and_cleaned_up_after() {
    let temporary = tempfile::tempdir().unwrap();
    let (run, child) = long_run(temporary.path());
    signal("-KILL", &child);
    let output = run.wait_with_output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{problem}");
    assert!(problem.contains("ended unexpectedly (signal: 9"), "{problem}");
    assert!(is_empty(temporary.path()));
}

/// A read-through client on three keys, seen by MONITOR, a thousand times.
fn monitor_text() -> String {
    let round = "1.5 [0 127.0.0.1:6] \"get\" \"user:1\"\n\
                 1.5 [0 127.0.0.1:6] \"SETEX\" \"user:1\" \"60\" \"twelve bytes\"\n\
                 1.5 [0 127.0.0.1:6] \"mget\" \"user:1\" \"user:2\"\n1.6 [0 127.0.0.1:6] \"ping\"\n\
                 1.7 [0 127.0.0.1:6] \"del\" \"user:2\"\n";
    format!("OK\n{}", round.repeat(1_000))
}

#[test]
fn what_redis_monitor_prints_is_replayed_as_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.monitor.gz");
    let mut packer = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    packer.write_all(monitor_text().as_bytes()).unwrap();
    packer.finish().unwrap();
    let budgets = ["--memory=16MiB", "--disk=64MiB"];
    let output = emberlog(&["replay", path.to_str().unwrap(), "--json"]).args(budgets).output().unwrap();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["violations"]);
    assert_eq!((&report["trace"], &report["requests"], &report["keys"]), (&"shop".into(), &5_000.into(), &2.into()));
    // Of each round: user:1 is overwritten, user:2 removed, so that its next read misses; reads of user:1 miss once.
    assert_eq!((&report["removes"], &report["gets"]), (&1_000.into(), &3_000.into()));
    assert_eq!((&report["hits"], &report["insertions"]), (&1_999.into(), &2_001.into()));
    assert_eq!((&report["value_max_bytes"], &report["names_writes"]), (&128.into(), &true.into()));
    let origin = &report["origin"];
    assert_eq!((&origin["format"], &origin["lines"]), (&"monitor".into(), &5001.into()));
    assert_eq!((&origin["bad_lines"], &origin["first_bad"]), (&0.into(), &Value::Null));
    assert_eq!(origin["skipped"], serde_json::json!({ "ping": 1000 }));

    let page = emberlog(&["replay", path.to_str().unwrap()]).args(budgets).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    for words in ["writes as in the trace", "5,001 lines; 1,000 commands skipped (ping 1,000)"] {
        assert!(page.contains(words), "{words:?} is not in:\n{page}");
    }
}

#[test]
fn a_trace_written_as_csv_replays_like_the_binary_one_also_through_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let requests: Vec<(u64, u32)> = (0..5_000u64).map(|n| (n * n % 1_013, 10 + (n * n % 1_013) as u32)).collect();
    let records: Vec<u8> =
        requests.iter().flat_map(|(key, size)| [&key.to_le_bytes()[..], &size.to_le_bytes()].concat()).collect();
    let text: String = requests.iter().map(|(key, size)| format!("{key},{size}\n")).collect();
    let (binary, csv) = (directory.path().join("a.trace"), directory.path().join("a.csv"));
    std::fs::write(&binary, records).unwrap();
    std::fs::write(&csv, &text).unwrap();
    let run = |arguments: &[&str], input: &str| {
        let mut command = emberlog(&["replay", "--json", "--memory=16MiB", "--disk=64MiB"]);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Who does not read it closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let report = json(&child.wait_with_output().unwrap());
        [
            "requests",
            "keys",
            "gets",
            "hits",
            "insertions",
            "removes",
            "byte_hit_ratio",
            "value_max_bytes",
            "names_writes",
        ]
        .map(|key| report[key].clone())
    };
    let binary = run(&[binary.to_str().unwrap()], "");
    assert_eq!(binary[0], 5_000);
    assert_eq!(run(&[csv.to_str().unwrap()], ""), binary);
    assert_eq!(run(&["-", "--format", "csv"], &format!("size,key\n{}", swapped(&text))), binary);
}

fn swapped(text: &str) -> String {
    text.lines().map(|line| line.split_once(',').map(|(key, size)| format!("{size},{key}\n")).unwrap()).collect()
}

#[test]
fn a_bad_line_is_named_with_its_file_and_tolerated_if_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.csv");
    std::fs::write(&path, "key,size\n1,100\n2,much\n3,100\n").unwrap();
    let path = path.to_str().unwrap();
    let run = |arguments: &[&str]| {
        emberlog(&["replay", path, "--memory=16MiB", "--disk=64MiB"]).args(arguments).output().unwrap()
    };
    let output = run(&[]);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(problem.contains(&format!("{path}: line 3: the size is not a number of bytes: 2,much")), "{problem}");
    let output = run(&["--skip-bad", "1"]);
    let page = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(page.contains("1 bad line left out; line 3: the size is not"), "{page}");
    let unknown = emberlog(&["replay", "-"]).stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("use --format"), "{unknown:?}");
}

/// Runs under a terminal of its own, whose stderr and stdout are one; stdout goes to `out`.
fn on_a_terminal(arguments: &str, out: &Path) -> Option<String> {
    let shell = format!("{} {arguments} > {}", env!("CARGO_BIN_EXE_emberlog"), out.display());
    match Command::new("script").args(["-q", "-e", "-c", &shell, "/dev/null"]).stdin(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_terminal_sees_a_bar_on_stderr_and_json_stays_whole() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let arguments = format!("{} --restart kill --json", WORKLOAD.join(" "));
    let Some(seen) = on_a_terminal(&arguments, &out) else {
        let mut err = std::io::stderr();
        writeln!(err, "SKIPPED: there is no program 'script' (util-linux), so nothing has a terminal").unwrap();
        return;
    };
    let bars = |seen: &str| ["before", "after", "control", "/s"].map(|words| seen.contains(words));
    assert_eq!(bars(&seen), [true; 4], "{seen:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(report["requests"], 40_000);
    let seen = on_a_terminal(&format!("{arguments} --quiet"), &out).unwrap();
    assert_eq!(seen, "", "--quiet");
    let output = run(&[]);
    assert!(output.stderr.is_empty(), "no terminal, no bar: {}", String::from_utf8_lossy(&output.stderr));
}
