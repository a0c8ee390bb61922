//! The requests of one run: which key, which operation, which version it may write, how long the value is.
//!
//! Knows: accesses, and the seeded shares of overwrites and removes. Does not know: what a cache made of them.
//!
//! Invariants
//!  I-WL-1  Everything about request i follows from the accesses, the seed and i; so the run, its control and the oracle agree.
//!  I-WL-2  Request i may write version i + 1 of its key and no other; later versions of a key are greater.
//!
//! A length that a trace leaves out is that of the key's value as last written before, else as first written later,
//! else the default.

use std::collections::HashMap;

use crate::failure::Failure;
use crate::replay::trace::{Access, Deed, SIZE_UNSAID};
use crate::replay::value::mix;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reads; a miss inserts this request's version.
    Get,
    /// Inserts this request's version, whatever is there.
    Overwrite,
    /// Removes.
    Remove,
}

/// The shares of requests that write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Share of requests that overwrite.
    pub(crate) overwrite: f64,
    /// Share of requests that remove.
    pub(crate) remove: f64,
    /// Which requests those are.
    pub(crate) seed: u64,
}

/// The requests of a run, held in memory: 12 bytes each, and one more where the trace says what they do.
#[derive(Debug)]
pub(crate) struct Workload {
    key_ids: Vec<u32>,
    sizes_bytes: Vec<u32>,
    /// The request before this one of the same key.
    previous: Vec<u32>,
    keys: Vec<u64>,
    /// What the trace has each request do; none: it does not say.
    deeds: Option<Vec<Deed>>,
    remove_below: u64,
    overwrite_below: u64,
    seed: u64,
    size_max_bytes: u32,
}

/// Value length where nothing names one.
pub(crate) const VALUE_BYTES_DEFAULT: u32 = 128;

/// Requests of a run, at most: their indices have 32 bits, and one is taken.
pub(crate) const REQUESTS_MAX: usize = NONE as usize - 1;

/// No such request.
pub(crate) const NONE: u32 = u32::MAX;

impl Workload {
    /// Prepares accesses for a run; `value_bytes` replaces all their lengths.
    pub(crate) fn new(accesses: &[Access], value_bytes: Option<u32>, shares: Shares) -> Result<Workload, Failure> {
        if accesses.is_empty() {
            return Err(Failure::new("there is no request to replay"));
        }
        if accesses.len() > REQUESTS_MAX {
            return Err(Failure::new(format!(
                "at most {REQUESTS_MAX} requests can be replayed in one run; use --limit"
            )));
        }
        if shares.overwrite + shares.remove > 1.0 {
            return Err(Failure::new("--overwrite and --remove together are more than every request"));
        }
        let mut keys = Vec::new();
        let mut newest: Vec<u32> = Vec::new();
        let mut ids: HashMap<u64, u32> = HashMap::new();
        let mut key_ids = Vec::with_capacity(accesses.len());
        let mut previous = Vec::with_capacity(accesses.len());
        for (index, access) in accesses.iter().enumerate() {
            let id = *ids.entry(access.key).or_insert_with(|| {
                keys.push(access.key);
                newest.push(NONE);
                keys.len() as u32 - 1
            });
            key_ids.push(id);
            previous.push(std::mem::replace(&mut newest[id as usize], index as u32));
        }
        let sizes_bytes = match value_bytes {
            Some(bytes) => vec![bytes; accesses.len()],
            None => lengths(accesses, &key_ids, keys.len()),
        };
        let says_deeds = accesses.iter().any(|access| access.deed != Deed::Unsaid);
        let deeds = says_deeds.then(|| accesses.iter().map(|access| access.deed).collect());
        let size_max_bytes = sizes_bytes.iter().copied().max().unwrap_or(0);
        let remove_below = threshold(shares.remove);
        let overwrite_below = threshold(shares.remove + shares.overwrite);
        let seed = mix(shares.seed ^ 0x6f70_6572);
        Ok(Workload {
            key_ids,
            sizes_bytes,
            previous,
            keys,
            deeds,
            remove_below,
            overwrite_below,
            seed,
            size_max_bytes,
        })
    }

    /// How many requests there are.
    pub(crate) fn request_count(&self) -> u32 {
        self.key_ids.len() as u32
    }

    /// How many keys there are; their ids count from 0.
    pub(crate) fn key_count(&self) -> u32 {
        self.keys.len() as u32
    }

    /// The key with this id.
    pub(crate) fn key(&self, id: u32) -> u64 {
        self.keys[id as usize]
    }

    /// The id of the key that request `index` asks for.
    pub(crate) fn key_id(&self, index: u32) -> u32 {
        self.key_ids[index as usize]
    }

    /// How long the value of request `index` is.
    pub(crate) fn size_bytes(&self, index: u32) -> u32 {
        self.sizes_bytes[index as usize]
    }

    /// The longest value.
    pub(crate) fn size_max_bytes(&self) -> u32 {
        self.size_max_bytes
    }

    /// Whether the trace says which requests write.
    pub(crate) fn says_deeds(&self) -> bool {
        self.deeds.is_some()
    }

    /// The request before `index` of the same key, or [`NONE`].
    pub(crate) fn previous(&self, index: u32) -> u32 {
        self.previous[index as usize]
    }

    /// What request `index` does. The shares of writes are drawn from what the trace does not have written.
    pub(crate) fn operation(&self, index: u32) -> Operation {
        match self.deeds.as_ref().map_or(Deed::Unsaid, |deeds| deeds[index as usize]) {
            Deed::Insert => return Operation::Overwrite,
            Deed::Remove => return Operation::Remove,
            Deed::Unsaid | Deed::Read => {}
        }
        let draw = mix(self.seed.wrapping_add(u64::from(index))) >> 1;
        if draw < self.remove_below {
            Operation::Remove
        } else if draw < self.overwrite_below {
            Operation::Overwrite
        } else {
            Operation::Get
        }
    }

    /// The lane, out of `lane_count`, that serves all requests of a key, so that they keep their order.
    pub(crate) fn lane(&self, key_id: u32, lane_count: usize) -> usize {
        if lane_count == 1 { 0 } else { (mix(self.key(key_id)) % lane_count as u64) as usize }
    }
}

/// The version that request `index` may write.
pub(crate) fn version_of(index: u32) -> u64 {
    u64::from(index) + 1
}

/// The length of each request's value, where some are left out.
fn lengths(accesses: &[Access], key_ids: &[u32], key_count: usize) -> Vec<u32> {
    let mut newest = vec![SIZE_UNSAID; key_count];
    for (access, id) in accesses.iter().zip(key_ids) {
        let first = &mut newest[*id as usize];
        if *first == SIZE_UNSAID {
            *first = access.size_bytes;
        }
    }
    let length = |(access, id): (&Access, &u32)| {
        let newest = &mut newest[*id as usize];
        if access.size_bytes != SIZE_UNSAID {
            *newest = access.size_bytes;
        }
        if *newest == SIZE_UNSAID { VALUE_BYTES_DEFAULT } else { *newest }
    };
    accesses.iter().zip(key_ids).map(length).collect()
}

/// The share, out of 2^63.
fn threshold(share: f64) -> u64 {
    (share.min(1.0) * (1u64 << 63) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accesses(keys: &[u64]) -> Vec<Access> {
        keys.iter().map(|key| Access { key: *key, size_bytes: *key as u32, deed: Deed::Unsaid }).collect()
    }

    const READS: Shares = Shares { overwrite: 0.0, remove: 0.0, seed: 1 };

    #[test]
    fn requests_of_a_key_are_chained_and_share_a_lane() {
        let workload = Workload::new(&accesses(&[5, 6, 5, 5]), None, READS).unwrap();
        assert_eq!([0, 1, 2, 3].map(|index| workload.previous(index)), [NONE, NONE, 0, 2]);
        assert_eq!(workload.key_id(0), workload.key_id(3));
        assert_eq!((workload.key_count(), workload.size_max_bytes()), (2, 6));
        assert!(workload.lane(0, 3) < 3);
    }

    #[test]
    fn the_seed_picks_the_operations_and_the_shares_hold() {
        let shares = Shares { overwrite: 0.05, remove: 0.01, seed: 9 };
        let workload = |shares| Workload::new(&accesses(&vec![1; 100_000]), Some(3), shares).unwrap();
        let operations = |workload: &Workload| (0..100_000).map(|n| workload.operation(n)).collect::<Vec<_>>();
        let first = operations(&workload(shares));
        assert_eq!(first, operations(&workload(shares)));
        assert_ne!(first, operations(&workload(Shares { seed: 10, ..shares })));
        let count = |wanted| first.iter().filter(|operation| **operation == wanted).count();
        assert!((4_700..5_300).contains(&count(Operation::Overwrite)), "{}", count(Operation::Overwrite));
        assert!((880..1_120).contains(&count(Operation::Remove)), "{}", count(Operation::Remove));
        let all = workload(Shares { overwrite: 0.0, remove: 1.0, seed: 1 });
        assert!((0..100_000).all(|index| all.operation(index) == Operation::Remove));
    }

    #[test]
    fn what_a_trace_has_written_is_written_and_shares_apply_to_the_rest() {
        let deeds = [Deed::Read, Deed::Insert, Deed::Remove].repeat(100);
        let accesses: Vec<Access> = deeds.iter().map(|deed| Access { key: 1, size_bytes: 9, deed: *deed }).collect();
        let workload = |shares| Workload::new(&accesses, None, shares).unwrap();
        let as_said = [Operation::Get, Operation::Overwrite, Operation::Remove].repeat(100);
        let operations = |workload: &Workload| (0..300).map(|n| workload.operation(n)).collect::<Vec<_>>();
        assert_eq!(operations(&workload(READS)), as_said);
        let overwritten = operations(&workload(Shares { overwrite: 1.0, ..READS }));
        assert_eq!(overwritten, [Operation::Overwrite, Operation::Overwrite, Operation::Remove].repeat(100));
    }

    #[test]
    fn lengths_that_are_left_out_are_those_of_the_keys_own_values() {
        let access = |key, size_bytes| Access { key, size_bytes, deed: Deed::Read };
        let unsaid = SIZE_UNSAID;
        let accesses = [(1, unsaid), (1, 50), (1, unsaid), (1, 60), (1, unsaid), (2, unsaid)];
        let accesses = accesses.map(|(key, size_bytes)| access(key, size_bytes));
        let sizes = |workload: &Workload| (0..6).map(|n| workload.size_bytes(n)).collect::<Vec<_>>();
        let workload = Workload::new(&accesses, None, READS).unwrap();
        assert_eq!(sizes(&workload), [50, 50, 50, 60, 60, VALUE_BYTES_DEFAULT]);
        assert_eq!(sizes(&Workload::new(&accesses, Some(7), READS).unwrap()), [7; 6]);
    }

    #[test]
    fn nothing_to_do_and_impossible_shares_are_refused() {
        assert!(Workload::new(&[], None, READS).is_err());
        assert!(Workload::new(&accesses(&[1]), None, Shares { overwrite: 0.7, remove: 0.7, seed: 1 }).is_err());
    }
}
