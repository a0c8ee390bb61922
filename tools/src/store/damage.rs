//! Damage as the tools show it: where, what was expected and found, and what recovery makes of it.

use std::collections::BTreeSet;
use std::fmt;

use emberlog::disk::{Access, Disk};
use emberlog::format::batch::BatchHeader;
use emberlog::format::record::RecordHeader;
use emberlog::format::warm::WarmHeader;
use emberlog::format::{DecodeError, Fault};
use emberlog::recovery::survey::{Finding, SegmentSurvey, Survey};
use serde::Serialize;

use super::TEMPORARY_FILE;
use crate::units::show_count;

/// Most that is kept one by one; more is only counted.
const LIST_LEN_MAX: usize = 10_000;

/// What recovery makes of it: a label of the specification's table, or `none`, and a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Label, as in `format-spec/07-recovery.md`; `none` where recovery has no need of these bytes.
    pub(crate) label: &'static str,
    /// What follows.
    pub(crate) sentence: &'static str,
}

impl Verdict {
    /// The verdict with a label of the survey's.
    pub(crate) fn of(label: &'static str) -> Verdict {
        let sentence = match label {
            "V-KEY" => "the key is forgotten: a miss, never an older value",
            "V-NAMED" => "the key, which the footer names, is forgotten: a miss, never an older value",
            "V-OLDER" => "all that is older is forgotten; what follows counts",
            "V-CUT" | "V-TORN" => "the log ends here, as nothing says that this was ever durable",
            "S-SCAN" => "its batches are walked instead",
            "S-SPARE" => "prepared and never used: it is removed",
            "S-HOLE" => "all that is older is forgotten",
            "S-NOLINK" => {
                "where it stands in the log is not known: all older is forgotten if it was durable, else it goes"
            }
            "S-SPLIT" => "it follows another segment than is there: all that is older is forgotten",
            "W-LIST" => "memory starts empty; nothing is forgotten",
            "S-STALE" => "left over beyond an end of the log: it is removed",
            _ => "",
        };
        Verdict { label, sentence }
    }

    /// Bytes that recovery has no need of.
    pub(crate) const fn none(sentence: &'static str) -> Verdict {
        Verdict { label: "none", sentence }
    }
}

/// One thing that is not as written, or a note of the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Damage {
    /// The file.
    pub(crate) file: String,
    /// Where the structure stands that does not verify.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) len_bytes: u64,
    /// What it should be, as the specification names it.
    pub(crate) structure: &'static str,
    /// What was expected there.
    pub(crate) expected: String,
    /// What is there.
    pub(crate) found: String,
    /// What recovery makes of it.
    pub(crate) verdict: Verdict,
}

impl Damage {
    /// A structure that does not decode.
    pub(crate) fn of(file: &str, offset: u64, len_bytes: u64, error: DecodeError, verdict: Verdict) -> Damage {
        let (expected, found) = match error.fault {
            Fault::Truncated { expected, found } => (format!("{expected} bytes"), format!("{found} bytes")),
            Fault::Checksum { expected, found } => (format!("checksum {expected:08x}"), format!("{found:08x}")),
            Fault::Magic => ("its magic".to_owned(), "other bytes".to_owned()),
            Fault::Version { expected, found } => (format!("a version up to {expected}"), found.to_string()),
            Fault::Feature { unknown } => ("known features".to_owned(), format!("{unknown:#x}")),
            Fault::Field { field, found } => (format!("a possible {field}"), found.to_string()),
            _ => ("a structure that verifies".to_owned(), error.to_string()),
        };
        Damage { file: file.to_owned(), offset, len_bytes, structure: error.structure, expected, found, verdict }
    }

    /// Something that is said in words.
    pub(crate) fn said(
        file: &str,
        len_bytes: u64,
        (structure, expected, found): (&'static str, &str, &str),
        verdict: Verdict,
    ) -> Damage {
        let (expected, found) = (expected.to_owned(), found.to_owned());
        Damage { file: file.to_owned(), offset: 0, len_bytes, structure, expected, found, verdict }
    }

    /// What the survey found.
    pub(crate) fn from_finding(disk: &dyn Disk, survey: &Survey, finding: &Finding) -> Damage {
        let verdict = Verdict::of(finding.label);
        let warm_len = survey.warm.as_ref().map_or(0, |warm| warm.file_len);
        let segment = survey.segments.iter().find(|segment| segment.file == finding.file);
        let Some(error) = finding.cause else {
            let found = finding.what.split_once("; ").map_or(&*finding.what, |(found, _)| found);
            if finding.label == "W-LIST" {
                return Damage::said(&finding.file, warm_len, ("warm list", "a file that can be read", found), verdict);
            }
            let len = segment.map_or(0, |segment| segment.file_len);
            return Damage::said(&finding.file, len, ("segment", "a segment of the chain", found), verdict);
        };
        let len = match error.structure {
            "batch header" => BatchHeader::LEN as u64,
            "warm header" => WarmHeader::LEN as u64,
            "warm entries" => warm_len.saturating_sub(finding.offset),
            "record payload" => segment
                .and_then(|segment| record_len(disk, segment, finding.offset))
                .unwrap_or(RecordHeader::LEN as u64),
            _ => RecordHeader::LEN as u64,
        };
        Damage::of(&finding.file, finding.offset, len, error, verdict)
    }
}

/// The length of a record whose header verifies.
fn record_len(disk: &dyn Disk, segment: &SegmentSurvey, offset: u64) -> Option<u64> {
    let file = disk.open(&segment.file, Access::Read).ok()?;
    let mut raw = [0; RecordHeader::LEN_MAX];
    let got = file.read_at(offset, &mut raw).ok()?;
    RecordHeader::decode(segment.header?.seed(), offset, &raw[..got]).ok().map(|header| header.record_len())
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, offset, len_bytes, structure, expected, found, verdict } = self;
        let place = format!("{} (+{})", show_count(*offset), show_count(*len_bytes));
        writeln!(f, "{file} at {place}: {structure}: expected {expected}, found {found}")?;
        let separator = if verdict.sentence.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", verdict.label, verdict.sentence)
    }
}

/// Damage, oldest first. Bounded, so that a ruined store cannot take all memory.
#[derive(Debug, Default)]
pub(crate) struct DamageList {
    items: Vec<Damage>,
    count: u64,
}

impl DamageList {
    /// Adds one.
    pub(crate) fn push(&mut self, damage: Damage) {
        self.count += 1;
        if self.items.len() < LIST_LEN_MAX {
            self.items.push(damage);
        }
    }

    /// Adds all of another list.
    pub(crate) fn append(&mut self, other: DamageList) {
        let unlisted = other.count - other.items.len() as u64;
        other.items.into_iter().for_each(|item| self.push(item));
        self.count += unlisted;
    }

    /// Counts what nobody listed.
    pub(crate) fn count_at_least(&mut self, count: u64) {
        self.count = self.count.max(count);
    }

    /// The first ten thousand.
    pub(crate) fn items(&self) -> &[Damage] {
        &self.items
    }

    /// How much there is.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts what belongs together side by side.
    pub(crate) fn sort(&mut self) {
        self.items.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    }

    /// Drops what the other list does not have: it was a writer at work.
    pub(crate) fn keep_common(&mut self, other: &DamageList) {
        // Lists that were cut short say nothing about what they lack.
        if self.items.len() as u64 == self.count && other.items.len() as u64 == other.count {
            let theirs: BTreeSet<(&str, u64)> = other.items.iter().map(|item| (&*item.file, item.offset)).collect();
            self.items.retain(|item| theirs.contains(&(&*item.file, item.offset)));
            self.count = self.items.len() as u64;
        }
    }

    /// Drops what a living writer is at: ends of the log that are half written, the spare, files that are not
    /// finished yet.
    pub(crate) fn forget_underway(&mut self) {
        let listed = self.items.len();
        self.items.retain(|item| {
            !matches!(item.verdict.label, "V-CUT" | "V-TORN" | "S-SPARE") && item.structure != TEMPORARY_FILE
        });
        self.count -= (listed - self.items.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_living_writer_is_at_is_no_note_and_other_leftovers_are() {
        let mut notes = DamageList::default();
        for (structure, label) in [
            ("batch header", "V-TORN"),
            ("record", "V-CUT"),
            ("segment", "S-SPARE"),
            (TEMPORARY_FILE, "none"),
            ("segment", "S-STALE"),
        ] {
            notes.push(Damage::said("file", 0, (structure, "this", "that"), Verdict { label, sentence: "" }));
        }
        notes.forget_underway();
        let labels: Vec<&str> = notes.items().iter().map(|item| item.verdict.label).collect();
        assert_eq!((labels, notes.count()), (vec!["S-STALE"], 1));
    }
}
