//! The one hash: XXH3-64 (Collet, 2019), seeded with the store's random salt, so that keys cannot be made to collide from outside.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of a key under a salt.
#[inline]
pub(crate) fn key_hash(salt: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, salt)
}

/// Maps a hash to `0..n` without division (Lemire, "Fast random integer generation in an interval", 2019).
#[inline]
pub(crate) fn reduce(hash32: u32, n: u32) -> u32 {
    ((u64::from(hash32) * u64::from(n)) >> 32) as u32
}
