//! Carrying out what the survey decided: leftovers removed, accepted unsealed segments sealed, in an order that survives a crash at any point.

use super::survey::{SegmentSurvey, Survey};
use super::verdict::SegmentVerdict;
use crate::disk::{Access, Disk};
use crate::error::Error;
use crate::format::segment::Link;
use crate::log::{Depth, End, Recovered, seal};

/// A log that is sealed to its end, and where it goes on.
#[derive(Debug)]
pub(crate) struct Repaired {
    /// Its segments, oldest first, named from 0.
    pub(crate) segments: Vec<Recovered>,
    /// Number of the next segment.
    pub(crate) next_number: u32,
    /// What the next segment's link names.
    pub(crate) link: Link,
}

/// Writes what the survey decided. The survey's kept segments get the names 0, 1, … in order.
pub(crate) fn repair(disk: &dyn Disk, survey: &Survey) -> Result<Repaired, Error> {
    let remove = |name: &str| disk.unlink(name).map_err(|error| Error::io(format!("cannot remove {name}"), error));
    let sync_dir = || disk.sync_dir().map_err(|error| Error::io("cannot sync the directory", error));
    let is_newer = |segment: &&SegmentSurvey| {
        matches!(segment.verdict, SegmentVerdict::Spare | SegmentVerdict::Stale | SegmentVerdict::CutBefore)
    };
    // A process that was killed may have left names that no sync has made durable. What is done next must not outlive them: a power cut could keep a
    // new segment and take the identity, or the segment before it.
    sync_dir()?;
    // What is beyond the end of the log goes first, newest first, and durably: the next segment takes the number.
    for name in &survey.temporaries {
        remove(name)?;
    }
    if !survey.temporaries.is_empty() {
        sync_dir()?;
    }
    // One at a time: were a newer one to come back while an older one stays away, it would stand behind a hole.
    for segment in survey.segments.iter().rev().filter(|segment| !segment.kept).filter(is_newer) {
        remove(&segment.file)?;
        sync_dir()?;
    }
    // What is forgotten goes oldest first, one at a time: what is left is always the end of the same log, behind the same hole.
    for segment in survey.segments.iter().filter(|segment| !segment.kept).filter(|segment| !is_newer(segment)) {
        remove(&segment.file)?;
        sync_dir()?;
    }
    let mut segments = Vec::new();
    let mut link = Link::default();
    // Where nothing is kept all files are gone by now, so numbers may start over when they are used up.
    let mut next_number = survey.segments.last().and_then(|last| last.number.checked_add(1)).unwrap_or(1);
    for (name, index) in survey.kept().enumerate() {
        let segment = &survey.segments[index];
        let tail = match segment.footer {
            Some(tail) => tail,
            None => seal_accepted(disk, survey, segment)?,
        };
        link = Link {
            predecessor_number: segment.number,
            predecessor_uid: tail.header.uid,
            predecessor_last_seqno: tail.last_seqno,
            predecessor_end_offset: tail.data_end_offset,
        };
        next_number = segment.number.checked_add(1).ok_or_else(|| {
            Error::new(crate::ErrorKind::Damaged, format!("{}: no number is left for the next segment", segment.file))
        })?;
        segments.push(Recovered { tail, name: name as u16, live_count: 0 });
    }
    Ok(Repaired { segments, next_number, link })
}

fn seal_accepted(
    disk: &dyn Disk,
    survey: &Survey,
    segment: &SegmentSurvey,
) -> Result<crate::format::footer::FooterTail, Error> {
    let name = &segment.file;
    let failed = |error| Error::io(format!("cannot seal {name}"), error);
    let file = disk.open(name, Access::ReadWrite).map_err(|error| super::survey::open_error(name, error))?;
    // What the page cache holds may not be on the medium yet; a footer promises that it is.
    file.sync_data().map_err(failed)?;
    let header = segment.header.expect("an accepted segment without footer has a header");
    // A lost link cannot be made up: the segment becomes the first of the store, as all before it is forgotten.
    let lost = Link { predecessor_last_seqno: segment.first_seqno - 1, ..Link::default() };
    let link = segment.link.unwrap_or(lost);
    let end = End { data_end: segment.data_end, last_seqno: segment.last_seqno };
    seal(&*file, &header, &link, end, survey.clock_mark_s.max(header.clock_mark_s), Depth::Payloads).map_err(failed)
}
