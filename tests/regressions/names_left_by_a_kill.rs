//! A process was killed between a rename and the sync of the directory. The next one took the name for durable and made its first segment behind it; a
//! power cut then kept that segment and lost the name: a store without identity, or with a hole. Found by `emberlog torture --mode power --seed 1`.

use emberlog::disk::SimDisk;
use emberlog::{Cache, Maintenance};
use std::sync::Arc;

fn open(disk: &SimDisk, seed: u64) -> Result<Cache, emberlog::Error> {
    let settings = Cache::builder().memory_bytes(640 << 10).disk_bytes(384 << 10).segment_len_bytes(64 << 10).shards(1);
    settings.maintenance(Maintenance::Manual).random_seed(seed).open_on(Arc::new(disk.clone()))
}

#[test]
fn names_that_a_killed_process_left_are_made_durable_before_others_follow() {
    let mut cuts = 0;
    for first_dies in 1..24 {
        let first = SimDisk::new(1);
        first.stop_after(first_dies);
        drop(open(&first, 1));
        for second_dies in 1..24 {
            let second = first.after_kill();
            second.stop_after(second_dies);
            drop(open(&second, 2));
            for seed in 0..24 {
                let what = format!("first died at call {first_dies}, second at {second_dies}, power cut {seed}");
                let left = second.after_power_cut(seed);
                let cache = open(&left, 3).unwrap_or_else(|error| panic!("{what}: {error}"));
                let report = cache.stats().recovery.expect("with a disk tier");
                assert_eq!(report.damage_count, 0, "{what}: a crash is not damage: {:?}", report.findings);
                cuts += 1;
            }
        }
    }
    assert_eq!(cuts, 23 * 23 * 24);
}
