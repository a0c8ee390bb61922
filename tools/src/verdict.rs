//! What a command found, as an exit code.

use std::process::ExitCode;

/// What a command that could run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is as promised.
    Good,
    /// Damage, or a broken promise.
    Damage,
}

/// The command could not run.
pub(crate) const COULD_NOT_RUN: u8 = 2;

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Good => ExitCode::SUCCESS,
            Verdict::Damage => ExitCode::from(1),
        }
    }
}
