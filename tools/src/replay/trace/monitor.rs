//! What Redis `MONITOR` prints, as a trace: `1339518083.107412 [0 127.0.0.1:60866] "get" "key"`.
//!
//! Knows: the line, its escapes, and which commands read, insert and remove values. Does not know: what a cache
//! makes of them.
//!
//! A value counts by its length alone and is never held. The fields of a hash are entries of their own, told apart
//! by key and field. Databases
//! are key spaces of their own. Times to live are left out: entries stay until they are removed or evicted. Commands
//! that have no counterpart
//! are counted by name.

use crate::replay::trace::key::{self, KEY_LEN_MAX};
use crate::replay::trace::lines::{Found, Lines, Trouble};
use crate::replay::trace::text::Text;
use crate::replay::trace::{Access, Deed, SIZE_UNSAID, Trace};

/// Bytes in front of the command, at most: time, database, address.
const HEAD_LEN_MAX: usize = 256;
/// Bytes of a command's name or of a number that are kept.
const WORD_LEN_MAX: usize = 32;

/// Reads a MONITOR trace.
pub(super) fn read(lines: Lines<'_>) -> Result<Trace, String> {
    let mut line = Line { head: Vec::new(), kept: Vec::new() };
    let mut trace = lines.gather(|text, found| line.read(text, found))?;
    trace.names_deeds = true;
    Ok(trace)
}

/// What the arguments of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A key, and what does not matter here.
    Key(Deed),
    /// A key that is read and then removed.
    KeyTaken,
    /// Keys.
    Keys(Deed),
    /// Key, value, options.
    KeyValue,
    /// Key, time to live, value.
    KeyTimeValue,
    /// Key, time to live: removes if there is none left.
    KeyTime,
    /// Keys and values by turns.
    Pairs,
    /// Key, fields.
    Fields(Deed),
    /// Key, then fields and values by turns.
    FieldPairs,
}

/// What one argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Field,
    Value,
    Time,
    Ignored,
}

impl Shape {
    fn of(command: &[u8]) -> Option<Shape> {
        let mut name = command.to_vec();
        name.make_ascii_lowercase();
        Some(match &name[..] {
            b"get" | b"getex" | b"getrange" | b"substr" => Shape::Key(Deed::Read),
            b"getdel" => Shape::KeyTaken,
            b"mget" => Shape::Keys(Deed::Read),
            b"del" | b"unlink" => Shape::Keys(Deed::Remove),
            b"set" | b"setnx" | b"getset" => Shape::KeyValue,
            b"setex" | b"psetex" => Shape::KeyTimeValue,
            b"expire" | b"pexpire" => Shape::KeyTime,
            b"mset" | b"msetnx" => Shape::Pairs,
            b"hget" | b"hmget" => Shape::Fields(Deed::Read),
            b"hdel" => Shape::Fields(Deed::Remove),
            b"hset" | b"hmset" | b"hsetnx" => Shape::FieldPairs,
            _ => return None,
        })
    }

    /// What the argument at this place is, behind the command.
    fn role(self, place: u64) -> Role {
        match (self, place) {
            (Shape::Keys(_), _) | (_, 0) => Role::Key,
            (Shape::Pairs, _) if place.is_multiple_of(2) => Role::Key,
            (Shape::Pairs, _) | (Shape::KeyValue, 1) | (Shape::KeyTimeValue, 2) => Role::Value,
            (Shape::KeyTime, 1) => Role::Time,
            (Shape::Fields(_), _) => Role::Field,
            (Shape::FieldPairs, _) => {
                if !place.is_multiple_of(2) {
                    Role::Field
                } else {
                    Role::Value
                }
            }
            _ => Role::Ignored,
        }
    }

    /// Whether a command may have so many arguments.
    fn takes(self, count: u64) -> bool {
        match self {
            Shape::Key(_) | Shape::KeyTaken | Shape::Keys(_) => count >= 1,
            Shape::KeyValue | Shape::KeyTime | Shape::Fields(_) => count >= 2,
            Shape::KeyTimeValue => count == 3,
            Shape::Pairs => count >= 2 && count.is_multiple_of(2),
            Shape::FieldPairs => count >= 3 && !count.is_multiple_of(2),
        }
    }
}

/// One line being read.
struct Line {
    head: Vec<u8>,
    /// The argument being read, as far as it is wanted.
    kept: Vec<u8>,
}

impl Line {
    fn read(&mut self, text: &mut Text<'_>, found: &mut Found<'_>) -> Result<(), Trouble> {
        let Some(database) = self.read_head(text)? else { return Ok(()) };
        self.read_argument(text, WORD_LEN_MAX)?;
        let Some(shape) = Shape::of(&self.kept) else {
            found.skip(&self.kept);
            return Ok(text.skip_line()?);
        };
        let mut is_idle = false;
        let (mut place, mut key, mut field) = (0, 0, None);
        while next_argument(text)? {
            let role = shape.role(place);
            let kept_len_max = match role {
                Role::Key | Role::Field => KEY_LEN_MAX,
                Role::Time => WORD_LEN_MAX,
                Role::Value | Role::Ignored => 0,
            };
            // The command's name is needed no more; what is skipped by its arguments is an expiry.
            let len_bytes = self.read_argument(text, kept_len_max)?;
            if len_bytes > kept_len_max as u64 && matches!(role, Role::Key | Role::Field) {
                return Trouble::bad(format!("a key of {len_bytes} bytes; the longest has {KEY_LEN_MAX}"));
            }
            let mut does = |key, deed| found.push(Access { key, size_bytes: SIZE_UNSAID, deed });
            match (role, shape) {
                (Role::Key, _) => {
                    key = if database == 0 { key::of(&self.kept) } else { key::within(database, &self.kept) };
                    match shape {
                        Shape::Key(deed) | Shape::Keys(deed) => does(key, deed),
                        Shape::KeyTaken => {
                            does(key, Deed::Read);
                            does(key, Deed::Remove);
                        }
                        _ => {}
                    }
                }
                (Role::Field, _) => {
                    // Not the spaces of databases, which are small numbers.
                    let entry = key::within(!key, &self.kept);
                    match shape {
                        Shape::Fields(deed) => does(entry, deed),
                        _ => field = Some(entry),
                    }
                }
                (Role::Value, _) => {
                    let size_bytes = u32::try_from(len_bytes).ok().filter(|bytes| *bytes < SIZE_UNSAID);
                    let Some(size_bytes) = size_bytes else { return Trouble::bad("a value of 4 GiB or more") };
                    found.push(Access { key: field.unwrap_or(key), size_bytes, deed: Deed::Insert });
                }
                (Role::Time, _) => match std::str::from_utf8(&self.kept).ok().and_then(|time| time.parse::<i64>().ok())
                {
                    Some(..=0) => does(key, Deed::Remove),
                    Some(_) => is_idle = true,
                    None => return Trouble::bad("a time to live that is not a number"),
                },
                (Role::Ignored, _) => {}
            }
            place += 1;
        }
        if !shape.takes(place) {
            return Trouble::bad(format!("a command with {place} arguments does not do this"));
        }
        if is_idle {
            found.skip(b"expire");
        }
        Ok(())
    }

    /// Reads up to the command's opening quote. Gives the database, or nothing for a line without a command.
    fn read_head(&mut self, text: &mut Text<'_>) -> Result<Option<u64>, Trouble> {
        self.head.clear();
        loop {
            match text.take()? {
                Some(b'"') => break,
                None | Some(b'\n') => {
                    // The first line is the answer to MONITOR itself.
                    return match self.head.trim_ascii() {
                        b"" | b"OK" | b"+OK" => Ok(None),
                        _ => Trouble::bad("no command"),
                    };
                }
                Some(_) if self.head.len() == HEAD_LEN_MAX => return Trouble::bad("no command"),
                Some(byte) => self.head.push(byte),
            }
        }
        match database(&self.head) {
            Some(database) => Ok(Some(database)),
            None => Trouble::bad("not as in: 1339518083.107412 [0 127.0.0.1:60866] \"get\" \"key\""),
        }
    }

    /// Reads an argument behind its opening quote, to its closing one; keeps at most so many of its bytes, and gives
    /// its length.
    fn read_argument(&mut self, text: &mut Text<'_>, kept_len_max: usize) -> Result<u64, Trouble> {
        self.kept.clear();
        let mut len_bytes = 0;
        loop {
            let byte = match text.take()? {
                Some(b'"') => return Ok(len_bytes),
                Some(b'\\') => escaped(text)?,
                None | Some(b'\n') => return Trouble::bad("ends inside an argument"),
                Some(byte) => byte,
            };
            len_bytes += 1;
            if self.kept.len() < kept_len_max {
                self.kept.push(byte);
            }
        }
    }
}

/// The byte behind a backslash.
fn escaped(text: &mut Text<'_>) -> Result<u8, Trouble> {
    Ok(match text.take()? {
        Some(byte @ (b'"' | b'\\')) => byte,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'a') => 0x07,
        Some(b'b') => 0x08,
        Some(b'x') => {
            let mut digit = || -> Result<u8, Trouble> {
                match text.peek()?.and_then(|byte| char::from(byte).to_digit(16)) {
                    Some(digit) => {
                        text.take()?;
                        Ok(digit as u8)
                    }
                    None => Trouble::bad("\\x without two hexadecimal digits"),
                }
            };
            digit()? << 4 | digit()?
        }
        // What ended the line has been taken: the complaint must not take the next line for this one.
        None | Some(b'\n') => return Trouble::bad("ends inside an argument"),
        Some(byte) => return Trouble::bad(format!("the escape \\{} is unknown", char::from(byte).escape_debug())),
    })
}

/// Goes to the next argument, behind its opening quote. False: the line has ended.
fn next_argument(text: &mut Text<'_>) -> Result<bool, Trouble> {
    match text.take()? {
        None | Some(b'\n') => Ok(false),
        Some(b'\r') if text.peek()? == Some(b'\n') => Ok(text.take()?.is_none()),
        Some(b' ') if text.peek()? == Some(b'"') => Ok(text.take()?.is_some()),
        Some(_) => Trouble::bad("something between arguments"),
    }
}

/// The database in `1339518083.107412 [0 127.0.0.1:60866] `.
fn database(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?;
    let (time, client) = head.strip_suffix("] ")?.split_once(" [")?;
    time.parse::<f64>().ok().filter(|time| time.is_finite())?;
    let (database, _) = client.split_once(' ')?;
    database.parse::<u32>().ok().map(u64::from)
}
