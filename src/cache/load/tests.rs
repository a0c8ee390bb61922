//! Loads one at a time and many at once, each step held where the test wants it: a loader goes on when it has seen who waits.

use super::*;
use crate::disk::SimDisk;
use crate::{Builder, Cache, Durability, Maintenance, ManualClock, Refusal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn settings() -> Builder {
    Cache::builder().memory_bytes(4 << 20).disk_bytes(8 << 20).segment_len_bytes(1 << 20).random_seed(1)
}

/// A cache of each kind.
fn caches() -> [(&'static str, Cache); 4] {
    let disk = || Arc::new(SimDisk::new(1));
    [
        ("memory only", settings().open_memory_only().expect("it fits")),
        ("disk, manual", settings().maintenance(Maintenance::Manual).open_on(disk()).expect("an empty disk")),
        ("disk, threads", settings().open_on(disk()).expect("an empty disk")),
        ("disk, synced", settings().durability(Durability::Synced).open_on(disk()).expect("an empty disk")),
    ]
}

fn memory_only() -> Cache {
    settings().open_memory_only().expect("it fits")
}

fn hash_of(cache: &Cache, key: &str) -> u64 {
    key_hash(cache.core().salt, key.as_bytes())
}

/// Returns when so many wait for the key's load.
fn until_waiting(cache: &Cache, key: &str, count: usize) {
    let hash = hash_of(cache, key);
    for _ in 0..20_000_000 {
        if cache.core().shards.read(hash).flights.waiter_count(hash, key.as_bytes()) == Some(count) {
            return;
        }
        crate::sync::yield_now();
    }
    panic!("there were never {count} who waited for '{key}'");
}

fn assert_at_rest(cache: &Cache) {
    assert!(cache.core().shards.iter().all(|(shard, _)| shard.read().flights.is_empty()), "no flight is left");
}

fn counts(cache: &Cache) -> [u64; 4] {
    let requests = cache.stats().requests;
    [requests.loads, requests.load_errors, requests.loads_shared, requests.loads_overtaken]
}

fn never() -> &'static str {
    panic!("this must not be loaded")
}

#[test]
fn sixteen_who_miss_a_key_share_one_load_and_its_bytes() {
    for (kind, cache) in caches() {
        let load = || {
            until_waiting(&cache, "key", 15);
            b"value".to_vec()
        };
        let values: Vec<Bytes> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| cache.get_with("key", load))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        assert!(
            values.iter().all(|value| value == "value" && value.as_ptr() == values[0].as_ptr()),
            "{kind}: no copies"
        );
        assert_eq!(counts(&cache), [1, 0, 15, 0], "{kind}");
        let requests = cache.stats().requests;
        assert_eq!((requests.hits, requests.misses, requests.inserts), (0, 16, 0), "{kind}");
        assert_eq!(cache.get_with("key", never), "value", "{kind}: it is stored");
        assert_eq!(cache.stats().requests.hits, 1);
        assert_at_rest(&cache);
        cache.validate();
    }
}

#[test]
fn an_error_is_shared_by_those_who_waited_and_not_stored() {
    let cache = memory_only();
    let load = || {
        until_waiting(&cache, "key", 7);
        Err::<String, _>("down".to_owned())
    };
    let errors: Vec<Arc<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| cache.try_get_with("key", load).unwrap_err())).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    assert!(errors.iter().all(|error| **error == "down" && Arc::ptr_eq(error, &errors[0])));
    assert_eq!(counts(&cache), [1, 1, 7, 0]);
    assert_eq!(cache.get("key"), None);
    assert_at_rest(&cache);
    assert_eq!(cache.try_get_with("key", || Ok::<_, String>("up")), Ok(Bytes::from("up")), "the next one loads");
}

#[test]
fn who_waits_with_another_type_of_error_shares_values_and_loads_after_errors() {
    let cache = memory_only();
    for (key, result) in [("good", Ok("theirs")), ("bad", Err(7u8))] {
        let (began, begin) = mpsc::channel();
        std::thread::scope(|scope| {
            let cache = &cache;
            let first = scope.spawn(move || {
                cache.try_get_with(key, || {
                    began.send(()).expect("the test waits");
                    until_waiting(cache, key, 2);
                    result
                })
            });
            begin.recv().expect("the first one loads");
            let others: Vec<_> = (0..2).map(|_| scope.spawn(move || cache.get_with(key, || "mine"))).collect();
            assert_eq!(first.join().expect("it ends").map_err(|error| *error), result.map(Bytes::from));
            for other in others {
                assert_eq!(other.join().expect("it ends"), result.unwrap_or("mine"), "{key}");
            }
        });
    }
    let [loads, errors, ..] = counts(&cache);
    assert_eq!((loads, errors), (3, 1), "the two whose type was another loaded once between them");
    assert_at_rest(&cache);
}

#[test]
fn a_panic_wakes_one_who_loads_while_the_rest_go_on_waiting() {
    for (kind, cache) in caches() {
        let load_count = AtomicUsize::new(0);
        let load = || {
            // Each sees all who came after it wait: also those who had waited for the ones before.
            let number = load_count.fetch_add(1, Ordering::SeqCst);
            until_waiting(&cache, "key", 4 - number);
            assert!(number >= 2, "this load is made to fail");
            "value"
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..5)
                .map(|_| scope.spawn(|| catch_unwind(AssertUnwindSafe(|| cache.get_with("key", load)))))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it is caught")).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2, "{kind}: a panic is its own caller's");
        assert!(results.iter().flatten().all(|value| value == "value"), "{kind}");
        assert_eq!(counts(&cache), [3, 0, 2, 0], "{kind}");
        assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()), "{kind}: the last one's is stored");
        assert_at_rest(&cache);
    }
}

#[test]
fn a_panic_that_nobody_waits_for_leaves_nothing_behind() {
    struct Spoiled;
    impl From<Spoiled> for Bytes {
        fn from(_: Spoiled) -> Self {
            panic!("in the conversion")
        }
    }
    let cache = memory_only();
    for load in [|| panic!("in the load"), || Spoiled] {
        assert!(catch_unwind(AssertUnwindSafe(|| cache.get_with("key", load))).is_err());
        assert_at_rest(&cache);
    }
    assert_eq!(cache.get_with("key", || "value"), "value");
}

/// What comes between the begin of a load and its end, and what is there afterwards.
type Mutation = (&'static str, fn(&Cache), Option<&'static [u8]>);

const MUTATIONS: [Mutation; 5] = [
    ("insert", |cache| assert!(cache.insert("key", "newer").is_stored()), Some(b"newer")),
    (
        "insert with options",
        |cache| assert!(cache.insert_with("key", "newer", EntryOptions::new().time_to_live(Duration::MAX)).is_stored()),
        Some(b"newer"),
    ),
    ("remove", |cache| assert!(!cache.remove("key")), None),
    ("invalidate", Cache::invalidate_all, None),
    (
        "refused insert",
        |cache| {
            let memory = cache.insert("key", vec![0; 16 << 20]).memory;
            assert_eq!(memory, crate::TierOutcome::Refused(Refusal::Oversize));
        },
        None,
    ),
];

#[test]
fn a_mutation_that_comes_meanwhile_wins_and_those_from_before_get_what_was_loaded() {
    for (what, mutate, after) in MUTATIONS {
        for (kind, cache) in caches() {
            let (began, begin) = mpsc::channel();
            let (go, gone) = mpsc::channel();
            std::thread::scope(|scope| {
                let cache = &cache;
                let first = scope.spawn(move || {
                    cache.get_with("key", || {
                        began.send(()).expect("the test waits");
                        gone.recv().expect("the test lets it go on");
                        "loaded"
                    })
                });
                begin.recv().expect("the first one loads");
                let second = scope.spawn(move || cache.get_with("key", never));
                until_waiting(cache, "key", 1);
                mutate(cache);
                assert_eq!(cache.get("key").as_deref(), after, "{what}, {kind}: at once");
                go.send(()).expect("the first one waits");
                assert_eq!(first.join().expect("it ends"), "loaded", "{what}, {kind}");
                assert_eq!(second.join().expect("it ends"), "loaded", "{what}, {kind}: it asked before");
            });
            assert_eq!(cache.get("key").as_deref(), after, "{what}, {kind}: afterwards");
            assert_eq!(counts(&cache), [1, 0, 1, 1], "{what}, {kind}");
            assert_at_rest(&cache);
            cache.validate();
        }
    }
}

#[test]
fn who_asks_after_a_mutation_does_not_wait_for_an_older_load() {
    for (what, mutate, after) in MUTATIONS {
        for (kind, cache) in caches() {
            let old = cache.get_with("key", || {
                mutate(&cache);
                // In the loader itself, so it would wait for itself if it waited.
                assert_eq!(cache.get_with("key", || "fresh"), after.unwrap_or(b"fresh"), "{what}, {kind}");
                "old"
            });
            assert_eq!(old, "old", "{what}, {kind}");
            assert_eq!(
                cache.get("key").as_deref(),
                after.or(Some(b"fresh")),
                "{what}, {kind}: the newer load is stored"
            );
            assert_eq!(counts(&cache)[3], 1, "{what}, {kind}");
            assert_at_rest(&cache);
        }
    }
}

#[test]
fn a_load_is_not_overtaken_by_what_happens_to_other_keys() {
    let cache = settings().shards(1).open_memory_only().expect("it fits");
    cache.get_with("key", || {
        cache.insert("other", "value");
        cache.remove("other");
        cache.get_with("third", || "value");
        "loaded"
    });
    assert_eq!(cache.get("key").as_deref(), Some(b"loaded".as_slice()));
    assert_eq!(counts(&cache), [2, 0, 0, 0]);
}

#[test]
fn who_takes_over_an_overtaken_load_finds_what_overtook_it() {
    let cache = memory_only();
    let (began, begin) = mpsc::channel();
    std::thread::scope(|scope| {
        let cache = &cache;
        let first = scope.spawn(move || {
            let load = || -> String {
                began.send(()).expect("the test waits");
                until_waiting(cache, "key", 1);
                cache.insert("key", "newer");
                panic!("this load is made to fail")
            };
            catch_unwind(AssertUnwindSafe(|| cache.get_with("key", load))).is_err()
        });
        begin.recv().expect("the first one loads");
        assert_eq!(cache.get_with("key", never), "newer");
        assert!(first.join().expect("it is caught"));
    });
    assert_eq!(counts(&cache), [1, 0, 0, 0]);
    assert_at_rest(&cache);
}

#[test]
fn who_takes_over_an_overtaken_load_is_joined_and_stores_like_any_other() {
    let cache = memory_only();
    let (began, begin) = mpsc::channel();
    std::thread::scope(|scope| {
        let cache = &cache;
        let first = scope.spawn(move || {
            let load = || -> String {
                began.send(()).expect("the test waits");
                until_waiting(cache, "key", 1);
                cache.remove("key");
                panic!("this load is made to fail")
            };
            catch_unwind(AssertUnwindSafe(|| cache.get_with("key", load))).is_err()
        });
        begin.recv().expect("the first one loads");
        let second = scope.spawn(move || {
            cache.get_with("key", || {
                until_waiting(cache, "key", 1);
                "second"
            })
        });
        assert!(first.join().expect("it is caught"));
        until_waiting(cache, "key", 0);
        assert_eq!(cache.get_with("key", never), "second", "it is listed again");
        assert_eq!(second.join().expect("it ends"), "second");
    });
    assert_eq!(cache.get("key").as_deref(), Some(b"second".as_slice()));
    assert_at_rest(&cache);
}

#[test]
fn what_was_stored_between_the_miss_and_the_listing_is_found_in_memory_and_on_disk() {
    for (kind, cache) in caches() {
        let (core, hash) = (cache.core(), hash_of(&cache, "key"));
        cache.insert("key", "value");
        for tier in ["memory", "disk"] {
            if tier == "disk" {
                core.shards.write(hash).memory.remove(hash, b"key");
                if core.log.is_none() {
                    continue;
                }
            }
            let Entered::Leads(lead) = flights::enter(&core.shards, &core.waits, hash, b"key") else {
                panic!("nobody else loads")
            };
            let found = core.lead(lead, hash, b"key", EntryOptions::new(), || Ok::<_, ()>(never()));
            assert_eq!(found, Ok(Bytes::from("value")), "{kind}, {tier}");
        }
        assert_eq!(counts(&cache)[0], 0);
        assert_eq!(cache.stats().requests.hits, 0, "one request is not counted twice");
        assert_at_rest(&cache);
    }
}

#[test]
fn a_load_that_asks_for_its_own_key_runs_the_inner_closure_and_stores_the_outer_value() {
    let cache = memory_only();
    let outer = cache.get_with("key", || {
        let inner = cache.get_with("key", || "inner");
        assert_eq!(inner, "inner");
        assert_eq!(cache.get("key"), None, "the inner value is not stored");
        format!("outer of {}", inner.len())
    });
    assert_eq!(outer, "outer of 5");
    assert_eq!(cache.get("key").as_deref(), Some(b"outer of 5".as_slice()));
    assert_eq!(counts(&cache), [2, 0, 0, 0]);
    assert_at_rest(&cache);
}

#[test]
fn a_load_may_use_the_whole_cache() {
    for (kind, cache) in caches() {
        let value = cache.get_with("a", || {
            let of_b = cache.get_with("b", || {
                let of_c = cache.try_get_with("c", || Ok::<_, ()>("c")).expect("it is loaded");
                format!("b{}", of_c.len())
            });
            cache.insert("d", "d");
            assert!(cache.remove("d"));
            cache.flush().expect("a sound disk");
            cache.stats();
            of_b
        });
        assert_eq!(value, "b1", "{kind}");
        assert_eq!(counts(&cache), [3, 0, 0, 0], "{kind}");
        assert!(["a", "b", "c"].iter().all(|key| cache.contains_key(key)), "{kind}");
        assert_at_rest(&cache);
    }
}

#[test]
fn loads_of_two_threads_that_ask_for_each_others_keys_end() {
    let cache = memory_only();
    let both = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let crossed = |own: &'static str, other: &'static str| {
            let (cache, both) = (&cache, &both);
            move || {
                cache.get_with(own, || {
                    both.wait();
                    cache.get_with(other, || format!("{other} for {own}"))
                })
            }
        };
        let threads = [scope.spawn(crossed("a", "b")), scope.spawn(crossed("b", "a"))];
        let values = threads.map(|thread| thread.join().expect("it ends"));
        assert_eq!(values[0], values[1], "one loaded for itself, the other one waited for that");
    });
    let [loads, _, shared, _] = counts(&cache);
    assert_eq!((loads, shared), (3, 1));
    assert!(cache.contains_key("a") && cache.contains_key("b"));
    assert_at_rest(&cache);
}

#[test]
fn a_closed_cache_loads_and_stores_nothing() {
    for (kind, cache) in caches() {
        let value = cache.get_with("closed meanwhile", || {
            cache.close().expect("a sound disk");
            "value"
        });
        assert_eq!(value, "value", "{kind}");
        for _ in 0..2 {
            assert_eq!(cache.get_with("key", || "value"), "value", "{kind}");
            assert_eq!(cache.try_get_with("key", || Err::<Bytes, _>(7)), Err(Arc::new(7)), "{kind}");
        }
        assert_eq!(counts(&cache), [5, 2, 0, 0], "{kind}");
        assert_at_rest(&cache);
    }
}

#[test]
fn what_no_tier_takes_is_returned_and_loaded_again() {
    for (_, cache) in caches() {
        for _ in 0..2 {
            assert_eq!(cache.get_with("key", || vec![7; 16 << 20]).len(), 16 << 20);
            assert_eq!(cache.get_with(vec![0; 1 << 17], || "value"), "value", "a key that is too long");
        }
        assert_eq!(counts(&cache), [4, 0, 0, 0]);
        assert_at_rest(&cache);
    }
}

#[test]
fn a_loaded_value_expires_and_its_life_begins_when_its_load_ends() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let settings = settings().time_to_live(Duration::from_secs(10)).shared_clock(Arc::<ManualClock>::clone(&clock));
    let cache = settings.open_memory_only().expect("it fits");
    cache.get_with("key", || {
        clock.advance(Duration::from_secs(60));
        "first"
    });
    clock.advance(Duration::from_secs(9));
    assert_eq!(cache.get_with("key", never), "first");
    clock.advance(Duration::from_secs(1));
    assert_eq!(cache.get_with("key", || "second"), "second", "an expired value is loaded anew");
    let minute = EntryOptions::new().time_to_live(Duration::from_secs(60));
    cache.get_with_options("long", minute, || "lived");
    clock.advance(Duration::from_secs(59));
    assert_eq!(cache.get("key"), None);
    let lived = cache.try_get_with_options("long", minute, || Ok::<_, ()>(never()));
    assert_eq!(lived, Ok(Bytes::from("lived")));
    clock.advance(Duration::from_secs(1));
    assert_eq!(cache.get("long"), None);
}

#[test]
fn a_loaded_value_is_there_after_a_restart() {
    let disk = SimDisk::new(1);
    let open = || settings().open_on(Arc::new(disk.clone())).expect("a sound disk");
    let cache = open();
    cache.get_with("loaded", || "value");
    cache.get_with("overtaken", || {
        cache.insert("overtaken", "newer");
        "older"
    });
    cache.get_with("removed", || {
        cache.remove("removed");
        "older"
    });
    cache.close().expect("a sound disk");
    let cache = open();
    assert_eq!(cache.get_with("loaded", never), "value");
    assert_eq!(cache.get("overtaken").as_deref(), Some(b"newer".as_slice()));
    assert_eq!(cache.get("removed"), None);
}
