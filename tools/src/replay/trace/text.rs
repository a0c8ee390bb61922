//! The bytes of a text trace, one after the other, with what an error message needs: the line's number and how it
//! begins.
//!
//! Knows: lines. Does not know: what stands in them.
//!
//! Invariant: memory does not depend on the input; of a line only its first bytes are kept.

use std::io::{self, BufRead};

/// Bytes of a line that an error shows.
const SHOWN_LEN_MAX: usize = 60;

/// A text being read.
pub(super) struct Text<'s> {
    source: &'s mut dyn BufRead,
    /// The line being read, from 1.
    line: u64,
    /// Whether the last byte taken ended a line, so that the next begins one.
    at_start: bool,
    /// How the record being read began, and where.
    shown: Vec<u8>,
    is_shown_cut: bool,
    first_line: u64,
    record_len_bytes: u64,
}

impl<'s> Text<'s> {
    /// Begins before the first line.
    pub(super) fn new(source: &'s mut dyn BufRead) -> Text<'s> {
        let shown = Vec::with_capacity(SHOWN_LEN_MAX);
        Text { source, line: 1, at_start: true, shown, is_shown_cut: false, first_line: 1, record_len_bytes: 0 }
    }

    /// The next byte, which stays.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.source.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte.
    pub(super) fn take(&mut self) -> io::Result<Option<u8>> {
        let Some(byte) = self.peek()? else { return Ok(None) };
        self.source.consume(1);
        self.at_start = byte == b'\n';
        self.line += u64::from(self.at_start);
        self.record_len_bytes += 1;
        if self.shown.len() < SHOWN_LEN_MAX {
            self.shown.push(byte);
        } else {
            self.is_shown_cut = true;
        }
        Ok(Some(byte))
    }

    /// A record begins with the next byte.
    pub(super) fn begin_record(&mut self) {
        self.shown.clear();
        self.is_shown_cut = false;
        self.first_line = self.line;
        self.record_len_bytes = 0;
    }

    /// Takes these bytes, which hold no line end, if they are next. Looks no further than what is buffered.
    pub(super) fn take_if_next(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.source.fill_buf()?.starts_with(bytes) {
            self.source.consume(bytes.len());
        }
        Ok(())
    }

    /// Whether the first line begins here.
    pub(super) fn is_at_first_byte(&self) -> bool {
        self.line == 1 && self.record_len_bytes == 0
    }

    /// Whether the record, taken to its end, is an empty line.
    pub(super) fn is_record_blank(&self) -> bool {
        matches!(self.shown[..], [] | [b'\n'] | [b'\r', b'\n'])
    }

    /// How long the record is so far.
    pub(super) fn record_len_bytes(&self) -> u64 {
        self.record_len_bytes
    }

    /// Leaves what is left of a record that cannot be read: up to the end of the line.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        while !self.at_start && self.take()?.is_some() {}
        Ok(())
    }

    /// The line that the next byte is in, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Lines behind us.
    pub(super) fn lines(&self) -> u64 {
        self.line - u64::from(self.at_start)
    }

    /// A sentence about the record: where it is, what is wrong, and how it begins.
    pub(super) fn complain(&mut self, what: &str) -> io::Result<String> {
        // All of a short line is shown, also what stands behind the mistake.
        while !self.at_start && self.shown.len() < SHOWN_LEN_MAX && self.take()?.is_some() {}
        self.is_shown_cut |= !self.at_start && self.peek()?.is_some();
        let line = String::from_utf8_lossy(&self.shown);
        let mut text = String::new();
        for letter in line.trim_end_matches(['\r', '\n']).chars() {
            // A terminal is not told to do things.
            if letter.is_control() { text.extend(letter.escape_debug()) } else { text.push(letter) }
        }
        // Escapes lengthen what is no text.
        if let Some((at, _)) = text.char_indices().nth(2 * SHOWN_LEN_MAX) {
            text.truncate(at);
            self.is_shown_cut = true;
        }
        let dots = if self.is_shown_cut { "…" } else { "" };
        Ok(format!("line {}: {what}: {text}{dots}", self.first_line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_line_and_show_its_beginning() {
        let long = format!("first\n{}\nthird \x1b[1m\n", "x".repeat(1000));
        let mut source = long.as_bytes();
        let mut text = Text::new(&mut source);
        text.begin_record();
        assert_eq!(text.take().unwrap(), Some(b'f'));
        assert_eq!(text.complain("wrong").unwrap(), "line 1: wrong: first");
        text.skip_line().unwrap();
        text.begin_record();
        assert_eq!(text.take().unwrap(), Some(b'x'));
        assert_eq!(text.complain("odd").unwrap(), format!("line 2: odd: {}…", "x".repeat(SHOWN_LEN_MAX)));
        text.skip_line().unwrap();
        assert_eq!(text.lines(), 2);
        text.begin_record();
        assert_eq!(text.take().unwrap(), Some(b't'));
        let complaint = text.complain("strange").unwrap();
        assert_eq!(complaint, "line 3: strange: third \\u{1b}[1m");
        assert_eq!((text.take().unwrap(), text.lines()), (None, 3));
    }
}
