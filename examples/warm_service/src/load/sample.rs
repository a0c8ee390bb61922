//! One request as it was seen from outside.

use serde::{Deserialize, Serialize};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The right answer, from the cache.
    Hit,
    /// The right answer, from the origin.
    Miss,
    /// The right answer, from another request's question to the origin.
    Shared,
    /// An answer that is not the right one.
    Wrong,
    /// Nobody listened.
    Refused,
    /// The connection ended before the answer.
    Broken,
    /// No answer in time.
    TimedOut,
    /// An answer that says that there is none.
    Unanswered,
}

impl Outcome {
    /// Whether there was a right answer.
    pub(crate) fn is_answer(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::Miss | Outcome::Shared)
    }
}

/// A request. Its time is the one on the timetable, and the latency runs from there: where the sender falls behind, that counts as waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) due_ns: u64,
    pub(crate) latency_ns: u64,
    pub(crate) outcome: Outcome,
}
