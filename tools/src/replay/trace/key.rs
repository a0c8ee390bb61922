//! Keys of text traces as the 64-bit keys that requests carry.
//!
//! A number that fits, written without sign or leading zeros, stands for itself: a binary trace written as CSV is
//! the same trace. All
//! other keys are hashed; two of them meet once in about four billion distinct keys, and then count as one.

use xxhash_rust::xxh3::xxh3_64;

/// Longest key: what the cache itself takes.
pub(super) const KEY_LEN_MAX: usize = u16::MAX as usize;

/// The key of these bytes.
pub(super) fn of(bytes: &[u8]) -> u64 {
    number(bytes).unwrap_or_else(|| xxh3_64(bytes))
}

/// The key of these bytes in a space of its own: a Redis database other than the first, or the fields of a hash.
pub(super) fn within(space: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, space)
}

fn number(bytes: &[u8]) -> Option<u64> {
    let is_canonical = match bytes {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_themselves_and_all_else_is_told_apart() {
        assert_eq!(of(b"0"), 0);
        assert_eq!(of(b"18446744073709551615"), u64::MAX);
        let texts: [&[u8]; 8] = [b"", b"00", b"01", b"+1", b"1 ", b"1a", b"18446744073709551616", b"\xff"];
        let keys: std::collections::BTreeSet<u64> = texts.iter().map(|text| of(text)).collect();
        assert_eq!(keys.len(), texts.len());
        assert!(keys.iter().all(|key| *key > 1 << 32), "{keys:?}");
        assert_ne!(within(1, b"7"), 7);
        assert_ne!(within(1, b"7"), within(2, b"7"));
    }
}
