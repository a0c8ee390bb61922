//! What is appended again when its segment goes, and how much of it (D10).
//!
//! Worth it is what memory holds (hits there never reach the disk copy, and without this the hot set would be the first to be lost in a crash), and
//! what was hit on disk since it was written. A record that goes on takes half of its hits along, so it has to earn the next round as in a clock.
//!
//! How much is two token buckets. One fills by a *share* of what requests append, whatever the time: so appending again costs a known share of the
//! bytes written, and single-threaded runs repeat. As it empties, more hits are asked for: of a record of mean length half a hit (so one) while it is
//! full, eight at the end, in proportion between. A shorter record needs fewer, a longer one more: what the share buys is hits, and they cost bytes.
//! (Hits per byte is the value of GreedyDual-Size with frequency: Cherkasova, 1998.) What memory holds may overdraw it. Where headers and footers
//! weigh much, for short entries, the share gives way, so that all that is written beyond keys and values stays within an *overhead*; down to a
//! tenth of itself, as hit ratio is what all this is for. The other fills by a *rate* in bytes per second; it is hard, for whatever is appended again under load.
//!
//! Knows: counts of bytes, times, hits. Does not know: records, clocks.
//!
//! Invariants
//!  I-AGAIN-1  In any time t under load at most `burst + rate * t` bytes are granted.
//!  I-AGAIN-2  What is granted for hits alone is at most `burst + share * appended` over any stretch.

/// Hits are counted in parts of one.
const HITS_UNIT: i64 = 16;
/// What is asked of a record of mean length while the share is full, in those parts, and when it is used up.
const HITS_WANTED_FULL: i64 = HITS_UNIT / 2;
const HITS_WANTED_EMPTY: i64 = 8 * HITS_UNIT;
/// A record counts as at most so many times the mean long, so that the longest can earn it too.
const LEN_COUNTED_MAX: u64 = 4;

/// The share is counted in parts of a byte.
const BYTE: i64 = 10_000;
/// Of what has flowed of late, so many segments' worth count.
const WINDOW_SEGMENTS: u64 = 8;

/// Whether requests are served meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// They are: the rate holds.
    UnderLoad,
    /// A quiet window, or somebody asked for the work: it does not.
    Free,
}

/// A record that may be appended again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Whether memory holds it.
    pub(crate) is_held: bool,
    /// Its hits on disk.
    pub(crate) popularity: u8,
    /// Its length.
    pub(crate) len_bytes: u32,
    /// Mean length of the records of its segment.
    pub(crate) mean_len_bytes: u32,
}

/// What has flowed into the log, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Records that requests appended.
    pub(crate) appended_bytes: u64,
    /// Keys and values among them.
    pub(crate) accepted_bytes: u64,
    /// What was written beside keys and values and what was appended again: headers, footers, lists.
    pub(crate) overhead_bytes: u64,
    /// What was appended again.
    pub(crate) again_bytes: u64,
}

impl Flow {
    /// Goes on to a later state. Returns what came in between; a count that went back brings nothing.
    fn advance_to(&mut self, later: Self) -> Self {
        let step = |now: &mut u64, later: u64| {
            let more = later.saturating_sub(*now);
            *now += more;
            more
        };
        Self {
            appended_bytes: step(&mut self.appended_bytes, later.appended_bytes),
            accepted_bytes: step(&mut self.accepted_bytes, later.accepted_bytes),
            overhead_bytes: step(&mut self.overhead_bytes, later.overhead_bytes),
            again_bytes: step(&mut self.again_bytes, later.again_bytes),
        }
    }

    fn add(&mut self, more: Self) {
        self.appended_bytes += more.appended_bytes;
        self.accepted_bytes += more.accepted_bytes;
        self.overhead_bytes += more.overhead_bytes;
        self.again_bytes += more.again_bytes;
    }

    fn halve(&mut self) {
        self.appended_bytes /= 2;
        self.accepted_bytes /= 2;
        self.overhead_bytes /= 2;
        self.again_bytes /= 2;
    }
}

/// What a record took from the buckets, to be given back if it is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Taken {
    share: i64,
    rate: i128,
}

/// How much may be appended again. All sizes in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    percent: u64,
    overhead_percent: u64,
    /// In parts of a byte, so that nothing is lost to rounding.
    share: i64,
    share_max: i64,
    /// What was there at the last look.
    seen: Flow,
    /// Sums of late: what is older counts less and less.
    late: Flow,
    window_bytes: u64,
    bytes_per_s: u64,
    /// In millionths of a byte.
    rate: i128,
    rate_max: i128,
    now_us: Option<u64>,
}

impl Allowance {
    /// Full buckets: `percent` of what is appended, up to two segments at a time, less where that would be above `overhead_percent` of keys and values
    /// together with headers and the like; `bytes_per_s`, up to a tenth of a second or half a segment at a time.
    pub(crate) fn new(percent: u32, overhead_percent: u32, bytes_per_s: u64, segment_len_bytes: u64) -> Self {
        let share_max = i64::try_from(segment_len_bytes).unwrap_or(i64::MAX).saturating_mul(2 * BYTE);
        let burst = if bytes_per_s == 0 { 0 } else { (bytes_per_s / 10).max(segment_len_bytes / 2) };
        let rate_max = i128::from(burst) * 1_000_000;
        Self {
            percent: percent.into(),
            overhead_percent: overhead_percent.into(),
            share: share_max,
            share_max,
            seen: Flow::default(),
            late: Flow::default(),
            window_bytes: segment_len_bytes.saturating_mul(WINDOW_SEGMENTS),
            bytes_per_s,
            rate: rate_max,
            rate_max,
            now_us: None,
        }
    }

    /// Fills the buckets: so much has flowed since the start, and it is that late.
    pub(crate) fn refresh(&mut self, flow: Flow, now_us: u64) {
        let more = self.seen.advance_to(flow);
        self.late.add(more);
        while self.late.accepted_bytes.max(self.late.overhead_bytes.saturating_add(self.late.again_bytes))
            > self.window_bytes
        {
            self.late.halve();
        }
        let more = i64::try_from(self.share_of(more)).unwrap_or(i64::MAX);
        self.share = self.share.saturating_add(more).min(self.share_max);
        let last_us = *self.now_us.get_or_insert(now_us);
        let passed_us = now_us.saturating_sub(last_us);
        self.now_us = Some(now_us.max(last_us));
        self.rate = (self.rate + i128::from(passed_us) * i128::from(self.bytes_per_s)).min(self.rate_max);
    }

    /// What the share gets for what came, in parts of a byte: what headers and the like leave of the overhead, at most the percentage that is set. A
    /// tenth of that at least, and no more while all together is beyond the overhead.
    fn share_of(&self, more: Flow) -> u64 {
        const PERCENT: u64 = BYTE as u64 / 100;
        let Flow { accepted_bytes, overhead_bytes, again_bytes, .. } = self.late;
        let most = more.appended_bytes.saturating_mul(self.percent * PERCENT);
        // The parts that a sum has of each byte accepted of late.
        let per_accepted = |sum_bytes: u64| {
            let parts = (u128::from(sum_bytes) * BYTE as u128).checked_div(accepted_bytes.into()).unwrap_or(0);
            u64::try_from(parts).unwrap_or(u64::MAX)
        };
        // Two points below what is set: footers of what is appended again come later, and what memory holds may overdraw.
        let overhead_max = self.overhead_percent.saturating_sub(2) * PERCENT;
        let left = match per_accepted(overhead_bytes.saturating_add(again_bytes)) > overhead_max {
            true => 0,
            false => overhead_max.saturating_sub(per_accepted(overhead_bytes)),
        };
        more.accepted_bytes.saturating_mul(left).clamp(most / 10, most)
    }

    /// Whether a record should be appended again.
    pub(crate) fn is_worth(&self, candidate: Candidate) -> bool {
        let Candidate { is_held, popularity, len_bytes, mean_len_bytes } = candidate;
        if is_held || self.percent == 0 || self.share <= 0 {
            return is_held && self.percent > 0;
        }
        let wanted = i128::from(HITS_WANTED_FULL)
            + i128::from(HITS_WANTED_EMPTY - HITS_WANTED_FULL) * i128::from(self.share_max - self.share)
                / i128::from(self.share_max.max(1));
        let len_bytes = u64::from(len_bytes).min(u64::from(mean_len_bytes) * LEN_COUNTED_MAX);
        let hits = i128::from(popularity) * i128::from(HITS_UNIT) * i128::from(mean_len_bytes);
        popularity > 0 && hits >= wanted * i128::from(len_bytes)
    }

    /// Whether a third of the share is left: more than what is kept for the best alone.
    pub(crate) fn is_ample(&self) -> bool {
        self.percent > 0 && self.share > self.share_max / 3
    }

    /// Takes what a record needs; all of it or nothing.
    pub(crate) fn try_take(&mut self, is_held: bool, record_len: u64, pace: Pace) -> Option<Taken> {
        let len = i64::try_from(record_len).unwrap_or(i64::MAX).saturating_mul(BYTE);
        let rate_len = i128::from(record_len) * 1_000_000;
        let has_share = self.percent > 0 && (is_held || self.share >= len);
        let has_rate = pace == Pace::Free || self.rate >= rate_len;
        if !has_share || !has_rate {
            return None;
        }
        // Below its lowest the share does not go, so what overdraws there takes less than its length.
        let left = self.share.saturating_sub(len).max(-self.share_max);
        let taken = Taken { share: self.share - left, rate: if pace == Pace::UnderLoad { rate_len } else { 0 } };
        self.share = left;
        self.rate -= taken.rate;
        Some(taken)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        self.share = self.share.saturating_add(taken.share).min(self.share_max);
        self.rate = (self.rate + taken.rate).min(self.rate_max);
    }

    /// The hits that a record takes along when it is appended again.
    pub(crate) fn kept(popularity: u8) -> u8 {
        popularity / 2
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    /// A record of mean length that memory does not hold.
    fn hit(popularity: u8) -> Candidate {
        Candidate { is_held: false, popularity, len_bytes: 300, mean_len_bytes: 300 }
    }

    /// So much was appended, nearly all of it keys and values.
    fn appended(appended_bytes: u64) -> Flow {
        Flow { appended_bytes, accepted_bytes: appended_bytes, ..Flow::default() }
    }

    fn held() -> Candidate {
        Candidate { is_held: true, ..hit(0) }
    }

    #[test]
    fn appending_again_for_hits_never_takes_more_than_its_share_of_what_is_appended() {
        for percent in [1, 20, 100] {
            let mut allowance = Allowance::new(percent, 1000, u64::MAX >> 20, SEGMENT);
            let (mut sum, mut taken) = (0, 0);
            for step in 0..20_000u64 {
                sum += step * 7919 % 5000;
                allowance.refresh(appended(sum), 0);
                while allowance.is_worth(Candidate { len_bytes: 1, ..hit(7) })
                    && allowance.try_take(false, 333, Pace::Free).is_some()
                {
                    taken += 333;
                }
                let most = 2 * SEGMENT + sum * u64::from(percent) / 100;
                assert!(taken <= most, "{percent} % at step {step}: {taken} of {most}");
                assert!(taken + 333 > most, "and no less, {percent} % at step {step}: {taken} of {most}");
            }
        }
    }

    #[test]
    fn under_load_the_rate_is_hard_for_whatever_it_is() {
        let rate = 10_000_000;
        let mut allowance = Allowance::new(100, 1000, rate, SEGMENT);
        let (mut taken, mut now_us) = (0, 5_000);
        for step in 0..10_000u64 {
            now_us += step * 31 % 997;
            allowance.refresh(appended(step << 20), now_us);
            while allowance.try_take(step % 2 == 0, 1000, Pace::UnderLoad).is_some() {
                taken += 1000;
            }
            let most = rate / 10 + rate * (now_us - 5_000) / 1_000_000;
            assert!(taken <= most, "step {step}: {taken} of {most}");
        }
        let most = rate / 10 + rate * (now_us - 5_000) / 1_000_000;
        assert!(taken + 1000 > most, "and all of it is given: {taken} of {most}");
        assert!(allowance.try_take(true, 1000, Pace::Free).is_some(), "in a window it does not count");
        // A clock that goes back gives nothing.
        allowance.refresh(appended(0), 0);
        assert!(allowance.try_take(true, 1000, Pace::UnderLoad).is_none());
    }

    #[test]
    fn the_emptier_the_share_the_more_hits_are_asked_for() {
        let mut allowance = Allowance::new(20, 1000, 0, SEGMENT);
        let least = |allowance: &Allowance| (0..=8).find(|&popularity| allowance.is_worth(hit(popularity)));
        assert_eq!(least(&allowance), Some(1), "nothing is kept that nobody asked for");
        for expected in [3, 5, 7] {
            assert!(allowance.try_take(false, SEGMENT / 2, Pace::Free).is_some());
            assert_eq!(least(&allowance), Some(expected));
        }
        assert!(allowance.try_take(false, SEGMENT, Pace::Free).is_none(), "all or nothing");
        assert!(allowance.try_take(true, SEGMENT, Pace::Free).is_some(), "what memory holds may overdraw");
        assert_eq!(least(&allowance), None);
        assert!(allowance.is_worth(held()));
        // However much was overdrawn, two segments' worth pay for it.
        (0..100).for_each(|_| assert!(allowance.try_take(true, SEGMENT, Pace::Free).is_some()));
        allowance.refresh(appended(2 * SEGMENT * 5 + 5 * 100), 0);
        assert!(
            allowance.try_take(false, 100, Pace::Free).is_some()
                && allowance.try_take(false, 100, Pace::Free).is_none()
        );
    }

    #[test]
    fn the_share_gives_way_to_headers_down_to_a_tenth_of_itself_and_comes_back() {
        // What headers take, in percent of keys and values, and what is appended again in permille of them: a fifth of what is appended with its headers,
        // no more than 23 % with them, a tenth of the fifth at least.
        let cases = [(0, 200), (3, 200), (5, 180), (10, 130), (20, 30), (22, 24), (24, 25), (300, 80), (5, 180)];
        for held_percent in [0, 5] {
            let mut allowance = Allowance::new(20, 25, 0, SEGMENT);
            let mut flow = Flow::default();
            for (header_percent, expected) in cases {
                let mut step = |number: u64| {
                    flow.accepted_bytes += 100_000;
                    flow.overhead_bytes += 1_000 * header_percent;
                    flow.appended_bytes += 100_000 + 1_000 * header_percent;
                    allowance.refresh(flow, 0);
                    // What memory holds goes before.
                    let is_held = number * held_percent % 100 < held_percent;
                    if is_held && allowance.try_take(true, 50_000, Pace::Free).is_some() {
                        flow.again_bytes += 50_000;
                    }
                    while allowance.try_take(false, 100, Pace::Free).is_some() {
                        flow.again_bytes += 100;
                    }
                    flow
                };
                // Until nothing of what was before counts any more.
                let before = (0..10_000).map(&mut step).last().expect("steps");
                let after = (0..10_000).map(&mut step).last().expect("steps");
                let again = (after.again_bytes - before.again_bytes) / 1_000_000;
                let is_near = again * 10 >= expected * 9 && again <= expected + 1;
                assert!(is_near, "{header_percent} %: {again}, not {expected}");
            }
        }
    }

    #[test]
    fn shorter_records_need_fewer_hits_and_the_longest_not_more_than_four_times_the_mean() {
        let mut allowance = Allowance::new(20, 1000, 0, SEGMENT);
        let least = |allowance: &Allowance, len_bytes| {
            (0..=7).find(|&popularity| allowance.is_worth(Candidate { len_bytes, ..hit(popularity) }))
        };
        let of = |allowance: &Allowance| [1, 100, 300, 600, 1200, 1201, u32::MAX].map(|len| least(allowance, len));
        assert_eq!(of(&allowance), [Some(1), Some(1), Some(1), Some(1), Some(2), Some(2), Some(2)]);
        assert!(allowance.try_take(false, SEGMENT / 2, Pace::Free).is_some());
        assert_eq!(of(&allowance), [Some(1), Some(1), Some(3), Some(5), None, None, None]);
        // A footer can lie about places, not make it divide by nothing.
        assert!(allowance.is_worth(Candidate { len_bytes: 0, mean_len_bytes: 0, ..hit(1) }));
    }

    #[test]
    fn what_is_given_back_is_what_was_taken_and_no_more() {
        let mut allowance = Allowance::new(20, 1000, 10_000_000, SEGMENT);
        for is_held in [false, true] {
            for pace in [Pace::UnderLoad, Pace::Free] {
                let before = allowance.clone();
                let taken = allowance.try_take(is_held, 1000, pace).expect("full buckets");
                assert!(allowance.share < before.share && (allowance.rate < before.rate) == (pace == Pace::UnderLoad));
                allowance.give_back(taken);
                assert_eq!((allowance.share, allowance.rate), (before.share, before.rate));
            }
        }
        // Overdrawn as far as it goes: what then takes nothing brings nothing, however often.
        (0..10).for_each(|_| assert!(allowance.try_take(true, SEGMENT, Pace::Free).is_some()));
        let lowest = allowance.share;
        for _ in 0..10 {
            let taken = allowance.try_take(true, SEGMENT, Pace::Free).expect("what memory holds may overdraw");
            allowance.give_back(taken);
        }
        assert_eq!(allowance.share, lowest);
    }

    #[test]
    fn without_a_share_nothing_is_appended_again_and_without_a_rate_nothing_under_load() {
        let mut none = Allowance::new(0, 1000, u64::MAX >> 20, SEGMENT);
        none.refresh(appended(1 << 40), 1 << 40);
        assert!(!none.is_worth(held()) && none.try_take(true, 1, Pace::Free).is_none());
        let mut idle_only = Allowance::new(20, 1000, 0, SEGMENT);
        idle_only.refresh(appended(1 << 40), 1 << 40);
        assert!(
            idle_only.try_take(true, 1, Pace::UnderLoad).is_none() && idle_only.try_take(true, 1, Pace::Free).is_some()
        );
    }

    #[test]
    fn a_record_that_nobody_asks_for_any_more_goes_after_three_rounds_at_most() {
        // The most that a slot counts.
        let mut popularity = 7;
        let mut rounds = 0;
        let allowance = Allowance::new(20, 1000, 0, SEGMENT);
        while allowance.is_worth(hit(popularity)) {
            popularity = Allowance::kept(popularity);
            rounds += 1;
        }
        assert_eq!(rounds, 3);
    }
}
