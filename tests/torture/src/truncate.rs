//! Files cut short, or gone: whatever is missing, nothing older and nothing removed comes back.
//!
//! The cases are numbered: each length of each file, then pairs of files cut at record borders, then each one and two files gone; of a store whose
//! older segments are sealed, and of one that nobody came to seal.

use crate::fixture::{Fixture, Promise, Sealing, is_clear};
use crate::mode::Cases;
use crate::report::Tally;
use crate::runner::Options;
use crate::setup::named;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Truncate {
    fixtures: Vec<Fixture>,
    cases: Vec<Case>,
    runs: u64,
}

#[derive(Debug)]
struct Case {
    fixture: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Cut { file: String, len: u64 },
    TwoCut { older: String, older_len: u64, newer: String, newer_len: u64 },
    Gone { first: String, second: String },
}

impl Truncate {
    pub(crate) fn new(options: &Options) -> Self {
        let fixtures: Vec<Fixture> = [Sealing::Sealed, Sealing::Unsealed]
            .map(|sealing| Fixture::new(options.seed, 3, 3000, 40, 100, sealing))
            .into_iter()
            .collect();
        let mut cases = Vec::new();
        for (number, fixture) in fixtures.iter().enumerate() {
            let whats = cuts(fixture).chain(pairs(fixture, options.effort.of(7, 1))).chain(gone(fixture));
            cases.extend(whats.map(|what| Case { fixture: number, what }));
        }
        // All of them in the long form; in the quick one a sample that differs from seed to seed.
        let runs = options.effort.of(20_000, cases.len() as u64);
        Self { fixtures, cases, runs }
    }
}

/// Each file, cut at each byte.
fn cuts(fixture: &Fixture) -> impl Iterator<Item = What> {
    let files = fixture.disk.snapshot().into_iter();
    files.flat_map(|(file, bytes)| (0..=bytes.len() as u64).map(move |len| What::Cut { file: file.clone(), len }))
}

/// Each two segments, cut where batches and records begin and end.
fn pairs(fixture: &Fixture, step: usize) -> impl Iterator<Item = What> {
    let segments = fixture.segments();
    let ends: Vec<(String, Vec<u64>)> = segments
        .iter()
        .map(|name| (name.clone(), fixture.boundaries(name).into_iter().step_by(step).collect()))
        .collect();
    let mut whats = Vec::new();
    for (position, (older, older_lens)) in ends.iter().enumerate() {
        for (newer, newer_lens) in &ends[position + 1..] {
            for &older_len in older_lens {
                whats.extend(newer_lens.iter().map(|&newer_len| What::TwoCut {
                    older: older.clone(),
                    older_len,
                    newer: newer.clone(),
                    newer_len,
                }));
            }
        }
    }
    whats.into_iter()
}

/// Each file gone, and each two.
fn gone(fixture: &Fixture) -> impl Iterator<Item = What> {
    let names: Vec<String> = fixture.disk.snapshot().into_keys().collect();
    let twos = names.iter().flat_map(|first| names.iter().map(move |second| (first.clone(), second.clone())));
    twos.map(|(first, second)| What::Gone { first, second }).collect::<Vec<_>>().into_iter()
}

/// What holds when these files are cut or gone: the newest segment has the only mark of how far the log reached.
fn promise(fixture: &Fixture, names: &[&str]) -> Promise {
    if names.contains(&fixture.newest().as_str()) { Promise::Prefix } else { Promise::Covered }
}

impl Cases for Truncate {
    fn count(&self) -> Option<u64> {
        Some(self.cases.len() as u64)
    }

    fn runs(&self) -> u64 {
        self.runs
    }

    fn run(&self, case: u64, tally: &mut Tally) {
        let Case { fixture, what } = &self.cases[case as usize];
        let fixture = &self.fixtures[*fixture];
        let disk = fixture.copy();
        let cut = |name: &str, len: u64| disk.write_file(name, &fixture.disk.read_file(name)[..len as usize]);
        let (promise, identity_is_hit) = match what {
            What::Cut { file, len } => {
                cut(file, *len);
                (promise(fixture, &[file]), file == "identity")
            }
            What::TwoCut { older, older_len, newer, newer_len } => {
                cut(older, *older_len);
                cut(newer, *newer_len);
                (promise(fixture, &[older, newer]), false)
            }
            What::Gone { first, second } => {
                disk.remove_file(first);
                disk.remove_file(second);
                // While the spare stands behind it, it tells that there was a newest segment.
                let spare = fixture.segments().pop().expect("there is a segment");
                assert_ne!(spare, fixture.newest(), "there is a spare");
                let is_spare_gone = [first, second].contains(&&spare);
                let promise = if is_spare_gone { promise(fixture, &[first, second]) } else { Promise::Covered };
                (promise, [first, second].contains(&&"identity".to_owned()))
            }
        };
        named(&format!("{what:?}"), || match fixture.check(&disk, promise) {
            Ok(values) => tally.state(values),
            // Only the identity is beyond mending.
            Err(error) => {
                assert!(identity_is_hit && is_clear(&error), "{error}");
                tally.state(0);
            }
        });
    }
}
