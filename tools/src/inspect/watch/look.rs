//! One look at a store: who has it open, and its newest page of counters.
//!
//! Knows: the store's directory. Does not know: what was seen before. It reads two small files and the system's table of locks, however large the store
//! is, and nothing that the process would notice.

use emberlog::format::counters::{PageHeader, RunState, SegmentCell};
use emberlog::recovery::counters_page::CountersFile;
use emberlog::{Clock, SystemClock};
use serde_json::Value;

use crate::failure::Failure;
use crate::store::{Holder, Store};

/// A page, read leniently: the crate that wrote it may be of another version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// When, by whom.
    pub(crate) header: PageHeader,
    /// What the cache counts; `null` where that cannot be read.
    pub(crate) stats: Value,
    /// Version of the crate that wrote it.
    pub(crate) crate_version: Option<String>,
    /// The segments.
    pub(crate) cells: Vec<SegmentCell>,
}

/// What there is to see.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sight {
    /// No file.
    NoPage,
    /// A file of that name that is somebody else's.
    Foreign,
    /// A file without a page that verifies.
    Unreadable,
    /// A page.
    Page(Box<Seen>),
}

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// When it was taken, in milliseconds since 1970.
    pub(crate) at_unix_ms: u64,
    /// Who has the store open.
    pub(crate) holder: Option<Holder>,
    /// The page.
    pub(crate) sight: Sight,
}

/// How the cache stands, by the page and by the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// The process that wrote the page has the store open.
    Running,
    /// Another process has it open, or the page is of an earlier life.
    Starting,
    /// It was closed in order.
    Closed,
    /// It is not open, and its last page does not say goodbye.
    Gone,
}

impl Look {
    /// Looks.
    ///
    /// # Errors
    /// The directory is no store, or the file cannot be read.
    pub(crate) fn take(store: &Store) -> Result<Look, Failure> {
        // The page first: if its writer goes in between, it is shown as gone, with its last page.
        let sight = match store.counters()? {
            None => Sight::NoPage,
            Some(CountersFile::Foreign) => Sight::Foreign,
            Some(CountersFile::Ours { page: None, .. }) => Sight::Unreadable,
            Some(CountersFile::Ours { page: Some(page), .. }) => {
                let text: Value = serde_json::from_slice(&page.text).unwrap_or(Value::Null);
                Sight::Page(Box::new(Seen {
                    header: page.header,
                    crate_version: text["crate_version"].as_str().map(str::to_owned),
                    stats: text.get("stats").cloned().unwrap_or(Value::Null),
                    cells: page.cells,
                }))
            }
        };
        Ok(Look { at_unix_ms: SystemClock.now_unix_ms(), holder: store.holder(), sight })
    }

    /// The page, if there is one.
    pub(crate) fn seen(&self) -> Option<&Seen> {
        if let Sight::Page(seen) = &self.sight { Some(seen) } else { None }
    }

    /// How the cache stands; `None` without a page.
    pub(crate) fn life(&self) -> Option<Life> {
        let header = &self.seen()?.header;
        Some(match (&self.holder, header.state) {
            (Some(holder), RunState::Open) if holder.process_id == header.process_id => Life::Running,
            (Some(_), _) => Life::Starting,
            (None, RunState::Closed) => Life::Closed,
            (None, RunState::Open) => Life::Gone,
        })
    }
}
