//! Bytes that rot: each key is its newest value or a miss, never older.

use crate::damage::{Fixture, Promise, Sealing};
use crate::support::{Rng, is_full, named};

/// A store small enough to flip each of its bits.
fn fixture(sealing: Sealing) -> Fixture {
    Fixture::new(1, 60, 24, if is_full() { 600 } else { 90 }, sealing)
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
    let fixture = fixture(Sealing::Sealed);
    let mut flips = 0;
    for (name, len) in used(&fixture) {
        let sound = fixture.disk.read_file(&name);
        for bit in 0..len.min(sound.len()) * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damage(&fixture, &format!("bit {} of byte {} flipped", bit % 8, bit / 8), &name, &bytes);
            flips += 1;
        }
    }
    assert!(flips > 50_000, "{flips} flips");
}
