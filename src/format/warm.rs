//! The warm list: what memory held, so that a restart can read it back, and what was asked for on disk. Specification: `format-spec/10-warm-list.md`.
//!
//! It is advice and nothing depends on it: it names keys by their hash, and what is read back is whatever the log says of them.

use super::FORMAT_VERSION;
use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::identity::check_version;
use super::segment::check_store_id;

const NAME: &str = "warm header";
/// How errors name the entries.
pub(crate) const ENTRIES_NAME: &str = "warm entries";
const MAGIC: [u8; 4] = *b"EWRM";

/// Length of one entry in bytes.
pub const ENTRY_LEN: usize = 12;

/// Most entries that a list holds.
pub const ENTRY_COUNT_MAX: u64 = 1 << 22;

/// Length of a list with this many entries.
pub const fn list_len(entry_count: u64) -> u64 {
    WarmHeader::LEN as u64 + entry_count * ENTRY_LEN as u64
}

/// One key that memory held, or one record that was asked for on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmEntry {
    /// What it names: see [`as_key`](Self::as_key) and [`as_record`](Self::as_record).
    pub subject: u64,
    /// How often it was asked for lately, as far as is counted.
    pub popularity: u8,
    /// What kind of subject that is.
    pub kind: u8,
}

impl WarmEntry {
    const KEY: u8 = 0;
    const RECORD: u8 = 1;

    /// A key that memory held, by its hash.
    pub fn key(key_hash: u64, popularity: u8) -> Self {
        Self { subject: key_hash, popularity, kind: Self::KEY }
    }

    /// A record that was asked for on disk, by its place.
    pub fn record(segment_number: u32, offset: u32, popularity: u8) -> Self {
        Self { subject: u64::from(offset) << 32 | u64::from(segment_number), popularity, kind: Self::RECORD }
    }

    /// The hash of the key that it names, if it names one.
    pub fn as_key(&self) -> Option<u64> {
        (self.kind == Self::KEY).then_some(self.subject)
    }

    /// The number of the segment and the offset of the record that it names, if it names one.
    pub fn as_record(&self) -> Option<(u32, u32)> {
        (self.kind == Self::RECORD).then_some((self.subject as u32, (self.subject >> 32) as u32))
    }

    /// Encodes the entry.
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        Builder::<ENTRY_LEN>::new().u64(self.subject).u8(self.popularity).u8(self.kind).finish()
    }

    /// Decodes an entry: any bytes are one.
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let mut fields = Fields::new(bytes);
        Self { subject: fields.u64(), popularity: fields.u8(), kind: fields.u8() }
    }
}

/// The start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmHeader {
    /// The store that the list is of; its hashes mean nothing elsewhere.
    pub store_id: [u8; 16],
    /// How many entries there are.
    pub entry_count: u64,
    /// Checksum of the entries.
    pub entries_crc: u32,
}

impl WarmHeader {
    /// Encoded length in bytes.
    pub const LEN: usize = 64;

    /// Encodes the header, which stands at offset 0.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&MAGIC).u32(FORMAT_VERSION).u32(self.entries_crc).u64(0);
        out.put(&self.store_id).u64(self.entry_count);
        let mut bytes = out.finish();
        checksum::seal(Seed(self.store_id), 0, &mut bytes);
        bytes
    }

    /// Decodes the header of a list of this store in a file of `file_len` bytes.
    pub fn decode(store_id: [u8; 16], file_len: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(NAME, bytes)?;
        if raw[4..8] != MAGIC {
            return Err(DecodeError::new(NAME, Fault::Magic));
        }
        checksum::verify(NAME, Seed(store_id), 0, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (version, entries_crc, features) = (fields.u32(), fields.u32(), fields.u64());
        check_version(NAME, version, features)?;
        check_store_id(NAME, fields.bytes(), store_id)?;
        let entry_count = fields.u64();
        // No count is believed that the file does not have.
        if entry_count > ENTRY_COUNT_MAX || list_len(entry_count) != file_len {
            return Err(DecodeError::new(NAME, Fault::Field { field: "entry_count", found: entry_count }));
        }
        Ok(Self { store_id, entry_count, entries_crc })
    }

    /// Starts the checksum of the entries.
    pub(crate) fn entries_hasher(store_id: [u8; 16]) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&store_id);
        hasher.update(&(Self::LEN as u64).to_le_bytes());
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_header_is_seen_and_its_count_is_that_of_the_file() {
        let header = WarmHeader { store_id: [3; 16], entry_count: 5, entries_crc: 77 };
        let good = header.encode();
        let decode = |bytes: &[u8], len| WarmHeader::decode([3; 16], len, bytes);
        assert_eq!(decode(&good, list_len(5)), Ok(header));
        assert!(decode(&good, list_len(5) - 1).is_err() && decode(&good, list_len(6)).is_err());
        assert!(decode(&good[..63], list_len(5)).is_err());
        assert!(WarmHeader::decode([4; 16], list_len(5), &good).is_err(), "a list of another store");
        for bit in 0..WarmHeader::LEN * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, list_len(5)).is_err(), "bit {bit}");
        }
        for count in [ENTRY_COUNT_MAX + 1, u64::MAX / 12, u64::MAX] {
            let huge = WarmHeader { entry_count: count, ..header }.encode();
            let len = count.wrapping_mul(ENTRY_LEN as u64).wrapping_add(WarmHeader::LEN as u64);
            assert!(decode(&huge, len).is_err(), "{count}: a count beyond the limit, in a file that seems to have it");
        }
        let most = WarmHeader { entry_count: ENTRY_COUNT_MAX, ..header };
        assert_eq!(decode(&most.encode(), list_len(ENTRY_COUNT_MAX)), Ok(most));
    }

    #[test]
    fn entries_round_trip() {
        let entry = WarmEntry::key(0x0123_4567_89ab_cdef, 3);
        assert_eq!(WarmEntry::decode(&entry.encode()), entry);
    }
}
