//! What a typed cache counts.

use crate::counters::Counter;
use serde::Serialize;

/// A snapshot of what a [`TypedCache`](super::TypedCache) and its clones counted since it was built. The [`Cache`](crate::Cache) below counts for itself,
/// and counts a hit wherever there was an entry, whatever it held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypedStats {
    /// Reads that gave a value.
    pub hits: u64,
    /// Reads that did not; the five below are among them.
    pub misses: u64,
    /// The value was of this type, version and codec, and did not decode.
    pub decode_failures: u64,
    /// The value was of another type, or none of a typed cache.
    pub other_type: u64,
    /// The value was of another version of the type.
    pub other_version: u64,
    /// The value was encoded by another codec.
    pub other_codec: u64,
    /// The key that was asked for does not encode, so that it cannot be in the cache.
    pub bad_keys: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) decode_failures: Counter,
    pub(super) other_type: Counter,
    pub(super) other_version: Counter,
    pub(super) other_codec: Counter,
    pub(super) bad_keys: Counter,
}

impl Counters {
    pub(super) fn snapshot(&self) -> TypedStats {
        TypedStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            decode_failures: self.decode_failures.get(),
            other_type: self.other_type.get(),
            other_version: self.other_version.get(),
            other_codec: self.other_codec.get(),
            bad_keys: self.bad_keys.get(),
        }
    }
}
