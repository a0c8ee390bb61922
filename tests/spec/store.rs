//! Small stores as plain bytes: made through the public API, damaged, written to a directory.

use emberlog::disk::{Access, Disk as _, SimDisk};
use emberlog::format::counters::{CountersHead, FILE_LEN, PageHeader, SegmentCell};
use emberlog::format::footer::FooterTail;
use emberlog::format::identity::Identity;
use emberlog::format::segment::SegmentHeader;
use emberlog::format::warm::{WarmEntry, WarmHeader};
use emberlog::log::scan::{self, Depth, Item};
use emberlog::{Builder, Cache, Durability, Maintenance, MaintenanceBudget, ManualClock};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The files of a store by name, without the lock.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) const START_UNIX_MS: u64 = 1_700_000_000_000;

/// A cache on a simulated disk.
pub(crate) struct Store {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cache: Cache,
}

/// Settings under which the same calls give the same files, bit for bit, on every machine.
pub(crate) fn builder(clock: &Arc<ManualClock>, random_seed: u64) -> Builder {
    Cache::builder()
        // What the golden stores were made with, and what statistics have taken of it since: what memory holds decides what is appended again.
        .memory_bytes((1 << 20) + 20_232)
        .sample_one_in(0)
        .disk_bytes(1 << 20)
        .disk_index_bytes(16 << 10)
        .append_buffer_bytes(96 << 10)
        .segment_len_bytes(64 << 10)
        .shards(1)
        .durability(Durability::Written)
        .maintenance(Maintenance::Manual)
        .shared_clock(Arc::<ManualClock>::clone(clock))
        .random_seed(random_seed)
}

impl Store {
    /// A new store.
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(SimDisk::new(seed), seed, |builder| builder)
    }

    /// A store on this disk.
    pub(crate) fn on(disk: SimDisk, seed: u64, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        let cache = settings(builder(&clock, seed)).open_on(Arc::new(disk.clone())).expect("a sound disk opens");
        Self { disk, clock, cache }
    }

    pub(crate) fn put(&self, key: &str, value: &[u8]) {
        assert!(self.cache.insert(key, value).disk.is_stored(), "{key} goes to the log");
    }

    pub(crate) fn flush(&self) {
        self.cache.flush().expect("a sound disk is flushed");
    }

    pub(crate) fn maintain(&self) {
        let budget = MaintenanceBudget { steps_max: 1000, ..MaintenanceBudget::default() };
        self.cache.maintain(budget).expect("a sound disk is maintained");
    }

    /// The files as a kill would leave them now.
    pub(crate) fn files(&self) -> Files {
        files_of(&self.disk)
    }

    /// The files after a clean close.
    pub(crate) fn closed(self) -> Files {
        self.cache.close().expect("a sound disk is closed");
        files_of(&self.disk)
    }
}

/// All files of a disk but the lock, which names a process.
pub(crate) fn files_of(disk: &SimDisk) -> Files {
    let mut files = disk.snapshot();
    files.remove("lock");
    files
}

/// A value of this length that is told apart from others by eye, and compresses well.
pub(crate) fn value(tag: &str, len: usize) -> Vec<u8> {
    tag.bytes().cycle().take(len).collect()
}

pub(crate) fn name(number: u32) -> String {
    emberlog::format::names::segment(number)
}

/// What a walk finds in a segment: to the data end if it is sealed, else to the end of the file.
pub(crate) fn items(files: &Files, number: u32) -> Vec<Item> {
    let name = name(number);
    let disk = SimDisk::from_snapshot(0, files);
    let file = disk.open(&name, Access::Read).expect("the segment is there");
    let header = header(files, number);
    let bytes = &files[&name];
    let tail_offset = bytes.len() - FooterTail::LEN;
    let limit = FooterTail::decode(header.store_id, tail_offset as u64, &bytes[tail_offset..])
        .map_or(bytes.len() as u32, |tail| tail.data_end_offset);
    let mut items = Vec::new();
    scan::scan(&*file, &header, limit, None, Depth::Payloads, &mut |item| {
        items.push(item);
        ControlFlow::Continue(())
    })
    .expect("reading works");
    items
}

pub(crate) fn header(files: &Files, number: u32) -> SegmentHeader {
    let identity = Identity::decode_file(&files["identity"]).expect("a sound identity");
    SegmentHeader::decode_either(identity.store_id, &files[&name(number)]).expect("a sound segment header")
}

/// Where the records of a segment stand.
pub(crate) fn record_offsets(files: &Files, number: u32) -> Vec<usize> {
    let offset = |item| if let Item::Record { offset, .. } = item { Some(offset as usize) } else { None };
    items(files, number).into_iter().filter_map(offset).collect()
}

/// Where the batches of a segment stand: those with records, or those without.
pub(crate) fn batch_offsets(files: &Files, number: u32, with_records: bool) -> Vec<usize> {
    let offset = |item| match item {
        Item::Batch { offset, header } if (header.record_count > 0) == with_records => Some(offset as usize),
        _ => None,
    };
    items(files, number).into_iter().filter_map(offset).collect()
}

/// A warm list of this store that names these keys.
pub(crate) fn warm_list(files: &Files, keys: &[(&str, u8)]) -> Vec<u8> {
    let identity = Identity::decode_file(&files["identity"]).expect("a sound identity");
    let (store_id, salt) = (identity.store_id, identity.hash_salt);
    let entry = |&(key, popularity): &(&str, u8)| {
        let key_hash = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), salt);
        WarmEntry::key(key_hash, popularity).encode()
    };
    let entries: Vec<u8> = keys.iter().flat_map(entry).collect();
    // As the page says it.
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store_id);
    hasher.update(&(WarmHeader::LEN as u64).to_le_bytes());
    hasher.update(&entries);
    let header = WarmHeader { store_id, entry_count: keys.len() as u64, entries_crc: hasher.finalize() };
    [header.encode().as_slice(), &entries].concat()
}

/// A page of counters of this store, by its header, its text and its cells.
pub(crate) type CountersPage<'a> = (PageHeader, &'a str, &'a [SegmentCell]);

/// A file of counters of this store with these pages, each at its place. The lengths in their headers are made right.
pub(crate) fn counters(files: &Files, pages: &[CountersPage<'_>]) -> Vec<u8> {
    let store_id = Identity::decode_file(&files["identity"]).expect("a sound identity").store_id;
    let mut file = vec![0; FILE_LEN as usize];
    file[..CountersHead::LEN].copy_from_slice(&CountersHead { store_id }.encode());
    for (header, text, cells) in pages {
        let mut page = vec![0; PageHeader::LEN];
        page.extend_from_slice(text.as_bytes());
        page.resize(page.len().next_multiple_of(8), b' ');
        let text_len = (page.len() - PageHeader::LEN) as u32;
        cells.iter().for_each(|cell| page.extend_from_slice(&cell.encode()));
        PageHeader { text_len, cell_count: cells.len() as u32, ..*header }.seal(store_id, &mut page);
        file[PageHeader::place_offset(header.sequence) as usize..][..page.len()].copy_from_slice(&page);
    }
    file
}

/// Flips one bit.
pub(crate) fn flip(files: &mut Files, name: &str, offset: usize) {
    files.get_mut(name).expect("the file is there")[offset] ^= 0x10;
}

/// Puts zeros in place of bytes, as a write that never reached the medium leaves them.
pub(crate) fn zero(files: &mut Files, name: &str, range: std::ops::Range<usize>) {
    files.get_mut(name).expect("the file is there")[range].fill(0);
}

/// Writes the files into a directory, which is made, with the modes that a store has.
pub(crate) fn write(files: &Files, directory: &Path) {
    fs::create_dir_all(directory).expect("the directory can be made");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("the mode can be set");
    for (name, bytes) in files {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("the file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the mode can be set");
    }
}

/// Reads all files of a directory but the lock.
pub(crate) fn read(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| entry.expect("the directory can be read"))
        .map(|entry| (entry.file_name().into_string().expect("a plain name"), entry.path()))
        .filter(|(name, _)| name != "lock")
        .map(|(name, path)| (name, fs::read(path).expect("the file can be read")))
        .collect()
}
