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

#[cfg(all(test, emberlog_loom))]
mod models {
    use super::*;
    use crate::sync::Arc;
    use loom::cell::Cell;
    use loom::thread;

    trait Mark: 'static {
        fn start() -> Self;
        fn publish(&self, offset: u32);
        fn get(&self) -> u32;
    }

    impl Mark for Watermark {
        fn start() -> Self {
            Self::new(0)
        }
        fn publish(&self, offset: u32) {
            Self::publish(self, offset);
        }
        fn get(&self) -> u32 {
            Self::get(self)
        }
    }

    /// One writer fills bytes and publishes them in two steps; readers read what is published. The cells stand for the bytes of the mapping: loom
    /// reports a read of one that races with its write.
    fn model<M: Mark>(reader_count: usize) {
        loom::model(move || {
            let shared = Arc::new((M::start(), [0u32; 3].map(Cell::new)));
            let readers: Vec<_> = (0..reader_count)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        let (mark, bytes) = &*shared;
                        let end = mark.get();
                        for (byte, value) in bytes.iter().zip(1..=end) {
                            assert_eq!(byte.get(), value, "a byte below the watermark is as it was written");
                        }
                        assert!(mark.get() >= end, "the watermark only grows");
                    })
                })
                .collect();
            let (mark, bytes) = &*shared;
            bytes[0].set(1);
            mark.publish(1);
            bytes[1].set(2);
            bytes[2].set(3);
            mark.publish(3);
            for reader in readers {
                reader.join().expect("the reader ends");
            }
        });
    }

    #[test]
    fn bytes_below_the_watermark_are_seen_as_they_were_written() {
        model::<Watermark>(2);
    }

    /// The broken twin: it publishes the offset without the bytes.
    struct RelaxedPublish(AtomicU32);

    impl Mark for RelaxedPublish {
        fn start() -> Self {
            Self(AtomicU32::new(0))
        }
        fn publish(&self, offset: u32) {
            self.0.store(offset, Ordering::Relaxed);
        }
        fn get(&self) -> u32 {
            self.0.load(Ordering::Acquire)
        }
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_twin_that_publishes_relaxed_is_caught() {
        model::<RelaxedPublish>(1);
    }

    /// The broken twin: it sees the offset without the bytes.
    struct RelaxedGet(Watermark);

    impl Mark for RelaxedGet {
        fn start() -> Self {
            Self(Watermark::new(0))
        }
        fn publish(&self, offset: u32) {
            self.0.publish(offset);
        }
        fn get(&self) -> u32 {
            self.0.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_twin_that_reads_relaxed_is_caught() {
        model::<RelaxedGet>(1);
    }
}
