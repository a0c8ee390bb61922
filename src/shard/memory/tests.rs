//! Tests of the memory tier: against a map, at all sizes, with every counter recounted after each step.

use super::*;
use std::collections::BTreeMap;

const SALT: u64 = 7;

fn tier(total_bytes: usize, expected_entry_bytes: usize) -> MemoryTier {
    let plan = MemoryPlan::split(total_bytes, expected_entry_bytes).expect("enough memory");
    let tier = MemoryTier::new(plan, SALT).expect("anonymous memory");
    assert!(tier.held_bytes() <= total_bytes as u64, "{} of {total_bytes} held: {plan:?}", tier.held_bytes());
    tier
}

fn insert(tier: &mut MemoryTier, key: &[u8], value: &[u8]) -> Inserted {
    tier.insert(key_hash(SALT, key), key, value, 0, 0)
}

fn get(tier: &MemoryTier, key: &[u8]) -> Option<Vec<u8>> {
    let hit = tier.lookup(key_hash(SALT, key), key, 0)?;
    hit.touch();
    Some(hit.to_vec())
}

fn key(i: u64) -> [u8; 8] {
    i.to_le_bytes()
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (seed.wrapping_mul(0x9E37).wrapping_add(i * 7) >> 2) as u8).collect()
}

#[test]
fn what_is_held_stays_within_any_total_and_most_of_it_is_for_entries() {
    assert_eq!(MemoryPlan::split(MemoryPlan::TOTAL_BYTES_MIN - 1, 100), None);
    for total in (MemoryPlan::TOTAL_BYTES_MIN..90_000).step_by(1111).chain([
        1 << 20,
        8 << 20,
        16 << 20,
        (16 << 20) + 20_000,
        64 << 20,
    ]) {
        for expected in [0, 1, 24, 500, 60_000, usize::MAX / 2] {
            let tier = tier(total, expected);
            tier.validate();
            if total >= 1 << 20 && expected >= 500 {
                assert!(tier.capacity_bytes * 100 >= total * 90, "{} of {total}", tier.capacity_bytes);
            }
        }
    }
    assert!(MemoryTier::new(MemoryPlan { arena_bytes: 7 * 4096, index_bytes: 4096, ghost_bytes: 64 }, 0).is_err());
}

#[test]
fn a_value_comes_back_as_it_was_until_it_is_removed() {
    let mut tier = tier(64 << 10, 100);
    assert_eq!(insert(&mut tier, b"a", b"one"), Inserted::Stored);
    assert_eq!(insert(&mut tier, b"", b""), Inserted::Stored);
    let hit = tier.lookup(key_hash(SALT, b"a"), b"a", 0).expect("just inserted");
    let mut copy = [0; 3];
    hit.copy_to(&mut copy);
    assert_eq!((hit.value_len(), &copy, &hit.to_bytes()[..], hit.expiry_s()), (3, b"one", &b"one"[..], 0));
    assert_eq!(get(&tier, b""), Some(Vec::new()));
    assert_eq!(get(&tier, b"b"), None);
    assert!(tier.holds(key_hash(SALT, b"a"), b"a"));
    assert!(tier.remove(key_hash(SALT, b"a"), b"a"));
    assert!(!tier.remove(key_hash(SALT, b"a"), b"a"));
    assert!(!tier.holds(key_hash(SALT, b"a"), b"a"));
    assert_eq!((get(&tier, b"a"), tier.len(), tier.live_bytes()), (None, 1, 8));
    tier.validate();
    tier.clear();
    tier.validate();
    assert_eq!((get(&tier, b""), tier.len(), tier.rings.used_bytes()), (None, 0, 0));
}

#[test]
fn an_entry_is_a_miss_from_its_expiry_on_and_its_room_is_reused_without_a_move() {
    let mut tier = tier(64 << 10, 100);
    for i in 0..100 {
        let hash = key_hash(SALT, &key(i));
        tier.insert(hash, &key(i), &[1; 100], 50, 0);
        tier.lookup(hash, &key(i), 49).expect("not yet expired").touch();
        assert!(tier.lookup(hash, &key(i), 50).is_none());
        assert!(tier.holds(hash, &key(i)));
    }
    for i in 100..1000 {
        tier.insert(key_hash(SALT, &key(i)), &key(i), &[2; 100], 0, 60);
        tier.validate();
    }
    let counters = tier.counters();
    assert_eq!(counters.expired_count, 100, "{counters:?}");
    assert_eq!(counters.moved_count, 0, "all that was hit has expired");
}

#[test]
fn entries_of_every_size_are_kept_whole_or_refused() {
    let mut tier = tier(1 << 20, 1000);
    let most = tier.entry_bytes_max;
    for len in (0..70).chain(4060..4110).chain(8150..8210).chain(most - 30..most + 30) {
        for key_len in [0, 1, 8, 255, 256, 5000, 65_535] {
            let (key, value) = (bytes(1, key_len), bytes(len as u64, len));
            let fits =
                Header { key_len: key_len as u16, value_len: len as u32, ..Header::default() }.entry_len() <= most;
            let expected = if fits { (Inserted::Stored, Some(value.clone())) } else { (Inserted::Oversize, None) };
            let inserted = insert(&mut tier, &key, &value);
            assert!((inserted, get(&tier, &key)) == expected, "key of {key_len}, value of {len}: {inserted:?}");
        }
    }
    tier.validate();
    assert_eq!(insert(&mut tier, &[0; 65_536], b""), Inserted::Oversize, "a key's length has 16 bits");
    insert(&mut tier, b"k", b"old");
    insert(&mut tier, b"k", &vec![0; most]);
    assert_eq!(get(&tier, b"k"), None, "a refused value hides the old one");
}

#[test]
fn a_new_version_keeps_its_room_where_it_fits_and_its_ring_where_it_does_not() {
    let mut tier = tier(64 << 10, 100);
    insert(&mut tier, b"k", &[1; 100]);
    for _ in 0..3 {
        get(&tier, b"k");
    }
    let used = tier.rings.used_bytes();
    insert(&mut tier, b"k", &[2; 98]);
    assert_eq!((get(&tier, b"k"), tier.rings.used_bytes()), (Some(vec![2; 98]), used));
    insert(&mut tier, b"k", &[3; 200]);
    assert_eq!(get(&tier, b"k"), Some(vec![3; 200]));
    assert_eq!(tier.live_bytes(), 8 + 208, "the old version is a hole");
    let found = tier.table.find(key_hash(SALT, b"k")).expect("inserted");
    assert_eq!(found.popularity, 3);
    assert_ne!(tier.rings.header(found.location).ring, S3Fifo::SMALL);
    assert_eq!(tier.counters().replaced_count, 2);
    tier.validate();
}

#[test]
fn free_room_is_used_before_anything_is_evicted_and_then_the_small_ring_is_a_tenth() {
    let mut tier = tier(4 << 20, 100);
    let mut next = 0;
    while tier.counters().evicted_small_count + tier.counters().evicted_main_count == 0 {
        insert(&mut tier, &key(next), &[0; 92]);
        next += 1;
    }
    let arena_bytes = tier.rings.held_bytes() as usize;
    assert!(tier.rings.used_bytes() * 100 > arena_bytes * 99, "{} of {arena_bytes} used", tier.rings.used_bytes());
    let displaced_count = tier.counters().displaced_count;
    assert!(displaced_count * 10_000 <= next, "{displaced_count} of {next} found no slot");
    let found_count = (0..next).filter(|&i| get(&tier, &key(i)).is_some()).count() as u64;
    assert_eq!(found_count, next - 1 - displaced_count, "all but the one evicted last are here");
    for round in 0..20 {
        for i in 0..next / 10 {
            insert(&mut tier, &key(next + round * next + i), &[0; 92]);
        }
        let share = tier.rings.ring_bytes(S3Fifo::SMALL) * 1000 / tier.capacity_bytes;
        assert!((95..=105).contains(&share), "{share} thousandths");
    }
    // The first eviction may find the small ring a little short of its tenth, and takes from main.
    let main_count = tier.counters().evicted_main_count;
    assert!(main_count <= 1, "what was never hit passes through the small ring only, not {main_count}");
    tier.validate();
}

#[test]
fn a_ghost_brings_its_entry_to_main() {
    let mut tier = tier(1 << 20, 100);
    let mut next = 0;
    while tier.counters().evicted_small_count < 3 {
        insert(&mut tier, &key(next), &[0; 92]);
        next += 1;
    }
    // The youngest that is gone left the small ring: main holds the older ones.
    let is_gone = |&i: &u64| !tier.holds(key_hash(SALT, &key(i)), &key(i));
    let evicted = (0..next).rev().find(is_gone).expect("three were evicted");
    insert(&mut tier, &key(evicted), &[0; 92]);
    let found = tier.table.find(key_hash(SALT, &key(evicted))).expect("inserted");
    assert_ne!(tier.rings.header(found.location).ring, S3Fifo::SMALL);
    assert_eq!(tier.counters().ghost_hit_count, 1);
}

#[test]
fn an_insert_moves_at_most_sixteen_heads_however_hot_they_are() {
    let mut tier = tier(1 << 20, 100);
    let mut most = 0;
    for i in 0..30_000 {
        let before = tier.counters().moved_count;
        insert(&mut tier, &key(i), &vec![0; if i % 100 == 0 { 20_000 } else { 92 }]);
        most = most.max(tier.counters().moved_count - before);
        for back in 0..100.min(i) {
            get(&tier, &key(i - back * 50 % i.max(1)));
        }
    }
    assert_eq!(most, u64::from(MOVES_PER_INSERT_MAX), "reached, never exceeded");
    tier.validate();
}

#[test]
fn for_each_visits_every_entry_once() {
    let mut tier = tier(256 << 10, 1000);
    for i in 0..300u64 {
        tier.insert(key_hash(SALT, &key(i)), &key(i), &bytes(i, i as usize * 17 % 5000), i as u32, 0);
        tier.remove(key_hash(SALT, &key(i / 2)), &key(i / 2));
    }
    let mut seen = BTreeMap::new();
    tier.for_each(|key, value, expiry_s| {
        let i = u64::from_le_bytes(key.try_into().expect("keys of 8 bytes"));
        assert_eq!((value, u64::from(expiry_s)), (&bytes(i, i as usize * 17 % 5000)[..], i));
        assert!(seen.insert(i, ()).is_none(), "{i} twice");
    });
    let held: Vec<u64> = (0..300).filter(|&i| tier.holds(key_hash(SALT, &key(i)), &key(i))).collect();
    assert!(!held.is_empty() && held.iter().eq(seen.keys()));
    assert_eq!(held.len() as u64, tier.len());
}

/// Random requests against a map of what was inserted last. `hash` may collide as it likes.
fn agrees_with_a_map(seed: u64, plan: MemoryPlan, hash: KeyHash, key_count: u64, step_count: u64, long: usize) {
    let mut tier = MemoryTier::with_hash(plan, SALT, hash).expect("anonymous memory");
    let mut model: BTreeMap<Vec<u8>, (Vec<u8>, u32)> = BTreeMap::new();
    let mut now_s = 1;
    let mut hits = 0;
    for step in 0..step_count {
        let random = key_hash(seed, &step.to_le_bytes());
        let number = random % key_count;
        let key_len = if number % 29 == 3 { 300 + number as usize } else { number as usize % 12 };
        let key = [&number.to_le_bytes()[..key_len.min(2)], &bytes(number, key_len)].concat();
        let h = hash(SALT, &key);
        let context = || format!("seed {seed} step {step} {plan:?}");
        now_s += u32::from(random >> 56 == 0);
        match (random >> 20) % 16 {
            0..7 => {
                let len = (random >> 32) as usize % if (random >> 26).is_multiple_of(16) { long } else { 200 };
                let value = bytes(step, len);
                let expiry_s = if (random >> 30).is_multiple_of(4) { now_s + 1 + (random >> 40) as u32 % 5 } else { 0 };
                match tier.insert(h, &key, &value, expiry_s, now_s) {
                    Inserted::Stored => {
                        let hit = tier.lookup(h, &key, now_s).expect("an entry is there after its insert");
                        assert!(hit.to_vec() == value, "{}", context());
                        model.insert(key, (value, expiry_s));
                    }
                    Inserted::Oversize => {
                        assert!(len + key.len() + 16 > tier.entry_bytes_max, "{}", context());
                        assert!(!tier.holds(h, &key), "{}", context());
                        model.remove(&key);
                    }
                }
            }
            7..9 => {
                let was = tier.remove(h, &key);
                assert!(model.remove(&key).is_some() || !was, "{}", context());
                assert!(!tier.holds(h, &key), "{}", context());
            }
            9 if (random >> 40).is_multiple_of(100) => {
                tier.clear();
                model.clear();
            }
            _ => {
                if let Some(hit) = tier.lookup(h, &key, now_s) {
                    hit.touch();
                    hits += 1;
                    let (value, expiry_s) =
                        model.get(&key).unwrap_or_else(|| panic!("a hit that was never inserted: {}", context()));
                    assert!(hit.to_vec() == *value && hit.expiry_s() == *expiry_s, "{}", context());
                    let mut copy = vec![0; hit.value_len()];
                    hit.copy_to(&mut copy);
                    assert!(copy == *value && (*expiry_s == 0 || *expiry_s > now_s), "{}", context());
                }
            }
        }
        tier.validate();
    }
    assert!(hits * 50 > step_count, "seed {seed}: only {hits} hits prove little");
}

#[test]
fn random_requests_agree_with_a_map_in_tiny_tiers() {
    for seed in 0..12 {
        let total = MemoryPlan::TOTAL_BYTES_MIN + seed as usize * 3000;
        let plan = MemoryPlan::split(total, [0, 100, 5000][seed as usize % 3]).expect("enough");
        agrees_with_a_map(seed, plan, key_hash, 100 + seed * 60, 2500, 6000);
    }
}

#[test]
fn random_requests_agree_with_a_map_while_the_index_drops_slots_all_the_time() {
    for seed in 100..104 {
        let plan = MemoryPlan { arena_bytes: 20 * 4096, index_bytes: 64 * (1 + seed as usize % 4), ghost_bytes: 256 };
        agrees_with_a_map(seed, plan, key_hash, 100, 3000, 3000);
    }
}

#[test]
fn colliding_hashes_cost_misses_and_never_a_wrong_value() {
    for seed in 200..204 {
        let plan = MemoryPlan::split(100_000, 100).expect("enough");
        agrees_with_a_map(seed, plan, |salt, key| key_hash(salt, key) % 7, 60, 2500, 3000);
    }
}

#[test]
fn the_same_requests_leave_the_same_entries() {
    let run = || {
        let mut tier = tier(128 << 10, 50);
        for i in 0..20_000u64 {
            let random = key_hash(5, &i.to_le_bytes());
            let key = key(random % 3000 * (random >> 32) % 3000);
            if get(&tier, &key).is_none() {
                insert(&mut tier, &key, &bytes(random, (random >> 50) as usize % 100));
            }
        }
        let mut entries = Vec::new();
        tier.for_each(|key, value, _| entries.push((key.to_vec(), value.to_vec())));
        (entries, tier.counters())
    };
    assert_eq!(run(), run());
}

/// A tier in front of a disk tier, as full as it gets, with popular entries in main, holes among them, and entries that straddle chunks.
fn used_tier(seed: u64) -> MemoryTier {
    let plan = MemoryPlan::split(256 << 10, 300).expect("enough memory");
    let mut tier = MemoryTier::before_disk(plan, SALT).expect("anonymous memory");
    for step in 0..1500u64 {
        let random = key_hash(seed, &step.to_le_bytes());
        let key = key(random % 400);
        let (hash, value) = (key_hash(SALT, &key), bytes(step, (random >> 16) as usize % 700));
        match (random >> 32) % 8 {
            0..2 => drop(tier.promote(hash, &key, &value, 0, 0)),
            2..4 => drop(tier.insert(hash, &key, &value, 0, 0)),
            4 => drop(tier.remove(hash, &key)),
            _ => drop(get(&tier, &key)),
        }
    }
    tier.validate();
    tier
}

/// Hash and popularity of what a ring holds, oldest first.
fn listed(tier: &MemoryTier, ring: u8) -> Vec<(u64, u8)> {
    let live = tier.rings.entries(ring).filter(|(_, header)| !header.dead);
    live.map(|(location, header)| {
        let hash = tier.hash_of(location, &header);
        (hash, tier.table.find(hash).expect("a live entry has its slot").popularity)
    })
    .collect()
}

#[test]
fn the_list_of_main_tells_each_live_entry_once_and_in_order_whatever_the_steps() {
    for seed in 300..310 {
        let tier = used_tier(seed);
        let expected = listed(&tier, S3Fifo::MAIN);
        let dead_count = tier.rings.entries(S3Fifo::MAIN).filter(|(_, header)| header.dead).count();
        assert!(expected.len() > 50 && dead_count > 5, "seed {seed}: {} live, {dead_count} holes", expected.len());
        assert!(expected.iter().any(|(_, popularity)| *popularity > 0), "seed {seed}: nothing was asked for");
        assert!(!listed(&tier, S3Fifo::SMALL).is_empty(), "seed {seed}: what is in the small ring is not listed");
        for step in [1, 2, 3, 17, 512, usize::MAX] {
            let (mut told, mut position) = (Vec::new(), Some(0));
            while let Some(from) = position {
                let before = told.len();
                position = tier.list_main(from, step, |hash, popularity| told.push((hash, popularity)));
                assert!(told.len() - before <= step, "seed {seed}: more than {step} entries under one lock");
                assert_ne!(position, Some(from), "seed {seed}: a step goes on");
            }
            assert_eq!(told, expected, "seed {seed} in steps of {step}");
        }
    }
}

#[test]
fn what_is_restored_is_in_main_with_the_popularity_that_it_had() {
    let plan = MemoryPlan::split(256 << 10, 300).expect("enough memory");
    let mut tier = MemoryTier::before_disk(plan, SALT).expect("anonymous memory");
    for (i, popularity) in [0u8, 1, 2, 3, 4, 255].into_iter().enumerate() {
        let key = key(i as u64);
        let hash = key_hash(SALT, &key);
        let restored = Restored { hash, key: &key, value: b"value", expiry_s: 9, popularity };
        assert_eq!(tier.restore(restored, 0), Inserted::Stored);
        let found = tier.table.find(hash).expect("restored");
        assert_eq!(found.popularity, popularity.min(S3Fifo::POPULARITY_MAX), "popularity {popularity}");
        assert_eq!(tier.rings.header(found.location).ring, S3Fifo::MAIN, "popularity {popularity}");
        let hit = tier.lookup(hash, &key, 8).expect("restored");
        assert_eq!((hit.to_vec(), hit.expiry_s()), (b"value".to_vec(), 9), "popularity {popularity}");
        assert!(tier.lookup(hash, &key, 9).is_none(), "it expires when it did");
    }
    tier.validate();
}

#[test]
fn a_list_that_is_restored_gives_the_same_list() {
    for seed in 300..305 {
        let old = used_tier(seed);
        let plan = MemoryPlan::split(256 << 10, 300).expect("enough memory");
        let mut new = MemoryTier::before_disk(plan, SALT).expect("anonymous memory");
        let mut list = Vec::new();
        old.list_main(0, usize::MAX, |hash, popularity| list.push((hash, popularity)));
        for &(hash, popularity) in &list {
            let (key, value, expiry_s) = old.entry(hash).expect("what is listed is there");
            new.restore(Restored { hash, key: &key, value: &value, expiry_s, popularity }, 0);
        }
        assert_eq!(listed(&new, S3Fifo::MAIN), list, "seed {seed}");
        new.validate();
    }
}
