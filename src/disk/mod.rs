//! The disk seam: all that the rest of the crate knows of files. The only importer of `std::fs`, rustix and memmap2.
//!
//! A [`Disk`] is one directory; names are plain file names in it. A [`DiskFile`] is one open file. Neither knows the log's format.
//!
//! # What survives a crash: the contract
//! The rest of the crate may rely on this and nothing more. [`SimDisk`] implements its weakest reading.
//!
//! - **Process death** (SIGKILL): all that [`DiskFile::write_at`] and directory operations have returned from is kept. A write that was under way
//!   may be kept in part, any prefix of it.
//! - **Power cut**: of bytes written since the file's last successful [`DiskFile::sync_data`], each 512-byte sector, on its own and in any order, is
//!   either as written last, as it was at that sync, or as any write in between left it. Sectors do not mix old and new bytes.
//! - A file's length and allocation are durable after `sync_data` of that file. Until then its length may be any between the smallest and the
//!   largest that it had since.
//! - **Directory operations** (create, rename, unlink) since the last successful [`Disk::sync_dir`] are each kept or undone, in any combination.
//!   A name that points to a file whose data was never synced may show any content as above, with any length up to the one written.
//! - After a failed `sync_data`, nothing is known of the bytes written since the last successful one, and a later success says nothing about them.
//!   So it is with directory operations after a failed `sync_dir`.
//! - Bytes never written in an allocated range read as zero. Where a power cut came before the allocation was durable, they may read as whatever the
//!   medium held before: another store's records, for example.

#[cfg(all(test, not(emberlog_loom)))]
mod contract_tests;
mod latch;
mod mapping;
mod os;
mod sim;
#[cfg(feature = "toml")]
mod text;

pub(crate) use latch::Latch;
pub use mapping::Mapping;
pub(crate) use mapping::{AnonBytes, Words};
pub use os::{DirectoryTrust, OsDisk};
pub use sim::{PowerCuts, SimCause, SimDisk, SimFault, SimOp};
#[cfg(feature = "toml")]
pub(crate) use text::read_text;

use std::fmt;
use std::io;

/// One directory of files. See the [module](self) for what survives a crash.
///
/// A name with `/` or `..` in it is refused by all methods ([`io::ErrorKind::InvalidInput`]).
///
/// Thread safety: all methods may be called from several threads; operations on one name are made by one thread at a time.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Names of all entries in the directory, sorted. Not recursive.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet (mode 0600), open for reading and writing.
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file, for reading or for both. Refuses what is not a plain file of ours: a symbolic link, a second hard link, another
    /// owner, a directory or device ([`io::ErrorKind::PermissionDenied`], with a message that names the reason).
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing a file of that name.
    fn rename(&self, source: &str, target: &str) -> io::Result<()>;

    /// Removes a name. Open files and mappings stay valid.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Makes all directory operations so far durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that the file system still has for this user.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Takes the exclusive lock of the directory, held until the disk is dropped, and writes this process's id into `name`, which is created if
    /// need be and never removed. [`io::ErrorKind::WouldBlock`] if another handle holds it; the message then names the process.
    fn lock(&self, name: &str) -> io::Result<()>;

    /// Lets the lock go before the disk is dropped. Without effect if it is not held.
    fn unlock(&self);
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One open file. See the [module](self) for what survives a crash.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`. Interrupted and short writes are continued; any error leaves an unknown part written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `buffer` from `offset` as far as the file reaches; returns how much. Interrupted reads are continued.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes the file at least `len` bytes long with all blocks allocated (where it has to write zeros, only those past its end so far); [`io::ErrorKind::StorageFull`] if there is no room, also where the file system
    /// cannot preallocate and has to be written to instead.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes, giving its blocks back. Never makes it longer ([`io::ErrorKind::InvalidInput`]).
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes data, length and allocation durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Bytes of storage that the file takes (allocated blocks).
    fn allocated_bytes(&self) -> io::Result<u64>;

    /// First offset at or after `offset` that may hold anything but zeros; `None` if there is none. A hint: `offset` itself is always a right answer.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;

    /// Maps the first `len` bytes for reading; later writes through this or another handle show in it. `len` must not exceed the file's length.
    fn map(&self, len: u64) -> io::Result<Mapping>;
}
