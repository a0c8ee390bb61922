//! What the tests share: caches, random numbers, a type with a bit of everything.

use emberlog::disk::SimDisk;
use emberlog::{Cache, Maintenance, ManualClock};
pub(crate) use emberlog_torture::Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The seed of a random test.
pub(crate) fn seed() -> u64 {
    std::env::var("EMBERLOG_SEED").map_or(1, |text| text.parse().unwrap())
}

/// What only these tests draw.
pub(crate) trait Draw {
    /// A number of any size class: small ones are as likely as large ones.
    fn number(&mut self) -> u64;
    /// Bytes, at most so many.
    fn bytes(&mut self, len_max: u64) -> Vec<u8>;
    /// Text of any characters, at most so many.
    fn text(&mut self, len_max: u64) -> String;
}

impl Draw for Rng {
    fn number(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }

    fn bytes(&mut self, len_max: u64) -> Vec<u8> {
        let len = self.below(len_max + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self, len_max: u64) -> String {
        let len = self.below(len_max + 1);
        (0..len).map(|_| char::from_u32(self.number() as u32).unwrap_or('ß')).collect()
    }
}

/// A cache in memory.
pub(crate) fn memory_cache() -> Cache {
    Cache::builder().memory_bytes(4 << 20).shards(1).open_memory_only().unwrap()
}

/// A cache on a simulated disk. Each open takes another seed.
pub(crate) fn disk_cache(disk: &SimDisk, seed: u64) -> Cache {
    Cache::builder()
        .memory_bytes(2 << 20)
        .disk_bytes(8 << 20)
        .segment_len_bytes(64 << 10)
        .shards(1)
        .maintenance(Maintenance::Manual)
        .clock(ManualClock::new(1_700_000_000_000))
        .random_seed(seed)
        .open_on(Arc::new(disk.clone()))
        .unwrap()
}

/// A bit of everything that serde has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) title: String,
    numbers: (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, bool, char),
    floats: [f64; 2],
    shape: Shape,
    parts: Vec<Shape>,
    bytes: Vec<u8>,
    by_name: HashMap<String, Vec<u8>>,
    by_number: BTreeMap<i64, Option<String>>,
    nothing: (),
}

/// Every kind of variant, and itself within.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Unit,
    Newtype(Wrapped),
    Tuple(i64, String),
    Struct { inner: Option<Box<Shape>>, all: Vec<Shape> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wrapped(u64);

impl Shape {
    fn random(rng: &mut Rng, depth: u32) -> Self {
        let kinds = if depth == 0 { 3 } else { 4 };
        match rng.below(kinds) {
            0 => Self::Unit,
            1 => Self::Newtype(Wrapped(rng.number())),
            2 => Self::Tuple(rng.number() as i64, rng.text(8)),
            _ => Self::Struct {
                inner: (rng.below(2) == 0).then(|| Box::new(Self::random(rng, depth - 1))),
                all: (0..rng.below(3)).map(|_| Self::random(rng, depth - 1)).collect(),
            },
        }
    }
}

impl Page {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let wide = |rng: &mut Rng| u128::from(rng.number()) << 64 | u128::from(rng.next());
        Self {
            title: rng.text(40),
            numbers: (
                rng.number() as u8,
                rng.number() as u16,
                rng.number() as u32,
                rng.number(),
                wide(rng),
                rng.next() as i8,
                rng.next() as i16,
                rng.number() as i32,
                rng.number() as i64,
                wide(rng) as i128,
                rng.below(2) == 0,
                char::from_u32(rng.number() as u32).unwrap_or('☃'),
            ),
            floats: [f64::from(rng.next() as i32), 1.0 / (rng.next() as f64 + 1.0)],
            shape: Shape::random(rng, 4),
            parts: (0..rng.below(5)).map(|_| Shape::random(rng, 3)).collect(),
            bytes: rng.bytes(300),
            by_name: (0..rng.below(6)).map(|_| (rng.text(12), rng.bytes(20))).collect(),
            by_number: (0..rng.below(6))
                .map(|_| (rng.number() as i64, (rng.below(2) == 0).then(|| rng.text(5))))
                .collect(),
            nothing: (),
        }
    }
}
