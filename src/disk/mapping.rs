//! Memory taken from the kernel: read-only views of files, and anonymous memory for rings and indexes.
//!
//! Invariants
//!  I-MAP-1  A [`Mapping`] is never written through; who reads a slice of it keeps below the watermark that its writer published, where bytes no
//!           longer change. (The log's segments see to that.)
//!  I-MAP-2  Anonymous memory is zero when taken and costs real memory only where it was touched.
#![allow(unsafe_code, reason = "mapping a file and viewing anonymous memory as atomics cannot be said in safe Rust")]

use crate::sync::PlainAtomicU64;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;

/// The first bytes of a file, mapped for reading.
#[derive(Debug)]
pub struct Mapping(memmap2::Mmap);

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    ///
    /// `len` must be more than zero and within the file, else this is an error: touching a page past the end would be a signal.
    pub(crate) fn of_file(file: impl AsFd, len: u64) -> io::Result<Self> {
        let file_len = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        let wanted = usize::try_from(len).ok().filter(|&wanted| wanted > 0 && len <= file_len).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("a mapping of {len} bytes of a file of {file_len}"))
        })?;
        // SAFETY: the mapping must not change under a live `&[u8]`: slices are taken only below the published watermark (I-MAP-1), files of the
        // store are cut only above it, and the directory's exclusive lock keeps other handles away. `wanted` lies within the file.
        let map = unsafe { memmap2::MmapOptions::new().len(wanted).map(&RawFile(file.as_fd()))? };
        Ok(Self(map))
    }
}

/// memmap2 asks for a raw descriptor; this lends it one for the duration of the call.
struct RawFile<'a>(std::os::fd::BorrowedFd<'a>);

impl std::os::fd::AsRawFd for RawFile<'_> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Anonymous bytes.
#[derive(Debug)]
pub(crate) struct AnonBytes(memmap2::MmapMut);

impl AnonBytes {
    /// `len` zero bytes (at least one page is taken).
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        Ok(Self(memmap2::MmapMut::map_anon(len.max(1))?))
    }
}

impl Deref for AnonBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for AnonBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Anonymous memory as atomic 64-bit words, for index slots: zero at first, page-aligned (so a run of 8 words from a multiple of 8 is a cache line).
#[derive(Debug)]
pub(crate) struct Words {
    bytes: memmap2::MmapMut,
    len: usize,
}

impl Words {
    /// `len` zero words.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let size = len.checked_mul(8).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self { bytes: memmap2::MmapMut::map_anon(size.max(1))?, len })
    }

    /// Makes all words zero and gives their pages back.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        *self = Self::new(self.len)?;
        Ok(())
    }
}

impl Deref for Words {
    type Target = [PlainAtomicU64];
    #[inline]
    fn deref(&self) -> &[PlainAtomicU64] {
        // SAFETY: the mapping is page-aligned, at least len * 8 bytes, zero-initialised (a valid bit pattern for AtomicU64), lives as long as
        // `self`, and is reached only through these atomics: `bytes` is private and used for nothing else.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast::<PlainAtomicU64>(), self.len) }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn words_start_at_zero_keep_what_they_are_given_and_clear_to_zero() {
        let mut words = Words::new(1000).expect("anonymous memory");
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[999].store(7, Ordering::Relaxed);
        assert_eq!(words[999].load(Ordering::Relaxed), 7);
        words.clear().expect("anonymous memory");
        assert_eq!(words[999].load(Ordering::Relaxed), 0);
        assert_eq!(words.as_ptr() as usize % 64, 0, "buckets are cache lines");
    }

    #[test]
    fn a_mapping_longer_than_its_file_is_an_error_not_a_signal() {
        let file = tempfile::tempfile().expect("a file");
        assert!(Mapping::of_file(&file, 0).is_err());
        assert!(Mapping::of_file(&file, 1).is_err());
        file.set_len(4096).expect("a page");
        assert_eq!(Mapping::of_file(&file, 4096).expect("within the file").len(), 4096);
        assert!(Mapping::of_file(&file, 4097).is_err());
    }
}
