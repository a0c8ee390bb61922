//! Which records an index of all keys would name, and what they weigh.
//!
//! Memory: about 20 to 40 bytes for each live key, for as long as the report takes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::ops::ControlFlow;

use emberlog::disk::DiskFile;
use emberlog::format::record::RecordKind;
use emberlog::log::scan::{self, Depth, Item};
use emberlog::recovery::survey::{SegmentSurvey, Visitor};

/// Key hashes are hashes already, salted by the store.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Listens to the events of a survey.
#[derive(Debug, Default)]
pub(crate) struct Live {
    segment: u32,
    newest: HashMap<u64, (u32, u32), BuildHasherDefault<AsIs>>,
    /// Events by kind.
    pub(crate) put_count: u64,
    /// See `put_count`.
    pub(crate) tombstone_count: u64,
    /// See `put_count`.
    pub(crate) clear_count: u64,
}

/// What the records of one segment weigh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    /// Records that the index would name.
    pub(crate) live_count: u64,
    /// Their bytes, headers and padding included.
    pub(crate) live_bytes: u64,
    /// Bytes of all other records.
    pub(crate) dead_bytes: u64,
    /// Live records that are expired.
    pub(crate) expired_count: u64,
}

/// Where a live record stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Index in the survey's segments.
    pub(crate) segment: u32,
    /// Where in it.
    pub(crate) offset: u32,
    /// Whose record it is.
    pub(crate) key_hash: u64,
}

impl Live {
    /// The live records, in log order.
    pub(crate) fn into_places(self) -> Vec<Place> {
        let place = |(key_hash, (segment, offset))| Place { segment, offset, key_hash };
        let mut places: Vec<Place> = self.newest.into_iter().map(place).collect();
        places.sort_unstable_by_key(|place| (place.segment, place.offset));
        places
    }

    /// How many keys have a value.
    pub(crate) fn key_count(&self) -> u64 {
        self.newest.len() as u64
    }

    /// Weighs the records of the segment with this index in the survey.
    pub(crate) fn weigh(
        &self,
        index: usize,
        segment: &SegmentSurvey,
        file: &dyn DiskFile,
        now_s: u32,
    ) -> io::Result<Share> {
        let mut share = Share::default();
        let Some(header) = segment.header.filter(|_| segment.kept) else { return Ok(share) };
        let place = |offset| (u32::try_from(index).unwrap_or(u32::MAX), offset);
        scan::scan(file, &header, segment.data_end, Some(segment.first_seqno), Depth::Headers, &mut |item| {
            if let Item::Record { offset, header, .. } = item {
                let is_live =
                    header.kind == RecordKind::Put && self.newest.get(&header.key_hash) == Some(&place(offset));
                if is_live {
                    share.live_count += 1;
                    share.live_bytes += header.record_len();
                    share.expired_count += u64::from(header.expiry_s != 0 && now_s >= header.expiry_s);
                } else {
                    share.dead_bytes += header.record_len();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(share)
    }
}

impl Visitor for Live {
    fn segment(&mut self, index: usize) {
        self.segment = u32::try_from(index).unwrap_or(u32::MAX);
    }

    fn put(&mut self, key_hash: u64, offset: u32) {
        self.put_count += 1;
        self.newest.insert(key_hash, (self.segment, offset));
    }

    fn tombstone(&mut self, key_hash: u64) {
        self.tombstone_count += 1;
        self.newest.remove(&key_hash);
    }

    fn clear(&mut self) {
        self.clear_count += 1;
        self.newest.clear();
    }
}
