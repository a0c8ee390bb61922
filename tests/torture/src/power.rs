//! Random lives on a simulated disk, each of which ends in a power cut or a kill at some call, also while the store is recovered and mended.

use crate::mode::Cases;
use crate::report::Tally;
use crate::rng::Rng;
use crate::runner::Options;
use crate::setup::Setup;
use crate::world::{Crash, World};

/// Deaths in a row that strike while the store is recovered.
const DEPTH_MAX: u64 = 3;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Power {
    seed: u64,
    runs: u64,
}

impl Power {
    pub(crate) fn new(options: &Options) -> Self {
        Self { seed: options.seed, runs: options.effort.of(2_500, 250_000) }
    }
}

fn random_crash(rng: &mut Rng) -> Crash {
    match rng.below(4) {
        0 => Crash::Kill,
        _ => Crash::PowerCut { seed: rng.next() },
    }
}

impl Cases for Power {
    fn count(&self) -> Option<u64> {
        None
    }

    fn runs(&self) -> u64 {
        self.runs
    }

    fn run(&self, case: u64, tally: &mut Tally) {
        let mut rng = Rng::of_case(self.seed, case);
        let setup = Setup::random(&mut rng);
        let mut world = World::new(setup, Rng::new(rng.next()));
        if rng.below(2) == 0 {
            world.fill_with_another_store(rng.next());
        }
        for _ in 0..1 + rng.below(5) {
            // Short lives die while they recover, or soon after.
            let most = rng.pick(&[12, 60, 200, 400]);
            world.die_after(1 + rng.below(most));
            if world.open() {
                let count = rng.below(120);
                world.run(count);
            }
            world.crash(random_crash(&mut rng));
            for _ in 0..rng.below(DEPTH_MAX + 1) {
                // Recovery reads, then writes footers, the link and the first segment: some ten calls.
                world.die_after(1 + rng.below(12));
                if world.open() {
                    world.run(2);
                }
                world.crash(random_crash(&mut rng));
                tally.crash_points += 1;
            }
            tally.crash_points += 1;
        }
        assert!(world.open());
        world.run(20);
        tally.values_checked += world.hits;
        tally.lost(world.lost_bytes, world.lost_ms);
    }
}
