//! `emberlog replay`: drives the real cache with a trace and checks every answer.
//!
//! Knows: the command's arguments and how its parts fit. The parent streams requests and holds the oracle; the cache runs in a
//! child process, so that it can be killed and its memory measured.

pub(crate) mod child;
pub(crate) mod cleanup;
mod counters;
mod generate;
mod oracle;
mod place;
mod player;
mod protocol;
mod report;
mod run;
mod sample;
mod session;
mod stopped;
mod trace;
mod value;
mod workload;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use emberlog::Config;

use crate::failure::Failure;
use crate::units;
use crate::verdict::Verdict;
use generate::Spec;
use protocol::Level;
use report::Report;
use run::{How, Plan};
use workload::{Shares, Workload};

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Traces to replay, one after the other, each on an empty cache: zstd, then records of `u64 key, u32 size`, little-endian
    #[arg(required_unless_present = "generate", conflicts_with = "generate", value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Draw requests instead: zipf:KEYS:EXPONENT:REQUESTS[:SIZE], as in zipf:1M:0.9:5M:256 or zipf:1M:0.9:5M:100-4KiB
    #[arg(long, value_name = "SPEC")]
    generate: Option<Spec>,
    /// Memory budget
    #[arg(long, default_value = "64MiB", value_parser = units::parse_bytes)]
    memory: u64,
    /// Disk budget
    #[arg(long, default_value = "1GiB", value_parser = units::parse_bytes)]
    disk: u64,
    /// Where the cache lives and stays; must be empty [default: a temporary directory, removed afterwards]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Worker threads; each key's requests stay on one, in order
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Replay at most so many requests
    #[arg(long, value_parser = units::parse_count)]
    limit: Option<u64>,
    /// Length of every value [default: the trace's; 128 where the trace or SPEC has none]
    #[arg(long, value_parser = units::parse_bytes)]
    value_bytes: Option<u64>,
    /// Share of requests that overwrite
    #[arg(long, default_value_t = 0.05, value_parser = units::parse_share)]
    overwrite: f64,
    /// Share of requests that remove
    #[arg(long, default_value_t = 0.01, value_parser = units::parse_share)]
    remove: f64,
    /// Picks the requests that write, and what --generate draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What an acknowledged insert survives
    #[arg(long, value_enum, default_value_t = Level::Buffered)]
    durability: Level,
    /// Any other setting of the cache, by its name: --set reinsert_percent=0 --set quiet_windows=always
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
    /// Stop the cache in the middle, open it again, go on, and compare with a control that never stopped
    #[arg(long, value_enum)]
    restart: Option<How>,
    /// Where in the requests to restart, as a fraction
    #[arg(long, default_value_t = 0.5, value_parser = units::parse_share, requires = "restart")]
    restart_at: f64,
    /// One JSON object on stdout instead of the report for people
    #[arg(long)]
    json: bool,
}

/// What the child process is told.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The parent's socket
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// Worker threads
    #[arg(long)]
    pub(crate) lanes: usize,
}

/// Value length where nothing names one.
const VALUE_BYTES_DEFAULT: u32 = 128;
/// Longest value: both processes hold some whole.
const VALUE_BYTES_MAX: u32 = 256 << 20;

/// Splits a setting into name and value.
fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The settings that the cache is opened with.
fn config(args: &ReplayArgs) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.memory_bytes = args.memory;
    config.disk_bytes = args.disk;
    config.durability = args.durability.into();
    for (key, value) in &args.set {
        if ["memory_bytes", "disk_bytes", "durability"].contains(&key.as_str()) {
            return Err(Failure::new(format!("--set {key}: this has an option of its own")));
        }
        config.set(key, value).map_err(|error| Failure::new(format!("--set {error}")))?;
    }
    config.validate().map_err(|error| Failure::new(error.to_string()))?;
    Ok(config)
}

/// Runs the command, and says whether every promise was kept.
pub(crate) fn replay(args: &ReplayArgs) -> Result<Verdict, Failure> {
    cleanup::on_interrupt()?;
    if args.dir.is_some() && args.traces.len() > 1 {
        return Err(Failure::new("--dir keeps one cache, so it goes with one trace"));
    }
    let mut reports = Vec::new();
    let mut out = std::io::stdout().lock();
    let sources: Vec<Option<&Path>> = match args.generate {
        Some(_) => vec![None],
        None => args.traces.iter().map(|path| Some(path.as_path())).collect(),
    };
    for source in sources {
        let (name, workload) = load(args, source)?;
        let plan = Plan {
            dir: args.dir.clone(),
            memory_bytes: args.memory,
            disk_bytes: args.disk,
            durability: args.durability,
            config: config(args)?,
            lane_count: usize::from(args.threads),
            restart: args.restart.map(|how| (how, args.restart_at)),
        };
        let outcome = run::run(&plan, &workload).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
        let report = Report::new(name, args, &plan, &workload, outcome);
        if !args.json {
            write!(out, "{}{report}", if reports.is_empty() { "" } else { "\n" })?;
            out.flush()?;
        }
        reports.push(report);
    }
    if args.json {
        let written = match &reports[..] {
            [report] => serde_json::to_writer_pretty(&mut out, report),
            all => serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "runs": all })),
        };
        written.map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    Ok(if reports.iter().all(Report::is_good) { Verdict::Good } else { Verdict::Damage })
}

/// The requests of a trace file, or of the generator.
fn load(args: &ReplayArgs, trace: Option<&Path>) -> Result<(String, Workload), Failure> {
    let limit = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (name, accesses, is_unit) = match (trace, &args.generate) {
        (Some(path), _) => {
            let accesses = trace::read(path, limit)?;
            let is_unit = accesses.iter().all(|access| access.size_bytes == 1);
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            (file.strip_suffix(".trace.zst").unwrap_or(&file).to_owned(), accesses, is_unit)
        }
        (None, Some(spec)) => (spec.name().to_owned(), spec.draw(args.seed, limit), spec.is_unit()),
        (None, None) => return Err(Failure::new("there is neither a trace nor --generate")),
    };
    let value_bytes = match args.value_bytes {
        Some(bytes) => Some(u32::try_from(bytes).unwrap_or(u32::MAX)),
        None => is_unit.then_some(VALUE_BYTES_DEFAULT),
    };
    let shares = Shares { overwrite: args.overwrite, remove: args.remove, seed: args.seed };
    let workload =
        Workload::new(&accesses, value_bytes, shares).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
    if workload.size_max_bytes() > VALUE_BYTES_MAX {
        let longest = workload.size_max_bytes();
        return Err(Failure::new(format!(
            "{name}: a value of {longest} bytes is longer than replay holds ({VALUE_BYTES_MAX})"
        )));
    }
    Ok((name, workload))
}
