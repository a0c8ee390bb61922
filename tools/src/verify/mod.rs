//! `emberlog verify`: every checksum of a directory.
//!
//! Knows: what is checked by whom. The survey says what recovery would do, walks the unsealed segments and reads the warm list; `copies` looks at what is written twice, `footers` at
//! footers that are missing, `sealed` at every record of a sealed segment.

mod copies;
mod footers;
mod page;
mod sealed;

use std::path::PathBuf;

use clap::Args;
use emberlog::disk::{Access, Disk};
use emberlog::format::names::{self, FileName};
use emberlog::recovery::counters_page::{self, CountersFile};
use emberlog::recovery::survey::Visitor;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::store::{self, Damage, DamageList, Holder, Pass, Store, View};
use crate::verdict::Verdict;

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The store's directory
    dir: PathBuf,
    /// One JSON object on stdout instead of the page for people
    #[arg(long)]
    json: bool,
}

/// The result.
#[derive(Debug, Serialize)]
struct Report {
    directory: String,
    /// The process that has the store open.
    live: Option<Holder>,
    changed_while_read: bool,
    /// Whether there is no damage.
    sound: bool,
    damage_count: u64,
    /// At most ten thousand.
    damage: Vec<Damage>,
    /// How a crash leaves a log: torn ends, spares, leftovers.
    notes: Vec<Damage>,
    /// Names in the directory that are not of a store.
    foreign: Vec<String>,
    totals: Totals,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Totals {
    segments_sealed: u64,
    segments_unsealed: u64,
    segments_other: u64,
    /// Records whose header and payload verify.
    records: u64,
    /// Bytes of all files of the store.
    file_bytes: u64,
}

/// Runs the command.
pub(crate) fn verify(args: &VerifyArgs) -> Result<Verdict, Failure> {
    let store = Store::open(&args.dir)?;
    let settled = store.settle(read)?;
    let (damage, notes) = (&settled.pass.damage, &settled.pass.notes);
    let (foreign, totals) = settled.pass.value;
    let report = Report {
        directory: store.name(),
        live: settled.holder,
        changed_while_read: settled.changed,
        sound: damage.is_empty(),
        damage_count: damage.count(),
        damage: damage.items().to_vec(),
        notes: notes.items().to_vec(),
        foreign,
        totals,
    };
    output::report(&report, args.json)?;
    Ok(if report.sound { Verdict::Good } else { Verdict::Damage })
}

/// Only what is wrong counts here.
struct Ignore;

impl Visitor for Ignore {
    fn put(&mut self, _key_hash: u64, _offset: u32) {}
    fn tombstone(&mut self, _key_hash: u64) {}
    fn clear(&mut self) {}
}

fn read(view: &View) -> Result<Pass<(Vec<String>, Totals)>, Failure> {
    let mut damage = DamageList::default();
    let readable = copies::check_identity(view, &mut damage)?;
    if !readable {
        // Without the store's id nothing else can be checked.
        if damage.is_empty() && view.list()?.iter().any(|name| matches!(names::parse(name), FileName::Segment(_))) {
            let what = ("identity", "the file 'identity', as segments are here", "none");
            damage.push(Damage::said(names::IDENTITY, 0, what, copies::REFUSED));
        }
        if !damage.is_empty() {
            // Nor can it be told whose a file is that could be a store's.
            let foreign = store::foreign(view, [0; 16])?;
            return Ok(Pass { value: (foreign, Totals::default()), damage, notes: DamageList::default() });
        }
    }
    let Pass { value: survey, damage: found, mut notes } = store::survey(view, &mut Ignore)?;
    damage.append(found);
    let mut totals = Totals { file_bytes: emberlog::format::identity::FILE_LEN, ..Totals::default() };
    totals.file_bytes += survey.warm.as_ref().map_or(0, |warm| warm.file_len);
    let store_id = survey.identity.store_id;
    let foreign = store::foreign(view, store_id)?;
    if let Ok(Some(CountersFile::Ours { .. })) = counters_page::read(view, store_id) {
        totals.file_bytes += emberlog::format::counters::FILE_LEN;
    }
    for (index, segment) in survey.segments.iter().enumerate() {
        let file = view.open(&segment.file, Access::Read)?;
        totals.file_bytes += segment.file_len;
        copies::check_segment(&*file, store_id, segment, &mut damage)?;
        if segment.footer.is_some() {
            totals.segments_sealed += 1;
            totals.records += sealed::check(&*file, segment, &mut damage)?;
            continue;
        }
        totals.records += segment.event_count;
        *(if segment.kept { &mut totals.segments_unsealed } else { &mut totals.segments_other }) += 1;
        let sealed_later = survey.segments[index + 1..].iter().any(|later| later.kept && later.footer.is_some());
        footers::check(&*file, store_id, segment, sealed_later, &mut damage, &mut notes)?;
    }
    damage.sort();
    Ok(Pass { value: (foreign, totals), damage, notes })
}
