//! The cache as its users see it.

mod builder;
mod check;
mod close_look;
mod config;
mod core;
mod explain;
mod load;
mod maintain;
mod open;
mod outcome;
mod plan;
mod publish;
mod read;
mod room;
mod snapshot;
#[cfg(all(test, not(emberlog_loom)))]
mod tests;
mod windows;
mod write;

pub use builder::{Builder, Durability, Maintenance, QuietWindows, ReadMode, WhenBehind};
pub use config::Config;
pub use explain::{Alternative, DiskSplit, Explanation, MemorySplit, Split, Turnover};
pub use outcome::{EntryOptions, InsertOutcome, Maintained, MaintenanceBudget, Refusal, TierOutcome};

use self::core::Core;
use self::read::Touch;
use crate::error::Error;
use crate::observe::Stats;
use crate::sync::plain::Arc;
use crate::sync::{Mutex, Worker};
use bytes::Bytes;
use std::convert::Infallible;

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
pub struct Cache(Arc<Handle>);

/// The last clone closes the cache.
#[derive(Debug)]
pub(crate) struct Handle {
    core: Arc<Core>,
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
        Self(Arc::new(handle))
    }

    fn core(&self) -> &Core {
        &self.0.core
    }

    /// The value of a key, as bytes of its own. O(1); at most one read of the disk (two of a value above 4 KiB with
    /// [`ReadMode::Pread`]). A hit counts for eviction, and may bring the entry from disk into memory.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()));
    /// assert_eq!(cache.get("another"), None);
    /// # Ok(()) }
    /// ```
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

    /// The value of a key, without counting the hit for eviction and without promotion: for tools that look at a cache and should leave it as it
    /// is. Statistics count it like a [`get`](Self::get).
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert_eq!(cache.peek("key"), cache.get("key"));
    /// # Ok(()) }
    /// ```
    pub fn peek(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.core().get(key.as_ref(), Touch::No)
    }

    /// Whether [`get`](Self::get) would find a value. Counts and moves nothing; reads and checks the record if it is on disk, so it costs what a
    /// `get` does. Between the answer and what is done with it another thread may change the key.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert!(cache.contains_key("key") && !cache.contains_key("another"));
    /// # Ok(()) }
    /// ```
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.core().contains(key.as_ref())
    }

    /// The value of a key; if it has none, what the closure loads, which is stored. Among all who ask for the key meanwhile the closure of one runs, in
    /// its thread, and the others wait for it and share the value. [`try_get_with`](Self::try_get_with) says the rest.
    ///
    /// Values are `Vec<u8>`, `String`, [`Bytes`] or the like: what need not be copied to be handed out. O(1) beside the load.
    ///
    /// # Panics
    /// If the closure does.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// let page = cache.get_with("page:7", || format!("made of {} parts", 3));
    /// assert_eq!(page, "made of 3 parts");
    /// let again = cache.get_with("page:7", || -> String { unreachable!("it is cached") });
    /// assert_eq!(again, page);
    /// # Ok(()) }
    /// ```
    pub fn get_with<V: Into<Bytes>>(&self, key: impl AsRef<[u8]>, load: impl FnOnce() -> V) -> Bytes {
        self.get_with_options(key, EntryOptions::new(), load)
    }

    /// The same with options for what is stored.
    ///
    /// # Panics
    /// If the closure does.
    pub fn get_with_options<V: Into<Bytes>>(
        &self,
        key: impl AsRef<[u8]>,
        options: EntryOptions,
        load: impl FnOnce() -> V,
    ) -> Bytes {
        match self.core().try_get_with(key.as_ref(), options, || Ok::<V, Infallible>(load())) {
            Ok(value) => value,
            Err(never) => match *never {},
        }
    }

    /// The value of a key; if it has none, what the closure loads, which is stored.
    ///
    /// - **Single flight**: of all who miss the key at once, one runs its closure, in its own thread; the others wait, and share value or error.
    ///   Values are shared whatever the type of error. An error goes to those who waited with the same type `E`, as one [`Arc`]; who
    ///   waited with another asks again. Errors are never stored: whoever comes later loads.
    /// - **Mutations win**: where the key is inserted or removed, or all is invalidated, between the begin of a load and its end, the value is returned
    ///   to those who asked before that, and not stored. Who asks afterwards finds the newer state, and does not wait for the older load.
    /// - **Panics** reach the caller whose closure it was. One of those who wait runs its own closure then, and the rest go on waiting.
    /// - **The closure may use the cache**: no lock is held, so other keys can be read, loaded, inserted. Where it asks, directly or through loads of other
    ///   threads that wait for it, for the key that it is to load, waiting would never end: that request runs its own closure
    ///   instead, and stores nothing. (Only within one cache is this seen: loads of two caches that wait for each other wait for ever.)
    /// - **Closed cache, or a value that no tier takes**: it is loaded and returned all the same, just not stored.
    ///
    /// The stored value lives as long as the cache's time to live says, from the end of its load; `try_get_with_options` takes another. The value
    /// counts as inserted, with the durability of the cache, before anybody gets it. O(1) beside the load.
    ///
    /// # Errors
    /// That of the closure, shared.
    ///
    /// # Panics
    /// If the closure does.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// let failed = cache.try_get_with("config", || std::fs::read("/no/such/file"));
    /// assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// // Not cached: the next one tries again.
    /// let config = cache.try_get_with("config", || Ok::<_, std::io::Error>("verbose = true"));
    /// assert_eq!(config.unwrap(), "verbose = true");
    /// # Ok(()) }
    /// ```
    pub fn try_get_with<V, E>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Bytes, Arc<E>>
    where
        V: Into<Bytes>,
        E: Send + Sync + 'static,
    {
        self.try_get_with_options(key, EntryOptions::new(), load)
    }

    /// The same with options for what is stored.
    ///
    /// # Errors
    /// That of the closure, shared.
    ///
    /// # Panics
    /// If the closure does.
    ///
    /// ```
    /// use emberlog::{Cache, EntryOptions};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// let minute = EntryOptions::new().time_to_live(Duration::from_secs(60));
    /// let token = cache.try_get_with_options("token", minute, || Ok::<_, std::fmt::Error>("t0k3n"));
    /// assert_eq!(token.unwrap(), "t0k3n");
    /// # Ok(()) }
    /// ```
    pub fn try_get_with_options<V, E>(
        &self,
        key: impl AsRef<[u8]>,
        options: EntryOptions,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Bytes, Arc<E>>
    where
        V: Into<Bytes>,
        E: Send + Sync + 'static,
    {
        self.core().try_get_with(key.as_ref(), options, load)
    }

    /// Gives a key a value, in both tiers. Older values are not served again by this handle, whatever the outcome says; nor after a restart, unless the
    /// disk tier was off or a crash took what no [`flush`](Self::flush) had covered.
    ///
    /// Waits where the durability or [`WhenBehind::Wait`] asks for it. O(length): one copy into memory, one into the append buffer; the entries that are
    /// evicted for it are bounded by its length. Keys are at most 65,535 bytes; a longer one is refused as [`Refusal::Oversize`].
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// assert!(cache.insert("key", "value").is_stored());
    /// cache.insert(42u64.to_be_bytes(), vec![1, 2, 3]); // keys and values are whatever lends bytes
    /// assert_eq!(cache.get(42u64.to_be_bytes()).as_deref(), Some([1, 2, 3].as_slice()));
    /// # Ok(()) }
    /// ```
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> InsertOutcome {
        self.core().insert(key.as_ref(), value.as_ref(), EntryOptions::new())
    }

    /// The same with options for this entry: [`EntryOptions`].
    pub fn insert_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: EntryOptions) -> InsertOutcome {
        self.core().insert(key.as_ref(), value.as_ref(), options)
    }

    /// Takes the value of a key away; tells whether it had one. Leaves a record of 24 bytes with the durability of the cache, whether it had one or
    /// not, and waits like an [`insert`](Self::insert). O(1); where only the disk has the key, one read of it, for the answer.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert!(cache.remove("key"));
    /// assert!(!cache.remove("key"));
    /// # Ok(()) }
    /// ```
    pub fn remove(&self, key: impl AsRef<[u8]>) -> bool {
        self.core().remove(key.as_ref())
    }

    /// Takes all values away, with one record of 24 bytes. Holds every shard's lock for as long as it takes to empty memory and indexes; segments
    /// stay until their room is needed.
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

    /// Makes everything so far durable: after any crash, no older value of a key is served, and nothing removed comes back. Takes as long as the
    /// medium; requests go on meanwhile. Without a disk tier there is nothing to do.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// # let parent = tempfile::tempdir().unwrap();
    /// # let path = parent.path().join("cache");
    /// let cache = emberlog::Cache::builder().memory_bytes(8 << 20).disk_bytes(64 << 20).open(&path)?;
    /// cache.remove("session");
    /// cache.flush()?; // from here on, no crash brings the session back
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first error of the disk tier, again and again: a failed sync is never retried, since the kernel has forgotten what it could not write.
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub fn flush(&self) -> Result<(), Error> {
        self.core().flush()
    }

    /// Closes the cache: appends what only memory holds as far as there is room, makes everything durable, ends the threads, unlocks the directory.
    /// Afterwards reads are misses and inserts are refused, through every clone. Closing again does nothing, but errs again where the disk tier is off.
    /// Dropping the last clone closes too, and can only log an error.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// # let parent = tempfile::tempdir().unwrap();
    /// # let path = parent.path().join("cache");
    /// let cache = emberlog::Cache::builder().memory_bytes(8 << 20).disk_bytes(64 << 20).open(&path)?;
    /// let clone = cache.clone();
    /// cache.insert("key", "value");
    /// cache.close()?;
    /// assert_eq!(clone.get("key"), None);
    /// assert!(!clone.insert("key", "value").is_stored());
    /// assert!(clone.close().is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first error of the disk tier.
    pub fn close(&self) -> Result<(), Error> {
        self.0.close()
    }

    /// What the cache counts; [observing](crate::guide::observing) says what it means. Takes every shard's read lock, one after the other, so its
    /// figures are of no one moment, and it is for once a second rather than once a request.
    pub fn stats(&self) -> Stats {
        snapshot::stats(self.core())
    }

    /// Does maintenance in the caller's thread, within a budget. For [`Maintenance::Manual`], for [`QuietWindows::Asked`], and tests; harmless beside the
    /// threads. [Tuning](crate::guide::tuning#maintenance-background) has an example.
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
