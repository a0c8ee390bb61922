//! Segment files: regions, header and link. Specification: `format-spec/03-segment.md`, `format-spec/04-batch.md`.

use super::batch::{BatchHeader, BatchKind};
use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::identity::check_version;
use super::{ALIGN_BYTES, FORMAT_VERSION};

const HEADER: &str = "segment header";
const LINK: &str = "link body";
const MAGIC: [u8; 4] = *b"ESEG";

/// Where the two copies of the header stand.
pub const HEADER_OFFSETS: [u64; 2] = [0, 256];
/// Where the two copies of the link batch stand.
pub const LINK_OFFSETS: [u64; 2] = [512, 608];
/// Length of a link batch: its batch header and its body.
pub const LINK_BATCH_LEN: u64 = (BatchHeader::LEN + Link::LEN) as u64;
/// Where records start.
pub const DATA_START: u64 = 704;
/// Smallest and largest length of a segment file, and what it must be a multiple of.
pub const LEN_BYTES_MIN: u32 = 64 << 10;
/// Largest length of a segment file.
pub const LEN_BYTES_MAX: u32 = 1 << 30;
/// A segment's length is a multiple of this.
pub const LEN_BYTES_STEP: u32 = 4096;

/// The random name of one segment file; seeds all its checksums.
pub type Uid = [u8; 16];

/// The header of a segment, written when the file is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random name of this file.
    pub uid: Uid,
    /// The store that it belongs to.
    pub store_id: [u8; 16],
    /// Its place in the log.
    pub number: u32,
    /// Length of the file while it is not sealed.
    pub len_bytes: u32,
    /// Highest time seen when the file was prepared, in seconds since the epoch.
    pub clock_mark_s: u32,
}

impl SegmentHeader {
    /// Encoded length in bytes.
    pub const LEN: usize = 96;

    /// Encodes the copy that stands at `offset`.
    pub fn encode(&self, offset: u64) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&MAGIC).put(&self.uid).put(&self.store_id).u32(self.number).u32(FORMAT_VERSION);
        out.u32(self.len_bytes).u32(self.clock_mark_s);
        let mut bytes = out.finish();
        checksum::seal(Seed(self.store_id), offset, &mut bytes);
        bytes
    }

    /// Decodes the copy that stands at `offset` of a file of the store with this id.
    pub fn decode(store_id: [u8; 16], offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(HEADER, bytes)?;
        if raw[4..8] != MAGIC {
            return Err(DecodeError::new(HEADER, Fault::Magic));
        }
        checksum::verify(HEADER, Seed(store_id), offset, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (uid, named_store_id, number, version) = (fields.bytes(), fields.bytes(), fields.u32(), fields.u32());
        let (len_bytes, clock_mark_s) = (fields.u32(), fields.u32());
        check_version(HEADER, version, fields.u64())?;
        check_store_id(HEADER, named_store_id, store_id)?;
        if uid == [0; 16] {
            return Err(DecodeError::new(HEADER, Fault::Field { field: "uid", found: 0 }));
        }
        check_len_bytes(HEADER, len_bytes)?;
        Ok(Self { uid, store_id, number, len_bytes, clock_mark_s })
    }

    /// Decodes either copy from the first 512 bytes of a file.
    pub fn decode_either(store_id: [u8; 16], start: &[u8]) -> Result<Self, DecodeError> {
        let [a, b] = HEADER_OFFSETS;
        Self::decode(store_id, a, start).or_else(|error| {
            if error.is_incompatible() {
                return Err(error);
            }
            Self::decode(store_id, b, start.get(b as usize..).unwrap_or(&[]))
        })
    }

    /// The seed of everything in the segment but header and footer tail.
    pub fn seed(&self) -> Seed {
        Seed(self.uid)
    }
}

pub(crate) fn check_len_bytes(name: &'static str, len_bytes: u32) -> Result<(), DecodeError> {
    if (LEN_BYTES_MIN..=LEN_BYTES_MAX).contains(&len_bytes) && len_bytes.is_multiple_of(LEN_BYTES_STEP) {
        Ok(())
    } else {
        Err(DecodeError::new(name, Fault::Field { field: "segment_len_bytes", found: len_bytes.into() }))
    }
}

/// The store id is in the structure and in the seed of its checksum; only a forger makes them differ.
pub(crate) fn check_store_id(name: &'static str, named: [u8; 16], expected: [u8; 16]) -> Result<(), DecodeError> {
    if named == expected {
        return Ok(());
    }
    let found = u64::from_le_bytes(*named.first_chunk().expect("eight of sixteen bytes"));
    Err(DecodeError::new(name, Fault::Field { field: "store_id", found }))
}

/// Which segment comes before this one, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Number of the predecessor; 0 in the first segment of a store.
    pub predecessor_number: u32,
    /// Its uid.
    pub predecessor_uid: Uid,
    /// The last seqno in it.
    pub predecessor_last_seqno: u64,
    /// Its data end: nothing of it at or past this is ever read as records again.
    pub predecessor_end_offset: u32,
}

impl Link {
    /// Encoded length of the body in bytes.
    pub const LEN: usize = 48;

    /// Encodes both copies of the link batch, to be written at [`LINK_OFFSETS`]`[0]`.
    pub fn encode_batches(
        &self,
        seed: Seed,
        synced_through: u64,
        clock_mark_s: u32,
    ) -> [u8; 2 * LINK_BATCH_LEN as usize] {
        let mut out = [0; 2 * LINK_BATCH_LEN as usize];
        let (first, second) = out.split_at_mut(LINK_BATCH_LEN as usize);
        for (offset, copy) in LINK_OFFSETS.into_iter().zip([first, second]) {
            let header = BatchHeader {
                first_seqno: self.predecessor_last_seqno + 1,
                synced_through,
                body_len: Self::LEN as u32,
                record_count: 0,
                clock_mark_s,
                kind: BatchKind::Link,
            };
            let (head, body) = copy.split_at_mut(BatchHeader::LEN);
            head.copy_from_slice(&header.encode(seed, offset));
            body.copy_from_slice(&self.encode(seed, offset + BatchHeader::LEN as u64));
        }
        out
    }

    /// Encodes the body that stands at `offset`.
    pub fn encode(&self, seed: Seed, offset: u64) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).u32(self.predecessor_number).put(&self.predecessor_uid);
        out.u64(self.predecessor_last_seqno).u32(self.predecessor_end_offset);
        let mut bytes = out.finish();
        checksum::seal(seed, offset, &mut bytes);
        bytes
    }

    /// Decodes the body that stands at `offset`.
    pub fn decode(seed: Seed, offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(LINK, bytes)?;
        checksum::verify(LINK, seed, offset, raw)?;
        let mut fields = Fields::new(&raw[4..]);
        let link = Self {
            predecessor_number: fields.u32(),
            predecessor_uid: fields.bytes(),
            predecessor_last_seqno: fields.u64(),
            predecessor_end_offset: fields.u32(),
        };
        link.check(LINK)?;
        Ok(link)
    }

    /// Decodes the first copy that verifies; `start` is the start of the file, at least [`DATA_START`] bytes.
    pub fn decode_either(seed: Seed, start: &[u8]) -> Result<(Self, BatchHeader), DecodeError> {
        let copy = |offset: u64| {
            let header = BatchHeader::decode(seed, offset, start.get(offset as usize..).unwrap_or(&[]))?;
            if header.kind != BatchKind::Link {
                return Err(DecodeError::new(LINK, Fault::Field { field: "kind", found: 1 }));
            }
            let body_offset = offset + BatchHeader::LEN as u64;
            Ok((Self::decode(seed, body_offset, start.get(body_offset as usize..).unwrap_or(&[]))?, header))
        };
        copy(LINK_OFFSETS[0]).or_else(|_| copy(LINK_OFFSETS[1]))
    }

    pub(crate) fn check(&self, name: &'static str) -> Result<(), DecodeError> {
        let end = self.predecessor_end_offset;
        let aligned = u64::from(end).is_multiple_of(ALIGN_BYTES);
        if (self.predecessor_number != 0 && u64::from(end) < DATA_START) || end > LEN_BYTES_MAX || !aligned {
            return Err(DecodeError::new(name, Fault::Field { field: "predecessor_end_offset", found: end.into() }));
        }
        if self.predecessor_last_seqno == u64::MAX {
            let found = self.predecessor_last_seqno;
            return Err(DecodeError::new(name, Fault::Field { field: "predecessor_last_seqno", found }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_link_round_trip_and_verify_only_in_their_place() {
        let header = SegmentHeader { uid: [3; 16], store_id: [9; 16], number: 5, len_bytes: 1 << 20, clock_mark_s: 77 };
        let bytes = header.encode(256);
        assert_eq!(SegmentHeader::decode([9; 16], 256, &bytes), Ok(header));
        assert!(SegmentHeader::decode([9; 16], 0, &bytes).is_err(), "another place");
        assert!(SegmentHeader::decode([8; 16], 256, &bytes).is_err(), "another store");
        // Under a checksum that is good, as the fuzzer forged it.
        for (range, what) in [(24..40, "another store's id"), (8..24, "no uid")] {
            let mut forged = bytes;
            forged[range].fill(0);
            checksum::seal(Seed([9; 16]), 256, &mut forged);
            assert!(SegmentHeader::decode([9; 16], 256, &forged).is_err(), "{what}");
        }

        let link = Link {
            predecessor_number: 4,
            predecessor_uid: [2; 16],
            predecessor_last_seqno: 99,
            predecessor_end_offset: 1024,
        };
        let mut start = vec![0; DATA_START as usize];
        start[512..].copy_from_slice(&link.encode_batches(header.seed(), 50, 78));
        for flipped in 512..608 {
            let mut damaged = start.clone();
            damaged[flipped] ^= 0x10;
            let (found, batch) = Link::decode_either(header.seed(), &damaged).expect("the other copy");
            assert_eq!((found, batch.first_seqno, batch.synced_through, batch.clock_mark_s), (link, 100, 50, 78));
        }
        assert!(Link::decode_either(Seed([4; 16]), &start).is_err(), "another segment's");
    }
}
