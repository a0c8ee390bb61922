//! Binary traces: little-endian records of 12 bytes, `u64 key, u32 size`.
//!
//! Knows: the record. Does not know: what it is packed with.

use std::io::{self, Read};

use crate::replay::trace::{Access, Deed};

const RECORD_LEN: usize = 12;

/// Reads at most `limit` records.
pub(super) fn read(
    mut source: impl Read,
    limit: usize,
    on_count: &mut dyn FnMut(usize),
) -> Result<Vec<Access>, io::Error> {
    let mut accesses = Vec::new();
    let mut buffer = vec![0u8; RECORD_LEN * 4096];
    let mut filled = 0;
    while accesses.len() < limit {
        let count = source.read(&mut buffer[filled..])?;
        filled += count;
        let (records, rest) = buffer[..filled].as_chunks::<RECORD_LEN>();
        if count == 0 {
            if !rest.is_empty() {
                let at = accesses.len();
                let message = format!("ends inside record {at}: {} bytes instead of {RECORD_LEN}", rest.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            break;
        }
        accesses.extend(records.iter().take(limit - accesses.len()).map(decode));
        on_count(accesses.len());
        let taken = records.len() * RECORD_LEN;
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
    Ok(accesses)
}

fn decode(record: &[u8; RECORD_LEN]) -> Access {
    let [k0, k1, k2, k3, k4, k5, k6, k7, s0, s1, s2, s3] = *record;
    Access {
        key: u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]),
        size_bytes: u32::from_le_bytes([s0, s1, s2, s3]),
        deed: Deed::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(accesses: &[Access]) -> Vec<u8> {
        let record = |access: &Access| [&access.key.to_le_bytes()[..], &access.size_bytes.to_le_bytes()[..]].concat();
        accesses.iter().flat_map(record).collect()
    }

    fn read_all(source: impl Read, limit: usize) -> Result<Vec<Access>, io::Error> {
        read(source, limit, &mut |_| {})
    }

    /// Gives one byte at a time, so that records straddle every read.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            match (self.0.split_first(), target.first_mut()) {
                (Some((byte, rest)), Some(place)) => {
                    *place = *byte;
                    self.0 = rest;
                    Ok(1)
                }
                _ => Ok(0),
            }
        }
    }

    fn accesses(count: u64) -> Vec<Access> {
        let key = |n: u64| n.wrapping_mul(0x1234_5678_9abc_def1);
        (0..count).map(|n| Access { key: key(n), size_bytes: n as u32, deed: Deed::Unsaid }).collect()
    }

    #[test]
    fn records_come_back_as_written_whatever_the_read_sizes() {
        let written = accesses(10_000);
        assert_eq!(read_all(&encode(&written)[..], usize::MAX).unwrap(), written);
        assert_eq!(read_all(Drip(&encode(&written[..100])), usize::MAX).unwrap(), written[..100]);
    }

    #[test]
    fn a_limit_ends_the_reading_early() {
        assert_eq!(read_all(&encode(&accesses(9_000))[..], 5_001).unwrap(), accesses(5_001));
    }

    #[test]
    fn a_trace_cut_inside_a_record_is_an_error_that_says_where() {
        let bytes = encode(&accesses(5));
        let error = read_all(&bytes[..bytes.len() - 1], usize::MAX).unwrap_err();
        assert!(error.to_string().contains("record 4"), "{error}");
    }
}
