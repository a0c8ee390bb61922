//! What goes in comes out.

use crate::help::{Page, Rng, disk_cache, memory_cache, seed};
use emberlog::disk::SimDisk;
use emberlog::typed::{BincodeCodec, Codec, EncodeError, KeyCodec, TypedCache};
use emberlog::{Cache, EntryOptions, ManualClock};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn decodes_what_it_encodes<C: Codec<Page>>(codec: &C) {
    let seed = seed();
    let mut rng = Rng::new(seed);
    for case in 0..2_000 {
        let page = Page::random(&mut rng);
        let mut bytes = b"before".to_vec();
        codec.encode(&page, &mut bytes).unwrap();
        let (before, encoded) = bytes.split_at(6);
        assert_eq!(before, b"before", "EMBERLOG_SEED={seed} case {case}: encoding appends");
        let decoded = codec.decode(encoded).unwrap_or_else(|error| panic!("EMBERLOG_SEED={seed} case {case}: {error}"));
        assert_eq!(decoded, page, "EMBERLOG_SEED={seed} case {case}");
        // Cut anywhere, and with a byte too many, it is not a value.
        let cut = rng.below(encoded.len() as u64) as usize;
        assert!(codec.decode(&encoded[..cut]).is_err(), "EMBERLOG_SEED={seed} case {case} cut at {cut}");
        bytes.push(0);
        assert!(codec.decode(&bytes[6..]).is_err(), "EMBERLOG_SEED={seed} case {case} with one more byte");
    }
}

/// A typed cache against a map: random operations, closed and opened again now and then. Nothing is evicted, so nothing may be missing.
fn agrees_with_a_map<C>(codec: fn() -> C)
where
    C: Codec<Page> + KeyCodec<(u32, String)>,
{
    let seed = seed();
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.next());
    let open =
        |open_seed| TypedCache::<(u32, String), Page, C>::with_codec(disk_cache(&disk, open_seed), "page", codec());
    let mut pages = open(rng.next());
    let mut model = BTreeMap::new();
    let mut found = 0;
    for step in 0..3_000 {
        let context = format!("EMBERLOG_SEED={seed} step {step}");
        let key = (rng.below(20) as u32, "ß".repeat(rng.below(4) as usize));
        match rng.below(100) {
            0..40 => {
                let page = Page::random(&mut rng);
                let outcome = pages.insert(&key, &page).unwrap();
                assert!(outcome.memory.is_stored() && outcome.disk.is_stored(), "{context}: {outcome:?}");
                model.insert(key, page);
            }
            40..55 => {
                assert_eq!(pages.remove(&key), model.remove(&key).is_some(), "{context}");
            }
            55..97 => {
                assert_eq!(pages.contains_key(&key), model.contains_key(&key), "{context}");
                let page = pages.get(&key);
                found += u32::from(page.is_some());
                assert_eq!(page.as_ref(), model.get(&key), "{context}");
            }
            97 => pages.cache().flush().unwrap(),
            _ => {
                pages.cache().close().unwrap();
                assert_eq!(pages.get(&key), None, "{context}: closed");
                let stats = pages.stats();
                assert_eq!((stats.decode_failures, stats.other_type), (0, 0), "{context}: {stats:?}");
                pages = open(rng.next());
            }
        }
    }
    assert!(found > 300, "EMBERLOG_SEED={seed}: the test finds values: {found}");
}

#[test]
fn values_of_every_shape_survive_bincode() {
    decodes_what_it_encodes(&BincodeCodec);
}

#[test]
fn a_typed_cache_is_a_map_that_survives_reopening() {
    agrees_with_a_map(|| BincodeCodec);
}

#[cfg(feature = "postcard")]
#[test]
fn both_hold_for_postcard() {
    decodes_what_it_encodes(&emberlog::typed::PostcardCodec);
    agrees_with_a_map(|| emberlog::typed::PostcardCodec);
}

#[test]
fn values_survive_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let cache = Cache::builder().memory_bytes(4 << 20).disk_bytes(16 << 20).open(dir.path().join("cache")).unwrap();
        TypedCache::<String, Vec<String>>::new(cache, "lines")
    };
    let lines = open();
    let poem = vec!["one".to_owned(), "two".to_owned()];
    lines.insert("poem", &poem).unwrap();
    drop(lines);
    assert_eq!(open().get("poem"), Some(poem));
}

#[test]
fn a_stored_entry_is_these_very_bytes() {
    // Pinned: what an earlier release wrote has to be read by the next. The hashes were computed by another implementation of XXH3.
    let cache = memory_cache();
    let words = TypedCache::<String, (u16, String)>::builder(cache.clone(), "word").version(0x0102).build();
    words.insert("key", &(300, "value".to_owned())).unwrap();
    let raw_key = words.raw_key("key").unwrap();
    assert_eq!(raw_key, b"\xce\xe0\x04\xc0\x03key");
    let stored = cache.get(&raw_key).unwrap();
    assert_eq!(stored.as_ref(), b"\x01\x01\x02\x01\xde\x23\x4a\xb6\xfb\x2c\x01\x05value");
}

#[test]
fn borrowed_and_owned_keys_are_the_same_key() {
    let values = TypedCache::<String, u8>::new(memory_cache(), "value");
    values.insert(&"owned".to_owned(), &1).unwrap();
    values.insert("lent", &2).unwrap();
    assert_eq!((values.get("owned"), values.get(&"lent".to_owned())), (Some(1), Some(2)));
    assert!(values.remove("owned") && !values.remove("owned") && !values.contains_key("owned"));

    let by_bytes = TypedCache::<Vec<u8>, u8>::new(memory_cache(), "value");
    by_bytes.insert([1, 2].as_slice(), &1).unwrap();
    assert_eq!(by_bytes.get(&vec![1, 2]), Some(1));
}

#[test]
fn options_reach_the_cache() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let cache = Cache::builder().memory_bytes(4 << 20).shared_clock(Arc::<ManualClock>::clone(&clock));
    let values = TypedCache::<u8, u8>::new(cache.open_memory_only().unwrap(), "value");
    let minute = EntryOptions::new().time_to_live(Duration::from_secs(60));
    values.insert_with(&1, &1, minute).unwrap();
    assert_eq!(values.get(&1), Some(1));
    clock.advance(Duration::from_secs(62));
    assert_eq!(values.get(&1), None);
}

#[test]
fn clones_in_other_threads_are_the_same_cache_and_count_together() {
    let values = TypedCache::<u64, u64>::new(memory_cache(), "value");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let values = values.clone();
            scope.spawn(move || {
                for number in 0..100 {
                    values.insert(&(thread * 100 + number), &number).unwrap();
                    assert_eq!(values.get(&(thread * 100 + number)), Some(number));
                }
            });
        }
    });
    assert_eq!((values.stats().hits, values.stats().misses), (400, 0));
}

#[test]
fn a_typed_cache_is_shared_between_threads_whatever_its_types_are() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<TypedCache<Cell<u8>, std::rc::Rc<u8>>>();
}

/// Encodes unless told otherwise.
#[derive(Debug, serde::Deserialize)]
struct Moody(bool);

impl serde::Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { serializer.serialize_bool(true) } else { Err(serde::ser::Error::custom("not today")) }
    }
}

#[test]
fn a_value_that_does_not_encode_is_an_error_and_leaves_no_older_one() {
    let values = TypedCache::<u8, Moody>::new(memory_cache(), "moody");
    values.insert(&1, &Moody(true)).unwrap();
    let error = values.insert(&1, &Moody(false)).unwrap_err();
    assert!(matches!(error, EncodeError::Value(_)), "{error:?}");
    assert!(error.to_string().contains("not today"), "{error}");
    assert!(values.get(&1).is_none(), "the older value is stale");
}

#[test]
fn a_key_that_does_not_encode_is_an_error_at_insert_and_a_miss_elsewhere() {
    let values = TypedCache::<Moody, u8>::new(memory_cache(), "moody");
    let error = values.insert(&Moody(false), &1).unwrap_err();
    assert!(matches!(error, EncodeError::Key(_)), "{error:?}");
    assert_eq!(values.get(&Moody(false)), None);
    assert!(!values.contains_key(&Moody(false)) && !values.remove(&Moody(false)));
    assert_eq!((values.stats().misses, values.stats().bad_keys), (1, 1));
}

#[test]
fn a_decode_may_use_the_cache_itself() {
    thread_local!(static CACHE: std::cell::RefCell<Option<TypedCache<u8, Curious>>> = const { std::cell::RefCell::new(None) });
    #[derive(serde::Serialize)]
    struct Curious(u8);
    impl<'de> serde::Deserialize<'de> for Curious {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = u8::deserialize(deserializer)?;
            let cache = CACHE.with_borrow(|cache| cache.clone().unwrap());
            if value > 0 {
                cache.insert(&value, &Self(value - 1)).unwrap();
                cache.get(&value).unwrap();
            }
            Ok(Self(value))
        }
    }
    let cache = TypedCache::<u8, Curious>::new(memory_cache(), "curious");
    CACHE.set(Some(cache.clone()));
    cache.insert(&9, &Curious(5)).unwrap();
    assert_eq!(cache.get(&9).unwrap().0, 5);
    assert_eq!(cache.stats().hits, 6);
    CACHE.set(None);
}
