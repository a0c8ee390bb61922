//! The contract between rings and an eviction policy.
//!
//! The policy owns a number of rings and says, for each new entry, in which it begins; when room is needed, whose head is next; and of that head,
//! whether it goes or moves to some tail. The tier carries it out. Entries keep for the policy a class (4 bits) and a stamp (16 bits) in their
//! header, and hits since they were last placed in their index slot; nothing else is known of an entry but its size and its hash.
//!
//! So a hit costs the policy nothing, and a policy may have many rings and compare their heads (by age, size and class), or two and never look.

/// Heads moved instead of evicted, per insert. Then every head goes, so that the work of an insert is bounded.
pub(crate) const MOVES_PER_INSERT_MAX: u32 = 16;

/// Where an entry goes, and what its header keeps for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The ring at whose tail it is appended.
    pub ring: u8,
    /// The policy's own four bits.
    pub class: u8,
    /// The policy's clock.
    pub stamp: u16,
}

/// The oldest entry of a ring, as its header shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where it was placed.
    pub placement: Placement,
    /// Bytes it takes in its ring.
    pub size_bytes: usize,
}

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The caller inserted it; nothing is known of its use.
    Caller,
    /// It was read from the disk tier, so it was asked for again.
    Disk,
}

/// How full the tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// Bytes in all rings, holes included.
    pub used_bytes: usize,
    /// Entries that can be found.
    pub entry_count: u64,
}

/// What becomes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes.
    Evict,
    /// It moves, with its hits set anew.
    Move {
        /// Where to.
        placement: Placement,
        /// Hits that it starts with there.
        popularity: u8,
    },
}

/// The rings as a policy sees them. Asked lazily: a policy that does not compare heads does not pay for reading them.
pub(crate) trait RingsView {
    /// Bytes of a ring, holes included.
    fn used_bytes(&self, ring: u8) -> usize;
    /// The oldest entry of a ring; it may be a hole, which costs nothing to let go.
    #[allow(dead_code, reason = "S3-FIFO never compares heads; policies that score them do")]
    fn head(&self, ring: u8) -> Option<Head>;
}

/// An eviction policy. Deterministic: the same calls give the same answers.
pub(crate) trait Eviction {
    /// Where a new entry begins. Takes the ghost of the hash, if there is one.
    fn place(&mut self, hash: u64, size_bytes: usize, origin: Origin, occupancy: Occupancy) -> Placement;

    /// Where a new version of a resident entry goes, given where the old one was.
    fn replace(&mut self, old: Placement, size_bytes: usize) -> Placement;

    /// Whose head is next when room is needed; none if all rings are empty.
    fn victim(&self, rings: &impl RingsView) -> Option<u8>;

    /// What becomes of that head, which had `popularity` hits since it was placed. With no moves left, it must go.
    fn judge(&mut self, head: Head, popularity: u8, moves_left: u32) -> Verdict;

    /// Told of an eviction (not of a removal, an expiry or a replacement).
    fn evicted(&mut self, hash: u64, head: Head, popularity: u8, occupancy: Occupancy);

    /// How long ago a stamp was taken, in the policy's units.
    fn age(&self, stamp: u16) -> u16;

    /// Forgets all; the rings are empty.
    fn clear(&mut self);
}
