//! The append buffer: a ring of bytes that were appended and are not written yet.
//!
//! Positions are *stream positions*: they count all bytes ever appended, so they never wrap and two of them can be compared. Byte `p` of the stream
//! lives at `p % capacity`. Guarded by the tail's lock.
//!
//! Invariants
//!  I-BUF-1  `end - freed <= capacity`: room is reserved before it is used.
//!  I-BUF-2  Bytes in `freed..end` are as appended.

use crate::disk::AnonBytes;
use std::io;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct AppendBuffer {
    bytes: AnonBytes,
    capacity: u64,
    freed: u64,
    end: u64,
}

impl AppendBuffer {
    /// An empty buffer of `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self { bytes: AnonBytes::new(capacity)?, capacity: capacity as u64, freed: 0, end: 0 })
    }

    /// Bytes appended and not freed.
    pub(crate) fn used(&self) -> u64 {
        self.end - self.freed
    }

    /// Stream position of the next byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Stream position up to which bytes were given back.
    pub(crate) fn freed(&self) -> u64 {
        self.freed
    }

    /// Appends bytes; room for them was reserved.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        assert!(self.used() + bytes.len() as u64 <= self.capacity, "room is reserved before it is used: I-BUF-1");
        let at = self.end;
        self.end += bytes.len() as u64;
        self.copy_in(at, bytes);
    }

    /// Replaces bytes that were appended, such as a batch header whose counts are known only now.
    pub(crate) fn overwrite(&mut self, at: u64, bytes: &[u8]) {
        assert!(at >= self.freed && at + bytes.len() as u64 <= self.end, "only what is still here changes: I-BUF-2");
        self.copy_in(at, bytes);
    }

    /// Copies `out.len()` bytes from stream position `at`, which are all still here.
    pub(crate) fn copy_out(&self, at: u64, out: &mut [u8]) {
        assert!(at >= self.freed && at + out.len() as u64 <= self.end, "only what is still here is read: I-BUF-2");
        let index = (at % self.capacity) as usize;
        let first = out.len().min(self.capacity as usize - index);
        let (head, tail) = out.split_at_mut(first);
        head.copy_from_slice(&self.bytes[index..index + first]);
        tail.copy_from_slice(&self.bytes[..tail.len()]);
    }

    /// Gives back all bytes before stream position `to`.
    pub(crate) fn free(&mut self, to: u64) {
        assert!(to >= self.freed && to <= self.end, "only what is here is freed: I-BUF-1");
        self.freed = to;
    }

    fn copy_in(&mut self, at: u64, bytes: &[u8]) {
        let index = (at % self.capacity) as usize;
        let first = bytes.len().min(self.capacity as usize - index);
        let (head, tail) = bytes.split_at(first);
        self.bytes[index..index + first].copy_from_slice(head);
        self.bytes[..tail.len()].copy_from_slice(tail);
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_appended_across_the_wrap() {
        let mut buffer = AppendBuffer::new(4096).expect("anonymous memory");
        let mut next = 0u32;
        for round in 0..200u64 {
            let at = buffer.end();
            let bytes: Vec<u8> = (0..137).map(|i| (next.wrapping_add(i) * 31) as u8).collect();
            next += 137;
            buffer.append(&bytes);
            buffer.overwrite(at + 3, &bytes[3..9]);
            let mut back = vec![0; bytes.len()];
            buffer.copy_out(at, &mut back);
            assert_eq!(back, bytes, "round {round}");
            if buffer.used() > 3000 {
                buffer.free(at);
            }
        }
    }
}
