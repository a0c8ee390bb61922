//! Batches: what one write of the log holds. Specification: `format-spec/04-batch.md`.

use super::ALIGN_BYTES;
use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::record::RecordHeader;

const NAME: &str = "batch header";
pub(crate) const MAGIC: [u8; 4] = *b"EBAT";

/// What the body of a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    /// Records, or nothing: an empty batch only records `synced_through`.
    Records,
    /// A [`Link`](super::segment::Link).
    Link,
}

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Sequence number of the first record, or of the next one to come.
    pub first_seqno: u64,
    /// Every event up to this seqno was durable when the batch was made; 0 if none was.
    pub synced_through: u64,
    /// Bytes that follow the header.
    pub body_len: u32,
    /// Records in the body.
    pub record_count: u32,
    /// Highest time seen, in seconds since the epoch.
    pub clock_mark_s: u32,
    /// What the body is.
    pub kind: BatchKind,
}

impl BatchHeader {
    /// Encoded length in bytes.
    pub const LEN: usize = 48;

    /// Encodes the header for its offset.
    pub fn encode(&self, seed: Seed, offset: u64) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&MAGIC).u64(self.first_seqno).u64(self.synced_through);
        out.u32(self.body_len).u32(self.record_count).u32(self.clock_mark_s);
        out.u8(match self.kind {
            BatchKind::Records => 1,
            BatchKind::Link => 2,
        });
        let mut bytes = out.finish();
        checksum::seal(seed, offset, &mut bytes);
        bytes
    }

    /// Decodes the header that stands at `offset`. The body is not looked at: its length is still to be held against the segment's.
    pub fn decode(seed: Seed, offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(NAME, bytes)?;
        if raw[4..8] != MAGIC {
            return Err(DecodeError::new(NAME, Fault::Magic));
        }
        checksum::verify(NAME, seed, offset, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (first_seqno, synced_through) = (fields.u64(), fields.u64());
        let (body_len, record_count, clock_mark_s) = (fields.u32(), fields.u32(), fields.u32());
        let field = |field, found| Err(DecodeError::new(NAME, Fault::Field { field, found }));
        let kind = match fields.u8() {
            1 => BatchKind::Records,
            2 => BatchKind::Link,
            other => return field("kind", other.into()),
        };
        if first_seqno == 0 || first_seqno.checked_add(record_count.into()).is_none() {
            return field("first_seqno", first_seqno);
        }
        if synced_through >= first_seqno {
            return field("synced_through", synced_through);
        }
        if !u64::from(body_len).is_multiple_of(ALIGN_BYTES) {
            return field("body_len", body_len.into());
        }
        // A record has 24 bytes at least, so the count is bounded by bytes that must be there.
        let count_max = if kind == BatchKind::Link { 0 } else { body_len / RecordHeader::LEN as u32 };
        if record_count > count_max || (kind == BatchKind::Records && record_count == 0 && body_len != 0) {
            return field("record_count", record_count.into());
        }
        Ok(Self { first_seqno, synced_through, body_len, record_count, clock_mark_s, kind })
    }

    /// Sequence number after the last record.
    pub fn next_seqno(&self) -> u64 {
        self.first_seqno + u64::from(self.record_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_header_round_trips_and_every_flipped_bit_is_seen() {
        let header = BatchHeader {
            first_seqno: 10,
            synced_through: 9,
            body_len: 160,
            record_count: 5,
            clock_mark_s: 3,
            kind: BatchKind::Records,
        };
        let seed = Seed([1; 16]);
        let bytes = header.encode(seed, 704);
        assert_eq!(BatchHeader::decode(seed, 704, &bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchHeader::decode(seed, 704, &damaged).is_err(), "bit {bit}");
        }
        assert!(BatchHeader::decode(seed, 720, &bytes).is_err(), "another place");
        assert!(BatchHeader::decode(seed, 704, &[0; 48]).is_err(), "zeros");
    }

    #[test]
    fn impossible_fields_are_refused_under_a_good_checksum() {
        let good = BatchHeader {
            first_seqno: 10,
            synced_through: 9,
            body_len: 64,
            record_count: 2,
            clock_mark_s: 0,
            kind: BatchKind::Records,
        };
        let seed = Seed([1; 16]);
        for (field, bad) in [
            ("first_seqno", BatchHeader { first_seqno: 0, synced_through: 0, ..good }),
            ("first_seqno", BatchHeader { first_seqno: u64::MAX, ..good }),
            ("synced_through", BatchHeader { synced_through: 10, ..good }),
            ("body_len", BatchHeader { body_len: 68, ..good }),
            ("record_count", BatchHeader { record_count: 3, ..good }),
            ("record_count", BatchHeader { record_count: 0, ..good }),
            ("record_count", BatchHeader { kind: BatchKind::Link, ..good }),
        ] {
            match BatchHeader::decode(seed, 0, &bad.encode(seed, 0)).unwrap_err().fault {
                Fault::Field { field: found, .. } => assert_eq!(found, field),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
}
