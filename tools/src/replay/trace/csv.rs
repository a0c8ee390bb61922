//! CSV traces, as RFC 4180 has it: `key,size`, or columns that a header line names.
//!
//! Knows: columns and quotes. Does not know: what operations do to a cache.
//!
//! A first line that names a key column is a header. Columns are told by their names in any order and any case;
//! those that are not
//! known are left out. Without a header a line is `key` or `key,size`. A field may be quoted, and then hold commas,
//! line ends and doubled
//! quotes. Lines end in LF or CRLF; empty ones are left out, as is a byte order mark.

use crate::replay::trace::key::{self, KEY_LEN_MAX};
use crate::replay::trace::lines::{Found, Lines, Trouble};
use crate::replay::trace::text::Text;
use crate::replay::trace::{Access, Deed, SIZE_UNSAID, Trace};

const KEY_NAMES: &[&str] = &["key", "id", "obj_id", "object_id", "objectid", "cache_key"];
const SIZE_NAMES: &[&str] = &["size", "value_size", "obj_size", "object_size", "size_bytes", "bytes"];
const OP_NAMES: &[&str] = &["op", "operation", "command"];
/// Columns of a header, at most.
const COLUMNS_MAX: usize = 256;
/// Longest record, so that a quote that nobody closes ends somewhere.
const RECORD_LEN_MAX_BYTES: u64 = 1 << 20;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Key,
    Size,
    Op,
    Other,
}

impl Column {
    fn named(name: &[u8]) -> Column {
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let is_in = |names: &[&str]| names.contains(&name.as_str());
        match () {
            () if is_in(KEY_NAMES) => Column::Key,
            () if is_in(SIZE_NAMES) => Column::Size,
            () if is_in(OP_NAMES) => Column::Op,
            () => Column::Other,
        }
    }
}

/// Reads a CSV trace.
pub(super) fn read(lines: Lines<'_>) -> Result<Trace, String> {
    let mut columns = None;
    let mut record = Record::default();
    let mut trace = lines.gather(|text, found| {
        if !record.read(text)? {
            return Ok(());
        }
        match &columns {
            None if record.is_header() => columns = Some(Columns::named(&record)?),
            None => columns.insert(Columns::plain()).interpret(&record, found)?,
            Some(columns) => columns.interpret(&record, found)?,
        }
        Ok(())
    })?;
    trace.names_deeds = columns.is_some_and(|columns| columns.roles.contains(&Column::Op));
    Ok(trace)
}

/// The fields of one record.
#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    /// Where each field ends in `bytes`.
    ends: Vec<usize>,
}

impl Record {
    fn fields(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let start = |index: usize| if index == 0 { 0 } else { self.ends[index - 1] };
        self.ends.iter().enumerate().map(move |(index, end)| &self.bytes[start(index)..*end])
    }

    /// Whether it names a key column, and nothing in it is a number.
    fn is_header(&self) -> bool {
        let is_number = |field: &[u8]| !field.is_empty() && field.iter().all(u8::is_ascii_digit);
        self.fields().any(|field| Column::named(field) == Column::Key) && !self.fields().any(is_number)
    }

    /// Reads the next record, to the end of its line. False: the line is empty.
    fn read(&mut self, text: &mut Text<'_>) -> Result<bool, Trouble> {
        self.bytes.clear();
        self.ends.clear();
        if text.is_at_first_byte() {
            text.take_if_next(&BYTE_ORDER_MARK)?;
        }
        loop {
            let is_last = match text.peek()? {
                Some(b'"') => {
                    text.take()?;
                    self.quoted(text)?
                }
                _ => self.bare(text)?,
            };
            if self.ends.len() == COLUMNS_MAX {
                return Trouble::bad(format!("more than {COLUMNS_MAX} fields"));
            }
            self.ends.push(self.bytes.len());
            if is_last {
                return Ok(!text.is_record_blank());
            }
        }
    }

    /// Reads a field as it stands. Gives whether the record ends with it.
    fn bare(&mut self, text: &mut Text<'_>) -> Result<bool, Trouble> {
        loop {
            match take(text)? {
                None | Some(b'\n') => return Ok(true),
                Some(b',') => return Ok(false),
                Some(b'"') => return Trouble::bad("a quote inside a field that is not quoted"),
                Some(b'\r') if text.peek()? == Some(b'\n') => {}
                Some(byte) => self.bytes.push(byte),
            }
        }
    }

    /// Reads a field behind its opening quote. Gives whether the record ends with it.
    fn quoted(&mut self, text: &mut Text<'_>) -> Result<bool, Trouble> {
        loop {
            match take(text)? {
                None => return Trouble::bad("a quote that is not closed"),
                Some(b'"') => match take(text)? {
                    Some(b'"') => self.bytes.push(b'"'),
                    None | Some(b'\n') => return Ok(true),
                    Some(b',') => return Ok(false),
                    Some(b'\r') if text.peek()? == Some(b'\n') => return Ok(text.take()?.is_some()),
                    Some(_) => return Trouble::bad("something behind a closing quote"),
                },
                Some(byte) => self.bytes.push(byte),
            }
        }
    }
}

/// The next byte of a record that is not too long.
fn take(text: &mut Text<'_>) -> Result<Option<u8>, Trouble> {
    if text.record_len_bytes() == RECORD_LEN_MAX_BYTES {
        return Trouble::bad("longer than 1 MiB; is a quote not closed?");
    }
    Ok(text.take()?)
}

/// What each field of a record is.
#[derive(Debug)]
struct Columns {
    roles: Vec<Column>,
    has_header: bool,
}

impl Columns {
    fn plain() -> Columns {
        Columns { roles: vec![Column::Key, Column::Size], has_header: false }
    }

    fn named(header: &Record) -> Result<Columns, Trouble> {
        let roles: Vec<Column> = header.fields().map(Column::named).collect();
        for (role, name) in [(Column::Key, "key"), (Column::Size, "size"), (Column::Op, "op")] {
            if roles.iter().filter(|other| **other == role).count() > 1 {
                return Err(Trouble::Hopeless(format!("two columns are the {name}")));
            }
        }
        Ok(Columns { roles, has_header: true })
    }

    fn interpret(&self, record: &Record, found: &mut Found<'_>) -> Result<(), Trouble> {
        let field_count = record.ends.len();
        if self.has_header && field_count != self.roles.len() {
            return Trouble::bad(format!("{field_count} fields where the header has {}", self.roles.len()));
        }
        if field_count > self.roles.len() {
            let why = "without a header line that names a column 'key' there are key and size";
            return Trouble::bad(format!("{field_count} fields; {why}"));
        }
        let mut access = Access { key: 0, size_bytes: SIZE_UNSAID, deed: Deed::Unsaid };
        for (field, role) in record.fields().zip(&self.roles) {
            match role {
                Column::Key if field.is_empty() => return Trouble::bad("the key is empty"),
                Column::Key if field.len() > KEY_LEN_MAX => {
                    return Trouble::bad(format!("a key of {} bytes; the longest has {KEY_LEN_MAX}", field.len()));
                }
                Column::Key => access.key = key::of(field),
                Column::Size => access.size_bytes = size_bytes(field)?,
                Column::Op => match deed(field) {
                    Some(deed) => access.deed = deed,
                    None => {
                        found.skip(field);
                        return Ok(());
                    }
                },
                Column::Other => {}
            }
        }
        found.push(access);
        Ok(())
    }
}

fn size_bytes(field: &[u8]) -> Result<u32, Trouble> {
    let text = String::from_utf8_lossy(field);
    let text = text.trim();
    if text.is_empty() {
        return Ok(SIZE_UNSAID);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Trouble::bad("the size is not a number of bytes");
    }
    match text.parse::<u32>() {
        Ok(bytes) if bytes < SIZE_UNSAID => Ok(bytes),
        _ => Trouble::bad("the size is 4 GiB or more"),
    }
}

/// What an operation does; nothing: the cache has no counterpart. A trace with operations that leaves one out reads.
fn deed(field: &[u8]) -> Option<Deed> {
    let name = String::from_utf8_lossy(field).trim().to_ascii_lowercase();
    Some(match name.as_str() {
        "" | "get" | "gets" | "read" | "r" => Deed::Read,
        "set" | "put" | "insert" | "write" | "w" | "add" | "replace" | "cas" => Deed::Insert,
        "del" | "delete" | "remove" | "d" | "unlink" => Deed::Remove,
        _ => return None,
    })
}
