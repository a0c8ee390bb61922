//! Randomness of the simulated disk: the same seed gives the same disk.

use crate::random::splitmix64;

/// A stream of random numbers that its seed decides.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        splitmix64(&mut self.0)
    }

    /// A number below `bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // High bits of the product: no division, and the bias is far below what a test could see.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// How likely something survives, in sixteenths: all, nothing, or something between. Fair coins alone would lose half of everything in every
    /// single crash, and the rare mixtures are where bugs live.
    pub(super) fn odds(&mut self) -> u64 {
        [0, 1, 8, 15, 16][self.below(5) as usize]
    }

    pub(super) fn wins(&mut self, odds: u64) -> bool {
        self.below(16) < odds
    }
}
