//! Ages and latencies against what the test knows of them.

use crate::open;
use emberlog::disk::SimDisk;
use emberlog::{Cache, ManualClock};
use std::sync::Arc;
use std::time::Duration;

fn memory_only(clock: &Arc<ManualClock>, sample_one_in: u32) -> Cache {
    let settings = Cache::builder().memory_bytes(4 << 20).shards(1).expected_entry_bytes(512).random_seed(1);
    settings.shared_clock(Arc::<ManualClock>::clone(clock)).sample_one_in(sample_one_in).open_memory_only().unwrap()
}

#[test]
fn entries_of_a_full_cache_are_evicted_at_the_age_at_which_it_turns_over() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let cache = memory_only(&clock, 1);
    // Ten a second, none asked for: a queue.
    let mut count = 0u64;
    while cache.stats().memory.evicted < 100 {
        cache.insert(count.to_le_bytes(), [0; 500]);
        clock.advance(Duration::from_millis(100));
        count += 1;
    }
    let filled = cache.stats().memory.entries;
    for _ in 0..4 * filled {
        cache.insert(count.to_le_bytes(), [0; 500]);
        clock.advance(Duration::from_millis(100));
        count += 1;
    }
    let stats = cache.stats();
    let (age, idle) = (&stats.ages.memory_at_eviction_ms, &stats.ages.memory_idle_at_eviction_ms);
    let watched_share = age.count() as f64 / stats.memory.evicted as f64 * stats.ages.watched_one_in as f64;
    assert!((0.7..1.3).contains(&watched_share), "1 of {} watched: {watched_share}", stats.ages.watched_one_in);
    assert_eq!((age.count(), age.sum), (idle.count(), idle.sum), "nobody asked for any");
    // In the small ring, a tenth of the memory, each stays for a tenth of a turnover.
    let turnover_ms = (filled * 100) as f64;
    let median = age.quantile(0.5).unwrap();
    assert!((0.07..0.14).contains(&(median / turnover_ms)), "{median} of {turnover_ms}");
    let oldest_ms = stats.ages.memory_oldest_ms.unwrap() as f64;
    assert!(oldest_ms > 3.0 * turnover_ms, "the main ring holds what came first: {oldest_ms}");
}

#[test]
fn idle_time_counts_from_the_last_use() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let cache = memory_only(&clock, 1);
    let mut next = 0u64;
    let mut insert_many = |count: u64| {
        for _ in 0..count {
            cache.insert(next.to_le_bytes(), [0; 500]);
            next += 1;
        }
    };
    // A full cache; what is in the small ring is asked for once, a minute after it came.
    insert_many(20_000);
    clock.advance(Duration::from_secs(60));
    let asked = (18_000..20_000u64).filter(|n| cache.get(n.to_le_bytes()).is_some()).count();
    assert!(asked > 650, "{asked} in the small ring");
    clock.advance(Duration::from_secs(40));
    let before = cache.stats();
    insert_many(600);
    let stats = cache.stats();
    let sum_and_count = |stats: &emberlog::Stats| {
        let ages = &stats.ages;
        let (age, idle) = (&ages.memory_at_eviction_ms, &ages.memory_idle_at_eviction_ms);
        (age.count(), age.sum, idle.sum)
    };
    let (then, now) = (sum_and_count(&before), sum_and_count(&stats));
    let old = (now.0 - then.0) as f64;
    let (age_s, idle_s) = ((now.1 - then.1) as f64 / 1e3, (now.2 - then.2) as f64 / 1e3);
    assert!(idle_s > 0.0 && (age_s / idle_s - 2.5).abs() < 0.01, "100 s old, 40 s idle: {age_s}, {idle_s}, {old}");
}

#[test]
fn hits_are_told_apart_by_age_in_both_tiers_and_tails_by_theirs() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let cache = open(&disk, &clock);
    for n in 0..400u32 {
        cache.insert(n.to_le_bytes(), [1; 64]);
    }
    cache.flush().unwrap();
    let ask = || (0..400u32).for_each(|n| assert!(cache.get(n.to_le_bytes()).is_some()));
    ask();
    clock.advance(Duration::from_secs(30));
    ask();
    clock.advance(Duration::from_secs(7_200));
    ask();
    let ages = cache.stats().ages;
    let classes = ages.memory_hits.classes().map(|(_, count)| count);
    let seen = ages.watched_entries;
    assert!(seen > 8, "{seen} of 400 are watched");
    assert_eq!(classes, [seen, 0, seen, 0, 0, seen, 0]);
    assert!(ages.memory_oldest_ms.unwrap().abs_diff(7_230_000) < 20);
    assert_eq!(ages.disk_oldest_ms, Some(7_230_000));
    drop(cache);

    let cache = open(&disk, &clock);
    (0..400u32).for_each(|n| assert!(cache.get(n.to_le_bytes()).is_some()));
    let stats = cache.stats();
    let on_disk = stats.ages.disk_hits.classes().map(|(_, count)| count);
    assert_eq!(on_disk.iter().sum::<u64>(), stats.disk.unwrap().hits);
    assert!(on_disk[5] > 300, "two hours old: {on_disk:?}");
}

#[test]
fn one_request_in_so_many_is_measured_and_with_none_nothing_is() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    for one_in in [0, 1, 16, 256] {
        let cache = memory_only(&clock, one_in);
        for n in 0..200_000u64 {
            let key = (n % 1_000).to_le_bytes();
            match n % 10 {
                0 => assert!(cache.insert(key, [0; 100]).is_stored()),
                1 => assert!(!cache.remove(b"another")),
                2 | 3 => assert!(cache.get(b"missing").is_none()),
                _ => assert_eq!(cache.read((n % 1_000 / 10 * 10).to_le_bytes(), |value| value.len()), Some(100)),
            }
        }
        cache.get_with("loaded", || "value");
        let latency = cache.stats().latency;
        let counts = [&latency.memory_hit_ns, &latency.insert_ns, &latency.remove_ns, &latency.miss_ns];
        let counts = counts.map(|histogram| histogram.count());
        assert_eq!(latency.load_ns.count(), u64::from(one_in > 0));
        let Some(each) = 200_000u64.checked_div(one_in.into()) else {
            assert_eq!(counts, [0; 4]);
            assert_eq!(cache.stats().ages.watched_entries, 0);
            continue;
        };
        let all: u64 = counts.iter().sum();
        assert!((0.9..1.1).contains(&(all as f64 / each as f64)), "1 in {one_in}: {all}, wanted {each}");
        for (count, share) in counts.into_iter().zip([0.6, 0.1, 0.1, 0.2]) {
            let wanted = each as f64 * share;
            let off = (count as f64 - wanted).abs();
            assert!(off <= 5.0 * wanted.sqrt(), "1 in {one_in}: {counts:?} of {each}");
        }
        cache.close().unwrap();
        assert_eq!(cache.get(0u64.to_le_bytes()), None, "closed, and sampling does not hide it");
        assert_eq!(cache.read(0u64.to_le_bytes(), |value| value.len()), None);
    }
}

#[test]
fn no_read_is_served_after_close_however_rarely_it_is_looked_at() {
    for one_in in [0, 1, 256] {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let cache = memory_only(&clock, one_in);
        (0..100u64).for_each(|n| assert!(cache.insert(n.to_le_bytes(), "value").is_stored()));
        cache.close().unwrap();
        for _ in 0..1_000 {
            cache.insert("late", "value");
            cache.get("missing");
            assert!((0..100u64).all(|n| cache.get(n.to_le_bytes()).is_none()), "one in {one_in}");
        }
    }
}

#[test]
fn measuring_a_read_allocates_nothing() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let cache = memory_only(&clock, 1);
    (0..1_000u64).for_each(|n| assert!(cache.insert(n.to_le_bytes(), [0; 100]).is_stored()));
    let read = || {
        for n in 0..2_000u64 {
            assert_eq!(cache.read(n.to_le_bytes(), |value| value.len()).is_some(), n < 1_000);
        }
    };
    let allocated = allocation_counter::measure(read);
    assert_eq!(allocated.count_total, 0);
    assert_eq!(cache.stats().latency.memory_hit_ns.count(), 1_000, "and all were measured");
}
