//! What settings come to: how both budgets are divided, what fits, and what other budgets would give.
//!
//! Knows: names and words for what the plan computed. Does not know: any arithmetic of its own but sums and shares; all sizes are the [`Plan`]'s.
//!
//! Invariants
//!  I-EXP-1  The parts of each budget sum to that budget, what is left over included.

use super::config::Config;
use super::plan::{DISK_OVERHEAD_BYTES, Plan};
use crate::error::{Error, ErrorKind};
use crate::log::LogPlan;
use crate::units::{exact_bytes, show_bytes, show_count};
use serde::Serialize;
use std::fmt;

/// Rates at which the time of a turnover is told, in bytes per second.
const RATES: [u64; 2] = [10_000_000, 100_000_000];

/// What settings come to; made by [`Config::explain`]. Its `Display` is a page for people, serialized it is for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The settings.
    pub config: Config,
    /// How they divide the budgets.
    pub split: Split,
    /// The same with other budgets: half the memory, twice, half the disk, twice. What is set by hand stays, defaults follow.
    pub others: Vec<Alternative>,
}

/// What one other budget would give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alternative {
    /// What differs, as in `memory / 2`.
    pub change: &'static str,
    /// All memory.
    pub memory_bytes: u64,
    /// All storage.
    pub disk_bytes: u64,
    /// How the budgets would be divided; `None` if that does not work.
    pub split: Option<Split>,
    /// Why it does not.
    pub problem: Option<String>,
}

/// Both budgets, and what fits them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Split {
    /// Number of shards.
    pub shard_count: usize,
    /// The memory budget.
    pub memory: MemorySplit,
    /// The disk budget.
    pub disk: DiskSplit,
}

/// The memory budget. The parts sum to `limit_bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemorySplit {
    /// The budget.
    pub limit_bytes: u64,
    /// Entries in memory with their headers: the arenas.
    pub entries_bytes: u64,
    /// The index of the memory tier.
    pub index_bytes: u64,
    /// Ghosts: hashes of what was evicted.
    pub ghost_bytes: u64,
    /// The index of the disk tier.
    pub disk_index_bytes: u64,
    /// The append buffer.
    pub append_buffer_bytes: u64,
    /// The staging buffer of the writer.
    pub staging_bytes: u64,
    /// States of segments.
    pub segment_states_bytes: u64,
    /// What maintenance takes while it runs, and the page of counters.
    pub working_bytes: u64,
    /// Histograms, and tables of watched entries.
    pub statistics_bytes: u64,
    /// Shards, threads, what is owed to the log.
    pub fixed_bytes: u64,
    /// Links between chunks, a page for each shard, and what rounding leaves.
    pub rest_bytes: u64,
    /// Entries of `expected_entry_bytes` that the memory tier holds.
    pub entry_count: u64,
    /// The most bytes of key and value that an entry in memory has; with an expiry too.
    pub largest_entry_bytes: u64,
}

/// The disk budget when the log is full. `segments_bytes`, `spare_bytes`, `slack_bytes`, `warm_list_bytes`, `overhead_bytes` and `rest_bytes` sum to
/// `limit_bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskSplit {
    /// The budget.
    pub limit_bytes: u64,
    /// Length of one segment.
    pub segment_len_bytes: u64,
    /// Segments, the spare not counted.
    pub segment_count: u64,
    /// Those segments.
    pub segments_bytes: u64,
    /// The spare segment, made ahead of need.
    pub spare_bytes: u64,
    /// What file systems may add to segments.
    pub slack_bytes: u64,
    /// The warm list, as long as memory could make it; 0 if there is no room for one.
    pub warm_list_bytes: u64,
    /// Identity, lock, directory and the page of counters.
    pub overhead_bytes: u64,
    /// Less than a segment.
    pub rest_bytes: u64,
    /// Entries of `expected_entry_bytes` that can be found on disk: those that there is room for, as far as the index can name them.
    pub entry_count: u64,
    /// Entries that the segments have room for.
    pub room_for_entries: u64,
    /// Entries that the index can name. Where these are fewer, a larger `disk_index_bytes` or `memory_bytes` would use the disk better.
    pub index_entry_count: u64,
    /// The most bytes of key and value that an entry on disk has, with the `time_to_live` that is set.
    pub largest_entry_bytes: u64,
    /// How long it takes until all that is in the log has been replaced.
    pub turnover: Vec<Turnover>,
}

/// How long the log lasts at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Turnover {
    /// Bytes appended per second.
    pub bytes_per_s: u64,
    /// Milliseconds until the oldest record has gone.
    pub after_ms: u64,
}

impl Config {
    /// Says how these settings divide both budgets, what fits, and what half and twice the budgets would give.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let mut config = emberlog::Config::default();
    /// config.memory_bytes = 256 << 20;
    /// config.disk_bytes = 10 << 30;
    /// let explanation = config.explain()?;
    /// assert!(explanation.split.memory.entries_bytes > 128 << 20);
    /// // The index takes a quarter of the memory at most, and cannot name all that would fit this disk.
    /// assert!(explanation.split.disk.index_entry_count < explanation.split.disk.room_for_entries);
    /// println!("{explanation}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn explain(&self) -> Result<Explanation, Error> {
        let split = split(self)?;
        let twice = |bytes: u64| bytes.saturating_mul(2);
        let changes = [
            ("memory / 2", self.memory_bytes / 2, self.disk_bytes),
            ("memory x 2", twice(self.memory_bytes), self.disk_bytes),
            ("disk / 2", self.memory_bytes, self.disk_bytes / 2),
            ("disk x 2", self.memory_bytes, twice(self.disk_bytes)),
        ];
        let others = changes.map(|(change, memory_bytes, disk_bytes)| {
            let other = self::split(&Self { memory_bytes, disk_bytes, ..self.clone() });
            let problem = other.as_ref().err().map(ToString::to_string);
            Alternative { change, memory_bytes, disk_bytes, split: other.ok(), problem }
        });
        Ok(Explanation { config: self.clone(), split, others: others.into() })
    }
}

fn split(config: &Config) -> Result<Split, Error> {
    let plan = Plan::new(config, true)?;
    let lacking = || Error::new(ErrorKind::InvalidConfig, "there is no disk tier to explain");
    let disk = plan.disk.as_ref().ok_or_else(lacking)?;
    let shards = plan.shard_count as u64;
    let entry_bytes = config.expected_entry_bytes;

    let mut memory = MemorySplit {
        limit_bytes: config.memory_bytes,
        entries_bytes: plan.memory.arena_bytes as u64 * shards,
        index_bytes: plan.memory.index_bytes as u64 * shards,
        ghost_bytes: plan.memory.ghost_bytes as u64 * shards,
        disk_index_bytes: disk.index_bytes_per_shard as u64 * shards,
        append_buffer_bytes: disk.log.buffer_bytes as u64,
        staging_bytes: disk.log.staging_bytes as u64,
        segment_states_bytes: disk.states_bytes,
        working_bytes: disk.working_bytes,
        statistics_bytes: plan.statistics_bytes,
        fixed_bytes: plan.fixed_bytes
            - disk.log.memory_bytes()
            - disk.states_bytes
            - disk.working_bytes
            - plan.statistics_bytes,
        rest_bytes: 0,
        entry_count: plan.memory_entry_count(entry_bytes),
        largest_entry_bytes: plan.memory.entry_bytes_max() as u64,
    };
    memory.rest_bytes = memory.limit_bytes - memory.parts().iter().map(|(_, bytes)| bytes).sum::<u64>();

    let space = disk.space(memory.entry_count);
    let segment_len = u64::from(disk.log.segment_len_bytes);
    let room_for_entries = disk.room_for_entries(space, entry_bytes);
    let index_entry_count = disk.index_entry_count(plan.shard_count);
    let segments_bytes = (space.segment_count - 1) * segment_len;
    let mut disk = DiskSplit {
        limit_bytes: config.disk_bytes,
        segment_len_bytes: segment_len,
        segment_count: space.segment_count - 1,
        segments_bytes,
        spare_bytes: segment_len,
        slack_bytes: space.segment_count * LogPlan::slack_bytes(disk.log.segment_len_bytes),
        warm_list_bytes: space.warm_list_bytes,
        overhead_bytes: DISK_OVERHEAD_BYTES,
        rest_bytes: 0,
        entry_count: room_for_entries.min(index_entry_count),
        room_for_entries,
        index_entry_count,
        largest_entry_bytes: disk.entry_bytes_max(),
        turnover: RATES
            .map(|bytes_per_s| Turnover { bytes_per_s, after_ms: segments_bytes * 1000 / bytes_per_s })
            .into(),
    };
    disk.rest_bytes = disk.limit_bytes - disk.parts().iter().map(|(_, bytes)| bytes).sum::<u64>();
    Ok(Split { shard_count: plan.shard_count, memory, disk })
}

impl MemorySplit {
    /// Every part with its words, the largest concerns first. Together they are the budget.
    fn parts(&self) -> [(String, u64); 11] {
        [
            ("entries", self.entries_bytes),
            ("index of memory", self.index_bytes),
            ("ghosts", self.ghost_bytes),
            ("index of the disk", self.disk_index_bytes),
            ("append buffer", self.append_buffer_bytes),
            ("staging", self.staging_bytes),
            ("states of segments", self.segment_states_bytes),
            ("maintenance", self.working_bytes),
            ("statistics", self.statistics_bytes),
            ("shards, threads", self.fixed_bytes),
            ("links, rounding", self.rest_bytes),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
    }
}

impl DiskSplit {
    fn parts(&self) -> [(String, u64); 6] {
        let segments =
            format!("{} segments of {}", show_count(self.segment_count), exact_bytes(self.segment_len_bytes));
        [
            (segments, self.segments_bytes),
            ("the spare".to_owned(), self.spare_bytes),
            ("slack of files".to_owned(), self.slack_bytes),
            ("warm list".to_owned(), self.warm_list_bytes),
            ("identity, lock, counters".to_owned(), self.overhead_bytes),
            ("left over".to_owned(), self.rest_bytes),
        ]
    }
}

/// What the table says of one split.
type Row = (&'static str, fn(&Split) -> String);

const ROWS: [Row; 9] = [
    ("entries in memory", |split| show_count(split.memory.entry_count)),
    ("entries on disk", |split| show_count(split.disk.entry_count)),
    ("room on disk for", |split| show_count(split.disk.room_for_entries)),
    ("index of the disk", |split| show_bytes(split.memory.disk_index_bytes)),
    ("append buffer", |split| show_bytes(split.memory.append_buffer_bytes)),
    ("largest in memory", |split| show_bytes(split.memory.largest_entry_bytes)),
    ("largest on disk", |split| show_bytes(split.disk.largest_entry_bytes)),
    ("log lasts at 10 MB/s", |split| show_turnover(split, 0)),
    ("log lasts at 100 MB/s", |split| show_turnover(split, 1)),
];

fn show_turnover(split: &Split, which: usize) -> String {
    split.disk.turnover.get(which).map_or_else(String::new, |turnover| show_ms(turnover.after_ms))
}

/// A time for people, in the unit that leaves two digits or more.
fn show_ms(ms: u64) -> String {
    let (second, minute, hour, day) = (1000, 60_000, 3_600_000, 86_400_000);
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", ms / second, ms % second / 100),
        10_000..600_000 => format!("{} s", ms / second),
        600_000..36_000_000 => format!("{} min", ms / minute),
        36_000_000..864_000_000 => format!("{} h", ms / hour),
        _ => format!("{} d", ms / day),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Split { shard_count, memory, disk } = &self.split;
        let parts = |f: &mut fmt::Formatter<'_>, name: &str, limit_bytes: u64, parts: &[(String, u64)]| {
            writeln!(f, "{name:<30}{:>12}", show_bytes(limit_bytes))?;
            for (name, bytes) in parts {
                let tenths = (u128::from(*bytes) * 1000 + u128::from(limit_bytes) / 2) / u128::from(limit_bytes.max(1));
                writeln!(f, "  {name:<28}{:>12}{:>6}.{} %", show_bytes(*bytes), tenths / 10, tenths % 10)?;
            }
            Ok(())
        };
        parts(f, "memory", memory.limit_bytes, &memory.parts())?;
        parts(f, "disk", disk.limit_bytes, &disk.parts())?;
        let entry = exact_bytes(self.config.expected_entry_bytes);
        writeln!(
            f,
            "{} shard{}, entries of {entry}",
            show_count(*shard_count as u64),
            if *shard_count == 1 { "" } else { "s" }
        )?;
        if disk.index_entry_count < disk.room_for_entries {
            writeln!(
                f,
                "the index names {} of the {} entries that the disk has room for: more disk_index_bytes or memory_bytes would use it",
                show_count(disk.index_entry_count),
                show_count(disk.room_for_entries)
            )?;
        }

        write!(f, "\n{:<23}{:>13}", "", "as set")?;
        self.others.iter().try_for_each(|other| write!(f, "{:>13}", other.change))?;
        write!(f, "\n{:<23}{:>13}", "memory_bytes", show_bytes(memory.limit_bytes))?;
        self.others.iter().try_for_each(|other| write!(f, "{:>13}", show_bytes(other.memory_bytes)))?;
        write!(f, "\n{:<23}{:>13}", "disk_bytes", show_bytes(disk.limit_bytes))?;
        self.others.iter().try_for_each(|other| write!(f, "{:>13}", show_bytes(other.disk_bytes)))?;
        for (name, show) in ROWS {
            write!(f, "\n{name:<23}{:>13}", show(&self.split))?;
            for other in &self.others {
                write!(f, "{:>13}", other.split.as_ref().map_or_else(|| "-".to_owned(), show))?;
            }
        }
        writeln!(f)?;
        for other in &self.others {
            if let Some(problem) = &other.problem {
                writeln!(f, "{}: {problem}", other.change)?;
            }
        }
        Ok(())
    }
}
