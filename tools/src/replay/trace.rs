//! Access traces from files: zstd, then little-endian records of 12 bytes, `u64 key, u32 size`.
//!
//! Knows: the format of a trace file. Does not know: what the requests will do.
//!
//! `unit` traces count entries, not bytes: every size is 1. The caller gives those a value length of its own.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::failure::Failure;

const RECORD_LEN: usize = 12;

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Which entry.
    pub(crate) key: u64,
    /// Its value's length, or 1 throughout in a unit trace.
    pub(crate) size_bytes: u32,
}

/// Reads at most `limit` requests of a trace file.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<Access>, Failure> {
    let name = path.display();
    let file = File::open(path).map_err(|error| Failure::new(format!("cannot open trace {name}: {error}")))?;
    let decoder = ruzstd::decoding::StreamingDecoder::new(BufReader::new(file))
        .map_err(|error| Failure::new(format!("trace {name} is not zstd: {error}")))?;
    read_records(decoder, limit).map_err(|error| Failure::new(format!("trace {name}: {error}")))
}

fn read_records(mut source: impl Read, limit: usize) -> Result<Vec<Access>, std::io::Error> {
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
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message));
            }
            break;
        }
        accesses.extend(records.iter().take(limit - accesses.len()).map(decode));
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(accesses: &[Access]) -> Vec<u8> {
        let record = |access: &Access| [&access.key.to_le_bytes()[..], &access.size_bytes.to_le_bytes()[..]].concat();
        accesses.iter().flat_map(record).collect()
    }

    /// Gives one byte at a time, so that records straddle every read.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
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
        (0..count).map(|n| Access { key: n.wrapping_mul(0x1234_5678_9abc_def1), size_bytes: n as u32 }).collect()
    }

    #[test]
    fn records_come_back_as_written_whatever_the_read_sizes() {
        let written = accesses(10_000);
        assert_eq!(read_records(&encode(&written)[..], usize::MAX).unwrap(), written);
        assert_eq!(read_records(Drip(&encode(&written[..100])), usize::MAX).unwrap(), written[..100]);
    }

    #[test]
    fn a_limit_ends_the_reading_early() {
        assert_eq!(read_records(&encode(&accesses(9_000))[..], 5_001).unwrap(), accesses(5_001));
    }

    #[test]
    fn a_trace_cut_inside_a_record_is_an_error_that_says_where() {
        let bytes = encode(&accesses(5));
        let error = read_records(&bytes[..bytes.len() - 1], usize::MAX).unwrap_err();
        assert!(error.to_string().contains("record 4"), "{error}");
    }

    #[test]
    fn a_zstd_file_is_read_and_another_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.trace.zst");
        std::fs::write(
            &path,
            ruzstd::encoding::compress_to_vec(
                &encode(&accesses(500))[..],
                ruzstd::encoding::CompressionLevel::Uncompressed,
            ),
        )
        .unwrap();
        assert_eq!(read(&path, usize::MAX).unwrap(), accesses(500));
        std::fs::write(&path, b"no zstd").unwrap();
        assert!(read(&path, usize::MAX).unwrap_err().to_string().contains("not zstd"));
    }
}
