//! How things stood when the cache stopped, and what of it was missing afterwards.
//!
//! Knows: keys, and the insertions acknowledged for them. Does not know: which losses are allowed.

use crate::replay::player::Reached;
use crate::replay::workload::Workload;

/// The key's bytes in front of every value.
const KEY_LEN_BYTES: u64 = 8;

/// How things stood when the cache stopped.
pub(crate) struct Stopped {
    pub(crate) reached: Reached,
    pub(crate) stats: serde_json::Value,
    pub(crate) closing_stats: serde_json::Value,
    /// By key id, the insertion acknowledged last.
    pub(crate) expected: Vec<Option<u32>>,
    /// By key id, whether it was there when close began. A kill leaves no time to ask.
    pub(crate) present: Option<Vec<bool>>,
}

/// What a restart cost.
pub(crate) struct Lost {
    pub(crate) keys_before: u64,
    pub(crate) key_count: u64,
    pub(crate) bytes: u64,
}

impl Stopped {
    /// Keys that were there, and are not there with the version acknowledged last, or a later one. For a kill, the control's keys
    /// at the same request stand for what was there; those with requests in flight are left out.
    pub(crate) fn lost(&self, workload: &Workload, control_present: Option<&[bool]>, found: &[Option<u32>]) -> Lost {
        let mut in_flight = vec![false; found.len()];
        for (from, until) in self.reached.acknowledged.iter().zip(&self.reached.sent) {
            (*from..*until).for_each(|index| in_flight[workload.key_id(index) as usize] = true);
        }
        let present = self.present.as_deref().or(control_present).unwrap_or_default();
        let mut lost = Lost { keys_before: 0, key_count: 0, bytes: 0 };
        for (id, present) in present.iter().enumerate() {
            let Some(expected) = self.expected[id].filter(|_| *present && !in_flight[id]) else { continue };
            lost.keys_before += 1;
            if found[id].is_none_or(|event| event < expected) {
                lost.key_count += 1;
                lost.bytes += KEY_LEN_BYTES + u64::from(workload.size_bytes(expected));
            }
        }
        lost
    }

    /// Requests that were sent and had no answer.
    pub(crate) fn in_flight(&self) -> u64 {
        self.reached.acknowledged.iter().zip(&self.reached.sent).map(|(from, until)| u64::from(until - from)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::trace::{Access, Deed};
    use crate::replay::workload::Shares;

    #[test]
    fn a_key_is_lost_if_it_is_gone_or_older_and_was_there_with_nothing_in_flight() {
        // Keys 0 to 5, twice; the second round overwrites the first.
        let accesses: Vec<Access> =
            (0..12).map(|n| Access { key: n % 6, size_bytes: 100, deed: Deed::Unsaid }).collect();
        let workload = Workload::new(&accesses, None, Shares { overwrite: 1.0, remove: 0.0, seed: 1 }).unwrap();
        let stopped = Stopped {
            // Request 11, of key 5, was in flight.
            reached: Reached { acknowledged: vec![11], sent: vec![12] },
            stats: serde_json::Value::Null,
            closing_stats: serde_json::Value::Null,
            expected: vec![Some(6), Some(7), Some(8), Some(9), None, Some(5)],
            present: None,
        };
        let control = [true, true, true, false, true, true];
        //           there    older    gone  gone  removed gone
        let found = [Some(6), Some(1), None, None, None, None];
        let lost = stopped.lost(&workload, Some(&control), &found);
        assert_eq!((lost.keys_before, lost.key_count, lost.bytes), (3, 2, 2 * 108));
        assert_eq!(stopped.in_flight(), 1);
    }
}
