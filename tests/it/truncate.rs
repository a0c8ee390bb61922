//! Files cut short, or gone: whatever is missing, nothing older and nothing removed comes back.

use crate::damage::{Fixture, Promise, Sealing, is_clear};
use crate::support::{is_full, named};
use std::collections::BTreeSet;

fn fixtures() -> [Fixture; 2] {
    [Sealing::Sealed, Sealing::Unsealed].map(|sealing| Fixture::new(3, 3000, 40, 100, sealing))
}

/// What holds when these files are cut or gone.
fn promise(fixture: &Fixture, names: &[&str]) -> Promise {
    if names.contains(&fixture.newest().as_str()) { Promise::Prefix } else { Promise::Covered }
}

/// Cuts one file at each of `lens` and checks what is left of the store.
fn cut(fixture: &Fixture, name: &str, lens: impl IntoIterator<Item = u64>) {
    let bytes = fixture.disk.read_file(name);
    let promise = promise(fixture, &[name]);
    for len in lens {
        named(&format!("{name} of {} bytes cut to {len}", bytes.len()), || {
            let disk = fixture.copy();
            disk.write_file(name, &bytes[..len as usize]);
            match fixture.check(&disk, promise) {
                Ok(_) => {}
                // Only the identity is beyond mending.
                Err(error) => assert!(name == "identity" && is_clear(&error), "{error}"),
            }
        });
    }
}

#[test]
fn a_file_cut_at_any_byte_loses_and_never_brings_back() {
    for fixture in fixtures() {
        let len = |name: &str| fixture.disk.read_file(name).len() as u64;
        for name in fixture.segments() {
            let near = |at: u64| [at.saturating_sub(1), at, at + 1];
            let mut lens: BTreeSet<u64> = fixture.boundaries(&name).into_iter().flat_map(near).collect();
            lens.extend((0..len(&name)).step_by(if is_full() { 1 } else { 61 }));
            cut(&fixture, &name, lens.into_iter().filter(|&at| at <= len(&name)));
        }
        cut(&fixture, "identity", (0..len("identity")).step_by(if is_full() { 1 } else { 31 }));
        cut(&fixture, "lock", 0..len("lock"));
    }
}

#[test]
fn any_two_files_cut_at_record_boundaries_lose_and_never_bring_back() {
    for fixture in fixtures() {
        let segments = fixture.segments();
        for (position, older) in segments.iter().enumerate() {
            for newer in &segments[position + 1..] {
                let promise = promise(&fixture, &[older, newer]);
                let step = if is_full() { 1 } else { 7 };
                let (in_older, in_newer) = (fixture.boundaries(older), fixture.boundaries(newer));
                for &first in in_older.iter().step_by(step) {
                    for &second in in_newer.iter().step_by(step) {
                        named(&format!("{older} cut to {first}, {newer} to {second}"), || {
                            let disk = fixture.copy();
                            disk.write_file(older, &fixture.disk.read_file(older)[..first as usize]);
                            disk.write_file(newer, &fixture.disk.read_file(newer)[..second as usize]);
                            fixture.check(&disk, promise).expect("the identity is sound");
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn any_file_or_two_gone_lose_and_never_bring_back() {
    for fixture in fixtures() {
        let names: Vec<String> = fixture.disk.snapshot().into_keys().collect();
        for first in &names {
            for second in &names {
                let disk = fixture.copy();
                disk.remove_file(first);
                disk.remove_file(second);
                // While the spare stands behind it, it tells that there was a newest segment.
                let spare = fixture.segments().pop().expect("there is a segment");
                assert_ne!(spare, fixture.newest(), "there is a spare");
                let is_spare_gone = [first, second].contains(&&spare);
                let promise = if is_spare_gone { promise(&fixture, &[first, second]) } else { Promise::Covered };
                named(&format!("without {first} and {second}"), || match fixture.check(&disk, promise) {
                    Ok(_) => {}
                    Err(error) => {
                        assert!([first, second].contains(&&"identity".to_owned()) && is_clear(&error), "{error}")
                    }
                });
            }
        }
    }
}
