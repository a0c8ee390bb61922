//! Reading a footer's entries from a sealed file, in bounded memory, believing none before all verify.

use crate::disk::DiskFile;
use crate::format::footer::{FooterEntry, FooterTail};
use std::io;

/// Reads the footer of a sealed file and visits its entries in steps.
pub(crate) fn read_entries(
    file: &dyn DiskFile,
    store_id: [u8; 16],
    visit: &mut dyn FnMut(&[FooterEntry]),
) -> io::Result<()> {
    let invalid = |error: crate::format::DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
    let len = file.len()?;
    let mut raw = [0; FooterTail::LEN];
    let tail_offset = len.saturating_sub(FooterTail::LEN as u64);
    let got = file.read_at(tail_offset, &mut raw)?;
    let tail = FooterTail::decode(store_id, tail_offset, &raw[..got]).map_err(invalid)?;
    let mut hasher = FooterTail::entries_hasher(tail.header.uid, tail.data_end_offset);
    let mut at = u64::from(tail.data_end_offset);
    let mut left = tail.entry_count as usize;
    let mut bytes = vec![0; left.min(4096) * crate::format::footer::ENTRY_LEN];
    let mut entries = Vec::with_capacity(left.min(4096));
    // Twice: nothing of it is used before all of it verifies.
    for pass in 0..2 {
        while left > 0 {
            let step = left.min(4096) * crate::format::footer::ENTRY_LEN;
            if file.read_at(at, &mut bytes[..step])? != step {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if pass == 0 {
                hasher.update(&bytes[..step]);
            } else {
                entries.clear();
                for entry in bytes[..step].as_chunks::<{ crate::format::footer::ENTRY_LEN }>().0 {
                    let entry = FooterEntry::decode(entry).map_err(invalid)?;
                    // A place beyond the records would be taken for one in another segment once it is packed into a location.
                    if entry.offset >= tail.data_end_offset {
                        let fault = crate::format::Fault::Field { field: "place", found: entry.offset.into() };
                        return Err(invalid(crate::format::DecodeError { structure: "footer entries", fault }));
                    }
                    entries.push(entry);
                }
                visit(&entries);
            }
            at += step as u64;
            left -= step / crate::format::footer::ENTRY_LEN;
        }
        if pass == 0 {
            let expected = std::mem::take(&mut hasher).finalize();
            if expected != tail.entries_crc {
                let fault = crate::format::Fault::Checksum { expected, found: tail.entries_crc };
                return Err(invalid(crate::format::DecodeError { structure: "footer entries", fault }));
            }
            at = u64::from(tail.data_end_offset);
            left = tail.entry_count as usize;
        }
    }
    Ok(())
}
