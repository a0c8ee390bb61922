//! A small store made by the library, and ways to damage it.
//!
//! Invariant I-STORE-1: the stores are the same in every run: seeds, clock and order of requests are fixed. So an input that failed fails again.

use crate::forge;
use arbitrary::Arbitrary;
use emberlog::disk::{Disk, SimDisk};
use emberlog::log::scan::Depth;
use emberlog::recovery::survey::{Survey, Visitor};
use emberlog::{Cache, Durability, Maintenance, ManualClock};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys are below this.
pub const KEY_COUNT: u16 = 40;
/// Versions of a key are below this.
const VERSION_COUNT: u16 = 4;

/// Files, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A store as it lay on disk.
#[derive(Debug)]
pub struct Store {
    /// Its files.
    pub files: Files,
    /// The newest version of each key; a key that is not here was removed, or all were.
    pub newest: BTreeMap<u16, u16>,
    /// Name of the newest segment.
    pub newest_segment: String,
}

/// The value of a key in a version.
pub fn value_of(key: u16, version: u16) -> Vec<u8> {
    let len = 20 + usize::from(key * 37 + version * 101) % 1500;
    let mut value = vec![(key * 7 + version) as u8; len];
    value[..2].copy_from_slice(&key.to_le_bytes());
    value[2..4].copy_from_slice(&version.to_le_bytes());
    value
}

/// Opens a store on a disk, with room for more than it holds.
pub fn open(disk: &SimDisk) -> Result<Cache, emberlog::Error> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Cache::builder()
        .memory_bytes(2 << 20)
        .disk_bytes(8 << 20)
        .segment_len_bytes(64 << 10)
        .append_buffer_bytes(16 << 10)
        .shards(1)
        .durability(Durability::Buffered)
        .maintenance(Maintenance::Manual)
        .clock(ManualClock::new(1_700_000_000_000))
        .random_seed(3)
        .open_on(disk)
}

/// The stores: closed in order; killed; killed after a flush and some more inserts, with an `invalidate_all` in the past.
pub fn stores() -> &'static [Store; 3] {
    static STORES: OnceLock<[Store; 3]> = OnceLock::new();
    STORES.get_or_init(|| [0, 1, 2].map(make))
}

fn make(variant: u16) -> Store {
    let disk = SimDisk::new(5);
    let cache = open(&disk).expect("an empty disk");
    let mut newest = BTreeMap::new();
    for version in 0..VERSION_COUNT {
        for key in 0..KEY_COUNT {
            if (key + version) % 11 == 3 {
                cache.remove(key.to_le_bytes());
                newest.remove(&key);
            } else {
                cache.insert(key.to_le_bytes(), value_of(key, version));
                newest.insert(key, version);
            }
        }
        if version == 1 && variant == 2 {
            cache.invalidate_all();
            newest.clear();
        }
        while cache.maintain(Default::default()).expect("the disk works").more {}
    }
    match variant {
        0 => cache.close().expect("the disk works"),
        _ => cache.flush().expect("the disk works"),
    }
    if variant == 2 {
        // Behind the last mark: the tail of a crash.
        for key in 0..10u16 {
            cache.insert(key.to_le_bytes(), value_of(key, VERSION_COUNT - 1));
            newest.insert(key, VERSION_COUNT - 1);
        }
        while cache.maintain(Default::default()).expect("the disk works").more {}
    }
    let files: Files = disk.snapshot().into_iter().filter(|(name, _)| name != "lock").collect();
    let newest_segment = files.keys().next_back().expect("segments").clone();
    Store { files, newest, newest_segment }
}

/// A way to damage files. Files are chosen by number, places as a share of the file, so that most inputs hit something.
#[derive(Debug, Clone, Arbitrary)]
pub enum Mutation {
    /// Flips one bit.
    Flip { file: u8, place: u16, bit: u8 },
    /// Writes over some bytes.
    Overwrite { file: u8, place: u16, bytes: [u8; 8], len: u8 },
    /// Writes zeros over up to 16 pages.
    Zero { file: u8, page: u8, page_count: u8 },
    /// Cuts a file.
    Truncate { file: u8, place: u16 },
    /// Adds bytes to a file.
    Extend { file: u8, bytes: Vec<u8> },
    /// Takes a file away.
    Delete { file: u8 },
    /// A file under one more number.
    Duplicate { file: u8, number: u8 },
    /// Two files under each other's names.
    Swap { file: u8, other: u8 },
    /// Bytes of one file in another, at the same place or any.
    Splice { file: u8, source: u8, place: u16, source_place: Option<u16>, len: u16 },
    /// Changes a structure and makes its checksum good again: the `which`th place where one of its kind stands.
    Forge { file: u8, kind: u8, which: u8, field_offset: u8, bytes: [u8; 8], len: u8 },
    /// A file that was never finished, or is not ours.
    Stray { name: u8, bytes: Vec<u8> },
    /// A warm list: of these bytes alone, or with a header that verifies before them, and perhaps the right checksum of them.
    Warm { bytes: Vec<u8>, header: Option<ForgedWarm> },
}

/// Fields of a warm list's header. What is `None` is as a writer would have it.
#[derive(Debug, Clone, Arbitrary)]
pub struct ForgedWarm {
    version: Option<u32>,
    entries_crc: Option<u32>,
    features: Option<u64>,
    entry_count: Option<u64>,
    /// Whether the entries name keys that the store has.
    names_keys: bool,
}

impl ForgedWarm {
    fn encode(&self, files: &Files, bytes: &[u8]) -> Vec<u8> {
        let id = store_id(files);
        let salt =
            files.get("identity").and_then(|bytes| bytes.get(48..56)?.try_into().ok()).map_or(0, u64::from_le_bytes);
        let mut entries = bytes.to_vec();
        if self.names_keys {
            for entry in entries.as_chunks_mut::<12>().0 {
                let key = u16::from(entry[0]) % KEY_COUNT;
                entry[..8].copy_from_slice(&xxh3_64_with_seed(&key.to_le_bytes(), salt).to_le_bytes());
            }
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&id);
        hasher.update(&64u64.to_le_bytes());
        hasher.update(&entries);
        let mut header = [0; 64];
        header[4..8].copy_from_slice(b"EWRM");
        header[8..12].copy_from_slice(&self.version.unwrap_or(1).to_le_bytes());
        header[12..16].copy_from_slice(&self.entries_crc.unwrap_or(hasher.finalize()).to_le_bytes());
        header[16..24].copy_from_slice(&self.features.unwrap_or(0).to_le_bytes());
        header[24..40].copy_from_slice(&id);
        header[40..48].copy_from_slice(&self.entry_count.unwrap_or(entries.len() as u64 / 12).to_le_bytes());
        forge::seal(id, 0, &mut header);
        [header.as_slice(), &entries].concat()
    }
}

impl Mutation {
    /// Whether this is what a medium does by itself: a bit that changed.
    pub fn is_flip(&self) -> bool {
        matches!(self, Self::Flip { .. })
    }

    /// Whether it makes up structures that verify, which no accident does.
    pub fn is_forgery(&self) -> bool {
        matches!(self, Self::Forge { .. } | Self::Warm { header: Some(_), .. })
    }

    /// Whether it touches the warm list alone, which decides nothing.
    pub fn is_warm(&self) -> bool {
        matches!(self, Self::Warm { .. })
    }

    /// The file that it damages, if one alone.
    pub fn file<'a>(&self, files: &'a Files) -> Option<&'a String> {
        match self {
            Self::Flip { file, .. } => files.keys().nth(usize::from(*file) % files.len().max(1)),
            _ => None,
        }
    }

    /// Carries it out.
    pub fn apply(&self, files: &mut Files) {
        let name = |files: &Files, index: u8| files.keys().nth(usize::from(index) % files.len().max(1)).cloned();
        match self {
            Self::Flip { file, place, bit } => change(files, *file, |bytes| {
                let at = scale(*place, bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }),
            Self::Overwrite { file, place, bytes: new, len } => change(files, *file, |bytes| {
                let at = scale(*place, bytes.len());
                for (byte, new) in bytes.iter_mut().skip(at).zip(&new[..usize::from(*len) % 9]) {
                    *byte = *new;
                }
            }),
            Self::Zero { file, page, page_count } => change(files, *file, |bytes| {
                let start = (usize::from(*page) * 4096).min(bytes.len());
                let end = (start + usize::from(*page_count % 16) * 4096).min(bytes.len());
                bytes[start..end].fill(0);
            }),
            Self::Truncate { file, place } => change(files, *file, |bytes| {
                let len = scale(*place, bytes.len());
                bytes.truncate(len);
            }),
            Self::Extend { file, bytes: new } => change(files, *file, |bytes| bytes.extend_from_slice(new)),
            Self::Delete { file } => {
                if let Some(name) = name(files, *file) {
                    files.remove(&name);
                }
            }
            Self::Duplicate { file, number } => {
                if let Some(bytes) = name(files, *file).and_then(|name| files.get(&name).cloned()) {
                    files.insert(format!("segment-{number:010}.log"), bytes);
                }
            }
            Self::Swap { file, other } => {
                let (Some(one), Some(two)) = (name(files, *file), name(files, *other)) else { return };
                let (Some(first), Some(second)) = (files.get(&one).cloned(), files.get(&two).cloned()) else { return };
                files.insert(one, second);
                files.insert(two, first);
            }
            Self::Splice { file, source, place, source_place, len } => {
                let Some(source) = name(files, *source).and_then(|name| files.get(&name).cloned()) else { return };
                change(files, *file, |bytes| {
                    let at = scale(*place, bytes.len());
                    let from = source_place.map_or(at, |place| scale(place, source.len())).min(source.len());
                    for (byte, new) in bytes.iter_mut().skip(at).zip(&source[from..]).take(usize::from(*len)) {
                        *byte = *new;
                    }
                });
            }
            Self::Forge { file, kind, which, field_offset, bytes: new, len } => {
                let id = store_id(files);
                change(files, *file, |bytes| {
                    let (magic, structure_len): (&[u8], usize) = match kind % 4 {
                        0 => (b"ESEG", 96),
                        1 => (b"EBAT", 48),
                        2 => (b"EFTR", 160),
                        _ => (b"EMBERLOG", 96),
                    };
                    let places: Vec<usize> = (0..bytes.len().saturating_sub(structure_len))
                        .step_by(16)
                        .chain(bytes.len().checked_sub(structure_len))
                        .filter(|&at| bytes[at + 4..].starts_with(magic))
                        .collect();
                    let Some(&at) = places.get(usize::from(*which) % places.len().max(1)) else { return };
                    let uid: [u8; 16] = bytes[8..24].try_into().expect("sixteen bytes");
                    let seed = match kind % 4 {
                        0 | 2 => id,
                        1 => uid,
                        _ => [0; 16],
                    };
                    let structure = &mut bytes[at..at + structure_len];
                    let field = 4 + usize::from(*field_offset) % (structure_len - 4);
                    for (byte, new) in structure[field..].iter_mut().zip(&new[..usize::from(*len) % 9]) {
                        *byte = *new;
                    }
                    forge::seal(seed, at as u64, structure);
                });
            }
            Self::Stray { name, bytes } => {
                let name = match name % 8 {
                    0 => "identity.tmp".into(),
                    1 => format!("segment-{name:010}.tmp"),
                    2 => "segment-1.log".into(),
                    3 => format!("segment-{name:010}.log"),
                    4 => "warm.tmp".into(),
                    5 => "counters.tmp".into(),
                    6 => "counters".into(),
                    _ => "precious".into(),
                };
                files.insert(name, bytes.clone());
            }
            Self::Warm { bytes, header } => {
                let list = header.as_ref().map_or_else(|| bytes.clone(), |header| header.encode(files, bytes));
                files.insert("warm".into(), list);
            }
        }
    }
}

fn store_id(files: &Files) -> [u8; 16] {
    let bytes = files.get("identity").and_then(|bytes| bytes.get(32..48));
    bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

fn change(files: &mut Files, file: u8, change: impl FnOnce(&mut Vec<u8>)) {
    let index = usize::from(file) % files.len().max(1);
    if let Some(bytes) = files.values_mut().nth(index) {
        change(bytes);
    }
}

fn scale(place: u16, len: usize) -> usize {
    usize::from(place) * len / 65_536
}

/// What a survey tells, counted.
#[derive(Debug, Default)]
pub struct Told {
    /// Events.
    pub event_count: u64,
}

impl Visitor for Told {
    fn put(&mut self, _key_hash: u64, _offset: u32) {
        self.event_count += 1;
    }
    fn tombstone(&mut self, _key_hash: u64) {
        self.event_count += 1;
    }
    fn clear(&mut self) {
        self.event_count += 1;
    }
}

/// Surveys damaged files. Panics if that takes more than the files' bytes allow.
pub fn survey(files: &Files) {
    let disk = SimDisk::from_snapshot(1, files);
    let bytes: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    for depth in [Depth::Headers, Depth::Payloads] {
        let mut told = Told::default();
        if let Ok(survey) = Survey::read(&disk, depth, None, &mut told) {
            // The smallest event is an entry of a footer: 12 bytes.
            assert!(told.event_count <= bytes / 12, "{} events in {bytes} bytes", told.event_count);
            assert!(survey.findings.len() as u64 <= survey.finding_count);
        }
    }
    assert_eq!(&disk.snapshot(), files, "a survey changes nothing");
}

/// What is served, key by key. Panics on a value that was never inserted for its key.
pub fn served(cache: &Cache) -> BTreeMap<u16, u16> {
    let mut served = BTreeMap::new();
    for key in 0..KEY_COUNT {
        let Some(value) = cache.peek(key.to_le_bytes()) else { continue };
        assert!(value.len() >= 4, "key {key}: {} bytes that nobody inserted", value.len());
        let version = u16::from_le_bytes([value[2], value[3]]);
        assert!(version < VERSION_COUNT && value == value_of(key, version), "key {key}: bytes that nobody inserted");
        served.insert(key, version);
    }
    served
}
