//! Ring logs: byte streams over chunks of one arena. Entries enter at the tail and leave at the head.
//!
//! An entry may straddle chunks, so any number of rings share a budget and each wastes at most the rest of its first and last chunk. A location
//! is the entry's offset in the arena / 8 + 1 (0 is never a location); it stays valid until the entry is popped or moved.
//!
//! Knows: chunks, entry headers. Does not know: the index, which entries are worth keeping.
//!
//! Invariants
//!  I-RNG-1  A ring without bytes holds no chunk; a chunk goes back when its last byte is popped.
//!  I-RNG-2  Entries begin at multiples of 8 and chunks are multiples of 8, so a word never straddles.

use crate::ring::arena::{Arena, NONE};
use crate::ring::entry::Header;

/// All rings of one arena.
#[derive(Debug)]
pub(crate) struct Rings {
    arena: Arena,
    rings: Vec<Ring>,
    used_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Ring {
    head_chunk: u32,
    tail_chunk: u32,
    head_offset: usize,
    tail_offset: usize,
    used_bytes: usize,
    /// All that ever left at the head: the head's position in the stream.
    popped_bytes: u64,
}

impl Ring {
    const EMPTY: Self =
        Self { head_chunk: NONE, tail_chunk: NONE, head_offset: 0, tail_offset: 0, used_bytes: 0, popped_bytes: 0 };

    /// The same ring when its last byte has gone.
    fn emptied(self) -> Self {
        Self { popped_bytes: self.popped_bytes, ..Self::EMPTY }
    }
}

impl Rings {
    /// Empty rings over an arena.
    pub(crate) fn new(arena: Arena, ring_count: usize) -> Self {
        assert!(ring_count <= Header::RINGS_MAX, "a header can name {} rings", Header::RINGS_MAX);
        Self { arena, rings: vec![Ring::EMPTY; ring_count], used_bytes: 0 }
    }

    /// Rings, empty ones included.
    pub(crate) fn ring_count(&self) -> usize {
        self.rings.len()
    }

    /// Bytes between head and tail of a ring, holes included.
    #[inline]
    pub(crate) fn ring_bytes(&self, ring: u8) -> usize {
        self.rings[usize::from(ring)].used_bytes
    }

    /// The same for all rings together.
    #[inline]
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes of memory taken by the arena (the rings' own state is some words each).
    pub(crate) fn held_bytes(&self) -> u64 {
        self.arena.held_bytes()
    }

    /// Whether an entry of `entry_len` can be appended to a ring such that `spare_chunks` chunks remain free.
    #[inline]
    pub(crate) fn fits(&self, ring: u8, entry_len: usize, spare_chunks: u32) -> bool {
        let chunks = entry_len.saturating_sub(self.tail_room(ring)).div_ceil(self.arena.chunk_len());
        chunks + spare_chunks as usize <= self.arena.free_count() as usize
    }

    /// Appends an entry at a ring's tail (that of its header). Requires that it [fits](Self::fits).
    pub(crate) fn append(&mut self, header: &Header, key: &[u8], value: &[u8]) -> u64 {
        debug_assert_eq!((usize::from(header.key_len), header.value_len as usize), (key.len(), value.len()));
        let ring = usize::from(header.ring);
        self.open_tail(ring);
        let Ring { tail_chunk, tail_offset, .. } = self.rings[ring];
        let location = location_of(self.arena.start_of(tail_chunk) + tail_offset);
        let [first, second] = header.encode();
        self.write_tail(ring, &first.to_le_bytes());
        if header.header_len() == 16 {
            self.write_tail(ring, &second.to_le_bytes());
        }
        self.write_tail(ring, key);
        self.write_tail(ring, value);
        let entry_len = header.entry_len();
        // Padding never crosses a chunk (I-RNG-2).
        self.rings[ring].tail_offset += entry_len - (header.header_len() + key.len() + value.len());
        self.rings[ring].used_bytes += entry_len;
        self.used_bytes += entry_len;
        location
    }

    /// The location of a ring's oldest entry.
    #[inline]
    pub(crate) fn head(&self, ring: u8) -> Option<u64> {
        let ring = self.rings[usize::from(ring)];
        (ring.used_bytes != 0).then(|| location_of(self.arena.start_of(ring.head_chunk) + ring.head_offset))
    }

    /// Lets a ring's oldest entry go, which is `entry_len` long.
    pub(crate) fn pop(&mut self, ring: u8, entry_len: usize) {
        let mut remaining = entry_len;
        while remaining != 0 {
            let step = remaining.min(self.arena.chunk_len() - self.rings[usize::from(ring)].head_offset);
            self.consume(usize::from(ring), step);
            remaining -= step;
        }
        self.used_bytes -= entry_len;
    }

    /// Moves a ring's oldest entry, which is `entry_len` long, to the tail of a ring (also of its own) and returns its new location. The header
    /// goes with it unchanged; see [`set_header`](Self::set_header).
    ///
    /// At most one free chunk is needed, however long the entry: by the time the target has filled it, the source has given one back. Where even
    /// that is missing, nothing is done.
    pub(crate) fn move_head(&mut self, source: u8, target: u8, entry_len: usize) -> Option<u64> {
        if self.tail_room(target) < entry_len && self.arena.free_count() == 0 {
            return None;
        }
        let (source, target) = (usize::from(source), usize::from(target));
        self.open_tail(target);
        let Ring { tail_chunk, tail_offset, .. } = self.rings[target];
        let location = location_of(self.arena.start_of(tail_chunk) + tail_offset);
        let chunk_len = self.arena.chunk_len();
        let mut remaining = entry_len;
        while remaining != 0 {
            self.open_tail(target);
            let (from, to) = (self.rings[source], self.rings[target]);
            let step = remaining.min(chunk_len - from.head_offset).min(chunk_len - to.tail_offset);
            let start = self.arena.start_of(from.head_chunk) + from.head_offset;
            let to_start = self.arena.start_of(to.tail_chunk) + to.tail_offset;
            self.arena.bytes_mut().copy_within(start..start + step, to_start);
            self.rings[target].tail_offset += step;
            self.rings[target].used_bytes += step;
            self.consume(source, step);
            remaining -= step;
        }
        Some(location)
    }

    /// The header of the entry at a location.
    #[inline(always)]
    pub(crate) fn header(&self, location: u64) -> Header {
        let offset = offset_of(location);
        Header::decode(self.word(offset), || self.word(self.second_word_offset(offset)))
    }

    /// Writes the header of the entry at a location anew. Requires that its length stays.
    pub(crate) fn set_header(&mut self, location: u64, header: &Header) {
        let offset = offset_of(location);
        let [first, second] = header.encode();
        self.set_word(offset, first);
        if header.header_len() == 16 {
            self.set_word(self.second_word_offset(offset), second);
        }
    }

    /// Overwrites bytes of the entry at a location, from `skip` bytes behind its start. Requires that they lie within the entry.
    pub(crate) fn overwrite(&mut self, location: u64, skip: usize, bytes: &[u8]) {
        let mut rest = bytes;
        let mut at = self.locate(offset_of(location), skip);
        while !rest.is_empty() {
            let (start, room) = (self.arena.start_of(at.0) + at.1, self.arena.chunk_len() - at.1);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.arena.bytes_mut()[start..start + now.len()].copy_from_slice(now);
            rest = later;
            at = (self.arena.next(at.0), 0);
        }
    }

    /// `len` bytes of the entry at a location, from `skip` bytes behind its start, where they lie in one chunk.
    #[inline(always)]
    pub(crate) fn slice(&self, location: u64, skip: usize, len: usize) -> Option<&[u8]> {
        let offset = offset_of(location);
        let (_, in_chunk) = self.arena.split(offset);
        let end = in_chunk + skip + len;
        (end <= self.arena.chunk_len()).then(|| &self.arena.bytes()[offset + skip..offset + skip + len])
    }

    /// The same bytes piece by piece, wherever they lie.
    pub(crate) fn pieces(&self, location: u64, skip: usize, len: usize) -> Pieces<'_> {
        let (chunk, in_chunk) = self.locate(offset_of(location), skip);
        Pieces { arena: &self.arena, chunk, in_chunk, remaining: len }
    }

    /// The entries of a ring with their headers, oldest first, holes included.
    pub(crate) fn entries(&self, ring: u8) -> impl Iterator<Item = (u64, Header)> {
        self.entries_from(ring, 0).map(|(_, location, header)| (location, header))
    }

    /// The same from a position in the ring's stream on, or from its head if that is further: the position behind each entry, its location and its
    /// header. A position is 0 or one that came from here. Finding it takes a step for each chunk before it.
    pub(crate) fn entries_from(&self, ring: u8, position: u64) -> impl Iterator<Item = (u64, u64, Header)> {
        let Ring { head_chunk, head_offset, used_bytes, popped_bytes, .. } = self.rings[usize::from(ring)];
        let end = popped_bytes + used_bytes as u64;
        let mut next = position.clamp(popped_bytes, end);
        let skip = (next - popped_bytes) as usize;
        let mut at = (head_chunk, head_offset);
        if skip > 0 && next < end {
            at = self.locate(self.arena.start_of(head_chunk) + head_offset, skip);
        }
        std::iter::from_fn(move || {
            if next == end {
                return None;
            }
            let location = location_of(self.arena.start_of(at.0) + at.1);
            let header = self.header(location);
            next += header.entry_len() as u64;
            if next != end {
                at = self.locate(offset_of(location), header.entry_len());
            }
            Some((next, location, header))
        })
    }

    /// Empties all rings.
    pub(crate) fn clear(&mut self) {
        for ring in &mut self.rings {
            ring.popped_bytes += ring.used_bytes as u64;
            *ring = ring.emptied();
        }
        self.used_bytes = 0;
        self.arena.free_all();
    }

    /// Recounts everything and checks the invariants. Panics with a sentence where one does not hold.
    pub(crate) fn validate(&self) {
        let mut chunks = Vec::new();
        for (number, ring) in self.rings.iter().enumerate() {
            let mut walked = 0;
            for (location, header) in self.entries(number as u8) {
                assert_eq!(usize::from(header.ring), number, "the entry at {location} names its ring");
                walked += header.entry_len();
            }
            assert_eq!(walked, ring.used_bytes, "the entries of ring {number} end at its tail");
            assert_eq!(ring.used_bytes == 0, ring.head_chunk == NONE, "I-RNG-1 in ring {number}");
            let mut chunk = ring.head_chunk;
            let mut bytes = 0;
            while chunk != NONE {
                chunks.push(chunk);
                let start = if chunk == ring.head_chunk { ring.head_offset } else { 0 };
                let last = chunk == ring.tail_chunk;
                bytes += if last { ring.tail_offset } else { self.arena.chunk_len() } - start;
                chunk = if last { NONE } else { self.arena.next(chunk) };
            }
            assert_eq!(bytes, ring.used_bytes, "used_bytes of ring {number} is what lies between head and tail");
        }
        self.arena.validate(chunks.into_iter());
        let sum: usize = self.rings.iter().map(|ring| ring.used_bytes).sum();
        assert_eq!(sum, self.used_bytes, "used_bytes is the sum of the rings'");
    }

    /// Bytes that a ring takes without a new chunk.
    #[inline]
    fn tail_room(&self, ring: u8) -> usize {
        let ring = self.rings[usize::from(ring)];
        if ring.tail_chunk == NONE { 0 } else { self.arena.chunk_len() - ring.tail_offset }
    }

    /// Sees to it that the tail chunk has room for a word at least.
    fn open_tail(&mut self, ring: usize) {
        let Ring { tail_chunk, tail_offset, .. } = self.rings[ring];
        if tail_chunk != NONE && tail_offset < self.arena.chunk_len() {
            return;
        }
        let chunk = self.arena.take().expect("a free chunk: append and move_head require room");
        if tail_chunk == NONE {
            self.rings[ring].head_chunk = chunk;
            self.rings[ring].head_offset = 0;
        } else {
            self.arena.link(tail_chunk, chunk);
        }
        self.rings[ring].tail_chunk = chunk;
        self.rings[ring].tail_offset = 0;
    }

    fn write_tail(&mut self, ring: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.open_tail(ring);
            let Ring { tail_chunk, tail_offset, .. } = self.rings[ring];
            let start = self.arena.start_of(tail_chunk) + tail_offset;
            let (now, later) = rest.split_at(rest.len().min(self.arena.chunk_len() - tail_offset));
            self.arena.bytes_mut()[start..start + now.len()].copy_from_slice(now);
            self.rings[ring].tail_offset += now.len();
            rest = later;
        }
    }

    /// Lets `step` bytes at the head go, which do not cross a chunk.
    fn consume(&mut self, ring: usize, step: usize) {
        let chunk_len = self.arena.chunk_len();
        let Ring { head_chunk, .. } = self.rings[ring];
        let state = &mut self.rings[ring];
        state.head_offset += step;
        state.used_bytes -= step;
        state.popped_bytes += step as u64;
        if state.used_bytes == 0 {
            *state = state.emptied();
            self.arena.give(head_chunk);
        } else if state.head_offset == chunk_len {
            state.head_chunk = self.arena.next(head_chunk);
            state.head_offset = 0;
            self.arena.give(head_chunk);
        }
    }

    /// The chunk and place `skip` bytes behind an offset, along the chunks' links.
    fn locate(&self, offset: usize, skip: usize) -> (u32, usize) {
        let (mut chunk, in_chunk) = self.arena.split(offset);
        let mut ahead = in_chunk + skip;
        while ahead >= self.arena.chunk_len() {
            let next = self.arena.next(chunk);
            if next == NONE {
                break; // just behind the last byte of a ring: nothing is read there
            }
            ahead -= self.arena.chunk_len();
            chunk = next;
        }
        (chunk, ahead)
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> u64 {
        u64::from_le_bytes(*self.arena.bytes()[offset..].first_chunk().expect("words are whole: I-RNG-2"))
    }

    fn set_word(&mut self, offset: usize, word: u64) {
        self.arena.bytes_mut()[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn second_word_offset(&self, offset: usize) -> usize {
        let (chunk, in_chunk) = self.locate(offset, 8);
        self.arena.start_of(chunk) + in_chunk
    }
}

/// Consecutive bytes of an entry, one piece per chunk.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    arena: &'a Arena,
    chunk: u32,
    in_chunk: usize,
    remaining: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.remaining == 0 {
            return None;
        }
        let len = self.remaining.min(self.arena.chunk_len() - self.in_chunk);
        let start = self.arena.start_of(self.chunk) + self.in_chunk;
        self.remaining -= len;
        if self.remaining != 0 {
            self.chunk = self.arena.next(self.chunk);
            self.in_chunk = 0;
        }
        Some(&self.arena.bytes()[start..start + len])
    }
}

#[inline]
fn location_of(offset: usize) -> u64 {
    offset as u64 / 8 + 1
}

#[inline]
fn offset_of(location: u64) -> usize {
    (location as usize - 1) * 8
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::hash::key_hash;
    use std::collections::VecDeque;

    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| (seed.wrapping_mul(31).wrapping_add(i * 7) >> 1) as u8).collect()
    }

    fn header(ring: u8, key: &[u8], value: &[u8], expiry_s: u32) -> Header {
        Header { ring, key_len: key.len() as u16, value_len: value.len() as u32, expiry_s, ..Header::default() }
    }

    fn joined(rings: &Rings, location: u64, skip: usize, len: usize) -> Vec<u8> {
        let joined = rings.pieces(location, skip, len).collect::<Vec<_>>().concat();
        if let Some(slice) = rings.slice(location, skip, len) {
            assert_eq!(slice, joined);
        }
        joined
    }

    #[test]
    fn entries_of_every_size_around_a_chunk_come_back_byte_for_byte() {
        let mut rings = Rings::new(Arena::new(16 * 4096).expect("memory"), 1);
        for len in (0..200).chain(3900..4300).chain(8100..8300).chain([20_000]) {
            for expiry_s in [0, 9] {
                let (key, value) = (bytes(len as u64, len % 300), bytes(!len as u64, len));
                let header = header(0, &key, &value, expiry_s);
                let location = rings.append(&header, &key, &value);
                assert_eq!(rings.header(location), header);
                assert_eq!(joined(&rings, location, header.header_len(), key.len()), key);
                assert_eq!(joined(&rings, location, header.header_len() + key.len(), len), value);
                let other = bytes(77, len);
                rings.overwrite(location, header.header_len() + key.len(), &other);
                assert_eq!(joined(&rings, location, header.header_len() + key.len(), len), other);
                assert_eq!(joined(&rings, location, header.header_len(), key.len()), key);
                rings.validate();
                // One entry stays behind the head, so that offsets drift through every place of a chunk.
                if rings.entries(0).count() == 2 {
                    let head = rings.head(0).expect("two entries");
                    rings.pop(0, rings.header(head).entry_len());
                }
                rings.validate();
            }
        }
    }

    #[test]
    fn a_chunk_goes_back_with_its_last_byte() {
        let mut rings = Rings::new(Arena::new(8 * 4096).expect("memory"), 2);
        let value = vec![1; 4096 - 16];
        let header = header(1, b"12345678", &value, 0);
        assert_eq!(header.entry_len(), 4096);
        assert!(rings.fits(1, 8 * 4096, 0) && !rings.fits(1, 8 * 4096, 1) && !rings.fits(1, 8 * 4096 + 8, 0));
        rings.append(&header, b"12345678", &value);
        rings.append(&header, b"12345678", &value);
        assert_eq!(rings.arena.free_count(), 6);
        rings.pop(1, 4096);
        assert_eq!(rings.arena.free_count(), 7);
        rings.pop(1, 4096);
        assert_eq!((rings.arena.free_count(), rings.head(1)), (8, None));
        rings.validate();
    }

    #[test]
    fn a_move_needs_one_free_chunk_however_long_the_entry() {
        let mut rings = Rings::new(Arena::new(8 * 4096).expect("memory"), 2);
        let value = bytes(3, 6 * 4096);
        let long = header(0, b"k", &value, 0);
        rings.append(&long, b"k", &value);
        assert_eq!(rings.arena.free_count(), 1);
        for (source, target) in [(0u8, 1u8), (1, 1), (1, 1), (1, 0)] {
            let location = rings.move_head(source, target, long.entry_len()).expect("one chunk is free");
            rings.set_header(location, &Header { ring: target, ..long });
            rings.validate();
            assert_eq!(joined(&rings, location, 9, value.len()), value);
        }
        rings.append(&header(1, b"", b"", 0), b"", b"");
        assert_eq!(rings.arena.free_count(), 0);
        assert_eq!(rings.move_head(0, 1, long.entry_len()), None, "and without one nothing happens");
        rings.validate();
    }

    #[test]
    fn random_appends_pops_and_moves_agree_with_queues() {
        for seed in 0..30u64 {
            let mut rings = Rings::new(Arena::new(12 * 4096).expect("memory"), 3);
            let mut model: Vec<VecDeque<(Vec<u8>, Vec<u8>)>> = vec![VecDeque::new(); 3];
            for step in 0..600u64 {
                let random = key_hash(seed, &step.to_le_bytes());
                let (ring, other) = ((random % 3) as u8, (random >> 4) as u8 % 3);
                let len = (random >> 16) as usize % if random >> 60 == 0 { 9000 } else { 600 };
                let head = rings.head(ring).map(|location| rings.header(location));
                match (random >> 8) % 4 {
                    0 | 1 => {
                        let (key, value) = (bytes(random, (random >> 40) as usize % 300), bytes(step, len));
                        let header = header(ring, &key, &value, (random >> 50) as u32 % 2);
                        if rings.fits(ring, header.entry_len(), 0) {
                            rings.append(&header, &key, &value);
                            model[usize::from(ring)].push_back((key, value));
                        }
                    }
                    2 => {
                        if let Some(header) = head {
                            rings.pop(ring, header.entry_len());
                            model[usize::from(ring)].pop_front();
                        }
                    }
                    _ => {
                        if let Some(header) = head
                            && let Some(location) = rings.move_head(ring, other, header.entry_len())
                        {
                            rings.set_header(location, &Header { ring: other, ..header });
                            let entry = model[usize::from(ring)].pop_front().expect("the ring has a head");
                            model[usize::from(other)].push_back(entry);
                        }
                    }
                }
                rings.validate();
                for ring in 0..3u8 {
                    let entries = rings.entries(ring).map(|(location, header)| {
                        let (skip, key_len) = (header.header_len(), usize::from(header.key_len));
                        let key = joined(&rings, location, skip, key_len);
                        (key, joined(&rings, location, skip + key_len, header.value_len as usize))
                    });
                    assert!(
                        entries.eq(model[usize::from(ring)].iter().cloned()),
                        "seed {seed} step {step} ring {ring}"
                    );
                }
            }
            rings.clear();
            rings.validate();
        }
    }

    /// A walk over a ring in several steps, and what it has to go on with.
    struct Walk {
        ring: u8,
        position: u64,
        /// Serial number of the last entry that it was given; 0 at the start.
        last_serial: u64,
    }

    #[test]
    fn a_walk_that_resumes_gives_each_entry_once_and_leaves_out_none_that_stayed() {
        let (mut resumed, mut ran_empty) = (0, 0);
        for seed in 0..40u64 {
            let mut rings = Rings::new(Arena::new(12 * 4096).expect("memory"), 3);
            // What stands in each ring: the serial number of its coming in there, and its key.
            let mut model: Vec<VecDeque<(u64, Vec<u8>)>> = vec![VecDeque::new(); 3];
            let mut walks: Vec<Walk> = (0..9).map(|n| Walk { ring: n % 3, position: 0, last_serial: 0 }).collect();
            let mut serial = 0;
            for step in 0..800u64 {
                let random = key_hash(seed, &step.to_le_bytes());
                let (ring, other) = ((random % 3) as u8, (random >> 4) as u8 % 3);
                let head = rings.head(ring).map(|location| rings.header(location));
                match (random >> 8) % 64 {
                    0..24 => {
                        let len = (random >> 16) as usize % if random >> 60 == 0 { 9000 } else { 600 };
                        let (key, value) = (step.to_le_bytes(), bytes(step, len));
                        let header = header(ring, &key, &value, (random >> 50) as u32 % 2);
                        if rings.fits(ring, header.entry_len(), 0) {
                            rings.append(&header, &key, &value);
                            serial += 1;
                            model[usize::from(ring)].push_back((serial, key.to_vec()));
                        }
                    }
                    24..32 => {
                        if let Some(header) = head {
                            rings.pop(ring, header.entry_len());
                            model[usize::from(ring)].pop_front();
                        }
                    }
                    32..40 => {
                        if let Some(header) = head
                            && let Some(location) = rings.move_head(ring, other, header.entry_len())
                        {
                            rings.set_header(location, &Header { ring: other, ..header });
                            let (_, key) = model[usize::from(ring)].pop_front().expect("the ring has a head");
                            // It comes in anew, also where it stays in its ring.
                            serial += 1;
                            model[usize::from(other)].push_back((serial, key));
                        }
                    }
                    40 => {
                        while let Some(location) = rings.head(ring) {
                            rings.pop(ring, rings.header(location).entry_len());
                        }
                        model[usize::from(ring)].clear();
                        ran_empty += 1;
                    }
                    41 if random >> 62 == 0 => {
                        rings.clear();
                        model.iter_mut().for_each(VecDeque::clear);
                    }
                    _ => {
                        let walk = &mut walks[(random >> 32) as usize % 9];
                        let count_max = [0, 1, 2, 7, usize::MAX][(random >> 40) as usize % 5];
                        let found: Vec<_> = rings.entries_from(walk.ring, walk.position).take(count_max).collect();
                        let expected: Vec<_> = model[usize::from(walk.ring)]
                            .iter()
                            .filter(|(serial, _)| *serial > walk.last_serial)
                            .take(count_max)
                            .collect();
                        let keys = found.iter().map(|(_, location, header)| {
                            joined(&rings, *location, header.header_len(), header.key_len.into())
                        });
                        assert!(
                            keys.eq(expected.iter().map(|(_, key)| key.clone())),
                            "seed {seed} step {step} ring {} from {} behind serial {}",
                            walk.ring,
                            walk.position,
                            walk.last_serial
                        );
                        if let (Some((next, ..)), Some((serial, _))) = (found.last(), expected.last()) {
                            resumed += u64::from(walk.position > 0);
                            (walk.position, walk.last_serial) = (*next, *serial);
                        }
                        // Now and then from the start again.
                        if (random >> 45).is_multiple_of(16) {
                            (walk.position, walk.last_serial) = (0, 0);
                        }
                    }
                }
            }
        }
        assert!(resumed > 500 && ran_empty > 50, "{resumed} walks went on, rings ran empty {ran_empty} times");
    }
}
