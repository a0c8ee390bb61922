//! `emberlog dump`: every live entry of a directory, live, crashed or damaged, as a stream.
//!
//! Knows: which records to give out, and in which order (that of the log). Does not know: how they look (`line`).
//!
//! Memory: some 40 bytes for each live key, and the longest record.

mod intact;
mod line;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use emberlog::disk::{Access, Disk};
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog::recovery::survey::Survey;
use emberlog::{Clock, SystemClock};

use crate::failure::Failure;
use crate::store::{self, Holder, Live, Place, Store, View};
use crate::units::show_count;
use crate::verdict::Verdict;
use line::{Entry, Format};

/// How often a store that changes is read again when a reading fails.
const FAILURES_MAX: usize = 20;

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The store's directory
    dir: PathBuf,
    /// Keys without their values
    #[arg(long)]
    keys: bool,
    /// Only keys that begin with this text, or with these bytes: hex:00ff
    #[arg(long, value_parser = parse_prefix)]
    prefix: Option<Prefix>,
    /// How entries are written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Also what recovery would forget because something newer is lost
    ///
    /// Gives every record that is intact, the newest of each key. It may be older than the last value that the key
    /// had, or belong to
    /// a key that was removed.
    #[arg(long)]
    salvage: bool,
}

/// The first bytes of the keys that are wanted.
#[derive(Debug, Clone)]
struct Prefix(Vec<u8>);

fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(Prefix(text.as_bytes().to_vec())) };
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(|| format!("'{digits}' is not hexadecimal"));
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("'{digits}' has an odd number of digits"));
    }
    pairs.iter().map(|&[high, low]| Ok((digit(high)? << 4 | digit(low)?) as u8)).collect::<Result<_, _>>().map(Prefix)
}

/// What was given out, and what could not be.
#[derive(Debug, Default)]
struct Summary {
    entry_count: u64,
    expired_count: u64,
    /// Records that should be there and do not verify.
    damaged_count: u64,
    /// Records whose segment went while the dump was running.
    gone_count: u64,
}

/// Runs the command.
pub(crate) fn dump(args: &DumpArgs) -> Result<Verdict, Failure> {
    let store = Store::open(&args.dir)?;
    // A live store is read until readings agree on what is damage, and then once more for what is given out.
    let settled = store.settle(|view| store::survey(view, &mut Live::default()))?;
    let damage_count = settled.pass.damage.count();
    let mut failures = 0;
    let (view, survey, places, lost_count) = loop {
        match gather(&store, args.salvage) {
            Ok(gathered) => break gathered,
            Err(_) if Holder::find(&args.dir).is_some() && failures < FAILURES_MAX => failures += 1,
            Err(failure) => return Err(store.blame(&failure)),
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut summary =
        match give_out(args, &view, &survey, &places, &mut out).and_then(|summary| out.flush().map(|()| summary)) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Verdict::Good),
            other => other?,
        };
    summary.damaged_count += lost_count;
    let is_sound = damage_count == 0 && summary.damaged_count == 0;
    say(&summary, damage_count, args.salvage)?;
    Ok(if is_sound { Verdict::Good } else { Verdict::Damage })
}

fn gather(store: &Store, salvage: bool) -> Result<(View<'_>, Survey, Vec<Place>, u64), Failure> {
    let view = store.view()?;
    let mut live = Live::default();
    let survey = store::survey(&view, &mut live)?.value;
    let (places, lost_count) = if salvage { intact::find(&view, &survey)? } else { (live.into_places(), 0) };
    Ok((view, survey, places, lost_count))
}

fn give_out(
    args: &DumpArgs,
    view: &View,
    survey: &Survey,
    places: &[Place],
    out: &mut impl Write,
) -> io::Result<Summary> {
    let now_s = SystemClock.now_unix_ms() / 1000;
    let epoch_s = survey.identity.epoch_unix_s;
    let mut summary = Summary::default();
    let mut bytes = Vec::new();
    line::head(out, args.format, args.keys)?;
    for group in places.chunk_by(|a, b| a.segment == b.segment) {
        let segment = &survey.segments[group[0].segment as usize];
        let file = match view.open(&segment.file, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                summary.gone_count += group.len() as u64;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(header) = segment.header else { continue };
        for place in group {
            let record = intact::read_record(&*file, &header, place.offset, &mut bytes)?;
            let is_ours = |record: &RecordHeader| record.kind == RecordKind::Put && record.key_hash == place.key_hash;
            let Some(record) = record.filter(is_ours) else {
                summary.damaged_count += 1;
                continue;
            };
            let (key, value) = bytes.split_at(usize::from(record.key_len));
            if args.prefix.as_ref().is_some_and(|prefix| !key.starts_with(&prefix.0)) {
                continue;
            }
            let expires_unix_s = (record.expiry_s != 0).then(|| epoch_s + u64::from(record.expiry_s));
            if expires_unix_s.is_some_and(|at| at <= now_s) {
                summary.expired_count += 1;
                continue;
            }
            let entry = Entry { key, value: (!args.keys).then_some(value), expires_unix_s };
            line::entry(out, args.format, &entry)?;
            summary.entry_count += 1;
        }
    }
    Ok(summary)
}

fn say(summary: &Summary, damage_count: u64, salvage: bool) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let entries = if summary.entry_count == 1 { "entry" } else { "entries" };
    writeln!(err, "{} {entries}", show_count(summary.entry_count))?;
    for (count, what) in [
        (summary.expired_count, "expired, left out"),
        (summary.damaged_count, "do not verify, left out"),
        (summary.gone_count, "went while the dump was running"),
    ] {
        if count > 0 {
            writeln!(err, "{} {what}", show_count(count))?;
        }
    }
    if damage_count > 0 {
        let hint = if salvage { "" } else { "; --salvage also gives out what is intact and would be forgotten" };
        let places = if damage_count == 1 { "place" } else { "places" };
        writeln!(err, "damage in {} {places}: 'emberlog verify' lists it{hint}", show_count(damage_count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_text_or_hexadecimal() {
        let bytes = |text| parse_prefix(text).map(|prefix| prefix.0);
        assert_eq!(bytes("user:"), Ok(b"user:".to_vec()));
        assert_eq!(bytes("hex:00fF"), Ok(vec![0, 255]));
        assert_eq!(bytes("hex:"), Ok(vec![]));
        assert!(bytes("hex:0").is_err() && bytes("hex:zz").is_err());
    }
}
