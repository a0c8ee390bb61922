//! Budgets, to the byte, after every operation.

use crate::support::{Rng, SEGMENT_LEN_BYTES, Setup, cases};
use crate::world::{Crash, World};
use emberlog::Cache;
use std::cell::Cell;
use std::sync::Arc;

fn check_budgets(world: &World, cache: &Cache) {
    let stats = cache.stats();
    let disk = stats.disk.expect("a disk tier");
    let really = world.disk.used_bytes();
    assert!(really <= world.setup.disk_bytes, "files take {really} of {}", world.setup.disk_bytes);
    assert!(disk.used_bytes <= disk.limit_bytes, "{} of {}", disk.used_bytes, disk.limit_bytes);
    assert!(really <= disk.used_bytes, "{really} taken, {} charged", disk.used_bytes);
    let memory = stats.memory;
    assert!(memory.held_bytes <= world.setup.memory_bytes, "{} of {}", memory.held_bytes, world.setup.memory_bytes);
    let accounts = memory.accounts;
    let sum =
        accounts.memory_tier + accounts.disk_index + accounts.append_buffer + accounts.statistics + accounts.fixed;
    assert_eq!(sum, memory.held_bytes, "every byte has an account");
}

#[test]
fn a_disk_of_exactly_the_budget_is_never_full_under_churn_with_restarts() {
    let retired = Cell::new(0);
    cases(0x6275_6467, 60, |mut rng| {
        let setup = Setup::random(&mut rng);
        let mut world = World::new(setup, rng);
        // The world's disk holds disk_bytes and no more; a full one would turn the tier off, which each step checks.
        assert!(world.open());
        for round in 0..6 {
            for _ in 0..120 {
                assert!(world.step(), "nothing dies here");
                check_budgets(&world, world.cache());
            }
            retired.set(retired.get() + world.cache().stats().disk.expect("a disk tier").segments_retired);
            match round % 3 {
                0 => world.crash(Crash::Kill),
                1 => world.close(),
                _ => world.crash(Crash::PowerCut { seed: round }),
            }
            assert!(world.open());
            check_budgets(&world, world.cache());
        }
    });
    assert!(retired.get() > 100 || std::env::var("CASE").is_ok(), "the logs turned over {} segments", retired.get());
}

#[test]
fn a_disk_that_a_neighbour_filled_costs_the_disk_tier_at_most() {
    cases(0x6e62_7572, 20, |mut rng| {
        let setup = Setup { disk_bytes: 1 << 20, ..Setup::random(&mut rng) };
        let mut world = World::new(setup.clone(), Rng::new(rng.next()));
        assert!(world.open());
        world.run(40);
        // From here on there is room for less than the budget, at some point for less than is there already.
        let cache = world.cache().clone();
        let clock = Arc::clone(&world.clock);
        let mut latest = std::collections::BTreeMap::new();
        for round in 0..300u64 {
            if round % 50 == 0 {
                world.disk.set_capacity_bytes(rng.below(12) * SEGMENT_LEN_BYTES);
            }
            let key = rng.below(20);
            let value = vec![round as u8; rng.below(5000) as usize];
            let outcome = cache.insert(key.to_le_bytes(), &value);
            assert!(outcome.memory.is_stored(), "memory goes on: {outcome:?}");
            assert_eq!(cache.get(key.to_le_bytes()).as_deref(), Some(value.as_slice()));
            latest.insert(key, value);
            let other = rng.below(20);
            if let Some(found) = cache.get(other.to_le_bytes()) {
                assert_eq!(Some(&found.to_vec()), latest.get(&other), "the latest or a miss");
            }
            assert!(world.disk.used_bytes() <= setup.disk_bytes);
        }
        let _ = cache.close();
        let disk = world.disk.after_kill();
        disk.set_capacity_bytes(setup.disk_bytes);
        let cache = setup.builder(&clock, 5).open_on(Arc::new(disk)).expect("there is room again");
        assert!(cache.insert("room", "again").disk.is_stored());
    });
}
