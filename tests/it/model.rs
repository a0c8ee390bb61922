//! Random operations against the oracle, with a crash at any call that changes the disk.

use crate::oracle::Oracle;
use crate::support::{Rng, Setup, cases, named};
use crate::world::{Crash, World};
use emberlog::{Durability, ReadMode};
use std::cell::Cell;

#[test]
fn without_a_crash_every_answer_is_the_latest_value_or_a_miss() {
    let hits = Cell::new(0);
    cases(0x6d6f_6465, 40, |mut rng| {
        let setup = Setup::random(&mut rng);
        let mut world = World::new(setup, rng);
        assert!(world.open());
        assert!(world.run(400), "nothing dies here");
        world.cache().validate();
        world.close();
        assert!(world.open());
        hits.set(hits.get() + world.hits);
    });
    assert!(hits.get() > 1000 || std::env::var("CASE").is_ok(), "a cache that answers nothing proves nothing");
}

/// Runs one life of a fixed workload, dying at the `at`-th call.
fn life(setup: &Setup, seed: u64, at: u64) -> World {
    let mut world = World::new(setup.clone(), Rng::new(seed));
    world.die_after(at);
    if world.open() {
        world.run(110);
    }
    world
}

#[test]
fn a_crash_at_any_call_of_a_workload_leaves_a_prefix_of_its_events() {
    let mut states = 0u64;
    let mut longest = 0;
    let setups = [
        Setup { durability: Durability::Buffered, disk_bytes: 384 << 10, ..Setup::small() },
        Setup { durability: Durability::Written, read_mode: ReadMode::Pread, ..Setup::small() },
        Setup { durability: Durability::Synced, shards: 2, disk_bytes: 384 << 10, ..Setup::small() },
    ];
    for (number, setup) in setups.iter().enumerate() {
        let seed = 0x7363_616e + number as u64;
        let mut at = 1;
        loop {
            let mut world = life(setup, seed, at);
            let done = !world.is_dead();
            longest = longest.max(at);
            let mut crashes = vec![Crash::Kill];
            crashes.extend((0..3).map(|cut| Crash::PowerCut { seed: at * 4 + cut }));
            for crash in crashes {
                named(&format!("workload {number}, call {at}, {crash:?}"), || {
                    let mut left = world.crashed(crash);
                    assert!(left.open());
                    // Goes on, and crashes again behind the tail that was torn; then once more while that is mended.
                    left.run(6);
                    left.crash(Crash::PowerCut { seed: at });
                    left.die_after(1 + at % 7);
                    let opened = left.open();
                    left.crash(if at % 2 == 0 { Crash::Kill } else { Crash::PowerCut { seed: !at } });
                    assert!(left.open());
                    states += 2 + u64::from(!opened);
                });
            }
            if done {
                break;
            }
            at += 1;
        }
    }
    assert!(longest > 60, "the workloads are long enough: {longest} calls");
    assert!(states >= 2000, "{states} crash states");
}

#[test]
fn what_a_flush_covered_is_there_after_any_crash_while_room_lasts() {
    // The oracle allows a miss for everything; this one does not.
    for cut in 0..50 {
        let setup = Setup { disk_index_bytes: 64 << 10, memory_bytes: 1 << 20, ..Setup::small() };
        let mut world = World::new(setup, Rng::new(cut));
        assert!(world.open());
        for key in 2..42 {
            world.insert(key, 300, None);
        }
        world.flush();
        for key in 2..12 {
            world.insert(key, 2000, None);
        }
        let oracle: Oracle = world.oracle.clone();
        world.crash(Crash::PowerCut { seed: cut });
        assert!(world.open());
        let served = (2..42).filter(|&key| world.cache().contains_key(crate::oracle::key_bytes(key))).count();
        assert_eq!(served, 40, "power cut {cut}");
        assert!(oracle.last_seqno() >= world.oracle.last_seqno());
    }
}
