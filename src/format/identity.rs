//! The identity of a store: written once, twice over. Specification: `format-spec/02-identity.md`.

use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::{FORMAT_VERSION, KNOWN_FEATURES};

const NAME: &str = "identity";
const MAGIC: [u8; 8] = *b"EMBERLOG";

/// Where the two copies stand.
pub const COPY_OFFSETS: [u64; 2] = [0, 4096];
/// Length of the identity file.
pub const FILE_LEN: u64 = 8192;

/// What every file of a store depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Version of the format.
    pub format_version: u32,
    /// Features without which the store cannot be read.
    pub required_features: u64,
    /// Features that a reader may ignore.
    pub optional_features: u64,
    /// Random, names the store; seeds headers and footers of its segments.
    pub store_id: [u8; 16],
    /// Seed of the key hash.
    pub hash_salt: u64,
    /// Seconds since 1970 at which the store's time starts.
    pub epoch_unix_s: u64,
}

impl Identity {
    /// Encoded length in bytes.
    pub const LEN: usize = 96;

    /// Encodes the copy with this number (0 or 1), for its offset.
    pub fn encode(&self, copy: u8) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&MAGIC).u32(self.format_version).u64(self.required_features).u64(self.optional_features);
        out.put(&self.store_id).u64(self.hash_salt).u64(self.epoch_unix_s).u8(1).u8(1).u8(3).u8(copy);
        let mut bytes = out.finish();
        checksum::seal(Seed::NONE, COPY_OFFSETS[usize::from(copy & 1)], &mut bytes);
        bytes
    }

    /// Decodes the copy that stands at `offset`.
    pub fn decode(offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(NAME, bytes)?;
        if raw[4..12] != MAGIC {
            return Err(DecodeError::new(NAME, Fault::Magic));
        }
        checksum::verify(NAME, Seed::NONE, offset, raw)?;
        let mut fields = Fields::new(&raw[12..]);
        let identity = Self {
            format_version: fields.u32(),
            required_features: fields.u64(),
            optional_features: fields.u64(),
            store_id: fields.bytes(),
            hash_salt: fields.u64(),
            epoch_unix_s: fields.u64(),
        };
        check_version(NAME, identity.format_version, identity.required_features)?;
        for (field, expected) in [("hash_kind", 1), ("checksum_kind", 1), ("align_log2", 3)] {
            let found = fields.u8();
            if found != expected {
                return Err(DecodeError::new(NAME, Fault::Field { field, found: found.into() }));
            }
        }
        Ok(identity)
    }

    /// The whole file.
    pub fn encode_file(&self) -> Vec<u8> {
        let mut file = vec![0; FILE_LEN as usize];
        for (copy, offset) in COPY_OFFSETS.into_iter().enumerate() {
            file[offset as usize..][..Self::LEN].copy_from_slice(&self.encode(copy as u8));
        }
        file
    }

    /// Decodes a whole file: the first copy that verifies. A copy made for a later version decides at once.
    pub fn decode_file(file: &[u8]) -> Result<Self, DecodeError> {
        let mut last = DecodeError::new(NAME, Fault::Truncated { expected: FILE_LEN, found: file.len() as u64 });
        for offset in COPY_OFFSETS {
            match Self::decode(offset, file.get(offset as usize..).unwrap_or(&[])) {
                Ok(identity) => return Ok(identity),
                Err(error) if error.is_incompatible() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Refuses versions and features that this crate does not know.
pub(crate) fn check_version(name: &'static str, version: u32, features: u64) -> Result<(), DecodeError> {
    if version == 0 || version > FORMAT_VERSION {
        return Err(DecodeError::new(name, Fault::Version { expected: FORMAT_VERSION, found: version }));
    }
    match features & !KNOWN_FEATURES {
        0 => Ok(()),
        unknown => Err(DecodeError::new(name, Fault::Feature { unknown })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Identity {
        Identity {
            format_version: 1,
            required_features: 0,
            optional_features: 5,
            store_id: [7; 16],
            hash_salt: 0x0123_4567_89ab_cdef,
            epoch_unix_s: 1_700_000_000,
        }
    }

    #[test]
    fn either_copy_alone_is_enough_and_every_flipped_bit_is_seen() {
        let good = sample().encode_file();
        for copy in COPY_OFFSETS {
            for bit in 0..Identity::LEN * 8 {
                let mut file = good.clone();
                file[copy as usize + bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Identity::decode_file(&file), Ok(sample()), "bit {bit} of the copy at {copy}");
                assert!(Identity::decode(copy, &file[copy as usize..]).is_err(), "bit {bit} of the copy at {copy}");
            }
        }
        let mut none = good;
        none[5] ^= 1;
        none[4096 + 50] ^= 1;
        assert!(Identity::decode_file(&none).is_err());
        assert!(Identity::decode_file(&[]).is_err());
    }

    #[test]
    fn a_later_version_and_an_unknown_feature_are_named() {
        let later = Identity { format_version: 2, ..sample() };
        let error = Identity::decode_file(&later.encode_file()).unwrap_err();
        assert_eq!(error.fault, Fault::Version { expected: 1, found: 2 });
        let feature = Identity { required_features: 1 << 40, ..sample() };
        let error = Identity::decode_file(&feature.encode_file()).unwrap_err();
        assert!(error.is_incompatible() && error.to_string().contains("0x10000000000"), "{error}");
    }
}
