//! What the cache tells of itself: the text that monitoring reads, what it covers, the facade, the dashboard, events and ages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ages;
mod coverage;
mod dashboard;
mod events;
#[cfg(feature = "metrics")]
mod facade;
mod page;
mod parser;
mod text;

use emberlog::disk::SimDisk;
use emberlog::{Cache, Maintenance, ManualClock};
use std::sync::Arc;
use std::time::Duration;

/// A small cache of one shard that measures everything, under a clock that stands still.
fn open(disk: &Arc<SimDisk>, clock: &Arc<ManualClock>) -> Cache {
    let clock = Arc::<ManualClock>::clone(clock);
    let settings = Cache::builder().memory_bytes(1 << 20).disk_bytes(2 << 20).shards(1).expected_entry_bytes(128);
    let settings = settings.append_buffer_bytes(64 << 10).segment_len_bytes(128 << 10);
    let settings = settings.maintenance(Maintenance::Manual).random_seed(1).sample_one_in(1).shared_clock(clock);
    settings.open_on(Arc::<SimDisk>::clone(disk)).unwrap()
}

/// Does a little of everything: round `round` of a service's day.
fn use_it(cache: &Cache, clock: &ManualClock, round: u64) {
    for n in 0..3_000 {
        let key = format!("key {}", (round * 1_000 + n) % 9_000);
        cache.insert(&key, [n as u8; 400]);
        cache.get(&key);
        cache.read(format!("key {}", n * 7 % 9_000), |value| assert_eq!(value.len(), 400));
        clock.advance(Duration::from_millis(10));
    }
    // What only the disk has by now, twice.
    for n in (0..1_000).chain(0..1_000) {
        cache.get(format!("key {}", (round * 1_000 + 1_500 + n) % 9_000));
    }
    cache.insert("oversize", vec![0; 200 << 10]);
    for n in 0..20 {
        cache.remove(format!("key {}", n * 100));
        cache.get(format!("missing {n}"));
        cache.get_with(format!("loaded {round} {n}"), || {
            clock.advance(Duration::from_millis(3));
            "value"
        });
        let failed = cache.try_get_with(format!("failing {n}"), || Err::<String, _>("down"));
        assert_eq!(*failed.unwrap_err(), "down");
    }
    cache.flush().unwrap();
}
