//! A disk slower than its callers, and closures that misbehave.
//!
//! Gates stand before every read, write and sync of the real disk; the test opens and shuts them. Nothing here sleeps to let something happen: that a
//! thread waits is read from the kernel, that it does not is shown by its end.

use crate::gate::{GateDisk, Opener, Passes};
use crate::help;
use bytes::Bytes;
use emberlog::disk::OsDisk;
use emberlog::{Builder, Cache, Durability, InsertOutcome, Maintenance, ReadMode, Refusal, TierOutcome, WhenBehind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BUFFER_BYTES: u64 = 128 << 10;

fn settings() -> Builder {
    Cache::builder()
        .memory_bytes(4 << 20)
        .disk_bytes(64 << 20)
        .segment_len_bytes(4 << 20)
        .append_buffer_bytes(BUFFER_BYTES)
        .shards(1)
}

/// A fresh store behind open gates. The gates come last, so that they go first.
fn gated_store(settings: Builder) -> (tempfile::TempDir, Cache, Opener) {
    let directory = tempfile::tempdir().unwrap();
    let (cache, gates) = gated_open(settings, directory.path());
    (directory, cache, gates)
}

fn gated_open(settings: Builder, directory: &Path) -> (Cache, Opener) {
    let (disk, gates) = GateDisk::new(&directory.join("store"));
    (settings.open_on(disk).unwrap(), gates)
}

/// A copy of a store as it is now: what a kill would leave.
fn copy_of(directory: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let target = copy.path().join("store");
    drop(OsDisk::open_or_create(&target).unwrap());
    for entry in std::fs::read_dir(directory.path().join("store")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
    }
    copy
}

fn shown(path: &Path, key: &str) -> Option<Bytes> {
    let cache = settings().open(path.join("store")).unwrap();
    assert_eq!(cache.stats().recovery.unwrap().forgotten_older, 0);
    cache.get(key)
}

/// A thread whose state can be asked for.
struct Watched<T> {
    handle: JoinHandle<T>,
    state_file: String,
}

impl<T: Send + 'static> Watched<T> {
    fn start(body: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let handle = std::thread::spawn(move || {
            let path = std::fs::read_link("/proc/thread-self").unwrap();
            sender.send(format!("/proc/{}/stat", path.display())).unwrap();
            body()
        });
        Self { handle, state_file: receiver.recv().unwrap() }
    }

    /// Waits until the thread sleeps, and goes on sleeping for as long as many looks take.
    fn wait_until_it_waits(&self) {
        let (mut asleep, end) = (0, Instant::now() + Duration::from_secs(30));
        while asleep < 200 {
            assert!(!self.handle.is_finished(), "it did not wait");
            assert!(Instant::now() < end, "it neither waited nor ended");
            let stat = std::fs::read_to_string(&self.state_file).unwrap_or_default();
            let sleeps = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'));
            asleep = if sleeps { asleep + 1 } else { 0 };
            std::thread::yield_now();
        }
    }

    fn join(self, what: &str) -> T
    where
        T: 'static,
    {
        let handle = self.handle;
        help::must_end(what, move || handle.join().unwrap())
    }
}

/// Inserts until the cache says that the writer is behind; the number of values that it took.
fn fill_until_behind(cache: &Cache) -> u64 {
    for number in 0..10_000u64 {
        if cache.insert(format!("filler {number}"), [7; 1000]).disk == TierOutcome::Refused(Refusal::Behind) {
            return number;
        }
    }
    panic!("the append buffer took far more than its length");
}

#[test]
fn behind_a_blocked_disk_a_dropping_insert_never_waits_and_hides_the_older_value() {
    let (directory, cache, disk) = gated_store(settings().when_behind(WhenBehind::Drop));
    assert!(cache.insert("key", "old").disk.is_stored());
    assert!(cache.insert("removed", "old").disk.is_stored());
    cache.flush().unwrap();
    disk.writes.set(Passes::No);
    let behind = cache.clone();
    let taken = help::must_end("inserts with WhenBehind::Drop", move || {
        let taken = fill_until_behind(&behind);
        let outcome = behind.insert("key", [9; 1000]);
        assert_eq!(outcome.disk, TierOutcome::Refused(Refusal::Behind));
        assert!(outcome.memory.is_stored());
        assert!(behind.remove("removed"));
        taken
    });
    assert!(taken * 1000 < BUFFER_BYTES && taken * 1000 > BUFFER_BYTES / 2, "{taken} values fit the buffer");
    let stats = cache.stats().disk.unwrap();
    assert_eq!(stats.dropped_behind, 2, "each drop is counted");
    assert_eq!(cache.get("key").as_deref(), Some([9; 1000].as_slice()), "memory has it");
    disk.writes.set(Passes::Yes);
    cache.flush().unwrap();

    let killed = copy_of(&directory);
    assert_eq!(
        shown(killed.path(), "key"),
        None,
        "after a kill: neither tier has the new value, and the old one is hidden"
    );
    assert_eq!(shown(killed.path(), "removed"), None);
    assert_eq!(shown(killed.path(), "filler 0").as_deref(), Some([7; 1000].as_slice()), "the rest is there");

    cache.validate();
    cache.close().unwrap();
    assert_eq!(
        shown(directory.path(), "key").as_deref(),
        Some([9; 1000].as_slice()),
        "close writes what only memory has"
    );
    assert_eq!(shown(directory.path(), "removed"), None);
}

#[test]
fn behind_a_blocked_disk_an_insert_waits_for_its_turn_until_the_disk_goes_on() {
    let (_directory, cache, disk) = gated_store(settings());
    disk.writes.set(Passes::No);
    // Leaves room for small values, and none for a large one.
    let room = cache.clone();
    help::must_end("inserts into the buffer", move || {
        for number in 0..60u64 {
            assert!(room.insert(format!("filler {number}"), [7; 1000]).disk.is_stored());
        }
    });
    let waiting = cache.clone();
    let large = Watched::start(move || waiting.insert("large", vec![1; 90_000]));
    large.wait_until_it_waits();
    // A small value would fit, but the large one asked first.
    let waiting = cache.clone();
    let small = Watched::start(move || waiting.insert("small", [2; 100]));
    small.wait_until_it_waits();
    let waiting = cache.clone();
    let removal = Watched::start(move || waiting.remove("filler 0"));
    removal.wait_until_it_waits();
    assert_eq!(cache.get("filler 1").as_deref(), Some([7; 1000].as_slice()), "reads do not wait");
    disk.writes.set(Passes::Yes);
    assert!(large.join("the large insert").disk.is_stored());
    assert!(small.join("the small insert").disk.is_stored());
    assert!(removal.join("the removal"));
    assert_eq!(cache.stats().disk.unwrap().dropped_behind, 0);
    cache.validate();
}

#[test]
fn a_slow_sync_holds_up_neither_the_writer_nor_the_inserts() {
    let (_directory, cache, disk) = gated_store(settings());
    cache.insert("first", "value");
    disk.syncs.set(Passes::No);
    let flushing = cache.clone();
    let flush = Watched::start(move || flushing.flush());
    disk.syncs.wait_for_somebody();
    // Many times the buffer, within the active segment.
    let inserting = cache.clone();
    help::must_end("inserts during a sync", move || {
        for number in 0..1_500u64 {
            assert!(inserting.insert(format!("key {number}"), [7; 1000]).disk.is_stored());
        }
    });
    let stats = cache.stats().disk.unwrap();
    assert!(stats.written_seqno > 1_000, "the writer went on: {stats:?}");
    assert!(stats.synced_seqno < stats.written_seqno);
    disk.syncs.set(Passes::Yes);
    flush.join("the flush").unwrap();
    cache.flush().unwrap();
    let stats = cache.stats().disk.unwrap();
    assert_eq!(stats.synced_seqno, stats.last_seqno);
}

#[test]
fn written_inserts_wait_for_the_write_and_synced_ones_for_the_sync() {
    for durability in [Durability::Written, Durability::Synced] {
        let (_directory, cache, disk) = gated_store(settings().durability(durability));
        let gate = if durability == Durability::Written { &disk.writes } else { &disk.syncs };
        gate.set(Passes::No);
        let threads: Vec<Watched<InsertOutcome>> = (0..3)
            .map(|number| {
                let cache = cache.clone();
                Watched::start(move || cache.insert(format!("key {number}"), "value"))
            })
            .collect();
        threads.iter().for_each(Watched::wait_until_it_waits);
        gate.set(Passes::Yes);
        for thread in threads {
            assert!(thread.join("an insert").disk.is_stored(), "{durability:?}");
        }
    }
}

#[test]
fn closing_lets_those_who_wait_for_room_finish_first() {
    let (directory, cache, disk) = gated_store(settings());
    disk.writes.set(Passes::No);
    let callers: Vec<Watched<InsertOutcome>> = (0..4u8)
        .map(|number| {
            let cache = cache.clone();
            // The last one drops its clone with its end, maybe as the last of all.
            let caller = Watched::start(move || {
                let mut outcome = cache.insert(format!("caller {number}"), vec![number; 100_000]);
                for _ in 0..3 {
                    outcome = cache.insert(format!("caller {number}"), vec![number; 100_000]);
                }
                outcome
            });
            caller.wait_until_it_waits();
            caller
        })
        .collect();
    let closing = cache.clone();
    let close = Watched::start(move || closing.close());
    close.wait_until_it_waits();
    disk.writes.set(Passes::Yes);
    close.join("close").unwrap();
    for caller in callers {
        let outcome = caller.join("a caller");
        let closed = TierOutcome::Refused(Refusal::Closed);
        assert!(outcome.disk.is_stored() || outcome.disk == closed, "{outcome:?}");
    }
    assert_eq!(cache.get("caller 0"), None, "closed");
    drop((disk, cache));
    for number in 0..4u8 {
        if let Some(value) = shown(directory.path(), &format!("caller {number}")) {
            assert_eq!(value, vec![number; 100_000]);
        }
    }
}

#[test]
fn the_last_handle_may_be_dropped_while_its_disk_is_blocked() {
    let (directory, cache, disk) = gated_store(settings());
    disk.writes.set(Passes::No);
    assert!(cache.insert("key", "value").disk.is_stored());
    let dropping = Watched::start(move || drop(cache));
    dropping.wait_until_it_waits();
    disk.writes.set(Passes::Yes);
    dropping.join("drop");
    assert_eq!(shown(directory.path(), "key").as_deref(), Some(b"value".as_slice()));
}

#[test]
fn a_disk_that_fails_lets_all_go_who_wait_for_it() {
    let (_directory, cache, disk) = gated_store(settings());
    disk.writes.set(Passes::No);
    let callers: Vec<Watched<InsertOutcome>> = (0..3u8)
        .map(|number| {
            let cache = cache.clone();
            let caller = Watched::start(move || {
                cache.insert(format!("first {number}"), vec![number; 100_000]);
                cache.insert(format!("second {number}"), vec![number; 100_000])
            });
            caller.wait_until_it_waits();
            caller
        })
        .collect();
    let flushing = cache.clone();
    let flush = Watched::start(move || flushing.flush());
    flush.wait_until_it_waits();
    disk.writes.set(Passes::Error);
    assert_eq!(flush.join("flush").unwrap_err().kind(), emberlog::ErrorKind::Io);
    for (number, caller) in (0..3u8).zip(callers) {
        assert_eq!(caller.join("a caller").disk, TierOutcome::Refused(Refusal::DiskOff));
        let value = cache.get(format!("second {number}")).expect("memory goes on");
        assert_eq!(value, vec![number; 100_000]);
    }
    let closing = cache.clone();
    help::must_end("close", move || closing.close()).unwrap_err();
}

/// A name, and what it does to the key.
type Change = (&'static str, fn(&Cache));

/// What becomes of a key while another thread reads its old value from disk.
const CHANGES: [Change; 4] = [
    ("a remove", |cache| assert!(cache.remove("key"))),
    ("an insert that memory does not take", |cache| {
        let outcome = cache.insert("key", vec![2; 100_000]);
        assert!(!outcome.memory.is_stored() || outcome.disk.is_stored());
    }),
    ("an insert that no tier takes", |cache| assert!(!cache.insert("key", vec![2; 6 << 20]).is_stored())),
    ("an invalidation of all", Cache::invalidate_all),
];

#[test]
fn a_value_that_changes_while_it_is_read_from_disk_is_not_promoted() {
    for (name, change) in CHANGES {
        let settings = || settings().read_mode(ReadMode::Pread).maintenance(Maintenance::Manual).shards(4);
        let (directory, cache, gates) = gated_store(settings());
        assert!(cache.insert("key", "old").disk.is_stored());
        cache.close().unwrap();
        drop((gates, cache));
        let (cache, gates) = gated_open(settings(), directory.path());
        gates.reads.set(Passes::No);
        let reading = cache.clone();
        let reader = Watched::start(move || reading.get("key"));
        gates.reads.wait_for_somebody();
        let changing = cache.clone();
        let changed = Watched::start(move || change(&changing));
        // A remove reads the record too, when it has taken its place in the log; the others end.
        if name == "a remove" {
            changed.wait_until_it_waits();
            gates.reads.set(Passes::Yes);
            changed.join(name);
        } else {
            changed.join(name);
            gates.reads.set(Passes::Yes);
        }
        assert_eq!(reader.join("the reader").as_deref(), Some(b"old".as_slice()), "it began before {name}");
        assert_ne!(cache.get("key").as_deref(), Some(b"old".as_slice()), "{name}: the old value came back");
        assert_eq!(cache.stats().memory.promotions, 0, "{name}");
        cache.validate();
    }
    // And without a change it is promoted, or this shows nothing.
    let (directory, cache, gates) = gated_store(settings());
    cache.insert("key", "old");
    cache.close().unwrap();
    drop((gates, cache));
    let (cache, _gates) = gated_open(settings().maintenance(Maintenance::Manual), directory.path());
    assert!(cache.get("key").is_some());
    assert_eq!(cache.stats().memory.promotions, 1);
}

// -- closures of the caller's

/// A cache whose keys of three lengths are served from this tier.
fn served_from(disk: bool) -> (tempfile::TempDir, Cache, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let keys: Vec<String> = [10, 1_000, 3_000, 20_000].iter().map(|len| format!("{len}")).collect();
    let cache = settings().open(&path).unwrap();
    for key in &keys {
        assert!(cache.insert(key, vec![b'v'; key.parse().unwrap()]).memory.is_stored());
    }
    if !disk {
        return (directory, cache, keys);
    }
    cache.close().unwrap();
    // Without threads nothing is read back into memory unasked.
    (directory, settings().maintenance(Maintenance::Manual).open(&path).unwrap(), keys)
}

#[test]
fn a_closure_that_panics_leaves_the_cache_as_it_was() {
    for disk in [false, true] {
        let (_directory, cache, keys) = served_from(disk);
        let name = if disk { "disk" } else { "memory" };
        help::must_end("a panic in read", move || {
            for key in &keys {
                let before = cache.stats();
                let panic = catch_unwind(AssertUnwindSafe(|| {
                    cache.read(key, |value| {
                        assert_eq!(value.len().to_string(), *key);
                        std::panic::resume_unwind(Box::new("the closure's own"));
                    })
                }))
                .unwrap_err();
                assert_eq!(panic.downcast_ref::<&str>(), Some(&"the closure's own"), "{key} from {name}");
                let hits = if disk {
                    cache.stats().disk.unwrap().hits - before.disk.unwrap().hits
                } else {
                    cache.stats().memory.hits - before.memory.hits
                };
                assert_eq!(hits, 1, "{key} came from {name}");
                assert_eq!(cache.get(key).map(|value| value.len().to_string()).as_ref(), Some(key));
                assert!(cache.insert(key, "new").disk.is_stored());
                assert!(cache.remove(key));
            }
            cache.flush().unwrap();
            cache.validate();
            cache.close().unwrap();
        });
    }
}

#[test]
fn a_closure_may_use_the_cache_itself() {
    for disk in [false, true] {
        let (_directory, cache, keys) = served_from(disk);
        help::must_end("read within read", move || {
            for key in &keys {
                let len = cache.read(key, |value| {
                    assert_eq!(cache.get(key).as_deref(), Some(value));
                    assert!(cache.insert(key, "other").is_stored());
                    assert_eq!(cache.read(key, |value| value.to_vec()).as_deref(), Some(b"other".as_slice()));
                    assert!(cache.remove(key));
                    assert!(!cache.contains_key(key));
                    cache.flush().unwrap();
                    cache.validate();
                    assert!(value.iter().all(|&byte| byte == b'v'), "what was lent stays as it was");
                    value.len()
                });
                assert_eq!(len.map(|len| len.to_string()).as_ref(), Some(key));
            }
            cache.insert("last", "value");
            let closed = cache.read("last", |_| {
                cache.invalidate_all();
                cache.close()
            });
            closed.expect("a hit").unwrap();
        });
    }
}
