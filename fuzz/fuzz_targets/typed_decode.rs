//! Typed values: any bytes, as they are and behind a good header, for types of every kind and both codecs.
//!
//! Never a panic; memory by the length of the bytes; one hit or one miss a read; and what decodes is a value: it encodes, and decodes to itself.
#![no_main]

use allocation_counter::measure;
use emberlog::Cache;
use emberlog::typed::{BincodeCodec, Codec, KeyCodec, PodCodec, PostcardCodec, TypedCache};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
enum Shape {
    #[default]
    Unit,
    Newtype(Option<Box<Shape>>),
    Tuple(i64, char, Vec<Shape>),
    Struct {
        name: String,
        all: HashMap<String, Vec<u8>>,
        inner: Box<Shape>,
    },
}

/// Has no encoded form, and takes room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Conjured {
    #[serde(skip)]
    room: [u64; 16],
}

/// A type, and whether what decodes must decode again: not where elements take no bytes.
macro_rules! each_type {
    ($codec:expr, $cache:expr, $bytes:expr) => {
        check::<String, _>(&$codec, $cache, $bytes, 1, true);
        check::<Vec<u64>, _>(&$codec, $cache, $bytes, 8, true);
        check::<HashSet<i128>, _>(&$codec, $cache, $bytes, 16, true);
        check::<Vec<Vec<Vec<u16>>>, _>(&$codec, $cache, $bytes, 72, true);
        check::<HashMap<String, Vec<u8>>, _>(&$codec, $cache, $bytes, 56, true);
        check::<BTreeMap<u32, Option<(bool, char)>>, _>(&$codec, $cache, $bytes, 64, true);
        check::<Shape, _>(&$codec, $cache, $bytes, 256, true);
        check::<Vec<()>, _>(&$codec, $cache, $bytes, 1, false);
        check::<Vec<Conjured>, _>(&$codec, $cache, $bytes, 128, false);
    };
}

thread_local!(static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) });

fuzz_target!(|bytes: &[u8]| {
    CACHE.with_borrow_mut(|cache| {
        let cache = cache.get_or_insert_with(|| {
            Cache::builder().memory_bytes(2 << 20).shards(1).open_memory_only().expect("budgets that work")
        });
        each_type!(BincodeCodec, cache, bytes);
        each_type!(PostcardCodec, cache, bytes);
        check::<[u32; 5], _>(&PodCodec, cache, bytes, 4, true);
    });
});

fn check<V, C>(codec: &C, cache: &Cache, bytes: &[u8], element_len: u64, is_stable: bool)
where
    V: Default + PartialEq,
    C: Codec<V> + KeyCodec<u8> + Copy,
{
    let used = measure(|| drop(black_box(codec.decode(bytes))));
    let allowed = 1024 + 3 * element_len * bytes.len() as u64;
    assert!(used.bytes_max <= allowed, "{} bytes took {} instead of {allowed}", bytes.len(), used.bytes_max);
    let decoded = codec.decode(bytes).ok();
    if let Some(value) = decoded.as_ref().filter(|_| is_stable) {
        let mut again = Vec::new();
        codec.encode(value, &mut again).expect("what was decoded encodes");
        let again = codec.decode(&again).expect("what was encoded decodes");
        assert!(again == *value, "a value decodes to itself");
    }

    // The same through a cache: as they are, then behind the header of a value.
    let typed = TypedCache::<u8, V, C>::with_codec(cache.clone(), "fuzzed", *codec);
    let raw_key = typed.raw_key(&1).expect("a number encodes");
    assert!(cache.insert(&raw_key, bytes).is_stored());
    black_box(typed.get(&1));
    typed.insert(&1, &V::default()).expect("the default encodes");
    assert!(typed.get(&1) == Some(V::default()), "the default is served");
    let mut stored = cache.get(&raw_key).expect("it is there")[..8].to_vec();
    stored.extend_from_slice(bytes);
    assert!(cache.insert(&raw_key, &stored).is_stored());
    let served = typed.get(&1);
    assert!(served == decoded, "the cache serves what the codec decodes");
    let stats = typed.stats();
    let reasons = stats.decode_failures + stats.other_type + stats.other_version + stats.other_codec;
    assert_eq!((stats.hits + stats.misses, stats.misses), (3, reasons), "{stats:?}");
}
