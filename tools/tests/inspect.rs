//! `emberlog inspect` and `emberlog verify` as a user runs them: on sound, crashed, damaged and live directories, and on what is no store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use emberlog::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use emberlog::format::identity::Identity;
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::format::segment::{DATA_START, SegmentHeader};
use emberlog::{Cache, Durability, Maintenance, MaintenanceBudget};
use serde_json::Value;
use tempfile::TempDir;

const VALUE_LEN: usize = 230;

fn open(path: &Path, maintenance: Maintenance) -> Cache {
    Cache::builder()
        .memory_bytes(4 << 20)
        .disk_bytes(2 << 20)
        .segment_len_bytes(64 << 10)
        .durability(if maintenance == Maintenance::Manual { Durability::Written } else { Durability::Buffered })
        .maintenance(maintenance)
        .random_seed(7)
        .open(path)
        .unwrap()
}

fn fill(cache: &Cache, keys: std::ops::Range<u32>) {
    for key in keys {
        assert!(cache.insert(key.to_le_bytes(), [key as u8; VALUE_LEN]).disk.is_stored());
    }
}

/// A store as an orderly close leaves it: some segments sealed, the last not. 1,000 keys, 100 of them written twice, 50 removed.
fn closed_store() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path, Maintenance::Manual);
    fill(&cache, 0..1_000);
    fill(&cache, 0..100);
    (100..150u32).for_each(|key| assert!(cache.remove(key.to_le_bytes())));
    cache.maintain(MaintenanceBudget { steps_max: 100, ..Default::default() }).unwrap();
    cache.close().unwrap();
    (place, path)
}

/// A golden store of the specification.
fn golden(name: &str) -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    std::fs::create_dir(&path).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format-spec/golden/v1").join(name);
    for (file, bytes) in content(&source) {
        std::fs::write(path.join(file.file_name().unwrap()), bytes).unwrap();
    }
    (place, path)
}

fn emberlog(command: &str, path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberlog")).args([command, "--json"]).arg(path).output().unwrap()
}

/// Runs a command that can run: its exit code and its object.
fn run(command: &str, path: &Path) -> (i32, Value) {
    let output = emberlog(command, path);
    let problem = String::from_utf8_lossy(&output.stderr);
    let object = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}; stderr: {problem}"));
    (output.status.code().unwrap(), object)
}

fn flip(file: &Path, offset: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset as usize] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

fn segment(path: &Path, number: u32) -> PathBuf {
    path.join(emberlog::format::names::segment(number))
}

/// The footer of a sealed segment: its tail, where that stands, and the entries.
fn footer(path: &Path, number: u32) -> (FooterTail, u64, Vec<FooterEntry>) {
    let identity = Identity::decode_file(&std::fs::read(path.join("identity")).unwrap()).unwrap();
    let bytes = std::fs::read(segment(path, number)).unwrap();
    let offset = bytes.len() - FooterTail::LEN;
    let tail = FooterTail::decode(identity.store_id, offset as u64, &bytes[offset..]).unwrap();
    let entries = &bytes[tail.data_end_offset as usize..][..tail.entry_count as usize * ENTRY_LEN];
    let entries = entries.as_chunks::<ENTRY_LEN>().0.iter().map(|raw| FooterEntry::decode(raw).unwrap()).collect();
    (tail, offset as u64, entries)
}

/// Every file's name and content.
fn content(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn a_closed_store_is_sound_and_its_figures_are_those_of_what_was_written() {
    let (_place, path) = closed_store();
    let before = content(&path);
    let (code, report) = run("inspect", &path);
    assert_eq!((code, &report["damage_count"]), (0, &Value::from(0)), "{report:#}");
    assert_eq!(report["entries"]["live"], 950);
    assert_eq!(report["entries"]["puts"], 1_100);
    assert_eq!(report["entries"]["tombstones"], 50);
    assert_eq!(report["entries"]["clears"], 0);
    // 24 bytes of header, 4 of key, padded to 8.
    let record_len = (24 + 4 + VALUE_LEN as u64).next_multiple_of(8);
    assert_eq!(report["space"]["live_bytes"], 950 * record_len);
    assert_eq!(report["space"]["dead_bytes"], 150 * record_len + 50 * 24);
    assert_eq!(report["log"]["end"]["last_seqno"], 1_150);
    assert_eq!(report["log"]["synced_max"], 1_150);
    let segments = report["segments"].as_array().unwrap();
    let states: Vec<&str> = segments.iter().map(|segment| segment["state"].as_str().unwrap()).collect();
    assert!(states.iter().filter(|state| **state == "sealed").count() >= 3, "{states:?}");
    assert!(states.contains(&"unsealed"), "{states:?}");
    let kept: Vec<&Value> = segments.iter().filter(|segment| segment["kept"] == true).collect();
    assert!(kept[0]["follows"].is_null());
    for pair in kept.windows(2) {
        assert_eq!(pair[1]["follows"]["number"], pair[0]["number"]);
        assert_eq!(pair[1]["follows"]["uid"], pair[0]["uid"]);
        assert_eq!(pair[1]["follows"]["end_offset"], pair[0]["data_end_offset"]);
        assert_eq!(pair[1]["first_seqno"].as_u64().unwrap(), pair[0]["last_seqno"].as_u64().unwrap() + 1);
    }

    let (code, report) = run("verify", &path);
    assert_eq!((code, &report["sound"]), (0, &Value::from(true)), "{report:#}");
    assert_eq!(report["totals"]["records"], 1_150);
    assert!(report["live"].is_null());
    assert!(content(&path) == before, "the tools changed the store");
}

#[test]
fn expired_entries_are_counted() {
    let place = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(emberlog::ManualClock::new(1_000_000_000_000));
    let cache = Cache::builder()
        .memory_bytes(4 << 20)
        .disk_bytes(2 << 20)
        .segment_len_bytes(64 << 10)
        .maintenance(Maintenance::Manual)
        .time_to_live(std::time::Duration::from_secs(60))
        .shared_clock(clock)
        .open(place.path().join("store"))
        .unwrap();
    fill(&cache, 0..10);
    cache.close().unwrap();
    let (code, report) = run("inspect", &place.path().join("store"));
    assert_eq!(code, 0);
    assert_eq!((&report["entries"]["live"], &report["entries"]["expired"]), (&Value::from(10), &Value::from(10)));
    assert_eq!(report["identity"]["created"], "2001-09-09 01:46:40 UTC");
}

/// Where one bit is flipped, and what verify must say.
struct Case {
    what: &'static str,
    file: PathBuf,
    offset: u64,
    structure: &'static str,
    label: &'static str,
}

#[test]
fn a_flipped_bit_is_found_in_its_file_and_place_with_the_verdict_of_recovery() {
    let (_place, path) = closed_store();
    let (tail, tail_offset, entries) = footer(&path, 2);
    let record = u64::from(entries[20].offset);
    let batch = u64::from(entries[0].offset) - 48;
    let last_unsealed = {
        let (_, report) = run("inspect", &path);
        let segments = report["segments"].as_array().unwrap();
        segments.iter().find(|segment| segment["state"] == "unsealed").unwrap()["number"].as_u64().unwrap() as u32
    };
    // Its first put, found by trying every place: a batch of removes may stand before it.
    let first_put = {
        let identity = Identity::decode_file(&std::fs::read(path.join("identity")).unwrap()).unwrap();
        let bytes = std::fs::read(segment(&path, last_unsealed)).unwrap();
        let seed = SegmentHeader::decode_either(identity.store_id, &bytes).unwrap().seed();
        let is_put = |at: usize| {
            RecordHeader::decode(seed, at as u64, &bytes[at..]).is_ok_and(|record| record.kind == RecordKind::Put)
        };
        (DATA_START as usize..bytes.len()).step_by(8).find(|&at| is_put(at)).unwrap() as u64
    };
    let second = || segment(&path, 2);
    let cases = [
        Case { what: "value", file: second(), offset: record + 40, structure: "record payload", label: "V-KEY" },
        Case {
            what: "record header",
            file: second(),
            offset: record + 9,
            structure: "record header",
            label: "V-NAMED",
        },
        Case { what: "batch header", file: second(), offset: batch + 9, structure: "batch header", label: "none" },
        Case { what: "first header", file: second(), offset: 20, structure: "segment header", label: "none" },
        Case { what: "second header", file: second(), offset: 256, structure: "segment header", label: "none" },
        Case { what: "first link", file: second(), offset: 520, structure: "batch header", label: "none" },
        Case { what: "second link", file: second(), offset: 660, structure: "link body", label: "none" },
        Case {
            what: "footer entries",
            file: second(),
            offset: u64::from(tail.data_end_offset) + 30,
            structure: "footer entries",
            label: "S-SCAN",
        },
        Case { what: "footer", file: second(), offset: tail_offset + 60, structure: "footer tail", label: "S-SCAN" },
        Case { what: "magic", file: second(), offset: tail_offset + 4, structure: "footer tail", label: "S-SCAN" },
        Case { what: "identity", file: path.join("identity"), offset: 40, structure: "identity", label: "none" },
        Case { what: "its copy", file: path.join("identity"), offset: 4096 + 70, structure: "identity", label: "none" },
        Case {
            what: "a value in the unsealed segment",
            file: segment(&path, last_unsealed),
            offset: first_put + 40,
            structure: "record payload",
            label: "V-KEY",
        },
        Case {
            what: "a record header in the unsealed segment",
            file: segment(&path, last_unsealed),
            offset: first_put + 9,
            structure: "record header",
            label: "V-OLDER",
        },
    ];
    for case in cases {
        flip(&case.file, case.offset);
        let (code, report) = run("verify", &path);
        assert_eq!(code, 1, "{}: {report:#}", case.what);
        let damage = report["damage"].as_array().unwrap();
        assert_eq!((damage.len(), &report["sound"]), (1, &Value::from(false)), "{}: {report:#}", case.what);
        let damage = &damage[0];
        let name = case.file.file_name().unwrap().to_str().unwrap();
        assert_eq!(damage["file"], name, "{}", case.what);
        let (from, len) = (damage["offset"].as_u64().unwrap(), damage["len_bytes"].as_u64().unwrap());
        assert!((from..from + len).contains(&case.offset), "{}: {damage:#}", case.what);
        assert!(len <= 4_096, "{}: the range says where: {damage:#}", case.what);
        assert_eq!(damage["structure"], case.structure, "{}", case.what);
        assert_eq!(damage["verdict"]["label"], case.label, "{}: {damage:#}", case.what);
        for key in ["expected", "found"] {
            assert!(!damage[key].as_str().unwrap().is_empty(), "{}: {damage:#}", case.what);
        }
        assert!(!damage["verdict"]["sentence"].as_str().unwrap().is_empty(), "{}: {damage:#}", case.what);
        flip(&case.file, case.offset);
        assert_eq!(run("verify", &path).0, 0, "{}: flipped back", case.what);
    }
}

#[test]
fn damage_in_one_record_does_not_hide_the_next() {
    let (_place, path) = closed_store();
    let (_, _, entries) = footer(&path, 1);
    for index in [3, 4, 9] {
        flip(&segment(&path, 1), u64::from(entries[index].offset) + 1);
    }
    let (code, report) = run("verify", &path);
    let places: Vec<u64> =
        report["damage"].as_array().unwrap().iter().map(|damage| damage["offset"].as_u64().unwrap()).collect();
    assert_eq!((code, places), (1, [3, 4, 9].map(|index| u64::from(entries[index].offset)).to_vec()), "{report:#}");
    assert_eq!(report["totals"]["records"], 1_147);
}

#[test]
fn a_missing_segment_is_damage_for_both_commands() {
    let (_place, path) = closed_store();
    std::fs::remove_file(segment(&path, 2)).unwrap();
    for command in ["inspect", "verify"] {
        let (code, report) = run(command, &path);
        assert_eq!((code, &report["damage_count"]), (1, &Value::from(1)), "{command}: {report:#}");
        assert_eq!(report["damage"][0]["file"], "segment-0000000003.log");
        assert_eq!(report["damage"][0]["verdict"]["label"], "S-HOLE");
    }
    let (_, report) = run("inspect", &path);
    assert_eq!(report["segments"][0]["state"], "forgotten");
    assert_eq!(report["chain"][0], 3);
}

#[test]
fn a_torn_tail_is_a_note_and_no_damage() {
    let (place, path) = (tempfile::tempdir().unwrap(), PathBuf::from("store"));
    let path = place.path().join(path);
    let cache = open(&path, Maintenance::Manual);
    fill(&cache, 0..20);
    // What a crash leaves: nothing says that these records were ever durable.
    let crashed = place.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for (file, bytes) in content(&path) {
        std::fs::write(crashed.join(file.file_name().unwrap()), bytes).unwrap();
    }
    drop(cache);
    std::fs::write(crashed.join("segment-0000000009.tmp"), b"unfinished").unwrap();
    std::fs::write(crashed.join("README"), b"somebody's").unwrap();
    let (_, whole) = run("verify", &crashed);
    assert_eq!(whole["totals"]["records"], 20, "{whole:#}");
    let (_, report) = run("inspect", &crashed);
    let end = report["log"]["end"]["offset"].as_u64().unwrap();
    flip(&segment(&crashed, 1), end - 100);

    let (code, report) = run("verify", &crashed);
    assert_eq!((code, &report["damage_count"]), (0, &Value::from(0)), "{report:#}");
    let notes = report["notes"].as_array().unwrap();
    let torn = notes.iter().find(|note| note["verdict"]["label"] == "V-CUT").unwrap_or_else(|| panic!("{report:#}"));
    let (from, len) = (torn["offset"].as_u64().unwrap(), torn["len_bytes"].as_u64().unwrap());
    assert!((from..from + len).contains(&(end - 100)), "{torn:#}");
    assert!(notes.iter().any(|note| note["file"] == "segment-0000000009.tmp"), "{report:#}");
    assert_eq!(report["foreign"], serde_json::json!(["README"]));
    assert_eq!(run("inspect", &crashed).0, 0);
}

#[test]
fn a_warm_list_is_counted_and_is_no_damage() {
    let (_place, path) = golden("valid/warm_list");
    let (code, report) = run("inspect", &path);
    assert_eq!((code, &report["damage_count"]), (0, &Value::from(0)), "{report:#}");
    let warm = &report["warm_list"];
    assert_eq!((&warm["keys"], &warm["verifies"]), (&Value::from(5), &Value::from(true)), "{report:#}");
    assert_eq!(warm["records"], 0, "{report:#}");
    assert_eq!(warm["length_bytes"], 64 + 5 * 12);
    let with_list = (report["space"]["allocated_bytes"].as_u64(), warm["allocated_bytes"].as_u64());
    let (code, whole) = run("verify", &path);
    assert_eq!(
        (code, &whole["sound"], &whole["foreign"]),
        (0, &Value::from(true), &serde_json::json!([])),
        "{whole:#}"
    );

    std::fs::remove_file(path.join("warm")).unwrap();
    let (code, report) = run("inspect", &path);
    assert_eq!((code, &report["warm_list"]), (0, &Value::Null), "{report:#}");
    let without = report["space"]["allocated_bytes"].as_u64().unwrap();
    assert_eq!(with_list.0.unwrap(), without + with_list.1.unwrap(), "its room is counted");
    let (_, rest) = run("verify", &path);
    let bytes = |report: &Value| report["totals"]["file_bytes"].as_u64().unwrap();
    assert_eq!(bytes(&whole), bytes(&rest) + 64 + 5 * 12);

    let (_place, path) = golden("torn/warm_list_temporary");
    let (code, report) = run("verify", &path);
    assert_eq!(code, 0, "{report:#}");
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note["file"] == "warm.tmp"), "{report:#}");
}

#[test]
fn a_warm_list_that_does_not_verify_is_damage_that_costs_no_key() {
    let (_place, path) = golden("valid/warm_list");
    let (_, sound) = run("inspect", &path);
    let whole = std::fs::read(path.join("warm")).unwrap();
    let later = {
        let mut bytes = whole.clone();
        bytes[8] = 2;
        bytes
    };
    let flipped_entry = {
        let mut bytes = whole.clone();
        bytes[64 + 20] ^= 1;
        bytes
    };
    let longer = [whole.as_slice(), b"x"].concat();
    for (what, bytes, offset, len, structure) in [
        ("an entry", flipped_entry, 64, 60, "warm entries"),
        ("the header", later, 0, 64, "warm header"),
        ("too short", whole[..100].to_vec(), 0, 64, "warm header"),
        ("not even a header", whole[..10].to_vec(), 0, 64, "warm header"),
        ("too long", longer, 0, 64, "warm header"),
        ("nothing in it", Vec::new(), 0, 64, "warm header"),
    ] {
        std::fs::write(path.join("warm"), bytes).unwrap();
        for command in ["inspect", "verify"] {
            let (code, report) = run(command, &path);
            assert_eq!((code, &report["damage_count"]), (1, &Value::from(1)), "{what}: {report:#}");
            let damage = &report["damage"][0];
            assert_eq!(
                (&damage["file"], &damage["structure"]),
                (&"warm".into(), &structure.into()),
                "{what}: {damage:#}"
            );
            assert_eq!((&damage["offset"], &damage["len_bytes"]), (&offset.into(), &len.into()), "{what}: {damage:#}");
            assert_eq!(damage["verdict"]["label"], "W-LIST", "{what}");
            assert_eq!(damage["verdict"]["sentence"], "memory starts empty; nothing is forgotten", "{what}");
            for key in ["expected", "found"] {
                assert!(!damage[key].as_str().unwrap().is_empty(), "{what}: {damage:#}");
            }
        }
        let (_, report) = run("inspect", &path);
        assert_eq!(report["entries"], sound["entries"], "{what}");
        let warm = &report["warm_list"];
        assert_eq!((&warm["keys"], &warm["verifies"]), (&Value::Null, &Value::from(false)), "{what}: {report:#}");
    }
    std::fs::write(path.join("warm"), whole).unwrap();
    assert_eq!(run("verify", &path).0, 0, "written back");
}

#[test]
fn a_page_of_counters_is_of_the_store_whatever_it_is_like_and_another_file_of_that_name_is_foreign() {
    for (name, sequence) in [
        ("valid/counters", Value::from(42)),
        ("torn/counters_torn", 41.into()),
        ("torn/counters_without_pages", Value::Null),
    ] {
        let (_place, path) = golden(name);
        let (code, report) = run("inspect", &path);
        let counters = &report["counters"];
        assert_eq!(
            (code, &report["foreign"], &counters["sequence"]),
            (0, &serde_json::json!([]), &sequence),
            "{name}: {report:#}"
        );
        assert_eq!(counters["process_id"].is_null(), sequence.is_null(), "{name}: {report:#}");
        let (code, whole) = run("verify", &path);
        assert_eq!((code, &whole["foreign"]), (0, &serde_json::json!([])), "{name}: {whole:#}");
        std::fs::remove_file(path.join("counters")).unwrap();
        let ((_, rest), (_, left)) = (run("verify", &path), run("inspect", &path));
        let bytes = |report: &Value, group: &str, key: &str| report[group][key].as_u64().unwrap();
        assert_eq!(bytes(&whole, "totals", "file_bytes"), bytes(&rest, "totals", "file_bytes") + 45_056, "{name}");
        let allocated = |report: &Value| bytes(report, "space", "allocated_bytes");
        assert_eq!(allocated(&report), allocated(&left) + counters["allocated_bytes"].as_u64().unwrap(), "{name}");
    }
    let (_place, path) = golden("valid/counters_foreign");
    for command in ["inspect", "verify"] {
        let (code, report) = run(command, &path);
        assert_eq!((code, &report["foreign"]), (0, &serde_json::json!(["counters"])), "{report:#}");
        assert!(report["counters"].is_null(), "{report:#}");
    }
}

#[test]
fn a_lost_identity_is_damage() {
    let (_place, path) = closed_store();
    let identity = std::fs::read(path.join("identity")).unwrap();
    flip(&path.join("identity"), 33);
    flip(&path.join("identity"), 4096 + 33);
    let (code, report) = run("verify", &path);
    assert_eq!((code, &report["damage_count"]), (1, &Value::from(2)), "{report:#}");
    assert_eq!(report["damage"][1]["verdict"]["label"], "refused");
    std::fs::remove_file(path.join("identity")).unwrap();
    let (code, report) = run("verify", &path);
    assert_eq!((code, &report["damage"][0]["file"]), (1, &Value::from("identity")), "{report:#}");
    std::fs::write(path.join("identity"), identity).unwrap();
    assert_eq!(run("verify", &path).0, 0);
}

#[test]
fn what_is_no_store_or_of_a_later_version_cannot_be_read() {
    let (_place, path) = closed_store();
    let identity = Identity::decode_file(&std::fs::read(path.join("identity")).unwrap()).unwrap();
    let later = Identity { format_version: 2, ..identity };
    std::fs::write(path.join("identity"), later.encode_file()).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let file = path.join("identity");
    for command in ["inspect", "verify"] {
        for (path, words) in [
            (path.as_path(), "format version 2"),
            (empty.path(), "not an emberlog store"),
            (Path::new("/nowhere/at/all"), "cannot open"),
            (file.as_path(), "cannot open"),
        ] {
            let output = emberlog(command, path);
            let problem = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {}: {problem}", path.display());
            assert!(problem.contains(words), "{command} {}: {problem}", path.display());
            assert!(problem.contains(&*path.to_string_lossy()), "which directory? {problem}");
            assert!(output.stdout.is_empty());
        }
    }
    assert!(std::fs::read_dir(empty.path()).unwrap().next().is_none(), "nothing was made");
}

#[test]
fn a_live_store_is_read_without_error_or_false_alarm_while_segments_come_and_go() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path, Maintenance::Background);
    fill(&cache, 0..1_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 0u32;
            while !stop.load(Ordering::Relaxed) {
                cache.insert(key.to_le_bytes(), [key as u8; VALUE_LEN]);
                key = key.wrapping_add(1);
            }
        });
        let mut changed_count = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Twenty times at least, and until segments came and went meanwhile: a busy disk takes its time.
            let retired = || cache.stats().disk.unwrap().segments_retired;
            let enough = |turn, changed_count| turn >= 20 && changed_count > 0 && retired() > 5;
            let mut turn = 0;
            while !enough(turn, changed_count) && turn < 2_000 {
                let command = if turn % 2 == 0 { "verify" } else { "inspect" };
                let (code, report) = run(command, &path);
                assert_eq!(code, 0, "turn {turn}: {report:#}");
                assert_eq!(report["live"]["process_id"], std::process::id(), "turn {turn}");
                changed_count += usize::from(report["changed_while_read"] == true);
                turn += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        let stats = cache.stats();
        assert!(stats.disk.as_ref().unwrap().segments_retired > 0, "segments came and went: {stats:#?}");
        assert!(changed_count > 0, "and did so while they were read");
    });
    cache.close().unwrap();
    assert_eq!(run("verify", &path).0, 0);
}

#[test]
fn the_pages_for_people_are_tables_that_fit() {
    let (_place, path) = closed_store();
    let (_, _, entries) = footer(&path, 1);
    flip(&segment(&path, 1), u64::from(entries[2].offset) + 60);
    for (command, words) in [
        ("inspect", &["created", "sealed", "S-TRUST", "unsealed", "chain", "space", "entries"][..]),
        ("verify", &["DAMAGE", "segment-0000000001.log", "expected", "found", "V-KEY", "1 damaged place"][..]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_emberlog")).arg(command).arg(&path).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        for word in words {
            assert!(page.contains(word), "{word:?} is not in:\n{page}");
        }
        assert!(page.lines().all(|line| line.chars().count() <= 140), "{page}");
    }
    for (store, words) in [
        ("valid/basic", "warm     no list"),
        (
            "valid/warm_list",
            "warm     5 keys that memory held, 0 records hit on disk, in a list of 124 B that verifies",
        ),
        ("corrupt/warm_list_flip", "warm     a list of 124 B that does not verify"),
    ] {
        let (_place, path) = golden(store);
        let output = Command::new(env!("CARGO_BIN_EXE_emberlog")).arg("inspect").arg(&path).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(page.lines().any(|line| line.trim_start().starts_with(words)), "{words:?} is not in:\n{page}");
    }
}
