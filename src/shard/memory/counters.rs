//! What happened in a memory tier: plain counts, read by whoever takes a snapshot.

/// Counts since the tier was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct MemoryCounters {
    /// Values put in, new keys and new versions.
    pub insert_count: u64,
    /// Of these, new versions of a key that was here.
    pub replaced_count: u64,
    /// Entries refused because they are larger than the tier takes.
    pub oversize_count: u64,
    /// Entries removed by their key.
    pub removal_count: u64,
    /// Entries evicted from the small ring.
    pub evicted_small_count: u64,
    /// Entries evicted from the main ring.
    pub evicted_main_count: u64,
    /// Expired entries dropped at a head.
    pub expired_count: u64,
    /// Entries dropped because the index had no room for another.
    pub displaced_count: u64,
    /// Entries dropped because another key has the same tag in the same buckets.
    pub collision_count: u64,
    /// Heads moved to a tail instead of evicted.
    pub moved_count: u64,
    /// Bytes of these.
    pub moved_bytes: u64,
    /// Entries placed better because they had been evicted lately.
    pub ghost_hit_count: u64,
}
