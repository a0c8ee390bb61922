//! One shard: what one lock guards.
pub(crate) mod memory;
