//! Chance of the simulated disk: the same seed gives the same disk. Or no chance at all: every way that it could fall, one after the other.

use crate::random::splitmix64;

/// What chance is drawn from.
#[derive(Debug, Clone)]
enum Source {
    /// A stream of random numbers that its seed decides.
    Seed(u64),
    /// The choices of one way, each with how many there were; those behind `at` are still to come.
    Way { choices: Vec<(u64, u64)>, at: usize },
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Random(Source);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    /// The first of all ways.
    pub(super) fn first_way() -> Self {
        Self(Source::Way { choices: Vec::new(), at: 0 })
    }

    /// Goes on to the next way, once one was drawn. Returns false if that was the last.
    pub(super) fn next_way(&mut self) -> bool {
        let Source::Way { choices, at } = &mut self.0 else { return false };
        *at = 0;
        while let Some((chosen, bound)) = choices.last_mut() {
            if *chosen + 1 < *bound {
                *chosen += 1;
                return true;
            }
            choices.pop();
        }
        false
    }

    pub(super) fn next(&mut self) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => splitmix64(state),
            // Nobody chooses by it: a seed for later.
            Source::Way { .. } => 0,
        }
    }

    /// A number below `bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        match &mut self.0 {
            // High bits of the product: no division, and the bias is far below what a test could see.
            Source::Seed(state) => ((u128::from(splitmix64(state)) * u128::from(bound)) >> 64) as u64,
            Source::Way { .. } if bound < 2 => 0,
            Source::Way { choices, at } => {
                if *at == choices.len() {
                    choices.push((0, bound));
                }
                *at += 1;
                choices[*at - 1].0
            }
        }
    }

    /// The same for ranges too long to try each of: where every way is tried, only the ends.
    pub(super) fn below_many(&mut self, bound: u64) -> u64 {
        match self.0 {
            Source::Seed(_) => self.below(bound),
            Source::Way { .. } => self.below(bound.min(2)) * (bound - 1),
        }
    }

    /// How likely something survives, in sixteenths: all, nothing, or something between. Fair coins alone would lose half of everything in every
    /// single crash, and the rare mixtures are where bugs live.
    pub(super) fn odds(&mut self) -> u64 {
        match self.0 {
            Source::Seed(_) => [0, 1, 8, 15, 16][self.below(5) as usize],
            Source::Way { .. } => 8,
        }
    }

    pub(super) fn wins(&mut self, odds: u64) -> bool {
        match self.0 {
            Source::Seed(_) => self.below(16) < odds,
            Source::Way { .. } => self.below(2) == 1,
        }
    }
}
