//! A store as the tools read it: a directory opened for reading only, however it was left, and also while a process writes to it.
//!
//! Knows: how to get a picture that hangs together while segments come and go. Does not know: what the commands make of it.
//!
//! Invariants
//!  I-STORE-1  Nothing is written, locked or held on to in a way that a writer could notice.
//!  I-STORE-2  What is called damage in a store that changed meanwhile was there at every reading of it.

mod damage;
mod date;
mod holder;
mod live;
mod view;

use std::path::{Path, PathBuf};

use emberlog::disk::{Disk, OsDisk};
use emberlog::format::names::{self, FileName};
use emberlog::log::scan::Depth;
use emberlog::recovery::counters_page::{self, CountersFile};
use emberlog::recovery::survey::{Survey, Visitor, read_identity};
use emberlog::recovery::verdict::SegmentVerdict;

use crate::failure::Failure;
pub(crate) use damage::{Damage, DamageList, Verdict};
pub(crate) use date::{show_age, show_date};
pub(crate) use holder::Holder;
pub(crate) use live::{Live, Place, Share};
pub(crate) use view::View;

/// What damage lists call a file that was never finished.
const TEMPORARY_FILE: &str = "temporary file";
/// How often a store that changes is read again before the last reading stands, with what all of them agree on.
const PASSES_MAX: usize = 4;
/// How often it is tried again when a reading fails because the store changed.
const FAILURES_MAX: usize = 20;

/// A directory that should hold a store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    disk: OsDisk,
}

/// What one reading of a store found.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    /// What the command wanted.
    pub(crate) value: T,
    /// What is not as written.
    pub(crate) damage: DamageList,
    /// What a crash leaves: no damage.
    pub(crate) notes: DamageList,
}

/// What the readings of a store found together.
#[derive(Debug)]
pub(crate) struct Settled<T> {
    /// The last reading; its damage is what all readings agree on.
    pub(crate) pass: Pass<T>,
    /// Who has the store open.
    pub(crate) holder: Option<Holder>,
    /// Whether files came, went or changed their length during the last reading.
    pub(crate) changed: bool,
}

impl Store {
    /// Opens a directory that exists.
    pub(crate) fn open(path: &Path) -> Result<Store, Failure> {
        let disk = OsDisk::open_existing(path)
            .map_err(|error| Failure::new(format!("cannot open the directory {}: {error}", path.display())))?;
        Ok(Store { path: path.to_owned(), disk })
    }

    /// The directory as the user named it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// A failure that says which directory it is about.
    pub(crate) fn blame(&self, failure: &Failure) -> Failure {
        Failure::new(format!("{}: {failure}", self.path.display()))
    }

    /// The directory as it is now.
    pub(crate) fn view(&self) -> Result<View<'_>, Failure> {
        Ok(View::new(&self.disk)?)
    }

    /// Who has the store open now.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Holder::find(&self.path)
    }

    /// The page of counters, without a look at anything else.
    pub(crate) fn counters(&self) -> Result<Option<CountersFile>, Failure> {
        let store_id = read_identity(&self.disk)?.store_id;
        Ok(counters_page::read(&self.disk, store_id)?)
    }

    /// Reads the store until a reading is undisturbed, or finds nothing wrong, or often enough.
    pub(crate) fn settle<T>(&self, read: impl Fn(&View) -> Result<Pass<T>, Failure>) -> Result<Settled<T>, Failure> {
        let (mut passes, mut failures) = (0, 0);
        let mut agreed: Option<(DamageList, DamageList)> = None;
        loop {
            let before = self.stamp()?;
            let outcome = View::new(&self.disk).map_err(Failure::from).and_then(|view| read(&view));
            let changed = self.stamp()? != before;
            let holder = Holder::find(&self.path);
            let mut pass = match outcome {
                Ok(pass) => pass,
                Err(_) if (changed || holder.is_some()) && failures < FAILURES_MAX => {
                    failures += 1;
                    continue;
                }
                Err(failure) => return Err(self.blame(&failure)),
            };
            if let Some((damage, notes)) = agreed.take() {
                pass.damage.keep_common(&damage);
                pass.notes.keep_common(&notes);
            }
            passes += 1;
            let undisturbed = !changed && holder.is_none();
            if undisturbed || pass.damage.is_empty() || passes == PASSES_MAX {
                if holder.is_some() {
                    // What the writer is at stands half written for a moment; what it prepares is no leftover.
                    pass.notes.forget_underway();
                }
                return Ok(Settled { pass, holder, changed });
            }
            agreed = Some((pass.damage, pass.notes));
        }
    }

    /// Names and lengths of the segments: what changes when the log moves on.
    fn stamp(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut names = self.disk.list()?;
        names.retain(|name| matches!(names::parse(name), FileName::Segment(_)));
        let len = |name: &String| std::fs::symlink_metadata(self.path.join(name)).map_or(0, |found| found.len());
        Ok(names.into_iter().map(|name| (len(&name), name)).map(|(len, name)| (name, len)).collect())
    }
}

/// What recovery would find, without the payloads of sealed segments; with its findings, and with files that a crash leaves behind as notes.
pub(crate) fn survey(view: &View, visitor: &mut dyn Visitor) -> Result<Pass<Survey>, Failure> {
    let survey = Survey::read(view, Depth::Headers, None, visitor)?;
    let (mut damage, mut notes) = (DamageList::default(), DamageList::default());
    for finding in &survey.findings {
        let list = if finding.damage { &mut damage } else { &mut notes };
        list.push(Damage::from_finding(view, &survey, finding));
    }
    damage.count_at_least(survey.damage_count);
    for segment in survey.segments.iter().filter(|segment| segment.verdict == SegmentVerdict::Spare) {
        let what = ("segment", "records", "a segment made ahead of need");
        notes.push(Damage::said(&segment.file, segment.file_len, what, Verdict::of("S-SPARE")));
    }
    for name in &survey.temporaries {
        let what = (TEMPORARY_FILE, "a finished file", "one that was never finished");
        notes.push(Damage::said(name, 0, what, Verdict::none("it is removed")));
    }
    Ok(Pass { value: survey, damage, notes })
}

/// Names in the directory that are not of the store with this id.
pub(crate) fn foreign(view: &View, store_id: [u8; 16]) -> Result<Vec<String>, Failure> {
    let mut names = view.list()?;
    names.retain(|name| match names::parse(name) {
        FileName::Foreign => true,
        FileName::Counters => matches!(counters_page::read(view, store_id), Ok(Some(CountersFile::Foreign))),
        _ => false,
    });
    Ok(names)
}

/// Sixteen bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
