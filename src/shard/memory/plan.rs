//! How the memory of a tier is divided between entries, index and ghosts.
//!
//! An entry of n bytes (key and value) takes n + 8 bytes, rounded up to words, in the arena; its share of the index is a slot in a table seven
//! eighths full; and it is allowed one ghost. The split assumes entries of one size. Where real ones are smaller, the index runs out first and drops
//! entries (counted); where they are larger, some of the index stays empty.

use crate::policy::S3Fifo;
use crate::ring::Arena;

const PAGE_LEN: usize = 4096;
const SLOT_LEN: usize = 8;
const GHOST_LEN: usize = 8;
const GHOST_BUCKET_LEN: usize = 64;
const LINK_LEN: usize = 4;

/// Bytes for each part of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// For entries.
    pub arena_bytes: usize,
    /// For the index.
    pub index_bytes: usize,
    /// For ghosts.
    pub ghost_bytes: usize,
}

impl MemoryPlan {
    /// An arena has at least this many chunks, so that the largest entry (an eighth) is a chunk at least and rings have some to share.
    pub(crate) const CHUNKS_MIN: usize = 8;
    /// What a tier takes besides: its own state, and what allocators add to the parts.
    pub(crate) const FIXED_BYTES: usize = PAGE_LEN;
    /// The smallest total that can be split: eight chunks of 4 KiB with their links, a page of index, a bucket of ghosts (about 40 KiB).
    pub(crate) const TOTAL_BYTES_MIN: usize = Self::ARENA_MIN + PAGE_LEN + GHOST_BUCKET_LEN + Self::FIXED_BYTES;

    const ARENA_MIN: usize = Self::CHUNKS_MIN * (PAGE_LEN + LINK_LEN);

    /// Divides a total for entries of the expected size (key and value). None below [`TOTAL_BYTES_MIN`](Self::TOTAL_BYTES_MIN).
    pub(crate) fn split(total_bytes: usize, expected_entry_bytes: usize) -> Option<Self> {
        let spendable = total_bytes.checked_sub(Self::FIXED_BYTES).filter(|_| total_bytes >= Self::TOTAL_BYTES_MIN)?;
        let entry_bytes = expected_entry_bytes.saturating_add(SLOT_LEN).checked_next_multiple_of(8)?;
        // In sevenths of a byte, so that a slot in a table seven eighths full is a whole number of them.
        let share = entry_bytes as u128 * 7 + SLOT_LEN as u128 * 8 + GHOST_LEN as u128 * 7;
        let entries = (spendable as u128 * 7 / share) as usize;
        let beyond_arena = spendable - Self::ARENA_MIN;
        let index_bytes = (entries * SLOT_LEN * 8 / 7).next_multiple_of(PAGE_LEN);
        let index_bytes = index_bytes.clamp(PAGE_LEN, (beyond_arena - GHOST_BUCKET_LEN) / PAGE_LEN * PAGE_LEN);
        let ghost_bytes = (entries * GHOST_LEN).next_multiple_of(GHOST_BUCKET_LEN);
        let ghost_bytes =
            ghost_bytes.clamp(GHOST_BUCKET_LEN, (beyond_arena - index_bytes) / GHOST_BUCKET_LEN * GHOST_BUCKET_LEN);
        let arena_bytes = Self::arena_within(spendable - index_bytes - ghost_bytes);
        Some(Self { arena_bytes, index_bytes, ghost_bytes })
    }

    fn chunks(&self) -> (usize, usize) {
        let chunk_len = Arena::chunk_len_of(self.arena_bytes);
        (self.arena_bytes / chunk_len, chunk_len)
    }

    /// Bytes of entries, headers included, that are held before some are evicted.
    ///
    /// Each ring wastes less than two chunks, and a move needs a free one. With that much slack, bytes alone tell when to evict, and chunks are
    /// never short; a tiny arena cannot afford it and now and then evicts until a chunk is free.
    pub(crate) fn capacity_bytes(&self) -> usize {
        let (chunk_count, chunk_len) = self.chunks();
        (chunk_count - (2 * S3Fifo::RING_COUNT + 1).min(chunk_count / 8)) * chunk_len
    }

    /// The largest entry (key, value and header): an eighth of the arena.
    pub(crate) fn entry_len_max(&self) -> usize {
        let (chunk_count, chunk_len) = self.chunks();
        chunk_count * chunk_len / 8
    }

    /// The most bytes of key and value that an entry has, whatever its header.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        self.entry_len_max().saturating_sub(2 * SLOT_LEN)
    }

    /// Entries of one size (key and value) that are held: as many as fit the arena, and the index seven eighths full.
    pub(crate) fn entry_count(&self, entry_bytes: usize) -> usize {
        let entry_len = entry_bytes.saturating_add(SLOT_LEN).checked_next_multiple_of(8).unwrap_or(usize::MAX);
        let by_arena = if entry_len > self.entry_len_max() { 0 } else { self.capacity_bytes() / entry_len };
        by_arena.min(self.index_bytes / SLOT_LEN * 7 / 8)
    }

    /// The largest arena that, with its links, takes no more than `bytes`.
    fn arena_within(bytes: usize) -> usize {
        // The length of chunks may halve when the arena shrinks by its links: so try, and once more.
        let mut chunk_len = Arena::chunk_len_of(bytes);
        loop {
            let arena_bytes = bytes / (chunk_len + LINK_LEN) * chunk_len;
            let real = Arena::chunk_len_of(arena_bytes);
            if real == chunk_len {
                return arena_bytes;
            }
            chunk_len = real;
        }
    }
}
