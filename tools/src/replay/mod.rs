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

use std::path::{Path, PathBuf};

use clap::Args;
use emberlog::Config;

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::units;
use crate::verdict::Verdict;
use generate::Spec;
use protocol::Level;
use report::Report;
use run::{How, Plan};
use trace::{Format, Origin, Reading};
use workload::{REQUESTS_MAX, Shares, VALUE_BYTES_DEFAULT, Workload};

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Traces to replay, one after the other, each on an empty cache; - is stdin
    ///
    /// A trace is plain, gzip or zstd. What is in it, its name tells without .gz or .zst, else --format:
    /// .csv is CSV, .monitor or .redis what Redis MONITOR prints, .trace or nothing records.
    #[arg(required_unless_present = "generate", conflicts_with = "generate", value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// How the traces are written [default: as their names tell]
    #[arg(long, value_enum, conflicts_with = "generate")]
    format: Option<Format>,
    /// Go on without lines of a CSV or MONITOR trace that cannot be read, up to so many a trace; they are counted
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = units::parse_count)]
    #[arg(conflicts_with = "generate")]
    skip_bad: u64,
    /// Draw requests instead: zipf:KEYS:EXPONENT:REQUESTS[:SIZE], as in zipf:1M:0.9:5M:256 or zipf:1M:0.9:5M:100-4KiB
    #[arg(long, value_name = "SPEC")]
    generate: Option<Spec>,
    /// Memory budget, as in 64MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::parse_bytes)]
    memory: u64,
    /// Disk budget, as in 10GiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::parse_bytes)]
    disk: u64,
    /// Where the cache lives and stays; must be empty [default: a temporary directory, removed afterwards]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Worker threads, 1 to 64; each key's requests stay on one, in order
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Replay at most so many requests of each trace, as in 1M
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count)]
    limit: Option<u64>,
    /// Length of every value, as in 4KiB [default: the trace's; 128B where the trace or SPEC has none]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    value_bytes: Option<u64>,
    /// Share of requests that overwrite, 0 to 1 [default: 0.05; 0 where the trace says which requests write]
    #[arg(long, value_name = "SHARE", value_parser = units::parse_share)]
    overwrite: Option<f64>,
    /// Share of requests that remove, 0 to 1 [default: 0.01; 0 where the trace says which requests write]
    #[arg(long, value_name = "SHARE", value_parser = units::parse_share)]
    remove: Option<f64>,
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
    /// Where in the requests to restart, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = units::parse_share, requires = "restart")]
    restart_at: f64,
    /// One JSON object on stdout instead of the report for people
    #[arg(long)]
    json: bool,
    /// No progress bar; without a terminal on stderr there is none anyway
    #[arg(long, short)]
    quiet: bool,
}

/// What is replayed.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) workload: Workload,
    /// Of the requests of which the trace does not say that they write.
    pub(crate) shares: Shares,
    /// What came of reading the trace.
    pub(crate) origin: Option<Origin>,
}

/// The word that makes this program the child process; not for users.
pub(crate) const CHILD_COMMAND: &str = "replay-child";

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

/// Shares of writes where a trace names keys alone.
const OVERWRITE_DEFAULT: f64 = 0.05;
const REMOVE_DEFAULT: f64 = 0.01;
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
    let sources: Vec<Option<&Path>> = match args.generate {
        Some(_) => vec![None],
        None => args.traces.iter().map(|path| Some(path.as_path())).collect(),
    };
    for source in sources {
        let subject = load(args, source)?;
        let plan = Plan {
            dir: args.dir.clone(),
            memory_bytes: args.memory,
            disk_bytes: args.disk,
            durability: args.durability,
            config: config(args)?,
            lane_count: usize::from(args.threads),
            restart: args.restart.map(|how| (how, args.restart_at)),
            is_quiet: args.quiet,
        };
        let name = &subject.name;
        let outcome =
            run::run(&plan, &subject.workload).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
        let report = Report::new(subject, args, &plan, outcome);
        if !args.json {
            output::text(format_args!("{}{report}", if reports.is_empty() { "" } else { "\n" }))?;
        }
        reports.push(report);
    }
    if args.json {
        match &reports[..] {
            [report] => output::json(report)?,
            all => output::json(&serde_json::json!({ "runs": all }))?,
        }
    }
    Ok(if reports.iter().all(Report::is_good) { Verdict::Good } else { Verdict::Damage })
}

/// The requests of a trace, or of the generator.
fn load(args: &ReplayArgs, trace: Option<&Path>) -> Result<Subject, Failure> {
    let limit = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (name, accesses, is_unit, names_deeds, origin) = match (trace, &args.generate) {
        (Some(path), _) => {
            // One more than can be replayed is enough to say so.
            let limit = limit.min(REQUESTS_MAX + 1);
            let reading = Reading { format: args.format, limit, bad_lines_max: args.skip_bad };
            let progress = Progress::new(None, args.quiet);
            progress.phase("reading");
            let trace = trace::read(path, &reading, &mut |count| progress.set(count as u64))?;
            let is_unit = trace.is_unit();
            (name_of(path), trace.accesses, is_unit, trace.names_deeds, Some(trace.origin))
        }
        (None, Some(spec)) => (spec.name().to_owned(), spec.draw(args.seed, limit), spec.is_unit(), false, None),
        (None, None) => return Err(Failure::new("there is neither a trace nor --generate")),
    };
    let value_bytes = match args.value_bytes {
        Some(bytes) => Some(u32::try_from(bytes).unwrap_or(u32::MAX)),
        None => is_unit.then_some(VALUE_BYTES_DEFAULT),
    };
    let (overwrite, remove) = if names_deeds { (0.0, 0.0) } else { (OVERWRITE_DEFAULT, REMOVE_DEFAULT) };
    let shares = Shares {
        overwrite: args.overwrite.unwrap_or(overwrite),
        remove: args.remove.unwrap_or(remove),
        seed: args.seed,
    };
    let workload =
        Workload::new(&accesses, value_bytes, shares).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
    if workload.size_max_bytes() > VALUE_BYTES_MAX {
        let longest = workload.size_max_bytes();
        return Err(Failure::new(format!(
            "{name}: a value of {longest} bytes is longer than replay holds ({VALUE_BYTES_MAX}); \
             --value-bytes replaces all lengths"
        )));
    }
    Ok(Subject { name, workload, shares, origin })
}

/// What a trace is called in the report: its file, without what only says how it is written.
fn name_of(path: &Path) -> String {
    if trace::is_stdin(path) {
        return "stdin".into();
    }
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let bare = [".zst", ".gz"].iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(&file);
    [".trace", ".csv", ".monitor", ".redis"]
        .iter()
        .find_map(|suffix| bare.strip_suffix(suffix))
        .unwrap_or(bare)
        .to_owned()
}
