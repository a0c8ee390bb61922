//! The cache as its users see it.

mod builder;
mod core;
mod maintain;
mod open;
mod outcome;
mod plan;
mod snapshot;
#[cfg(all(test, not(emberlog_loom)))]
mod tests;

pub use builder::{Builder, Durability, Maintenance, ReadMode, WhenBehind};
pub use outcome::{EntryOptions, InsertOutcome, Maintained, MaintenanceBudget, Refusal, TierOutcome};

use self::core::{Core, Touch};
use crate::error::Error;
use crate::observe::Stats;
use crate::sync::{Mutex, PlainArc, Worker};
use bytes::Bytes;

/// A persistent cache with budgets in bytes. Cheap to clone; all clones are the same cache.
///
/// Reads never fail: damage and disk trouble are counted misses. Per key, operations are linearizable across both tiers. No closure of the
/// caller's runs while a lock or a pin is held.
///
/// ```
/// use emberlog::{Cache, Durability};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), emberlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("cache");
/// let cache = Cache::builder()
///     .memory_bytes(8 << 20)
///     .disk_bytes(64 << 20)
///     .durability(Durability::Buffered)
///     .time_to_live(Duration::from_secs(3600))
///     .open(&path)?;
/// cache.insert("user:42", "Ada");
/// cache.close()?;
///
/// // Another process, another day: the cache is warm.
/// let cache = Cache::builder().memory_bytes(8 << 20).disk_bytes(64 << 20).open(&path)?;
/// assert_eq!(cache.get("user:42").as_deref(), Some(b"Ada".as_slice()));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Cache(PlainArc<Handle>);

/// The last clone closes the cache.
#[derive(Debug)]
pub(crate) struct Handle {
    core: PlainArc<Core>,
    workers: Mutex<Vec<Worker>>,
}

impl Handle {
    fn close(&self) -> Result<(), Error> {
        let mut workers = self.workers.lock();
        self.core.close(&mut workers)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the cache was dropped and could not be closed");
        }
    }
}

impl Cache {
    /// Settings for a new cache, with their defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(handle: Handle) -> Self {
        Self(PlainArc::new(handle))
    }

    fn core(&self) -> &Core {
        &self.0.core
    }

    /// The value of a key, as bytes of its own. O(1); at most one read of the disk.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.core().get(key.as_ref(), Touch::Yes)
    }

    /// Lends the value of a key to a closure. Values up to 4 KiB are copied to the stack instead of the heap, so this is the fastest read. The closure
    /// runs outside every lock: it may take its time, or use the cache itself.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert_eq!(cache.read("key", |value| value.len()), Some(5));
    /// # Ok(()) }
    /// ```
    pub fn read<R>(&self, key: impl AsRef<[u8]>, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.core().read(key.as_ref(), read)
    }

    /// The value of a key, without counting the hit for eviction and without promotion.
    pub fn peek(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.core().get(key.as_ref(), Touch::No)
    }

    /// Whether [`get`](Self::get) would find a value. Counts and moves nothing; reads and checks the record if it is on disk.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.core().contains(key.as_ref())
    }

    /// Gives a key a value, in both tiers. Older values are not served again by this handle, whatever the outcome says; nor after a restart, unless the
    /// disk tier was off or a crash took what no [`flush`](Self::flush) had covered.
    ///
    /// Waits where the durability or [`WhenBehind::Wait`] asks for it. Keys are at most 65,535 bytes.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> InsertOutcome {
        self.core().insert(key.as_ref(), value.as_ref(), EntryOptions::new())
    }

    /// The same with options for this entry.
    pub fn insert_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: EntryOptions) -> InsertOutcome {
        self.core().insert(key.as_ref(), value.as_ref(), options)
    }

    /// Takes the value of a key away; tells whether it had one. Leaves a record with the durability of the cache.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> bool {
        self.core().remove(key.as_ref())
    }

    /// Takes all values away, with one record.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// cache.invalidate_all();
    /// assert!(!cache.contains_key("key"));
    /// # Ok(()) }
    /// ```
    pub fn invalidate_all(&self) {
        self.core().clear();
    }

    /// Makes everything so far durable: after any crash, no older value of a key is served, and nothing removed comes back.
    ///
    /// # Errors
    /// The first error of the disk tier, again and again: a failed sync is never retried, since the kernel has forgotten what it could not write.
    pub fn flush(&self) -> Result<(), Error> {
        self.core().flush()
    }

    /// Closes the cache: appends what only memory holds as far as there is room, makes everything durable, ends the threads, unlocks the directory.
    /// Afterwards reads are misses and inserts are refused, through every clone. Closing again does nothing, but errs again where the disk tier is off. Dropping the last clone closes too,
    /// and can only log an error.
    ///
    /// # Errors
    /// Those of [`flush`](Self::flush).
    pub fn close(&self) -> Result<(), Error> {
        self.0.close()
    }

    /// What the cache counts. Takes every shard's read lock, one after the other.
    pub fn stats(&self) -> Stats {
        snapshot::stats(self.core())
    }

    /// Does maintenance in the caller's thread, within a budget. For [`Maintenance::Manual`] and tests; harmless beside the threads.
    ///
    /// # Errors
    /// The first error of the disk tier; [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub fn maintain(&self, budget: MaintenanceBudget) -> Result<Maintained, Error> {
        self.core().maintain(budget)
    }

    /// Recounts everything that is counted as it goes and checks the invariants. Panics with a sentence where one does not hold. For tests and
    /// fuzzers; takes time in proportion to all entries, and expects no requests meanwhile.
    #[doc(hidden)]
    pub fn validate(&self) {
        snapshot::validate(self.core());
    }
}
