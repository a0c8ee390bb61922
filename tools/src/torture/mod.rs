//! `emberlog torture`: crashes, damages and starves caches of its own, and checks every answer.
//!
//! Knows: the command line, the bar, the page for people. What is done to the caches is in the crate that the tests run, too. No store of the user's is
//! touched: most modes work on simulated disks.

mod page;
mod record;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use emberlog_torture::{Effort, Mode, Options, Watch};

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::verdict::Verdict;

#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// What to do to the caches
    #[arg(long, value_name = "MODE", value_parser = modes())]
    mode: Mode,
    /// What chance decides by: the same seed, mode and form are the same run
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Run so many cases of each mode, spread over all that there are [default: what the form says]
    #[arg(long, value_name = "COUNT", value_parser = crate::units::parse_count)]
    runs: Option<u64>,
    /// Run one case alone, as a violation names it
    #[arg(long, value_name = "NUMBER", conflicts_with = "runs")]
    case: Option<u64>,
    /// Stop each mode after this time, as in 90s, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = emberlog::units::parse_duration)]
    time: Option<Duration>,
    /// How much of it: minutes for every change, or hours before a release
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Quick)]
    form: Form,
    /// Threads that run cases [default: one a core]
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write what came of it into the table of a page, as RELIABILITY.md, with the commit of the working directory
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Quick,
    Long,
}

/// The names of modes, for help and completions.
fn modes() -> impl clap::builder::TypedValueParser<Value = Mode> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    let names = Mode::EACH.into_iter().chain([Mode::All]).map(Mode::name);
    PossibleValuesParser::new(names).map(|name| name.parse().expect("only names of modes get here"))
}

impl Watch for Progress {
    fn begins(&self, mode: Mode, case_count: u64) {
        self.restart();
        self.phase(mode.name());
        self.expect(case_count);
    }

    fn done(&self, case_count: u64, _: u64) {
        self.set(case_count);
    }
}

/// Runs the command.
pub(crate) fn torture(args: &TortureArgs) -> Result<Verdict, Failure> {
    let mut options = Options::new(args.mode, args.seed);
    options.effort = match args.form {
        Form::Quick => Effort::Quick,
        Form::Long => Effort::Long,
    };
    (options.runs, options.case, options.time) = (args.runs, args.case, args.time);
    options.threads = args.threads.unwrap_or(options.threads);
    options.program = std::env::current_exe().ok();
    if options.case.is_some() && options.mode == Mode::All {
        return Err(Failure::new("a case is one of a mode: give that instead of all"));
    }
    let progress = Progress::new(Some(0), args.quiet || args.json);
    let report = emberlog_torture::run(&options, &progress);
    drop(progress);
    if let Some(path) = &args.record {
        record::record(path, &report)?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::text(page::Page(&report))?;
    }
    Ok(if report.is_good() { Verdict::Good } else { Verdict::Damage })
}
