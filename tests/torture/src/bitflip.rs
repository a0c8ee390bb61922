//! Bytes that rot: each key is its newest value or a miss, never older.
//!
//! The cases are numbered: every bit of a store that recovery mended, every byte of two others cleared and set, and every page of those filled, and
//! copied over and swapped with others.

use crate::fixture::{Fixture, Promise, Sealing, is_clear};
use crate::mode::{Cases, Effort};
use crate::report::Tally;
use crate::runner::Options;
use crate::setup::named;
use std::collections::BTreeMap;

const PAGE_LEN: usize = 4096;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Bitflip {
    /// The first is for bits, two are for bytes, and two for pages.
    stores: Vec<Store>,
    runs: u64,
}

/// A store, and how its damages are numbered.
#[derive(Debug)]
struct Store {
    fixture: Fixture,
    kind: Kind,
    files: BTreeMap<String, Vec<u8>>,
    /// Files with how many of their bytes are worth damaging: behind them there are only zeros.
    used: Vec<(String, usize)>,
    /// Pages of all files but the lock: name and number.
    pages: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    Bytes,
    Pages,
}

impl Bitflip {
    pub(crate) fn new(options: &Options) -> Self {
        let store = |kind, segments, value_len_max, keys, events, sealing| {
            Store::new(kind, Fixture::new(options.seed, segments, value_len_max, keys, events, sealing))
        };
        // In the long form a store of a MiB.
        let bits = match options.effort {
            Effort::Quick => store(Kind::Bits, 1, 60, 24, 90, Sealing::Recovered),
            Effort::Long => store(Kind::Bits, 1, 3000, 40, 700, Sealing::Recovered),
        };
        let mut stores = vec![bits];
        for sealing in [Sealing::Sealed, Sealing::Unsealed] {
            stores.push(store(Kind::Bytes, 2, 1500, 24, 60, sealing));
            stores.push(store(Kind::Pages, 3, 3000, 40, 100, sealing));
        }
        let all: u64 = stores.iter().map(Store::case_count).sum();
        Self { stores, runs: options.effort.of(60_000, all) }
    }
}

impl Store {
    fn new(kind: Kind, fixture: Fixture) -> Self {
        let files = fixture.disk.snapshot();
        let used: Vec<(String, usize)> = files
            .iter()
            .map(|(name, bytes)| {
                let last = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 64);
                (name.clone(), last.min(bytes.len()))
            })
            .collect();
        let pages = used.iter().filter(|(name, _)| name != "lock");
        let pages = pages.flat_map(|(name, len)| (0..len.div_ceil(PAGE_LEN)).map(move |page| (name.clone(), page)));
        let pages = pages.collect();
        Self { fixture, kind, files, used, pages }
    }

    fn case_count(&self) -> u64 {
        let byte_count: usize = self.used.iter().map(|(_, len)| len).sum();
        let page_count = self.pages.len();
        let count = match self.kind {
            Kind::Bits => byte_count * 8,
            Kind::Bytes => byte_count * 2,
            Kind::Pages => page_count * (2 + 2 * page_count),
        };
        count as u64
    }

    /// The file and the place of the byte with this number.
    fn byte(&self, mut number: usize) -> (&str, usize) {
        for (name, len) in &self.used {
            if number < *len {
                return (name, number);
            }
            number -= len;
        }
        unreachable!("cases are numbered by the bytes that there are")
    }

    fn run(&self, case: usize, tally: &mut Tally) {
        match self.kind {
            Kind::Bits => {
                let (name, at) = self.byte(case / 8);
                let mut bytes = self.files[name].clone();
                bytes[at] ^= 1 << (case % 8);
                self.damaged(&format!("bit {} of byte {at} of {name} flipped", case % 8), name, &bytes, tally);
            }
            Kind::Bytes => {
                let (name, at) = self.byte(case / 2);
                let byte = [0, 0xFF][case % 2];
                let mut bytes = self.files[name].clone();
                bytes[at] = byte;
                self.damaged(&format!("byte {at} of {name} made {byte}"), name, &bytes, tally);
            }
            Kind::Pages => self.run_page(case, tally),
        }
    }

    fn damaged(&self, what: &str, name: &str, bytes: &[u8], tally: &mut Tally) {
        named(what, || {
            let disk = self.fixture.copy();
            disk.write_file(name, bytes);
            let outcome = self.fixture.check_once(&disk, Promise::Covered);
            tally.state(outcome.expect("there are two identities, and the rest is mended").0);
        });
    }

    fn run_page(&self, case: usize, tally: &mut Tally) {
        let each = 2 + 2 * self.pages.len();
        let (name, page) = &self.pages[case / each];
        let bytes = &self.files[name];
        let range = page_range(bytes, *page);
        let mut files = BTreeMap::from([(name.clone(), bytes.clone())]);
        let (what, other_name) = match case % each {
            fill @ 0..2 => {
                files.get_mut(name).expect("just put")[range].fill([0, 0xFF][fill]);
                (format!("page {page} of {name} filled with {}", [0, 0xFF][fill]), name)
            }
            kind => {
                let (other_name, other) = &self.pages[(kind - 2) / 2];
                let source = &self.files[other_name][page_range(&self.files[other_name], *other)];
                let len = source.len().min(range.len());
                files.get_mut(name).expect("just put")[range.start..range.start + len].copy_from_slice(&source[..len]);
                if kind % 2 == 0 {
                    (format!("page {page} of {name} holds page {other} of {other_name}"), name)
                } else {
                    let entry = files.entry(other_name.clone()).or_insert_with(|| self.files[other_name].clone());
                    let target = page_range(entry, *other).start;
                    entry[target..target + len].copy_from_slice(&bytes[range.start..range.start + len]);
                    (format!("page {page} of {name} swapped with page {other} of {other_name}"), other_name)
                }
            }
        };
        self.pages_damaged(&what, &files, &[name, other_name], tally);
    }

    /// Checks a store with other files. The last pages of the newest segment hold the only mark of how far the log reached; the first page of the
    /// identity holds one of two copies, and both may not be lost at once.
    fn pages_damaged(&self, what: &str, files: &BTreeMap<String, Vec<u8>>, touched: &[&str], tally: &mut Tally) {
        named(what, || {
            let disk = self.fixture.copy();
            for (name, bytes) in files {
                disk.write_file(name, bytes);
            }
            let is_newest = touched.contains(&self.fixture.newest().as_str());
            let promise = if is_newest { Promise::Prefix } else { Promise::Covered };
            match self.fixture.check(&disk, promise) {
                Ok(values) => tally.state(values),
                Err(error) => {
                    assert!(touched.contains(&"identity") && is_clear(&error), "{error}");
                    tally.state(0);
                }
            }
        });
    }
}

fn page_range(bytes: &[u8], page: usize) -> std::ops::Range<usize> {
    (page * PAGE_LEN).min(bytes.len())..((page + 1) * PAGE_LEN).min(bytes.len())
}

impl Cases for Bitflip {
    fn count(&self) -> Option<u64> {
        Some(self.stores.iter().map(Store::case_count).sum())
    }

    fn runs(&self) -> u64 {
        self.runs
    }

    fn run(&self, mut case: u64, tally: &mut Tally) {
        for store in &self.stores {
            if case < store.case_count() {
                return store.run(case as usize, tally);
            }
            case -= store.case_count();
        }
    }
}
