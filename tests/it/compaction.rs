//! What is appended again when segments go, and ahead of that: what earned it, no more than is allowed, told in events, and safe to crash in.
//!
//! Values here are longer than memory takes, so that every hit is one on disk; short ones stay in memory.

use crate::oracle::{key_bytes, value_bytes};
use crate::support::{KIB, Rng, START_UNIX_MS, Setup, cases, named};
use crate::world::{Crash, World};
use emberlog::disk::SimDisk;
use emberlog::{
    Builder, Cache, DiskStats, EntryOptions, Maintained, Maintenance, MaintenanceBudget, ManualClock, WindowEnd,
    WindowReason, WindowStats,
};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SEGMENT: u64 = 256 * KIB;
const LEN: usize = 60_000;
/// A record of such a value, in the whole eights that it takes.
const RECORD: u64 = 60_032;
/// Bytes that a step of the sweep moves at most: it ends with the record that reaches 128 KiB.
const STEP_BYTES_MAX: u64 = 128 * KIB + RECORD;

fn settings() -> Builder {
    Cache::builder()
        .memory_bytes(730 * KIB)
        .disk_bytes(8 << 20)
        .segment_len_bytes(SEGMENT)
        .append_buffer_bytes(112 * KIB)
        .disk_index_bytes(8 * KIB)
        .shards(1)
        .maintenance(Maintenance::Manual)
        .random_seed(7)
}

/// A store on a simulated disk, and the number of its next fresh key.
struct Store {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    cache: Cache,
    next: u32,
}

impl Store {
    fn new(settings: Builder) -> Self {
        Self::on(SimDisk::new(1), settings)
    }

    fn on(disk: SimDisk, settings: Builder) -> Self {
        let clock = Arc::new(ManualClock::new(START_UNIX_MS));
        // Neither the page of counters nor statistics: they change with time, and take memory.
        let settings = settings.shared_clock(Arc::<ManualClock>::clone(&clock)).counters_page(false).sample_one_in(0);
        let cache = settings.open_on(Arc::new(disk.clone())).expect("the store opens");
        Self { disk, clock, cache, next: 10 }
    }

    fn put(&self, key: u32) {
        let outcome = self.cache.insert(key_bytes(key), value_bytes(key, 1, LEN));
        assert!(outcome.disk.is_stored() && !outcome.memory.is_stored(), "such a value is on disk only");
    }

    /// Inserts so many fresh keys; returns the first.
    fn fill(&mut self, count: u32) -> u32 {
        let first = self.next;
        for _ in 0..count {
            self.put(self.next);
            self.next += 1;
        }
        first
    }

    /// Inserts fresh keys until a segment went.
    fn fill_until_retired(&mut self, segments: u64) {
        let until = self.disk_stats().segments_retired + segments;
        while self.disk_stats().segments_retired < until {
            self.fill(1);
        }
    }

    /// A store as full as it gets, and the oldest of its keys, which is the first of a segment. Nothing was asked for.
    fn full(settings: Builder) -> (Self, u32) {
        let mut store = Self::new(settings);
        store.fill_up();
        let oldest = (10..store.next).find(|&key| store.has(key)).expect("the log holds something");
        (store, oldest)
    }

    /// Inserts until the oldest segment went.
    fn fill_up(&mut self) {
        // Sealed segments are shorter, so only a store whose segments are sealed is full; but nothing is to be moved ahead of need yet.
        while self.free_bytes() >= 3 * SEGMENT {
            self.fill(1);
            self.maintain_all();
        }
        assert_eq!((self.disk_stats().segments_retired, self.windows().count), (0, 0));
        self.fill_until_retired(1);
    }

    fn hit(&self, key: u32, times: u32) {
        for _ in 0..times {
            let value = self.cache.get(key_bytes(key));
            assert!(value.is_some_and(|value| *value == value_bytes(key, 1, LEN)), "key {key} is there to be hit");
        }
    }

    /// Looks without counting a hit.
    fn has(&self, key: u32) -> bool {
        let value = self.cache.peek(key_bytes(key));
        assert!(value.as_ref().is_none_or(|value| *value == value_bytes(key, 1, LEN)), "key {key} has its value");
        value.is_some()
    }

    fn disk_stats(&self) -> DiskStats {
        self.cache.stats().disk.expect("with a disk tier")
    }

    fn free_bytes(&self) -> u64 {
        let stats = self.disk_stats();
        stats.limit_bytes - stats.used_bytes
    }

    fn windows(&self) -> WindowStats {
        self.cache.stats().windows.expect("with a disk tier")
    }

    fn again(&self) -> u64 {
        self.disk_stats().bytes_reinserted
    }

    fn maintain(&self, steps_max: u32) -> Maintained {
        let budget = MaintenanceBudget { steps_max, ..MaintenanceBudget::default() };
        self.cache.maintain(budget).expect("a sound disk is maintained")
    }

    /// All that is due.
    fn maintain_all(&self) {
        assert!(!self.maintain(100_000).more, "the work ends");
        self.cache.validate();
    }
}

// -- when a segment goes

#[test]
fn what_was_hit_on_disk_survives_its_segment_and_what_was_not_goes() {
    let (mut store, oldest) = Store::full(settings());
    store.hit(oldest + 1, 1);
    store.hit(oldest + 3, 2);
    store.fill_until_retired(1);
    let kept: Vec<u32> = (oldest..oldest + 4).filter(|&key| store.has(key)).collect();
    assert_eq!(kept, [oldest + 1, oldest + 3]);
    assert_eq!((store.disk_stats().records_reinserted, store.again()), (2, 2 * RECORD));
    store.cache.validate();
}

#[test]
fn with_nothing_allowed_all_of_it_goes() {
    let (mut store, oldest) = Store::full(settings().reinsert_percent(0));
    (oldest..oldest + 4).for_each(|key| store.hit(key, 5));
    store.maintain_all();
    store.fill_until_retired(1);
    assert!((oldest..oldest + 4).all(|key| !store.has(key)));
    assert_eq!((store.again(), store.windows().records_moved), (0, 0));
}

#[test]
fn a_record_that_nobody_asks_for_any_more_goes_after_three_rounds_at_most() {
    let (mut store, oldest) = Store::full(settings());
    store.hit(oldest, 20);
    let round = (store.disk_stats().segments + 4) * 4;
    let mut rounds = 0;
    while store.has(oldest) {
        store.fill(round as u32);
        rounds += 1;
        assert!(rounds <= 4, "it is still there after {rounds} rounds");
    }
    assert!(
        (2..=3).contains(&store.disk_stats().records_reinserted),
        "{} times",
        store.disk_stats().records_reinserted
    );
    assert_eq!(store.again(), store.disk_stats().records_reinserted * RECORD);
}

#[test]
fn what_is_appended_again_for_hits_stays_within_its_percent_of_what_requests_appended() {
    for percent in [5, 20, 60] {
        let settings = settings().disk_bytes(4 << 20).reinsert_percent(percent).write_overhead_percent(1000);
        let (mut store, _) = Store::full(settings);
        let most = |stats: &DiskStats| 2 * SEGMENT + stats.bytes_requested * u64::from(percent) / 100;
        for step in 0..250u32 {
            store.fill(1);
            // All that is there is popular.
            if step % 3 == 0 {
                (store.next.saturating_sub(60)..store.next).for_each(|key| drop(store.cache.get(key_bytes(key))));
            }
            if step % 7 == 0 {
                store.maintain(3);
            }
            let stats = store.disk_stats();
            assert!(stats.bytes_reinserted <= most(&stats), "{percent} %: {stats:?}");
        }
        let stats = store.disk_stats();
        assert!(stats.bytes_reinserted * 10 > most(&stats) * 6, "{percent} %: and it is used: {stats:?}");
    }
}

#[test]
fn what_is_written_beyond_keys_and_values_stays_within_its_percent_of_them() {
    for percent in [0, 5, 25, 50] {
        let settings = settings().disk_bytes(4 << 20).reinsert_percent(60).write_overhead_percent(percent);
        let (mut store, _) = Store::full(settings);
        for step in 0..400u32 {
            store.fill(1);
            // All that is there is popular.
            if step % 3 == 0 {
                (store.next.saturating_sub(60)..store.next).for_each(|key| drop(store.cache.get(key_bytes(key))));
            }
        }
        let stats = store.disk_stats();
        // What the share begins with comes on top, and a tenth of it is always kept: headers are next to nothing here.
        let most = 2 * SEGMENT + stats.bytes_accepted * u64::from(percent.max(6)) / 100;
        assert!(stats.bytes_written - stats.bytes_accepted <= most, "{percent} %: {stats:?}");
        assert!(stats.bytes_reinserted * 10 > most * 7, "{percent} %: and it is used: {stats:?}");
    }
}

#[test]
fn what_memory_holds_goes_on_though_it_was_never_hit_on_disk() {
    let mut store = Store::new(settings().reinsert_percent(1));
    for key in 0..10 {
        assert!(store.cache.insert(key_bytes(key + 2), value_bytes(key + 2, 1, 300)).memory.is_stored());
    }
    store.next = 100;
    store.fill_until_retired(12);
    store.cache.flush().expect("a sound disk is flushed");
    // Memory is gone, the log is all there is.
    let left = Store::on(store.disk.after_kill(), settings());
    for key in 2..12 {
        let value = left.cache.get(key_bytes(key));
        assert!(value.is_some_and(|value| *value == value_bytes(key, 1, 300)), "key {key} outlived its segment");
    }
    assert!(store.disk_stats().records_reinserted >= 10 && store.again() < 20 * KIB);
}

// -- ahead of that

#[test]
fn when_nothing_else_is_due_what_goes_next_is_moved_ahead_in_bounded_steps() {
    let (store, oldest) = Store::full(settings());
    (oldest..oldest + 4).for_each(|key| store.hit(key, 7));
    let mut calls_that_moved = 0;
    loop {
        let (before, window) = (store.again(), store.windows());
        let done = store.maintain(1);
        let moved = store.again() - before;
        assert!(moved <= STEP_BYTES_MAX, "{moved} bytes in a step");
        calls_that_moved += u64::from(moved > 0);
        let windows = store.windows();
        assert_eq!(windows.bytes_moved - window.bytes_moved, moved, "a window counts what was moved");
        assert_eq!((windows.count, windows.is_open), (calls_that_moved, false));
        if !done.more {
            break;
        }
    }
    assert!(calls_that_moved >= 2, "{calls_that_moved} steps");
    assert!(store.disk_stats().records_reinserted >= 4, "{:?}", store.disk_stats());
    store.cache.validate();
}

#[test]
fn what_goes_next_is_moved_ahead_however_full_the_active_segment_is() {
    for more in 0..5 {
        let (mut store, oldest) = Store::full(settings());
        store.fill(more);
        let oldest = (oldest..store.next).find(|&key| store.has(key)).expect("the log holds something");
        (oldest..oldest + 3).for_each(|key| store.hit(key, 7));
        store.maintain_all();
        let moved = store.windows().records_moved;
        assert!(moved >= 3, "with {more} records more: {moved} moved");
    }
}

#[test]
fn a_call_of_maintain_is_one_window_that_is_told_in_one_event() {
    let (store, oldest) = Store::full(settings());
    (oldest..oldest + 4).for_each(|key| store.hit(key, 7));
    let cache = store.cache.clone();
    // Who listens may ask the cache for more.
    let events = listen(
        move || {
            let windows = cache.stats().windows.expect("with a disk tier");
            assert_eq!(windows.count, 1);
        },
        || store.maintain_all(),
    );
    let windows = store.windows();
    let last = windows.last.clone().expect("something was moved");
    assert_eq!((last.why, last.ended), (WindowReason::Asked, Some(WindowEnd::Done)));
    assert_eq!((windows.count, windows.is_open), (1, false));
    assert_eq!((last.records_moved, last.bytes_moved), (windows.records_moved, windows.bytes_moved));
    assert_eq!((last.records_moved, last.bytes_moved), (store.disk_stats().records_reinserted, store.again()));
    assert_eq!(last.began_unix_ms, START_UNIX_MS);
    let told: Vec<&String> = events.iter().filter(|event| event.contains("quiet window")).collect();
    assert_eq!(told.len(), 1, "{events:?}");
    let bytes = format!("bytes={}", last.bytes_moved);
    for named in ["why=Asked", "ended=Done", &bytes, "records=", "began_unix_ms=1700000000000", "lasted_ms="] {
        assert!(told[0].contains(named), "{named}: {}", told[0]);
    }
    // Nothing is left to do, so there is no other window.
    assert!(listen(|| (), || store.maintain_all()).is_empty());
    assert_eq!(store.windows().count, 1);
}

#[test]
fn what_was_moved_ahead_is_not_appended_again_when_its_segment_goes() {
    let (mut store, oldest) = Store::full(settings());
    store.hit(oldest, 7);
    store.hit(oldest + 2, 7);
    store.maintain_all();
    assert_eq!(store.disk_stats().records_reinserted, 2);
    store.fill_until_retired(1);
    assert_eq!(store.disk_stats().records_reinserted, 2, "the segment went without a copy");
    assert!(store.has(oldest) && store.has(oldest + 2) && !store.has(oldest + 1));
    store.cache.validate();
}

#[test]
fn what_was_removed_overwritten_or_expired_is_never_moved() {
    let mut store = Store::new(settings());
    let options = EntryOptions::new().time_to_live(Duration::from_secs(10));
    // In the second segment, so that the first goes while the store fills up.
    store.fill(4);
    [2, 3, 4].into_iter().for_each(|key| store.put(key));
    store.cache.insert_with(key_bytes(5), value_bytes(5, 1, LEN), options);
    store.fill_up();
    assert_eq!(store.disk_stats().records_reinserted, 0);
    assert!(store.has(2), "the second segment is there");
    [2, 3, 4, 5].into_iter().for_each(|key| store.hit(key, 7));
    store.cache.remove(key_bytes(2));
    store.cache.insert(key_bytes(3), "newer");
    store.clock.advance(Duration::from_secs(12));
    let before = store.disk_stats().records_reinserted;
    store.maintain_all();
    assert_eq!(store.disk_stats().records_reinserted - before, 1, "only the fourth is worth it");
    store.fill_until_retired(2);
    assert_eq!(store.cache.get(key_bytes(2)), None);
    assert_eq!(store.cache.get(key_bytes(3)).as_deref(), Some(b"newer".as_slice()));
    assert!(store.has(4) && store.cache.get(key_bytes(5)).is_none());
    store.cache.validate();
}

#[test]
fn where_there_was_no_room_it_goes_on_once_there_is() {
    // The append buffer holds one such record at a time.
    let (store, oldest) = Store::full(settings().append_buffer_bytes(80 * KIB));
    (oldest..oldest + 4).for_each(|key| store.hit(key, 7));
    store.maintain_all();
    assert_eq!(store.disk_stats().records_reinserted, 4, "all that is worth it, in one call");
    let before = store.again();
    store.maintain_all();
    assert_eq!(store.again(), before, "and it was all");
}

#[test]
fn a_step_goes_on_where_the_last_one_stopped() {
    // In the second segment lie small records that memory holds: more than a step looks at.
    let mut store = Store::new(settings().memory_bytes(1024 * KIB).disk_index_bytes(200 * KIB));
    store.fill(4);
    for key in 1000..2800 {
        store.cache.insert(key_bytes(key), value_bytes(key, 1, 60));
    }
    store.fill_up();
    let (mut steps, mut moves) = (0, Vec::new());
    loop {
        let before = store.disk_stats().records_reinserted;
        let done = store.maintain(1);
        let moved = store.disk_stats().records_reinserted - before;
        assert!(moved <= 512, "{moved} records in a step");
        moves.extend((moved > 0).then_some(moved));
        steps += 1;
        assert!(steps < 200, "the sweep ends");
        if !done.more {
            break;
        }
    }
    assert!(moves.len() >= 3 && moves.iter().sum::<u64>() >= 1_000, "{moves:?}");
    assert_eq!(store.windows().count, moves.len() as u64);
    store.cache.validate();
}

#[test]
fn where_nothing_is_left_of_the_allowance_the_rest_waits_for_more() {
    let (mut store, oldest) = Store::full(settings().reinsert_percent(100));
    // More than the two segments' worth at first, all in segments that go next.
    (oldest..oldest + 12).for_each(|key| store.hit(key, 7));
    store.maintain_all();
    let first = store.windows().records_moved;
    assert!((3..=8).contains(&first), "{first} moved at first");
    store.fill(2);
    store.maintain_all();
    assert!(store.windows().records_moved > first, "{:?}", store.windows());
    let kept = (oldest..oldest + 12).filter(|&key| store.has(key)).count();
    assert_eq!(kept, 12, "what waited was not passed over");
}

#[test]
fn a_record_pays_out_of_what_was_there_before_it() {
    // Two segments' worth at first. A hit is enough while nearly all of it is left: for one record and not for the second.
    let (store, oldest) = Store::full(settings());
    (oldest..oldest + 4).for_each(|key| store.hit(key, 1));
    assert_eq!(store.again(), 0);
    store.maintain_all();
    assert_eq!(store.disk_stats().records_reinserted, 1);
}

#[test]
fn a_segment_whose_footer_is_damaged_is_passed_over_and_the_next_gone_through() {
    let (mut store, oldest) = Store::full(settings());
    let names: Vec<String> = store.disk.snapshot().into_keys().filter(|name| name.starts_with("segment-")).collect();
    let name = &names[0];
    let mut bytes = store.disk.read_file(name);
    let len = bytes.len();
    bytes[len - 40..].fill(0x5a);
    store.disk.write_file(name, &bytes);
    (oldest..oldest + 8).for_each(|key| store.hit(key, 7));
    store.maintain_all();
    let moved = store.disk_stats().records_reinserted;
    assert!(moved >= 3, "{moved} of the next segment");
    assert!((oldest..oldest + 8).all(|key| store.has(key)), "and nothing is lost by that");
    store.fill_until_retired(4);
    (10..store.next).for_each(|key| {
        store.has(key);
    });
    store.cache.validate();
}

// -- alike, and whatever happens

#[test]
fn the_same_requests_leave_the_same_files() {
    let run = |seed: u64| {
        let mut rng = Rng::new(seed);
        let (mut store, _) = Store::full(settings());
        for _ in 0..300 {
            match rng.below(4) {
                0 => drop(store.fill(1)),
                1 => drop(store.maintain(1 + rng.below(5) as u32)),
                _ => {
                    let key = 10 + rng.below(u64::from(store.next)) as u32;
                    let _ = store.cache.get(key_bytes(key));
                }
            }
        }
        assert!(store.windows().records_moved > 3, "{:?}", store.windows());
        store.disk.snapshot()
    };
    assert!(run(1) == run(1), "bit for bit");
    assert!(run(1) != run(2), "other requests leave others");
}

/// A store that is full, with hot keys, and steps of maintenance all the time.
fn sweeping(setup: &Setup, seed: u64, dies_at: Option<u64>) -> World {
    let mut world = World::new(setup.clone(), Rng::new(seed));
    if let Some(at) = dies_at {
        world.die_after(at);
    }
    if !world.open() {
        return world;
    }
    for step in 0..200u32 {
        let key = world.rng.below(40) as u32;
        match step % 8 {
            0..=3 => world.insert(key, 2_000 + key as usize * 50, None),
            4 => world.insert(key, 3_000, Some(Duration::from_secs(3))),
            5 if step % 3 == 0 => world.remove(key),
            5 => world.advance(Duration::from_millis(400)),
            6 if step % 5 == 0 => world.flush(),
            6 => world.check_all(),
            _ => world.maintain(20),
        }
        if world.is_dead() {
            break;
        }
    }
    world
}

#[test]
fn a_crash_at_any_call_amid_sweeps_leaves_a_prefix_of_the_events() {
    let setup = Setup { disk_bytes: 512 * KIB, disk_index_bytes: 16 * KIB, ..Setup::small() };
    let whole = sweeping(&setup, 1, None);
    let windows = whole.cache().stats().windows.expect("with a disk tier");
    assert!(windows.records_moved > 20 && windows.count > 3, "{windows:?}");
    let most = whole.disk.op_count();
    assert!(most > 60, "{most} calls");
    for at in 1..=most {
        let mut world = sweeping(&setup, 1, Some(at));
        for crash in [Crash::Kill, Crash::PowerCut { seed: at }, Crash::PowerCut { seed: !at }] {
            named(&format!("call {at}, {crash:?}"), || {
                let mut left = world.crashed(crash);
                assert!(left.open());
                // Goes on sweeping, and the next open finds all in order as well.
                left.maintain(50);
                left.run(8);
                left.maintain(50);
                left.crash(Crash::PowerCut { seed: at ^ 5 });
                assert!(left.open());
            });
        }
    }
}

#[test]
fn random_lives_with_sweeps_answer_right() {
    let moved = Cell::new(0);
    cases(0x7377_6565, 30, |mut rng| {
        let setup = Setup { disk_bytes: 512 * KIB, ..Setup::random(&mut rng) };
        let mut world = World::new(setup, rng);
        assert!(world.open());
        for _ in 0..60 {
            assert!(world.run(8), "nothing dies here");
            world.maintain(30);
            moved.set(moved.get() + world.cache().stats().windows.map_or(0, |windows| windows.records_moved));
        }
        world.cache().validate();
        world.crash(Crash::PowerCut { seed: 3 });
        assert!(world.open());
    });
    assert!(moved.get() > 100 || std::env::var("CASE").is_ok(), "{} records were moved", moved.get());
}

#[test]
fn records_that_an_open_found_count_as_never_hit() {
    let (mut store, oldest) = Store::full(settings());
    (oldest..oldest + 4).for_each(|key| store.hit(key, 7));
    store.cache.flush().expect("a sound disk is flushed");
    let mut left = Store::on(store.disk.after_kill(), settings());
    left.next = store.next;
    store.fill(0);
    left.hit(oldest + 1, 1);
    left.fill_until_retired(2);
    let kept: Vec<u32> = (oldest..oldest + 4).filter(|&key| left.has(key)).collect();
    assert_eq!(kept, [oldest + 1], "what is asked for now is kept, not what was before");
}

// -- listening

/// Runs `body` and returns the events told meanwhile on this thread, each as one line; `at_each` runs within each of them.
fn listen(at_each: impl Fn() + Send + Sync + 'static, body: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    // While some listener is there for all threads, no event that another thread comes by first is noted as one that nobody wants. The first call sets it.
    let _ = tracing::subscriber::set_global_default(Listener { lines: Arc::default(), at_each: || () });
    tracing::subscriber::with_default(Listener { lines: Arc::clone(&lines), at_each }, body);
    std::mem::take(&mut *lines.lock().expect("nobody panicked with it"))
}

struct Listener<F> {
    lines: Arc<Mutex<Vec<String>>>,
    at_each: F,
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").expect("text grows");
    }
}

impl<F: Fn() + Send + Sync + 'static> tracing::Subscriber for Listener<F> {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.lines.lock().expect("nobody panicked with it").push(line.0);
        (self.at_each)();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
