//! Reading the page of counters, and telling it from another's file of that name.
//!
//! Knows: the disk, the page's codec. Does not know: what the figures mean. Nothing is recovered from it. A writer may be at it while it is read: one
//! of its two places is whole all the same, but for the moment in which a reader takes so long that both are written over.

use crate::disk::{Access, Disk, DiskFile};
use crate::format::counters::{CountersHead, FILE_LEN, Page};
use crate::format::{Fault, names};
use std::io;

/// How often a file is read again whose two places are both being written over.
const TRIES_MAX: u32 = 8;

/// A file called `counters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountersFile {
    /// Somebody else's: it is never written to nor removed.
    Foreign,
    /// Of this store.
    Ours {
        /// Storage that it takes in bytes.
        allocated_bytes: u64,
        /// The newest page; `None` where none verifies, as behind a power cut, or where it is of a later version.
        page: Option<Page>,
    },
}

/// Reads the file of the store with this id. `None` if there is none.
///
/// # Errors
/// Those of the disk.
pub fn read(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<Option<CountersFile>> {
    let Some(file) = open(disk)? else { return Ok(None) };
    let Some(file) = file.filter(|file| is_ours(&**file, store_id)) else { return Ok(Some(CountersFile::Foreign)) };
    let allocated_bytes = file.allocated_bytes()?;
    let mut bytes = vec![0; FILE_LEN as usize];
    let mut page = None;
    for _ in 0..TRIES_MAX {
        let got = file.read_at(0, &mut bytes)?;
        let readable = CountersHead::decode(store_id, &bytes[..got]).is_ok();
        page = Page::newest(store_id, &bytes[..got]).filter(|_| readable);
        if page.is_some() || !readable {
            break;
        }
    }
    Ok(Some(CountersFile::Ours { allocated_bytes, page }))
}

/// Whether there is such a file, and if so whether it is of this store.
pub(crate) fn find(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<Option<bool>> {
    Ok(open(disk)?.map(|file| file.is_some_and(|file| is_ours(&*file, store_id))))
}

/// The file, if there is one, and if it is a file of the kind that we make.
fn open(disk: &dyn Disk) -> io::Result<Option<Option<Box<dyn DiskFile>>>> {
    match disk.open(names::COUNTERS, Access::Read) {
        Ok(file) => Ok(Some(Some(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A link, a directory, another user's file: not of our making.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

fn is_ours(file: &dyn DiskFile, store_id: [u8; 16]) -> bool {
    let mut raw = [0; CountersHead::LEN];
    let Ok(got) = file.read_at(0, &mut raw) else { return false };
    match CountersHead::decode(store_id, &raw[..got]) {
        Ok(_) => true,
        // Under a good checksum of this store's: a later version's file is of this store, too.
        Err(error) => matches!(error.fault, Fault::Version { .. } | Fault::Feature { .. } | Fault::Field { .. }),
    }
}
