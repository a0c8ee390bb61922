//! What is not of this type, version and codec, or not a value at all, is a counted miss.

use crate::help::{Draw, Rng, disk_cache, memory_cache, seed};
use emberlog::Cache;
use emberlog::disk::SimDisk;
use emberlog::typed::{BincodeCodec, Codec, CodecError, KeyCodec, TypedCache, TypedStats};

/// bincode under another id.
#[derive(Debug)]
struct Other;

impl Codec<String> for Other {
    const ID: u8 = 128;
    fn encode(&self, value: &String, into: &mut Vec<u8>) -> Result<(), CodecError> {
        BincodeCodec.encode(value, into)
    }
    fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
        BincodeCodec.decode(bytes)
    }
}

impl KeyCodec<u64> for Other {
    fn encode_key(&self, key: &u64, into: &mut Vec<u8>) -> Result<(), CodecError> {
        BincodeCodec.encode_key(key, into)
    }
}

type Names = TypedCache<u64, String>;

/// Reads a key, and gives what this added to the counters.
fn counted<K, V, C>(cache: &TypedCache<K, V, C>, read: impl FnOnce()) -> [u64; 7] {
    let numbers = |stats: TypedStats| {
        [
            stats.hits,
            stats.misses,
            stats.decode_failures,
            stats.other_type,
            stats.other_version,
            stats.other_codec,
            stats.bad_keys,
        ]
    };
    let before = numbers(cache.stats());
    read();
    let after = numbers(cache.stats());
    std::array::from_fn(|index| after[index] - before[index])
}

const HIT: [u64; 7] = [1, 0, 0, 0, 0, 0, 0];
const ABSENT: [u64; 7] = [0, 1, 0, 0, 0, 0, 0];
const DECODE_FAILURE: [u64; 7] = [0, 1, 1, 0, 0, 0, 0];
const OTHER_TYPE: [u64; 7] = [0, 1, 0, 1, 0, 0, 0];
const OTHER_VERSION: [u64; 7] = [0, 1, 0, 0, 1, 0, 0];
const OTHER_CODEC: [u64; 7] = [0, 1, 0, 0, 0, 1, 0];

#[test]
fn each_difference_is_a_miss_of_its_own_kind_and_leaves_the_value_where_it_is() {
    let cache = memory_cache();
    let names = Names::builder(cache.clone(), "name").version(7).build();
    names.insert(&1, &"Ada".to_owned()).unwrap();
    for (version, expected) in [(6, OTHER_VERSION), (8, OTHER_VERSION), (7 + 256, OTHER_VERSION), (7, HIT)] {
        let other = Names::builder(cache.clone(), "name").version(version).build();
        assert_eq!(counted(&other, || drop(other.get(&1))), expected, "version {version}");
        assert_eq!(other.contains_key(&1), expected == HIT, "version {version}");
    }
    let other = Names::builder(cache.clone(), "name").type_name("nickname").version(7).build();
    assert_eq!(counted(&other, || drop(other.get(&1))), OTHER_TYPE);
    let other = TypedCache::<u64, String>::builder(cache.clone(), "name").version(7).codec(Other).build();
    assert_eq!(counted(&other, || drop(other.get(&1))), OTHER_CODEC);
    assert!(!other.contains_key(&1));
    assert_eq!(counted(&names, || drop(names.get(&2))), ABSENT);
    assert_eq!(names.get(&1).as_deref(), Some("Ada"), "nobody took it away");
}

#[test]
fn a_value_that_does_not_decode_is_a_miss_until_it_is_replaced() {
    let cache = memory_cache();
    // The same name and version for two types: a caller's mistake.
    let numbers = TypedCache::<u64, u8>::new(cache.clone(), "mistaken");
    let names = Names::new(cache.clone(), "mistaken");
    numbers.insert(&1, &255).unwrap();
    for _ in 0..2 {
        assert_eq!(counted(&names, || assert_eq!(names.get(&1), None)), DECODE_FAILURE);
    }
    assert_eq!(numbers.get(&1), Some(255), "it was left where it is");
    names.insert(&1, &"Ada".to_owned()).unwrap();
    assert_eq!(names.get(&1).as_deref(), Some("Ada"));
}

#[test]
fn namespaces_do_not_see_each_other() {
    let cache = memory_cache();
    let spaces = ["", "a", "b", "ab", "a:b"].map(|name| (name, Names::new(cache.clone(), name)));
    for (name, space) in &spaces {
        assert_eq!(space.get(&1), None, "{name}");
        space.insert(&1, &format!("of {name}")).unwrap();
    }
    for (name, space) in &spaces {
        assert_eq!(space.get(&1), Some(format!("of {name}")));
    }
    let (_, first) = &spaces[0];
    assert!(first.remove(&1));
    for (name, space) in &spaces {
        assert_eq!(space.contains_key(&1), !name.is_empty(), "{name}");
    }
    assert_eq!(spaces.iter().map(|(_, space)| space.stats().other_type).sum::<u64>(), 0);
}

#[test]
fn several_namespaces_may_hold_one_type() {
    let cache = memory_cache();
    let by_id = Names::builder(cache.clone(), "name by id").type_name("name").build();
    let by_rank = Names::builder(cache.clone(), "name by rank").type_name("name").build();
    by_id.insert(&1, &"Ada".to_owned()).unwrap();
    assert_eq!(by_rank.get(&1), None);
    // Bytes may be moved from one to the other.
    let stored = cache.get(by_id.raw_key(&1).unwrap()).unwrap();
    cache.insert(by_rank.raw_key(&1).unwrap(), stored);
    assert_eq!(by_rank.get(&1).as_deref(), Some("Ada"));
}

/// Any bytes under a typed key, straight into the cache below.
fn plant(cache: &Cache, names: &Names, stored: &[u8]) {
    cache.insert(names.raw_key(&1).unwrap(), stored);
}

#[test]
fn every_cut_and_every_flipped_bit_is_a_miss_or_a_value() {
    let cache = memory_cache();
    let names = Names::builder(cache.clone(), "name").version(7).build();
    names.insert(&1, &"Ada Lovelace".to_owned()).unwrap();
    let stored = cache.get(names.raw_key(&1).unwrap()).unwrap().to_vec();
    for len in 0..stored.len() {
        plant(&cache, &names, &stored[..len]);
        let expected = if len < 8 { OTHER_TYPE } else { DECODE_FAILURE };
        assert_eq!(counted(&names, || assert_eq!(names.get(&1), None)), expected, "cut at {len}");
    }
    for bit in 0..stored.len() * 8 {
        let mut flipped = stored.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        plant(&cache, &names, &flipped);
        let counts = counted(&names, || assert_ne!(names.get(&1).as_deref(), Some("Ada Lovelace"), "bit {bit}"));
        match bit / 8 {
            0 | 4..8 => assert_eq!(counts, OTHER_TYPE, "bit {bit}"),
            1 => assert_eq!(counts, OTHER_CODEC, "bit {bit}"),
            2..4 => assert_eq!(counts, OTHER_VERSION, "bit {bit}"),
            8 => assert_eq!(counts, DECODE_FAILURE, "bit {bit}: another length"),
            _ => assert!([HIT, DECODE_FAILURE].contains(&counts), "bit {bit}: {counts:?}"),
        }
    }
}

#[test]
fn any_bytes_in_the_cache_below_are_a_miss_or_a_value() {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let cache = memory_cache();
    let names = Names::new(cache.clone(), "name");
    names.insert(&1, &String::new()).unwrap();
    let header = cache.get(names.raw_key(&1).unwrap()).unwrap()[..8].to_vec();
    for case in 0..5_000 {
        let mut stored = if rng.below(4) > 0 { header.clone() } else { Vec::new() };
        stored.extend(rng.bytes(64));
        plant(&cache, &names, &stored);
        let counts = counted(&names, || drop(names.get(&1)));
        assert_eq!(counts[0] + counts[1], 1, "EMBERLOG_SEED={seed} case {case}: {counts:?}");
        assert_eq!(counts[1], counts[2..].iter().sum::<u64>(), "EMBERLOG_SEED={seed} case {case}: {counts:?}");
    }
}

#[test]
fn an_older_version_on_disk_is_a_miss_after_a_restart_and_served_again_to_its_own() {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.next());
    let open = |seed, version| Names::builder(disk_cache(&disk, seed), "name").version(version).build();
    let names = open(rng.next(), 1);
    for key in 0..200 {
        names.insert(&key, &rng.text(50)).unwrap();
    }
    let kept: Vec<_> = (0..200).map(|key| names.get(&key).unwrap()).collect();
    names.cache().close().unwrap();

    let names = open(rng.next(), 2);
    for key in 0..200 {
        assert_eq!(names.get(&key), None, "EMBERLOG_SEED={seed} key {key}");
    }
    assert_eq!((names.stats().misses, names.stats().other_version), (200, 200), "EMBERLOG_SEED={seed}");
    names.insert(&0, &"new".to_owned()).unwrap();
    names.cache().close().unwrap();

    let names = open(rng.next(), 1);
    assert_eq!(names.get(&0), None, "EMBERLOG_SEED={seed}: replaced, so the older one does not come back");
    for key in 1..200 {
        assert_eq!(names.get(&key).as_ref(), Some(&kept[key as usize]), "EMBERLOG_SEED={seed} key {key}");
    }
}

#[test]
fn the_counters_are_serializable() {
    let names = Names::new(memory_cache(), "name");
    names.get(&1);
    let page = serde_json::to_value(names.stats()).unwrap();
    assert_eq!((&page["misses"], &page["decode_failures"]), (&1.into(), &0.into()));
}
