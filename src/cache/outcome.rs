//! What callers pass with a request, and what they learn of it.

use std::time::Duration;

/// Where an inserted value went. Neither tier failing is an error: the key is then simply not cached, and never served with an older value.
///
/// ```
/// # fn main() -> Result<(), emberlog::Error> {
/// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let outcome = cache.insert("key", "value");
/// assert!(outcome.memory.is_stored());
/// assert_eq!(outcome.disk, emberlog::TierOutcome::Absent);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InsertOutcome {
    /// The memory tier.
    pub memory: TierOutcome,
    /// The disk tier.
    pub disk: TierOutcome,
}

impl InsertOutcome {
    /// Whether at least one tier took the value.
    pub fn is_stored(&self) -> bool {
        self.memory.is_stored() || self.disk.is_stored()
    }

    pub(crate) fn closed() -> Self {
        Self { memory: TierOutcome::Refused(Refusal::Closed), disk: TierOutcome::Refused(Refusal::Closed) }
    }
}

/// What one tier did with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TierOutcome {
    /// It took the value, with the durability that was asked for.
    Stored,
    /// It did not take the value. Older values of the key are gone from it all the same; on disk only while that tier is on: after
    /// [`Refusal::DiskOff`] a later open may find what was there before.
    Refused(Refusal),
    /// There is no such tier.
    Absent,
}

impl TierOutcome {
    /// Whether the tier took the value.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }
}

/// Why a tier did not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The entry is larger than the tier takes: an eighth of a shard's memory; seven eighths of the append buffer or a segment of the log.
    /// [`Config::explain`](crate::Config::explain) has both limits in bytes.
    Oversize,
    /// The writer is behind, and [`WhenBehind::Drop`](crate::WhenBehind::Drop) was chosen.
    Behind,
    /// The disk tier is off after a failed write or sync.
    DiskOff,
    /// The cache is closed.
    Closed,
}

/// Options of one entry.
///
/// ```
/// use std::time::Duration;
/// # fn main() -> Result<(), emberlog::Error> {
/// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// cache.insert_with("session", "token", emberlog::EntryOptions::new().time_to_live(Duration::from_secs(60)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct EntryOptions {
    pub(crate) time_to_live: Option<Duration>,
}

impl EntryOptions {
    /// The cache's own defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the entry may be served, instead of the cache's time to live. Kept in whole seconds, rounded up.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }
}

/// How much one call of [`Cache::maintain`](crate::Cache::maintain) may do.
///
/// ```
/// let budget = emberlog::MaintenanceBudget { steps_max: 4, ..Default::default() };
/// # let _ = budget;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintenanceBudget {
    /// Most steps: a write of the append buffer, a seal, a segment prepared or retired, and a step of work ahead of need (some 128 KiB
    /// moved, or some hundred records looked at) each count as one.
    pub steps_max: u32,
    /// Most bytes that are appended again when a segment is retired.
    pub reinsert_bytes_max: u64,
}

impl Default for MaintenanceBudget {
    fn default() -> Self {
        Self { steps_max: 1, reinsert_bytes_max: 1 << 20 }
    }
}

/// What a call of [`Cache::maintain`](crate::Cache::maintain) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintained {
    /// Steps taken.
    pub steps: u32,
    /// Whether more is due.
    pub more: bool,
}
