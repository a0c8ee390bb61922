//! Where the bytes of a trace come from: a file or stdin, plain, gzip or zstd, told by their first bytes.
//!
//! Knows: containers. Does not know: what is in them. Both kinds of container may hold several members one behind
//! the other, as
//! parallel compressors and `cat` make them; all are read.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames: 0x184d2a50 to 0x184d2a5f, little-endian.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Unpacks what is packed. An extension `gz` or `zst` must be true. A failure is the end of a sentence that begins
/// with the name.
pub(super) fn open(mut raw: Box<dyn BufRead>, extension: Option<&OsStr>) -> Result<Box<dyn BufRead>, String> {
    // A pipe may give less than a magic at first.
    let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
    let read = raw.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let is_gzip = head.starts_with(&GZIP_MAGIC);
    let is_zstd = head.starts_with(&ZSTD_MAGIC) || head.get(1..) == Some(&ZSTD_SKIPPABLE_MAGIC[..]);
    let says = |wanted: &str| extension.is_some_and(|extension| extension.eq_ignore_ascii_case(wanted));
    if says("gz") && !is_gzip {
        return Err("is not gzip, though its name says so".into());
    }
    if says("zst") && !is_zstd {
        return Err("is not zstd, though its name says so".into());
    }
    let whole = io::Cursor::new(head).chain(raw);
    if is_gzip {
        return Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(whole))));
    }
    if is_zstd {
        return Ok(Box::new(BufReader::new(Frames { source: whole, decoder: FrameDecoder::new(), is_inside: false })));
    }
    Ok(Box::new(whole))
}

/// The frames of a zstd file as one stream.
struct Frames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame, past those that are to be skipped. False: there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let wanted = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(wanted), &mut io::sink())? < wanted {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "ends inside a zstd frame"));
                    }
                }
                Err(error) => return Err(garbled(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_inside {
                self.is_inside = self.begin()?;
                if !self.is_inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() < target.len() && !self.decoder.is_finished() {
                let missing = BlockDecodingStrategy::UptoBytes(target.len() - self.decoder.can_collect());
                self.decoder.decode_blocks(&mut self.source, missing).map_err(|error| garbled(&error))?;
            }
            let count = self.decoder.read(target)?;
            if count > 0 || target.is_empty() {
                return Ok(count);
            }
            self.is_inside = false;
        }
    }
}

fn garbled(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn unpack(bytes: &[u8], extension: Option<&str>) -> Result<Vec<u8>, String> {
        let mut unpacked = Vec::new();
        let mut source = open(Box::new(io::Cursor::new(bytes.to_vec())), extension.map(OsStr::new))?;
        source.read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
        Ok(unpacked)
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_member_of_a_packed_file_is_read() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let (head, tail) = text.split_at(100_001);
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        assert_eq!(unpack(&text, None).unwrap(), text);
        assert_eq!(unpack(&[gzip(head), gzip(tail)].concat(), Some("gz")).unwrap(), text);
        let frames = [&skippable, &zstd(head), &skippable, &zstd(b""), &zstd(tail), &skippable];
        assert_eq!(unpack(&frames.map(|frame| &frame[..]).concat(), Some("zst")).unwrap(), text);
        for short in [&b""[..], b"k", b"\x1f", b"key"] {
            assert_eq!(unpack(short, None).unwrap(), short, "as a pipe gives it");
        }
    }

    #[test]
    fn a_name_that_lies_and_a_file_that_was_cut_are_errors() {
        assert!(unpack(b"no zstd", Some("zst")).unwrap_err().contains("not zstd"));
        assert!(unpack(&zstd(b"x"), Some("gz")).unwrap_err().contains("not gzip"));
        for packed in [zstd(&[7; 100_000]), gzip(&[7; 100_000])] {
            for cut in [5, packed.len() / 2, packed.len() - 1] {
                assert!(unpack(&packed[..cut], None).is_err(), "cut at {cut} of {}", packed.len());
            }
        }
    }
}
