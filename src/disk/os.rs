//! The operating system's disk: one directory, held by a descriptor; files opened relative to it.
//!
//! Knows: permissions, locks, interrupted calls, what the kernel's error codes mean. Does not know: the log, which names are ours.
//!
//! Invariants
//!  I-OS-1  No path is walked after open: the directory stays the one that was checked, whatever is renamed around it.
//!  I-OS-2  Only plain files of the trusted owner with one link are opened, and the check is made on the open descriptor, so nothing can be put in
//!          place between check and use.
//!  I-OS-3  A sync is never repeated: after a failed one the kernel has forgotten which pages were dirty.

use super::{Access, Disk, DiskFile, Mapping};
use crate::sync::Mutex;
use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How often an interrupted or overtaken call is tried again before it is given up.
const ATTEMPT_COUNT_MAX: usize = 64;
/// Zeros are written in pieces of this size where the file system cannot preallocate.
const ZEROS_LEN: usize = 64 * 1024;
/// A process id and a newline fit well into this.
const LOCK_CONTENT_LEN_MAX: usize = 32;

/// Which directories are good enough to keep a store in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectoryTrust {
    /// Only one that belongs to this user and that nobody else can write to.
    #[default]
    OwnOnly,
    /// Any. Who can write to the directory can then replace or cut files under a running cache.
    Anyone,
}

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    directory: OwnedFd,
    /// Whose files are opened.
    owner: u32,
    access: Access,
    /// The locked file; closing it lets the lock go.
    lock: Mutex<Option<OwnedFd>>,
}

impl OsDisk {
    /// Opens a directory for reading and writing; makes it, and those above it, if it is missing (mode 0700).
    ///
    /// Refuses a directory of another user or one that others can write to ([`io::ErrorKind::PermissionDenied`]).
    pub fn open_or_create(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_or_create_trusting(path, DirectoryTrust::OwnOnly)
    }

    /// As [`open_or_create`](Self::open_or_create), with a choice of which directories to accept.
    pub fn open_or_create_trusting(path: impl AsRef<Path>, trust: DirectoryTrust) -> io::Result<Self> {
        let path = path.as_ref();
        create_missing(path)?;
        let directory = open_directory(path)?;
        let stat = rustix::fs::fstat(&directory)?;
        let owner = rustix::process::geteuid().as_raw();
        if trust == DirectoryTrust::OwnOnly {
            check_directory(path, &stat, owner)?;
        }
        Ok(Self { directory, owner, access: Access::ReadWrite, lock: Mutex::new(None) })
    }

    /// Opens a directory that exists, for reading only: nothing that would change it is let through. Needs no permission to write.
    ///
    /// Files must belong to the directory's owner, so that an administrator's tool can look at a service's store.
    pub fn open_existing(path: impl AsRef<Path>) -> io::Result<Self> {
        let directory = open_directory(path.as_ref())?;
        let owner = rustix::fs::fstat(&directory)?.st_uid;
        Ok(Self { directory, owner, access: Access::Read, lock: Mutex::new(None) })
    }

    fn check_may_change(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(denied("the directory was opened for reading only".to_owned())),
        }
    }

    fn check_file(&self, name: &str, stat: &Stat) -> io::Result<()> {
        let reason = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_uid != self.owner => {
                format!("belongs to user {}, not to {}", stat.st_uid, self.owner)
            }
            FileType::RegularFile if stat.st_nlink > 1 => format!("has {} hard links, not one", stat.st_nlink),
            FileType::RegularFile => return Ok(()),
            FileType::Symlink => "is a symbolic link, not a plain file".to_owned(),
            FileType::Directory => "is a directory, not a plain file".to_owned(),
            _ => "is a device, pipe or socket, not a plain file".to_owned(),
        };
        Err(denied(format!("{name} {reason}; move it away")))
    }

    /// Opens what is there and checks it, before (a pipe or device must not even be opened) and after (it may have been swapped).
    fn open_checked(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        self.check_file(name, &rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.directory, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP => denied(format!("{name} is a symbolic link, not a plain file; move it away")),
            errno => errno.into(),
        })?;
        self.check_file(name, &rustix::fs::fstat(&fd)?)?;
        Ok(fd)
    }

    fn create_checked(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// The lock file, made if need be; `None` if someone came in between and it is worth another try.
    fn open_lock_file(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        match self.open_checked(name, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.create_checked(name) {
                Err(Errno::EXIST) => Ok(None),
                created => Ok(Some(created?)),
            },
            opened => opened.map(Some),
        }
    }

    /// One attempt at the lock; `None` if someone came in between and it is worth another try. Tests let someone come in `between`.
    fn try_lock(&self, name: &str, between: impl FnOnce()) -> io::Result<Option<OwnedFd>> {
        let Some(fd) = self.open_lock_file(name)? else { return Ok(None) };
        between();
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if self.is_in_place(name, &fd)? => Ok(Some(fd)),
            Ok(()) | Err(Errno::INTR) => Ok(None),
            Err(Errno::WOULDBLOCK) => Err(already_open(&read_some(&fd)?)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the name still stands for the file that we have open. A lock on a file that was unlinked keeps nobody out.
    fn is_in_place(&self, name: &str, fd: &OwnedFd) -> io::Result<bool> {
        let ours = rustix::fs::fstat(fd)?;
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Disk for OsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            // A name that is not UTF-8 is never one of ours; shown with replacement characters it stays visible and matches nothing.
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        self.check_may_change()?;
        Ok(Box::new(OsFile(self.create_checked(name)?)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => {
                self.check_may_change()?;
                OFlags::RDWR
            }
        };
        Ok(Box::new(OsFile(self.open_checked(name, flags)?)))
    }

    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        check_name(source)?;
        check_name(target)?;
        self.check_may_change()?;
        Ok(rustix::fs::renameat(&self.directory, source, &self.directory, target)?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.check_may_change()?;
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.directory)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn unlock(&self) {
        if let Some(fd) = self.lock.lock().take() {
            // Said, not only closed: a child that another thread is just starting holds a copy of the descriptor until it runs its program, and
            // closing ours would leave the lock with it. A failure leaves what closing does.
            let _ = rustix::fs::flock(&fd, FlockOperation::Unlock);
        }
    }

    fn lock(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.check_may_change()?;
        for _ in 0..ATTEMPT_COUNT_MAX {
            let Some(fd) = self.try_lock(name, || ())? else { continue };
            let content = format!("{}\n", rustix::process::getpid().as_raw_nonzero());
            let file = OsFile(fd);
            // Written over the old content and then cut: a reader never finds the file empty, and a full disk can still be locked.
            file.write_at(0, content.as_bytes())?;
            file.truncate(content.len() as u64)?;
            *self.lock.lock() = Some(file.0);
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{name} is removed and made again all the time")))
    }
}

/// An open file.
#[derive(Debug)]
struct OsFile(OwnedFd);

impl DiskFile for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all(offset, bytes, |bytes, offset| rustix::io::pwrite(&self.0, bytes, offset))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_full(offset, buffer, |buffer, offset| rustix::io::pread(&self.0, buffer, offset))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate_with(self, len, || rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        check_cut(self.len()?, len)?;
        Ok(uninterrupted(|| rustix::fs::ftruncate(&self.0, len))?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?) // once: I-OS-3
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_size).unwrap_or(0))
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        // The unit is 512 bytes whatever the file system's block size is.
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_blocks).unwrap_or(0).saturating_mul(512))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Some(offset)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn map(&self, len: u64) -> io::Result<Mapping> {
        Mapping::of_file(&self.0, len)
    }
}

/// Refuses what is not a plain name: it could lead out of the directory.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name.contains("..") || name.contains(['/', '\0']) {
        return Err(invalid(format!("{name:?} is not a plain file name")));
    }
    Ok(())
}

/// Refuses to make a file longer by truncation: the new part would have no blocks.
pub(super) fn check_cut(len_now: u64, len: u64) -> io::Result<()> {
    if len > len_now {
        return Err(invalid(format!("a cut to {len} bytes of a file of {len_now}")));
    }
    Ok(())
}

/// The error that tells who has the lock, from what the lock file says.
pub(super) fn already_open(lock_content: &[u8]) -> io::Error {
    let holder = std::str::from_utf8(lock_content).ok().and_then(|text| text.lines().next()?.parse::<u32>().ok());
    let message = match holder {
        Some(id) => format!("already open by process {id}"),
        None => "already open by a process that has not written its id yet".to_owned(),
    };
    io::Error::new(io::ErrorKind::WouldBlock, message)
}

fn denied(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn check_directory(path: &Path, stat: &Stat, user: u32) -> io::Result<()> {
    let path = path.display();
    if stat.st_uid != user {
        let owner = stat.st_uid;
        return Err(denied(format!(
            "{path} belongs to user {owner}, and this process runs as {user}; choose another directory, or chown it"
        )));
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        let mode = mode.as_raw_mode() & 0o7777;
        return Err(denied(format!("others can write to {path} (mode {mode:04o}); chmod go-w it")));
    }
    Ok(())
}

/// Makes a directory and those above it that are missing, each made durable in the one above.
fn create_missing(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|level| !level.as_os_str().is_empty() && !level.exists()).collect();
    for level in missing.into_iter().rev() {
        match rustix::fs::mkdir(level, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {} // a race with another creator: what is there gets checked like any other
            Err(errno) => return Err(errno.into()),
        }
        let parent = level.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match open_directory(parent) {
            Ok(parent) => rustix::fs::fsync(&parent)?,
            // One may be allowed to make entries in a directory and not to read it; then its owner has to care for it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Calls again while a signal comes in between; gives up after a while, as a timer that is faster than the call would go on for ever.
fn uninterrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 1..ATTEMPT_COUNT_MAX {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
    call()
}

/// Writes all of `bytes`, however little the system takes at a time.
fn write_all(
    mut offset: u64,
    mut bytes: &[u8],
    mut pwrite: impl FnMut(&[u8], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = uninterrupted(|| pwrite(bytes, offset))?;
        if written == 0 {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the system took none of the bytes to write"));
        }
        bytes = bytes.get(written..).unwrap_or(&[]);
        offset = offset.saturating_add(written as u64);
    }
    Ok(())
}

/// Fills `buffer` until the file ends, however little the system gives at a time.
fn read_full(
    mut offset: u64,
    buffer: &mut [u8],
    mut pread: impl FnMut(&mut [u8], u64) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let read = uninterrupted(|| pread(rest, offset))?;
        if read == 0 {
            break;
        }
        filled += read;
        offset = offset.saturating_add(read as u64);
    }
    Ok(filled)
}

/// Preallocates, or writes zeros where the file system has no call for it.
fn allocate_with(file: &OsFile, len: u64, fallocate: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    if len == 0 {
        return Ok(()); // which the call would refuse
    }
    match uninterrupted(fallocate) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, file.len()?, len),
        done => Ok(done?),
    }
}

/// Writes zeros from the end of a file on. Bytes that are there stay: a hole below the end is not filled.
fn write_zeros(file: &dyn DiskFile, mut offset: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    while offset < end {
        let piece = usize::try_from(end - offset).unwrap_or(ZEROS_LEN).min(ZEROS_LEN);
        file.write_at(offset, &zeros[..piece])?;
        offset += piece as u64;
    }
    Ok(())
}

/// As much of a lock file as can matter.
fn read_some(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut content = vec![0; LOCK_CONTENT_LEN_MAX];
    let len = read_full(0, &mut content, |buffer, offset| rustix::io::pread(fd, buffer, offset))?;
    content.truncate(len);
    Ok(content)
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests;
