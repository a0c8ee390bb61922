//! How far a segment has been written: bytes below never change again, and only they are read through the mapping.

use crate::sync::{AtomicU32, Ordering};

/// The published end of a segment's written bytes. It only grows.
#[derive(Debug)]
pub(crate) struct Watermark(AtomicU32);

impl Watermark {
    pub(crate) fn new(offset: u32) -> Self {
        Self(AtomicU32::new(offset))
    }

    /// Makes bytes below `offset` readable. Called by the one writer, after they were written.
    pub(crate) fn publish(&self, offset: u32) {
        // Release pairs with Acquire in `get`: who sees the offset sees the bytes below it.
        self.0.store(offset, Ordering::Release);
    }

    /// The end of what may be read.
    pub(crate) fn get(&self) -> u32 {
        // Acquire pairs with Release in `publish`.
        self.0.load(Ordering::Acquire)
    }
}
