//! The crate against its specification: what it writes and what it makes of it, compared with `format-spec/reader.py` field by field.
//!
//! The reader takes offsets, sizes and verdicts out of the pages' tables, so a table, the reader and the crate cannot drift apart unseen; the golden
//! stores under `format-spec/golden/` keep all three where they are. After a deliberate change of the format (a new version, a new folder):
//! `cargo test --test spec regenerate -- --ignored` writes the golden stores anew.
//!
//! Needs python3. Knows: the public API and the format's public tables. Does not know: how the cache works inside.

mod cases;
mod decode;
mod golden;
mod random;
mod reader;
mod store;
