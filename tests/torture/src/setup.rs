//! Settings of small stores, and the naming of what fails.

pub use crate::rng::Rng;
use emberlog::{Builder, Cache, Durability, ManualClock, ReadMode};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Where every test's clock starts: 2023-11-14.
pub const START_UNIX_MS: u64 = 1_700_000_000_000;
pub const KIB: u64 = 1024;
pub const SEGMENT_LEN_BYTES: u64 = 64 * KIB;

/// Settings of a small store: everything turns over quickly, and the index of the log drops slots all the time.
#[derive(Debug, Clone)]
pub struct Setup {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub shards: usize,
    pub durability: Durability,
    pub read_mode: ReadMode,
    pub disk_index_bytes: u64,
}

impl Setup {
    pub fn small() -> Self {
        Self {
            memory_bytes: 640 * KIB,
            disk_bytes: 1024 * KIB,
            shards: 1,
            durability: Durability::Buffered,
            read_mode: ReadMode::Mapped,
            disk_index_bytes: 4096,
        }
    }

    pub fn random(rng: &mut Rng) -> Self {
        Self {
            memory_bytes: rng.pick(&[600, 700, 1024]) * KIB,
            disk_bytes: rng.pick(&[384, 512, 1024]) * KIB,
            shards: rng.pick(&[1, 2]),
            durability: rng.pick(&[
                Durability::Buffered,
                Durability::Buffered,
                Durability::Written,
                Durability::Synced,
            ]),
            read_mode: rng.pick(&[ReadMode::Mapped, ReadMode::Pread]),
            disk_index_bytes: 4096,
        }
    }

    /// The settings of a cache. Each open of a store takes another seed, as each file ever made has a uid of its own.
    pub fn builder(&self, clock: &Arc<ManualClock>, random_seed: u64) -> Builder {
        Cache::builder()
            .memory_bytes(self.memory_bytes)
            .disk_bytes(self.disk_bytes)
            .shards(self.shards)
            .durability(self.durability)
            .read_mode(self.read_mode)
            .disk_index_bytes(self.disk_index_bytes)
            .segment_len_bytes(SEGMENT_LEN_BYTES)
            .maintenance(emberlog::Maintenance::Manual)
            .shared_clock(Arc::<ManualClock>::clone(clock))
            .random_seed(random_seed)
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("the variable holds a number"))
}

/// Whether to take every step where the default is a sample.
pub fn is_full() -> bool {
    number("EMBERLOG_FULL").is_some_and(|full| full != 0)
}

/// Runs `count` cases (or as many as the environment says, or the one that it names), each with its own random numbers; names the one that fails.
pub fn cases(seed: u64, count: u64, run: impl Fn(Rng)) {
    let seed = number("SEED").unwrap_or(seed);
    let range = match number("CASE") {
        Some(case) => case..case + 1,
        None => 0..number("EMBERLOG_CASES").unwrap_or(count),
    };
    for case in range {
        let rng = Rng::of_case(seed, case);
        named(&format!("SEED={seed} CASE={case}"), || run(rng));
    }
}

/// Runs a step of a test, and fails with its name if it fails.
pub fn named<T>(name: &str, step: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(done) => done,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            panic!("{name}: {}", text.unwrap_or("a panic without a message"));
        }
    }
}
