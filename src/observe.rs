//! What a cache tells about itself: one snapshot, pulled from the counters that each part owns.

use crate::histogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A snapshot of everything the cache counts. Counts are since open; bytes are now.
///
/// ```
/// # fn main() -> Result<(), emberlog::Error> {
/// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// cache.insert("key", "value");
/// cache.get("key");
/// let stats = cache.stats();
/// assert_eq!((stats.requests.hits, stats.requests.misses), (1, 0));
/// assert!(stats.memory.held_bytes <= stats.memory.limit_bytes);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests, both tiers together.
    pub requests: RequestStats,
    /// The memory tier, and all memory.
    pub memory: MemoryStats,
    /// The disk tier, if there is one.
    pub disk: Option<DiskStats>,
    /// Quiet windows, if there is a disk tier.
    pub windows: Option<WindowStats>,
    /// What opening found.
    pub recovery: Option<RecoveryReport>,
    /// How long requests take.
    pub latency: LatencyStats,
    /// How old entries are, and get.
    pub ages: AgeStats,
}

/// Requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RequestStats {
    /// Reads that found a value: `get`, `read`, `peek`, and the first look of `get_with` and its like.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Inserts.
    pub inserts: u64,
    /// Removes.
    pub removes: u64,
    /// Loads that were begun by `get_with` and its like. What they store is not counted as inserts.
    pub loads: u64,
    /// Of these, the ones that ended with an error.
    pub load_errors: u64,
    /// Requests that were served by another one's load, errors included.
    pub loads_shared: u64,
    /// Loads whose value was not stored, because the key was inserted, removed or invalidated meanwhile.
    pub loads_overtaken: u64,
}

/// The memory tier, and all memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Reads served from memory.
    pub hits: u64,
    /// Entries, expired ones included until they leave.
    pub entries: u64,
    /// Bytes of live entries with their headers.
    pub live_bytes: u64,
    /// Memory taken by all parts of the cache.
    pub held_bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
    /// What is held, by account.
    pub accounts: MemoryAccounts,
    /// What the budget was divided into at open, by account.
    pub accounts_planned: MemoryAccounts,
    /// What of it something lies in now, by account: live entries and their slots in the index, slots of the index of the disk tier, bytes that wait in the append
    /// buffer. The other accounts are taken for good.
    pub accounts_used: MemoryAccounts,
    /// Entries promoted from disk.
    pub promotions: u64,
    /// Entries read back from disk after a restart, because memory had held them before.
    pub restored: u64,
    /// Entries refused because they are larger than an eighth of a shard's memory.
    pub refused_oversize: u64,
    /// Entries evicted.
    pub evicted: u64,
    /// Expired entries dropped.
    pub expired: u64,
    /// Entries dropped because the index had no place for them, or another key of the same tag took it.
    pub dropped_by_index: u64,
    /// Entries moved within the rings instead of evicted.
    pub moved: u64,
    /// Entries that were remembered after their eviction.
    pub ghost_hits: u64,
}

/// Memory by account, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryAccounts {
    /// Rings, index and ghosts of the memory tier.
    pub memory_tier: u64,
    /// Index of the disk tier.
    pub disk_index: u64,
    /// Append buffer and write staging.
    pub append_buffer: u64,
    /// Histograms, and tables of watched entries.
    pub statistics: u64,
    /// Segment states, working memory of sealing and retiring, shards, the cache itself.
    pub fixed: u64,
}

/// The disk tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DiskStats {
    /// Whether it is in use; off after a failed write or sync.
    pub is_on: bool,
    /// Reads served from disk (or from the append buffer).
    pub hits: u64,
    /// Slots of the index in use: records that can be found.
    pub entries: u64,
    /// Slots of the index.
    pub index_capacity: u64,
    /// Storage charged to the budget: allocated blocks of all files, and for segments that are not sealed what they may come to.
    pub used_bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
    /// What is charged, by account.
    pub accounts: DiskAccounts,
    /// What the budget is divided into when the log is full, by account.
    pub accounts_planned: DiskAccounts,
    /// Keys and values that were accepted.
    pub bytes_accepted: u64,
    /// Records that requests appended: the same with headers and padding, and tombstones. What is appended again is
    /// measured against this.
    pub bytes_requested: u64,
    /// Bytes written to files, the page of counters excepted.
    pub bytes_written: u64,
    /// Bytes that wait in the append buffer.
    pub buffered_bytes: u64,
    /// Segments now.
    pub segments: u64,
    /// Segments retired.
    pub segments_retired: u64,
    /// Of these, because the index was full.
    pub segments_retired_for_index: u64,
    /// Records appended again before their segment went.
    pub records_reinserted: u64,
    /// Bytes of these.
    pub bytes_reinserted: u64,
    /// Records that were live when their segment was retired, and that memory did not hold until they could be appended again.
    pub dropped_with_segment: u64,
    /// Values refused because they are larger than the log takes.
    pub dropped_oversize: u64,
    /// Values not written because the writer was behind.
    pub dropped_behind: u64,
    /// Values not written because the disk tier was off.
    pub dropped_off: u64,
    /// Slots dropped because both their buckets were full.
    pub dropped_by_index: u64,
    /// Values that only memory held at close, and for which the log had no room.
    pub dropped_at_close: u64,
    /// Records that did not verify when they were read: misses.
    pub damaged_records: u64,
    /// Sequence number of the last event: events are counted from the first of the store, across restarts.
    pub last_seqno: u64,
    /// That of the last event that was handed to the kernel: a SIGKILL loses what is behind it.
    pub written_seqno: u64,
    /// That of the last event that is durable: a power cut may lose what is behind it.
    pub synced_seqno: u64,
    /// Syncs of data.
    pub syncs: u64,
    /// Whether the page of counters could not be written, after which it is not tried again: 0 or 1.
    pub counters_failures: u64,
    /// Why the tier is off.
    pub off_because: Option<String>,
}

/// Quiet windows: time for work ahead of need. See [`QuietWindows`](crate::QuietWindows).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WindowStats {
    /// Whether one is open.
    pub is_open: bool,
    /// Windows so far, the open one included.
    pub count: u64,
    /// Milliseconds for which windows were open.
    pub lasted_ms: u64,
    /// Records appended again in windows.
    pub records_moved: u64,
    /// Bytes of these.
    pub bytes_moved: u64,
    /// Requests per second over about the last second, as far as the load was looked at.
    pub load_per_s: u64,
    /// Requests per second that an average request of the last hours met: what the load is measured against.
    pub level_per_s: u64,
    /// The window that is open, or else the last in which anything was moved.
    pub last: Option<Window>,
}

/// One window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Window {
    /// Why it opened.
    pub why: WindowReason,
    /// Why it ended; `None` while it is open.
    pub ended: Option<WindowEnd>,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub began_unix_ms: u64,
    /// Milliseconds for which it was open.
    pub lasted_ms: u64,
    /// Requests per second when it began.
    pub load_per_s: u64,
    /// The level that they were measured against.
    pub level_per_s: u64,
    /// Records appended again in it.
    pub records_moved: u64,
    /// Bytes of these.
    pub bytes_moved: u64,
}

/// Why a window opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowReason {
    /// The load was far below its level.
    #[default]
    Quiet,
    /// [`Cache::maintain`](crate::Cache::maintain) was called.
    Asked,
    /// [`QuietWindows::Always`](crate::QuietWindows::Always) is set.
    Always,
}

/// Why a window ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowEnd {
    /// There was load again.
    LoadReturned,
    /// What was asked for was done.
    Done,
    /// The disk tier went off.
    DiskOff,
    /// The cache was closed.
    Closed,
}

/// Storage by account, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DiskAccounts {
    /// Segments and the spare.
    pub segments: u64,
    /// The warm list; for moments also segments that are being made, and retired ones that are still read.
    pub warm_list: u64,
    /// Identity, lock and directory.
    pub overhead: u64,
}

/// How long requests take, in nanoseconds, from call to return, closures of the caller's not included. Waits are: for room, for durability.
///
/// One request in `sampled_one_in` is measured, at random, whatever its key, so a histogram's count is that of its samples. What that costs: two looks at the
/// clock, some 450 instructions together, on those requests, and nothing to speak of on others. Loads are measured each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LatencyStats {
    /// One request in so many is measured; 0 for none: [`Builder::sample_one_in`](crate::Builder::sample_one_in).
    pub sampled_one_in: u64,
    /// Reads served from memory.
    pub memory_hit_ns: Histogram,
    /// Reads served from disk, promotion included.
    pub disk_hit_ns: Histogram,
    /// Reads that found nothing.
    pub miss_ns: Histogram,
    /// Inserts.
    pub insert_ns: Histogram,
    /// Removes.
    pub remove_ns: Histogram,
    /// What the closures of `get_with` and its like took. All of them, not a sample.
    pub load_ns: Histogram,
}

/// How old entries are and get. Ages in memory count from when the value came there: inserted, promoted or restored.
///
/// Memory: one entry in `watched_one_in` is watched, chosen by the hash of its key, so it is the same keys as long as the store lives. Ages are accurate to 17 ms,
/// idle times exact for entries that were hit less than three times since they were placed, and else too long by a third at most. Disk: a record is as old as its segment, so ages
/// are too long by up to the time that a segment takes to fill, and accurate to a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AgeStats {
    /// One entry in so many is watched; 0 for none.
    pub watched_one_in: u64,
    /// Watched entries in memory now.
    pub watched_entries: u64,
    /// Milliseconds since the oldest of them came to memory: tail age.
    pub memory_oldest_ms: Option<u64>,
    /// Milliseconds since the oldest segment was made, which goes next: tail age.
    pub disk_oldest_ms: Option<u64>,
    /// Milliseconds that watched entries were in memory when they were evicted.
    pub memory_at_eviction_ms: Histogram,
    /// Milliseconds that nobody had asked for them.
    pub memory_idle_at_eviction_ms: Histogram,
    /// Age of live records that went with their segment, in milliseconds.
    pub disk_at_drop_ms: Histogram,
    /// Hits in memory by the age of what they found, for sampled hits of watched entries. The shares are those of all hits; the counts are not.
    pub memory_hits: Temperature,
    /// The same on disk, for all sampled hits.
    pub disk_hits: Temperature,
}

/// Hits by the age of what they found. Each counts once, for the least limit that it is under.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Temperature {
    /// Under a second.
    pub under_1_s: u64,
    /// From there to under 10 seconds.
    pub under_10_s: u64,
    /// From there to under a minute.
    pub under_1_min: u64,
    /// From there to under 10 minutes.
    pub under_10_min: u64,
    /// From there to under an hour.
    pub under_1_h: u64,
    /// From there to under a day.
    pub under_1_day: u64,
    /// A day or more.
    pub older: u64,
}

impl Temperature {
    /// The counts, youngest first, with the upper limit of each in seconds; `None` for the last.
    pub fn classes(&self) -> [(Option<u64>, u64); 7] {
        [
            (Some(1), self.under_1_s),
            (Some(10), self.under_10_s),
            (Some(60), self.under_1_min),
            (Some(600), self.under_10_min),
            (Some(3_600), self.under_1_h),
            (Some(86_400), self.under_1_day),
            (None, self.older),
        ]
    }
}

/// What opening found, kept and forgot, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the store was created by this open.
    pub created: bool,
    /// Numbered files found.
    pub segments_found: u64,
    /// Segments that were kept.
    pub segments_kept: u64,
    /// Of these, sealed ones that were trusted by their footer.
    pub segments_trusted: u64,
    /// Events that counted.
    pub events: u64,
    /// Entries that can be found afterwards.
    pub entries: u64,
    /// Slots dropped because both their buckets were full.
    pub dropped_by_index: u64,
    /// Keys forgotten because their newest version is damaged.
    pub forgotten_keys: u64,
    /// How many times all that was older was forgotten.
    pub forgotten_older: u64,
    /// Whether the store was emptied because its clock mark is more than a day ahead of the clock.
    pub emptied_by_clock: bool,
    /// Nanoseconds that it took, from the lock on the directory to the whole index.
    pub duration_ns: u64,
    /// How many findings there were.
    pub finding_count: u64,
    /// How many of them are damage.
    pub damage_count: u64,
    /// The `findings` below, counted by their labels in `format-spec/07-recovery.md`.
    pub findings_by_label: BTreeMap<String, u64>,
    /// What was not as written; at most ten thousand.
    pub findings: Vec<crate::recovery::survey::Finding>,
}
