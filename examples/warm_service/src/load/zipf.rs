//! Which report is asked for next: Zipf's law, from a seed.

use crate::orders::scatter;

/// Draws ranks: rank `r` (from 0) with a weight of `1 / (r + 1)^skew`.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// Share of all draws that rank 0 to this one have together.
    shares: Vec<f64>,
    state: u64,
}

impl Zipf {
    /// Draws from `count` ranks, at least one.
    pub(crate) fn new(count: u32, skew: f64, seed: u64) -> Zipf {
        let mut shares = Vec::with_capacity(count as usize);
        let mut total = 0.0;
        for rank in 1..=count.max(1) {
            total += f64::from(rank).powf(-skew);
            shares.push(total);
        }
        shares.iter_mut().for_each(|share| *share /= total);
        Zipf { shares, state: scatter(seed) }
    }

    /// The next rank.
    pub(crate) fn draw(&mut self) -> u32 {
        self.state = self.state.wrapping_add(1);
        // 53 bits: what a float holds between 0 and 1.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let point = (scatter(self.state) >> 11) as f64 / (1u64 << 53) as f64;
        let rank = self.shares.partition_point(|share| *share <= point).min(self.shares.len() - 1);
        u32::try_from(rank).expect("there are no more ranks than that")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u32, skew: f64, draws: u32) -> Vec<u32> {
        let mut zipf = Zipf::new(count, skew, 7);
        let mut counts = vec![0; count as usize];
        for _ in 0..draws {
            counts[zipf.draw() as usize] += 1;
        }
        counts
    }

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        let counts = counts(50, 1.0, 200_000);
        let total: f64 = (1..=50).map(|rank| 1.0 / f64::from(rank)).sum();
        for (rank, count) in (1..).zip(&counts) {
            let expected = 200_000.0 / f64::from(rank) / total;
            let deviation = (f64::from(*count) - expected) / expected.sqrt();
            assert!(deviation.abs() < 5.0, "rank {rank}: {count} draws, expected {expected:.0}");
        }
    }

    #[test]
    fn without_skew_all_ranks_are_alike_and_one_rank_is_always_drawn() {
        assert!(counts(10, 0.0, 10_000).iter().all(|count| (800..1200).contains(count)));
        assert_eq!(counts(1, 0.8, 10), [10]);
    }

    #[test]
    fn a_seed_gives_the_same_ranks_again_and_another_seed_others() {
        let ranks = |seed| {
            let mut zipf = Zipf::new(1000, 0.8, seed);
            (0..20).map(|_| zipf.draw()).collect::<Vec<_>>()
        };
        assert_eq!(ranks(1), ranks(1));
        assert_ne!(ranks(1), ranks(2));
    }
}
