//! The arena: one anonymous mapping cut into chunks of one length, free or linked into a ring.
//!
//! Chunks are powers of two, so that an address is split by a shift: about 1/1024 of the arena (never more), at least 4 KiB.
//!
//! Knows: chunks and links. Does not know: rings, entries. Growing appends chunks to `links` and to the free list; shrinking needs the chunks
//! above the cut to be free, which rings reach by popping; neither changes an address.
//!
//! Invariants
//!  I-ARE-1  Each chunk is either on the free list or in exactly one ring.

use crate::disk::AnonBytes;
use std::io;

/// No chunk: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

const CHUNK_LEN_MIN: usize = 4096;
const CHUNKS_PER_ARENA: usize = 1024;

/// Chunks of memory and how they hang together.
#[derive(Debug)]
pub(crate) struct Arena {
    bytes: AnonBytes,
    /// For each chunk the next one of its ring, or of the free list.
    links: Vec<u32>,
    chunk_bits: u32,
    free_head: u32,
    free_count: u32,
}

impl Arena {
    /// The length of the chunks of an arena of this size.
    pub(crate) fn chunk_len_of(arena_bytes: usize) -> usize {
        let share = (arena_bytes / CHUNKS_PER_ARENA).max(CHUNK_LEN_MIN);
        1 << share.ilog2()
    }

    /// An arena of as many whole chunks as `bytes` holds.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let chunk_len = Self::chunk_len_of(bytes);
        let chunk_count = u32::try_from(bytes / chunk_len).ok().filter(|&count| count < NONE);
        let chunk_count = chunk_count.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let bytes = AnonBytes::new(chunk_len * chunk_count as usize)?;
        let mut arena = Self {
            bytes,
            links: vec![NONE; chunk_count as usize],
            chunk_bits: chunk_len.ilog2(),
            free_head: NONE,
            free_count: 0,
        };
        arena.free_all();
        Ok(arena)
    }

    /// Puts every chunk on the free list, the lowest first.
    pub(crate) fn free_all(&mut self) {
        self.free_head = NONE;
        self.free_count = 0;
        for chunk in (0..self.chunk_count()).rev() {
            self.give(chunk);
        }
    }

    /// Takes a chunk off the free list. The last one given comes first: its memory is touched already.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let chunk = self.free_head;
        if chunk == NONE {
            return None;
        }
        self.free_head = self.links[chunk as usize];
        self.links[chunk as usize] = NONE;
        self.free_count -= 1;
        Some(chunk)
    }

    /// Puts a chunk on the free list.
    pub(crate) fn give(&mut self, chunk: u32) {
        self.links[chunk as usize] = self.free_head;
        self.free_head = chunk;
        self.free_count += 1;
    }

    /// Lets `next` follow `chunk`.
    pub(crate) fn link(&mut self, chunk: u32, next: u32) {
        self.links[chunk as usize] = next;
    }

    /// The chunk that follows.
    #[inline]
    pub(crate) fn next(&self, chunk: u32) -> u32 {
        self.links[chunk as usize]
    }

    /// The bytes of all chunks, in the order of their numbers.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to write.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Where a chunk begins.
    #[inline]
    pub(crate) fn start_of(&self, chunk: u32) -> usize {
        (chunk as usize) << self.chunk_bits
    }

    /// The chunk and the place in it of an offset in the arena.
    #[inline]
    pub(crate) fn split(&self, offset: usize) -> (u32, usize) {
        ((offset >> self.chunk_bits) as u32, offset & (self.chunk_len() - 1))
    }

    /// Bytes per chunk.
    #[inline]
    pub(crate) fn chunk_len(&self) -> usize {
        1 << self.chunk_bits
    }

    /// Chunks in all.
    pub(crate) fn chunk_count(&self) -> u32 {
        self.links.len() as u32
    }

    /// Chunks on the free list.
    #[inline]
    pub(crate) fn free_count(&self) -> u32 {
        self.free_count
    }

    /// Bytes of memory taken, links included.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.bytes.len() + self.links.capacity() * size_of::<u32>()) as u64
    }

    /// Checks the free list and I-ARE-1, given the chunks of the rings. Panics with a sentence where it does not hold.
    pub(crate) fn validate(&self, in_rings: impl Iterator<Item = u32>) {
        let mut owners = vec![0u32; self.links.len()];
        let mut count = 0;
        let mut chunk = self.free_head;
        while chunk != NONE && count <= self.chunk_count() {
            owners[chunk as usize] += 1;
            count += 1;
            chunk = self.next(chunk);
        }
        assert_eq!(count, self.free_count, "free_count is the length of the free list");
        in_rings.for_each(|chunk| owners[chunk as usize] += 1);
        let wrong = owners.iter().position(|&owners| owners != 1);
        assert_eq!(wrong, None, "I-ARE-1: each chunk is free or in one ring");
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_about_a_thousandth_and_at_least_a_page() {
        assert_eq!(Arena::chunk_len_of(64 << 10), 4096);
        assert_eq!(Arena::chunk_len_of(4 << 20), 4096);
        assert_eq!(Arena::chunk_len_of(16 << 20), 16 << 10);
        assert_eq!(Arena::chunk_len_of((16 << 20) - 1), 8 << 10, "never more than a 1024th");
        let arena = Arena::new((64 << 10) + 5000).expect("memory");
        assert_eq!((arena.chunk_count(), arena.free_count()), (17, 17));
        assert_eq!(arena.held_bytes(), 17 * (4096 + 4));
    }

    #[test]
    fn every_chunk_is_handed_out_once_and_can_come_back() {
        let mut arena = Arena::new(10 * 4096).expect("memory");
        let mut taken: Vec<u32> = std::iter::from_fn(|| arena.take()).collect();
        assert_eq!(taken, (0..10).collect::<Vec<u32>>());
        arena.validate(taken.iter().copied());
        arena.give(4);
        taken.retain(|&chunk| chunk != 4);
        arena.validate(taken.iter().copied());
        assert_eq!((arena.take(), arena.take()), (Some(4), None));
        arena.free_all();
        arena.validate(std::iter::empty());
    }
}
