//! Randomness, injected: salts and uids. Seeded, it makes a store's files reproducible bit for bit.

use crate::sync::Mutex;
use std::io;

/// Where random bytes come from.
#[derive(Debug)]
pub(crate) enum Random {
    /// The system's generator.
    System,
    /// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) from a seed.
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
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut word = *state;
                    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    word ^= word >> 31;
                    chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
                }
            }
        }
        Ok(out)
    }
}
