//! Input that is wrong, hostile or at a limit: stores of others, files that are not what they seem, settings that cannot work, extreme keys and
//! values, a closed cache, clocks that lie.

use crate::support::{KIB, Rng, START_UNIX_MS, Setup};
use emberlog::disk::SimDisk;
use emberlog::format::identity::Identity;
use emberlog::format::segment::SegmentHeader;
use emberlog::{Builder, Cache, EntryOptions, ErrorKind, Maintenance, ManualClock, ReadMode, Refusal, TierOutcome};
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn settings() -> Builder {
    Cache::builder()
        .memory_bytes(1 << 20)
        .disk_bytes(1 << 20)
        .shards(1)
        .segment_len_bytes(64 * KIB)
        .maintenance(Maintenance::Manual)
}

/// A directory with a store in it that was closed.
fn store() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = settings().open(directory.path()).expect("a new store");
    cache.insert("key", "value");
    cache.close().expect("a sound disk");
    directory
}

/// Every file of a directory, byte for byte, without the lock, which tells who came last.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named
        .filter(|(name, _)| name != "lock")
        .map(|(name, path)| (name, std::fs::read(path).unwrap_or_default()))
        .collect()
}

/// Opening is refused with this kind and a message that has these words in it, and nothing is touched.
fn refused(path: &Path, kind: ErrorKind, words: &[&str]) {
    let before = files(path);
    let error = settings().open(path).expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "'{word}' is not in: {error}");
    }
    assert!(before == files(path), "a refused open touches nothing");
}

fn segment_name(path: &Path) -> String {
    files(path).into_keys().find(|name| name.starts_with("segment-")).expect("there is a segment")
}

// -- stores of others

#[test]
fn an_identity_with_another_magic_or_both_copies_bad_is_refused_untouched() {
    let directory = store();
    let path = directory.path().join("identity");
    let sound = std::fs::read(&path).expect("the identity");
    let mut bytes = sound.clone();
    for copy in [0, 4096] {
        bytes[copy + 4..copy + 12].copy_from_slice(b"NOTEMBER");
    }
    std::fs::write(&path, &bytes).expect("written");
    refused(directory.path(), ErrorKind::Damaged, &["identity"]);
    std::fs::write(&path, vec![0; 8192]).expect("written");
    refused(directory.path(), ErrorKind::Damaged, &["identity"]);
    std::fs::write(&path, b"").expect("written");
    refused(directory.path(), ErrorKind::Damaged, &["identity"]);
    // One bad copy is no trouble.
    for copy in [0, 4096] {
        let mut bytes = sound.clone();
        bytes[copy..copy + 96].fill(0xFF);
        std::fs::write(&path, &bytes).expect("written");
        let cache = settings().open(directory.path()).expect("the other copy is sound");
        assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()));
    }
}

#[test]
fn a_store_of_a_future_version_is_refused_byte_for_byte_untouched() {
    let directory = store();
    let path = directory.path().join("identity");
    let sound = std::fs::read(&path).expect("the identity");
    let identity = Identity::decode_file(&sound).expect("it is sound");
    for (version, features) in [(2, 0), (1, 1 << 40), (u32::MAX, u64::MAX)] {
        let future = Identity { format_version: version, required_features: features, ..identity.clone() };
        std::fs::write(&path, future.encode_file()).expect("written");
        refused(directory.path(), ErrorKind::Incompatible, &["identity"]);
    }
    // An optional feature is none of our business.
    let future = Identity { optional_features: 1 << 7, ..identity };
    std::fs::write(&path, future.encode_file()).expect("written");
    assert!(settings().open(directory.path()).is_ok());
}

#[test]
fn a_segment_of_a_future_version_is_refused_byte_for_byte_untouched() {
    let directory = store();
    let identity = std::fs::read(directory.path().join("identity")).expect("the identity");
    let store_id = Identity::decode_file(&identity).expect("it is sound").store_id;
    let name = segment_name(directory.path());
    let path = directory.path().join(&name);
    let mut bytes = std::fs::read(&path).expect("the segment");
    SegmentHeader::decode_either(store_id, &bytes).expect("it is sound");
    for copy in [0usize, 256] {
        bytes[copy + 44..copy + 48].copy_from_slice(&7u32.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&store_id);
        hasher.update(&(copy as u64).to_le_bytes());
        hasher.update(&bytes[copy + 4..copy + 96]);
        let checksum = hasher.finalize().to_le_bytes();
        bytes[copy..copy + 4].copy_from_slice(&checksum);
    }
    std::fs::write(&path, &bytes).expect("written");
    refused(directory.path(), ErrorKind::Incompatible, &[&name, "7"]);
}

#[test]
fn a_directory_of_something_else_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("thesis.tex"), b"ten years of work").expect("written");
    refused(directory.path(), ErrorKind::NotAStore, &["thesis.tex"]);
    // A name of ours that no store has without an identity is somebody else's, too.
    for name in ["warm", "warm.tmp", "counters", "counters.tmp"] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join(name), b"my thesis").expect("written");
        refused(directory.path(), ErrorKind::NotAStore, &[name]);
    }
    let file = directory.path().join("thesis.tex");
    let error = settings().open(&file).expect_err("a file is no directory");
    assert_eq!(error.kind(), ErrorKind::NotAStore, "{error}");
}

#[test]
fn segments_without_an_identity_are_refused_untouched() {
    let directory = store();
    std::fs::remove_file(directory.path().join("identity")).expect("removed");
    refused(directory.path(), ErrorKind::Damaged, &["identity"]);
}

// -- files that are not what they seem

#[test]
fn links_in_place_of_files_are_refused_and_their_targets_unchanged() {
    for name in ["identity".to_owned(), segment_name(store().path()), "lock".to_owned()] {
        for hard in [false, true] {
            let directory = store();
            let elsewhere = tempfile::tempdir_in(directory.path().parent().expect("a parent")).expect("a directory");
            let (link, target) = (directory.path().join(&name), elsewhere.path().join("target"));
            if hard {
                std::fs::hard_link(&link, &target).expect("linked");
            } else {
                std::fs::rename(&link, &target).expect("moved");
                symlink(&target, &link).expect("linked");
            }
            let before = std::fs::read(&target).expect("the target");
            refused(directory.path(), ErrorKind::Insecure, &[&name, "link"]);
            assert_eq!(std::fs::read(&target).expect("the target"), before, "{name}");
        }
    }
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let directory = store();
    for mode in [0o770, 0o702, 0o777] {
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).expect("changed");
        refused(directory.path(), ErrorKind::Insecure, &["chmod"]);
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("changed");
    assert!(settings().open(directory.path()).is_ok());
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    let directory = store();
    let identity = directory.path().join("identity");
    if std::os::unix::fs::chown(&identity, Some(65_534), None).is_err() {
        // Only root can give files away; the check itself is also tested on the disk seam.
        assert!(std::fs::metadata(&identity).is_ok());
        return;
    }
    refused(directory.path(), ErrorKind::Insecure, &["identity", "65534"]);
    std::os::unix::fs::chown(&identity, Some(0), None).expect("changed back");
    std::os::unix::fs::chown(directory.path(), Some(65_534), None).expect("changed");
    refused(directory.path(), ErrorKind::Insecure, &["65534"]);
}

// -- settings

/// The number that a message names behind `works is `.
fn named_bytes(message: &str) -> u64 {
    let rest = message.split("works is ").nth(1).expect("the message names the smallest");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn a_budget_that_cannot_work_names_the_smallest_that_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new");
    for bytes in [0, 1, 1000, 64 * KIB] {
        let error = settings().memory_bytes(bytes).open(&path).expect_err("too small");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(!path.exists(), "a mistake in the settings leaves no directory behind");
        let smallest = named_bytes(&error.to_string());
        assert!(settings().memory_bytes(smallest - 1024).open(&path).is_err(), "{smallest} is the smallest");
        let cache = settings().memory_bytes(smallest).open(&path).expect("what is named works");
        assert!(cache.insert("key", "value").disk.is_stored());
        cache.close().expect("a sound disk");
        std::fs::remove_dir_all(&path).expect("removed");

        let error = settings().disk_bytes(bytes).open(&path).expect_err("too small");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        let smallest = named_bytes(&error.to_string());
        assert!(settings().disk_bytes(smallest - 1).open(&path).is_err(), "{smallest} is the smallest");
        let cache = settings().disk_bytes(smallest).open(&path).expect("what is named works");
        for round in 0..400u64 {
            assert!(cache.insert(round.to_le_bytes(), [0; 1000]).disk.is_stored(), "it turns over: {round}");
        }
        cache.close().expect("a sound disk");
        std::fs::remove_dir_all(&path).expect("removed");
    }
    assert!(settings().memory_bytes(u64::MAX).disk_bytes(u64::MAX).segment_len_bytes(0).open(&path).is_err());
    for bad in [settings().shards(0), settings().shards(1 << 20), settings().append_buffer_bytes(1)] {
        let error = bad.open(&path).expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
}

#[test]
fn extreme_settings_err_or_work_but_never_panic() {
    let extremes = [0, 1, 4095, 64 * KIB, 1 << 20, 1 << 32, 1 << 62, u64::MAX];
    for memory in [600 * KIB, 1 << 20] {
        for &value in &extremes {
            let change: [fn(Builder, u64) -> Builder; 6] = [
                Builder::memory_bytes,
                Builder::disk_bytes,
                Builder::segment_len_bytes,
                Builder::append_buffer_bytes,
                Builder::disk_index_bytes,
                Builder::expected_entry_bytes,
            ];
            for (number, change) in change.iter().enumerate() {
                if (number == 0 && (1 << 32..1 << 62).contains(&value)) || (number == 3 && value == 1 << 20) {
                    continue; // it would work, and take what it was told
                }
                let opened = change(settings().memory_bytes(memory), value).open_on(Arc::new(SimDisk::new(1)));
                match opened {
                    Ok(cache) => {
                        let _ = cache.insert("key", "value");
                        assert!(cache.get("key").is_none_or(|found| found == "value"));
                    }
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}

// -- keys and values

#[test]
fn the_shortest_and_longest_keys_and_values_come_back_from_memory_and_disk() {
    let disk = SimDisk::new(1);
    let open = || {
        settings().memory_bytes(4 << 20).segment_len_bytes(256 * KIB).disk_bytes(4 << 20).append_buffer_bytes(512 * KIB)
    };
    let cache = open().open_on(Arc::new(disk.clone())).expect("a new store");
    let longest_key = vec![b'k'; 65_535];
    let pairs: [(&[u8], &[u8]); 5] =
        [(b"", b""), (b"", b"x"), (b"empty", b""), (&longest_key, b""), (&longest_key, b"a value")];
    for (key, value) in pairs {
        let outcome = cache.insert(key, value);
        assert!(outcome.disk.is_stored(), "{} and {} bytes: {outcome:?}", key.len(), value.len());
        assert_eq!(cache.get(key).as_deref(), Some(value));
        assert_eq!(cache.read(key, <[u8]>::to_vec).as_deref(), Some(value));
    }
    let too_long = vec![b'k'; 65_536];
    let outcome = cache.insert(&too_long, "v");
    assert_eq!(outcome.disk, TierOutcome::Refused(Refusal::Oversize));
    assert!(!outcome.is_stored(), "a key of 65,536 bytes is refused: {outcome:?}");
    assert_eq!(cache.get(&too_long), None);
    assert!(!cache.remove(&too_long) && !cache.contains_key(&too_long));
    cache.close().expect("a sound disk");
    let cache = open().open_on(Arc::new(disk)).expect("the store");
    for (key, value) in [(b"".as_slice(), b"x".as_slice()), (b"empty", b""), (&longest_key, b"a value")] {
        assert_eq!(cache.get(key).as_deref(), Some(value), "after a restart: {} bytes of key", key.len());
    }
}

#[test]
fn a_value_too_large_for_a_tier_is_refused_there_and_takes_the_older_one_away() {
    let disk = SimDisk::new(1);
    let cache = settings().open_on(Arc::new(disk.clone())).expect("a new store");
    let (mut largest, mut too_large) = (0, 1 << 20);
    while largest + 1 < too_large {
        let len = (largest + too_large) / 2;
        if cache.insert("key", vec![1; len]).disk.is_stored() { largest = len } else { too_large = len }
    }
    assert!(largest > 32 << 10, "{largest}");
    for len in [largest, largest + 1, largest + 2, 1 << 20, 3 << 20] {
        assert!(cache.insert("key", "older").is_stored());
        let outcome = cache.insert("key", vec![2; len]);
        assert_eq!(outcome.disk.is_stored(), len <= largest, "{len}");
        let found = cache.get("key").map(|value| value.to_vec());
        assert_eq!(found, outcome.is_stored().then(|| vec![2; len]), "{len} bytes: never the older value");
        assert!(cache.stats().disk.expect("a disk tier").is_on);
    }
    assert!(cache.insert("key", "older").is_stored());
    assert!(!cache.insert("key", vec![3; 2 << 20]).is_stored());
    drop(cache);
    let cache = settings().open_on(Arc::new(disk)).expect("the store");
    assert_eq!(cache.get("key"), None, "nor after a restart");
}

#[test]
fn a_key_that_shares_its_place_in_the_index_with_another_is_a_miss() {
    for read_mode in [ReadMode::Mapped, ReadMode::Pread] {
        let disk = SimDisk::new(1);
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        let setup = Setup { read_mode, ..Setup::small() };
        let cache = setup.builder(&clock, 1).open_on(Arc::new(disk.clone())).expect("a new store");
        for key in 0..480u64 {
            cache.insert(key.to_le_bytes(), key.to_le_bytes());
        }
        cache.close().expect("a sound disk");
        // Memory is empty after a restart, so every answer comes through the index of the log. A few of these share a slot's tag.
        let cache = setup.builder(&clock, 2).open_on(Arc::new(disk)).expect("the store");
        for key in 480..1_500_000u64 {
            assert!(!cache.contains_key(key.to_le_bytes()), "key {key} never was");
        }
        let there =
            (0..480u64).filter(|key| cache.peek(key.to_le_bytes()).is_some_and(|value| value[..] == key.to_le_bytes()));
        assert!(there.count() > 400);
    }
}

#[test]
fn a_cache_without_a_disk_tier_is_the_same_cache() {
    let cache = settings().open_memory_only().expect("memory");
    assert_eq!(cache.insert("key", "value").disk, TierOutcome::Absent);
    assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()));
    assert!(cache.remove("key") && !cache.remove("key"));
    cache.insert("key", "value");
    cache.invalidate_all();
    assert_eq!(cache.get("key"), None);
    assert!(!cache.insert("large", vec![0; 2 << 20]).is_stored());
    cache.flush().expect("nothing to flush");
    assert!(!cache.maintain(Default::default()).expect("nothing to do").more);
    let stats = cache.stats();
    assert!(stats.disk.is_none() && stats.recovery.is_none() && stats.memory.held_bytes <= 1 << 20);
    cache.validate();
    cache.close().expect("nothing to close");
}

// -- closing and locking

#[test]
fn a_closed_cache_serves_nothing_takes_nothing_and_closes_again() {
    let directory = store();
    let cache = settings().open(directory.path()).expect("the store");
    let clone = cache.clone();
    assert!(clone.get("key").is_some());
    cache.close().expect("a sound disk");
    cache.close().expect("closing again does nothing");
    clone.close().expect("nor through a clone");
    assert_eq!(clone.get("key"), None);
    assert_eq!(clone.peek("key"), None);
    assert_eq!(clone.read("key", <[u8]>::len), None);
    assert!(!clone.contains_key("key") && !clone.remove("key"));
    let outcome = clone.insert("key", "late");
    assert_eq!(outcome.memory, TierOutcome::Refused(Refusal::Closed));
    assert_eq!(outcome.disk, TierOutcome::Refused(Refusal::Closed));
    clone.invalidate_all();
    assert_eq!(clone.flush().expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(clone.maintain(Default::default()).expect_err("closed").kind(), ErrorKind::Closed);
    let _ = clone.stats();

    // The directory is free while the old handle still lives, and late calls through that do it no harm.
    let next = settings().open(directory.path()).expect("the directory is unlocked");
    clone.insert("key", "later");
    clone.remove("key");
    drop((cache, clone));
    assert_eq!(next.get("key").as_deref(), Some(b"value".as_slice()), "remove and clear came too late");
    let third = settings().open(directory.path()).expect_err("the next one has the lock");
    assert_eq!(third.kind(), ErrorKind::Locked);
}

#[test]
fn a_second_open_fails_at_once_and_names_the_process_also_from_another_process() {
    const CHILD: &str = "EMBERLOG_IT_CHILD";
    if let Some(path) = std::env::var_os(CHILD) {
        let error = settings().open(path).expect_err("the parent has it open");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        let parent = std::os::unix::process::parent_id();
        assert!(error.to_string().contains(&format!("process {parent}")), "{error}");
        return;
    }
    let directory = store();
    let cache = settings().open(directory.path()).expect("the store");
    let error = settings().open(directory.path()).expect_err("this process has it open");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let name = "bad_input::a_second_open_fails_at_once_and_names_the_process_also_from_another_process";
    let child = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, directory.path())
        .output()
        .expect("a child");
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{output}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()), "the holder noticed nothing");
}

// -- time

fn on_sim(disk: &SimDisk, clock: &Arc<ManualClock>, seed: u64) -> Cache {
    let setup = Setup { disk_index_bytes: 16 << 10, ..Setup::small() };
    setup.builder(clock, seed).open_on(Arc::new(disk.clone())).expect("a sound disk opens")
}

#[test]
fn an_entry_is_served_through_its_time_to_live_and_at_most_a_second_longer() {
    for restart in [false, true] {
        let (disk, clock) = (SimDisk::new(1), Arc::new(ManualClock::new(START_UNIX_MS + 300)));
        let mut cache = on_sim(&disk, &clock, 1);
        let lives = |ms| EntryOptions::new().time_to_live(Duration::from_millis(ms));
        cache.insert_with("short", "1", lives(1));
        cache.insert_with("long", "2", lives(10_000));
        cache.insert_with("forever", "3", lives(u64::MAX));
        cache.insert("plain", "4");
        cache.insert_with("at once", "5", lives(0));
        if restart {
            cache.close().expect("a sound disk");
            cache = on_sim(&disk, &clock, 2);
        }
        assert!(cache.contains_key("short") && cache.contains_key("long"));
        clock.advance(Duration::from_millis(1001));
        assert_eq!((cache.get("short"), cache.get("at once")), (None, None));
        assert!(!cache.remove("short"), "an expired entry is not there");
        clock.advance(Duration::from_millis(8_999));
        assert!(cache.contains_key("long"), "never gone early");
        clock.advance(Duration::from_millis(1000));
        assert_eq!((cache.get("long"), cache.contains_key("long")), (None, false));
        clock.advance(Duration::from_secs(1 << 30));
        assert!(cache.contains_key("forever") && cache.contains_key("plain"));
        // An expired newest version is no reason to look for an older one.
        cache.insert("plain", "older");
        cache.insert_with("plain", "newer", lives(1000));
        clock.advance(Duration::from_secs(3));
        assert_eq!(cache.get("plain"), None);
        let cache = {
            cache.close().expect("a sound disk");
            on_sim(&disk, &clock, 3)
        };
        assert_eq!(cache.get("plain"), None);
    }
}

#[test]
fn time_does_not_go_back_when_the_clock_does() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(ManualClock::new(START_UNIX_MS)));
    let cache = on_sim(&disk, &clock, 1);
    let options = EntryOptions::new().time_to_live(Duration::from_secs(60));
    cache.insert_with("key", "value", options);
    clock.advance(Duration::from_secs(100));
    assert_eq!(cache.get("key"), None);
    clock.set(START_UNIX_MS);
    assert_eq!(cache.get("key"), None, "what has expired stays so");
    cache.flush().expect("a sound disk");
    let disk = disk.after_kill();
    let cache = on_sim(&disk, &clock, 2);
    assert_eq!(cache.get("key"), None, "also for the next process: the mark is on disk");
    assert!(!cache.stats().recovery.expect("a report").emptied_by_clock, "100 s ahead is nothing to worry about");
    clock.set(0);
    cache.insert_with("key", "value", options);
    assert!(cache.contains_key("key"), "a clock before the epoch stops no request");
}

#[test]
fn a_clock_mark_more_than_a_day_ahead_empties_the_store_for_good() {
    for (ahead_s, emptied) in [(86_300, false), (86_500, true)] {
        let (disk, clock) = (SimDisk::new(1), Arc::new(ManualClock::new(START_UNIX_MS)));
        let cache = on_sim(&disk, &clock, 1);
        cache.insert("key", "value");
        clock.advance(Duration::from_secs(ahead_s));
        cache.insert_with("other", "value", EntryOptions::new().time_to_live(Duration::from_secs(5)));
        cache.flush().expect("a sound disk");
        let disk = disk.after_kill();
        clock.set(START_UNIX_MS);
        let cache = on_sim(&disk, &clock, 2);
        assert_eq!(cache.stats().recovery.expect("a report").emptied_by_clock, emptied, "{ahead_s} s ahead");
        assert_eq!(cache.contains_key("key"), !emptied, "{ahead_s} s ahead");
        cache.insert("new", "value");
        cache.close().expect("a sound disk");
        // And nothing of it comes back when the clock is right again.
        clock.advance(Duration::from_secs(ahead_s));
        let cache = on_sim(&disk, &clock, 3);
        assert_eq!(cache.contains_key("key"), !emptied, "{ahead_s} s ahead");
        assert!(cache.contains_key("new"));
    }
}

// -- determinism

#[test]
fn the_same_seed_and_requests_leave_the_same_files_and_statistics_bit_for_bit() {
    let run = || {
        let (disk, clock) = (SimDisk::new(7), Arc::new(ManualClock::new(START_UNIX_MS)));
        let cache = Setup { shards: 2, ..Setup::small() }.builder(&clock, 42).open_on(Arc::new(disk.clone()));
        let cache = cache.expect("a new store");
        let mut rng = Rng::new(3);
        for _ in 0..3000 {
            let key = rng.below(300).to_le_bytes();
            match rng.below(10) {
                0..=4 => drop(cache.insert(key, vec![7; rng.below(3000) as usize])),
                5 => drop(cache.remove(key)),
                6..=8 => drop(cache.get(key)),
                _ => drop(cache.maintain(Default::default()).expect("a sound disk")),
            }
            if rng.below(100) == 0 {
                cache.flush().expect("a sound disk");
                clock.advance(Duration::from_millis(700));
            }
        }
        (cache.stats(), disk.snapshot())
    };
    let (first, second) = (run(), run());
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "the files differ");
    let disk = first.0.disk.expect("a disk tier");
    assert!(disk.segments_retired > 3 && disk.records_reinserted > 0 && first.0.memory.evicted > 100, "{disk:?}");
}
