//! Reading a footer's entries from a sealed file, in bounded memory, believing none before all verify.

use crate::disk::DiskFile;
use crate::format::footer::{ENTRY_LEN, FooterEntry, FooterTail};
use crate::format::segment::DATA_START;
use crate::format::{DecodeError, Fault};
use std::io;

/// Entries that are read at once.
const STEP_COUNT: usize = 4096;

/// Entries that stand behind each other in a footer.
#[derive(Debug)]
pub(crate) struct Listed {
    entries: Vec<FooterEntry>,
    /// Where the record of the last of them ends at the latest.
    end_offset: u32,
    /// Mean length of all records of the segment, in bytes.
    pub(crate) mean_len: u32,
}

impl Listed {
    fn new(tail: &FooterTail) -> Self {
        let data_len = u64::from(tail.data_end_offset) - DATA_START;
        let mean_len = data_len.checked_div(tail.entry_count.into()).unwrap_or(0) as u32;
        Self { entries: Vec::new(), end_offset: tail.data_end_offset, mean_len }
    }

    /// The entries, each with the bytes from its record to the next: the length of the record, or a little more where a batch begins between them.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&FooterEntry, u32)> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let end_offset = self.entries.get(index + 1).map_or(self.end_offset, |next| next.offset);
            (entry, end_offset.saturating_sub(entry.offset))
        })
    }

    /// The entries.
    pub(crate) fn entries(&self) -> &[FooterEntry] {
        &self.entries
    }

    /// Takes `count` entries, and beside them at most the one that comes next.
    fn fill(&mut self, tail: &FooterTail, bytes: &[u8], count: usize) -> io::Result<()> {
        self.entries.clear();
        decode_entries(tail, bytes, &mut self.entries)?;
        self.end_offset = self.entries.get(count).map_or(tail.data_end_offset, |next| next.offset);
        self.entries.truncate(count);
        Ok(())
    }
}

/// Reads the footer of a sealed file and visits its entries in steps.
pub(crate) fn read_entries(file: &dyn DiskFile, store_id: [u8; 16], visit: &mut dyn FnMut(&Listed)) -> io::Result<()> {
    let tail = read_tail(file, store_id)?;
    let mut hasher = FooterTail::entries_hasher(tail.header.uid, tail.data_end_offset);
    let mut at = u64::from(tail.data_end_offset);
    let mut left = tail.entry_count as usize;
    // A step, and the entry behind it.
    let mut bytes = vec![0; left.min(STEP_COUNT + 1) * ENTRY_LEN];
    let mut listed = Listed::new(&tail);
    // Twice: nothing of it is used before all of it verifies.
    for pass in 0..2 {
        while left > 0 {
            let count = left.min(STEP_COUNT);
            let step = count * ENTRY_LEN;
            let bytes = &mut bytes[..left.min(STEP_COUNT + 1) * ENTRY_LEN];
            if file.read_at(at, bytes)? != bytes.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if pass == 0 {
                hasher.update(&bytes[..step]);
            } else {
                listed.fill(&tail, bytes, count)?;
                visit(&listed);
            }
            at += step as u64;
            left -= count;
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
) -> io::Result<Listed> {
    let tail = read_tail(file, store_id)?;
    let left = tail.entry_count.saturating_sub(from) as usize;
    let mut bytes = vec![0; left.min(count + 1) * ENTRY_LEN];
    let at = u64::from(tail.data_end_offset) + u64::from(from) * ENTRY_LEN as u64;
    if file.read_at(at, &mut bytes)? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut listed = Listed::new(&tail);
    listed.fill(&tail, &bytes, left.min(count))?;
    Ok(listed)
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
