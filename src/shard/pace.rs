//! Which requests are looked at closely: one in so many, at random, for the price of one comparison.
//!
//! A shard already counts its memory hits, one by one, in a word of its own cache lines. A pace says at which count the next look is due: so a hit loads two
//! words that it needs or that lie beside one, and compares them. All other requests, which cost more anyway, move that count towards them by one. No
//! word is shared between shards, and hits write nothing here.
//!
//! How far the next look is away is drawn anew each time, evenly from 1 to twice the mean, so that no pattern of requests falls into step with it, and each
//! request is as likely to be looked at as any other, however popular its key. (Looking at some keys only, by bits of their hash, would be as cheap; but then one
//! popular key among them would be most of what is seen.)
//!
//! Invariants
//!  I-PAC-1  All writes happen under the shard's lock, its read side for looks and ticks, its write side for [`close`](Pace::close): so after that a look
//!           stays due for ever, and whoever takes it sees that the cache is closed. Writes that race on the read side may lose a tick.

use crate::counters::Counter;
use crate::random::mix;
use crate::sync::{Ordering, PlainAtomicU64};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Pace {
    /// 0 is always due, and also says that the cache may be closed.
    due_at: PlainAtomicU64,
    /// Where the drawing of random numbers stands.
    drawn: PlainAtomicU64,
}

impl Pace {
    /// A pace that looks first at request number `one_in`, and at none if that is 0. (Not at the very first, which meets cold memory: that would be told of each
    /// shard.)
    pub(crate) fn new(one_in: u32) -> Self {
        Self {
            due_at: PlainAtomicU64::new(if one_in == 0 { u64::MAX } else { u64::from(one_in) - 1 }),
            drawn: PlainAtomicU64::new(0),
        }
    }

    /// Whether to look at this request: `hits` are the memory hits of the shard so far.
    #[inline(always)]
    pub(crate) fn is_due(&self, hits: &Counter) -> bool {
        // Relaxed: at worst a request more or less is looked at.
        hits.get() >= self.due_at.load(Ordering::Relaxed)
    }

    /// Counts a request that is no memory hit.
    #[inline]
    pub(crate) fn tick(&self) {
        let due_at = self.due_at.load(Ordering::Relaxed);
        self.due_at.store(due_at.saturating_sub(1), Ordering::Relaxed);
    }

    /// Draws when the next look is due, with splitmix64; `noise` differs between shards and keys.
    pub(crate) fn rearm(&self, hits: &Counter, one_in: u32, noise: u64) {
        let now = hits.get();
        let drawn = self.drawn.load(Ordering::Relaxed).wrapping_add(noise | 1);
        self.drawn.store(drawn, Ordering::Relaxed);
        let span = one_in.saturating_mul(2).saturating_sub(1);
        let ahead = match one_in {
            0 => u64::MAX,
            _ => u64::from(crate::hash::reduce((mix(drawn) >> 32) as u32, span)) + 1,
        };
        self.due_at.store(now.saturating_add(ahead), Ordering::Relaxed);
    }

    /// Makes every request look, for ever: the cache is closed.
    pub(crate) fn close(&self) {
        self.due_at.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    /// Runs requests, hits where `is_hit` says so, and returns which were looked at.
    fn run(one_in: u32, count: u64, is_hit: impl Fn(u64) -> bool) -> Vec<u64> {
        let (pace, hits) = (Pace::new(one_in), Counter::default());
        let mut looked = Vec::new();
        for request in 0..count {
            if pace.is_due(&hits) {
                pace.rearm(&hits, one_in, 7);
                looked.push(request);
            }
            if is_hit(request) { hits.one() } else { pace.tick() }
        }
        looked
    }

    #[test]
    fn one_request_in_so_many_is_looked_at_whatever_they_are() {
        for one_in in [1, 2, 7, 128] {
            for (name, is_hit) in [
                ("hits", (|_| true) as fn(u64) -> bool),
                ("misses", |_| false),
                ("both", |n| n % 3 == 0),
                ("runs", |n| n / 1000 % 2 == 0),
            ] {
                let count = 400_000;
                let looked = run(one_in, count, is_hit).len() as f64;
                let wanted = count as f64 / f64::from(one_in);
                assert!((looked / wanted - 1.0).abs() < 0.08, "1 in {one_in} of {name}: {looked}, wanted {wanted}");
            }
        }
    }

    #[test]
    fn no_period_of_requests_falls_into_step() {
        for period in [2, 64, 128, 256] {
            let looked = run(128, 1_000_000, |_| true);
            let first = looked.iter().filter(|request| *request % period == 0).count() as f64;
            let wanted = looked.len() as f64 / period as f64;
            assert!(
                (first - wanted).abs() < 6.0 * wanted.sqrt(),
                "of each {period} the first: {first}, wanted {wanted}"
            );
        }
    }

    #[test]
    fn without_sampling_nothing_is_looked_at_until_it_is_closed() {
        assert!(run(0, 10_000, |n| n % 2 == 0).is_empty());
        let (pace, hits) = (Pace::new(0), Counter::default());
        pace.close();
        pace.tick();
        hits.add(1 << 40);
        assert!(pace.is_due(&hits) && pace.is_due(&Counter::default()), "and then always: I-PAC-1");
    }
}
