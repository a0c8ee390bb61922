//! Reading a footer's entries from a sealed file, in bounded memory, believing none before all verify.

use crate::disk::DiskFile;
use crate::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use crate::format::{DecodeError, Fault};
use std::io;

/// Reads the footer of a sealed file and visits its entries in steps.
pub(crate) fn read_entries(
    file: &dyn DiskFile,
    store_id: [u8; 16],
    visit: &mut dyn FnMut(&[FooterEntry]),
) -> io::Result<()> {
    let tail = read_tail(file, store_id)?;
    let mut hasher = FooterTail::entries_hasher(tail.header.uid, tail.data_end_offset);
    let mut at = u64::from(tail.data_end_offset);
    let mut left = tail.entry_count as usize;
    let mut bytes = vec![0; left.min(4096) * ENTRY_LEN];
    let mut entries = Vec::with_capacity(left.min(4096));
    // Twice: nothing of it is used before all of it verifies.
    for pass in 0..2 {
        while left > 0 {
            let step = left.min(4096) * ENTRY_LEN;
            if file.read_at(at, &mut bytes[..step])? != step {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if pass == 0 {
                hasher.update(&bytes[..step]);
            } else {
                entries.clear();
                decode_entries(&tail, &bytes[..step], &mut entries)?;
                visit(&entries);
            }
            at += step as u64;
            left -= step / ENTRY_LEN;
        }
        if pass == 0 {
            let expected = std::mem::take(&mut hasher).finalize();
            if expected != tail.entries_crc {
                let fault = Fault::Checksum { expected, found: tail.entries_crc };
                return Err(invalid(DecodeError { structure: "footer entries", fault }));
            }
            at = u64::from(tail.data_end_offset);
            left = tail.entry_count as usize;
        }
    }
    Ok(())
}

/// Reads at most `count` entries, from the one with the number `from` on. The checksum of all of them is not looked at.
pub(crate) fn read_entries_from(
    file: &dyn DiskFile,
    store_id: [u8; 16],
    from: u32,
    count: usize,
) -> io::Result<Vec<FooterEntry>> {
    let tail = read_tail(file, store_id)?;
    let count = count.min(tail.entry_count.saturating_sub(from) as usize);
    let mut bytes = vec![0; count * ENTRY_LEN];
    let at = u64::from(tail.data_end_offset) + u64::from(from) * ENTRY_LEN as u64;
    if file.read_at(at, &mut bytes)? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut entries = Vec::with_capacity(count);
    decode_entries(&tail, &bytes, &mut entries)?;
    Ok(entries)
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn read_tail(file: &dyn DiskFile, store_id: [u8; 16]) -> io::Result<FooterTail> {
    let mut raw = [0; FooterTail::LEN];
    let offset = file.len()?.saturating_sub(FooterTail::LEN as u64);
    let got = file.read_at(offset, &mut raw)?;
    FooterTail::decode(store_id, offset, &raw[..got]).map_err(invalid)
}

fn decode_entries(tail: &FooterTail, bytes: &[u8], entries: &mut Vec<FooterEntry>) -> io::Result<()> {
    for entry in bytes.as_chunks::<ENTRY_LEN>().0 {
        let entry = FooterEntry::decode(entry).map_err(invalid)?;
        // A place beyond the records would be taken for one in another segment once it is packed into a location.
        if entry.offset >= tail.data_end_offset {
            let fault = Fault::Field { field: "place", found: entry.offset.into() };
            return Err(invalid(DecodeError { structure: "footer entries", fault }));
        }
        entries.push(entry);
    }
    Ok(())
}
