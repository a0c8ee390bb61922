//! `emberlog explain`: what settings come to, before anything is opened.
//!
//! Knows: where settings come from, and what goes over what: a file, the environment, the command line. All figures are the library's.

use std::path::PathBuf;

use clap::Args;
use emberlog::Config;

use crate::failure::Failure;
use crate::output;
use crate::units;
use crate::verdict::Verdict;

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Then from environment variables with this prefix: EMBERLOG_ takes EMBERLOG_MEMORY_BYTES and so on
    #[arg(long, value_name = "PREFIX")]
    env: Option<String>,
    /// Then one setting, as in time_to_live=1h; may be repeated; --toml shows all that there are
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Memory budget, as in 64MiB [default: the file's, else 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    memory: Option<u64>,
    /// Disk budget, as in 10GiB [default: the file's, else 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    disk: Option<u64>,
    /// Expected mean length of key and value together, as in 1KiB [default: the file's, else 256B]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    entry: Option<u64>,
    /// One JSON object on stdout instead of the page for people
    #[arg(long, conflicts_with = "toml")]
    json: bool,
    /// The settings themselves, as a TOML file
    #[arg(long)]
    toml: bool,
}

/// Runs the command.
pub(crate) fn explain(args: &ExplainArgs) -> Result<Verdict, Failure> {
    let config = settings(args)?;
    let explanation = config.explain()?;
    match args.toml {
        true => output::text(config.to_toml_string())?,
        false => output::report(&explanation, args.json)?,
    }
    Ok(Verdict::Good)
}

fn settings(args: &ExplainArgs) -> Result<Config, Failure> {
    let mut config = args.config.as_ref().map_or_else(|| Ok(Config::default()), Config::from_toml_file)?;
    if let Some(prefix) = &args.env {
        config = config.with_env(prefix)?;
    }
    for setting in &args.set {
        let pair = setting.split_once('=');
        let (key, value) = pair.ok_or_else(|| Failure::new(format!("--set {setting}: write KEY=VALUE")))?;
        config.set(key.trim(), value)?;
    }
    config.memory_bytes = args.memory.unwrap_or(config.memory_bytes);
    config.disk_bytes = args.disk.unwrap_or(config.disk_bytes);
    config.expected_entry_bytes = args.entry.unwrap_or(config.expected_entry_bytes);
    Ok(config)
}
