//! The golden stores: how each came to be.
//!
//! Sound ones are written by the cache itself; torn and corrupt ones are sound ones with bytes changed as a crash or a medium would. Everything
//! follows from constants, so that each run makes the same bytes.

use crate::store::{Files, Store, batch_offsets, counters, flip, items, name, record_offsets, value, warm_list, zero};
use emberlog::EntryOptions;
use emberlog::disk::SimDisk;
use emberlog::format::counters::{CellState, PLACE_OFFSETS, PageHeader, RunState, SegmentCell};
use emberlog::format::identity::Identity;
use emberlog::format::names;
use emberlog::format::record::RecordHeader;
use emberlog::format::segment::{DATA_START, LINK_OFFSETS};
use emberlog::format::warm::{ENTRY_LEN, WarmHeader};
use std::time::Duration;

/// One golden store.
pub(crate) struct Case {
    /// `valid`, `torn`, `corrupt` or `future`.
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) files: Files,
    /// The verdicts' labels that the store is there for, all of them; empty for those that are refused.
    pub(crate) labels: &'static [&'static str],
    /// Keys that must be live, and keys that must not.
    pub(crate) live: &'static [&'static str],
    pub(crate) gone: &'static [&'static str],
}

const FRONT: std::ops::Range<usize> = LINK_OFFSETS[0] as usize..DATA_START as usize;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = valid();
    cases.extend(torn());
    cases.extend(corrupt());
    cases.extend(future());
    cases
}

fn case(
    group: &'static str,
    name: &'static str,
    files: Files,
    labels: &'static [&'static str],
    live: &'static [&'static str],
    gone: &'static [&'static str],
) -> Case {
    Case { group, name, files, labels, live, gone }
}

// -- what the cache writes

fn valid() -> Vec<Case> {
    vec![
        case("valid", "empty", Store::new(1).closed(), &["S-SPARE", "S-SCAN"], &[], &[]),
        case("valid", "basic", basic(), &["S-SPARE", "S-SCAN"], &["apple", "", "empty", "long"], &["pear"]),
        case("valid", "closed", closed(), &["S-TRUST", "S-SCAN"], &["apple", "plum"], &["pear"]),
        case(
            "valid",
            "sealed",
            sealed(),
            &["S-SPARE", "S-TRUST", "S-TRUST", "S-SCAN"],
            &["a", "b", "k1", "k8"],
            &["c"],
        ),
        case("valid", "expiry", expiry(), &["S-SPARE", "S-SCAN"], &["soon", "late", "ever"], &[]),
        case("valid", "clear", clear(), &["S-SPARE", "S-SCAN"], &["after"], &["before"]),
        case("valid", "reinserted", reinserted(), REINSERTED, &["hot"], &["k0"]),
        case("valid", "optional_feature", optional_feature(), &["S-SPARE", "S-SCAN"], &["apple"], &["pear"]),
        case("valid", "warm_list", warm(), &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]),
        case("valid", "counters", with_counters(), &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]),
        case("valid", "counters_foreign", with_foreign_counters(), &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]),
    ]
}

const REINSERTED: &[&str] = &["S-SPARE", "S-TRUST", "S-TRUST", "S-TRUST", "S-SCAN"];

/// One segment that is written to and a spare, as a kill leaves a store.
fn basic() -> Files {
    let store = Store::new(2);
    store.put("apple", b"red");
    store.put("pear", b"green");
    store.put("apple", b"a red fruit");
    store.put("", b"the empty key");
    store.put("empty", b"");
    store.put("long", &value("long value ", 700));
    store.cache.remove("pear");
    store.flush();
    store.files()
}

/// Closed and opened again: the first segment sealed, the second begun.
fn closed() -> Files {
    let disk = SimDisk::from_snapshot(3, &basic());
    let store = Store::on(disk, 3, |settings| settings);
    store.put("plum", b"blue");
    without_spare(store.closed())
}

/// Three segments, the first two sealed because they were full.
fn sealed() -> Files {
    let store = Store::new(4);
    store.put("c", b"soon gone");
    for round in 0..9 {
        store.put(&format!("k{round}"), &value(&format!("value {round} "), 15_000));
        store.put("a", format!("{round}").as_bytes());
        store.maintain();
    }
    store.put("b", b"last");
    store.cache.remove("c");
    store.maintain();
    store.flush();
    store.files()
}

fn expiry() -> Files {
    let store = Store::new(5);
    let put = |key: &str, seconds| {
        let options = EntryOptions::new().time_to_live(Duration::from_secs(seconds));
        assert!(store.cache.insert_with(key, key, options).disk.is_stored());
    };
    put("soon", 1);
    store.clock.advance(Duration::from_millis(2500));
    put("late", 365 * 86_400);
    store.put("ever", b"no end");
    store.flush();
    store.files()
}

fn clear() -> Files {
    let store = Store::new(6);
    store.put("before", b"1");
    store.cache.invalidate_all();
    store.put("after", b"2");
    store.flush();
    store.files()
}

/// The log went round in a small budget; what memory held was copied forward.
fn reinserted() -> Files {
    let disk = SimDisk::new(7);
    // Without the memory for a page of counters, which came later than this store.
    let store = Store::on(disk, 7, |settings| settings.disk_bytes(512 << 10).counters_page(false));
    store.put("hot", b"wanted all the time");
    for round in 0..40 {
        store.cache.get("hot");
        store.put(&format!("k{round}"), &value(&format!("filler {round} "), 15_000));
        store.maintain();
    }
    store.flush();
    let files = store.files();
    let is_reinserted = |number| {
        items(&files, number).iter().any(|item| {
            matches!(item, emberlog::log::scan::Item::Record { header: RecordHeader { reinserted: true, .. }, .. })
        })
    };
    let numbers = files.keys().filter_map(|name| name.strip_prefix("segment-")?.strip_suffix(".log")?.parse().ok());
    assert!(numbers.filter(|number| has_data(&files, *number)).any(is_reinserted), "something was copied forward");
    files
}

fn has_data(files: &Files, number: u32) -> bool {
    !record_offsets(files, number).is_empty()
}

fn optional_feature() -> Files {
    let mut files = basic();
    let identity = Identity::decode_file(&files["identity"]).expect("a sound identity");
    files.insert("identity".into(), Identity { optional_features: 1 << 63, ..identity }.encode_file());
    files
}

const WARM_LIVE: &[&str] = &["apple", "", "empty", "long"];

/// A list that names keys with a value, one that was removed, and one that never was.
fn warm() -> Files {
    let mut files = basic();
    let list = warm_list(&files, &[("long", 0), ("apple", 3), ("pear", 1), ("never", 2), ("", 1)]);
    files.insert(names::WARM.into(), list);
    files
}

/// Two pages of counters; the second is newer, and that of a process that has gone without closing.
fn with_counters() -> Files {
    let mut files = basic();
    let header = PageHeader {
        sequence: 41,
        written_unix_ms: 1_700_000_041_000,
        opened_unix_ms: 1_700_000_000_000,
        process_id: 4711,
        state: RunState::Open,
        text_len: 0,
        cell_count: 0,
    };
    let active = SegmentCell {
        first_number: 1,
        segment_count: 1,
        state: CellState::Active,
        charged_bytes: 73_792,
        data_bytes: 1_000,
        event_count: 6,
        live_count: 4,
    };
    let spare = SegmentCell { first_number: 2, state: CellState::Spare, event_count: 0, live_count: 0, ..active };
    let newer = PageHeader { sequence: 42, written_unix_ms: 1_700_000_042_000, ..header };
    let text = r#"{"crate_version":"0.1.0","stats":{"requests":{"hits":3,"misses":1}}}"#;
    let pages = [(header, r#"{"stats":{}}"#, &[active][..]), (newer, text, &[active, spare][..])];
    files.insert(names::COUNTERS.into(), counters(&files, &pages));
    files
}

/// A file of that name that somebody else made.
fn with_foreign_counters() -> Files {
    let mut files = basic();
    files.insert(names::COUNTERS.into(), b"3 apples, 1 pear\n".to_vec());
    files
}

/// Without the newest file, which holds nothing.
fn without_spare(mut files: Files) -> Files {
    let is_segment = |name: &&String| name.starts_with("segment-");
    let newest = files.keys().rfind(is_segment).expect("there are segments").clone();
    if files[&newest][FRONT].iter().all(|&byte| byte == 0) {
        files.remove(&newest);
    }
    files
}

// -- what crashes leave

/// One segment: `a`, `b`, `gone` durable in an older and `a` in a newer version; then events of which nobody was told that they are durable.
fn unsynced_tail() -> Files {
    let store = Store::new(10);
    store.put("a", b"1");
    store.put("b", b"1");
    store.put("gone", b"1");
    store.cache.remove("gone");
    store.flush();
    store.put("a", &value("two ", 600));
    store.put("b", b"2");
    store.put("c", b"2");
    without_spare(store.files())
}

/// Two unsealed segments, none of them synced but for the first events of the older one.
fn pair() -> Files {
    let store = Store::new(11);
    store.put("a", b"1");
    store.put("b", b"1");
    store.flush();
    for round in 0..5 {
        store.put(&format!("k{round}"), &value(&format!("value {round} "), 15_000));
    }
    store.put("a", b"2");
    without_spare(store.files())
}

fn torn() -> Vec<Case> {
    let tail = unsynced_tail();
    let last = |files: &Files, number| *record_offsets(files, number).last().expect("there are records");
    let mut cases = Vec::new();
    let mut add = |name, files, labels, live, gone| cases.push(case("torn", name, files, labels, live, gone));

    // The fifth record is the long one; its header is there, a sector of its payload is not.
    let mut files = tail.clone();
    let fifth = record_offsets(&files, 1)[4];
    let sector = (fifth + RecordHeader::LEN).next_multiple_of(512);
    zero(&mut files, &name(1), sector..sector + 512);
    add("tail_in_payload", files, &["S-SCAN", "V-CUT"], &["a", "b"], &["gone", "c"]);

    let mut files = tail.clone();
    let at = last(&files, 1);
    zero(&mut files, &name(1), at..at + 16);
    add("tail_in_header", files, &["S-SCAN", "V-TORN"], &["a", "b"], &["gone", "c"]);

    let mut files = tail.clone();
    let batches = batch_offsets(&files, 1, true);
    let lost = batches[batches.len() - 2];
    zero(&mut files, &name(1), lost..lost + 48);
    add("batch_missing", files, &["S-SCAN", "V-TORN"], &["a", "b"], &["gone", "c"]);

    let pair = pair();
    let mut files = pair.clone();
    let lost = last(&files, 1) - 48;
    let end = files[&name(1)].len();
    zero(&mut files, &name(1), lost..end);
    // Recovery cut the log in the first segment, sealed it there, and the second came back.
    let repaired = Store::on(SimDisk::from_snapshot(13, &files), 13, |settings| settings).closed();
    add("unsynced_segment_pair", files, &["S-SCAN", "V-TORN"], &["a", "b", "k0"], &["k3", "k4"]);
    let mut files = pair.clone();
    files.insert(name(1), repaired[&name(1)].clone());
    add("stale_leftover", files, &["S-STALE", "S-TRUST"], &["a", "b", "k0"], &["k3", "k4"]);

    let mut files = pair.clone();
    zero(&mut files, &name(2), FRONT);
    add("move_without_link", files, &["S-NOLINK", "S-SCAN"], &["a", "b", "k3"], &["k4"]);

    let mut files = pair;
    let end = files[&name(2)].len();
    zero(&mut files, &name(2), FRONT.start..end);
    let mut spare = Store::new(12).files();
    add("spare_only", std::mem::take(&mut files), &["S-SPARE", "S-SCAN"], &["a", "b", "k3"], &["k4"]);
    spare.retain(|file, _| *file != name(1));
    spare.insert("segment-0000000009.tmp".into(), vec![0; 100]);
    add("new_store_with_a_spare_only", spare, &["S-SPARE"], &[], &[]);

    // A kill while a list was written over: half of the new one beside the old one.
    let mut files = warm();
    let half = files[names::WARM][..WarmHeader::LEN + ENTRY_LEN].to_vec();
    files.insert(names::WARM_TEMPORARY.into(), half);
    add("warm_list_temporary", files, &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]);
    // A kill in the middle of a write: the page before is whole.
    let mut files = with_counters();
    zero(&mut files, names::COUNTERS, PLACE_OFFSETS[1] as usize + 80..PLACE_OFFSETS[1] as usize + 512);
    add("counters_torn", files, &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]);
    // A power cut before any page reached the medium.
    let mut files = with_counters();
    let end = files[names::COUNTERS].len();
    zero(&mut files, names::COUNTERS, PLACE_OFFSETS[0] as usize..end);
    add("counters_without_pages", files, &["S-SPARE", "S-SCAN"], WARM_LIVE, &["pear"]);
    cases
}

// -- what a medium does

/// Two sealed segments and an unsealed one, all durable; `old` is in the first, replaced in the second, `key` in all of them.
fn three() -> Files {
    let store = Store::new(20);
    for round in 0..9 {
        store.put(&format!("k{round}"), &value(&format!("value {round} "), 15_000));
        store.put("key", format!("version {round}").as_bytes());
        if round == 0 || round == 5 {
            store.put("old", format!("version {round}").as_bytes());
        }
        store.maintain();
    }
    store.flush();
    store.put("last", b"1");
    store.flush();
    without_spare(store.files())
}

/// Two unsealed segments, all durable.
fn two_unsealed() -> Files {
    let store = Store::new(21);
    store.put("key", b"version 1");
    store.put("other", b"version 1");
    for round in 0..4 {
        store.put(&format!("k{round}"), &value(&format!("value {round} "), 15_000));
    }
    store.put("key", b"version 2");
    store.flush();
    store.put("k4", &value("value 4 ", 15_000));
    store.put("late", b"1");
    without_spare(store.files())
}

/// The same new store, used in two ways.
fn two_histories() -> (Files, Files) {
    let mut new = Store::new(23).closed();
    new.retain(|name, _| name == "identity");
    let life = |seed| {
        let store = Store::on(SimDisk::from_snapshot(seed, &new), seed, |settings| settings);
        for round in 0..9 {
            store.put("key", format!("version {round} of {seed}").as_bytes());
            store.put(&format!("k{round}"), &value(&format!("value {round} of {seed} "), 15_000));
            store.maintain();
        }
        store.flush();
        without_spare(store.files())
    };
    (life(24), life(25))
}

fn corrupt() -> Vec<Case> {
    let three = three();
    let mut cases = Vec::new();
    let mut add = |name, files, labels, live, gone| cases.push(case("corrupt", name, files, labels, live, gone));

    let sealed = record_offsets(&three, 2);
    let mut files = three.clone();
    flip(&mut files, &name(2), sealed[0] + RecordHeader::LEN + 100);
    add("payload_flip_sealed", files, &["S-TRUST", "S-TRUST", "V-KEY", "S-SCAN"], &["key", "old", "last"], &["k4"]);
    let mut files = three.clone();
    flip(&mut files, &name(2), sealed[0] + 9);
    add("header_flip_sealed", files, &["S-TRUST", "S-TRUST", "V-NAMED", "S-SCAN"], &["key", "old", "last"], &["k4"]);
    let mut files = three.clone();
    let batch = batch_offsets(&files, 2, true)[0];
    flip(&mut files, &name(2), batch + 9);
    add("batch_flip_sealed", files, &["S-TRUST", "S-TRUST", "S-SCAN"], &["key", "old", "k4"], &[]);
    let mut files = three.clone();
    let tail = files[&name(2)].len() - 100;
    flip(&mut files, &name(2), tail);
    add("footer_flip", files, &["S-TRUST", "S-SCAN", "S-SCAN"], &["key", "old", "k0", "k4"], &[]);
    let mut files = three.clone();
    flip(&mut files, "identity", 40);
    add("identity_copy", files, &["S-TRUST", "S-TRUST", "S-SCAN"], &["key", "old", "k4"], &[]);
    let mut files = three.clone();
    flip(&mut files, &name(3), 20);
    add("header_copy", files, &["S-TRUST", "S-TRUST", "S-SCAN"], &["key", "old", "k4"], &[]);
    let mut files = three.clone();
    flip(&mut files, &name(3), FRONT.start + 60);
    add("link_copy", files, &["S-TRUST", "S-TRUST", "S-SCAN"], &["key", "old", "k4"], &[]);

    let mut files = three.clone();
    files.remove(&name(2));
    add("hole_middle", files, &["S-HOLE", "S-SCAN"], &["key", "last"], &["old", "k0"]);
    let mut files = three.clone();
    zero(&mut files, &name(2), 0..512);
    let end = files[&name(2)].len();
    zero(&mut files, &name(2), end - 160..end);
    add("hole_unreadable", files, &["S-HOLE", "S-SCAN"], &["key", "last"], &["old", "k0"]);
    let mut files = three.clone();
    zero(&mut files, &name(3), FRONT);
    add("nolink", files, &["S-NOLINK"], &["key", "last"], &["old", "k0"]);
    // Another history of the same store.
    let (before, after) = two_histories();
    let mut files = after;
    files.insert(name(1), before[&name(1)].clone());
    add("split", files, &["S-SPLIT", "S-TRUST", "S-SCAN"], &["key", "k4"], &["k0", "k1"]);
    let mut files = three.clone();
    files.insert(name(1), Store::new(22).files()[&name(1)].clone());
    add("other_store_segment", files, &["S-HOLE", "S-TRUST", "S-SCAN"], &["key", "old"], &["k0"]);

    let mut files = three.clone();
    let newest = record_offsets(&files, 3);
    flip(&mut files, &name(3), newest[0] + RecordHeader::LEN + 1);
    add("payload_flip_tail", files, &["S-TRUST", "S-TRUST", "S-SCAN", "V-KEY"], &["key", "old", "last"], &["k8"]);
    let mut files = three.clone();
    flip(&mut files, &name(3), newest[0] + 9);
    add("header_flip_tail", files, &["S-TRUST", "S-TRUST", "S-SCAN", "V-OLDER"], &["key", "last"], &["old", "k0"]);
    let mut files = three.clone();
    let void = batch_offsets(&files, 3, false)[0];
    flip(&mut files, &name(3), void + 9);
    add("void_batch", files, &["S-TRUST", "S-TRUST", "S-SCAN", "V-VOID"], &["key", "old", "k0", "last"], &[]);

    let mut files = unsynced_tail();
    let end = record_offsets(&files, 1)[4] + 100;
    files.get_mut(&name(1)).expect("there").truncate(end);
    add("file_cut_short", files, &["S-SCAN", "V-TORN"], &["a", "b"], &["gone", "c"]);

    // The newest segment is cut off, but what it says of durability makes the damage before it damage, not a torn tail.
    let two = two_unsealed();
    let lost = *record_offsets(&two, 1).last().expect("there are records");
    let mut files = two.clone();
    flip(&mut files, &name(1), lost + 9);
    zero(&mut files, &name(2), FRONT);
    add("nolink_and_damage_before", files, &["S-NOLINK", "S-SCAN", "V-OLDER"], &[], &["key", "other", "late"]);
    let mut files = two;
    files.get_mut(&name(1)).expect("there").truncate(lost - 48);
    zero(&mut files, &name(2), FRONT);
    add("nolink_and_end_missing", files, &["S-NOLINK", "S-SCAN", "V-OLDER"], &[], &["key", "other", "late"]);

    let mut files = warm();
    flip(&mut files, names::WARM, WarmHeader::LEN + ENTRY_LEN + 3);
    add("warm_list_flip", files, &["S-SPARE", "S-SCAN", "W-LIST"], WARM_LIVE, &["pear"]);
    cases
}

// -- what later versions write

fn future() -> Vec<Case> {
    let basic = without_spare(basic());
    let identity = Identity::decode_file(&basic["identity"]).expect("a sound identity");
    let with_identity = |identity: Identity| {
        let mut files = basic.clone();
        files.insert("identity".into(), identity.encode_file());
        files
    };
    let mut segment = basic.clone();
    let bytes = segment.get_mut(&name(1)).expect("there");
    for offset in [0, 256] {
        // The checksum follows from the page: seed, offset, bytes behind the checksum.
        bytes[offset + 44] = 2;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&identity.store_id);
        hasher.update(&(offset as u64).to_le_bytes());
        hasher.update(&bytes[offset + 4..offset + 96]);
        let checksum = hasher.finalize().to_le_bytes();
        bytes[offset..offset + 4].copy_from_slice(&checksum);
    }
    let later = with_identity(Identity { format_version: 2, ..identity.clone() });
    let feature = with_identity(Identity { required_features: 4, ..identity });
    vec![
        case("future", "identity_v2", later, &[], &[], &[]),
        case("future", "required_feature", feature, &[], &[], &[]),
        case("future", "segment_v2", segment, &[], &[], &[]),
    ]
}
