//! Where is the newest version of a key? A bounded table of eight-byte slots, the same for both tiers.
//!
//! Knows: hashes, tags, locations as numbers. Does not know: keys, entries, what a location means.

mod slot;
mod table;

pub(crate) use slot::POPULARITY_MAX;
pub(crate) use table::{Found, Put, Table};
