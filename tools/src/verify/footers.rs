//! Footers that do not verify: damaged, or never finished?
//!
//! A crash while a segment is sealed leaves whole sectors unwritten, that is zero, and never a later segment sealed. Anything else is damage.

use std::io;

use emberlog::disk::DiskFile;
use emberlog::format::footer::{ENTRY_LEN, FooterTail};
use emberlog::recovery::survey::SegmentSurvey;

use crate::store::{Damage, DamageList, Verdict};

const SECTOR_LEN: u64 = 512;
/// The rest of a tail is reserved: zeros.
const TAIL_USED_LEN: usize = 128;

/// Checks a segment for which no footer verifies.
pub(super) fn check(
    file: &dyn DiskFile,
    store_id: [u8; 16],
    segment: &SegmentSurvey,
    sealed_later: bool,
    damage: &mut DamageList,
    notes: &mut DamageList,
) -> io::Result<()> {
    let (Some(header), Some(offset)) = (segment.header, segment.file_len.checked_sub(FooterTail::LEN as u64)) else {
        return Ok(());
    };
    let mut raw = [0; FooterTail::LEN];
    let got = file.read_at(offset, &mut raw)?;
    let raw = &raw[..got];
    let verdict = if segment.kept { Verdict::of("S-SCAN") } else { Verdict::of(segment.label) };
    // What names the store or the file in a tail: one of them outlives a damaged place.
    let looks_like_tail =
        got == FooterTail::LEN && (raw[4..8] == *b"EFTR" || raw[8..24] == header.uid || raw[24..40] == header.store_id);
    let is_cut = segment.file_len < u64::from(header.len_bytes);
    if !looks_like_tail && !is_cut && !sealed_later {
        return Ok(());
    }
    let (found, torn) = match FooterTail::decode(store_id, offset, raw) {
        Err(error) => {
            let used = raw.get(..TAIL_USED_LEN).unwrap_or(raw);
            let torn = !looks_like_tail || has_lost_sector(offset, used);
            (Damage::of(&segment.file, offset, FooterTail::LEN as u64, error, verdict), torn)
        }
        Ok(tail) => {
            let len = tail.entry_count as usize * ENTRY_LEN;
            let mut bytes = vec![0; len];
            let got = file.read_at(tail.data_end_offset.into(), &mut bytes)?;
            bytes.truncate(got);
            // An entry that is impossible under a good checksum is no crash; the first of them is enough.
            let error = match tail.entries(&bytes) {
                Err(error) => Some(error),
                Ok(mut entries) => entries.find_map(Result::err),
            };
            // Sealed meanwhile, or of another file's number, which the survey has told.
            let Some(error) = error else { return Ok(()) };
            let torn = has_lost_sector(tail.data_end_offset.into(), &bytes);
            (Damage::of(&segment.file, tail.data_end_offset.into(), len as u64, error, verdict), torn)
        }
    };
    if torn && !sealed_later {
        notes.push(found)
    } else {
        damage.push(found)
    }
    Ok(())
}

/// Whether some sector's part of these bytes is all zero, as if it had never been written.
fn has_lost_sector(offset: u64, bytes: &[u8]) -> bool {
    let first_len = (SECTOR_LEN - offset % SECTOR_LEN) as usize;
    let (first, rest) = bytes.split_at(first_len.min(bytes.len()));
    let lost = |part: &[u8]| !part.is_empty() && part.iter().all(|&byte| byte == 0);
    lost(first) || rest.chunks(SECTOR_LEN as usize).any(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_sector_is_zero_from_border_to_border() {
        let mut bytes = [7; 1000];
        assert!(!has_lost_sector(100, &bytes));
        bytes[..412].fill(0);
        assert!(has_lost_sector(100, &bytes), "the first part, up to the border");
        bytes[411] = 1;
        assert!(!has_lost_sector(100, &bytes), "one byte of it was written");
        bytes[412..924].fill(0);
        assert!(has_lost_sector(100, &bytes), "a whole sector");
        assert!(!has_lost_sector(0, &[]));
    }
}
