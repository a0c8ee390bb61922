//! The oracle: what a cache may answer.
//!
//! Holds every event of a store in order, with the sequence number that its record took. From it follows, for each key, the one value that may be
//! served; a miss is always allowed.
//!
//! - Without a crash that is the latest value, as long as it has not expired.
//! - After a crash the log is a prefix of the events. The cache tells how long it is (`last_seqno`), and that is believed only as far as every value
//!   served agrees: events up to there happened, later ones did not. The prefix is never shorter than what was promised: after a power cut all that
//!   a sync had confirmed, after a kill all that the kernel had.
//! - After damage, values may be missing; what is served is still of that prefix.

use emberlog::Cache;
use std::collections::BTreeMap;

/// Bytes of a key.
pub fn key_bytes(key: u32) -> Vec<u8> {
    match key {
        // One key without any bytes, one that needs several reads.
        0 => Vec::new(),
        1 => [b'k'; 5000].to_vec(),
        _ => format!("key-{key}").into_bytes(),
    }
}

/// Bytes of a value: no two versions have the same, unless they are too short to tell.
pub fn value_bytes(key: u32, version: u64, len: usize) -> Vec<u8> {
    let text = format!("{key}:{version};");
    text.bytes().cycle().take(len).collect()
}

/// What an event did.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    Put { key: u32, version: u64, len: usize, until_ms: Option<u64> },
    Remove { key: u32 },
    Clear,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    seqno: u64,
    change: Change,
}

/// A value that may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    pub version: u64,
    pub len: usize,
    /// From when on it must not be served.
    pub until_ms: Option<u64>,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    events: Vec<Event>,
    current: BTreeMap<u32, Current>,
    next_version: u64,
}

impl Oracle {
    /// Notes an event. It is noted before the call that makes it: a crash during the call may keep it.
    pub fn note(&mut self, seqno: u64, change: Change) {
        self.events.push(Event { seqno, change });
        apply(&mut self.current, change);
    }

    pub fn next_version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }

    /// Sequence number of the last event.
    pub fn last_seqno(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seqno)
    }

    /// Events behind `seqno` did not happen.
    pub fn cut(&mut self, seqno: u64) {
        self.events.retain(|event| event.seqno <= seqno);
        self.current.clear();
        for event in &self.events {
            apply(&mut self.current, event.change);
        }
    }

    /// The value of a key that may be served.
    pub fn current(&self, key: u32, now_ms: u64) -> Option<Current> {
        self.current.get(&key).copied().filter(|current| current.until_ms.is_none_or(|until| now_ms < until))
    }

    /// Checks an answer.
    pub fn check(&self, key: u32, now_ms: u64, answer: Option<&[u8]>) {
        let Some(answer) = answer else { return };
        let allowed = self.current(key, now_ms);
        let is_right = allowed.is_some_and(|value| answer == value_bytes(key, value.version, value.len));
        assert!(
            is_right,
            "key {key}: found {:?}… ({} bytes), allowed is a miss or {allowed:?}",
            String::from_utf8_lossy(&answer[..answer.len().min(24)]),
            answer.len()
        );
    }

    /// Asks for every key below `key_count` and some that never were. Returns how many values were served.
    pub fn check_all(&self, cache: &Cache, key_count: u32, now_ms: u64) -> u64 {
        let mut hits = 0;
        for key in 0..key_count + 8 {
            let answer = cache.peek(key_bytes(key));
            self.check(key, now_ms, answer.as_deref());
            hits += u64::from(answer.is_some());
        }
        hits
    }
}

fn apply(current: &mut BTreeMap<u32, Current>, change: Change) {
    match change {
        Change::Put { key, version, len, until_ms } => {
            current.insert(key, Current { version, len, until_ms });
        }
        Change::Remove { key } => {
            current.remove(&key);
        }
        Change::Clear => current.clear(),
    }
}

#[test]
fn the_oracle_refuses_an_older_value_a_removed_one_and_an_expired_one() {
    let refuses = |oracle: &Oracle, now_ms: u64, answer: &[u8]| {
        std::panic::catch_unwind(|| oracle.check(3, now_ms, Some(answer))).is_err()
    };
    let mut oracle = Oracle::default();
    let put = |version, until_ms| Change::Put { key: 3, version, len: 20, until_ms };
    oracle.note(1, put(1, None));
    oracle.note(2, put(2, Some(100)));
    assert!(!refuses(&oracle, 99, &value_bytes(3, 2, 20)));
    assert!(refuses(&oracle, 99, &value_bytes(3, 1, 20)), "older");
    assert!(refuses(&oracle, 100, &value_bytes(3, 2, 20)), "expired");
    oracle.note(3, Change::Remove { key: 3 });
    assert!(refuses(&oracle, 0, &value_bytes(3, 2, 20)), "removed");
    oracle.cut(1);
    assert!(!refuses(&oracle, 0, &value_bytes(3, 1, 20)), "events behind the cut did not happen");
    oracle.note(2, Change::Clear);
    assert!(refuses(&oracle, 0, &value_bytes(3, 1, 20)), "cleared");
}
