//! Reading the warm list: believing nothing of it before all of it verifies, and in bounded memory.
//!
//! Knows: the disk, the list's codec. Does not know: what becomes of the entries.

use crate::disk::{Access, Disk, DiskFile};
use crate::format::names;
use crate::format::warm::{ENTRY_LEN, WarmEntry, WarmHeader};
use crate::format::{DecodeError, Fault};
use std::io;

/// Entries that are read at once.
const STEP_COUNT: usize = 1024;

/// The file that holds the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmSurvey {
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Storage that it takes in bytes.
    pub allocated_bytes: u64,
    /// Keys that it names, if it verifies.
    pub entry_count: Option<u64>,
}

/// A list that verified.
#[derive(Debug)]
pub struct WarmList {
    file: Box<dyn DiskFile>,
    left_count: u64,
    offset: u64,
}

impl WarmList {
    /// Opens the list of the store with this id and verifies all of it. `None` if there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] with a [`DecodeError`] inside if it does not verify; those of the disk.
    pub fn open(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<Option<Self>> {
        let file = match disk.open(names::WARM, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut raw = [0; WarmHeader::LEN];
        let got = file.read_at(0, &mut raw)?;
        let header = WarmHeader::decode(store_id, file.len()?, &raw[..got]).map_err(invalid)?;
        let mut list = Self { file, left_count: header.entry_count, offset: WarmHeader::LEN as u64 };
        let mut hasher = WarmHeader::entries_hasher(store_id);
        let mut buffer = Vec::new();
        while let step @ 1.. = list.read_step(STEP_COUNT, &mut buffer)? {
            hasher.update(&buffer[..step * ENTRY_LEN]);
        }
        let expected = hasher.finalize();
        if expected != header.entries_crc {
            let fault = Fault::Checksum { expected, found: header.entries_crc };
            return Err(invalid(DecodeError { structure: "warm list entries", fault }));
        }
        (list.left_count, list.offset) = (header.entry_count, WarmHeader::LEN as u64);
        Ok(Some(list))
    }

    /// Entries that are still to be read.
    pub fn left_count(&self) -> u64 {
        self.left_count
    }

    /// Reads the next entries, at most `count_max` and at most a thousand; none at the end.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn next_entries(&mut self, count_max: usize) -> io::Result<Vec<WarmEntry>> {
        let mut buffer = Vec::new();
        let step = self.read_step(count_max.min(STEP_COUNT), &mut buffer)?;
        Ok(buffer[..step * ENTRY_LEN].as_chunks::<ENTRY_LEN>().0.iter().map(WarmEntry::decode).collect())
    }

    fn read_step(&mut self, count_max: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let step = usize::try_from(self.left_count).unwrap_or(usize::MAX).min(count_max);
        buffer.resize(step * ENTRY_LEN, 0);
        if self.file.read_at(self.offset, buffer)? != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left_count -= step as u64;
        self.offset += buffer.len() as u64;
        Ok(step)
    }
}

/// Looks at the file and at whether its list verifies: what there is, and what is wrong with it. `None` if there is no such file.
///
/// # Errors
/// Those of the disk.
pub(super) fn survey(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<Option<(WarmSurvey, Option<DecodeError>)>> {
    let file = match disk.open(names::WARM, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (file_len, allocated_bytes) = (file.len()?, file.allocated_bytes()?);
    let (entry_count, fault) = match WarmList::open(disk, store_id) {
        Ok(list) => (list.map(|list| list.left_count()), None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<DecodeError>()).cloned();
            (None, inner)
        }
        Err(error) => return Err(error),
    };
    Ok(Some((WarmSurvey { file_len, allocated_bytes, entry_count }, fault)))
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
