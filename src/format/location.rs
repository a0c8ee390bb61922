//! Where a record is: a segment and an offset in it, packed into 40 bits for an index slot.

use super::ALIGN_BYTES;

/// Most segments that a store can have at once: what 13 bits can name.
pub const SEGMENT_COUNT_MAX: u32 = 1 << 13;
const OFFSET_BITS: u32 = 27;

/// The place of a record. `segment` is a short name that the running cache gave, not the segment's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// Short name of the segment, below [`SEGMENT_COUNT_MAX`].
    pub segment: u16,
    /// Offset of the record header in the segment's file, a multiple of 8.
    pub offset: u32,
}

impl Location {
    /// Packs into 40 bits: 13 of segment, 27 of offset / 8. Never 0, since no record stands at offset 0.
    pub fn pack(self) -> u64 {
        debug_assert!(u32::from(self.segment) < SEGMENT_COUNT_MAX && self.offset != 0);
        (u64::from(self.segment) << OFFSET_BITS) | u64::from(self.offset / ALIGN_BYTES as u32)
    }

    /// The location that was packed.
    pub fn unpack(packed: u64) -> Self {
        let offset = (packed & ((1 << OFFSET_BITS) - 1)) as u32 * ALIGN_BYTES as u32;
        Self { segment: ((packed >> OFFSET_BITS) & u64::from(SEGMENT_COUNT_MAX - 1)) as u16, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corners_survive_packing() {
        for segment in [0, 1, 8191] {
            for offset in [704, 8 * 12345, (1 << 30) - 8] {
                let location = Location { segment, offset };
                assert_eq!(Location::unpack(location.pack()), location);
                assert!(location.pack() < 1 << 40 && location.pack() != 0);
            }
        }
    }
}
