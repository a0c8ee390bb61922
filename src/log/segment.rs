//! A segment of the running log: one file, read through its mapping below the watermark.
//!
//! Knows: its file, how far it is written, what it is charged. Does not know: the index, the order of segments, when to retire.
//!
//! Invariants
//!  I-SEG-1  Bytes below the watermark never change; only they are read.
//!  I-SEG-2  The watermark moves by whole batches, so a record that starts below it ends below it.
//!  I-SEG-3  The charge covers the allocated blocks of the file and is released when the segment is dropped: after unlink, sync and last pin.

use super::watermark::Watermark;
use crate::budget::Charge;
use crate::disk::{DiskFile, Mapping};
use crate::format::Seed;
use crate::format::record::RecordHeader;
use crate::format::segment::{Link, SegmentHeader};
use crate::sync::{AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, PlainArc, RwLock};

/// How records of a segment are read.
#[derive(Debug)]
pub(crate) enum Source {
    /// Through a mapping of the whole file.
    Mapped(Mapping),
    /// By positioned reads.
    File(PlainArc<dyn DiskFile>),
}

/// What is known of a segment once no more is appended to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Where records end.
    pub(crate) data_end: u32,
    /// Seqno of the last event; one less than the first if there is none.
    pub(crate) last_seqno: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    /// Short name in the index.
    pub(crate) name: u16,
    pub(crate) watermark: Watermark,
    source: Source,
    /// Handle for writing and syncing; closed when the segment is sealed.
    file: RwLock<Option<PlainArc<dyn DiskFile>>>,
    /// Set when the log moves into the segment.
    link: OnceLock<Link>,
    /// Set when the log has moved on.
    end: OnceLock<End>,
    /// Stream position of offset 0, while the segment has bytes in the append buffer.
    pub(crate) stream_base: AtomicU64,
    /// Whether an open found it: how often its records were hit before is not known.
    pub(crate) is_recovered: bool,
    /// Set when the footer is durable.
    sealed: AtomicU32,
    /// Index slots that name records here; for statistics.
    pub(crate) live_count: AtomicU32,
    pub(crate) charge: Mutex<Charge>,
}

/// What stands at a location.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// The record of the key; what the reader made of it.
    Value(T, RecordHeader),
    /// A sound record of another key.
    OtherKey,
    /// Bytes that are not the record that was written there.
    Damaged,
}

impl Segment {
    pub(crate) fn new(
        header: SegmentHeader,
        name: u16,
        source: Source,
        file: Option<PlainArc<dyn DiskFile>>,
        charge: Charge,
        is_recovered: bool,
    ) -> Self {
        Self {
            header,
            name,
            watermark: Watermark::new(0),
            source,
            file: RwLock::new(file),
            link: OnceLock::new(),
            end: OnceLock::new(),
            stream_base: AtomicU64::new(0),
            is_recovered,
            sealed: AtomicU32::new(0),
            live_count: AtomicU32::new(0),
            charge: Mutex::new(charge),
        }
    }

    pub(crate) fn seed(&self) -> Seed {
        self.header.seed()
    }

    /// The handle for writing, until the segment is sealed.
    pub(crate) fn file(&self) -> Option<PlainArc<dyn DiskFile>> {
        self.file.read().clone()
    }

    pub(crate) fn link(&self) -> Link {
        *self.link.get().expect("the log moved into the segment, with a link")
    }

    /// The link, once the log has moved into the segment.
    pub(crate) fn link_if_set(&self) -> Option<Link> {
        self.link.get().copied()
    }

    pub(crate) fn set_link(&self, link: Link) {
        self.link.set(link).expect("the log moves into a segment once");
    }

    /// Where the segment ends; `None` while it is appended to.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.get().copied()
    }

    pub(crate) fn set_end(&self, end: End) {
        self.end.set(end).expect("the log leaves a segment once");
    }

    pub(crate) fn is_sealed(&self) -> bool {
        // Acquire pairs with Release in mark_sealed: the end is known.
        self.sealed.load(Ordering::Acquire) != 0
    }

    /// Notes that the footer is durable, and closes the handle for writing.
    pub(crate) fn mark_sealed(&self) {
        *self.file.write() = None;
        self.sealed.store(1, Ordering::Release);
    }

    /// Reads the record at `offset`, which lies below the watermark, and gives its value to `read` if it is sound and of this key.
    ///
    /// Checks, in this order: bounds, header checksum, lengths, payload checksum, key.
    #[inline]
    pub(crate) fn read_record<T>(&self, offset: u32, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Found<T> {
        let limit = self.watermark.get();
        match &self.source {
            Source::Mapped(mapping) => {
                let Some(bytes) = mapping.get(offset as usize..limit as usize) else { return Found::Damaged };
                let Ok(header) = RecordHeader::decode(self.seed(), offset.into(), bytes) else { return Found::Damaged };
                if usize::from(header.key_len) != key.len() {
                    // Another key's record; whether its payload is sound does not matter here.
                    return Found::OtherKey;
                }
                match header.payload(&bytes[header.len()..]) {
                    Ok((found, value)) if found == key => Found::Value(read(value), header),
                    Ok(_) => Found::OtherKey,
                    Err(_) => Found::Damaged,
                }
            }
            Source::File(file) => Self::read_by_pread(&**file, self.seed(), offset, limit, key, read),
        }
    }

    fn read_by_pread<T>(
        file: &dyn DiskFile,
        seed: Seed,
        offset: u32,
        limit: u32,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Found<T> {
        // Most records fit the first read; a larger one takes a second.
        let mut first = [0u8; 4096];
        let wanted = first.len().min(limit.saturating_sub(offset) as usize);
        let Ok(got) = file.read_at(offset.into(), &mut first[..wanted]) else { return Found::Damaged };
        let Ok(header) = RecordHeader::decode(seed, offset.into(), &first[..got]) else { return Found::Damaged };
        if usize::from(header.key_len) != key.len() {
            return Found::OtherKey;
        }
        let len = header.len() as u64 + header.payload_len();
        if u64::from(offset) + len > u64::from(limit) {
            return Found::Damaged;
        }
        let mut whole;
        let bytes = if len <= got as u64 {
            &first[..got]
        } else {
            whole = vec![0; len as usize];
            match file.read_at(offset.into(), &mut whole) {
                Ok(got) if got as u64 == len => &whole[..],
                _ => return Found::Damaged,
            }
        };
        match header.payload(&bytes[header.len()..]) {
            Ok((found, value)) if found == key => Found::Value(read(value), header),
            Ok(_) => Found::OtherKey,
            Err(_) => Found::Damaged,
        }
    }

    /// Copies out the record at `offset`, whatever its key, if it is sound: header, key and value.
    pub(crate) fn copy_record(&self, offset: u32) -> Option<(RecordHeader, Vec<u8>)> {
        let limit = self.watermark.get();
        let mut raw = [0u8; RecordHeader::LEN_MAX];
        let raw = &mut raw[..RecordHeader::LEN_MAX.min(limit.saturating_sub(offset) as usize)];
        self.copy(offset, raw, limit)?;
        let header = RecordHeader::decode(self.seed(), offset.into(), raw).ok()?;
        if u64::from(offset) + header.record_len() > u64::from(limit) {
            return None;
        }
        let mut payload = vec![0; usize::try_from(header.payload_len()).ok()?];
        self.copy(offset + header.len() as u32, &mut payload, limit)?;
        header.payload(&payload).ok()?;
        Some((header, payload))
    }

    fn copy(&self, offset: u32, out: &mut [u8], limit: u32) -> Option<()> {
        let end = (offset as usize).checked_add(out.len()).filter(|&end| end <= limit as usize)?;
        match &self.source {
            Source::Mapped(mapping) => out.copy_from_slice(mapping.get(offset as usize..end)?),
            Source::File(file) => {
                if file.read_at(offset.into(), out).ok()? != out.len() {
                    return None;
                }
            }
        }
        Some(())
    }
}
