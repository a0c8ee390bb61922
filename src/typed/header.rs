//! The eight bytes in front of each typed value, and the four in front of each typed key.
//!
//! Knows: names, versions, codec ids. Does not know: the cache, what the bytes behind mean.
//!
//! | offset | size | field | |
//! | --- | --- | --- | --- |
//! | 0 | 1 | layout | 1; the rest is as here |
//! | 1 | 1 | codec | [`Codec::ID`](super::Codec::ID) |
//! | 2 | 2 | version | of the type, little-endian |
//! | 4 | 4 | type | hash of the type's name, little-endian |
//!
//! A key is the hash of the namespace (4 bytes, little-endian) and the encoded key. Both hashes are the low halves of XXH3-64 of the name, under seeds
//! of their own, so that two names which collide in one do not in the other. The hashes are stored, so they never change: a test pins them.

use crate::hash::key_hash;

/// Length of the header. A multiple of eight, so that what follows is as well aligned for plain old data as the buffer is.
pub(super) const HEADER_LEN: usize = 8;
/// Length of a key's prefix.
pub(super) const KEY_PREFIX_LEN: usize = 4;
const LAYOUT: u8 = 1;
const TYPE_SEED: u64 = u64::from_le_bytes(*b"emb-type");
const NAMESPACE_SEED: u64 = u64::from_le_bytes(*b"emb-keys");

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec_id: u8,
    pub(super) version: u16,
    pub(super) type_id: u32,
}

/// What a stored value turned out to be, before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// This type, version and codec; the encoded value.
    Ours(&'a [u8]),
    /// Another type, or no typed value at all.
    OtherType,
    OtherVersion,
    OtherCodec,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.to_le_bytes();
        let [t0, t1, t2, t3] = self.type_id.to_le_bytes();
        [LAYOUT, self.codec_id, v0, v1, t0, t1, t2, t3]
    }

    /// Holds a stored value against what is expected. The first difference decides, from the coarsest: type, version, codec.
    pub(super) fn judge(self, stored: &[u8]) -> Verdict<'_> {
        let Some((&[layout, codec_id, v0, v1, t0, t1, t2, t3], payload)) = stored.split_first_chunk::<HEADER_LEN>()
        else {
            return Verdict::OtherType;
        };
        if layout != LAYOUT || u32::from_le_bytes([t0, t1, t2, t3]) != self.type_id {
            Verdict::OtherType
        } else if u16::from_le_bytes([v0, v1]) != self.version {
            Verdict::OtherVersion
        } else if codec_id != self.codec_id {
            Verdict::OtherCodec
        } else {
            Verdict::Ours(payload)
        }
    }
}

/// The id of a type's name, in the header.
pub(super) fn type_id(name: &str) -> u32 {
    low_half(key_hash(TYPE_SEED, name.as_bytes()))
}

/// What a namespace's keys begin with.
pub(super) fn key_prefix(namespace: &str) -> [u8; KEY_PREFIX_LEN] {
    low_half(key_hash(NAMESPACE_SEED, namespace.as_bytes())).to_le_bytes()
}

fn low_half(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Header = Header { codec_id: 1, version: 0x0203, type_id: 0x0405_0607 };

    #[test]
    fn a_header_is_these_eight_bytes() {
        assert_eq!(OURS.encode(), [1, 1, 3, 2, 7, 6, 5, 4]);
    }

    #[test]
    fn every_combination_of_differences_is_judged_by_the_coarsest() {
        for bits in 0..16_u8 {
            let differs = |bit: u8| bits & 1 << bit != 0;
            let other = Header {
                codec_id: OURS.codec_id + u8::from(differs(0)),
                version: OURS.version + u16::from(differs(1)),
                type_id: OURS.type_id + u32::from(differs(2)),
            };
            let mut stored = other.encode().to_vec();
            stored[0] += u8::from(differs(3));
            stored.extend(b"rest");
            let expected = match (differs(3) || differs(2), differs(1), differs(0)) {
                (true, ..) => Verdict::OtherType,
                (false, true, _) => Verdict::OtherVersion,
                (false, false, true) => Verdict::OtherCodec,
                (false, false, false) => Verdict::Ours(b"rest"),
            };
            assert_eq!(OURS.judge(&stored), expected, "{bits:04b}");
        }
    }

    #[test]
    fn what_is_shorter_than_a_header_is_of_another_type() {
        let stored = OURS.encode();
        for len in 0..HEADER_LEN {
            assert_eq!(OURS.judge(&stored[..len]), Verdict::OtherType, "{len}");
        }
        assert_eq!(OURS.judge(&stored), Verdict::Ours(&[]));
    }

    #[test]
    fn a_name_has_another_hash_as_a_type_than_as_a_namespace() {
        for name in ["", "user", "a longer name of a type"] {
            assert_ne!(type_id(name).to_le_bytes(), key_prefix(name), "{name}");
        }
    }
}
