//! `emberlog`: inspects, verifies and drives emberlog directories.
//!
//! Each command has a file or folder of its own and gives a verdict, which is the exit code: 0 good, 1 found damage or a broken
//! promise, 2 could not run. With `--json` there is one JSON object on stdout; progress and prose go to stderr.

mod completions;
mod dump;
mod explain;
mod failure;
mod guide;
mod inspect;
mod man;
mod output;
mod progress;
mod replay;
mod stopwatch;
mod store;
mod torture;
mod units;
mod verdict;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;
use crate::verdict::{COULD_NOT_RUN, Verdict};

/// Inspects, verifies and drives emberlog directories
///
/// emberlog is a persistent cache that services embed. This program looks into the directories that it keeps, live,
/// crashed or
/// damaged; says what settings come to; and drives the real cache with a trace to see what it does on this machine.
#[derive(Debug, Parser)]
#[command(name = "emberlog", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a directory holds
    ///
    /// Shows a store's identity, its segments and their chain, how its space is used, how many entries are live and
    /// expired,
    /// where the log ends, and what is damaged.
    Inspect(inspect::InspectArgs),
    /// Check every checksum of a directory
    ///
    /// Reads every file of a store whole, checks every checksum and what is written twice, and says of each damage
    /// what recovery
    /// would make of it.
    Verify(verify::VerifyArgs),
    /// Write every live entry of a directory to stdout
    ///
    /// Writes what the next open would serve, as a stream: JSON lines, CSV, or raw lengths and bytes. Expired
    /// entries are left out.
    Dump(dump::DumpArgs),
    /// Show what settings come to, before anything is opened
    ///
    /// Shows how settings divide the memory and the disk, how many entries fit, what is the largest, how long the
    /// log lasts, and
    /// what half and twice the budgets would give.
    Explain(explain::ExplainArgs),
    /// Drive the real cache with a trace, check every answer, and see what a restart costs
    ///
    /// Runs the cache in a process of its own, asks it what a trace asks, and compares every value that comes back
    /// byte for byte.
    /// Reports hit ratios, throughput, and what memory and disk were really used. With --restart the cache is
    /// stopped in the middle
    /// and opened again, and compared with one that never stopped and one that began empty.
    Replay(replay::ReplayArgs),
    /// Crash, damage and starve caches of its own, and check every answer
    ///
    /// Makes caches on simulated disks, cuts their power at random calls, flips their bits, truncates their files and lets their
    /// calls fail, and checks every value that what is left still serves. No store of yours is touched. A violation is named
    /// with the seed and the case that replay it.
    Torture(torture::TortureArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print a man page, or write all of them to a directory
    Man(man::ManArgs),
}

/// The process that holds the cache for `replay`.
#[derive(Debug, Parser)]
struct ChildCli {
    #[command(flatten)]
    args: replay::ChildArgs,
}

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    let outcome = if first == emberlog_torture::CHILD_COMMAND {
        let args: Vec<String> = std::env::args().skip(2).collect();
        emberlog_torture::serve_child(&args).map(|()| Verdict::Good).map_err(Failure::new)
    } else if first == replay::CHILD_COMMAND {
        // No command of the declaration: completions and man pages would show it.
        let args = ChildCli::parse_from(std::env::args_os().skip(1)).args;
        replay::child::serve(&args.socket, args.lanes).map(|()| Verdict::Good)
    } else {
        let matches = program().get_matches();
        run(&Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command)
    };
    match outcome {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            // With stderr gone, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "emberlog: {failure}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// The command line, with all that is said about it.
fn program() -> clap::Command {
    guide::equip(Cli::command())
}

fn run(command: &Command) -> Result<Verdict, Failure> {
    match command {
        Command::Inspect(args) => inspect::inspect(args),
        Command::Verify(args) => verify::verify(args),
        Command::Dump(args) => dump::dump(args),
        Command::Explain(args) => explain::explain(args),
        Command::Replay(args) => replay::replay(args),
        Command::Torture(args) => torture::torture(args),
        Command::Completions(args) => completions::completions(args, program()),
        Command::Man(args) => man::man(args, program()),
    }
}
