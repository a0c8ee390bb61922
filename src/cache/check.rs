//! Which settings work: each on its own, then the two budgets with what they have to hold.
//!
//! Pure. Everything that is wrong is said at once, in the words of the settings; so a second look is made with the mistakes of the first one put
//! to the nearest value that is allowed.

use super::config::Config;
use super::plan::{self, Plan};
use crate::format::segment::{LEN_BYTES_MAX, LEN_BYTES_MIN, LEN_BYTES_STEP};
use crate::shard::SHARD_COUNT_MAX;
use crate::units::{exact_bytes, exact_duration};
use std::time::Duration;

/// What the slots of one index can address.
pub(super) const MEMORY_BYTES_MAX: u64 = 4 << 40;
const TIME_TO_LIVE_MIN: Duration = Duration::from_millis(1);
/// In whole days, what 32 bits of seconds hold.
const TIME_TO_LIVE_MAX: Duration = Duration::from_secs(49_710 * 86_400);

/// A setting that is a number, and where it has to lie.
struct Range {
    key: &'static str,
    min: u64,
    max: u64,
    /// Whether a cache in memory only looks at it.
    in_memory_only: bool,
    show: fn(u64) -> String,
    get: fn(&Config) -> Option<u64>,
    set: fn(&mut Config, u64),
}

const RANGES: [Range; 9] = [
    Range {
        key: "shards",
        min: 1,
        max: SHARD_COUNT_MAX as u64,
        in_memory_only: true,
        show: |count| count.to_string(),
        get: |config| config.shards.map(|count| count as u64),
        set: |config, count| config.shards = usize::try_from(count).ok(),
    },
    Range {
        key: "expected_entry_bytes",
        min: 1,
        max: 1 << 30,
        in_memory_only: true,
        show: exact_bytes,
        get: |config| Some(config.expected_entry_bytes),
        set: |config, bytes| config.expected_entry_bytes = bytes,
    },
    Range {
        key: "sample_one_in",
        min: 0,
        max: 1 << 20,
        in_memory_only: true,
        show: |count| count.to_string(),
        get: |config| Some(config.sample_one_in.into()),
        set: |config, count| config.sample_one_in = u32::try_from(count).unwrap_or(u32::MAX),
    },
    Range {
        key: "segment_len_bytes",
        min: LEN_BYTES_MIN as u64,
        max: LEN_BYTES_MAX as u64,
        in_memory_only: false,
        show: exact_bytes,
        get: |config| config.segment_len_bytes,
        set: |config, bytes| config.segment_len_bytes = Some(bytes),
    },
    APPEND_BUFFER,
    DISK_INDEX,
    Range {
        key: "reinsert_percent",
        min: 0,
        max: 100,
        in_memory_only: false,
        show: |percent| percent.to_string(),
        get: |config| Some(config.reinsert_percent.into()),
        set: |config, percent| config.reinsert_percent = percent as u32,
    },
    Range {
        key: "write_overhead_percent",
        min: 0,
        max: 1000,
        in_memory_only: false,
        show: |percent| percent.to_string(),
        get: |config| Some(config.write_overhead_percent.into()),
        set: |config, percent| config.write_overhead_percent = percent as u32,
    },
    Range {
        key: "reinsert_bytes_per_s",
        min: 0,
        max: 1 << 40,
        in_memory_only: false,
        show: exact_bytes,
        get: |config| Some(config.reinsert_bytes_per_s),
        set: |config, bytes| config.reinsert_bytes_per_s = bytes,
    },
];

const APPEND_BUFFER: Range = Range {
    key: "append_buffer_bytes",
    min: 16 << 10,
    max: 1 << 30,
    in_memory_only: false,
    show: exact_bytes,
    get: |config| config.append_buffer_bytes,
    set: |config, bytes| config.append_buffer_bytes = Some(bytes),
};

const DISK_INDEX: Range = Range {
    key: "disk_index_bytes",
    min: 4 << 10,
    max: MEMORY_BYTES_MAX,
    in_memory_only: false,
    show: exact_bytes,
    get: |config| config.disk_index_bytes,
    set: |config, bytes| config.disk_index_bytes = Some(bytes),
};

/// All sizes, or everything that is wrong.
pub(super) fn plan(config: &Config, with_disk: bool) -> Result<Plan, Vec<String>> {
    let mut mended = config.clone();
    let mut problems = ranges(&mut mended, with_disk);
    if with_disk {
        problems.extend(disk(&mut mended));
    }
    match memory(&mended, with_disk) {
        Ok(plan) if problems.is_empty() => Ok(plan),
        Ok(_) => Err(problems),
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

fn ranges(config: &mut Config, with_disk: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for range in RANGES.iter().filter(|range| with_disk || range.in_memory_only) {
        let Some(value) = (range.get)(config).filter(|value| !(range.min..=range.max).contains(value)) else {
            continue;
        };
        let (shown, min, max) = ((range.show)(value), (range.show)(range.min), (range.show)(range.max));
        problems.push(format!("{} = {shown} is out of range: {min} to {max}", range.key));
        (range.set)(config, value.clamp(range.min, range.max));
    }
    let allowed = TIME_TO_LIVE_MIN..=TIME_TO_LIVE_MAX;
    if let Some(time_to_live) = config.time_to_live.filter(|time_to_live| !allowed.contains(time_to_live)) {
        let [shown, min, max] = [time_to_live, TIME_TO_LIVE_MIN, TIME_TO_LIVE_MAX].map(exact_duration);
        problems.push(format!("time_to_live = {shown} is out of range: {min} to {max}"));
    }
    problems
}

/// The disk budget against its segments.
fn disk(config: &mut Config) -> Option<String> {
    let segment_len = plan::segment_len_bytes(config);
    let smallest = plan::disk_bytes_min(segment_len);
    let largest = plan::SEGMENT_COUNT_USABLE * segment_len;
    let given = config.disk_bytes;
    if (smallest..=largest).contains(&given) {
        return None;
    }
    let [shown, length, most] = [given, segment_len, largest].map(exact_bytes);
    config.disk_bytes = given.clamp(smallest, largest);
    let instead = config.segment_len_bytes.and_then(|_| segment_len_within(given)).map(|(low, high)| {
        let [low, high] = [low, high].map(exact_bytes);
        format!(", or segment_len_bytes from {low} to {high}")
    });
    let instead = instead.unwrap_or_default();
    Some(if given < smallest {
        format!(
            "disk_bytes = {shown} is too small for segments of {length}: the smallest that works is {smallest} ({}), the largest {most}{instead}",
            exact_bytes(smallest)
        )
    } else {
        format!(
            "disk_bytes = {shown} is too large for segments of {length}: from {} to {most}, which are {} of them{instead}",
            exact_bytes(smallest),
            plan::SEGMENT_COUNT_USABLE
        )
    })
}

/// The shortest and the longest segments that work in this disk budget.
fn segment_len_within(disk_bytes: u64) -> Option<(u64, u64)> {
    let (min, max, step) = (u64::from(LEN_BYTES_MIN), u64::from(LEN_BYTES_MAX), u64::from(LEN_BYTES_STEP));
    let shortest = disk_bytes.div_ceil(plan::SEGMENT_COUNT_USABLE).checked_next_multiple_of(step)?.max(min);
    let longest =
        largest_that(min / step, max / step, |steps| plan::disk_bytes_min(steps * step) <= disk_bytes)? * step;
    (shortest <= longest).then_some((shortest, longest))
}

/// The memory budget against all that it has to hold.
fn memory(config: &Config, with_disk: bool) -> Result<Plan, String> {
    let works = |change: &dyn Fn(&mut Config)| {
        let mut changed = config.clone();
        change(&mut changed);
        Plan::divide(&changed, with_disk).is_some()
    };
    let given = config.memory_bytes;
    let most = exact_bytes(MEMORY_BYTES_MAX);
    if given <= MEMORY_BYTES_MAX
        && let Some(plan) = Plan::divide(config, with_disk)
    {
        return Ok(plan);
    }
    // To the kibibyte. What works goes on working with more: the split is monotonous in the budget.
    let with_kib = |kib: u64| works(&|config| config.memory_bytes = kib << 10);
    let too_small = largest_that(0, MEMORY_BYTES_MAX >> 10, |kib| !with_kib(kib));
    let shown = exact_bytes(given);
    let Some(smallest) =
        too_small.map_or(Some(0), |kib| (kib + 1).checked_mul(1024)).filter(|&bytes| bytes <= MEMORY_BYTES_MAX)
    else {
        return Err(format!("memory_bytes = {shown}: no budget up to {most} works with the other settings"));
    };
    if given > MEMORY_BYTES_MAX {
        return Err(format!("memory_bytes = {shown} is out of range: {} to {most}", exact_bytes(smallest)));
    }
    let mut message = format!(
        "memory_bytes = {shown} is too small for these settings: the smallest that works is {smallest} ({}), the largest {most}",
        exact_bytes(smallest)
    );
    // What could give way instead, on its own.
    for range in [APPEND_BUFFER, DISK_INDEX].iter().filter(|_| with_disk) {
        let Some(value) = (range.get)(config) else { continue };
        let largest = largest_that(range.min >> 10, value >> 10, |kib| works(&|config| (range.set)(config, kib << 10)));
        if let Some(kib) = largest {
            let (min, max) = ((range.show)(range.min), (range.show)(kib << 10));
            message += &format!(", or {} from {min} to {max}", range.key);
        }
    }
    Err(message)
}

/// The largest number from `low` to `high` that is good, where all below a good one are.
fn largest_that(low: u64, high: u64, is_good: impl Fn(u64) -> bool) -> Option<u64> {
    if low > high || !is_good(low) {
        return None;
    }
    let (mut good, mut beyond) = (low, high + 1);
    while good + 1 < beyond {
        let middle = good + (beyond - good) / 2;
        if is_good(middle) { good = middle } else { beyond = middle }
    }
    Some(good)
}
