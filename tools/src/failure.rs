//! What makes a command give up with exit code 2: one sentence for the person who started it.

use std::fmt;

/// Why a command could not run.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with its sentence.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(error.to_string())
    }
}

impl From<emberlog::Error> for Failure {
    fn from(error: emberlog::Error) -> Failure {
        Failure(error.to_string())
    }
}
