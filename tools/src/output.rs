//! What commands write to stdout.
//!
//! Knows: pages, JSON, and that a reader may leave early: `emberlog inspect DIR | head` is no failure, and the exit
//! code still says what
//! was found.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes a report: one JSON object, or the page for people.
pub(crate) fn report<T: Serialize + Display>(report: &T, as_json: bool) -> Result<(), Failure> {
    if as_json { json(report) } else { text(report) }
}

/// Writes one JSON object.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    written(to_stdout(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    }))
}

/// Writes text as it is.
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    written(to_stdout(|out| write!(out, "{text}")))
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    written(to_stdout(|out| out.write_all(bytes)))
}

/// What becomes of a command whose writing to stdout ended so. Whoever left has seen enough.
fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Stdout alone would be flushed line by line.
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out)?;
    out.flush()
}
