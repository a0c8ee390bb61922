//! One error type. Its kind tells the caller what to do; its message names file, offset, expected and found.
//!
//! Reads never return it: a damaged record is a counted miss. `open`, `flush`, `close` and `maintain` do.

use crate::sync::PlainArc;
use std::fmt;

/// What went wrong, as what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is out of range, or the budgets cannot work together. Mend the setting that the message names.
    InvalidConfig,
    /// Another handle or process has the directory open. Wait for it, or use another directory.
    Locked,
    /// The directory holds something that is not an emberlog store. Nothing was touched; choose another directory.
    NotAStore,
    /// The store was written by a newer format or needs a feature unknown here. Nothing was touched; use a newer emberlog.
    Incompatible,
    /// The directory or a file in it has permissions, an owner or a type that the store refuses. Mend them.
    Insecure,
    /// The store's identity is damaged beyond reading. Nothing was touched; restore it, or remove the directory.
    Damaged,
    /// The medium is full. Free some room.
    DiskFull,
    /// The medium failed. The disk tier is off until the store is opened again; the memory tier goes on.
    Io,
    /// The cache was closed.
    Closed,
}

/// An error of the cache: a [kind](ErrorKind), a sentence, and the cause where there is one.
///
/// ```
/// use emberlog::{Cache, ErrorKind};
/// let refused = Cache::builder().memory_bytes(1).open_memory_only().unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
    source: Option<PlainArc<std::io::Error>>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// An error with a sentence of context.
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An error of the medium; a full one becomes [`ErrorKind::DiskFull`].
    pub(crate) fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::StorageFull | Os::QuotaExceeded | Os::FileTooLarge => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Self { kind, context: context.into(), source: Some(PlainArc::new(source)) }
    }

    /// The same error under another kind, where the place knows better what the caller can do.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
}
