//! A persistent cache that a long-running service embeds: byte strings under byte-string keys, in memory and on disk, within
//! budgets in bytes.
//!
//! It is for services that have objectives for latency and hit ratio, and that restart: after a clean stop, a `kill -9` or a power cut
//! the cache opens with what its log holds, and serves it. A value that was removed or replaced does not come back, as far as the
//! [durability](guide::durability) that was chosen reaches. Both budgets are limits: every part lives within a share that is fixed when
//! the cache opens, and the shares sum to the budget.
//!
//! # When not to use it
//! - As a database. A cache may drop any entry at any time; what must not be lost belongs elsewhere.
//! - For several processes at once. One handle has the directory; a second open is [`ErrorKind::Locked`]. (Clones of a [`Cache`] share
//!   one handle.)
//! - On a network file system. The crash contract in [`disk`] needs `flock`, preallocation and syncs that mean what they say.
//! - For small, short-lived data that nobody misses after a restart, if the fastest read is all that counts: hits are copied out, so
//!   that budgets stay strict and no caller's code runs under a lock. [`Builder::open_memory_only`] has the same cost.
//! - For values that are dear to encode and cheap to share, such as an `Arc` of a parsed tree: the cache holds bytes.
//! - Outside Linux: that is where it is built and tested.
//!
//! # Quick start
//! ```
//! use emberlog::{Cache, EntryOptions};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), emberlog::Error> {
//! # let parent = tempfile::tempdir().unwrap();
//! # let path = parent.path().join("cache");
//! let cache = Cache::builder().memory_bytes(32 << 20).disk_bytes(256 << 20).open(&path)?;
//!
//! let outcome = cache.insert("user:42", "Ada");
//! assert!(outcome.is_stored());
//! cache.insert_with("session:7", "token", EntryOptions::new().time_to_live(Duration::from_secs(600)));
//!
//! let name = cache.get("user:42"); // Option<bytes::Bytes>, owned
//! assert_eq!(name.as_deref(), Some(b"Ada".as_slice()));
//! let length = cache.read("user:42", |value| value.len()); // lent, no allocation up to 4 KiB
//! assert_eq!(length, Some(3));
//! let page = cache.get_with("page:9", || format!("rendered {}", 9)); // loaded on a miss, once for all who ask meanwhile
//! assert_eq!(page, "rendered 9");
//!
//! assert!(cache.remove("session:7"));
//! cache.close()?;
//!
//! // Another process, later.
//! let cache = Cache::builder().memory_bytes(32 << 20).disk_bytes(256 << 20).open(&path)?;
//! assert_eq!(cache.get("user:42").as_deref(), Some(b"Ada".as_slice()));
//! assert_eq!(cache.get("session:7"), None);
//! # Ok(()) }
//! ```
//!
//! # The guide
//! | chapter | question |
//! | --- | --- |
//! | [Budgets](guide::budgets) | What do the two budgets cover, and how large should they be? |
//! | [Durability](guide::durability) | What may a kill, a power cut, a failing disk take? |
//! | [Restart](guide::restart) | What comes back, when, and what does an operator see of it? |
//! | [Tuning](guide::tuning) | Which setting is for what, and which counter tells that it needs another value? |
//! | [Observing](guide::observing) | Which figures are there, which events, and what do they mean? |
//! | [Operations](guide::operations) | Containers, file systems, limits, full disks, clocks, upgrades |
//! | [From moka](guide::from_moka), [from foyer](guide::from_foyer) | What corresponds to what? |
//! | [Guarantees](guide::guarantees) | What is promised, and which test proves it? |
//!
//! The rest of this page is each subject in a paragraph.
//!
//! # Budgets
//! [`Builder::memory_bytes`] covers all memory that the cache keeps: entries, both indexes, ghosts, append and staging buffers, segment
//! states. [`Builder::disk_bytes`] covers the allocated blocks of every file in the directory, temporary files and retired segments that
//! are still mapped included. Budgets that cannot work are an error that names the smallest that would. Outside: the page cache, the page
//! tables of the mappings (2 MiB for each GiB touched), and the copies of values that are handed out. An entry that is too large for
//! a tier is refused there, and counted. More: [budgets](guide::budgets).
//!
//! # Configuration
//! All settings that can be written down are one [`Config`]: from TOML (feature `toml`) or anything else that serde reads, from
//! environment variables, or set in code. The [`Builder`] holds one and adds what is an object, such as a clock. Settings are checked
//! together, before anything is touched, and everything that is wrong is said at once. [`Config::explain`] says what they come to.
//! ```
//! use emberlog::Config;
//!
//! # fn main() -> Result<(), emberlog::Error> {
//! # #[cfg(feature = "toml")] {
//! let file = r#"
//!     memory_bytes = "256MiB"
//!     disk_bytes = "10GiB"
//!     durability = "written"   # buffered, written, synced
//!     time_to_live = "7d"
//! "#;
//! let variables = [("SHOP_CACHE_MEMORY_BYTES", "512MiB")]; // `with_env` takes the process's
//! let config = Config::from_toml_str(file)?.with_variables("SHOP_CACHE_", variables)?;
//! assert_eq!(config.memory_bytes, 512 << 20);
//! config.validate()?;
//!
//! let split = config.explain()?.split;
//! assert!(split.memory.entry_count < split.disk.entry_count);
//! # }
//! # Ok(()) }
//! ```
//!
//! # Durability
//! | | a call returns when | SIGKILL loses | a power cut loses |
//! | --- | --- | --- | --- |
//! | [`Durability::Buffered`] (default) | the record is in the append buffer | at most that buffer | what the system had not written back |
//! | [`Durability::Written`] | the kernel has it | nothing | the same |
//! | [`Durability::Synced`] | the medium has it; callers share syncs | nothing | nothing |
//!
//! What a crash takes is always the end of the log: where an event survives, all before it did. [`Cache::flush`] makes everything so far
//! as good as `Synced`, or errs. A failed write or sync is never retried, as the kernel forgets what it could not write: the disk tier
//! goes off until the next open, requests go on from memory, `flush` errs, and [`DiskStats::off_because`] says why. When inserts come
//! faster than the disk takes them, they wait for room, in order of asking, or with [`WhenBehind::Drop`] stay in memory only. More:
//! [durability](guide::durability).
//!
//! # Loading
//! [`Cache::get_with`] and [`Cache::try_get_with`] load what is missing with a closure of the caller's, in the caller's thread. Of all who
//! miss a key at once one loads, and the others share its value or its error; a closure that panics leaves the load to the next of them.
//! Errors are not stored. An insert, a remove or an invalidation that comes while a load is under way wins: who asks after it is never
//! served what was loaded before it.
//! ```
//! # fn main() -> Result<(), emberlog::Error> {
//! # fn from_database(user: u32) -> Result<String, std::io::Error> { Ok(format!("user {user}")) }
//! # let cache = emberlog::Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
//! let user = cache.try_get_with("user:7", || from_database(7)).expect("the database is up");
//! assert_eq!(user, "user 7");
//! # Ok(()) }
//! ```
//!
//! # Restart
//! There is one way to open a store, the same after every kind of stop. It reads the footers of the sealed segments, scans the unsealed
//! tail, writes nothing until it knows what to believe, and returns with the whole index in place. Damage becomes misses: never a wrong
//! value, never an older one. [`Stats::recovery`] says what was found, kept and forgotten, and why. Then, behind requests, memory is
//! filled again from the log, the records first that memory held before. More: [restart](guide::restart).
//!
//! # Statistics
//! [`Cache::stats`] is a snapshot as plain data: counts, bytes by account, latencies and ages as [`Histogram`]s. [`Stats::to_openmetrics`] writes it for
//! Prometheus, [`metrics`] has the rest: names, the facade (feature `metrics`), the dashboard in `tools/grafana/`. One request in 256 is measured, which costs a
//! hit less than one instruction in a hundred; [`Builder::sample_one_in`] sets that. Rare transitions are `tracing` events: open and close (info), a
//! disk tier that goes off (error), damage, and the first value that is dropped for a reason (warn), segments that are retired (debug). Requests never are.
//! ```
//! # fn main() -> Result<(), emberlog::Error> {
//! let cache = emberlog::Cache::builder().memory_bytes(4 << 20).sample_one_in(1).open_memory_only()?;
//! cache.insert("key", "value");
//! cache.get("key");
//! let stats = cache.stats();
//! assert_eq!(stats.latency.memory_hit_ns.count(), 1);
//! assert!(stats.to_openmetrics().contains("emberlog_reads_total{outcome=\"memory_hit\"} 1"));
//! # Ok(()) }
//! ```
//!
//! # Types
//! The cache itself is bytes. [`typed::TypedCache`] is a layer over it for values that serde knows, under keys that serde knows; the default
//! [`Codec`](typed::Codec) is bincode 2, and any other can take its place. A stored value says its type, version and codec: what does not fit, or does not
//! decode, is a counted miss. Plain old data is lent without decoding. Any number of typed caches share one [`Cache`].
//! ```
//! # #[cfg(feature = "typed")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use emberlog::{Cache, typed::TypedCache};
//!
//! let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
//! let routes = TypedCache::<(String, String), Vec<u32>>::new(cache, "route");
//! let key = ("A".to_owned(), "B".to_owned());
//! routes.insert(&key, &vec![7, 12, 3])?;
//! assert_eq!(routes.get(&key), Some(vec![7, 12, 3]));
//! # Ok(()) }
//! # #[cfg(not(feature = "typed"))]
//! # fn main() {}
//! ```
//!
//! # Features
//! | feature | | adds |
//! | --- | --- | --- |
//! | `typed` | on by default | the module [`typed`], with [`BincodeCodec`](typed::BincodeCodec) and [`PodCodec`](typed::PodCodec) |
//! | `postcard` | | `typed::PostcardCodec` |
//! | `toml` | | [`Config`] from TOML and to it |
//!
//! # Reading the source
//! `ARCHITECTURE.md` has the walks, the locks and the decisions; `format-spec/` the bytes on disk. Floors, lowest first; each imports
//! only from below:
//!
//! | floor | module | question that it answers |
//! | --- | --- | --- |
//! | 0 | `error` `sync` [`clock`] `budget` `counters` `hash` `histogram` `random` [`units`] | what everybody needs |
//! | 1 | [`mod@format`] | which bytes, and are they sound? |
//! | 1 | `policy` | what is worth keeping? |
//! | 2 | [`disk`] | what does the system promise of files, and what survives a crash? |
//! | 3 | [`log`] | where does the next record go, and who may still read the old ones? |
//! | 3 | `ring` | where do entries lie in memory? |
//! | 4 | `index` | where is the newest version of a key? |
//! | 5 | `shard` | what does one lock guard? |
//! | 5 | [`recovery`] | which events count, and what does damage mean? |
//! | 6 | `compaction` | what is kept of a segment that goes? What comes back to memory after a restart? |
//! | 7 | `cache` `observe` | how do the tiers work together, and what does the cache tell of itself? |
//! | 8 | [`metrics`] | how do statistics reach monitoring? |
//! | 8 | [`typed`] | how do values of types become bytes, and bytes that do not fit misses? |
//! | 9 | [`guide`] | prose only |
//!
//! [`mod@format`], [`log`], [`recovery`] and [`disk`] are public for tools and tests that read a store without opening it or bring a disk of their own.
//! What they show follows the version of the disk format, not that of the crate: it may change whenever the format does.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "typed"), allow(rustdoc::broken_intra_doc_links, reason = "the pages tell of `typed`, too"))]

mod budget;
mod cache;
pub mod clock;
mod compaction;
mod counters;
pub mod disk;
mod error;
pub mod format;
pub mod guide;
mod hash;
mod histogram;
mod index;
pub mod log;
pub mod metrics;
mod observe;
mod policy;
mod random;
pub mod recovery;
mod ring;
mod shard;
mod sync;
#[cfg(feature = "typed")]
pub mod typed;
pub mod units;

pub use cache::{
    Alternative, Builder, Cache, Config, DiskSplit, Durability, EntryOptions, Explanation, InsertOutcome, Maintained,
    Maintenance, MaintenanceBudget, MemorySplit, QuietWindows, ReadMode, Refusal, Split, TierOutcome, Turnover,
    WhenBehind,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind};
pub use histogram::{Bucket, Histogram};
pub use observe::{
    AgeStats, DiskAccounts, DiskStats, LatencyStats, MemoryAccounts, MemoryStats, RecoveryReport, RequestStats, Stats,
    Temperature, Window, WindowEnd, WindowReason, WindowStats,
};
