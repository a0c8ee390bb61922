//! The memory tier of one shard: ring logs for the bytes, a table to find them, a policy to choose what goes.
//!
//! Entries lie inline in an arena of fixed size; nothing is allocated per entry. A new version of a key is appended and the old one becomes a hole,
//! or is overwritten where it takes exactly as much room. Holes and expired entries cost nothing when they reach a head.
//!
//! Knows: rings, index, policy. Does not know: locks (a shard's lock guards it: `&self` needs its read side, `&mut self` its write side), the disk
//! tier, clocks (seconds are passed in).
//!
//! The way of a hit is inlined by force: as calls, its parts pass what they found through memory in pieces of one width and read it back in
//! another, and the stalls took half of the time.
//!
//! Invariants
//!  I-MEM-1  Each entry in a ring either is dead or is named by exactly one slot of the table, and each slot names such an entry.
//!  I-MEM-2  A hit is the last value inserted for its key: the whole key is compared, a tag never suffices.
//!  I-MEM-3  What is held stays within the plan.

mod counters;
mod hit;
mod plan;
#[cfg(all(test, not(emberlog_loom)))]
mod tests;

pub(crate) use counters::MemoryCounters;
pub(crate) use hit::Hit;
pub(crate) use plan::MemoryPlan;

use crate::hash::key_hash;
use crate::index::{Put, Table};
use crate::policy::{Eviction, Head, MOVES_PER_INSERT_MAX, Occupancy, Origin, Placement, RingsView, S3Fifo, Verdict};
use crate::ring::{Arena, Header, Rings};
use crate::shard::lives::Lives;
use std::io;

/// Keys up to this long that straddle chunks are gathered on the stack.
const STACK_KEY_LEN: usize = 256;

/// How the tier hashes a key under a salt; what callers pass as `hash` must be the same.
type KeyHash = fn(u64, &[u8]) -> u64;

/// The entries of one shard that are in memory.
#[derive(Debug)]
pub(crate) struct MemoryTier {
    table: Table,
    rings: Rings,
    policy: S3Fifo,
    /// The largest entry (key, value and header) that the tier takes: an eighth of the arena.
    entry_bytes_max: usize,
    capacity_bytes: usize,
    dead_bytes: usize,
    salt: u64,
    hash: KeyHash,
    counters: MemoryCounters,
    /// Tells how old entries get; decides nothing.
    lives: Option<Lives>,
}

/// An entry read back from the log after a restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restored<'a> {
    pub(crate) hash: u64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) expiry_s: u32,
    pub(crate) popularity: u8,
}

/// What an insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The value is here.
    Stored,
    /// The entry is larger than the tier takes; an older value of the key is gone.
    Oversize,
}

impl MemoryTier {
    /// A tier as planned, for keys whose hash is [`key_hash`] under this salt.
    pub(crate) fn new(plan: MemoryPlan, salt: u64) -> io::Result<Self> {
        Self::with_hash(plan, salt, key_hash)
    }

    /// The same for a tier in front of a disk tier.
    pub(crate) fn before_disk(plan: MemoryPlan, salt: u64) -> io::Result<Self> {
        let mut tier = Self::new(plan, salt)?;
        tier.policy = S3Fifo::new(tier.capacity_bytes, plan.ghost_bytes).before_disk();
        Ok(tier)
    }

    /// The same with another hash.
    fn with_hash(plan: MemoryPlan, salt: u64, hash: KeyHash) -> io::Result<Self> {
        let arena = Arena::new(plan.arena_bytes)?;
        let chunk_count = arena.chunk_count() as usize;
        if chunk_count < MemoryPlan::CHUNKS_MIN {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("an arena of {chunk_count} chunks")));
        }
        let (ring_count, capacity_bytes) = (S3Fifo::RING_COUNT, plan.capacity_bytes());
        Ok(Self {
            table: Table::new(plan.index_bytes)?,
            rings: Rings::new(arena, ring_count),
            policy: S3Fifo::new(capacity_bytes, plan.ghost_bytes),
            entry_bytes_max: plan.entry_len_max(),
            capacity_bytes,
            dead_bytes: 0,
            salt,
            hash,
            counters: MemoryCounters::default(),
            lives: None,
        })
    }

    /// Watches some entries from now on.
    pub(crate) fn watch(&mut self, lives: Lives) {
        self.lives = Some(lives);
    }

    /// What is known of watched entries.
    pub(crate) fn lives(&self) -> Option<&Lives> {
        self.lives.as_ref()
    }

    /// Counts a hit for eviction. Writes nothing once the entry has as many as the policy looks at.
    #[inline(always)]
    pub(crate) fn touch(&self, hit: &Hit<'_>, hash: u64) {
        if hit.touch() {
            self.note_use(hash);
        }
    }

    #[cold]
    fn note_use(&self, hash: u64) {
        if let Some(lives) = &self.lives {
            lives.used(hash);
        }
    }

    /// The entry of a key, if it is here and not expired. Counts nothing: see [`touch`](Self::touch).
    #[inline(always)]
    pub(crate) fn lookup(&self, hash: u64, key: &[u8], now_s: u32) -> Option<Hit<'_>> {
        match self.hit(hash, key) {
            Some(hit) if !hit.is_expired(now_s) => Some(hit),
            _ => None,
        }
    }

    /// Whether there is an entry for the key, expired or not.
    pub(crate) fn holds(&self, hash: u64, key: &[u8]) -> bool {
        self.hit(hash, key).is_some()
    }

    /// Whether some entry has the hash's tag: a quick no, and a yes to be checked with [`holds`](Self::holds).
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        self.table.find(hash).is_some()
    }

    /// A copy of the entry with this hash: key, value and expiry.
    pub(crate) fn entry(&self, hash: u64) -> Option<(Vec<u8>, Vec<u8>, u32)> {
        let location = self.table.find(hash)?.location;
        let header = self.rings.header(location);
        let key_len = usize::from(header.key_len);
        let len = key_len + header.value_len as usize;
        let mut key = Vec::with_capacity(len);
        self.rings.pieces(location, header.header_len(), len).for_each(|piece| key.extend_from_slice(piece));
        let value = key.split_off(key_len);
        // The slot may be another key's with the same tag.
        ((self.hash)(self.salt, &key) == hash).then_some((key, value, header.expiry_s))
    }

    /// Puts a value in, over any older one, and evicts as much as that needs.
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], expiry_s: u32, now_s: u32) -> Inserted {
        self.insert_from(Origin::Caller, hash, key, value, expiry_s, now_s)
    }

    /// The same for a value from the disk tier.
    pub(crate) fn promote(&mut self, hash: u64, key: &[u8], value: &[u8], expiry_s: u32, now_s: u32) -> Inserted {
        self.insert_from(Origin::Disk, hash, key, value, expiry_s, now_s)
    }

    fn insert_from(
        &mut self,
        origin: Origin,
        hash: u64,
        key: &[u8],
        value: &[u8],
        expiry_s: u32,
        now_s: u32,
    ) -> Inserted {
        let lens = u16::try_from(key.len()).ok().zip(u32::try_from(value.len()).ok());
        let header = lens.map(|(key_len, value_len)| Header { key_len, value_len, expiry_s, ..Header::default() });
        let Some(mut header) = header.filter(|header| header.entry_len() <= self.entry_bytes_max) else {
            self.remove(hash, key);
            self.counters.oversize_count += 1;
            return Inserted::Oversize;
        };
        self.counters.insert_count += 1;
        let size_bytes = header.entry_len();

        let (placement, popularity) = match self.make_way(hash, key, &header) {
            Way::SameRoom { location, placement } => {
                header.set_placement(placement);
                self.rings.set_header(location, &header);
                self.rings.overwrite(location, header.header_len() + key.len(), value);
                self.note_came(hash);
                return Inserted::Stored;
            }
            Way::Replace { old, popularity } => (self.policy.replace(old, size_bytes), popularity),
            Way::New => (self.policy.place(hash, size_bytes, origin, self.occupancy()), 0),
        };
        self.make_room(placement.ring, size_bytes, now_s);
        header.set_placement(placement);
        let location = self.rings.append(&header, key, value);
        let (rings, policy) = (&self.rings, &self.policy);
        match self.table.put(hash, location, popularity, |old| u64::from(!policy.age(rings.header(old).stamp))) {
            Put::Inserted => {}
            Put::Displaced(dropped) => {
                self.counters.displaced_count += 1;
                self.note_gone_at(dropped);
                self.bury(dropped);
            }
            Put::Replaced(_) => unreachable!("make_way cleared the tag's only slot: I-IDX-1"),
        }
        self.note_came(hash);
        Inserted::Stored
    }

    /// Removes the entry of a key; tells whether there was one.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let Some(location) = self.hit(hash, key).map(|hit| hit.location()) else { return false };
        self.table.clear_if(hash, location);
        self.bury(location);
        if let Some(lives) = &mut self.lives {
            lives.gone(hash);
        }
        self.counters.removal_count += 1;
        true
    }

    /// The same for an entry that memory held before a restart, with the popularity that it had.
    pub(crate) fn restore(&mut self, value: Restored<'_>, now_s: u32) -> Inserted {
        let Restored { hash, key, value, expiry_s, popularity } = value;
        let inserted = self.promote(hash, key, value, expiry_s, now_s);
        for _ in 0..popularity.min(S3Fifo::POPULARITY_MAX) {
            if let Some(hit) = self.hit(hash, key) {
                hit.touch();
            }
        }
        inserted
    }

    /// Tells hash and popularity of the entries of the main ring, oldest first, from a position of its stream on: what was asked for more than once.
    /// Looks at `count_max` entries at most, and returns the position to go on from; `None` at the end.
    pub(crate) fn list_main(&self, position: u64, count_max: usize, mut tell: impl FnMut(u64, u8)) -> Option<u64> {
        let mut last = None;
        for (next, location, header) in self.rings.entries_from(S3Fifo::MAIN, position).take(count_max) {
            last = Some(next);
            if header.dead {
                continue;
            }
            let hash = self.hash_of(location, &header);
            if let Some(found) = self.table.find(hash).filter(|found| found.location == location) {
                tell(hash, found.popularity);
            }
        }
        last
    }

    /// Empties the tier; counters go on.
    pub(crate) fn clear(&mut self) {
        self.table.clear_all();
        self.rings.clear();
        self.policy.clear();
        if let Some(lives) = &mut self.lives {
            lives.clear();
        }
        self.dead_bytes = 0;
    }

    /// Visits each entry (key, value, expiry), expired ones included, ring by ring, oldest first. Entries that straddle chunks are gathered in a
    /// buffer, at most an eighth of the arena long, that lives as long as the call.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8], u32)) {
        let mut gathered = Vec::new();
        for ring in 0..self.rings.ring_count() {
            for (location, header) in self.rings.entries(ring as u8).filter(|(_, header)| !header.dead) {
                let (skip, key_len) = (header.header_len(), usize::from(header.key_len));
                let len = key_len + header.value_len as usize;
                let bytes = self.rings.slice(location, skip, len).unwrap_or_else(|| {
                    gathered.clear();
                    self.rings.pieces(location, skip, len).for_each(|piece| gathered.extend_from_slice(piece));
                    &gathered
                });
                let (key, value) = bytes.split_at(key_len);
                visit(key, value, header.expiry_s);
            }
        }
    }

    /// What happened so far.
    pub(crate) fn counters(&self) -> MemoryCounters {
        MemoryCounters { ghost_hit_count: self.policy.ghost_hit_count(), ..self.counters }
    }

    /// Entries that can be found, expired ones included.
    pub(crate) fn len(&self) -> u64 {
        self.table.used_count()
    }

    /// Whether entries can come in without anything being evicted, with a sixteenth to spare.
    pub(crate) fn has_room(&self) -> bool {
        self.rings.used_bytes() < self.capacity_bytes / 16 * 15
    }

    /// Bytes of the main ring, holes included.
    pub(crate) fn main_bytes(&self) -> u64 {
        self.rings.ring_bytes(S3Fifo::MAIN) as u64
    }

    /// Bytes of entries that came in so far.
    pub(crate) fn inserted_bytes(&self) -> u64 {
        self.policy.inserted_bytes()
    }

    /// Bytes of entries that the tier holds when it is full.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes as u64
    }

    /// Bytes of the arena that entries take, holes not included.
    pub(crate) fn live_bytes(&self) -> u64 {
        (self.rings.used_bytes() - self.dead_bytes) as u64
    }

    /// All memory that this tier takes; at most the total that was split.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.rings.held_bytes() + self.table.held_bytes() + self.policy.held_bytes() + MemoryPlan::FIXED_BYTES as u64
    }

    /// Recounts everything and checks the invariants. Panics with a sentence where one does not hold.
    pub(crate) fn validate(&self) {
        self.rings.validate();
        self.table.validate();
        let (mut live_count, mut dead_bytes) = (0, 0);
        for ring in 0..self.rings.ring_count() {
            for (location, header) in self.rings.entries(ring as u8) {
                if header.dead {
                    dead_bytes += header.entry_len();
                    continue;
                }
                live_count += 1;
                let found = self.table.find(self.hash_of(location, &header)).map(|found| found.location);
                assert_eq!(found, Some(location), "I-MEM-1: the entry at {location} is named by its slot");
            }
        }
        assert_eq!(live_count, self.table.used_count(), "I-MEM-1: each slot names an entry");
        assert_eq!(dead_bytes, self.dead_bytes, "dead_bytes is what the holes take");
        assert!(self.rings.used_bytes() <= self.capacity_bytes, "I-MEM-3: rings keep to their capacity");
    }

    /// The entry of a key, expired or not.
    #[inline(always)]
    fn hit(&self, hash: u64, key: &[u8]) -> Option<Hit<'_>> {
        let found = self.table.find(hash)?;
        let header = self.rings.header(found.location);
        self.is_key(found.location, &header, key).then(|| Hit::new(&self.rings, &self.table, found, header))
    }

    /// Whether the entry at a location has this key (I-MEM-2).
    #[inline(always)]
    fn is_key(&self, location: u64, header: &Header, key: &[u8]) -> bool {
        if usize::from(header.key_len) != key.len() {
            return false;
        }
        match self.rings.slice(location, header.header_len(), key.len()) {
            Some(slice) => slice == key,
            None => self.is_straddling_key(location, header, key),
        }
    }

    #[cold]
    fn is_straddling_key(&self, location: u64, header: &Header, key: &[u8]) -> bool {
        let mut rest = key;
        self.rings.pieces(location, header.header_len(), key.len()).all(|piece| {
            let (now, later) = rest.split_at(piece.len());
            rest = later;
            now == piece
        })
    }

    /// Clears the slot that the key or another one of its tag has, unless the old version's room serves the new one.
    fn make_way(&mut self, hash: u64, key: &[u8], new: &Header) -> Way {
        let Some(found) = self.table.find(hash) else { return Way::New };
        let location = found.location;
        let old = self.rings.header(location);
        let is_key = self.is_key(location, &old, key);
        if is_key {
            self.counters.replaced_count += 1;
            if (old.entry_len(), old.header_len()) == (new.entry_len(), new.header_len()) {
                return Way::SameRoom { location, placement: old.placement() };
            }
        } else {
            self.counters.collision_count += 1;
            self.note_gone_at(location);
        }
        self.table.clear_if(hash, location);
        self.bury(location);
        if is_key { Way::Replace { old: old.placement(), popularity: found.popularity } } else { Way::New }
    }

    /// Makes room for an entry at the tail of a ring: what is dead or expired at any head goes first, then what the policy says. Bounded: at most
    /// `MOVES_PER_INSERT_MAX` heads move, and none once as much as the largest entry was copied; all others go, and each of them frees bytes.
    fn make_room(&mut self, ring: u8, size_bytes: usize, now_s: u32) {
        let mut moves_left = MOVES_PER_INSERT_MAX;
        let moved_bytes_max = self.counters.moved_bytes + self.entry_bytes_max as u64;
        while self.rings.used_bytes() + size_bytes > self.capacity_bytes || !self.rings.fits(ring, size_bytes, 1) {
            if (0..S3Fifo::RING_COUNT as u8).any(|ring| self.drop_gone_head(ring, now_s)) {
                continue;
            }
            // Empty rings have room for every entry that is not oversize.
            let victim = self.policy.victim(&self.rings).expect("a tier without room has an entry");
            moves_left -= self.advance(victim, moves_left);
            if self.counters.moved_bytes >= moved_bytes_max {
                moves_left = 0;
            }
        }
    }

    /// Drops a ring's head if it is a hole or has expired.
    fn drop_gone_head(&mut self, ring: u8, now_s: u32) -> bool {
        let Some(location) = Rings::head(&self.rings, ring) else { return false };
        let header = self.rings.header(location);
        if header.dead {
            self.dead_bytes -= header.entry_len();
        } else if header.is_expired(now_s) {
            self.counters.expired_count += 1;
            self.note_gone_at(location);
            self.table.clear_if(self.hash_of(location, &header), location);
        } else {
            return false;
        }
        self.rings.pop(ring, header.entry_len());
        true
    }

    /// Lets a ring's live head go, or moves it, as the policy says; returns the number of moves.
    fn advance(&mut self, ring: u8, moves_left: u32) -> u32 {
        let location = Rings::head(&self.rings, ring).expect("a victim ring has a head");
        let mut header = self.rings.header(location);
        let size_bytes = header.entry_len();
        let hash = self.hash_of(location, &header);
        let found = self.table.find(hash).filter(|found| found.location == location);
        let found = found.expect("a live entry has its slot: I-MEM-1");
        let head = Head { placement: header.placement(), size_bytes };
        if let Verdict::Move { placement, popularity } = self.policy.judge(head, found.popularity, moves_left)
            && let Some(moved) = self.rings.move_head(ring, placement.ring, size_bytes)
        {
            header.set_placement(placement);
            self.rings.set_header(moved, &header);
            self.table.relocate_found(found, moved, popularity);
            self.counters.moved_count += 1;
            self.counters.moved_bytes += size_bytes as u64;
            return 1;
        }
        self.policy.evicted(hash, head, found.popularity, self.occupancy());
        if let Some(lives) = &mut self.lives {
            lives.evicted(hash);
        }
        match ring {
            S3Fifo::SMALL => self.counters.evicted_small_count += 1,
            _ => self.counters.evicted_main_count += 1,
        }
        self.table.clear_if(hash, location);
        self.rings.pop(ring, size_bytes);
        0
    }

    /// Makes a hole of an entry whose slot is gone.
    fn bury(&mut self, location: u64) {
        let header = self.rings.header(location);
        self.dead_bytes += header.entry_len();
        self.rings.set_header(location, &Header { dead: true, ..header });
    }

    fn note_came(&mut self, hash: u64) {
        if let Some(lives) = &mut self.lives {
            lives.came(hash);
        }
    }

    /// Notes that the entry at a location goes, other than by eviction or by its key.
    fn note_gone_at(&mut self, location: u64) {
        if self.lives.is_some() {
            let hash = self.hash_of(location, &self.rings.header(location));
            if let Some(lives) = &mut self.lives {
                lives.gone(hash);
            }
        }
    }

    /// The hash of the key at a location.
    fn hash_of(&self, location: u64, header: &Header) -> u64 {
        let (skip, len) = (header.header_len(), usize::from(header.key_len));
        if let Some(key) = self.rings.slice(location, skip, len) {
            return (self.hash)(self.salt, key);
        }
        let mut on_stack = [0; STACK_KEY_LEN];
        let mut on_heap = Vec::new();
        let gathered = if len <= STACK_KEY_LEN {
            &mut on_stack[..len]
        } else {
            on_heap.resize(len, 0);
            &mut on_heap[..]
        };
        let mut filled = 0;
        for piece in self.rings.pieces(location, skip, len) {
            gathered[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        (self.hash)(self.salt, gathered)
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy { used_bytes: self.rings.used_bytes(), entry_count: self.table.used_count() }
    }
}

/// What an insert found in its way.
enum Way {
    /// Nothing, or another key of the same tag, which is gone now.
    New,
    /// An older version of another size, which is a hole now.
    Replace { old: Placement, popularity: u8 },
    /// An older version whose room serves as it is.
    SameRoom { location: u64, placement: Placement },
}

impl Header {
    fn placement(&self) -> Placement {
        Placement { ring: self.ring, class: self.class, stamp: self.stamp }
    }

    fn set_placement(&mut self, placement: Placement) {
        Placement { ring: self.ring, class: self.class, stamp: self.stamp } = placement;
    }
}

impl RingsView for Rings {
    fn used_bytes(&self, ring: u8) -> usize {
        self.ring_bytes(ring)
    }

    fn head(&self, ring: u8) -> Option<Head> {
        let header = self.header(Rings::head(self, ring)?);
        Some(Head { placement: header.placement(), size_bytes: header.entry_len() })
    }
}
