//! Randomness, injected: salts and uids. Seeded, it makes a store's files reproducible bit for bit.

use crate::sync::Mutex;
use std::io;

/// The next number of a stream that its first state decides: splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
/// The same seed has to give the same store, and the same simulated disk, in every version of every dependency.
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// Spreads every bit of a word over all of it; no two words become the same.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Where random bytes come from.
#[derive(Debug)]
pub(crate) enum Random {
    /// The system's generator.
    System,
    /// [`splitmix64`] from a seed.
    Seeded(Mutex<u64>),
}

impl Random {
    /// A reproducible source.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(Mutex::new(seed))
    }

    /// The next `LEN` bytes.
    pub(crate) fn bytes<const LEN: usize>(&self) -> io::Result<[u8; LEN]> {
        let mut out = [0; LEN];
        match self {
            Self::System => {
                let mut filled = 0;
                while filled < LEN {
                    match rustix::rand::getrandom(&mut out[filled..], rustix::rand::GetRandomFlags::empty()) {
                        Ok(got) => filled += got,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Self::Seeded(state) => {
                let mut state = state.lock();
                for chunk in out.chunks_mut(8) {
                    chunk.copy_from_slice(&splitmix64(&mut state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
        Ok(out)
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_one_that_others_publish() {
        let mut state = 1_234_567;
        let drawn = [(); 4].map(|()| splitmix64(&mut state));
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431
            ]
        );
        let bytes = Random::seeded(1_234_567).bytes::<12>().expect("no system is asked");
        assert_eq!(bytes[..8], drawn[0].to_le_bytes());
        assert_eq!(bytes[8..], drawn[1].to_le_bytes()[..4]);
    }
}
