//! S3-FIFO: three first-in-first-out queues are enough (Yang et al., SOSP 2023), on two rings and a table of ghosts.
//!
//! New entries begin in the small ring, a tenth of the bytes. Its head moves to the main ring if it was hit more than once, else it is evicted
//! and leaves a ghost. Who comes back while its ghost is remembered begins in main. The head of main moves to its own tail as long as it has
//! hits, one less each time, else it is evicted.
//!
//! The small ring is held to its tenth from the start: the original lets it grow to the whole cache while main is empty, and so a first loop
//! longer than the cache evicts all of itself. As nothing may be evicted while there is room, the *first* nine tenths of what fills an empty tier
//! begin in main, and the small ring gets what comes after. That ends for good at nine tenths or with the first eviction, whichever is first;
//! it begins again where less than half is used (after many removals).
//!
//! Differences to the original: as above; sizes in bytes throughout; hits counted to 3; ghosts in number at most the residents; at most
//! [`MOVES_PER_INSERT_MAX`](crate::policy::MOVES_PER_INSERT_MAX) moves per insert.
//!
//! Knows: bytes per ring, hits, ghosts. Does not know: entries beyond their head.

use crate::policy::eviction::{Eviction, Head, Occupancy, Origin, Placement, RingsView, Verdict};
use crate::policy::ghost::Ghosts;

const SMALL: u8 = 0;
const MAIN: u8 = 1;
/// The clock ticks this often while the tier's capacity goes through it once.
const TICKS_PER_CAPACITY: usize = 64;

/// The policy's state.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    capacity_bytes: usize,
    is_filling: bool,
    is_before_disk: bool,
    inserted_bytes: u64,
    ghosts: Ghosts,
    ghost_hit_count: u64,
}

impl S3Fifo {
    /// The small ring.
    pub(crate) const SMALL: u8 = SMALL;
    /// The main ring.
    pub(crate) const MAIN: u8 = MAIN;
    /// How many rings there are.
    pub(crate) const RING_COUNT: usize = 2;
    /// Hits beyond this one change nothing; counting may stop there.
    pub(crate) const POPULARITY_MAX: u8 = 3;

    /// A policy for a tier that holds `capacity_bytes` of entries.
    pub(crate) fn new(capacity_bytes: usize, ghost_bytes: usize) -> Self {
        let ghosts = Ghosts::new(ghost_bytes);
        Self {
            capacity_bytes: capacity_bytes.max(1),
            is_filling: true,
            is_before_disk: false,
            inserted_bytes: 0,
            ghosts,
            ghost_hit_count: 0,
        }
    }

    /// The same for a tier in front of a disk tier. What is promoted from there begins in main, so main fills with what was asked for again, and
    /// new entries fill the rest from the small ring: after a restart main is not full of entries that nobody asked for twice.
    pub(crate) fn before_disk(mut self) -> Self {
        self.is_before_disk = true;
        self
    }

    /// Entries that began in main because their ghost was remembered.
    pub(crate) fn ghost_hit_count(&self) -> u64 {
        self.ghost_hit_count
    }

    /// Bytes of entries that came in so far.
    pub(crate) fn inserted_bytes(&self) -> u64 {
        self.inserted_bytes
    }

    /// Bytes of memory taken.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.ghosts.held_bytes()
    }

    fn small_bytes_max(&self) -> usize {
        self.capacity_bytes / 10
    }

    fn stamp(&self) -> u16 {
        (self.inserted_bytes / (self.capacity_bytes / TICKS_PER_CAPACITY).max(1) as u64) as u16
    }
}

impl Eviction for S3Fifo {
    fn place(&mut self, hash: u64, size_bytes: usize, origin: Origin, occupancy: Occupancy) -> Placement {
        if occupancy.used_bytes + size_bytes > self.capacity_bytes - self.small_bytes_max() {
            self.is_filling = false;
        } else if occupancy.used_bytes < self.capacity_bytes / 2 {
            self.is_filling = true;
        }
        let is_ghost = self.ghosts.take(hash, occupancy.entry_count).is_some();
        self.ghost_hit_count += u64::from(is_ghost);
        self.inserted_bytes += size_bytes as u64;
        let fills_main = self.is_filling && !self.is_before_disk;
        let ring = if is_ghost || fills_main || origin == Origin::Disk { MAIN } else { SMALL };
        Placement { ring, class: 0, stamp: self.stamp() }
    }

    fn replace(&mut self, old: Placement, size_bytes: usize) -> Placement {
        self.inserted_bytes += size_bytes as u64;
        Placement { stamp: self.stamp(), ..old }
    }

    fn victim(&self, rings: &impl RingsView) -> Option<u8> {
        let (small_bytes, main_bytes) = (rings.used_bytes(SMALL), rings.used_bytes(MAIN));
        match (small_bytes, main_bytes) {
            (0, 0) => None,
            (_, 0) => Some(SMALL),
            _ if small_bytes > self.small_bytes_max() => Some(SMALL),
            _ => Some(MAIN),
        }
    }

    fn judge(&mut self, head: Head, popularity: u8, moves_left: u32) -> Verdict {
        let popularity = popularity.min(Self::POPULARITY_MAX);
        let placement = Placement { ring: MAIN, class: 0, stamp: self.stamp() };
        match (head.placement.ring, popularity) {
            _ if moves_left == 0 => Verdict::Evict,
            (SMALL, 2..) => Verdict::Move { placement, popularity: 0 },
            (MAIN, 1..) => Verdict::Move { placement, popularity: popularity - 1 },
            _ => Verdict::Evict,
        }
    }

    fn evicted(&mut self, hash: u64, head: Head, popularity: u8, _occupancy: Occupancy) {
        self.is_filling = false;
        if head.placement.ring == SMALL {
            self.ghosts.push(hash, popularity);
        }
    }

    fn age(&self, stamp: u16) -> u16 {
        self.stamp().wrapping_sub(stamp)
    }

    fn clear(&mut self) {
        self.ghosts.clear();
        self.is_filling = true;
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    struct Bytes([usize; 2]);

    impl RingsView for Bytes {
        fn used_bytes(&self, ring: u8) -> usize {
            self.0[usize::from(ring)]
        }
        fn head(&self, _ring: u8) -> Option<Head> {
            panic!("S3-FIFO does not compare heads")
        }
    }

    fn occupancy(used_bytes: usize) -> Occupancy {
        Occupancy { used_bytes, entry_count: used_bytes as u64 / 10 }
    }

    fn head(ring: u8) -> Head {
        Head { placement: Placement { ring, class: 0, stamp: 0 }, size_bytes: 10 }
    }

    #[test]
    fn an_empty_tier_fills_main_first_and_then_the_small_ring() {
        let mut policy = S3Fifo::new(1000, 4096);
        for used in (0..900).step_by(10) {
            assert_eq!(policy.place(used as u64, 10, Origin::Caller, occupancy(used)).ring, MAIN, "at {used}");
        }
        assert_eq!(policy.place(1, 10, Origin::Caller, occupancy(900)).ring, SMALL);
        assert_eq!(
            policy.place(2, 10, Origin::Caller, occupancy(800)).ring,
            SMALL,
            "a little room does not begin it again"
        );
        assert_eq!(policy.place(3, 10, Origin::Caller, occupancy(499)).ring, MAIN, "half the room does");
        policy.evicted(9, head(MAIN), 0, occupancy(600));
        assert_eq!(policy.place(4, 10, Origin::Caller, occupancy(600)).ring, SMALL, "an eviction ends it");
    }

    #[test]
    fn the_small_ring_gives_way_first_when_it_is_beyond_its_tenth() {
        let policy = S3Fifo::new(1000, 4096);
        assert_eq!(policy.victim(&Bytes([101, 899])), Some(SMALL));
        assert_eq!(policy.victim(&Bytes([100, 900])), Some(MAIN));
        assert_eq!(policy.victim(&Bytes([10, 0])), Some(SMALL));
        assert_eq!(policy.victim(&Bytes([0, 10])), Some(MAIN));
        assert_eq!(policy.victim(&Bytes([0, 0])), None);
    }

    #[test]
    fn heads_are_judged_by_ring_and_hits() {
        let mut policy = S3Fifo::new(1000, 4096);
        let mut moved = |ring, hits, moves_left| match policy.judge(head(ring), hits, moves_left) {
            Verdict::Evict => None,
            Verdict::Move { placement, popularity } => {
                assert_eq!(placement.ring, MAIN);
                Some(popularity)
            }
        };
        assert_eq!([0, 1, 2, 3].map(|hits| moved(SMALL, hits, 1).is_some()), [false, false, true, true]);
        assert_eq!([0, 1, 2, 3, 7].map(|hits| moved(MAIN, hits, 1)), [None, Some(0), Some(1), Some(2), Some(2)]);
        assert_eq!(moved(MAIN, 3, 0), None, "the budget of moves is spent");
    }

    #[test]
    fn only_what_left_the_small_ring_comes_back_into_main() {
        let mut policy = S3Fifo::new(1000, 4096);
        policy.evicted(1, head(SMALL), 0, occupancy(1000));
        policy.evicted(2, head(MAIN), 0, occupancy(1000));
        assert_eq!(policy.place(1, 10, Origin::Caller, occupancy(950)).ring, MAIN);
        assert_eq!(policy.place(1, 10, Origin::Caller, occupancy(950)).ring, SMALL, "a ghost counts once");
        assert_eq!(policy.place(2, 10, Origin::Caller, occupancy(950)).ring, SMALL);
        assert_eq!(policy.ghost_hit_count(), 1);
    }

    #[test]
    fn stamps_tick_sixty_four_times_while_the_capacity_goes_through() {
        let mut policy = S3Fifo::new(6400, 4096);
        let first = policy.place(0, 100, Origin::Caller, occupancy(0)).stamp;
        for i in 1..64 {
            policy.place(i, 100, Origin::Caller, occupancy(0));
        }
        assert_eq!(policy.place(64, 100, Origin::Caller, occupancy(0)).stamp - first, 64);
        assert_eq!(policy.age(first), 64);
    }
}
