//! A directory as it was at one moment, as far as that can be had: the list of its files is taken once, and the oldest segments are held open, as those
//! are the ones that a live store removes next.
//!
//! Invariants
//!  I-VIEW-1  If a segment is listed, all newer ones that were there are listed: a hole in the numbers was there, too.
//!  I-VIEW-2  It reads only.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use emberlog::disk::{Access, Disk, DiskFile, Mapping, OsDisk};
use emberlog::format::names::{self, FileName};

/// Most segments that are held open: well below the usual limit on descriptors.
const HELD_COUNT_MAX: usize = 512;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct View<'a> {
    disk: &'a OsDisk,
    names: Vec<String>,
    held: BTreeMap<String, Arc<dyn DiskFile>>,
}

impl<'a> View<'a> {
    /// Takes the list and holds what may vanish.
    pub(crate) fn new(disk: &'a OsDisk) -> io::Result<View<'a>> {
        let mut names = disk.list()?;
        let mut held: BTreeMap<String, Arc<dyn DiskFile>> = BTreeMap::new();
        let segments: Vec<String> =
            names.iter().filter(|name| matches!(names::parse(name), FileName::Segment(_))).cloned().collect();
        // Sorted names are sorted numbers.
        for name in segments.iter().take(HELD_COUNT_MAX) {
            match disk.open(name, Access::Read) {
                Ok(file) => {
                    held.insert(name.clone(), Arc::from(file));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Retired meanwhile, and so were all before it.
                    names.retain(|other| other > name || !segments.contains(other));
                    held.clear();
                }
                // The one who reads it says what is wrong with it.
                Err(_) => {}
            }
        }
        Ok(View { disk, names, held })
    }
}

impl Disk for View<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.clone())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        match self.held.get(name) {
            Some(file) if access == Access::Read => Ok(Box::new(Held(Arc::clone(file)))),
            _ => self.disk.open(name, access),
        }
    }

    fn create_new(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(read_only())
    }

    fn rename(&self, _source: &str, _target: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn unlink(&self, _name: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn lock(&self, _name: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn unlock(&self) {}
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the tools only read")
}

/// A file that stays readable after its name is gone.
#[derive(Debug)]
struct Held(Arc<dyn DiskFile>);

impl DiskFile for Held {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.0.allocated_bytes()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(offset)
    }

    fn map(&self, len: u64) -> io::Result<Mapping> {
        self.0.map(len)
    }
}
