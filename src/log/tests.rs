//! Tests of the log's reservations: who gets room, in which order, and what is kept for records that are appended again.

use super::*;
use crate::disk::SimDisk;
use crate::format::FORMAT_VERSION;

const SEGMENT_LEN_BYTES: u32 = 128 << 10;
const VALUE: [u8; 1000] = [7; 1000];

fn plan(keeps_room: bool) -> LogPlan {
    LogPlan {
        segment_len_bytes: SEGMENT_LEN_BYTES,
        buffer_bytes: 32 << 10,
        headroom_bytes: 4 << 10,
        staging_bytes: 8 << 10,
        segment_count_max: 8,
        mapped: false,
        keeps_room,
    }
}

/// A log that is empty, in a budget of this many segments.
fn log(keeps_room: bool, segment_count: u64) -> Log {
    log_of(plan(keeps_room), segment_count)
}

fn log_of(plan: LogPlan, segment_count: u64) -> Log {
    let identity = Identity {
        format_version: FORMAT_VERSION,
        required_features: 0,
        optional_features: 0,
        store_id: [3; 16],
        hash_salt: 5,
        epoch_unix_s: 0,
    };
    let budget = Budget::new(segment_count * plan.segment_charge_bytes());
    let disk = PlainArc::new(SimDisk::new(1));
    let random = Random::seeded(1);
    Log::start(disk, identity, plan, budget, random, Vec::new(), 1, Link::default(), 0).expect("an empty disk")
}

fn header() -> RecordHeader {
    RecordHeader::put(9, b"key", &VALUE, 0)
}

/// Appends values as long as one has room. Returns how many bytes their records took.
fn fill(log: &Log) -> u64 {
    let mut bytes = 0;
    loop {
        while log.write_step().expect("a sound disk") {}
        let Some(room) = log.try_reserve(Class::Value, header().record_len()) else { return bytes };
        log.append(room, &header(), [b"key", &VALUE]);
        bytes += header().record_len();
    }
}

/// The same with records that are appended again.
fn fill_again(log: &Log) -> u64 {
    let idle = std::cell::Cell::new(0);
    let write = || {
        let wrote = log.write_step().expect("a sound disk");
        idle.set(if wrote { 0 } else { idle.get() + 1 });
        assert!(idle.get() < 100, "it waits for room that nobody makes");
    };
    let mut bytes = 0;
    while let Some(room) = log.reserve_ahead(header().record_len(), Some(&write)) {
        log.append(room, &RecordHeader { reinserted: true, ..header() }, [b"key", &VALUE]);
        bytes += header().record_len();
    }
    bytes
}

/// Whether `bytes` is `expected`, give or take some records' costs.
fn is_about(bytes: u64, expected: u64) -> bool {
    bytes.abs_diff(expected) <= expected / 10
}

#[test]
fn a_ticket_taken_ahead_comes_before_those_who_wait_already() {
    let log = log(true, 4);
    let mut tail = log.tail.lock();
    let (first, second) = (tail.take_ticket(), tail.take_ticket());
    let ahead = tail.take_first_ticket();
    let mut ask = |ticket| tail.try_reserve(Class::Control, 100, ticket, 0);
    assert!(!ask(Some(first)) && !ask(Some(second)) && !ask(None), "it is not their turn");
    assert!(ask(Some(ahead)));
    assert!(!ask(Some(second)) && !ask(None), "nor is it theirs now");
    assert!(ask(Some(first)) && ask(Some(second)) && ask(None), "in order of asking");
    tail.release(400);
    assert!(!tail.is_contended());
    tail.validate();
}

#[test]
fn a_record_that_is_appended_again_does_not_wait_for_those_who_wait_for_a_segment() {
    let log = log(true, 1);
    fill(&log);
    // Somebody waits for room that only another segment has.
    let waiting = log.tail.lock().take_ticket();
    assert!(!log.tail.lock().try_reserve(Class::Value, cost(header().record_len()), Some(waiting), 1 << 20));
    let write = || panic!("the buffer has room, and it is this one's turn");
    let room = log.reserve_ahead(header().record_len(), Some(&write)).expect("the segment has room for it");
    log.append(room, &header(), [b"key", &VALUE]);
    assert!(log.is_contended(), "who waited waits on");
    // Where the segment has no room either, the answer is no, and nobody is left behind in the queue.
    assert!(log.reserve_ahead(u64::from(SEGMENT_LEN_BYTES), Some(&write)).is_none());
    let mut tail = log.tail.lock();
    assert!(tail.try_reserve(Class::Value, 100, Some(waiting), 0), "the queue is as it was");
    assert!(!tail.is_contended());
}

#[test]
fn values_leave_the_last_half_of_a_segment_to_what_is_appended_again_where_the_next_has_no_room() {
    let log = log(true, 1);
    let segment = u64::from(SEGMENT_LEN_BYTES);
    assert!(log.is_budget_low() && log.needs_spare());
    let values = fill(&log);
    assert!(is_about(values, segment / 2), "{values} bytes of values");
    let again = fill_again(&log);
    assert!(is_about(again, segment / 2), "{again} bytes again");
    assert!(log.reserve_ahead(header().record_len(), None).is_none(), "no room at all: an answer at once");
    log.validate();
}

#[test]
fn values_use_all_of_a_segment_where_the_next_has_room_or_values_are_dropped_instead() {
    let segment = u64::from(SEGMENT_LEN_BYTES);
    for (keeps_room, segment_count) in [(true, 2), (false, 1)] {
        let log = log(keeps_room, segment_count);
        assert_eq!(log.is_budget_low(), segment_count == 1);
        let values = fill(&log);
        assert!(is_about(values, segment), "{values} bytes, room is kept: {keeps_room}, segments: {segment_count}");
    }
}

#[test]
fn a_spare_ends_the_keeping_of_room_until_the_log_has_moved_into_it() {
    let log = log(true, 2);
    let segment = u64::from(SEGMENT_LEN_BYTES);
    assert_eq!(log.prepare_step().expect("a sound disk"), Prepared::Ready);
    assert!(log.is_budget_low() && !log.needs_spare());
    // All of the first, and half of the second.
    let values = fill(&log);
    assert!(is_about(values, segment * 3 / 2), "{values} bytes of values");
    let again = fill_again(&log);
    assert!(is_about(again, segment / 2), "{again} bytes again");
}

#[test]
fn a_value_of_more_than_half_a_segment_waits_for_no_more_than_the_spare() {
    let log = log_of(LogPlan { buffer_bytes: 256 << 10, ..plan(true) }, 2);
    let len = u64::from(SEGMENT_LEN_BYTES) * 3 / 4;
    assert!(log.try_reserve(Class::Value, len).is_some(), "the budget has room");
    log.prepare_step().expect("a sound disk");
    assert!(log.is_budget_low());
    assert!(log.try_reserve(Class::Value, len).is_some(), "so has the spare");
}

#[test]
fn a_record_that_is_appended_again_has_the_buffer_written_where_it_is_full() {
    let log = log(true, 1);
    while let Some(room) = log.try_reserve(Class::Value, header().record_len()) {
        log.append(room, &header(), [b"key", &VALUE]);
    }
    let writes = std::cell::Cell::new(0);
    let write = || {
        writes.set(writes.get() + 1);
        assert!(writes.get() < 100, "writing makes room");
        log.write_step().expect("a sound disk");
    };
    let room = log.reserve_ahead(header().record_len(), Some(&write)).expect("the segment has room for it");
    assert!(writes.get() > 0, "the buffer was full");
    drop(room);
    assert!(!log.is_contended());
    log.validate();
}
