//! Reading the warm list: believing nothing of it before all of it verifies, and in bounded memory.
//!
//! Knows: the disk, the list's codec. Does not know: what becomes of the entries.

use crate::disk::{Access, Disk, DiskFile};
use crate::format::names;
use crate::format::warm::{ENTRIES_NAME, ENTRY_LEN, WarmEntry, WarmHeader};
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
    /// What it names, if it verifies.
    pub named: Option<NamedCount>,
}

/// How much a list names. Entries of a kind that is not known are in neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamedCount {
    /// Keys that memory held.
    pub keys: u64,
    /// Records that were hit on disk.
    pub records: u64,
}

impl NamedCount {
    fn add(&mut self, entry: &WarmEntry) {
        self.keys += u64::from(entry.as_key().is_some());
        self.records += u64::from(entry.as_record().is_some());
    }
}

/// A record that was hit on disk, as a list names it. In log order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HitRecord {
    /// The number of its segment.
    pub segment_number: u32,
    /// Where it stands there.
    pub offset: u32,
    /// Its hits.
    pub popularity: u8,
}

impl HitRecord {
    fn new(entry: WarmEntry) -> Option<Self> {
        let (segment_number, offset) = entry.as_record()?;
        Some(Self { segment_number, offset, popularity: entry.popularity })
    }
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
        open_file(disk)?.map(|file| Ok(Self::verify(file, store_id, 0)?.0)).transpose()
    }

    /// Verifies all of it, and gathers the records that it names, at most so many.
    fn verify(
        file: Box<dyn DiskFile>,
        store_id: [u8; 16],
        record_count_max: usize,
    ) -> io::Result<(Self, Vec<HitRecord>, NamedCount)> {
        let mut raw = [0; WarmHeader::LEN];
        let got = file.read_at(0, &mut raw)?;
        let header = WarmHeader::decode(store_id, file.len()?, &raw[..got]).map_err(invalid)?;
        let mut list = Self { file, left_count: header.entry_count, offset: WarmHeader::LEN as u64 };
        let mut hasher = WarmHeader::entries_hasher(store_id);
        let (mut buffer, mut records, mut named) = (Vec::new(), Vec::new(), NamedCount::default());
        while let step @ 1.. = list.read_step(STEP_COUNT, &mut buffer)? {
            let bytes = &buffer[..step * ENTRY_LEN];
            hasher.update(bytes);
            for entry in bytes.as_chunks::<ENTRY_LEN>().0.iter().map(WarmEntry::decode) {
                named.add(&entry);
                records.extend(HitRecord::new(entry).filter(|_| records.len() < record_count_max));
            }
        }
        let expected = hasher.finalize();
        if expected != header.entries_crc {
            let fault = Fault::Checksum { expected, found: header.entries_crc };
            return Err(invalid(DecodeError { structure: ENTRIES_NAME, fault }));
        }
        (list.left_count, list.offset) = (header.entry_count, WarmHeader::LEN as u64);
        records.sort_unstable();
        Ok((list, records, named))
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
        let got = self.file.read_at(self.offset, buffer)?;
        if got != buffer.len() {
            // Somebody cut the file after its length was asked for.
            let fault = Fault::Truncated { expected: buffer.len() as u64, found: got as u64 };
            return Err(invalid(DecodeError { structure: ENTRIES_NAME, fault }));
        }
        self.left_count -= step as u64;
        self.offset += buffer.len() as u64;
        Ok(step)
    }
}

/// Looks at the file: what there is, and its list, or why that is not believed. `None` if there is no such file.
///
/// # Errors
/// Those of opening the file. That it cannot be read is no more than a reason not to believe it.
#[allow(
    clippy::type_complexity,
    reason = "what there is, and of what is believed the list and the records that it names"
)]
pub(super) fn survey(
    disk: &dyn Disk,
    store_id: [u8; 16],
    record_count_max: usize,
) -> io::Result<Option<(WarmSurvey, io::Result<(WarmList, Vec<HitRecord>)>)>> {
    let Some(file) = open_file(disk)? else { return Ok(None) };
    let (file_len, allocated_bytes) = (file.len()?, file.allocated_bytes()?);
    let list = WarmList::verify(file, store_id, record_count_max);
    let named = list.as_ref().ok().map(|(_, _, named)| *named);
    let list = list.map(|(list, records, _)| (list, records));
    Ok(Some((WarmSurvey { file_len, allocated_bytes, named }, list)))
}

fn open_file(disk: &dyn Disk) -> io::Result<Option<Box<dyn DiskFile>>> {
    match disk.open(names::WARM, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::disk::{SimCause, SimDisk, SimFault, SimOp};
    use crate::format::warm::list_len;

    const STORE_ID: [u8; 16] = [9; 16];

    fn entries(count: u64) -> Vec<WarmEntry> {
        let entry = |index: u64| WarmEntry::key(index.wrapping_mul(0x9e37_79b9_7f4a_7c15), index as u8 % 4);
        (0..count).map(entry).collect()
    }

    fn list(entries: &[WarmEntry]) -> Vec<u8> {
        let body = entries.iter().flat_map(WarmEntry::encode).collect::<Vec<_>>();
        let mut hasher = WarmHeader::entries_hasher(STORE_ID);
        hasher.update(&body);
        let (entry_count, entries_crc) = (entries.len() as u64, hasher.finalize());
        [WarmHeader { store_id: STORE_ID, entry_count, entries_crc }.encode().as_slice(), &body].concat()
    }

    fn disk_with(bytes: &[u8]) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.write_file(names::WARM, bytes);
        disk
    }

    /// Opens these bytes as a list and says what is wrong with them.
    fn fault(bytes: &[u8]) -> io::ErrorKind {
        let error = WarmList::open(&disk_with(bytes), STORE_ID).expect_err("it is not believed");
        assert!(error.get_ref().is_some_and(|inner| inner.is::<DecodeError>()), "{error}");
        error.kind()
    }

    #[test]
    fn without_a_file_there_is_no_list() {
        let disk = SimDisk::new(1);
        assert!(WarmList::open(&disk, STORE_ID).expect("that is no error").is_none());
        assert!(survey(&disk, STORE_ID, 0).expect("that is no error").is_none());
    }

    #[test]
    fn a_whole_list_is_read_back_in_order_and_in_steps() {
        // Both sides of what is read at once.
        for count in [0, 1, 1023, 1024, 1025, 2500] {
            let expected = entries(count);
            let disk = disk_with(&list(&expected));
            for step in [1, 7, 1000, usize::MAX] {
                let mut list = WarmList::open(&disk, STORE_ID).expect("it verifies").expect("it is there");
                let mut found = Vec::new();
                while list.left_count() > 0 {
                    let next = list.next_entries(step).expect("it can be read");
                    assert!(!next.is_empty() && next.len() <= step.min(STEP_COUNT), "{} of {step}", next.len());
                    found.extend(next);
                    assert_eq!(list.left_count(), count - found.len() as u64);
                }
                assert_eq!(found, expected, "{count} in steps of {step}");
                assert!(list.next_entries(step).expect("the end is no error").is_empty());
            }
            let (survey, list) = survey(&disk, STORE_ID, 0).expect("it can be read").expect("it is there");
            let named = NamedCount { keys: count, records: 0 };
            assert_eq!((survey.named, survey.file_len), (Some(named), list_len(count)));
            assert!(survey.allocated_bytes >= survey.file_len && list.is_ok_and(|(_, records)| records.is_empty()));
        }
    }

    #[test]
    fn keys_and_records_are_counted_apart_however_many_are_gathered() {
        let record = |number| WarmEntry::record(number, 4096, 1);
        let unknown = WarmEntry { subject: 1, popularity: 1, kind: 9 };
        let all = [entries(2), vec![record(7), record(3), record(5), unknown]].concat();
        for record_count_max in [0, 2, 9] {
            let (survey, list) = survey(&disk_with(&list(&all)), STORE_ID, record_count_max)
                .expect("it can be read")
                .expect("it is there");
            assert_eq!(survey.named, Some(NamedCount { keys: 2, records: 3 }), "{record_count_max}");
            assert_eq!(list.expect("it verifies").1.len(), record_count_max.min(3));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen_before_any_entry_is_given_out() {
        let good = list(&entries(5));
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(fault(&bytes), io::ErrorKind::InvalidData, "bit {bit}");
            let (survey, list) = survey(&disk_with(&bytes), STORE_ID, 0).expect("it can be read").expect("it is there");
            assert!(survey.named.is_none() && survey.file_len == good.len() as u64 && list.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_list_of_another_length_than_it_says_is_not_believed() {
        let good = list(&entries(5));
        for len in 0..good.len() {
            assert_eq!(fault(&good[..len]), io::ErrorKind::InvalidData, "cut to {len}");
        }
        for more in [1, ENTRY_LEN, 4096] {
            assert_eq!(fault(&[good.as_slice(), &vec![0; more]].concat()), io::ErrorKind::InvalidData, "{more} more");
        }
    }

    #[test]
    fn a_list_of_another_store_is_not_believed() {
        let error = WarmList::open(&disk_with(&list(&entries(5))), [8; 16]).expect_err("of another store");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_list_that_is_not_believed() {
        let disk = disk_with(&list(&entries(5)));
        disk.fail_nth(SimOp::Read, 1, SimFault::forever(SimCause::Io));
        let (survey, list) = survey(&disk, STORE_ID, 0).expect("only its content is lost").expect("it is there");
        assert!(survey.named.is_none() && list.is_err_and(|error| error.kind() != io::ErrorKind::InvalidData));
    }
}
