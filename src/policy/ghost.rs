//! Ghosts: what was evicted lately, as fingerprints.
//!
//! Buckets of eight cells (one cache line); in each the oldest goes first. A cell counts only as long as no more than a given number of ghosts
//! were pushed after it, so the memory of the table bounds how much is remembered, and its use how long.
//!
//! ```text
//! 63           32 31              4 3      0
//! [ fingerprint  | push number: 28 | f: 4 ]
//! ```
//! Knows: hashes. Does not know: entries, sizes. A false match costs one entry a better place than it earned, nothing else.
//!
//! Invariants
//!  I-GHO-1  A cell of all zeros is empty; no used cell is (its push number is at least 1, and never 0 after it wraps).

use crate::hash::reduce;

const CELLS_PER_BUCKET: usize = 8;
const BUCKET_BYTES: usize = CELLS_PER_BUCKET * 8;
const NUMBER_BITS: u32 = 28;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// A bounded memory of hashes.
#[derive(Debug)]
pub(crate) struct Ghosts {
    buckets: Vec<[u64; CELLS_PER_BUCKET]>,
    pushed_count: u64,
}

impl Ghosts {
    /// As many whole buckets as `bytes` holds, at least one.
    pub(crate) fn new(bytes: usize) -> Self {
        let bucket_count = (bytes / BUCKET_BYTES).clamp(1, u32::MAX as usize);
        Self { buckets: vec![[0; CELLS_PER_BUCKET]; bucket_count], pushed_count: 0 }
    }

    /// Remembers a hash with four bits (`f`).
    pub(crate) fn push(&mut self, hash: u64, f: u8) {
        // Zero is skipped, so that no used cell is all zeros.
        self.pushed_count += if (self.pushed_count + 1) & NUMBER_MASK == 0 { 2 } else { 1 };
        let now = self.pushed_count;
        let (bucket, fingerprint) = self.home(hash);
        let cell = u64::from(fingerprint) << 32 | (now & NUMBER_MASK) << 4 | u64::from(f & 0x0F);
        let oldest = self.buckets[bucket]
            .iter_mut()
            .max_by_key(|cell| if **cell == 0 { u64::MAX } else { age(now, **cell) })
            .expect("a bucket has eight cells");
        *oldest = cell;
    }

    /// Forgets a hash and returns its bits, if it is among the last `window_count` pushed.
    pub(crate) fn take(&mut self, hash: u64, window_count: u64) -> Option<u8> {
        let now = self.pushed_count;
        let (bucket, fingerprint) = self.home(hash);
        let fits = |cell: u64| cell != 0 && (cell >> 32) as u32 == fingerprint && age(now, cell) < window_count;
        let cell = self.buckets[bucket].iter_mut().find(|cell| fits(**cell))?;
        let f = (*cell & 0x0F) as u8;
        *cell = 0;
        Some(f)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.buckets.fill([0; CELLS_PER_BUCKET]);
        self.pushed_count = 0;
    }

    /// Bytes of memory taken.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.buckets.capacity() * BUCKET_BYTES) as u64
    }

    /// Bucket and fingerprint. The highest bits of a hash are its shard's, the same throughout a tier: the product mixes the lower ones upwards.
    fn home(&self, hash: u64) -> (usize, u32) {
        let mixed = hash.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (reduce((mixed >> 32) as u32, self.buckets.len() as u32) as usize, hash as u32)
    }
}

/// How many were pushed after this cell (modulo 2^28: a cell that old may look young again, and then is a false match at worst).
fn age(now: u64, cell: u64) -> u64 {
    now.wrapping_sub(cell >> 4) & NUMBER_MASK
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::hash::key_hash;

    fn hash(i: u64) -> u64 {
        key_hash(2, &i.to_le_bytes())
    }

    #[test]
    fn a_ghost_is_taken_once_with_the_bits_it_was_given() {
        let mut ghosts = Ghosts::new(4096);
        for i in 0..100 {
            ghosts.push(hash(i), i as u8 % 16);
        }
        for i in 0..100 {
            assert_eq!(ghosts.take(hash(i), 100), Some(i as u8 % 16));
            assert_eq!(ghosts.take(hash(i), 100), None);
        }
        ghosts.push(hash(1), 1);
        ghosts.clear();
        assert_eq!(ghosts.take(hash(1), 100), None);
    }

    #[test]
    fn a_ghost_is_forgotten_when_the_window_has_passed() {
        let mut ghosts = Ghosts::new(64 << 10);
        ghosts.push(hash(0), 0);
        for i in 1..50 {
            ghosts.push(hash(i), 0);
        }
        assert_eq!(ghosts.take(hash(0), 49), None);
        assert_eq!(ghosts.take(hash(0), 50), Some(0));
    }

    #[test]
    fn a_full_bucket_forgets_its_oldest() {
        let mut ghosts = Ghosts::new(64);
        (0..9).for_each(|i| ghosts.push(hash(i), 0));
        assert_eq!(ghosts.take(hash(0), u64::MAX), None);
        assert!((1..9).all(|i| ghosts.take(hash(i), u64::MAX).is_some()));
    }

    #[test]
    fn a_table_of_one_cell_per_ghost_remembers_most_of_a_window_under_a_fixed_prefix() {
        let mut ghosts = Ghosts::new(8 * 10_000);
        (0..30_000).for_each(|i| ghosts.push(hash(i) >> 10, 0));
        let kept = (20_000..30_000).filter(|&i| ghosts.take(hash(i) >> 10, 10_000).is_some()).count();
        assert!(kept > 8_300, "{kept} of 10000");
        assert_eq!(ghosts.held_bytes(), 8 * 10_000);
    }

    #[test]
    fn the_push_number_wraps_without_an_empty_cell_that_counts() {
        let mut ghosts = Ghosts::new(64);
        ghosts.pushed_count = NUMBER_MASK - 2;
        (0..6).for_each(|i| ghosts.push(if i == 2 { 0 } else { hash(i) }, 0));
        assert!((0..6).all(|i| ghosts.take(if i == 2 { 0 } else { hash(i) }, 8).is_some()));
    }
}
