//! Every sequence of a few operations, cut at every call that its last operation makes, in every state that a power cut may leave.
//!
//! Cuts in earlier operations belong to shorter sequences, which are cases of their own. Where a power cut decides on more than ten sectors, lengths
//! and names, its states are drawn instead; a kill leaves one state.

use crate::mode::{Cases, Effort};
use crate::report::Tally;
use crate::rng::Rng;
use crate::runner::Options;
use crate::setup::{Setup, named};
use crate::world::{Crash, World};
use emberlog::{Durability, ReadMode};
use std::time::Duration;

/// Decided one way or the other, this many things still are tried in every combination.
const UNDECIDED_MAX: u64 = 10;
/// In combination with contents in between they may be more.
const STATES_MAX: usize = 4096;

/// What a client, or time, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// A key that is not there gets a value.
    Put,
    /// A key that a flush covered gets another.
    Overwrite,
    Remove,
    Clear,
    Flush,
    /// The log turns over until the oldest segment goes, and what memory holds of it is appended again.
    Reinsert,
    /// The log moves into its next segment, and the one before gets its footer.
    Seal,
    /// An entry is put, and its time passes.
    Expire,
    Reopen,
}

const OPS: [Op; 9] =
    [Op::Put, Op::Overwrite, Op::Remove, Op::Clear, Op::Flush, Op::Reinsert, Op::Seal, Op::Expire, Op::Reopen];

/// Key of the entry that a flush covers before the sequence begins.
const COVERED: u32 = 2;
const EXPIRING: u32 = 3;
/// Keys from here on are put by [`Op::Put`], and from there on by what fills the log.
const FRESH: u32 = 8;
const FILLERS: u32 = 24;
const FILLER_COUNT: u32 = 20;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Exhaustive {
    seed: u64,
    count: u64,
    effort: Effort,
}

impl Exhaustive {
    pub(crate) fn new(options: &Options) -> Self {
        let longest = options.effort.of(3, 4);
        let ops = OPS.len() as u64;
        // Each with and without waiting for the medium.
        let count = 2 * (1..=longest).map(|len| ops.pow(len)).sum::<u64>();
        Self { seed: options.seed, count, effort: options.effort }
    }

    /// The operations of a case: all of one, then all of two, and so on.
    fn ops(mut number: u64) -> Vec<Op> {
        let ops = OPS.len() as u64;
        let mut len = 1;
        while number >= ops.pow(len) {
            number -= ops.pow(len);
            len += 1;
        }
        (0..len).map(|place| OPS[(number / ops.pow(place) % ops) as usize]).collect()
    }
}

impl Cases for Exhaustive {
    fn count(&self) -> Option<u64> {
        Some(self.count)
    }

    fn runs(&self) -> u64 {
        self.count
    }

    fn run(&self, case: u64, tally: &mut Tally) {
        let ops = Self::ops(case / 2);
        let durability = if case.is_multiple_of(2) { Durability::Buffered } else { Durability::Synced };
        let setup = Setup { disk_bytes: 384 << 10, durability, read_mode: ReadMode::Pread, ..Setup::small() };
        let mut numbers = Rng::of_case(self.seed, case);
        named(&format!("{durability:?} {ops:?}"), || {
            let mut play = Play::new(World::new(setup, Rng::new(numbers.next())));
            let (last, before) = ops.split_last().expect("a sequence has an operation");
            before.iter().for_each(|&op| play.make(op));
            play.world.recorder().start();
            play.make(*last);
            let samples = self.effort.of(6, 64);
            for (point, (disk, promised)) in play.world.recorder().take().into_iter().enumerate() {
                let mut check = |what: &str, left: &mut World| {
                    named(&format!("cut before call {point} of the last, {what}"), || {
                        assert!(left.open(), "nothing dies here");
                        // Now and then it goes on from there, and is killed again.
                        if numbers.below(8) == 0 {
                            left.run(4);
                            left.crash(Crash::PowerCut { seed: numbers.next() });
                            assert!(left.open(), "nothing dies here");
                        }
                        tally.state(left.hits);
                    });
                };
                let killed = disk.after_kill();
                check("killed", &mut play.world.left(killed, promised.written_seqno));
                if disk.undecided_count() <= UNDECIDED_MAX && self.effort == Effort::Long || disk.undecided_count() <= 3
                {
                    for (way, cut) in disk.power_cuts().take(STATES_MAX).enumerate() {
                        check(&format!("way {way}"), &mut play.world.left(cut, promised.durable_seqno));
                    }
                } else {
                    for sample in 0..samples {
                        let cut = disk.after_power_cut(self.seed ^ case << 32 ^ (point as u64) << 16 ^ sample);
                        check(&format!("sample {sample}"), &mut play.world.left(cut, promised.durable_seqno));
                    }
                }
            }
        });
    }
}

/// A world in which a sequence is played.
struct Play {
    world: World,
    fresh: u32,
    filler: u32,
}

impl Play {
    fn new(mut world: World) -> Self {
        world.record();
        assert!(world.open(), "nothing dies here");
        world.insert(COVERED, 300, None);
        world.insert(EXPIRING, 300, None);
        world.flush();
        Self { world, fresh: 0, filler: 0 }
    }

    fn make(&mut self, op: Op) {
        match op {
            Op::Put => {
                self.world.insert(FRESH + self.fresh % (FILLERS - FRESH), 700, None);
                self.fresh += 1;
            }
            Op::Overwrite => self.world.insert(COVERED, 500, None),
            Op::Remove => self.world.remove(COVERED),
            Op::Clear => self.world.clear(),
            Op::Flush => self.world.flush(),
            Op::Reinsert => self.fill_until(|world| world.disk_stats().segments_retired),
            Op::Seal => {
                self.fill_until(|world| world.disk_stats().segments + world.disk_stats().segments_retired);
                self.world.maintain(8);
            }
            Op::Expire => {
                self.world.insert(EXPIRING, 300, Some(Duration::from_secs(1)));
                self.world.advance(Duration::from_secs(3));
            }
            Op::Reopen => {
                self.world.close();
                assert!(self.world.open(), "nothing dies here");
            }
        }
    }

    /// Puts other entries until a count has grown.
    fn fill_until(&mut self, count: impl Fn(&World) -> u64) {
        let before = count(&self.world);
        for _ in 0..200 {
            if count(&self.world) > before {
                return;
            }
            self.world.insert(FILLERS + self.filler % FILLER_COUNT, 9_000, None);
            self.filler += 1;
            self.world.maintain(4);
        }
        panic!("the log does not turn over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_sequence_is_numbered_once() {
        let all: BTreeSet<String> = (0..9 + 81 + 729).map(|number| format!("{:?}", Exhaustive::ops(number))).collect();
        assert_eq!(all.len(), 9 + 81 + 729);
        assert_eq!(Exhaustive::ops(0), [Op::Put]);
        assert_eq!(Exhaustive::ops(8), [Op::Reopen]);
        assert_eq!(Exhaustive::ops(9 + 81 + 728), [Op::Reopen; 3]);
    }
}
