//! A small text file, read whole: settings, never a part of a store.

use std::io::{self, Read};
use std::path::Path;

/// The text of a file of at most `len_max` bytes.
pub(crate) fn read_text(path: &Path, len_max: u64) -> io::Result<String> {
    let mut text = String::new();
    // One byte more tells a longer file from one that just fits.
    std::fs::File::open(path)?.take(len_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > len_max {
        let message = format!("it is longer than {len_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}
