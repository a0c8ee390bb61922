//! What is written twice: identity, segment header, link. One bad copy harms nothing yet, and is damage all the same.
//!
//! No crash leaves one bad copy: identity and header are synced before their file gets its name, and both copies of the link share a sector.

use std::io;

use emberlog::disk::{Access, Disk, DiskFile};
use emberlog::format::batch::{BatchHeader, BatchKind};
use emberlog::format::identity::{self, Identity};
use emberlog::format::names;
use emberlog::format::segment::{DATA_START, HEADER_OFFSETS, LINK_OFFSETS, Link, SegmentHeader};
use emberlog::format::{DecodeError, Fault};
use emberlog::recovery::survey::SegmentSurvey;
use emberlog::recovery::verdict::SegmentVerdict;

use crate::failure::Failure;
use crate::store::{Damage, DamageList, Verdict};

/// What opening makes of a store without an identity.
pub(super) const REFUSED: Verdict =
    Verdict { label: "refused", sentence: "open refuses the store and touches nothing" };
const OTHER_COPY: Verdict = Verdict::none("one of two copies, and the other serves");
const FOOTER: Verdict = Verdict::none("the footer repeats it");

/// Checks both copies of the identity. Returns whether there is one to go on with, or at least a file that another may judge.
pub(super) fn check_identity(disk: &dyn Disk, damage: &mut DamageList) -> Result<bool, Failure> {
    let name = names::IDENTITY;
    let file = match disk.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Failure::new(format!("cannot open {name}: {error}"))),
    };
    let mut bytes = vec![0; identity::FILE_LEN as usize];
    let got = file.read_at(0, &mut bytes)?;
    bytes.truncate(got);
    let copies = identity::COPY_OFFSETS.map(|offset| (offset, Identity::decode(offset, from(&bytes, offset))));
    if copies.iter().any(|(_, copy)| copy.as_ref().is_err_and(DecodeError::is_incompatible)) {
        // Not damage; the survey says what it is.
        return Ok(true);
    }
    let readable = copies.iter().any(|(_, copy)| copy.is_ok());
    for (offset, copy) in &copies {
        if let Err(error) = copy {
            let verdict = if readable { OTHER_COPY } else { REFUSED };
            damage.push(Damage::of(name, *offset, Identity::LEN as u64, *error, verdict));
        }
    }
    if let [(_, Ok(first)), (offset, Ok(second))] = &copies
        && first != second
    {
        let error =
            DecodeError { structure: "identity", fault: Fault::Field { field: "copy equal to the first", found: 0 } };
        let verdict = Verdict::none("one of two copies, and the first counts");
        damage.push(Damage::of(name, *offset, Identity::LEN as u64, error, verdict));
    }
    Ok(readable)
}

/// Checks both copies of a segment's header and link.
pub(super) fn check_segment(
    file: &dyn DiskFile,
    store_id: [u8; 16],
    segment: &SegmentSurvey,
    damage: &mut DamageList,
) -> io::Result<()> {
    // Where neither copy nor a footer verifies, the survey has said so.
    let Some(header) = segment.header else { return Ok(()) };
    let mut start = vec![0; DATA_START as usize];
    let got = file.read_at(0, &mut start)?;
    start.truncate(got);
    let serves = |others_good: bool| if others_good { OTHER_COPY } else { FOOTER };

    let headers = HEADER_OFFSETS.map(|offset| SegmentHeader::decode(store_id, offset, from(&start, offset)));
    let any_good = headers.iter().any(Result::is_ok);
    for (offset, copy) in HEADER_OFFSETS.into_iter().zip(headers) {
        if let Err(error) = copy {
            damage.push(Damage::of(&segment.file, offset, SegmentHeader::LEN as u64, error, serves(any_good)));
        }
    }
    if segment.link.is_none() || segment.verdict == SegmentVerdict::Spare {
        return Ok(());
    }
    let links = LINK_OFFSETS.map(|offset| check_link(&header, offset, &start));
    let any_good = links.iter().any(Result::is_ok);
    for (offset, len, error) in links.into_iter().filter_map(Result::err) {
        damage.push(Damage::of(&segment.file, offset, len, error, serves(any_good)));
    }
    Ok(())
}

/// One copy of the link: its batch header, then its body. The error says which of them, where, and how long that is.
fn check_link(header: &SegmentHeader, offset: u64, start: &[u8]) -> Result<(), (u64, u64, DecodeError)> {
    let head_len = BatchHeader::LEN as u64;
    let batch = BatchHeader::decode(header.seed(), offset, from(start, offset)).map_err(|e| (offset, head_len, e))?;
    if batch.kind != BatchKind::Link {
        let fault = Fault::Field { field: "kind", found: 1 };
        return Err((offset, head_len, DecodeError { structure: "batch header", fault }));
    }
    let body = offset + head_len;
    Link::decode(header.seed(), body, from(start, body)).map_err(|e| (body, Link::LEN as u64, e)).map(|_| ())
}

fn from(bytes: &[u8], offset: u64) -> &[u8] {
    bytes.get(offset as usize..).unwrap_or(&[])
}
