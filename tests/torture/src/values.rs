//! Values that tell where they are from, so that a value alone shows whose it is and of which version.

use crate::rng::Rng;

/// Bytes of a key.
pub fn key_bytes(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// The value of a key in a version: both, then bytes that follow from them, `len` in all (at least 16).
pub fn value_of(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(key.to_le_bytes());
    bytes.extend(version.to_le_bytes());
    let mut numbers = Rng::new(key.rotate_left(32) ^ version ^ len as u64);
    while bytes.len() < len {
        let left = len - bytes.len();
        bytes.extend(&numbers.next().to_le_bytes()[..left.min(8)]);
    }
    bytes
}

/// The version in a value, after checking every byte of it.
///
/// # Panics
/// If it was never made by [`value_of`] for that key.
pub fn version_of(key: u64, value: &[u8]) -> u64 {
    assert!(value.len() >= 16, "a value of {} bytes was never inserted", value.len());
    let version = u64::from_le_bytes(value[8..16].try_into().expect("eight bytes"));
    assert!(
        value == value_of(key, version, value.len()),
        "wrong value: key {key} holds what was never inserted for it"
    );
    version
}
