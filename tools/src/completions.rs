//! `emberlog completions`: what a shell needs to complete our command lines.
//!
//! Knows: where the script goes. The shells' languages are `clap_complete`'s.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;
use crate::verdict::Verdict;

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that will read the script
    shell: Shell,
}

/// Runs the command: a script for `program` on stdout.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> Result<Verdict, Failure> {
    // Written in one piece: the generator cannot tell that stdout is gone.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "emberlog", &mut script);
    output::bytes(&script)?;
    Ok(Verdict::Good)
}
