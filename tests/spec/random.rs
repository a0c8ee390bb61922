//! Stores that nobody thought of: random requests, a crash, flipped bits. The reader and the crate must agree on all that is in them.

use crate::decode::{decode, difference};
use crate::reader;
use crate::store::{self, Files, Store, builder, files_of};
use emberlog::disk::SimDisk;
use emberlog::format::names;
use emberlog::{Durability, EntryOptions, MaintenanceBudget};
use emberlog_torture::Rng;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const STORE_COUNT: u64 = 200;
/// Stores that one run of the reader takes.
const PER_RUN: usize = 50;

/// A store after random requests, one or two crashes, and perhaps some damage.
fn random_store(seed: u64) -> Files {
    let mut rng = Rng::new(seed);
    let mut disk = SimDisk::new(seed);
    for life in 0..1 + rng.below(3) {
        let durability = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        let small_disk = rng.below(3) == 0;
        let store = Store::on(disk.clone(), rng.next(), |settings| {
            let settings = settings.durability(durability);
            if small_disk { settings.disk_bytes(512 << 10) } else { settings }
        });
        store.clock.advance(Duration::from_secs(life * 100));
        for _ in 0..5 + rng.below(60) {
            request(&store, &mut rng);
        }
        disk = match rng.below(6) {
            0 => {
                store.cache.close().expect("a sound disk is closed");
                disk.after_kill()
            }
            1 => disk.after_kill(),
            _ => disk.after_power_cut(rng.next()),
        };
    }
    let mut files = files_of(&disk);
    if rng.below(3) == 0 {
        let keys: Vec<String> = (0..rng.below(9)).map(|_| format!("key {}", rng.below(15))).collect();
        let keys: Vec<(&str, u8)> = keys.iter().map(|key| (key.as_str(), rng.below(4) as u8)).collect();
        let list = store::warm_list(&files, &keys);
        files.insert(names::WARM.into(), list);
    }
    for _ in 0..[0, 0, 1, 1, 2, 5][rng.below(6) as usize] {
        damage(&mut files, &mut rng);
    }
    files
}

fn request(store: &Store, rng: &mut Rng) {
    let key = format!("key {}", rng.below(12));
    match rng.below(20) {
        0..=10 => {
            let len = [0, 5, 300, 2000, 9000, 15_000][rng.below(6) as usize];
            store.cache.insert(key, store::value(&format!("{} ", rng.next()), len));
        }
        11 => {
            let options = EntryOptions::new().time_to_live(Duration::from_secs(1 + rng.below(1000)));
            store.cache.insert_with(key, "expires", options);
        }
        12..=13 => {
            store.cache.remove(key);
        }
        14 if rng.below(4) == 0 => store.cache.invalidate_all(),
        15..=16 => store.flush(),
        17 => store.clock.advance(Duration::from_secs(1 + rng.below(50))),
        18 => {
            store.cache.get(key);
        }
        _ => {
            let budget = MaintenanceBudget { steps_max: 1 + rng.below(6) as u32, ..MaintenanceBudget::default() };
            store.cache.maintain(budget).expect("a sound disk is maintained");
        }
    }
}

fn damage(files: &mut Files, rng: &mut Rng) {
    let names: Vec<String> = files.keys().filter(|name| *name != "identity").cloned().collect();
    let Some(name) = names.get(rng.below(names.len().max(1) as u64) as usize) else { return };
    let bytes = files.get_mut(name).expect("there");
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1) as u64;
    if used == 0 {
        return;
    }
    // Headers are few among many bytes of values: half of the damage goes to a place where one begins.
    let starts: Vec<u64> = (0..used.saturating_sub(8))
        .step_by(8)
        .filter(|&at| {
            matches!(
                &bytes[at as usize + 4..at as usize + 8],
                b"EBAT" | b"ESEG" | b"EFTR" | b"EWRM" | b"ECTR" | b"EPAG"
            )
        })
        .collect();
    let at = match starts.get(rng.below(starts.len().max(1) as u64) as usize) {
        Some(&start) if rng.below(2) == 0 => start + rng.below(96),
        _ => rng.below(used),
    };
    let at = at.min(used - 1) as usize;
    match rng.below(12) {
        0 => bytes.truncate(at),
        1 => {
            let start = at / 512 * 512;
            let end = (start + 512).min(bytes.len());
            bytes[start..end].fill(0);
        }
        2 => drop(files.remove(name)),
        3 => {
            // Both copies of the link.
            let end = bytes.len().min(704);
            bytes[512.min(end)..end].fill(0);
        }
        _ => bytes[at] ^= 1 << rng.below(8),
    }
}

#[test]
fn the_reader_and_the_crate_agree_on_random_stores() {
    let first = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED is a number"));
    let seeds: Vec<u64> = first.map_or((0..STORE_COUNT).collect(), |seed| vec![seed]);
    let (mut wrong, mut labels) = (Vec::new(), std::collections::BTreeMap::<String, u32>::new());
    let mut page_count = 0;
    for run in seeds.chunks(PER_RUN) {
        let dir = tempfile::tempdir().expect("a directory");
        let stores: Vec<(u64, Files, PathBuf)> = run
            .iter()
            .map(|&seed| (seed, random_store(seed), dir.path().join(seed.to_string())))
            .inspect(|(_, files, path)| store::write(files, path))
            .collect();
        let paths: Vec<PathBuf> = stores.iter().map(|(_, _, path)| path.clone()).collect();
        for ((seed, files, _), mut read) in stores.iter().zip(reader::read(&paths)) {
            let decoded = decode(files).unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
            read.as_object_mut().expect("an object").remove("damages");
            wrong.extend(difference(&format!("SEED={seed}"), &read, &decoded.shown));
            page_count += u32::from(decoded.shown["counters"]["page"].is_object());
            for verdict in decoded.shown["verdicts"].as_array().expect("a list") {
                *labels.entry(verdict["label"].as_str().expect("a label").to_owned()).or_default() += 1;
            }
            serves_what_is_live(*seed, files, &decoded.live);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), seeds.len(), wrong.join("\n"));
    if first.is_none() {
        assert!(page_count > 20, "{page_count} stores have a page of counters");
        for label in
            ["S-TRUST", "S-SCAN", "S-SPARE", "S-NOLINK", "S-HOLE", "V-KEY", "V-NAMED", "V-OLDER", "V-TORN", "W-LIST"]
        {
            assert!(labels.contains_key(label), "no store shows {label}: {labels:?}");
        }
    }
}

/// A cache opened on these files serves live values or nothing (its index may drop keys, its budget segments), and nothing else.
fn serves_what_is_live(seed: u64, files: &Files, live: &std::collections::BTreeMap<Vec<u8>, (Vec<u8>, u32)>) {
    let disk = SimDisk::from_snapshot(seed, files);
    let clock = Arc::new(emberlog::ManualClock::new(store::START_UNIX_MS));
    let cache = builder(&clock, !seed).open_on(Arc::new(disk)).unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
    for number in 0..12 {
        let key = format!("key {number}");
        if let Some(found) = cache.get(&key) {
            let expected = live.get(key.as_bytes()).map(|(value, _)| value.as_slice());
            assert_eq!(Some(&*found), expected, "SEED={seed} '{key}'");
        }
    }
}
