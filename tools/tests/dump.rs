//! `emberlog dump` as a user runs it, held against what was put in: on closed, crashed, live and damaged directories.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use emberlog::format::identity::Identity;
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::format::segment::{DATA_START, SegmentHeader};
use emberlog::{Cache, Durability, EntryOptions, Maintenance, MaintenanceBudget};
use tempfile::TempDir;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(path: &Path, maintenance: Maintenance) -> Cache {
    Cache::builder()
        .memory_bytes(4 << 20)
        .disk_bytes(4 << 20)
        .segment_len_bytes(64 << 10)
        .durability(Durability::Written)
        .maintenance(maintenance)
        .random_seed(9)
        .open(path)
        .unwrap()
}

fn dump(path: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberlog")).arg("dump").arg(path).args(arguments).output().unwrap()
}

/// What the raw format says.
fn entries(output: &Output) -> Entries {
    let mut rest = &output.stdout[..];
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at(len);
        rest = left;
        (taken.to_vec(), left.is_empty())
    };
    let mut entries = Entries::new();
    if output.stdout.is_empty() {
        return entries;
    }
    loop {
        let key_len = u32::from_le_bytes(take(4).0.try_into().unwrap());
        let key = take(key_len as usize).0;
        let value_len = u64::from_le_bytes(take(8).0.try_into().unwrap());
        let value = take(value_len as usize).0;
        let (_, is_end) = take(8);
        assert!(entries.insert(key, value).is_none(), "each key comes once");
        if is_end {
            return entries;
        }
    }
}

/// 600 keys; of these 100 written again, 50 removed, 20 that expire in an hour, 5 at once; some segments sealed, the last ones not.
fn fill(cache: &Cache) -> Entries {
    let mut oracle = Entries::new();
    let mut put = |key: u32, version: u8| {
        let (key, value) = (key.to_le_bytes().to_vec(), vec![version; 100 + key as usize % 400]);
        cache.insert(&key, &value);
        oracle.insert(key, value);
    };
    (0..600).for_each(|key| put(key, 1));
    (0..100).for_each(|key| put(key, 2));
    for key in 100..150u32 {
        assert!(cache.remove(key.to_le_bytes()));
        oracle.remove(&key.to_le_bytes()[..]);
    }
    for key in 0..20u32 {
        let key = format!("later {key}");
        cache.insert_with(&key, "value", EntryOptions::new().time_to_live(Duration::from_secs(3600)));
        oracle.insert(key.into_bytes(), b"value".to_vec());
    }
    oracle
}

fn store(seal: bool) -> (TempDir, PathBuf, Entries) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path, Maintenance::Manual);
    let oracle = fill(&cache);
    if seal {
        cache.maintain(MaintenanceBudget { steps_max: 100, ..Default::default() }).unwrap();
        cache.close().unwrap();
    } else {
        // As a kill leaves it: copied while it is open.
        let copy = place.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()) {
            std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
        return (place, copy, oracle);
    }
    (place, path, oracle)
}

#[test]
fn a_closed_and_a_killed_store_give_out_what_was_put_in() {
    for seal in [true, false] {
        let (_place, path, oracle) = store(seal);
        for salvage in [&["--format", "raw"][..], &["--format", "raw", "--salvage"]] {
            let output = dump(&path, salvage);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(entries(&output), oracle, "sealed: {seal}, {salvage:?}");
        }
    }
}

#[test]
fn keys_prefix_and_formats() {
    let (_place, path, oracle) = store(true);
    let output = dump(&path, &["--prefix", "later", "--keys"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 20);
    assert!(lines.lines().all(|line| line.starts_with("{\"key\":\"later ") && line.ends_with("\"}")), "{lines}");
    let csv = dump(&path, &["--format", "csv", "--prefix", "hex:6c61746572203139"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    let [head, line] = csv.lines().collect::<Vec<_>>()[..] else { panic!("{csv}") };
    assert_eq!(head, "key,value,expires_unix_s");
    assert!(line.starts_with("later 19,value,1"), "{line}");
    let json = dump(&path, &[]);
    assert_eq!(String::from_utf8(json.stdout).unwrap().lines().count(), oracle.len());
    assert_eq!(dump(&path, &["--prefix", "hex:0"]).status.code(), Some(2));
    assert_eq!(dump(Path::new("/nowhere"), &[]).status.code(), Some(2));
}

/// Where the puts of a segment file have their keys, found by trying every place.
fn put_keys(bytes: &[u8], header: &SegmentHeader) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = DATA_START as usize;
    while at + RecordHeader::LEN <= bytes.len() {
        match RecordHeader::decode(header.seed(), at as u64, &bytes[at..]) {
            Ok(record) => {
                if record.kind == RecordKind::Put {
                    found.push(at + record.len());
                }
                at += record.record_len() as usize;
            }
            Err(_) => at += 8,
        }
    }
    found
}

/// One record's payload flipped in each segment, sealed or not: every other entry is given out, by both ways.
#[test]
fn one_flipped_payload_costs_one_entry() {
    for seal in [true, false] {
        let (_place, path, oracle) = store(seal);
        let identity = Identity::decode_file(&std::fs::read(path.join("identity")).unwrap()).unwrap();
        let mut lost = 0;
        for file in std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()) {
            let mut bytes = std::fs::read(&file).unwrap();
            let Ok(header) = SegmentHeader::decode_either(identity.store_id, &bytes) else { continue };
            let keys = put_keys(&bytes, &header);
            // The first keys were written again later, so take one from the middle of what is live.
            let Some(&at) = keys.get(keys.len() / 2) else { continue };
            let key = bytes[at..at + 4].to_vec();
            let value = bytes[at + 4..at + 12].to_vec();
            if oracle.get(&key).is_some_and(|live| live[..8] == value[..]) {
                bytes[at + 8] ^= 1;
                std::fs::write(&file, bytes).unwrap();
                lost += 1;
            }
        }
        assert!(lost > 2, "sealed: {seal}");
        let output = dump(&path, &["--format", "raw", "--salvage"]);
        assert_eq!(output.status.code(), Some(1), "damage is an exit code of 1");
        let found = entries(&output);
        assert!(found.iter().all(|(key, value)| oracle.get(key) == Some(value)), "sealed: {seal}: nothing made up");
        assert_eq!(found.len(), oracle.len() - lost, "sealed: {seal}");
        if seal {
            // Sealed segments know their keys, so recovery loses no more; the unsealed last one is cut there.
            let sure = entries(&dump(&path, &["--format", "raw"]));
            assert!(sure.iter().all(|(key, value)| oracle.get(key) == Some(value)));
            assert!(sure.len() <= found.len());
        }
    }
}

/// A hole in the middle: recovery forgets what is older, the salvage does not.
#[test]
fn a_missing_segment_costs_its_own_entries_in_a_salvage() {
    let (_place, path, oracle) = store(true);
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let identity = Identity::decode_file(&std::fs::read(path.join("identity")).unwrap()).unwrap();
    let middle = &segments[segments.len() / 2 - 1];
    let bytes = std::fs::read(middle).unwrap();
    let header = SegmentHeader::decode_either(identity.store_id, &bytes).unwrap();
    let gone: Vec<Vec<u8>> = put_keys(&bytes, &header).iter().map(|&at| bytes[at..at + 4].to_vec()).collect();
    assert!(!gone.is_empty());
    std::fs::remove_file(middle).unwrap();
    let salvaged = entries(&dump(&path, &["--format", "raw", "--salvage"]));
    for (key, value) in &oracle {
        // A key that was in the missing segment may show an older value, or none.
        assert!(salvaged.get(key) == Some(value) || gone.contains(key), "{key:?}");
    }
    let sure = entries(&dump(&path, &["--format", "raw"]));
    assert!(sure.len() < salvaged.len() && sure.iter().all(|(key, value)| oracle.get(key) == Some(value)));
}

/// While a process writes: keys that nobody touches are all there, with their values; the others with one of theirs.
#[test]
fn a_live_store_gives_out_what_stands_still() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path, Maintenance::Background);
    let still: Entries = (0..200u32).map(|key| (format!("still {key}").into_bytes(), vec![7; 300])).collect();
    still.iter().for_each(|(key, value)| {
        cache.insert(key, value);
    });
    cache.flush().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u32;
            // Short of the disk budget, so that nothing has to go.
            while !stop.load(Ordering::Relaxed) && round < 4_000 {
                cache.insert(format!("moving {}", round % 50), vec![round as u8; 200]);
                round += 1;
                if round.is_multiple_of(100) {
                    cache.flush().unwrap();
                }
            }
        });
        for round in 0..5 {
            let output = dump(&path, &["--format", "raw"]);
            assert_eq!(output.status.code(), Some(0), "{round}: {}", String::from_utf8_lossy(&output.stderr));
            let found = entries(&output);
            for (key, value) in &still {
                assert_eq!(found.get(key), Some(value), "{round}: {}", String::from_utf8_lossy(key));
            }
            for (key, value) in found.iter().filter(|(key, _)| key.starts_with(b"moving")) {
                assert!(value.len() == 200 && value.iter().all(|byte| *byte == value[0]), "{round}: {key:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
