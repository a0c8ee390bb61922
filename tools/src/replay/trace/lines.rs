//! What the readers of text traces have in common: requests gathered up to a limit, bad lines within a tolerance,
//! skips counted.
//!
//! Knows: when to stop. Does not know: a line's grammar.
//!
//! Invariants
//!  I-LN-1  A line counts whole or not at all: of one that turns out bad, no request stays.
//!  I-LN-2  At most so many names of skipped operations are kept; the others share one.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::replay::trace::text::Text;
use crate::replay::trace::{Access, Format, Origin, Reading, Trace};

/// Names of skipped operations that are told apart.
const SKIPPED_NAMES_MAX: usize = 32;
/// Longest name of an operation that is kept.
const NAME_LEN_MAX: usize = 32;
const OTHERS: &str = "others";
/// Requests between two words to who waits.
const COUNT_EVERY: usize = 1 << 16;

/// Why a line gives no request.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The source cannot be read.
    Io(io::Error),
    /// The line means nothing: a few words that say why.
    Bad(String),
    /// No line of this trace will mean anything.
    Hopeless(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

impl Trouble {
    /// A line that means nothing.
    pub(super) fn bad<T>(why: impl Into<String>) -> Result<T, Trouble> {
        Err(Trouble::Bad(why.into()))
    }
}

/// The requests of a line as they are found.
pub(super) struct Found<'a> {
    accesses: &'a mut Vec<Access>,
    skipped: &'a mut BTreeMap<String, u64>,
    limit: usize,
}

impl Found<'_> {
    /// A request, unless there are enough.
    pub(super) fn push(&mut self, access: Access) {
        if self.accesses.len() < self.limit {
            self.accesses.push(access);
        }
    }

    /// An operation without a counterpart.
    pub(super) fn skip(&mut self, name: &[u8]) {
        let mut name = String::from_utf8_lossy(&name[..name.len().min(NAME_LEN_MAX)]).escape_debug().to_string();
        name.make_ascii_lowercase();
        if !self.skipped.contains_key(&name) && self.skipped.len() >= SKIPPED_NAMES_MAX {
            name = OTHERS.to_owned();
        }
        *self.skipped.entry(name).or_insert(0) += 1;
    }
}

/// A text trace being read.
pub(super) struct Lines<'s> {
    text: Text<'s>,
    format: Format,
    reading: Reading,
    on_count: &'s mut dyn FnMut(usize),
}

impl<'s> Lines<'s> {
    /// Begins before the first line.
    pub(super) fn new(
        source: &'s mut dyn BufRead,
        format: Format,
        reading: &Reading,
        on_count: &'s mut dyn FnMut(usize),
    ) -> Lines<'s> {
        Lines { text: Text::new(source), format, reading: *reading, on_count }
    }

    /// Reads all records with `read_record`, which takes one to the end of its last line. Whether they name deeds is
    /// the caller's to say.
    pub(super) fn gather(
        mut self,
        mut read_record: impl FnMut(&mut Text<'s>, &mut Found<'_>) -> Result<(), Trouble>,
    ) -> Result<Trace, String> {
        let mut accesses = Vec::new();
        let mut counted = 0;
        let (mut bad_lines, mut first_bad) = (0, None);
        let mut skipped = BTreeMap::new();
        while accesses.len() < self.reading.limit
            && self.text.peek().map_err(|error| stopped(&self.text, &error))?.is_some()
        {
            self.text.begin_record();
            let len_before = accesses.len();
            let mut found = Found { accesses: &mut accesses, skipped: &mut skipped, limit: self.reading.limit };
            match read_record(&mut self.text, &mut found) {
                Ok(()) => {}
                Err(Trouble::Io(error)) => return Err(stopped(&self.text, &error)),
                Err(Trouble::Hopeless(why)) => {
                    return Err(self.text.complain(&why).map_err(|error| stopped(&self.text, &error))?);
                }
                Err(Trouble::Bad(why)) => {
                    accesses.truncate(len_before);
                    let complaint = self.text.complain(&why).map_err(|error| stopped(&self.text, &error))?;
                    if bad_lines == self.reading.bad_lines_max {
                        return Err(refusal(&complaint, bad_lines));
                    }
                    bad_lines += 1;
                    first_bad.get_or_insert(complaint);
                    self.text.skip_line().map_err(|error| stopped(&self.text, &error))?;
                }
            }
            if accesses.len() - counted >= COUNT_EVERY {
                counted = accesses.len();
                (self.on_count)(counted);
            }
        }
        let origin = Origin { format: self.format, lines: self.text.lines(), bad_lines, first_bad, skipped };
        Ok(Trace { accesses, names_deeds: false, origin })
    }
}

/// The source cannot be read on.
fn stopped(text: &Text<'_>, error: &io::Error) -> String {
    format!("line {}: {error}", text.line())
}

fn refusal(complaint: &str, tolerated: u64) -> String {
    match tolerated {
        0 => format!("{complaint} (--skip-bad COUNT goes on without so many lines)"),
        _ => format!("{complaint} (beyond the {tolerated} that --skip-bad lets pass)"),
    }
}
