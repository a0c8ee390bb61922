//! Records: puts, tombstones and clears. Specification: `format-spec/05-record.md`.

use super::align_up;
use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};

const HEADER: &str = "record header";
const PAYLOAD: &str = "record payload";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A key got a value.
    Put,
    /// A key lost its value, or its newest value is not in the log.
    Tombstone,
    /// Every key lost its value.
    Clear,
}

impl RecordKind {
    /// The number that stands for it on disk.
    pub const fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Tombstone => 2,
            Self::Clear => 3,
        }
    }

    /// The kind that a number stands for.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Put),
            2 => Some(Self::Tombstone),
            3 => Some(Self::Clear),
            _ => None,
        }
    }
}

/// The header of a record; the payload, key and value, follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// CRC-32 of key and value.
    pub payload_crc: u32,
    /// Salted hash of the key; 0 in a clear.
    pub key_hash: u64,
    /// Length of the value in bytes.
    pub value_len: u32,
    /// Seconds since the epoch from which on the record is expired; 0 never.
    pub expiry_s: u32,
    /// Length of the key in bytes.
    pub key_len: u16,
    /// What happened.
    pub kind: RecordKind,
    /// Whether compaction wrote this copy.
    pub reinserted: bool,
}

/// Bit 0 of the flags.
const REINSERTED: u8 = 1;
/// Bit 1 of the flags: the expiry follows.
const EXPIRES: u8 = 2;

/// A header as bytes: it has one of two lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedHeader {
    bytes: [u8; RecordHeader::LEN_MAX],
    len: usize,
}

impl std::ops::Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl RecordHeader {
    /// Encoded length in bytes without an expiry; the length of a tombstone and of a clear.
    pub const LEN: usize = 24;
    /// Encoded length in bytes with an expiry.
    pub const LEN_MAX: usize = Self::LEN + 4;

    /// The header of a put.
    pub fn put(key_hash: u64, key: &[u8], value: &[u8], expiry_s: u32) -> Self {
        Self {
            payload_crc: checksum::payload(key, value),
            key_hash,
            value_len: value.len() as u32,
            expiry_s,
            key_len: key.len() as u16,
            kind: RecordKind::Put,
            reinserted: false,
        }
    }

    /// The header, and whole record, of a tombstone.
    pub const fn tombstone(key_hash: u64) -> Self {
        Self {
            payload_crc: 0,
            key_hash,
            value_len: 0,
            expiry_s: 0,
            key_len: 0,
            kind: RecordKind::Tombstone,
            reinserted: false,
        }
    }

    /// The header, and whole record, of a clear.
    pub const fn clear() -> Self {
        Self { kind: RecordKind::Clear, ..Self::tombstone(0) }
    }

    /// Encoded length of this header in bytes; key and value follow.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub const fn len(&self) -> usize {
        if self.expiry_s == 0 { Self::LEN } else { Self::LEN_MAX }
    }

    /// Length of key and value together.
    pub fn payload_len(&self) -> u64 {
        u64::from(self.key_len) + u64::from(self.value_len)
    }

    /// Length of the whole record with its padding.
    pub fn record_len(&self) -> u64 {
        align_up(self.len() as u64 + self.payload_len())
    }

    /// Encodes the header for its offset.
    pub fn encode(&self, seed: Seed, offset: u64) -> EncodedHeader {
        let flags = (u8::from(self.reinserted) * REINSERTED) | (u8::from(self.expiry_s != 0) * EXPIRES);
        let mut out = Builder::<{ Self::LEN_MAX }>::new();
        out.skip(4).u32(self.payload_crc).u64(self.key_hash).u32(self.value_len).u16(self.key_len);
        out.u8(self.kind.code()).u8(flags).u32(self.expiry_s);
        let (mut bytes, len) = (out.finish(), self.len());
        checksum::seal(seed, offset, &mut bytes[..len]);
        EncodedHeader { bytes, len }
    }

    /// Decodes the header that stands at `offset`, from at least [`LEN_MAX`](Self::LEN_MAX) bytes if there are so many. Its lengths are sound as such, but still to be held against the bytes that are there.
    #[inline]
    pub fn decode(seed: Seed, offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw: &[u8] = codec::array::<{ Self::LEN }>(HEADER, bytes)?;
        let field = |field, found| Err(DecodeError::new(HEADER, Fault::Field { field, found }));
        // No kind is 0, so zeros are refused before their checksum is computed.
        let Some(kind) = RecordKind::from_code(raw[22]) else { return field("kind", raw[22].into()) };
        let flags = raw[23];
        let expires = flags & EXPIRES != 0;
        let raw = if expires { codec::array::<{ Self::LEN_MAX }>(HEADER, bytes)?.as_slice() } else { raw };
        checksum::verify(HEADER, seed, offset, raw)?;
        let mut fields = Fields::new(&raw[4..]);
        let (payload_crc, key_hash) = (fields.u32(), fields.u64());
        let (value_len, key_len) = (fields.u32(), fields.u16());
        fields.skip(2);
        let expiry_s = if expires { fields.u32() } else { 0 };
        if expires && (expiry_s == 0 || kind != RecordKind::Put) {
            return field("expiry", expiry_s.into());
        }
        let reinserted = flags & REINSERTED != 0;
        if kind != RecordKind::Put && (value_len != 0 || key_len != 0 || payload_crc != 0) {
            return field("value_len", value_len.into());
        }
        if kind == RecordKind::Clear && key_hash != 0 {
            return field("key_hash", key_hash);
        }
        Ok(Self { payload_crc, key_hash, value_len, expiry_s, key_len, kind, reinserted })
    }

    /// Splits the bytes that follow the header into key and value, once their checksum matches.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
        let wanted = self.payload_len();
        let Some(payload) = usize::try_from(wanted).ok().and_then(|wanted| bytes.get(..wanted)) else {
            let fault = Fault::Truncated { expected: wanted, found: bytes.len() as u64 };
            return Err(DecodeError::new(PAYLOAD, fault));
        };
        let expected = checksum::payload(payload, &[]);
        if expected != self.payload_crc {
            return Err(DecodeError::new(PAYLOAD, Fault::Checksum { expected, found: self.payload_crc }));
        }
        Ok(payload.split_at(usize::from(self.key_len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_round_trips_and_every_flipped_bit_is_seen() {
        let seed = Seed([5; 16]);
        let (key, value) = (b"key".as_slice(), b"a value".as_slice());
        for (expiry_s, header_len, record_len) in [(0, 24, 40), (9, 28, 40), (u32::MAX, 28, 40)] {
            let header = RecordHeader { reinserted: true, ..RecordHeader::put(42, key, value, expiry_s) };
            let mut record = header.encode(seed, 1024).to_vec();
            record.extend_from_slice(key);
            record.extend_from_slice(value);
            assert_eq!(RecordHeader::decode(seed, 1024, &record), Ok(header));
            assert_eq!(header.payload(&record[header.len()..]), Ok((key, value)));
            assert_eq!((header.len(), header.record_len()), (header_len, record_len));
            for bit in 0..record.len() * 8 {
                let mut damaged = record.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let seen = RecordHeader::decode(seed, 1024, &damaged)
                    .and_then(|header| header.payload(&damaged[header_len..]).map(|_| ()))
                    .is_err();
                assert!(seen, "bit {bit}");
            }
            assert!(header.payload(&record[header_len..header_len + 9]).is_err(), "a payload cut short");
            assert!(RecordHeader::decode(seed, 1024, &record[..header_len - 1]).is_err(), "a header cut short");
            assert_eq!(RecordHeader::decode(seed, 1024, &record[..header_len]), Ok(header), "no more is needed");
        }
    }

    #[test]
    fn an_expiry_is_of_a_put_and_not_zero_also_under_a_good_checksum() {
        let seed = Seed([5; 16]);
        let forged = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = RecordHeader::put(42, b"key", b"a value", 9).encode(seed, 64).to_vec();
            change(&mut bytes);
            checksum::seal(seed, 64, &mut bytes);
            RecordHeader::decode(seed, 64, &bytes)
        };
        assert!(forged(&|_| ()).is_ok());
        assert!(forged(&|bytes| bytes[24..28].fill(0)).is_err(), "an expiry that is none");
        for kind in [RecordKind::Tombstone, RecordKind::Clear] {
            let hides = forged(&|bytes| {
                bytes[4..22].fill(0);
                bytes[22] = kind.code();
            });
            assert!(hides.is_err(), "{kind:?}");
        }
    }

    #[test]
    fn tombstone_and_clear_are_24_bytes_and_zeros_are_neither() {
        let seed = Seed([5; 16]);
        for header in [RecordHeader::tombstone(1), RecordHeader::clear()] {
            assert_eq!(header.record_len(), 24);
            assert_eq!(RecordHeader::decode(seed, 16, &header.encode(seed, 16)), Ok(header));
        }
        assert!(RecordHeader::decode(Seed::NONE, 0, &[0; 32]).is_err());
        assert!(RecordHeader::decode(Seed::NONE, 0, &[0xff; 32]).is_err());
    }
}
