//! The header of an entry in memory: one word, or two where an entry expires or is large.
//!
//! ```text
//! word 0   63 .. 40       39 .. 32    31 .. 16   15 .. 12   11 .. 8   7 .. 2   1      0
//!        [ value_len low | key_len low | stamp  |  spare   |  class  |  ring | dead | long ]
//! word 1   63 .. 48   47 .. 40        39 .. 32        31 .. 0
//!        [ spare    | value_len high | key_len high | expiry_s ]      only if long
//! ```
//! Then the key, then the value, then up to 7 bytes to the next multiple of 8. Most cached entries are small and many never expire: the short
//! form saves them 8 bytes each, which is a fifth of an entry of 16 bytes under a key of 8.
//!
//! Knows: the packing. Does not know: where entries lie. Never leaves memory, so it is no format and may change freely.

/// What an entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// Bytes of the value.
    pub value_len: u32,
    /// Bytes of the key.
    pub key_len: u16,
    /// Seconds since the epoch after which it is gone; 0 for never.
    pub expiry_s: u32,
    /// The ring it is in, below [`Header::RINGS_MAX`].
    pub ring: u8,
    /// The policy's own four bits, such as a frequency class.
    pub class: u8,
    /// The policy's clock when it was placed.
    pub stamp: u16,
    /// A hole: removed, replaced or dropped by the index, and still in the way.
    pub dead: bool,
}

impl Header {
    /// Ring numbers are below this.
    pub(crate) const RINGS_MAX: usize = 64;

    const LONG: u64 = 1;
    const DEAD: u64 = 2;
    const VALUE_LOW_BITS: u32 = 24;
    const KEY_LOW_BITS: u32 = 8;

    /// Bytes of this header: 8 or 16.
    #[inline(always)]
    pub(crate) fn header_len(&self) -> usize {
        if self.is_long() { 16 } else { 8 }
    }

    /// Bytes of the whole entry in a ring: header, key, value and padding.
    #[inline]
    pub(crate) fn entry_len(&self) -> usize {
        (self.header_len() + usize::from(self.key_len) + self.value_len as usize).next_multiple_of(8)
    }

    /// Whether the entry is gone at this time.
    #[inline(always)]
    pub(crate) fn is_expired(&self, now_s: u32) -> bool {
        self.expiry_s != 0 && now_s >= self.expiry_s
    }

    /// The header as words; the second one counts only if the first says so.
    pub(crate) fn encode(&self) -> [u64; 2] {
        debug_assert!(usize::from(self.ring) < Self::RINGS_MAX && self.class < 16, "fields fit their bits: {self:?}");
        let (value_len, key_len) = (u64::from(self.value_len), u64::from(self.key_len));
        let first = u64::from(self.is_long())
            | if self.dead { Self::DEAD } else { 0 }
            | u64::from(self.ring) << 2
            | u64::from(self.class) << 8
            | u64::from(self.stamp) << 16
            | (key_len & 0xFF) << 32
            | (value_len & 0xFF_FFFF) << 40;
        let second =
            u64::from(self.expiry_s) | key_len >> Self::KEY_LOW_BITS << 32 | value_len >> Self::VALUE_LOW_BITS << 40;
        [first, second]
    }

    /// The header in these words; `second` is asked for only if there is one.
    #[inline(always)]
    pub(crate) fn decode(first: u64, second: impl FnOnce() -> u64) -> Self {
        let mut header = Self {
            value_len: (first >> 40) as u32,
            key_len: (first >> 32) as u16 & 0xFF,
            expiry_s: 0,
            ring: (first >> 2) as u8 & 0x3F,
            class: (first >> 8) as u8 & 0x0F,
            stamp: (first >> 16) as u16,
            dead: first & Self::DEAD != 0,
        };
        if first & Self::LONG != 0 {
            let second = second();
            header.expiry_s = second as u32;
            header.key_len |= ((second >> 32) as u16 & 0xFF) << Self::KEY_LOW_BITS;
            header.value_len |= ((second >> 40) as u32 & 0xFF) << Self::VALUE_LOW_BITS;
        }
        header
    }

    #[inline(always)]
    fn is_long(&self) -> bool {
        self.expiry_s != 0 || self.key_len >> Self::KEY_LOW_BITS != 0 || self.value_len >> Self::VALUE_LOW_BITS != 0
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_header_decodes_to_what_was_encoded_at_every_edge() {
        for value_len in [0, 1, 0xFF_FFFF, 0x100_0000, u32::MAX] {
            for key_len in [0, 1, 255, 256, u16::MAX] {
                for expiry_s in [0, 1, u32::MAX] {
                    for (ring, class, stamp, dead) in [(0, 0, 0, false), (63, 15, u16::MAX, true), (1, 8, 300, false)] {
                        let header = Header { value_len, key_len, expiry_s, ring, class, stamp, dead };
                        let [first, second] = header.encode();
                        let short = value_len < 1 << 24 && key_len < 256 && expiry_s == 0;
                        assert_eq!(header.header_len(), if short { 8 } else { 16 }, "{header:?}");
                        let mut asked = false;
                        let decoded = Header::decode(first, || {
                            asked = true;
                            second
                        });
                        assert_eq!(decoded, header);
                        assert_eq!(asked, !short, "the second word is read exactly where there is one");
                    }
                }
            }
        }
    }

    #[test]
    fn entries_fill_whole_words() {
        let entry_len = |key_len, value_len| Header { key_len, value_len, ..Header::default() }.entry_len();
        assert_eq!([entry_len(0, 0), entry_len(1, 0), entry_len(8, 16), entry_len(8, 17)], [8, 16, 32, 40]);
        assert_eq!(Header { expiry_s: 5, ..Header::default() }.entry_len(), 16);
    }

    #[test]
    fn an_entry_is_gone_from_its_expiry_on() {
        let header = Header { expiry_s: 100, ..Header::default() };
        assert_eq!([99, 100, 101].map(|now_s| header.is_expired(now_s)), [false, true, true]);
        assert!(!Header::default().is_expired(u32::MAX), "0 is never");
    }
}
