//! What sampling costs a memory hit, in instructions: for callgrind, which counts them exactly.
//!
//! ```text
//! cargo bench --bench hit_cost --no-run      # names the program
//! for rounds in 5 55; do valgrind --tool=callgrind --callgrind-out-file=/dev/null PROGRAM read $rounds 256; done
//! ```
//! The arguments: `read`, `get` or `insert`; how often 2,000 keys are gone through; one request in how many is measured (0: none). The difference between two
//! numbers of rounds, divided by 2,000 times theirs, is the cost of one request. Without arguments it checks its answers and ends, as `cargo test` wants.

#![allow(clippy::unwrap_used, reason = "benchmarks")]

use emberlog::Cache;
use std::hint::black_box;

const KEY_COUNT: u64 = 2_000;
const VALUE: [u8; 128] = [7; 128];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let (operation, rounds, one_in) = match args.as_slice() {
        [operation, rounds, one_in] => (operation.as_str(), rounds.parse().unwrap(), one_in.parse().unwrap()),
        _ => ("read", 1, 256),
    };
    let settings = Cache::builder().sample_one_in(one_in).random_seed(1).memory_bytes(64 << 20);
    let cache = settings.open_memory_only().unwrap();
    (0..KEY_COUNT).for_each(|number| assert!(cache.insert(key(number), VALUE).is_stored()));
    let mut sum = 0;
    for round in 0..rounds {
        for number in 0..KEY_COUNT {
            let key = key((number * 7_919 + round) % KEY_COUNT);
            sum += match operation {
                "read" => cache.read(key, |value| black_box(value).len()).unwrap(),
                "get" => black_box(cache.get(key)).unwrap().len(),
                "insert" => usize::from(cache.insert(key, VALUE).is_stored()) * VALUE.len(),
                other => panic!("{other}: read, get or insert"),
            } as u64;
        }
    }
    assert_eq!(sum, rounds * KEY_COUNT * VALUE.len() as u64, "each request had its answer");
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:________:xyz";
    key[4..12].copy_from_slice(&number.to_be_bytes());
    key
}
