//! Bytes that rot: each key is its newest value or a miss, never older.

use crate::damage::{Fixture, Promise, Sealing, is_clear};
use crate::support::{is_full, named};
use std::collections::BTreeMap;

/// A store small enough to flip each of its bits.
fn fixture() -> Fixture {
    Fixture::new(1, 60, 24, if is_full() { 600 } else { 90 }, Sealing::Recovered)
}

/// Names of the files, and how many of their bytes are worth damaging: behind them there are only zeros.
fn used(fixture: &Fixture) -> Vec<(String, usize)> {
    let files = fixture.disk.snapshot().into_iter();
    files.map(|(name, bytes)| (name, bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 64))).collect()
}

fn damage(fixture: &Fixture, what: &str, name: &str, bytes: &[u8]) {
    named(&format!("{name}: {what}"), || {
        let disk = fixture.copy();
        disk.write_file(name, bytes);
        fixture.check_once(&disk, Promise::Covered).expect("there are two identities, and the rest is mended");
    });
}

#[test]
fn any_single_bit_flipped_loses_and_never_brings_back() {
    let fixture = fixture();
    let mut flips = 0;
    for (name, len) in used(&fixture) {
        let sound = fixture.disk.read_file(&name);
        // Between and behind the copies of the identity there is nothing but zeros.
        let is_blank = |byte: usize| name == "identity" && byte % 4096 > 128;
        for bit in (0..len.min(sound.len()) * 8).filter(|bit| !is_blank(bit / 8)) {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damage(&fixture, &format!("bit {} of byte {} flipped", bit % 8, bit / 8), &name, &bytes);
            flips += 1;
        }
    }
    assert!(flips > 40_000, "{flips} flips");
}

#[test]
fn any_byte_cleared_or_set_loses_and_never_brings_back() {
    for sealing in [Sealing::Sealed, Sealing::Unsealed] {
        let fixture = Fixture::new(2, 1500, 24, 60, sealing);
        for (name, len) in used(&fixture) {
            let sound = fixture.disk.read_file(&name);
            let step = if is_full() { 1 } else { 97 };
            for at in (0..len.min(sound.len())).step_by(step) {
                for byte in [0, 0xFF] {
                    let mut bytes = sound.clone();
                    bytes[at] = byte;
                    damage(&fixture, &format!("byte {at} made {byte}"), &name, &bytes);
                }
            }
        }
    }
}

const PAGE_LEN: usize = 4096;

/// Pages of all files: name and number.
fn pages(fixture: &Fixture) -> Vec<(String, usize)> {
    let used = used(fixture).into_iter().filter(|(name, _)| name != "lock");
    used.flat_map(|(name, len)| (0..len.div_ceil(PAGE_LEN)).map(move |page| (name.clone(), page))).collect()
}

fn page_range(bytes: &[u8], page: usize) -> std::ops::Range<usize> {
    (page * PAGE_LEN).min(bytes.len())..((page + 1) * PAGE_LEN).min(bytes.len())
}

/// Checks a store with other files. The last pages of the newest segment hold the only mark of how far the log reached, the identity's first both
/// may not be lost at once.
fn damage_files(fixture: &Fixture, what: &str, files: &BTreeMap<String, Vec<u8>>, touched: &[&str]) {
    named(what, || {
        let disk = fixture.copy();
        for (name, bytes) in files {
            disk.write_file(name, bytes);
        }
        let promise = if touched.contains(&fixture.newest().as_str()) { Promise::Prefix } else { Promise::Covered };
        match fixture.check(&disk, promise) {
            Ok(_) => {}
            Err(error) => assert!(touched.contains(&"identity") && is_clear(&error), "{error}"),
        }
    });
}

#[test]
fn any_page_zeroed_swapped_or_duplicated_loses_and_never_brings_back() {
    for sealing in [Sealing::Sealed, Sealing::Unsealed] {
        let fixture = Fixture::new(3, 3000, 40, 100, sealing);
        let sound = fixture.disk.snapshot();
        let pages = pages(&fixture);
        for (position, (name, page)) in pages.iter().enumerate() {
            let bytes = &sound[name];
            let range = page_range(bytes, *page);
            for fill in [0, 0xFF] {
                let mut bytes = bytes.clone();
                bytes[range.clone()].fill(fill);
                let files = BTreeMap::from([(name.clone(), bytes)]);
                damage_files(&fixture, &format!("page {page} of {name} filled with {fill}"), &files, &[name]);
            }
            for (other_name, other) in pages.iter().skip(position % 3).step_by(if is_full() { 1 } else { 3 }) {
                let source = &sound[other_name][page_range(&sound[other_name], *other)];
                let len = source.len().min(range.len());
                let mut files = BTreeMap::from([(name.clone(), bytes.clone())]);
                files.get_mut(name).expect("just put")[range.start..range.start + len].copy_from_slice(&source[..len]);
                let what = format!("page {page} of {name} holds page {other} of {other_name}");
                damage_files(&fixture, &what, &files, &[name]);
                let entry = files.entry(other_name.clone()).or_insert_with(|| sound[other_name].clone());
                let target = page_range(entry, *other).start;
                entry[target..target + len].copy_from_slice(&bytes[range.start..range.start + len]);
                let what = format!("page {page} of {name} swapped with page {other} of {other_name}");
                damage_files(&fixture, &what, &files, &[name, other_name]);
            }
        }
    }
}
