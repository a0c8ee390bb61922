//! Access traces from files and pipes: records, CSV, or what Redis MONITOR prints; plain, gzip or zstd.
//!
//! Knows: which format a trace has, and what came of reading it. Does not know: what the requests will do.
//!
//! Requests are held whole, 16 bytes each; what is read beside them is bounded: a key at a time, never a value
//! (`text`).

mod csv;
mod key;
mod lines;
mod monitor;
mod records;
mod source;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;
use lines::Lines;

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Which entry.
    pub(crate) key: u64,
    /// Its value's length, 1 throughout in a unit trace, or [`SIZE_UNSAID`].
    pub(crate) size_bytes: u32,
    /// What the trace has it do.
    pub(crate) deed: Deed,
}

/// The trace does not say how long the value is, as with a Redis `GET`.
pub(crate) const SIZE_UNSAID: u32 = u32::MAX;

/// What a trace has a request do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Deed {
    /// The trace names keys only: the run's shares of writes decide.
    Unsaid,
    /// Read.
    Read,
    /// Write, whatever is there.
    Insert,
    /// Remove.
    Remove,
}

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Binary: little-endian `u64 key, u32 size`
    Records,
    /// Text: `key,size`, or more columns named in a header line
    Csv,
    /// Text: what `redis-cli monitor` prints
    Monitor,
}

/// How to read a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Its format; none: by its name.
    pub(crate) format: Option<Format>,
    /// Requests, at most.
    pub(crate) limit: usize,
    /// Lines that may be left out because they cannot be read.
    pub(crate) bad_lines_max: u64,
}

/// A trace that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Its requests.
    pub(crate) accesses: Vec<Access>,
    /// Whether it says which requests write; else shares of the run decide.
    pub(crate) names_deeds: bool,
    /// What came of reading it.
    pub(crate) origin: Origin,
}

/// What came of reading a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    /// How it is written.
    pub(crate) format: Format,
    /// Lines that were read; 0 in binary traces.
    pub(crate) lines: u64,
    /// Lines that could not be read and were left out.
    pub(crate) bad_lines: u64,
    /// The first of them, as it would have been an error.
    pub(crate) first_bad: Option<String>,
    /// Operations that a cache of values has no counterpart for, by name.
    pub(crate) skipped: BTreeMap<String, u64>,
}

impl Trace {
    /// Whether it counts entries, not bytes: every size is 1. The caller gives those a length of its own.
    pub(crate) fn is_unit(&self) -> bool {
        self.origin.format != Format::Monitor && self.accesses.iter().all(|access| access.size_bytes == 1)
    }
}

/// Reads a trace file, or stdin if the path is `-`. `on_count` hears from time to time how many requests there are.
pub(crate) fn read(path: &Path, reading: &Reading, on_count: &mut dyn FnMut(usize)) -> Result<Trace, Failure> {
    let name = if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() };
    let format = match reading.format.or_else(|| format_of(path)) {
        Some(format) => format,
        None if is_stdin(path) => return Err(Failure::new("what stdin holds is not known; use --format")),
        None => {
            return Err(Failure::new(format!(
                "trace {name}: its name does not say what it is (.zst, .trace, .csv, .monitor); use --format"
            )));
        }
    };
    let opened = if is_stdin(path) {
        source::open(Box::new(std::io::stdin().lock()), None)
    } else {
        let file =
            std::fs::File::open(path).map_err(|error| Failure::new(format!("cannot open trace {name}: {error}")))?;
        source::open(Box::new(std::io::BufReader::new(file)), path.extension())
    };
    let mut source = opened.map_err(|error| Failure::new(format!("trace {name} {error}")))?;
    parse(&mut *source, format, reading, on_count).map_err(|problem| Failure::new(format!("trace {name}: {problem}")))
}

/// Whether a path means stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The format that a file's name tells, whatever it is packed with.
fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (bare, is_packed) = match name.strip_suffix(".zst").or_else(|| name.strip_suffix(".gz")) {
        Some(bare) => (bare, true),
        None => (&*name, false),
    };
    match bare.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" => Some(Format::Csv),
        "monitor" | "redis" => Some(Format::Monitor),
        "trace" | "records" => Some(Format::Records),
        "" => is_packed.then_some(Format::Records),
        _ => is_packed.then_some(Format::Records).filter(|_| name.ends_with(".zst")),
    }
}

/// Reads requests from unpacked bytes. A failure is a sentence without the trace's name.
fn parse(
    source: &mut dyn BufRead,
    format: Format,
    reading: &Reading,
    on_count: &mut dyn FnMut(usize),
) -> Result<Trace, String> {
    match format {
        Format::Records => {
            let accesses = records::read(source, reading.limit, on_count).map_err(|error| error.to_string())?;
            let origin = Origin { format, lines: 0, bad_lines: 0, first_bad: None, skipped: BTreeMap::new() };
            Ok(Trace { accesses, names_deeds: false, origin })
        }
        Format::Csv => csv::read(Lines::new(source, format, reading, on_count)),
        Format::Monitor => monitor::read(Lines::new(source, format, reading, on_count)),
    }
}
