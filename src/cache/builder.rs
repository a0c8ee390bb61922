//! Settings of a cache, and opening it.

use super::Cache;
use super::config::Config;
use super::open;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::sync::plain::Arc;
use std::io;
use std::path::Path;
use std::time::Duration;

/// When an insert or remove counts as done on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Handed to the kernel as fast as the writer can, normally within 10 ms. A SIGKILL loses at most the append buffer, a power cut what the
    /// system had not written back.
    #[default]
    Buffered,
    /// In the kernel before the call returns: a SIGKILL loses nothing.
    Written,
    /// On the medium before the call returns: a power cut loses nothing. Callers share syncs.
    Synced,
}

/// What an insert does when the append buffer is full because the disk is slower than the inserts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBehind {
    /// Waits for room, in order of asking. Every admitted value reaches the disk, the rate of inserts is the disk's when it has to be, and the same
    /// requests leave the same files. The default: a cache that silently keeps half of what it is given after a restart surprises more than one
    /// whose bursts beyond the append buffer are slowed.
    #[default]
    Wait,
    /// Keeps the value in memory only: a tombstone takes its place on disk, so that no older value comes back, and the drop is counted. For
    /// callers with a latency objective and a disk that cannot keep up.
    Drop,
}

/// Who does the work behind requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maintenance {
    /// Two threads of the cache: the writer, and one that syncs, seals, prepares and retires segments.
    #[default]
    Background,
    /// The caller, with [`Cache::maintain`]. What a request cannot do without (a full buffer, a missing segment) it does itself. No threads, and the
    /// same requests leave the same files, bit for bit.
    Manual,
}

/// When maintenance works ahead of need: appends again what is worth it out of the segments that go next, so that under load they go at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuietWindows {
    /// In quiet windows, found by looking at the load four times a second: a window opens when there are at most 15 % of the requests per second that
    /// an average request of the last hours met, and closes beyond 30 %.
    #[default]
    Detected,
    /// Whenever nothing more urgent is due, whatever the load.
    Always,
    /// Only within [`Cache::maintain`].
    Asked,
}

/// How records on disk are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadMode {
    /// Through read-only mappings: fastest. A medium that fails under a mapped page is a signal (SIGBUS), not an error.
    #[default]
    Mapped,
    /// With positioned reads: a failing medium is a counted miss. Holds a file descriptor for each segment.
    Pread,
}

/// Settings of a cache; made with [`Cache::builder`].
///
/// ```
/// # fn main() -> Result<(), emberlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("cache");
/// let cache = emberlog::Cache::builder()
///     .memory_bytes(8 << 20)
///     .disk_bytes(64 << 20)
///     .open(path)?;
/// cache.insert("key", "value");
/// assert_eq!(cache.get("key").as_deref(), Some(b"value".as_slice()));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it opens a cache"]
pub struct Builder {
    /// Everything that a file can say.
    pub(crate) config: Config,
    // What it cannot: objects and seeds of the caller's.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random_seed: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { config: Config::default(), clock: Arc::new(SystemClock), random_seed: None }
    }
}

impl Builder {
    /// Takes all settings from a [`Config`], whatever was set before. The clock and the seed stay.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The settings so far.
    pub fn as_config(&self) -> &Config {
        &self.config
    }

    /// All memory that the cache takes, in bytes: entries, both indexes, ghosts, append and footer buffers. Default 64 MiB.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.config.memory_bytes = bytes;
        self
    }

    /// All storage that the directory takes at any instant, in bytes (allocated blocks). Default 1 GiB.
    pub fn disk_bytes(mut self, bytes: u64) -> Self {
        self.config.disk_bytes = bytes;
        self
    }

    /// When an insert or remove counts as done on disk. Default [`Durability::Buffered`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// What an insert does when the disk cannot keep up. Default [`WhenBehind::Wait`].
    pub fn when_behind(mut self, when_behind: WhenBehind) -> Self {
        self.config.when_behind = when_behind;
        self
    }

    /// Who does the work behind requests. Default [`Maintenance::Background`].
    pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.config.maintenance = maintenance;
        self
    }

    /// How records on disk are read. Default [`ReadMode::Mapped`].
    pub fn read_mode(mut self, read_mode: ReadMode) -> Self {
        self.config.read_mode = read_mode;
        self
    }

    /// How much is appended again when the oldest segment comes up, in percent of what requests append, 0 to 100. Default 20: hit ratio for bytes
    /// written. Appended again is what memory holds, and what was hit on disk since it was written, the more often the scarcer the allowance. What
    /// memory holds may go beyond it, up to half a segment for each that goes: with a memory budget above an eighth of the disk budget look at
    /// [`DiskStats::bytes_reinserted`](crate::DiskStats::bytes_reinserted). With 0 nothing is appended again, so a crash takes the hot set first.
    pub fn reinsert_percent(mut self, percent: u32) -> Self {
        self.config.reinsert_percent = percent;
        self
    }

    /// What may be written beyond keys and values, in percent of them, 0 to 1000. Default 25. Headers, footers and lists come first, what they leave
    /// is for appending again: so bytes written stay within 1.25 times [`bytes_accepted`](crate::DiskStats::bytes_accepted) where entries are
    /// not too short, requests are not chiefly removes, and memory is below an eighth of the disk (what it holds is appended again all the same).
    /// [`reinsert_percent`](Self::reinsert_percent) gives way for it, but keeps a tenth of itself: entries of a few dozen bytes
    /// are beyond it by their headers alone. A larger value buys hit ratio for bytes written.
    pub fn write_overhead_percent(mut self, percent: u32) -> Self {
        self.config.write_overhead_percent = percent;
        self
    }

    /// Most bytes per second that are appended again under load, up to 1 TiB: a hard token bucket that holds a tenth of a second, or half a segment
    /// if that is more. Default 256 MiB; 0: only in quiet windows. What finds no tokens goes with its segment. Not looked at under
    /// [`Maintenance::Manual`], where nothing depends on time.
    pub fn reinsert_bytes_per_s(mut self, bytes: u64) -> Self {
        self.config.reinsert_bytes_per_s = bytes;
        self
    }

    /// When maintenance works ahead of need. Default [`QuietWindows::Detected`].
    pub fn quiet_windows(mut self, when: QuietWindows) -> Self {
        self.config.quiet_windows = when;
        self
    }

    /// How long entries may be served that say nothing else, 1 ms to 49,710 days; default for ever. Kept in whole seconds, rounded up.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.config.time_to_live = Some(time_to_live);
        self
    }

    /// Number of shards, 1 to 1,024, rounded up to a power of two. Default: near four times the cores, at most one for each 4 MiB of memory. Eviction depends on
    /// it, so set it where the same requests should give the same evictions on other machines.
    pub fn shards(mut self, count: usize) -> Self {
        self.config.shards = Some(count);
        self
    }

    /// Length of a segment file, 64 KiB to 1 GiB, rounded down to 4 KiB. Default: the disk budget / 128, at least 1 MiB; for
    /// budgets under 32 MiB that / 32. It bounds the size of an entry on disk.
    pub fn segment_len_bytes(mut self, bytes: u64) -> Self {
        self.config.segment_len_bytes = Some(bytes);
        self
    }

    /// Length of the append buffer, 16 KiB to 1 GiB: what a SIGKILL can lose under [`Durability::Buffered`], and the bound on the size of an entry on disk. Default:
    /// memory / 32, within 512 KiB to 16 MiB (memory / 8 at most).
    pub fn append_buffer_bytes(mut self, bytes: u64) -> Self {
        self.config.append_buffer_bytes = Some(bytes);
        self
    }

    /// Memory for the index of the disk tier, at least 4 KiB, and a page for each shard. It holds about one entry for each 9 bytes; when it is full the oldest segment goes. Default: enough for
    /// a disk full of entries of the [expected size](Self::expected_entry_bytes), at most a quarter of the memory.
    pub fn disk_index_bytes(mut self, bytes: u64) -> Self {
        self.config.disk_index_bytes = Some(bytes);
        self
    }

    /// Expected mean of key and value together, in bytes, 1 to 1 GiB, for dividing memory between entries and indexes. Default 256.
    pub fn expected_entry_bytes(mut self, bytes: u64) -> Self {
        self.config.expected_entry_bytes = bytes;
        self
    }

    /// One request in so many is measured, at random, 0 to 1,048,576; 0 for none. Default 256, which costs under one instruction in a hundred on a hit. What it
    /// is for: [`Stats::latency`](crate::Stats::latency) and [`Stats::ages`](crate::Stats::ages), which 0 leaves empty. Costs at most a 512th of the memory.
    pub fn sample_one_in(mut self, count: u32) -> Self {
        self.config.sample_one_in = count;
        self
    }

    /// Whether the cache keeps a page of its counters in the directory, for `emberlog inspect --watch` and other readers (`format-spec/11-counters.md`).
    /// Default true.
    ///
    /// It is the file `counters`, 44 KiB that are part of the disk budget, written over by maintenance about once a second while something changes, with one
    /// positioned write and no sync; under [`Maintenance::Manual`] by [`Cache::maintain`]. The first page comes a second after the open. It holds
    /// counts and sizes, no key and no value. If it cannot be written, it is given up until the next open.
    pub fn counters_page(mut self, is_kept: bool) -> Self {
        self.config.counters_page = is_kept;
        self
    }

    /// Where the time comes from. Default [`SystemClock`].
    ///
    /// ```
    /// use emberlog::{Cache, EntryOptions, ManualClock};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    /// let cache = Cache::builder().memory_bytes(4 << 20).shared_clock(clock.clone()).open_memory_only()?;
    /// cache.insert_with("session", "token", EntryOptions::new().time_to_live(Duration::from_secs(60)));
    /// clock.advance(Duration::from_secs(59));
    /// assert!(cache.contains_key("session"));
    /// clock.advance(Duration::from_secs(1));
    /// assert!(!cache.contains_key("session"));
    /// # Ok(()) }
    /// ```
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same, shared with the caller.
    pub fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes salts and uids from a seed instead of the system, so that files are reproducible. For tests: a salt that others know is no protection
    /// against keys made to collide.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.random_seed = Some(seed);
        self
    }

    /// Opens the store in this directory, or creates one, and recovers what it holds. Takes time with the events in the log, not with the bytes of
    /// its values: [restart](crate::guide::restart).
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidConfig`]: settings are out of range, or a budget cannot work; see [`Config::validate`].
    /// - [`ErrorKind::Locked`]: another handle has the directory open; the message names the process.
    /// - [`ErrorKind::NotAStore`], [`ErrorKind::Incompatible`], [`ErrorKind::Damaged`], [`ErrorKind::Insecure`]: see there. Nothing was touched.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: the medium.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Cache, Error> {
        let path = path.as_ref();
        // Settings first: a mistake there should not leave a directory behind.
        super::plan::Plan::new(&self.config, true)?;
        let disk = OsDisk::open_or_create(path).map_err(|error| {
            let context = format!("cannot open the directory {}", path.display());
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let foreign = error.kind() == io::ErrorKind::NotADirectory;
            let error = Error::io(context, error);
            match (denied, foreign) {
                (true, _) => error.with_kind(ErrorKind::Insecure),
                (_, true) => error.with_kind(ErrorKind::NotAStore),
                _ => error,
            }
        })?;
        open::open(self, Arc::new(disk))
    }

    /// Opens the store on a disk of the caller's, such as a [`SimDisk`](crate::disk::SimDisk); [durability](crate::guide::durability#a-crash-that-you-can-run)
    /// has an example.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Cache, Error> {
        open::open(self, disk)
    }

    /// Opens a cache without a disk tier: the same code without a log, and without threads. Settings of the disk tier are not looked at.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
    /// cache.insert("key", "value");
    /// assert!(cache.stats().disk.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the memory budget cannot work.
    pub fn open_memory_only(self) -> Result<Cache, Error> {
        open::open_memory_only(self)
    }
}
