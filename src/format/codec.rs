//! Reading and writing the fields of one structure of fixed size, in order.

use super::decode_error::{DecodeError, Fault};

/// The first `LEN` bytes of `bytes`, or an error that says how many are missing.
#[inline]
pub(crate) fn array<'a, const LEN: usize>(name: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; LEN], DecodeError> {
    bytes
        .first_chunk::<LEN>()
        .ok_or(DecodeError::new(name, Fault::Truncated { expected: LEN as u64, found: bytes.len() as u64 }))
}

/// Takes fields off a structure that has been bounded already.
///
/// Reading past its end yields zeros; that cannot happen with the fixed layouts here, which the round-trip tests cover to the last field.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(structure: &'a [u8]) -> Self {
        Self(structure)
    }

    #[inline]
    pub(crate) fn bytes<const LEN: usize>(&mut self) -> [u8; LEN] {
        match self.0.split_first_chunk::<LEN>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => {
                self.0 = &[];
                [0; LEN]
            }
        }
    }

    #[inline]
    pub(crate) fn skip(&mut self, len: usize) {
        self.0 = self.0.get(len..).unwrap_or(&[]);
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// Puts fields into a structure, in order; what is not put stays zero.
pub(crate) struct Builder<const LEN: usize> {
    bytes: [u8; LEN],
    at: usize,
}

impl<const LEN: usize> Builder<LEN> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; LEN], at: 0 }
    }

    #[inline]
    pub(crate) fn put(&mut self, field: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    #[inline]
    pub(crate) fn skip(&mut self, len: usize) -> &mut Self {
        self.at += len;
        self
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    #[inline]
    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn finish(&mut self) -> [u8; LEN] {
        self.bytes
    }
}
