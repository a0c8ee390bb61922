//! Why the run could not go on, in words for whoever started it.

use std::fmt;

/// What was being done, and what came in between.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// What could not be done, and why.
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Failure {
        Failure(format!("{what}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
