//! Histograms of fixed size: counts in buckets whose width is an eighth of where they begin.
//!
//! Log-linear buckets as in HdrHistogram (G. Tene): each power of two is cut into eight equal parts, so a value is off by at most an eighth of itself, whatever
//! its size, and finding its bucket takes a few instructions. Values below 16 are exact; those from 2^37 on (137 s in ns, 4 years in ms) share the last.
//!
//! Knows: numbers. Does not know: what they measure, nor their unit.
//!
//! Invariants
//!  I-HIS-1  Recording never allocates; a recorder takes [`Recorder::LEN_BYTES`] for ever.
//!  I-HIS-2  Every power of two from 16 to 2^37 is a boundary between buckets, so counts below it are exact.

use crate::counters::Counter;
use serde::{Deserialize, Serialize};

/// Values below this have a bucket each.
const EXACT: u64 = 16;
const EXACT_BITS: u32 = EXACT.ilog2();
/// Parts of a power of two, as a power of two.
const PART_BITS: u32 = 3;
/// Powers of two with buckets of their own: values below 2^37.
const OCTAVES: u32 = 33;
const BUCKET_COUNT: usize = EXACT as usize + ((OCTAVES as usize) << PART_BITS);

/// Counts values as they come; shared by all threads. What one thread records while another takes a snapshot may be in it in part.
#[derive(Debug)]
pub(crate) struct Recorder {
    counts: [Counter; BUCKET_COUNT],
    sum: Counter,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }
}

impl Recorder {
    /// What one takes in memory.
    pub(crate) const LEN_BYTES: u64 = size_of::<Self>() as u64;

    /// Counts a value.
    pub(crate) fn record(&self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub(crate) fn record_n(&self, value: u64, n: u64) {
        self.counts[bucket_of(value)].add(n);
        self.sum.add(value.saturating_mul(n));
    }

    /// What was counted so far.
    pub(crate) fn snapshot(&self) -> Histogram {
        let counts = self.counts.iter().map(Counter::get).enumerate().filter(|(_, count)| *count > 0);
        let buckets = counts.map(|(bucket, count)| Bucket { from: start_of(bucket), count }).collect();
        Histogram { sum: self.sum.get(), buckets }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let octave = value.ilog2();
    let part = (value >> (octave - PART_BITS)) as usize & ((1 << PART_BITS) - 1);
    let bucket = EXACT as usize + (((octave - EXACT_BITS) as usize) << PART_BITS) + part;
    bucket.min(BUCKET_COUNT - 1)
}

/// The least value of a bucket; for the number of buckets: where the last one ends.
fn start_of(bucket: usize) -> u64 {
    let Some(beyond) = bucket.checked_sub(EXACT as usize) else { return bucket as u64 };
    let (octave, part) = (beyond >> PART_BITS, (beyond & ((1 << PART_BITS) - 1)) as u64);
    ((1 << PART_BITS) + part) << (octave as u32 + EXACT_BITS - PART_BITS)
}

/// A snapshot of a histogram: how many values there were of which size. Counts are since open; the unit is that of the field that holds it.
///
/// A bucket is an eighth as wide as where it begins, so quantiles are off by at most an eighth (6 % on average); below 16 they are exact.
///
/// ```
/// # fn main() -> Result<(), emberlog::Error> {
/// let cache = emberlog::Cache::builder().memory_bytes(4 << 20).sample_one_in(1).open_memory_only()?;
/// cache.insert("key", "value");
/// let inserts_ns = cache.stats().latency.insert_ns;
/// assert_eq!(inserts_ns.count(), 1);
/// assert!(inserts_ns.quantile(0.99).is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Histogram {
    /// All values together.
    pub sum: u64,
    /// The buckets with something in them, smallest values first.
    pub buckets: Vec<Bucket>,
}

/// A range of values, from `from` up to where the next bucket begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bucket {
    /// The least value that belongs here.
    pub from: u64,
    /// How many values came.
    pub count: u64,
}

impl Histogram {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |count, bucket| count.saturating_add(bucket.count))
    }

    /// How many values lie below `limit`. Exact for powers of two from 16 on; else all of the bucket that `limit` lies in counts as not below.
    pub fn count_below(&self, limit: u64) -> u64 {
        let below = self.buckets.iter().filter(|bucket| start_of(bucket_of(bucket.from) + 1) <= limit);
        below.fold(0, |count, bucket| count.saturating_add(bucket.count))
    }

    /// The value that a share `q` of all values does not exceed, such as 0.99: the middle of its bucket. `None` if there are no values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let found = self.buckets.iter().find(|bucket| {
            passed += bucket.count;
            passed >= rank
        })?;
        if found.from < EXACT {
            return Some(found.from as f64);
        }
        Some((found.from as f64 + start_of(bucket_of(found.from) + 1) as f64) / 2.0)
    }

    /// The mean of all values, which is exact. `None` if there are none.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    /// Values around every boundary.
    fn edges() -> impl Iterator<Item = u64> {
        (0..64u32).flat_map(|bit| (0..16u64).flat_map(move |part| edge(bit, part)))
    }

    fn edge(bit: u32, part: u64) -> [u64; 3] {
        let value = (1u64 << bit) + ((part << bit) >> 4);
        [value.saturating_sub(1), value, value + 1]
    }

    #[test]
    fn a_value_lies_in_its_bucket_which_is_an_eighth_as_wide_as_where_it_begins() {
        for value in edges() {
            let bucket = bucket_of(value);
            let (from, to) = (start_of(bucket), start_of(bucket + 1));
            assert!(from <= value, "{value} is in bucket {bucket}, from {from}");
            if bucket < BUCKET_COUNT - 1 {
                assert!(value < to, "{value} is in bucket {bucket}, up to {to}");
                assert!(
                    if value < EXACT { to - from == 1 } else { (to - from) * 8 <= from },
                    "{value}: {from} to {to}"
                );
            } else {
                assert!(value >= (1 << 37) - (1 << 33), "only what is beyond all others is in the last: {value}");
            }
        }
        assert!((1..=BUCKET_COUNT).all(|bucket| start_of(bucket) > start_of(bucket - 1)), "buckets ascend");
    }

    #[test]
    fn quantiles_are_off_by_an_eighth_at_most_and_mean_and_powers_of_two_are_exact() {
        let recorder = Recorder::default();
        let mut values: Vec<u64> = (0..5_000u64).map(|n| n * n * n / 7 + n).collect();
        values.iter().for_each(|value| recorder.record(*value));
        values.sort_unstable();
        let histogram = recorder.snapshot();
        assert_eq!(histogram.count(), 5_000);
        assert_eq!(histogram.mean(), Some(values.iter().sum::<u64>() as f64 / 5_000.0));
        for q in [0.0_f64, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let real = values[((q * 5_000.0_f64).ceil() as usize).max(1) - 1] as f64;
            let told = histogram.quantile(q).expect("there are values");
            assert!((told - real).abs() <= real / 8.0, "{q}: {told} for {real}");
        }
        for bit in 4..38 {
            let limit = 1u64 << bit;
            let real = values.iter().filter(|value| **value < limit).count() as u64;
            assert_eq!(histogram.count_below(limit), real, "below {limit}");
        }
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        let histogram = Recorder::default().snapshot();
        assert_eq!((histogram.quantile(0.5), histogram.mean(), histogram.count()), (None, None, 0));
    }

    #[test]
    fn values_that_came_several_times_count_as_often() {
        let recorder = Recorder::default();
        recorder.record_n(1_000, 3);
        recorder.record_n(5, 0);
        let histogram = recorder.snapshot();
        assert_eq!((histogram.sum, histogram.count()), (3_000, 3));
        assert_eq!(histogram.buckets, [Bucket { from: 960, count: 3 }]);
    }
}
