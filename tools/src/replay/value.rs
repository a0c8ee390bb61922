//! The value function f(key, version, size): bytes that both processes can make and only the right version can match.
//!
//! Knows: arithmetic. Does not know: which versions are allowed; that is the oracle's.
//!
//! The first word of a value is a bijection of its version (for a given key and size), so the oracle can ask a value of eight
//! bytes or more which version it claims to be, and then compare all of it. Shorter values can coincide by chance; the oracle
//! tries every allowed version for those.

/// The step of splitmix64.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_A: u64 = 0xbf58_476d_1ce4_e5b9;
const MIX_B: u64 = 0x94d0_49bb_1331_11eb;

/// A bijection of 64-bit words that spreads every input bit (the splitmix64 finalizer).
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(MIX_A);
    let word = (word ^ (word >> 27)).wrapping_mul(MIX_B);
    word ^ (word >> 31)
}

/// The inverse of [`mix`].
fn unmix(word: u64) -> u64 {
    let word = (word ^ (word >> 31) ^ (word >> 62)).wrapping_mul(inverse(MIX_B));
    let word = (word ^ (word >> 27) ^ (word >> 54)).wrapping_mul(inverse(MIX_A));
    word ^ (word >> 30) ^ (word >> 60)
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each round doubles the number of right bits.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut round = 0;
    while round < 6 {
        guess = guess.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(guess)));
        round += 1;
    }
    guess
}

/// The stream of words of one value.
struct Words {
    first: u64,
    state: u64,
}

impl Words {
    fn new(key: u64, version: u64, size: usize) -> Words {
        let salt = salt(key, size);
        let first = mix(version ^ salt);
        Words { first, state: first ^ salt.rotate_left(32) }
    }

    fn word(&self, position: usize) -> [u8; 8] {
        let word = match position {
            0 => self.first,
            _ => mix(self.state.wrapping_add((position as u64).wrapping_mul(GOLDEN))),
        };
        word.to_le_bytes()
    }
}

fn salt(key: u64, size: usize) -> u64 {
    mix(key ^ mix((size as u64).wrapping_add(GOLDEN)))
}

/// Writes f(key, version, size) over `target`, whose length is the size.
pub(crate) fn fill(target: &mut [u8], key: u64, version: u64) {
    let words = Words::new(key, version, target.len());
    let (whole, rest) = target.as_chunks_mut::<8>();
    for (position, chunk) in whole.iter_mut().enumerate() {
        *chunk = words.word(position);
    }
    rest.copy_from_slice(&words.word(whole.len())[..rest.len()]);
}

/// Whether `bytes` is f(key, version, size), byte for byte. Stops at the first block of words that differs.
pub(crate) fn matches(bytes: &[u8], key: u64, version: u64, size: usize) -> bool {
    if bytes.len() != size {
        return false;
    }
    let words = Words::new(key, version, size);
    let (whole, rest) = bytes.as_chunks::<8>();
    // Differences of a block are gathered without a branch, so that the compiler can make and compare several words at once.
    for (block_number, block) in whole.chunks(64).enumerate() {
        let first_position = block_number * 64;
        let difference = block.iter().enumerate().fold(0u64, |difference, (offset, chunk)| {
            difference | (u64::from_le_bytes(*chunk) ^ u64::from_le_bytes(words.word(first_position + offset)))
        });
        if difference != 0 {
            return false;
        }
    }
    rest == &words.word(whole.len())[..rest.len()]
}

/// The only version of `key` whose value of this length can begin like `bytes`, or nothing where the value is too short to tell.
/// A claim, to be checked with [`matches()`].
pub(crate) fn claimed_version(bytes: &[u8], key: u64) -> Option<u64> {
    let first = bytes.first_chunk::<8>()?;
    Some(unmix(u64::from_le_bytes(*first)) ^ salt(key, bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: u64, version: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        fill(&mut bytes, key, version);
        bytes
    }

    #[test]
    fn a_value_matches_its_own_key_version_and_size_and_no_other() {
        for size in [8, 9, 15, 16, 128, 513, 5000] {
            let bytes = value(7, 3, size);
            assert!(matches(&bytes, 7, 3, size));
            assert!(!matches(&bytes, 7, 4, size));
            assert!(!matches(&bytes, 8, 3, size));
            assert!(!matches(&bytes[..size - 1], 7, 3, size));
            assert!(!matches(&bytes[..size - 1], 7, 3, size - 1), "a prefix of a value is not the shorter value");
        }
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let bytes = value(1, 2, 77);
        for bit in 0..77 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches(&damaged, 1, 2, 77), "bit {bit}");
        }
    }

    #[test]
    fn a_value_names_its_version() {
        for version in [1, 2, 3, 1_000_000, u64::MAX] {
            assert_eq!(claimed_version(&value(99, version, 40), 99), Some(version));
        }
        assert_eq!(claimed_version(&value(99, 1, 7), 99), None);
    }

    #[test]
    fn empty_values_match_every_version() {
        assert!(matches(&[], 1, 2, 0) && matches(&[], 5, 6, 0));
    }
}
