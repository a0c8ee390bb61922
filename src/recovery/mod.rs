//! From the files of a directory to a log that can go on.
//!
//! `survey` reads and decides, `verdict` holds the tables, `repair` writes. Nothing is written before the survey is complete, and what is written
//! leads to the same survey again: a crash in between changes nothing. `warm_list` reads what memory held, which decides nothing, and
//! `counters_page` what a cache tells of itself, which is read by tools only.

pub mod counters_page;
mod repair;
pub mod survey;
pub mod verdict;
pub mod warm_list;

pub(crate) use repair::{Repaired, repair};
