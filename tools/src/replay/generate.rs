//! Generated workloads: `zipf:KEYS:EXPONENT:REQUESTS[:SIZE]`.
//!
//! Knows: the spec's grammar and how to draw from it, the same way for the same seed. Does not know: what the requests will do.
//!
//! The key of popularity rank r (from 1) is drawn with probability proportional to r^-EXPONENT; 0 is uniform. SIZE is a length in
//! bytes, or `LOW-HIGH`: then each key has a length of its own between the two. Numbers may end in k or M, lengths in KiB or MiB.

use std::str::FromStr;

use crate::replay::trace::{Access, Deed};
use crate::replay::value::mix;
use crate::units;

const KEYS_MAX: u64 = 1 << 27;
const REQUESTS_MAX: u64 = 1 << 31;

/// A workload to draw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    text: String,
    key_count: u64,
    exponent: f64,
    request_count: u64,
    /// Shortest and longest value; none: left to `--value-bytes`.
    size_bytes: Option<(u32, u32)>,
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Spec, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (&["zipf", keys, exponent, requests], size) = (match parts.get(..4).and_then(|head| head.first_chunk::<4>())
        {
            Some(head) if parts.len() <= 5 => (head, parts.get(4)),
            _ => return Err("expected zipf:KEYS:EXPONENT:REQUESTS[:SIZE], as in zipf:1M:0.9:5M:256".into()),
        }) else {
            return Err(format!("unknown generator {:?}; there is zipf", parts[0]));
        };
        let key_count = units::parse_count(keys)?;
        let request_count = units::parse_count(requests)?;
        let exponent: f64 = exponent.parse().map_err(|_| format!("{exponent:?} is not an exponent"))?;
        if !(1..=KEYS_MAX).contains(&key_count) {
            return Err(format!("KEYS is {key_count}; it can be 1 to {KEYS_MAX}"));
        }
        if !(1..=REQUESTS_MAX).contains(&request_count) {
            return Err(format!("REQUESTS is {request_count}; it can be 1 to {REQUESTS_MAX}"));
        }
        if !(0.0..=10.0).contains(&exponent) {
            return Err(format!("EXPONENT is {exponent}; it can be 0 to 10"));
        }
        let size_bytes = size.map(|size| parse_sizes(size)).transpose()?;
        Ok(Spec { text: text.into(), key_count, exponent, request_count, size_bytes })
    }
}

fn parse_sizes(text: &str) -> Result<(u32, u32), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let length = |part| {
        let bytes = units::parse_bytes(part)?;
        u32::try_from(bytes).map_err(|_| format!("a value of {bytes} bytes is too long"))
    };
    let (low, high) = (length(low)?, length(high)?);
    if low > high {
        return Err(format!("{text}: the shortest length comes first"));
    }
    Ok((low, high))
}

impl Spec {
    /// The spec as it was written.
    pub(crate) fn name(&self) -> &str {
        &self.text
    }

    /// Draws the requests, at most `limit`; the size of each is 1 where the spec names none, as in a unit trace.
    pub(crate) fn draw(&self, seed: u64, limit: usize) -> Vec<Access> {
        // The table of cumulated weights is exact for every exponent, and a search in it costs less than serving the request.
        let mut total = 0.0;
        let cumulated: Vec<f64> = (1..=self.key_count)
            .map(|rank| {
                total += (rank as f64).powf(-self.exponent);
                total
            })
            .collect();
        let count = usize::try_from(self.request_count).unwrap_or(usize::MAX).min(limit);
        let seed = mix(seed ^ 0x7a69_7066);
        (0..count as u64)
            .map(|n| {
                let uniform = (mix(seed.wrapping_add(n)) >> 11) as f64 / (1u64 << 53) as f64;
                let rank = cumulated.partition_point(|weight| *weight <= uniform * total).min(cumulated.len() - 1);
                // Popular keys are not neighbours: a bijection of the rank is the key.
                let key = mix(rank as u64 ^ seed);
                Access { key, size_bytes: self.size_of(key), deed: Deed::Unsaid }
            })
            .collect()
    }

    fn size_of(&self, key: u64) -> u32 {
        match self.size_bytes {
            None => 1,
            Some((low, high)) => low + (mix(key ^ 0x7369_7a65) % (u64::from(high - low) + 1)) as u32,
        }
    }

    /// Whether the values' lengths are left to the caller.
    pub(crate) fn is_unit(&self) -> bool {
        self.size_bytes.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_seed_draws_the_same_requests_and_another_seed_others() {
        let spec = spec("zipf:1k:0.9:20k");
        assert_eq!(spec.draw(1, usize::MAX), spec.draw(1, usize::MAX));
        assert_ne!(spec.draw(1, usize::MAX), spec.draw(2, usize::MAX));
        assert_eq!(spec.draw(1, 100), spec.draw(1, usize::MAX)[..100]);
    }

    #[test]
    fn popularity_falls_off_with_the_exponent() {
        let mut counts = BTreeMap::new();
        for access in spec("zipf:1000:1.0:100k").draw(1, usize::MAX) {
            *counts.entry(access.key).or_insert(0u32) += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_by(|a, b| b.cmp(a));
        // The harmonic number of 1,000 is 7.485: the first key gets 13,359 of 100,000, the tenth a tenth of that.
        assert!((13_000..13_800).contains(&counts[0]), "{}", counts[0]);
        assert!((1_150..1_550).contains(&counts[9]), "{}", counts[9]);
    }

    #[test]
    fn lengths_are_constant_per_key_and_within_their_bounds() {
        let mut sizes = BTreeMap::new();
        for access in spec("zipf:100:0:10k:10-2KiB").draw(3, usize::MAX) {
            assert!((10..=2048).contains(&access.size_bytes));
            assert_eq!(*sizes.entry(access.key).or_insert(access.size_bytes), access.size_bytes);
        }
        assert_eq!(sizes.len(), 100);
    }

    #[test]
    fn specs_that_mean_nothing_are_refused() {
        for text in [
            "",
            "zipf",
            "zipf:1:1",
            "zipf:0:1:1",
            "zipf:1:-1:1",
            "zipf:1:x:1",
            "lru:1:1:1",
            "zipf:1:1:1:9-3",
            "zipf:1:1:1:1:1",
        ] {
            assert!(text.parse::<Spec>().is_err(), "{text}");
        }
    }
}
