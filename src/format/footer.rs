//! Footers: what makes a segment sealed, and recovery fast. Specification: `format-spec/06-footer.md`.

use super::checksum::Seed;
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::identity::check_version;
use super::record::RecordKind;
use super::segment::{DATA_START, Link, SegmentHeader, check_len_bytes, check_store_id};
use super::{ALIGN_BYTES, FORMAT_VERSION, align_up, checksum};

const TAIL: &str = "footer tail";
const ENTRIES: &str = "footer entries";
const MAGIC: [u8; 4] = *b"EFTR";

/// Length of one entry in bytes.
pub const ENTRY_LEN: usize = 12;

/// Length of a footer with this many entries, padding and tail included.
pub const fn footer_len(entry_count: u64) -> u64 {
    align_up(entry_count * ENTRY_LEN as u64) + FooterTail::LEN as u64
}

/// One event of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterEntry {
    /// Hash of the key; 0 in a clear.
    pub key_hash: u64,
    /// Where its record stands.
    pub offset: u32,
    /// What happened.
    pub kind: RecordKind,
    /// Whether compaction wrote the record: memory held it then.
    pub reinserted: bool,
}

impl FooterEntry {
    /// Encodes the entry.
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let place = (self.offset / ALIGN_BYTES as u32)
            | (u32::from(self.kind.code()) << 27)
            | (u32::from(self.reinserted) << 31);
        Builder::<ENTRY_LEN>::new().u64(self.key_hash).u32(place).finish()
    }

    /// Decodes an entry.
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let (key_hash, place) = (fields.u64(), fields.u32());
        let bad = DecodeError::new(ENTRIES, Fault::Field { field: "place", found: place.into() });
        let kind = RecordKind::from_code((place >> 27) as u8 & 0xf).ok_or(bad)?;
        let offset = (place & ((1 << 27) - 1)).checked_mul(ALIGN_BYTES as u32).ok_or(bad)?;
        if u64::from(offset) < DATA_START {
            return Err(bad);
        }
        Ok(Self { key_hash, offset, kind, reinserted: place >> 31 == 1 })
    }
}

/// The end of a footer, and of a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterTail {
    /// The segment's header, repeated; its clock mark is the highest in the segment.
    pub header: SegmentHeader,
    /// The segment's link, repeated.
    pub link: Link,
    /// Seqno of its first event, or of the next to come if it has none.
    pub first_seqno: u64,
    /// Seqno of its last event; one less than `first_seqno` if it has none.
    pub last_seqno: u64,
    /// Where records end and entries begin.
    pub data_end_offset: u32,
    /// How many entries there are.
    pub entry_count: u32,
    /// Checksum of the entries.
    pub entries_crc: u32,
    /// How many entries stand for damage.
    pub damaged_count: u32,
}

impl FooterTail {
    /// Encoded length in bytes.
    pub const LEN: usize = 160;

    /// Encodes the tail that stands at `offset`.
    pub fn encode(&self, offset: u64) -> [u8; Self::LEN] {
        let (header, link) = (&self.header, &self.link);
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&MAGIC).put(&header.uid).put(&header.store_id).u32(header.number).u32(FORMAT_VERSION);
        out.u32(header.len_bytes).u32(header.clock_mark_s).u64(0);
        out.u32(link.predecessor_number).u32(link.predecessor_end_offset);
        out.put(&link.predecessor_uid).u64(link.predecessor_last_seqno).u64(self.first_seqno).u64(self.last_seqno);
        out.u32(self.data_end_offset).u32(self.entry_count).u32(self.entries_crc).u32(self.damaged_count);
        let mut bytes = out.finish();
        checksum::seal(Seed(header.store_id), offset, &mut bytes);
        bytes
    }

    /// Decodes the tail that stands at `offset` of a file of the store with this id, and ends it.
    pub fn decode(store_id: [u8; 16], offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(TAIL, bytes)?;
        if raw[4..8] != MAGIC {
            return Err(DecodeError::new(TAIL, Fault::Magic));
        }
        checksum::verify(TAIL, Seed(store_id), offset, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (uid, named_store_id, number, version) = (fields.bytes(), fields.bytes(), fields.u32(), fields.u32());
        let (len_bytes, clock_mark_s) = (fields.u32(), fields.u32());
        check_version(TAIL, version, fields.u64())?;
        check_store_id(TAIL, named_store_id, store_id)?;
        check_len_bytes(TAIL, len_bytes)?;
        let (predecessor_number, predecessor_end_offset) = (fields.u32(), fields.u32());
        let (predecessor_uid, predecessor_last_seqno) = (fields.bytes(), fields.u64());
        let link = Link { predecessor_number, predecessor_uid, predecessor_last_seqno, predecessor_end_offset };
        link.check(TAIL)?;
        let tail = Self {
            header: SegmentHeader { uid, store_id, number, len_bytes, clock_mark_s },
            link,
            first_seqno: fields.u64(),
            last_seqno: fields.u64(),
            data_end_offset: fields.u32(),
            entry_count: fields.u32(),
            entries_crc: fields.u32(),
            damaged_count: fields.u32(),
        };
        let field = |field, found| Err(DecodeError::new(TAIL, Fault::Field { field, found }));
        let data_end = u64::from(tail.data_end_offset);
        if data_end < DATA_START || !data_end.is_multiple_of(ALIGN_BYTES) {
            return field("data_end_offset", data_end);
        }
        // The entries lie between data end and tail: no length is believed that the file does not have.
        if data_end + align_up(u64::from(tail.entry_count) * ENTRY_LEN as u64) != offset {
            return field("entry_count", tail.entry_count.into());
        }
        if tail.first_seqno == 0 || tail.last_seqno < tail.first_seqno - 1 || tail.last_seqno == u64::MAX {
            return field("last_seqno", tail.last_seqno);
        }
        // Without damage there is an entry for each event.
        if tail.damaged_count == 0 && tail.last_seqno - (tail.first_seqno - 1) != u64::from(tail.entry_count) {
            return field("entry_count", tail.entry_count.into());
        }
        Ok(tail)
    }

    /// Starts the checksum of this segment's entries.
    pub(crate) fn entries_hasher(uid: [u8; 16], data_end_offset: u32) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&uid);
        hasher.update(&u64::from(data_end_offset).to_le_bytes());
        hasher
    }

    /// Checks the entries' checksum and yields the entries.
    pub fn entries<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<FooterEntry, DecodeError>> + use<'a>, DecodeError> {
        let wanted = self.entry_count as usize * ENTRY_LEN;
        let Some(entries) = bytes.get(..wanted) else {
            let fault = Fault::Truncated { expected: wanted as u64, found: bytes.len() as u64 };
            return Err(DecodeError::new(ENTRIES, fault));
        };
        let mut hasher = Self::entries_hasher(self.header.uid, self.data_end_offset);
        hasher.update(entries);
        let expected = hasher.finalize();
        if expected != self.entries_crc {
            return Err(DecodeError::new(ENTRIES, Fault::Checksum { expected, found: self.entries_crc }));
        }
        Ok(entries.as_chunks::<ENTRY_LEN>().0.iter().map(FooterEntry::decode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_round_trips_and_every_flipped_bit_is_seen() {
        let entries = [
            FooterEntry { key_hash: 7, offset: 752, kind: RecordKind::Put, reinserted: true },
            FooterEntry { key_hash: 0, offset: (1 << 30) - 16, kind: RecordKind::Clear, reinserted: false },
        ];
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend_from_slice(&entry.encode());
        }
        let mut hasher = FooterTail::entries_hasher([3; 16], 1600);
        hasher.update(&bytes);
        let header = SegmentHeader { uid: [3; 16], store_id: [9; 16], number: 5, len_bytes: 1 << 20, clock_mark_s: 1 };
        let tail = FooterTail {
            header,
            link: Link { predecessor_number: 4, predecessor_end_offset: 704, ..Link::default() },
            first_seqno: 3,
            last_seqno: 4,
            data_end_offset: 1600,
            entry_count: 2,
            entries_crc: hasher.finalize(),
            damaged_count: 1,
        };
        bytes.resize(align_up(bytes.len() as u64) as usize, 0);
        let offset = 1600 + bytes.len() as u64;
        let encoded = tail.encode(offset);
        assert_eq!(bytes.len() as u64 + encoded.len() as u64, footer_len(2));
        assert_eq!(FooterTail::decode([9; 16], offset, &encoded), Ok(tail));
        let back: Result<Vec<_>, _> = tail.entries(&bytes).expect("the checksum matches").collect();
        assert_eq!(back, Ok(entries.to_vec()));
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FooterTail::decode([9; 16], offset, &damaged).is_err(), "bit {bit}");
        }
        for bit in 0..24 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(tail.entries(&damaged).is_err(), "bit {bit}");
        }
        assert!(FooterTail::decode([9; 16], offset + 16, &encoded).is_err(), "another place");
        assert!(FooterTail::decode([8; 16], offset, &encoded).is_err(), "another store");
    }
}
