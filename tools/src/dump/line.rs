//! What an entry looks like in each format.
//!
//! Bytes that are printable text stand as they are; all others, and text that begins with "hex:", as "hex:" and two digits a byte.
//!
//! ```text
//! json  {"key":"user:7","value":"hex:00ff","expires_unix_s":1700000000}
//! csv   user:7,hex:00ff,1700000000
//! raw   key length (4 bytes, little-endian) | key | value length (8 bytes) | value | expiry (8 bytes, Unix seconds, 0 for never)
//! ```
//! With `--keys` there is the key alone.

use std::fmt::Write as _;
use std::io::{self, Write};

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Json,
    /// Comma-separated values, RFC 4180, with a head line.
    Csv,
    /// Lengths and bytes.
    Raw,
}

/// One entry.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    /// `None` if only keys are wanted.
    pub(super) value: Option<&'a [u8]>,
    pub(super) expires_unix_s: Option<u64>,
}

#[derive(serde::Serialize)]
struct JsonEntry {
    key: String,
    #[serde(flatten)]
    rest: Option<JsonRest>,
}

#[derive(serde::Serialize)]
struct JsonRest {
    value: String,
    expires_unix_s: Option<u64>,
}

/// Writes what comes before the first entry.
pub(super) fn head(out: &mut impl Write, format: Format, keys_only: bool) -> io::Result<()> {
    match (format, keys_only) {
        (Format::Csv, true) => out.write_all(b"key\r\n"),
        (Format::Csv, false) => out.write_all(b"key,value,expires_unix_s\r\n"),
        _ => Ok(()),
    }
}

/// Writes one entry.
pub(super) fn entry(out: &mut impl Write, format: Format, entry: &Entry<'_>) -> io::Result<()> {
    match format {
        Format::Json => json(out, entry),
        Format::Csv => csv(out, entry),
        Format::Raw => raw(out, entry),
    }
}

fn json(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let rest = entry.value.map(|value| JsonRest { value: text(value), expires_unix_s: entry.expires_unix_s });
    let line = JsonEntry { key: text(entry.key), rest };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn csv(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    field(out, &text(entry.key))?;
    if let Some(value) = entry.value {
        out.write_all(b",")?;
        field(out, &text(value))?;
        out.write_all(b",")?;
        if let Some(at) = entry.expires_unix_s {
            write!(out, "{at}")?;
        }
    }
    out.write_all(b"\r\n")
}

fn field(out: &mut impl Write, text: &str) -> io::Result<()> {
    if text.contains(['"', ',', '\r', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

fn raw(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    out.write_all(&(entry.key.len() as u32).to_le_bytes())?;
    out.write_all(entry.key)?;
    if let Some(value) = entry.value {
        out.write_all(&(value.len() as u64).to_le_bytes())?;
        out.write_all(value)?;
        out.write_all(&entry.expires_unix_s.unwrap_or(0).to_le_bytes())?;
    }
    Ok(())
}

/// Bytes as text that says exactly which bytes they are.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("hex:") && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => {
            text.to_owned()
        }
        _ => bytes.iter().fold("hex:".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: Format, entries: &[Entry<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        entries.iter().for_each(|it| entry(&mut out, format, it).unwrap());
        out
    }

    fn samples() -> Vec<Entry<'static>> {
        vec![
            Entry { key: b"a,\"b\"", value: Some(b"line\nline"), expires_unix_s: Some(7) },
            Entry { key: b"\x00\xff", value: Some(b""), expires_unix_s: None },
            Entry { key: b"hex:61", value: None, expires_unix_s: Some(9) },
        ]
    }

    #[test]
    fn each_format_says_exactly_which_bytes() {
        let json = String::from_utf8(lines(Format::Json, &samples())).unwrap();
        let expected = concat!(
            "{\"key\":\"a,\\\"b\\\"\",\"value\":\"line\\nline\",\"expires_unix_s\":7}\n",
            "{\"key\":\"hex:00ff\",\"value\":\"\",\"expires_unix_s\":null}\n",
            "{\"key\":\"hex:6865783a3631\"}\n",
        );
        assert_eq!(json, expected);
        let csv = String::from_utf8(lines(Format::Csv, &samples())).unwrap();
        assert_eq!(csv, "\"a,\"\"b\"\"\",\"line\nline\",7\r\nhex:00ff,,\r\nhex:6865783a3631\r\n");
        let raw = lines(Format::Raw, &samples()[1..]);
        let second = [&[2, 0, 0, 0, 0, 255][..], &[0; 8], &[0; 8]].concat();
        assert_eq!(raw, [&second[..], &[6, 0, 0, 0], b"hex:61"].concat());
    }
}
