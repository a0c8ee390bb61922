//! From settings to sizes: how both budgets are divided. Pure; every byte of memory that the cache takes has a line here.

use super::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::format::location::SEGMENT_COUNT_MAX;
use crate::format::segment::{LEN_BYTES_MAX, LEN_BYTES_MIN, LEN_BYTES_STEP};
use crate::log::LogPlan;
use crate::shard::SHARD_COUNT_MAX;
use crate::shard::memory::MemoryPlan;

/// What files take beside segments: identity, lock, directory.
pub(crate) const DISK_OVERHEAD_BYTES: u64 = 64 << 10;
/// Fewest segments with which the log can turn over: the active one, the spare, one that waits for its footer, one to retire.
const SEGMENT_COUNT_MIN: u64 = 4;
/// Segments that may be retired and still mapped.
const PINNED_SEGMENTS: u64 = 8;
/// Memory for one segment's state.
const SEGMENT_STATE_BYTES: u64 = 512;
/// A scan window, gathered footer entries and a footer read back, a piece of the warm list: what maintenance takes while it runs.
const WORKING_BYTES: u64 = (256 << 10) + (128 << 10) + crate::compaction::WARM_WORKING_BYTES;
/// State of the cache itself, its threads' first pages, the list of what is owed to the log.
const FIXED_BYTES: u64 = (64 << 10) + (32 << 10);
const SHARD_BYTES: u64 = 512;

/// All sizes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shard_count: usize,
    pub(crate) memory: MemoryPlan,
    pub(crate) disk: Option<DiskPlan>,
    /// Bytes by account, for statistics: fixed parts outside shards.
    pub(crate) fixed_bytes: u64,
}

/// Sizes of the disk tier.
#[derive(Debug, Clone)]
pub(crate) struct DiskPlan {
    pub(crate) log: LogPlan,
    pub(crate) index_bytes_per_shard: usize,
    pub(crate) disk_bytes: u64,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

impl Plan {
    pub(crate) fn new(settings: &Builder, with_disk: bool) -> Result<Self, Error> {
        let plan = Self::for_memory(settings, settings.memory_bytes, with_disk)?;
        plan.ok_or_else(|| {
            // The smallest budget that works, to the kibibyte: the split is monotonous in the budget.
            let (mut low, mut high) = (settings.memory_bytes >> 10, 1u64 << 30);
            if !matches!(Self::for_memory(settings, high << 10, with_disk), Ok(Some(_))) {
                return invalid("no memory budget up to 1 TiB works for these settings".to_owned());
            }
            while low + 1 < high {
                let middle = (low + high) / 2;
                match Self::for_memory(settings, middle << 10, with_disk) {
                    Ok(Some(_)) => high = middle,
                    _ => low = middle,
                }
            }
            invalid(format!(
                "memory_bytes = {} is too small for these settings; the smallest that works is {} ({high} KiB)",
                settings.memory_bytes,
                high << 10
            ))
        })
    }

    /// `None` if the memory does not suffice.
    fn for_memory(settings: &Builder, memory_bytes: u64, with_disk: bool) -> Result<Option<Self>, Error> {
        let cores = crate::sync::core_count();
        let by_memory = usize::try_from(memory_bytes / (4 << 20)).unwrap_or(usize::MAX).max(1);
        let default = (4 * cores).next_power_of_two().min(1 << by_memory.ilog2());
        let shard_count = settings.shard_count.unwrap_or(default);
        if !(1..=SHARD_COUNT_MAX).contains(&shard_count) {
            return Err(invalid(format!("shards = {shard_count} is out of range: 1 to {SHARD_COUNT_MAX}")));
        }
        let shard_count = shard_count.next_power_of_two();
        if !(1..=1 << 30).contains(&settings.expected_entry_bytes) {
            let bytes = settings.expected_entry_bytes;
            return Err(invalid(format!("expected_entry_bytes = {bytes} is out of range: 1 to 1 GiB")));
        }
        let mut fixed_bytes = FIXED_BYTES + shard_count as u64 * SHARD_BYTES;
        let mut index_bytes = 0;
        let disk = if with_disk {
            let (log, log_fixed) = log_plan(settings, memory_bytes)?;
            fixed_bytes += log_fixed;
            let entries = settings.disk_bytes / settings.expected_entry_bytes;
            let wanted = entries.saturating_mul(21) / 2;
            index_bytes = settings.disk_index_bytes.unwrap_or(wanted.min(memory_bytes / 4)) / shard_count as u64;
            let whole_pages = index_bytes.max(4096).checked_next_multiple_of(4096);
            let index_bytes_per_shard = whole_pages.and_then(|bytes| usize::try_from(bytes).ok());
            let index_bytes_per_shard =
                index_bytes_per_shard.ok_or_else(|| invalid("disk_index_bytes is too large".into()))?;
            index_bytes = index_bytes_per_shard as u64;
            Some(DiskPlan { log, index_bytes_per_shard, disk_bytes: settings.disk_bytes })
        } else {
            None
        };
        let per_shard = memory_bytes.saturating_sub(fixed_bytes) / shard_count as u64;
        let for_memory = usize::try_from(per_shard.saturating_sub(index_bytes)).unwrap_or(usize::MAX);
        let expected = usize::try_from(settings.expected_entry_bytes).unwrap_or(usize::MAX);
        Ok(MemoryPlan::split(for_memory, expected).map(|memory| Self { shard_count, memory, disk, fixed_bytes }))
    }
}

fn log_plan(settings: &Builder, memory_bytes: u64) -> Result<(LogPlan, u64), Error> {
    let disk_bytes = settings.disk_bytes;
    let (min, max, step) = (u64::from(LEN_BYTES_MIN), u64::from(LEN_BYTES_MAX), u64::from(LEN_BYTES_STEP));
    let default =
        if disk_bytes < 8 << 20 { (disk_bytes / 8).clamp(min, max) } else { (disk_bytes / 128).clamp(1 << 20, max) };
    let segment_len = settings.segment_len_bytes.unwrap_or(default) / step * step;
    if !(min..=max).contains(&segment_len) {
        return Err(invalid(format!("segment_len_bytes = {segment_len} is out of range: {min} to {max}")));
    }
    let charge = segment_len + LogPlan::slack_bytes(segment_len as u32);
    let smallest = DISK_OVERHEAD_BYTES + SEGMENT_COUNT_MIN * charge;
    if disk_bytes < smallest {
        return Err(invalid(format!(
            "disk_bytes = {disk_bytes} is too small for segments of {segment_len} bytes; the smallest that works is {smallest}"
        )));
    }
    let segment_count = (disk_bytes / segment_len + PINNED_SEGMENTS).min(u64::from(SEGMENT_COUNT_MAX));
    let default = (memory_bytes / 32).clamp(512 << 10, 16 << 20).min((memory_bytes / 8).max(32 << 10));
    let buffer = settings.append_buffer_bytes.unwrap_or(default) / 16 * 16;
    if !(16 << 10..=1 << 30).contains(&buffer) {
        return Err(invalid(format!("append_buffer_bytes = {buffer} is out of range: 16 KiB to 1 GiB")));
    }
    let staging = (buffer / 4 / 16 * 16).min(256 << 10);
    let log = LogPlan {
        segment_len_bytes: segment_len as u32,
        buffer_bytes: buffer as usize,
        headroom_bytes: (buffer / 8) as usize,
        staging_bytes: staging as usize,
        segment_count_max: segment_count as usize,
        mapped: settings.read_mode == super::builder::ReadMode::Mapped,
        keeps_room: settings.when_behind == super::builder::WhenBehind::Wait,
    };
    let fixed =
        log.memory_bytes() + segment_count * SEGMENT_STATE_BYTES + WORKING_BYTES.min(segment_len * 2 + (64 << 10));
    Ok((log, fixed))
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
                    let Ok(plan) = Plan::new(&settings, true) else { continue };
                    let disk = plan.disk.as_ref().expect("with a disk tier");
                    let memory = plan.memory;
                    let shard =
                        memory.arena_bytes + memory.index_bytes + memory.ghost_bytes + disk.index_bytes_per_shard;
                    let sum = plan.fixed_bytes + (shard * plan.shard_count) as u64;
                    assert!(sum <= settings.memory_bytes, "{memory_kib} KiB, {disk_mib} MiB, {entry} B: {sum}");
                    assert!(plan.fixed_bytes >= disk.log.memory_bytes());
                    assert!(disk.log.record_len_max() > 0);
                }
            }
        }
    }

    #[test]
    fn values_leave_room_to_what_is_appended_again_only_where_they_would_wait() {
        use crate::cache::WhenBehind;
        for (when_behind, keeps_room) in [(WhenBehind::Wait, true), (WhenBehind::Drop, false)] {
            let plan = Plan::new(&Cache::builder().when_behind(when_behind), true).expect("the defaults work");
            assert_eq!(plan.disk.expect("with a disk tier").log.keeps_room, keeps_room, "{when_behind:?}");
        }
    }

    #[test]
    fn a_budget_that_cannot_work_names_the_smallest_that_does() {
        let error = Plan::new(&Cache::builder().memory_bytes(1000), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let text = error.to_string();
        let named: u64 =
            text.split("works is ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
        assert!(Plan::new(&Cache::builder().memory_bytes(named), true).is_ok(), "{text}");
        assert!(Plan::new(&Cache::builder().memory_bytes(named - 1024), true).is_err(), "{text}");

        let error = Plan::new(&Cache::builder().disk_bytes(1000), true).unwrap_err();
        let text = error.to_string();
        let named: u64 = text.split("works is ").nth(1).unwrap().parse().unwrap();
        assert!(Plan::new(&Cache::builder().disk_bytes(named), true).is_ok(), "{text}");
        assert!(Plan::new(&Cache::builder().disk_bytes(named - 1), true).is_err(), "{text}");
    }
}
