//! Checksums: CRC-32 (ISO-HDLC), seeded with who wrote the bytes and where they belong.
//!
//! A structure's checksum is its first four bytes and covers seed, file offset, and the rest of the structure. Bytes of an earlier file, of another
//! store or of another place therefore never verify, however intact they are.

use super::decode_error::{DecodeError, Fault};

/// Sixteen bytes that say whose bytes these are: a segment's uid, or the store's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub [u8; 16]);

impl Seed {
    /// The seed of the identity file, which cannot know any other.
    pub const NONE: Self = Self([0; 16]);
}

/// The checksum of `bytes` (without their checksum field) at `offset` under `seed`.
#[inline]
pub(crate) fn seeded(seed: Seed, offset: u64, bytes: &[u8]) -> u32 {
    let mut head = [0u8; 24];
    head[..16].copy_from_slice(&seed.0);
    head[16..].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes the checksum of a structure into its first four bytes.
#[inline]
pub(crate) fn seal(seed: Seed, offset: u64, structure: &mut [u8]) {
    let sum = seeded(seed, offset, &structure[4..]);
    structure[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Checks the checksum in the first four bytes of a structure.
#[inline]
pub(crate) fn verify(name: &'static str, seed: Seed, offset: u64, structure: &[u8]) -> Result<(), DecodeError> {
    let found = u32::from_le_bytes([structure[0], structure[1], structure[2], structure[3]]);
    let expected = seeded(seed, offset, &structure[4..]);
    if expected == found { Ok(()) } else { Err(DecodeError::new(name, Fault::Checksum { expected, found })) }
}

/// The unseeded checksum of a record's payload; the seeded header checksum covers it.
#[inline]
pub(crate) fn payload(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}
