//! One index slot: a tag, a little popularity and a location in eight bytes.
//!
//! ```text
//! 63        43 42      40 39             0
//! [ tag: 21  | popularity | location: 40 ]
//! ```
//! Knows: the packing. Does not know: buckets, what a location means.
//!
//! Invariants
//!  I-SLOT-1  All zero means empty. A used slot has neither tag 0 nor location 0.

const TAG_BITS: u32 = 21;
const POPULARITY_BITS: u32 = 3;
const LOCATION_BITS: u32 = 40;
const POPULARITY_SHIFT: u32 = LOCATION_BITS;
const TAG_SHIFT: u32 = LOCATION_BITS + POPULARITY_BITS;

/// The largest location that a slot can hold.
pub(crate) const LOCATION_MAX: u64 = (1 << LOCATION_BITS) - 1;
/// The largest popularity that a slot can hold.
pub(crate) const POPULARITY_MAX: u8 = (1 << POPULARITY_BITS) - 1;

/// A slot as a value; the table holds them as atomic words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Slot {
    /// No entry.
    pub(crate) const EMPTY: Self = Self(0);

    /// A used slot. Popularity beyond the largest is cut down to it.
    #[inline]
    pub(crate) fn new(tag: u32, popularity: u8, location: u64) -> Self {
        assert!(location != 0 && location <= LOCATION_MAX, "a location of 1 to 2^40 - 1: I-SLOT-1, not {location}");
        debug_assert!(tag != 0 && tag >> TAG_BITS == 0, "a tag as tag_of makes it, not {tag}");
        let popularity = popularity.min(POPULARITY_MAX);
        Self(u64::from(tag) << TAG_SHIFT | u64::from(popularity) << POPULARITY_SHIFT | location)
    }

    /// The slot that a word holds.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word that holds this slot.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The tag of a hash: its lowest bits, never 0 (so that an empty slot matches no tag).
    #[inline]
    pub(crate) fn tag_of(hash: u64) -> u32 {
        ((hash & ((1 << TAG_BITS) - 1)) as u32).max(1)
    }

    /// Whether nothing is here.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The tag; 0 for an empty slot.
    #[inline]
    pub(crate) fn tag(self) -> u32 {
        (self.0 >> TAG_SHIFT) as u32
    }

    /// Hits since the entry was placed, as far as they were counted.
    #[inline]
    pub(crate) fn popularity(self) -> u8 {
        (self.0 >> POPULARITY_SHIFT) as u8 & POPULARITY_MAX
    }

    /// Where the entry is.
    #[inline]
    pub(crate) fn location(self) -> u64 {
        self.0 & LOCATION_MAX
    }

    /// The same slot with one more hit; not beyond the largest popularity.
    #[inline]
    pub(crate) fn bumped(self) -> Self {
        Self::new(self.tag(), self.popularity().saturating_add(1), self.location())
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_back_what_it_was_made_of_at_every_edge() {
        for tag in [1, 2, (1 << TAG_BITS) - 1] {
            for popularity in 0..=POPULARITY_MAX {
                for location in [1, 2, LOCATION_MAX / 2, LOCATION_MAX] {
                    let slot = Slot::from_bits(Slot::new(tag, popularity, location).bits());
                    assert_eq!((slot.tag(), slot.popularity(), slot.location()), (tag, popularity, location));
                    assert!(!slot.is_empty());
                    let bumped = slot.bumped();
                    assert_eq!(bumped.popularity(), (popularity + 1).min(POPULARITY_MAX));
                    assert_eq!((bumped.tag(), bumped.location()), (tag, location), "a bump touches popularity only");
                }
            }
        }
        assert_eq!(Slot::new(1, 200, 1).popularity(), POPULARITY_MAX);
    }

    #[test]
    fn no_hash_has_the_tag_of_an_empty_slot() {
        for hash in [0, 1 << TAG_BITS, u64::MAX << TAG_BITS, u64::MAX] {
            assert_ne!(Slot::tag_of(hash), Slot::EMPTY.tag());
        }
    }

    #[test]
    #[should_panic(expected = "I-SLOT-1")]
    fn location_zero_is_refused() {
        let _ = Slot::new(1, 0, 0);
    }
}
