//! What a correct cache may answer, and what it did answer.
//!
//! Knows: for each key, the events that have happened to it and that a crash may or may not have kept. Does not know: where the
//! answers come from; it never trusts them.
//!
//! An event is the index of the request that inserted or removed. What is allowed for a key is a span `floor ..= last` of events:
//! a hit must be a version inserted by one of them (a miss is always allowed, this is a cache).
//!  - While the cache lives, and after a close, the span is one event, the latest: the cache is linearizable per key.
//!  - After SIGKILL under `Durability::Buffered`, the span begins at the key's first event: nothing was covered by a `flush` (the
//!    tool calls none), so older versions and undone removes are within the contract.
//!  - After SIGKILL under `Written` or `Synced`, it begins at the latest acknowledged event.
//!  - Requests in flight at the kill may have been carried out: they extend the span.
//!
//! The first answer after the restart that shows a version, or the first write, makes the span one event again.

use crate::replay::value;
use crate::replay::workload::{NONE, Operation, Workload, version_of};

/// Bad answers described in words, at most.
const EXAMPLES_MAX: usize = 5;

/// What of the acknowledged requests a SIGKILL must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covered {
    /// Nothing but what a flush covered.
    Flushed,
    /// Everything acknowledged.
    Acknowledged,
}

/// The answers that a correct cache cannot give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Violations {
    /// Bytes that no version of the key has, or that were never inserted.
    pub(crate) wrong_values: u64,
    /// An older version than the oldest allowed.
    pub(crate) stale_values: u64,
    /// A version that a remove had taken away for good.
    pub(crate) resurrected: u64,
    /// The first few, in words.
    pub(crate) examples: Vec<String>,
}

impl Violations {
    /// Adds those of another lane or run.
    pub(crate) fn add(&mut self, other: &Violations) {
        self.wrong_values += other.wrong_values;
        self.stale_values += other.stale_values;
        self.resurrected += other.resurrected;
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }
}

/// What is allowed for one key: events `floor ..= last`.
#[derive(Clone, Copy, Debug)]
struct Span {
    floor: u32,
    last: u32,
}

const UNTOUCHED: Span = Span { floor: 0, last: NONE };

/// The oracle of the keys that one lane serves.
#[derive(Debug)]
pub(crate) struct Oracle<'w> {
    workload: &'w Workload,
    spans: Vec<Span>,
    /// One bit for each request: whether it inserted its version, or was in flight and may have.
    inserted: Vec<u64>,
    violations: Violations,
}

impl<'w> Oracle<'w> {
    /// An oracle for an empty cache.
    pub(crate) fn new(workload: &'w Workload) -> Oracle<'w> {
        Oracle {
            workload,
            spans: vec![UNTOUCHED; workload.key_count() as usize],
            inserted: vec![0; (workload.request_count() as usize).div_ceil(64)],
            violations: Violations::default(),
        }
    }

    /// Request `index` wrote its version: it missed and filled, or it overwrote.
    pub(crate) fn inserted(&mut self, index: u32) {
        self.inserted[index as usize / 64] |= 1 << (index % 64);
        self.settle(self.workload.key_id(index), index);
    }

    /// Request `index` removed its key.
    pub(crate) fn removed(&mut self, index: u32) {
        self.settle(self.workload.key_id(index), index);
    }

    /// The cache answered a read of the key with these bytes. Gives the event they stem from, if they were allowed.
    pub(crate) fn hit(&mut self, key_id: u32, bytes: &[u8]) -> Option<u32> {
        match self.event_of(key_id, bytes) {
            Some(event) => {
                self.settle(key_id, event);
                Some(event)
            }
            None => {
                self.blame(key_id, bytes);
                None
            }
        }
    }

    /// The cache was killed: of this lane's requests, those before `acknowledged` were answered, those before `sent` may have
    /// been carried out. `is_mine` tells which requests are this lane's.
    pub(crate) fn killed(&mut self, acknowledged: u32, sent: u32, covered: Covered, is_mine: impl Fn(u32) -> bool) {
        if covered == Covered::Flushed {
            // `inserted` and the key itself narrow the span, so event 0 is as good as the key's first.
            self.spans.iter_mut().for_each(|span| span.floor = 0);
        }
        for index in (acknowledged..sent).filter(|index| is_mine(*index)) {
            if self.workload.operation(index) != Operation::Remove {
                self.inserted[index as usize / 64] |= 1 << (index % 64);
            }
            self.spans[self.workload.key_id(index) as usize].last = index;
        }
    }

    /// The insertion that a read of this key should show, were nothing ever dropped or lost; none for a removed or unknown key.
    pub(crate) fn latest_insertion(&self, key_id: u32) -> Option<u32> {
        let last = self.spans[key_id as usize].last;
        (last != NONE && self.is_inserted(last)).then_some(last)
    }

    /// Whether any version of the key was ever inserted.
    pub(crate) fn was_ever_touched(&self, key_id: u32) -> bool {
        self.spans[key_id as usize].last != NONE
    }

    /// The bad answers so far.
    pub(crate) fn violations(&self) -> &Violations {
        &self.violations
    }

    fn settle(&mut self, key_id: u32, event: u32) {
        self.spans[key_id as usize] = Span { floor: event, last: event };
    }

    fn is_inserted(&self, index: u32) -> bool {
        self.inserted[index as usize / 64] >> (index % 64) & 1 == 1
    }

    /// Whether `bytes` are, byte for byte, what request `index` inserted for its key.
    fn is_value_of(&self, index: u32, bytes: &[u8]) -> bool {
        let key = self.workload.key(self.workload.key_id(index));
        self.is_inserted(index)
            && value::matches(bytes, key, version_of(index), self.workload.size_bytes(index) as usize)
    }

    /// The latest allowed event that inserted these bytes.
    fn event_of(&self, key_id: u32, bytes: &[u8]) -> Option<u32> {
        let span = self.spans[key_id as usize];
        if span.last == NONE {
            return None;
        }
        if span.floor == span.last {
            return self.is_value_of(span.last, bytes).then_some(span.last);
        }
        // Short values do not name their version: try all. Each key is walked at most once, because the answer settles it.
        match self.claimed_event(key_id, bytes) {
            Claim::Event(event) => ((span.floor..=span.last).contains(&event)).then_some(event),
            Claim::None => None,
            Claim::TooShort => {
                let mut event = span.last;
                while event != NONE && event >= span.floor {
                    if self.is_value_of(event, bytes) {
                        return Some(event);
                    }
                    event = self.workload.previous(event);
                }
                None
            }
        }
    }

    /// The one request of this key that inserted exactly these bytes.
    fn claimed_event(&self, key_id: u32, bytes: &[u8]) -> Claim {
        let Some(version) = value::claimed_version(bytes, self.workload.key(key_id)) else { return Claim::TooShort };
        match version.checked_sub(1).and_then(|index| u32::try_from(index).ok()) {
            Some(index)
                if index < self.workload.request_count()
                    && self.workload.key_id(index) == key_id
                    && self.is_value_of(index, bytes) =>
            {
                Claim::Event(index)
            }
            _ => Claim::None,
        }
    }

    /// Counts a bad answer as what it is.
    fn blame(&mut self, key_id: u32, bytes: &[u8]) {
        let span = self.spans[key_id as usize];
        // What the key's oldest allowed state is: a removed key, or some version. (A floor of 0 may be another key's request.)
        let removed = span.last != NONE
            && self.workload.key_id(span.floor) == key_id
            && self.workload.operation(span.floor) == Operation::Remove;
        let real = match self.claimed_event(key_id, bytes) {
            Claim::Event(event) => Some(Some(event)),
            Claim::None => None,
            // No claim in so few bytes: a value for a removed key is one too many, whichever it is.
            Claim::TooShort => removed.then_some(None),
        };
        let (count, what) = match (real, removed) {
            (Some(_), true) => (&mut self.violations.resurrected, "resurrected"),
            (Some(_), false) => (&mut self.violations.stale_values, "stale"),
            (None, _) => (&mut self.violations.wrong_values, "wrong"),
        };
        *count += 1;
        if self.violations.examples.len() < EXAMPLES_MAX {
            let key = self.workload.key(key_id);
            let shown: Vec<String> = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            let origin = match real.flatten() {
                Some(event) => format!("the value of request {event}"),
                None => format!("{} bytes beginning {}", bytes.len(), shown.join("")),
            };
            let state = match (span.last, removed) {
                (NONE, _) => "never inserted".to_owned(),
                (_, true) => format!("removed by request {}", span.floor),
                (last, false) if last == span.floor => format!("at the value of request {last}"),
                (last, false) => format!("at some value of requests {} to {last}", span.floor),
            };
            self.violations.examples.push(format!("{what}: key {key:#x} is {state}, answered with {origin}"));
        }
    }
}

/// Where a value says it comes from.
enum Claim {
    /// This request, and all bytes agree.
    Event(u32),
    /// No request that inserted this key.
    None,
    /// Fewer bytes than name a version.
    TooShort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::trace::{Access, Deed};
    use crate::replay::workload::Shares;

    /// Twenty thousand requests of three keys, whose operations the tests look up.
    fn workload(size_bytes: u32) -> Workload {
        let accesses: Vec<Access> =
            (0..20_000).map(|n| Access { key: n % 3, size_bytes, deed: Deed::Unsaid }).collect();
        Workload::new(&accesses, None, Shares { overwrite: 0.4, remove: 0.3, seed: 7 }).unwrap()
    }

    /// The first request at or after `from` of key id 0 that does this.
    fn find(workload: &Workload, from: u32, wanted: Operation) -> u32 {
        (from..).find(|n| workload.key_id(*n) == 0 && workload.operation(*n) == wanted).unwrap()
    }

    fn value_of(workload: &Workload, index: u32) -> Vec<u8> {
        let mut bytes = vec![0; workload.size_bytes(index) as usize];
        value::fill(&mut bytes, workload.key(workload.key_id(index)), version_of(index));
        bytes
    }

    fn counts(oracle: &Oracle<'_>) -> (u64, u64, u64) {
        let violations = oracle.violations();
        (violations.wrong_values, violations.stale_values, violations.resurrected)
    }

    #[test]
    fn the_latest_version_is_right_and_every_lie_is_named() {
        let workload = workload(100);
        let first = find(&workload, 0, Operation::Overwrite);
        let second = find(&workload, first + 1, Operation::Overwrite);
        let removal = find(&workload, second + 1, Operation::Remove);
        let mut oracle = Oracle::new(&workload);
        oracle.inserted(first);
        assert_eq!(oracle.hit(0, &value_of(&workload, first)), Some(first));
        oracle.inserted(second);
        assert_eq!(oracle.hit(0, &value_of(&workload, second)), Some(second));
        assert_eq!(counts(&oracle), (0, 0, 0));

        assert_eq!(oracle.hit(0, &value_of(&workload, first)), None, "an older version");
        assert_eq!(counts(&oracle), (0, 1, 0));
        let mut flipped = value_of(&workload, second);
        flipped[99] ^= 1;
        assert_eq!(oracle.hit(0, &flipped), None, "a flipped bit");
        assert_eq!(oracle.hit(0, &value_of(&workload, second)[..99]), None, "a cut value");
        assert_eq!(oracle.hit(0, &[]), None, "an empty value");
        assert_eq!(oracle.hit(1, &value_of(&workload, second)), None, "another key's value");
        assert_eq!(oracle.hit(0, &value_of(&workload, removal + 3)), None, "a version of the future");
        assert_eq!(counts(&oracle), (5, 1, 0));
        oracle.removed(removal);
        assert_eq!(oracle.hit(0, &value_of(&workload, second)), None, "a removed value");
        assert_eq!(counts(&oracle), (5, 1, 1));
        assert_eq!(oracle.violations().examples.len(), EXAMPLES_MAX);
    }

    #[test]
    fn a_version_that_was_never_inserted_is_wrong() {
        let workload = workload(100);
        // The first get hit, so its version was never written.
        let first = find(&workload, 0, Operation::Overwrite);
        let get = find(&workload, first + 1, Operation::Get);
        let mut oracle = Oracle::new(&workload);
        oracle.inserted(first);
        oracle.hit(0, &value_of(&workload, first));
        assert_eq!(oracle.hit(0, &value_of(&workload, get)), None);
        assert_eq!(counts(&oracle), (1, 0, 0));
    }

    /// Inserts, overwrites, removes, then is killed with one more insertion in flight.
    fn killed(workload: &Workload, covered: Covered) -> (Oracle<'_>, [u32; 4]) {
        let first = find(workload, 0, Operation::Overwrite);
        let second = find(workload, first + 1, Operation::Overwrite);
        let removal = find(workload, second + 1, Operation::Remove);
        let flying = find(workload, removal + 1, Operation::Overwrite);
        let mut oracle = Oracle::new(workload);
        oracle.inserted(first);
        oracle.inserted(second);
        oracle.removed(removal);
        oracle.killed(removal + 1, flying + 1, covered, |_| true);
        (oracle, [first, second, removal, flying])
    }

    #[test]
    fn after_a_kill_buffered_writes_may_be_undone_but_the_answer_settles() {
        let workload = workload(100);
        let (_, [first, second, _, flying]) = killed(&workload, Covered::Flushed);
        for event in [first, second, flying] {
            let (mut oracle, _) = killed(&workload, Covered::Flushed);
            assert_eq!(oracle.hit(0, &value_of(&workload, event)), Some(event));
            assert_eq!(counts(&oracle), (0, 0, 0));
            let other = if event == first { second } else { first };
            assert_eq!(oracle.hit(0, &value_of(&workload, other)), None, "settled on {event}");
            let (wrong, stale, resurrected) = counts(&oracle);
            assert_eq!(wrong + stale + resurrected, 1);
        }
        let (mut oracle, _) = killed(&workload, Covered::Flushed);
        assert_eq!(oracle.hit(0, &[9; 100]), None, "bytes of no version");
        assert_eq!(counts(&oracle), (1, 0, 0));
    }

    #[test]
    fn after_a_kill_acknowledged_writes_stand_where_they_were_promised() {
        let workload = workload(100);
        let (mut oracle, [_, second, _, flying]) = killed(&workload, Covered::Acknowledged);
        assert_eq!(oracle.hit(0, &value_of(&workload, second)), None, "the remove was acknowledged");
        assert_eq!(counts(&oracle), (0, 0, 1));
        assert_eq!(oracle.hit(0, &value_of(&workload, flying)), Some(flying), "what was in flight may be there");
        // Without the remove, an older version is stale.
        let mut oracle = Oracle::new(&workload);
        let first = find(&workload, 0, Operation::Overwrite);
        oracle.inserted(first);
        oracle.inserted(second);
        oracle.killed(second + 1, flying + 1, Covered::Acknowledged, |_| true);
        assert_eq!(oracle.hit(0, &value_of(&workload, first)), None);
        assert_eq!(counts(&oracle), (0, 1, 0));
        assert_eq!(oracle.hit(0, &value_of(&workload, second)), Some(second));
    }

    #[test]
    fn a_remove_in_flight_does_not_excuse_an_older_version() {
        let workload = workload(100);
        let first = find(&workload, 0, Operation::Overwrite);
        let second = find(&workload, first + 1, Operation::Overwrite);
        let removal = find(&workload, second + 1, Operation::Remove);
        let mut oracle = Oracle::new(&workload);
        oracle.inserted(first);
        oracle.inserted(second);
        oracle.killed(removal, removal + 1, Covered::Acknowledged, |_| true);
        assert_eq!(oracle.hit(0, &value_of(&workload, first)), None);
        assert_eq!(oracle.hit(0, &value_of(&workload, second)), Some(second));
    }

    #[test]
    fn requests_of_another_lane_were_not_in_flight_here() {
        let workload = workload(100);
        let flying = find(&workload, 0, Operation::Overwrite);
        let mut oracle = Oracle::new(&workload);
        oracle.killed(0, flying + 1, Covered::Flushed, |_| false);
        assert_eq!(oracle.hit(0, &value_of(&workload, flying)), None);
        assert_eq!(counts(&oracle), (1, 0, 0));
    }

    #[test]
    fn short_values_are_compared_with_every_allowed_version() {
        let workload = workload(3);
        for event_number in [0, 1, 3] {
            let (mut oracle, events) = killed(&workload, Covered::Flushed);
            let bytes = value_of(&workload, events[event_number]);
            assert!(oracle.hit(0, &bytes).is_some(), "event {event_number}");
        }
        let (mut oracle, _) = killed(&workload, Covered::Acknowledged);
        assert_eq!(oracle.hit(0, &[1, 2, 3]), None);
        assert_eq!(counts(&oracle), (0, 0, 1), "a value for a removed key");
    }
}
