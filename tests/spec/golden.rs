//! The golden stores: the writer still writes them, the reader and the crate agree on them, and the cache opens them.

use crate::cases::{Case, all};
use crate::decode::{Decoded, decode, difference};
use crate::reader;
use crate::store::{self, Files, START_UNIX_MS};
use emberlog::{ErrorKind, ManualClock};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn golden_dir() -> PathBuf {
    reader::spec_dir().join("golden").join("v1")
}

impl Case {
    fn dir(&self) -> PathBuf {
        golden_dir().join(self.group).join(self.name)
    }

    fn expected_path(&self) -> PathBuf {
        golden_dir().join(self.group).join(format!("{}.expected.json", self.name))
    }

    fn is_future(&self) -> bool {
        self.group == "future"
    }

    /// What stands beside the store: what the crate makes of it.
    fn expected(&self) -> String {
        let shown = match decode(&self.files) {
            Ok(decoded) => decoded.shown,
            Err(error) => json!({"error": {"kind": format!("{:?}", error.kind())}}),
        };
        serde_json::to_string_pretty(&shown).expect("JSON is written") + "\n"
    }

    fn name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

fn labels(shown: &Value) -> Vec<String> {
    let verdicts = shown["verdicts"].as_array().expect("a list");
    verdicts.iter().map(|verdict| verdict["label"].as_str().expect("a label").to_owned()).collect()
}

/// A cache on a copy of these files, and the copy.
fn open(files: &Files) -> (tempfile::TempDir, Result<emberlog::Cache, emberlog::Error>) {
    let dir = tempfile::tempdir().expect("a directory");
    store::write(files, dir.path());
    let clock = Arc::new(ManualClock::new(START_UNIX_MS));
    let cache = store::builder(&clock, 99).open(dir.path());
    (dir, cache)
}

#[test]
#[ignore = "writes the golden stores anew; only after a deliberate change of the format"]
fn regenerate_golden() {
    let dir = golden_dir();
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("the old ones can be removed");
    }
    for case in all() {
        fs::create_dir_all(case.dir()).expect("the directory can be made");
        for (name, bytes) in &case.files {
            fs::write(case.dir().join(name), bytes).expect("the file can be written");
        }
        fs::write(case.expected_path(), case.expected()).expect("the file can be written");
    }
}

#[test]
fn the_writer_still_makes_the_golden_stores_byte_for_byte() {
    let mut listed = Vec::new();
    for case in all() {
        let kept = store::read(&case.dir());
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&case.files), "files of {}", case.name());
        for (name, bytes) in &case.files {
            let differs = bytes.iter().zip(&kept[name]).position(|(made, kept)| made != kept);
            assert_eq!(differs, None, "first byte of {} {name} that differs", case.name());
            assert_eq!(bytes.len(), kept[name].len(), "length of {} {name}", case.name());
        }
        let expected = fs::read_to_string(case.expected_path()).expect("the expectation is there");
        let (expected, found) = (serde_json::from_str(&expected), serde_json::from_str(&case.expected()));
        let (expected, found): (Value, Value) = (expected.expect("JSON"), found.expect("JSON"));
        let differs = difference(&case.name(), &expected, &found);
        assert!(differs.is_none(), "kept expectation (as the reader's): {}", differs.unwrap_or_default());
        listed.push(case.dir());
    }
    for group in fs::read_dir(golden_dir()).expect("the golden stores are there") {
        for entry in fs::read_dir(group.expect("readable").path()).expect("a directory") {
            let path = entry.expect("readable").path();
            assert!(!path.is_dir() || listed.contains(&path), "no case makes {}", path.display());
        }
    }
}

#[test]
fn the_reader_and_the_crate_agree_on_every_golden_store() {
    let cases = all();
    let directories: Vec<PathBuf> = cases.iter().map(Case::dir).collect();
    let mut wrong = Vec::new();
    for (case, mut read) in cases.iter().zip(reader::read(&directories)) {
        // The files as they are kept, not as they would be made.
        let decoded = decode(&store::read(&case.dir()));
        match (decoded, case.is_future()) {
            (Err(error), true) => {
                assert_eq!(error.kind(), ErrorKind::Incompatible, "{}: {error}", case.name());
                assert_eq!(read["error"]["kind"], json!("unsupported"), "{}: {read}", case.name());
            }
            (Ok(Decoded { shown, .. }), false) => {
                // The reader's own list.
                let damages = read.as_object_mut().expect("an object").remove("damages");
                let is_sound = damages.is_some_and(|damages| damages == json!([]));
                assert_eq!(is_sound, case.group != "corrupt", "{}: damages", case.name());
                wrong.extend(difference(&case.name(), &read, &shown));
            }
            (decoded, _) => panic!("{}: {:?}", case.name(), decoded.map(|decoded| decoded.shown)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_golden_store_shows_the_verdicts_that_it_is_there_for() {
    let mut wrong = Vec::new();
    for case in all().iter().filter(|case| !case.is_future()) {
        let Decoded { shown, live } = decode(&case.files).expect("it can be read");
        if labels(&shown) != case.labels {
            wrong.push(format!("{}: {:?}, not {:?}", case.name(), labels(&shown), case.labels));
        }
        let missing = case.live.iter().filter(|key| !live.contains_key(key.as_bytes()));
        wrong.extend(missing.map(|key| format!("{}: '{key}' should be live", case.name())));
        let back = case.gone.iter().filter(|key| live.contains_key(key.as_bytes()));
        wrong.extend(back.map(|key| format!("{}: '{key}' should be gone", case.name())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_cache_opens_every_golden_store_and_serves_what_is_live() {
    for case in all().iter().filter(|case| !case.is_future()) {
        let kept = store::read(&case.dir());
        let Decoded { live, .. } = decode(&kept).expect("it can be read");
        let (_dir, cache) = open(&kept);
        let cache = cache.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        let mut keys: Vec<Vec<u8>> = live.keys().cloned().collect();
        keys.extend(case.gone.iter().map(|key| key.as_bytes().to_vec()));
        for key in keys {
            let epoch_mark = clock_mark(&kept);
            // Time goes on from the highest mark of the store.
            let expected = live.get(&key).filter(|(_, expiry)| *expiry == 0 || *expiry > epoch_mark);
            let found = cache.get(&key);
            let named = String::from_utf8_lossy(&key).into_owned();
            assert_eq!(found.as_deref(), expected.map(|(value, _)| value.as_slice()), "{} '{named}'", case.name());
        }
        cache.insert("new", "1");
        cache.close().unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    }
}

fn clock_mark(files: &Files) -> u32 {
    let decoded = decode(files).expect("it can be read");
    decoded.shown["clock_mark"].as_u64().and_then(|mark| u32::try_from(mark).ok()).expect("a mark")
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_untouched() {
    let mut count = 0;
    for case in all().iter().filter(|case| case.is_future()) {
        let kept = store::read(&case.dir());
        let (dir, cache) = open(&kept);
        assert_eq!(cache.expect_err("it is refused").kind(), ErrorKind::Incompatible, "{}", case.name());
        assert!(store::read(dir.path()) == kept, "{} was touched", case.name());
        count += 1;
    }
    assert!(count >= 2, "there are such stores");
}
