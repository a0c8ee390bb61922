//! An entry that was found, borrowed from its tier while the shard's read lock is held: to be copied out and let go.

use crate::index::{Found, Table};
use crate::policy::S3Fifo;
use crate::ring::{Header, Rings};
use bytes::Bytes;

/// A found entry.
#[derive(Debug)]
pub(crate) struct Hit<'a> {
    rings: &'a Rings,
    table: &'a Table,
    found: Found,
    header: Header,
}

impl<'a> Hit<'a> {
    #[inline(always)]
    pub(super) fn new(rings: &'a Rings, table: &'a Table, found: Found, header: Header) -> Self {
        Self { rings, table, found, header }
    }

    /// Bytes of the value.
    #[inline]
    pub(crate) fn value_len(&self) -> usize {
        self.header.value_len as usize
    }

    /// Seconds since the epoch from which the entry is gone; 0 for never.
    #[inline]
    pub(crate) fn expiry_s(&self) -> u32 {
        self.header.expiry_s
    }

    /// The value where it lies in one piece, as most do.
    #[inline(always)]
    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        self.rings.slice(self.found.location, self.value_offset(), self.value_len())
    }

    /// Copies the value. Requires that `target` is exactly as long.
    #[inline(always)]
    pub(crate) fn copy_to(&self, target: &mut [u8]) {
        assert_eq!(target.len(), self.value_len(), "a target is as long as the value");
        match self.value() {
            Some(value) => target.copy_from_slice(value),
            None => gather(self.rings, self.found.location, self.value_offset(), target),
        }
    }

    /// The value as a vector of its own: one allocation, one copy.
    #[inline(always)]
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self.value() {
            Some(value) => value.to_vec(),
            None => gathered(self.rings, self.found.location, self.value_offset(), self.value_len()),
        }
    }

    /// The value as shared bytes: one allocation, one copy.
    #[inline]
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::from(self.to_vec())
    }

    /// Counts the hit for eviction. Writes nothing once the entry has as many as the policy looks at; says whether it had less.
    #[inline(always)]
    pub(super) fn touch(&self) -> bool {
        if self.found.popularity >= S3Fifo::POPULARITY_MAX {
            return false;
        }
        self.table.bump(self.found, S3Fifo::POPULARITY_MAX);
        true
    }

    #[inline(always)]
    pub(super) fn is_expired(&self, now_s: u32) -> bool {
        self.header.is_expired(now_s)
    }

    #[inline]
    pub(super) fn location(&self) -> u64 {
        self.found.location
    }

    #[inline(always)]
    fn value_offset(&self) -> usize {
        self.header.header_len() + usize::from(self.header.key_len)
    }
}

/// Copies bytes that straddle chunks.
#[cold]
fn gather(rings: &Rings, location: u64, skip: usize, target: &mut [u8]) {
    let mut filled = 0;
    for piece in rings.pieces(location, skip, target.len()) {
        target[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
    }
}

/// The same into a new vector, without filling it with zeros first.
#[cold]
fn gathered(rings: &Rings, location: u64, skip: usize, len: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(len);
    rings.pieces(location, skip, len).for_each(|piece| copy.extend_from_slice(piece));
    copy
}
