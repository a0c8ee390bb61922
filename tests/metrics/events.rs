//! Rare transitions are events, once each; requests are not.

use crate::{open, use_it};
use emberlog::disk::{SimCause, SimDisk, SimFault, SimOp};
use emberlog::{Cache, ManualClock, WhenBehind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts events by their level and message, reasons included.
#[derive(Default)]
struct Count(Mutex<Events>);

type Events = BTreeMap<(Level, String), u32>;

impl Subscriber for Count {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("emberlog")
    }
    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text(String, String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.0 = format!("{value:?}"),
                    "reason" => self.1 = format!(" ({value:?})"),
                    _ => {}
                }
            }
        }
        let mut text = Text(String::new(), String::new());
        event.record(&mut text);
        *self.0.lock().unwrap().entry((*event.metadata().level(), text.0 + &text.1)).or_default() += 1;
    }
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

/// What happened while `act` ran in this thread.
fn events(act: impl FnOnce()) -> Events {
    // While some listener is there for all threads, no event that another thread comes by first is noted as one that nobody wants. The first call sets it.
    let _ = tracing::subscriber::set_global_default(Count::default());
    let count = Arc::new(Count::default());
    tracing::subscriber::with_default(Arc::clone(&count), act);
    std::mem::take(&mut *count.0.lock().unwrap())
}

fn told(events: &Events, level: Level, begin: &str) -> u32 {
    let of = events.iter().filter(|((found, text), _)| *found == level && text.starts_with(begin));
    of.map(|(_, count)| count).sum()
}

#[test]
fn opening_retiring_dropping_and_closing_are_events_and_requests_are_not() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let mut retired = 0;
    let seen = events(|| {
        let cache = open(&disk, &clock);
        (0..4).for_each(|round| use_it(&cache, &clock, round));
        let stats = cache.stats().disk.unwrap();
        assert!(stats.dropped_oversize >= 4, "one each round");
        cache.close().unwrap();
        retired = cache.stats().disk.unwrap().segments_retired;
    });
    assert!(retired > 0);
    assert_eq!(told(&seen, Level::INFO, "recovery is done"), 1, "{seen:?}");
    assert_eq!(told(&seen, Level::INFO, "the cache is open"), 1);
    assert_eq!(told(&seen, Level::DEBUG, "a segment is retired"), retired as u32);
    assert_eq!(told(&seen, Level::WARN, "the disk tier begins to drop values"), 1, "once, not for each: {seen:?}");
    assert_eq!(told(&seen, Level::INFO, "the cache is closed"), 1);
    let all: u32 = seen.values().sum();
    assert_eq!(all, 4 + retired as u32, "nothing else, for twelve thousand inserts: {seen:?}");
}

#[test]
fn the_disk_tier_going_off_is_one_error_and_what_follows_one_warning() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(ManualClock::new(1_000_000)));
    let seen = events(|| {
        let cache = open(&disk, &clock);
        cache.insert("key", "value");
        disk.fail_nth(SimOp::Sync, 1, SimFault::once(SimCause::Io));
        cache.flush().unwrap_err();
        (0..100u8).for_each(|n| assert!(!cache.insert([n], "value").disk.is_stored()));
        cache.close().unwrap_err();
    });
    assert_eq!(told(&seen, Level::ERROR, "the disk tier is off"), 1, "{seen:?}");
    assert_eq!(
        told(&seen, Level::WARN, "the disk tier begins to drop values; how many is in the statistics (\"off\")"),
        1
    );
    assert_eq!(told(&seen, Level::INFO, "the cache is closed"), 1);
}

#[test]
fn a_cache_in_memory_only_opens_with_an_event_and_has_no_recovery() {
    let seen = events(|| {
        let cache = Cache::builder().memory_bytes(1 << 20).when_behind(WhenBehind::Drop).open_memory_only().unwrap();
        cache.insert("key", "value");
    });
    assert_eq!(told(&seen, Level::INFO, "the cache is open"), 1);
    assert_eq!(seen.len(), 1, "{seen:?}");
}
