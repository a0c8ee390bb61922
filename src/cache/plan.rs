//! From settings to sizes: how both budgets are divided. Pure; every byte of memory that the cache takes has a line here.

use super::builder::{ReadMode, WhenBehind};
use super::check;
use super::config::Config;
use crate::compaction::{list_bytes, list_bytes_max};
use crate::error::{Error, ErrorKind};
use crate::format::footer;
use crate::format::location::SEGMENT_COUNT_MAX;
use crate::format::record::RecordHeader;
use crate::format::segment::{LEN_BYTES_MAX, LEN_BYTES_MIN, LEN_BYTES_STEP};
use crate::histogram::Recorder;
use crate::log::LogPlan;
use crate::observe::{DiskAccounts, MemoryAccounts};
use crate::shard::lives::LivesPlan;
use crate::shard::memory::MemoryPlan;

/// What files take beside segments: identity, lock, directory, page of counters.
pub(crate) const DISK_OVERHEAD_BYTES: u64 = 64 << 10;
/// Fewest segments with which the log can turn over: the active one, the spare, one that waits for its footer, one to retire.
pub(super) const SEGMENT_COUNT_MIN: u64 = 4;
/// Segments that may be retired and still mapped.
const PINNED_SEGMENTS: u64 = 8;
/// Most segments that a budget may be divided into, so that names are left for those that are retired and still mapped.
pub(super) const SEGMENT_COUNT_USABLE: u64 = SEGMENT_COUNT_MAX as u64 - PINNED_SEGMENTS;
/// Memory for one segment's state.
const SEGMENT_STATE_BYTES: u64 = 512;
/// A scan window, gathered footer entries and a footer read back, a piece of the warm list: what maintenance takes while it runs.
const WORKING_BYTES: u64 = (256 << 10) + (128 << 10) + crate::compaction::WARM_WORKING_BYTES;
/// State of the cache itself, its threads' first pages, the list of what is owed to the log.
const FIXED_BYTES: u64 = (64 << 10) + (32 << 10);
const SHARD_BYTES: u64 = 512;
/// Histograms: six of latencies, two of ages at eviction, one of ages on disk.
const HISTOGRAMS_BYTES: u64 = 9 * Recorder::LEN_BYTES;
/// Memory of the log's index for one entry, a full table and a half: what the default is made for, and what can be counted on.
const INDEX_BYTES_PER_ENTRY_WANTED: (u64, u64) = (21, 2);
const INDEX_BYTES_PER_ENTRY_LEAST: u64 = 9;
const PAGE_LEN: u64 = 4096;

/// All sizes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shard_count: usize,
    pub(crate) memory: MemoryPlan,
    pub(crate) disk: Option<DiskPlan>,
    /// Bytes by account, for statistics: fixed parts outside shards.
    pub(crate) fixed_bytes: u64,
    /// Of these: histograms, and tables of watched entries.
    pub(crate) statistics_bytes: u64,
    /// Tables of watched entries; none without sampling.
    pub(crate) lives: Option<LivesPlan>,
}

/// Sizes of the disk tier.
#[derive(Debug, Clone)]
pub(crate) struct DiskPlan {
    pub(crate) log: LogPlan,
    pub(crate) index_bytes_per_shard: usize,
    pub(crate) disk_bytes: u64,
    /// Length of a record's header: longer where entries have a time to live.
    header_len: u64,
    /// Of the fixed bytes: states of segments.
    pub(crate) states_bytes: u64,
    /// Of the fixed bytes: what maintenance takes while it runs, the page of counters included.
    pub(crate) working_bytes: u64,
}

/// How the disk budget is used when it is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskSpace {
    /// Segments that fit, the spare included.
    pub(crate) segment_count: u64,
    /// Room for the warm list; 0 where there is none to spare.
    pub(crate) warm_list_bytes: u64,
}

impl Plan {
    /// Divides both budgets.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with everything that is wrong.
    pub(crate) fn new(config: &Config, with_disk: bool) -> Result<Self, Error> {
        check::plan(config, with_disk).map_err(|problems| Error::new(ErrorKind::InvalidConfig, problems.join("; ")))
    }

    /// The same for settings that are each in range. `None` if the memory does not suffice.
    pub(super) fn divide(config: &Config, with_disk: bool) -> Option<Self> {
        let memory_bytes = config.memory_bytes;
        let cores = crate::sync::core_count();
        let by_memory = usize::try_from(memory_bytes / (4 << 20)).unwrap_or(usize::MAX).max(1);
        let default = (4 * cores).next_power_of_two().min(1 << by_memory.ilog2());
        let shard_count = config.shards.unwrap_or(default).next_power_of_two();
        let lives = (config.sample_one_in > 0).then(|| LivesPlan::for_shard(memory_bytes / shard_count as u64));
        let statistics_bytes = HISTOGRAMS_BYTES + lives.map_or(0, |lives| lives.held_bytes()) * shard_count as u64;
        let mut fixed_bytes = FIXED_BYTES + shard_count as u64 * SHARD_BYTES + statistics_bytes;
        let mut index_bytes = 0;
        let mut disk = None;
        if with_disk {
            let plan = disk_plan(config, shard_count as u64);
            fixed_bytes += plan.log.memory_bytes() + plan.states_bytes + plan.working_bytes;
            index_bytes = plan.index_bytes_per_shard as u64;
            disk = Some(plan);
        }
        let per_shard = memory_bytes.saturating_sub(fixed_bytes) / shard_count as u64;
        let for_memory = usize::try_from(per_shard.saturating_sub(index_bytes)).unwrap_or(usize::MAX);
        let expected = usize::try_from(config.expected_entry_bytes).unwrap_or(usize::MAX);
        MemoryPlan::split(for_memory, expected).map(|memory| {
            let lives = lives.map(|lives| lives.watching(memory.entry_count(expected) as u64));
            Self { shard_count, memory, disk, fixed_bytes, statistics_bytes, lives }
        })
    }

    /// Memory by account.
    pub(crate) fn memory_accounts(&self) -> MemoryAccounts {
        let MemoryPlan { arena_bytes, index_bytes, ghost_bytes } = self.memory;
        let per_shard = arena_bytes + index_bytes + ghost_bytes + MemoryPlan::FIXED_BYTES;
        let shard_count = self.shard_count as u64;
        let append_buffer = self.disk.as_ref().map_or(0, |disk| disk.log.memory_bytes());
        MemoryAccounts {
            memory_tier: per_shard as u64 * shard_count,
            disk_index: self.disk.as_ref().map_or(0, |disk| disk.index_bytes_per_shard as u64) * shard_count,
            append_buffer,
            statistics: self.statistics_bytes,
            fixed: self.fixed_bytes - append_buffer - self.statistics_bytes,
        }
    }

    /// Storage by account, when the log is full.
    pub(crate) fn disk_accounts(&self, expected_entry_bytes: u64) -> DiskAccounts {
        let Some(disk) = &self.disk else { return DiskAccounts::default() };
        let space = disk.space(self.memory_entry_count(expected_entry_bytes));
        DiskAccounts {
            segments: space.segment_count * disk.log.segment_charge_bytes(),
            warm_list: space.warm_list_bytes,
            overhead: DISK_OVERHEAD_BYTES,
        }
    }

    /// Entries with this many bytes of key and value that the memory tier holds.
    pub(crate) fn memory_entry_count(&self, entry_bytes: u64) -> u64 {
        let entry_bytes = usize::try_from(entry_bytes).unwrap_or(usize::MAX);
        self.memory.entry_count(entry_bytes) as u64 * self.shard_count as u64
    }
}

impl DiskPlan {
    /// How the budget is used, for a memory tier of so many entries.
    pub(crate) fn space(&self, memory_entry_count: u64) -> DiskSpace {
        let warm_list_bytes = list_bytes(memory_entry_count).min(list_bytes_max(self.disk_bytes));
        let usable = self.disk_bytes.saturating_sub(DISK_OVERHEAD_BYTES);
        let charge = self.log.segment_charge_bytes();
        // The list waits where there is no room for it.
        let warm_list_bytes =
            if usable.saturating_sub(warm_list_bytes) / charge < SEGMENT_COUNT_MIN { 0 } else { warm_list_bytes };
        let segment_count = ((usable - warm_list_bytes) / charge).min(SEGMENT_COUNT_USABLE);
        DiskSpace { segment_count, warm_list_bytes }
    }

    /// Entries with this many bytes of key and value that the segments have room for, without the spare and the room that is kept ahead of need, and
    /// with the active segment half full.
    pub(crate) fn room_for_entries(&self, space: DiskSpace, entry_bytes: u64) -> u64 {
        let record_len = (self.header_len + entry_bytes).next_multiple_of(RECORD_STEP);
        if record_len > self.log.record_len_max() {
            return 0;
        }
        let in_segment = self.log.segment_capacity_bytes() / (record_len + footer::ENTRY_LEN as u64);
        (space.segment_count - 2) * in_segment - in_segment / 2
    }

    /// Entries that the index can be counted on to name.
    pub(crate) fn index_entry_count(&self, shard_count: usize) -> u64 {
        self.index_bytes_per_shard as u64 * shard_count as u64 / INDEX_BYTES_PER_ENTRY_LEAST
    }

    /// The most bytes of key and value that a record takes.
    pub(crate) fn entry_bytes_max(&self) -> u64 {
        (self.log.record_len_max() / RECORD_STEP * RECORD_STEP).saturating_sub(self.header_len)
    }
}

const RECORD_STEP: u64 = crate::format::ALIGN_BYTES;

/// Length of a segment: what is set, or the default, in whole steps.
pub(super) fn segment_len_bytes(config: &Config) -> u64 {
    let (min, max, step) = (u64::from(LEN_BYTES_MIN), u64::from(LEN_BYTES_MAX), u64::from(LEN_BYTES_STEP));
    let disk_bytes = config.disk_bytes;
    // What a segment is to the budget is what the log cannot use: the spare, the room kept ahead of need, the active one half full. So a small disk has
    // short ones, down to where a file's own overhead counts.
    let default = (disk_bytes / 32).min(1 << 20).max(disk_bytes / 128).clamp(min, max);
    config.segment_len_bytes.unwrap_or(default) / step * step
}

/// The smallest disk budget that segments of this length work in.
pub(super) fn disk_bytes_min(segment_len_bytes: u64) -> u64 {
    DISK_OVERHEAD_BYTES + SEGMENT_COUNT_MIN * (segment_len_bytes + LogPlan::slack_bytes(segment_len_bytes as u32))
}

fn disk_plan(config: &Config, shard_count: u64) -> DiskPlan {
    let (disk_bytes, memory_bytes) = (config.disk_bytes, config.memory_bytes);
    let segment_len = segment_len_bytes(config);
    let segment_count = (disk_bytes / segment_len + PINNED_SEGMENTS).min(u64::from(SEGMENT_COUNT_MAX));
    let default = (memory_bytes / 32).clamp(512 << 10, 16 << 20).min((memory_bytes / 8).max(32 << 10));
    let buffer = config.append_buffer_bytes.unwrap_or(default) / 16 * 16;
    let staging = (buffer / 4 / 16 * 16).min(256 << 10);
    let entries = disk_bytes / config.expected_entry_bytes;
    let (bytes, for_entries) = INDEX_BYTES_PER_ENTRY_WANTED;
    let wanted = entries.saturating_mul(bytes) / for_entries;
    let index_bytes = config.disk_index_bytes.unwrap_or(wanted.min(memory_bytes / 4)) / shard_count;
    let page_bytes = if config.counters_page { super::publish::WORKING_BYTES } else { 0 };
    let log = LogPlan {
        segment_len_bytes: segment_len as u32,
        buffer_bytes: buffer as usize,
        headroom_bytes: (buffer / 8) as usize,
        staging_bytes: staging as usize,
        segment_count_max: segment_count as usize,
        mapped: config.read_mode == ReadMode::Mapped,
        keeps_room: config.when_behind == WhenBehind::Wait,
    };
    DiskPlan {
        log,
        index_bytes_per_shard: index_bytes.max(PAGE_LEN).next_multiple_of(PAGE_LEN) as usize,
        disk_bytes,
        header_len: if config.time_to_live.is_some() { RecordHeader::LEN_MAX } else { RecordHeader::LEN } as u64,
        states_bytes: segment_count * SEGMENT_STATE_BYTES,
        working_bytes: WORKING_BYTES.min(segment_len * 2 + (64 << 10)) + page_bytes,
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::Cache;

    #[test]
    fn the_parts_never_exceed_the_whole() {
        for memory_kib in [600u64, 1 << 10, 5 << 10, 8 << 10, 32 << 10, 1 << 20] {
            for disk_mib in [1u64, 8, 32, 512, 10 << 10, 1 << 20] {
                for entry in [1, 64, 1024, 1 << 20] {
                    let settings = Cache::builder()
                        .memory_bytes(memory_kib << 10)
                        .disk_bytes(disk_mib << 20)
                        .expected_entry_bytes(entry);
                    let Ok(plan) = Plan::new(settings.as_config(), true) else { continue };
                    let disk = plan.disk.as_ref().expect("with a disk tier");
                    let memory = plan.memory;
                    let shard =
                        memory.arena_bytes + memory.index_bytes + memory.ghost_bytes + disk.index_bytes_per_shard;
                    let sum = plan.fixed_bytes + (shard * plan.shard_count) as u64;
                    assert!(
                        sum <= settings.as_config().memory_bytes,
                        "{memory_kib} KiB, {disk_mib} MiB, {entry} B: {sum}"
                    );
                    assert!(plan.fixed_bytes >= disk.log.memory_bytes());
                    assert!(disk.log.record_len_max() > 0);
                }
            }
        }
    }

    fn named_bytes(text: &str) -> u64 {
        let rest = text.split("works is ").nth(1).expect("the message names the smallest");
        rest.split(' ').next().and_then(|digits| digits.parse().ok()).expect("a number")
    }

    #[test]
    fn values_leave_room_to_what_is_appended_again_only_where_they_would_wait() {
        use crate::cache::WhenBehind;
        for (when_behind, keeps_room) in [(WhenBehind::Wait, true), (WhenBehind::Drop, false)] {
            let plan = Plan::new(&Config { when_behind, ..Config::default() }, true).expect("the defaults work");
            assert_eq!(plan.disk.expect("with a disk tier").log.keeps_room, keeps_room, "{when_behind:?}");
        }
    }

    #[test]
    fn a_budget_that_cannot_work_names_the_smallest_that_does() {
        let error = Plan::new(Cache::builder().memory_bytes(1000).as_config(), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let text = error.to_string();
        let named = named_bytes(&text);
        assert!(Plan::new(Cache::builder().memory_bytes(named).as_config(), true).is_ok(), "{text}");
        assert!(Plan::new(Cache::builder().memory_bytes(named - 1024).as_config(), true).is_err(), "{text}");

        let error = Plan::new(Cache::builder().disk_bytes(1000).as_config(), true).unwrap_err();
        let text = error.to_string();
        let named = named_bytes(&text);
        assert!(Plan::new(Cache::builder().disk_bytes(named).as_config(), true).is_ok(), "{text}");
        assert!(Plan::new(Cache::builder().disk_bytes(named - 1).as_config(), true).is_err(), "{text}");
    }
}
