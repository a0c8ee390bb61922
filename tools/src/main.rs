//! `emberlog`: inspects, verifies and drives emberlog directories.
//!
//! Each command has a file or folder of its own and gives a verdict, which is the exit code: 0 good, 1 found damage or a broken
//! promise, 2 could not run. With `--json` there is one JSON object on stdout; progress and prose go to stderr.

mod dump;
mod explain;
mod failure;
mod inspect;
mod replay;
mod stopwatch;
mod store;
mod units;
mod verdict;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::verdict::{COULD_NOT_RUN, Verdict};

/// Inspects, verifies and drives emberlog directories.
///
/// Exit code 0: good. 1: found damage or a broken promise. 2: could not run.
#[derive(Debug, Parser)]
#[command(name = "emberlog", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a directory holds: identity, segments, chain, space, entries; live, crashed or damaged, never changing it
    Inspect(inspect::InspectArgs),
    /// Check every checksum of a directory, and say of each damage what recovery would make of it
    Verify(verify::VerifyArgs),
    /// Write every live entry of a directory to stdout; live, crashed or damaged, never changing it
    Dump(dump::DumpArgs),
    /// Show how settings divide the memory and the disk, what fits, and what half and twice the budgets would give
    Explain(explain::ExplainArgs),
    /// Drive the real cache with a trace, check every answer byte for byte, and see what a restart costs
    Replay(replay::ReplayArgs),
    /// The process that holds the cache for `replay`
    #[command(hide = true)]
    ReplayChild(replay::ChildArgs),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            // With stderr gone, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "emberlog: {failure}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(command: &Command) -> Result<Verdict, Failure> {
    match command {
        Command::Inspect(args) => inspect::inspect(args),
        Command::Verify(args) => verify::verify(args),
        Command::Dump(args) => dump::dump(args),
        Command::Explain(args) => explain::explain(args),
        Command::Replay(args) => replay::replay(args),
        Command::ReplayChild(args) => replay::child::serve(&args.socket, args.lanes).map(|()| Verdict::Good),
    }
}
