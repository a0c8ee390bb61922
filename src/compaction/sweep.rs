//! Ahead of need: in quiet windows, what is worth it is appended again out of the segments that go next, so that under load they go at once.
//!
//! Steps of bounded size: a step looks at so many records, or copies so many bytes. Requests come first: there is no waiting for room, and values
//! keep theirs. Each segment is gone through once; what is hit in it later is for its retirement to see.
//!
//! Knows: the order of segments. Does not know: windows, threads.

use super::{Fate, Pass};
use crate::format::record::RecordKind;
use crate::log::{Listed, Segment};
use crate::sync::Arc;

/// Records that one step looks at, at most: some 100 microseconds.
const STEP_COUNT: usize = 512;
/// Bytes after which a step ends: some 100 microseconds' copying. One record more may be longer.
const STEP_BYTES: u64 = 128 << 10;
/// Of the segments, as many are gone through ahead as one in this many.
const AHEAD_SHARE: usize = 8;

/// How far the sweep has come.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// All segments up to this number were gone through.
    done_number: u32,
    /// Of the one behind it: its number, and how many entries of its footer.
    within: Option<(u32, u32)>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Whether another step may find something.
    pub(crate) more: bool,
}

impl Swept {
    /// Adds what another step did.
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.more = other.more;
    }
}

impl Sweep {
    /// What there is to go through: segments will have to go, and this one of those that go next was not looked at.
    pub(crate) fn due(&self, pass: &Pass<'_, '_>) -> Option<Arc<Segment>> {
        let log = pass.log;
        pass.refresh();
        if log.latch.is_tripped() || !log.is_budget_used_up() {
            return None;
        }
        let segment = log.sealed_after(self.done_number, AHEAD_SHARE)?;
        // With a low allowance only the best would be kept: look when there is more.
        pass.allowance.lock().is_ample().then_some(segment)
    }

    /// Takes a step.
    pub(crate) fn step(&mut self, pass: &Pass<'_, '_>) -> Swept {
        let mut swept = Swept::default();
        let Some(segment) = self.due(pass) else { return swept };
        let number = segment.header.number;
        let from = self.within.filter(|(within, _)| *within == number).map_or(0, |(_, count)| count);
        // A footer that cannot be read is for the retirement to deal with.
        let listed = pass.log.entries_from(&segment, from, STEP_COUNT).ok();
        let mean_len = listed.as_ref().map_or(0, |listed| listed.mean_len);
        let mut looked = 0;
        for (entry, len) in listed.iter().flat_map(Listed::iter) {
            if swept.bytes >= STEP_BYTES {
                break;
            }
            looked += 1;
            if entry.kind != RecordKind::Put {
                continue;
            }
            match pass.append_again(&segment, entry, (len, mean_len), u64::MAX) {
                Fate::Again(bytes) => {
                    swept.records += 1;
                    swept.bytes += bytes;
                }
                Fate::NoRoom { .. } => {
                    // Here again when there is some.
                    self.within = Some((number, from + looked - 1));
                    // Where this step took the last of the room, writing may give some.
                    swept.more = swept.records > 0;
                    return swept;
                }
                Fate::Left { .. } | Fate::NotLive => {}
            }
        }
        if listed.is_none_or(|listed| listed.entries().is_empty()) {
            (self.done_number, self.within) = (number, None);
        } else {
            self.within = Some((number, from + looked));
        }
        swept.more = true;
        swept
    }
}
