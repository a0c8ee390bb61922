//! Quiet windows: is there so little to do for requests that work in the background disturbs nobody?
//!
//! A state machine over load samples (time, operations so far); the same samples give the same answers. The load is measured against its own level:
//! the rate that an average operation of the last hours met, `sum of rate^2 / sum of rate` (the contraharmonic mean), forgotten over half a day. So
//! it stays what the day was through a long night, and what the bursts are between them. A window opens when the rate of the last second or so (a quarter
//! of one where operations are many) is at most 15 % of the level, and closes beyond 30 %.
//!
//! Within a window operations are debts, paid off at the rate at which the window would close: while more than half a millisecond's worth is owed, no
//! step may begin. So for a slow service the first operation stops steps for a while, for a fast one a load that returns does within half a
//! millisecond. When more comes than is paid off, beyond twenty milliseconds' worth, the window closes.
//!
//! Knows: times and counts. Does not know: clocks, what is done in a window.
//!
//! Invariants
//!  I-QUIET-1  [`Advice::Step`] is said only within a window, and while what is owed is at most half a millisecond of the closing rate.

/// Rates are averaged over the time in which this many operations come at the level: fewer would tell a gap from quiet too rarely.
const SMOOTHED_OPERATIONS: f64 = 100.0;
/// But not over less than this, as the load is looked at four times a second,
const SMOOTHED_S_MIN: f64 = 0.25;
/// nor over more.
const SMOOTHED_S_MAX: f64 = 1.0;
/// The level forgets over this long.
const LEVEL_S: f64 = 12.0 * 3600.0;
/// No window before this much was seen.
const SEEN_S_MIN: f64 = 5.0;
/// Opens at this share of the level.
const OPEN_SHARE: f64 = 0.15;
/// Closes at this share.
const CLOSE_SHARE: f64 = 0.3;
/// Debt up to which steps may begin, in seconds of the closing rate.
const STEP_DEBT_S: f64 = 0.000_5;
/// Debt at which the window closes, in the same.
const CLOSE_DEBT_S: f64 = 0.02;
/// Operations at a time that close no window: some traffic is always there.
const CLOSE_DEBT_MIN: f64 = 3.0;

/// Operations so far, at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Microseconds on a clock that never goes back.
    pub(crate) now_us: u64,
    /// Operations since the start: requests, of whatever kind.
    pub(crate) operations: u64,
}

/// What the load allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// No window is open.
    Busy,
    /// A window is open, but requests are there right now: no step may begin.
    Pause,
    /// A step may begin.
    Step,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    last: Option<Load>,
    seen_s: f64,
    /// Operations per second, smoothed.
    rate: f64,
    /// Integrals of rate squared and of rate over time, with forgetting.
    squares: f64,
    sum: f64,
    is_open: bool,
    /// Operations not paid off, as if all of a sample had come at its end.
    debt: f64,
    /// The same, as if they had come evenly.
    excess: f64,
}

impl Quiet {
    /// Operations per second over the last second or so.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Operations per second that an average operation met.
    pub(crate) fn level(&self) -> f64 {
        if self.sum > 0.0 { self.squares / self.sum } else { 0.0 }
    }

    /// Takes a sample, and tells what it allows. Samples may come at any distance; time and count never go back (what would is taken as standing still).
    pub(crate) fn observe(&mut self, load: Load) -> Advice {
        let last = *self.last.get_or_insert(load);
        let passed_s = load.now_us.saturating_sub(last.now_us) as f64 / 1e6;
        let operations = load.operations.saturating_sub(last.operations) as f64;
        self.last =
            Some(Load { now_us: load.now_us.max(last.now_us), operations: load.operations.max(last.operations) });
        self.seen_s += passed_s;

        // The level is of what was before this sample, or a burst would be quiet against itself.
        let level = self.level();
        let smoothed_s = (SMOOTHED_OPERATIONS / level).clamp(SMOOTHED_S_MIN, SMOOTHED_S_MAX);
        self.rate = (self.rate * smoothed_s + operations) / (smoothed_s + passed_s);
        let kept = LEVEL_S / (LEVEL_S + passed_s);
        self.squares = self.squares * kept + self.rate * self.rate * passed_s;
        self.sum = self.sum * kept + self.rate * passed_s;

        let closing_rate = level * CLOSE_SHARE;
        let excess_max = (closing_rate * CLOSE_DEBT_S).max(CLOSE_DEBT_MIN);
        let paid = closing_rate * passed_s;
        // Bounded, or what came while nobody looked would hold up steps for long.
        self.debt = ((self.debt - paid).max(0.0) + operations).min(excess_max);
        self.excess = (self.excess + operations - paid).max(0.0);
        if self.is_open {
            self.is_open = self.rate <= closing_rate && self.excess <= excess_max;
        } else if self.seen_s >= SEEN_S_MIN && self.rate <= level * OPEN_SHARE {
            self.is_open = true;
            self.excess = 0.0;
        }
        match self.is_open {
            false => Advice::Busy,
            true if self.debt > closing_rate * STEP_DEBT_S => Advice::Pause,
            true => Advice::Step,
        }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::random::splitmix64;

    /// How long a step takes, and how long nothing is looked at while none may begin.
    const STEP_US: u64 = 300;
    const PAUSE_US: u64 = 1_000;
    const SAMPLE_US: u64 = 250_000;

    /// Numbers that look random.
    struct Draws(u64);

    impl Draws {
        fn next_f64(&mut self) -> f64 {
            (splitmix64(&mut self.0) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// How operations come at a rate.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Arrivals {
        Even,
        Poisson,
    }

    /// A piece of a load curve: so long, from this rate to that one (operations per second), and whether that is load or idle time.
    #[derive(Debug, Clone, Copy)]
    struct Piece {
        len_s: f64,
        from: f64,
        to: f64,
        kind: Kind,
        /// Where it begins; see [`placed`].
        at_s: f64,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Kind {
        Load,
        Idle,
        /// In between: either answer will do.
        Either,
    }
    use Kind::{Either, Idle, Load as Loaded};

    fn piece(len_s: f64, from: f64, to: f64, kind: Kind) -> Piece {
        Piece { len_s, from, to, kind, at_s: 0.0 }
    }

    /// The pieces of a curve, one behind the other.
    fn placed(curve: &[Piece]) -> Vec<Piece> {
        let mut at_s = 0.0;
        let place = |piece: &Piece| {
            let placed = Piece { at_s, ..*piece };
            at_s += piece.len_s;
            placed
        };
        curve.iter().map(place).collect()
    }

    /// What a run over a curve came to.
    #[derive(Debug, Default)]
    struct Outcome {
        idle_s: f64,
        found_s: f64,
        load_s: f64,
        disturbed_s: f64,
        /// Of each return of load: how long after its first operation the last step of the window began.
        late_us: Vec<u64>,
    }

    impl Outcome {
        fn found(&self) -> f64 {
            self.found_s / self.idle_s
        }

        fn late_us_max(&self) -> u64 {
            self.late_us.iter().copied().max().unwrap_or(0)
        }
    }

    /// Operations of a curve, one by one.
    struct Operations<'a> {
        curve: &'a [Piece],
        arrivals: Arrivals,
        random: Draws,
        at_s: f64,
    }

    impl Operations<'_> {
        fn piece_at(curve: &[Piece], at_s: f64) -> Option<(Piece, f64)> {
            let piece = *curve.get(curve.partition_point(|piece| piece.at_s <= at_s).checked_sub(1)?)?;
            let into_s = at_s - piece.at_s;
            (into_s < piece.len_s).then_some((piece, into_s))
        }
    }

    impl Iterator for Operations<'_> {
        type Item = u64;

        fn next(&mut self) -> Option<u64> {
            // By thinning would be exact; small pieces of constant rate are near enough.
            let mut wanted = match self.arrivals {
                Arrivals::Even => 1.0,
                Arrivals::Poisson => -(1.0 - self.random.next_f64()).ln(),
            };
            loop {
                let (piece, into_s) = Self::piece_at(self.curve, self.at_s)?;
                let rate = piece.from + (piece.to - piece.from) * into_s / piece.len_s;
                let step_s = (piece.len_s / 64.0).min(piece.len_s - into_s).max(1e-6);
                if rate * step_s >= wanted {
                    self.at_s += wanted / rate;
                    return Some((self.at_s * 1e6) as u64);
                }
                wanted -= rate * step_s;
                self.at_s += step_s;
            }
        }
    }

    /// Goes through a curve as maintenance does, whose steps take that long.
    fn run(curve: &[Piece], arrivals: Arrivals, seed: u64, step_us: u64) -> Outcome {
        let curve = &placed(curve)[..];
        let end_us = (curve.iter().map(|piece| piece.len_s).sum::<f64>() * 1e6) as u64;
        let mut operations = Operations { curve, arrivals, random: Draws(seed), at_s: 0.0 }.peekable();
        let (mut quiet, mut outcome) = (Quiet::default(), Outcome::default());
        let (mut now_us, mut count, mut was_idle) = (0, 0, true);
        // Of the load that is there: when its first operation came.
        let mut returned_us = None;
        while now_us < end_us {
            let piece_of =
                |at_us: u64| Operations::piece_at(curve, at_us as f64 / 1e6).map_or(Either, |(piece, _)| piece.kind);
            while let Some(at_us) = operations.next_if(|&at_us| at_us <= now_us) {
                count += 1;
                let is_load = piece_of(at_us) == Loaded;
                if is_load && was_idle {
                    returned_us = Some(at_us);
                    outcome.late_us.push(0);
                }
                was_idle &= !is_load;
            }
            let advice = quiet.observe(Load { now_us, operations: count });
            let passed_us = match advice {
                Advice::Step => step_us,
                Advice::Pause => PAUSE_US,
                Advice::Busy => SAMPLE_US,
            };
            let passed_s = passed_us as f64 / 1e6;
            match piece_of(now_us) {
                Idle => {
                    was_idle = true;
                    outcome.idle_s += passed_s;
                    outcome.found_s += if advice == Advice::Busy { 0.0 } else { passed_s };
                }
                Loaded => {
                    outcome.load_s += passed_s;
                    outcome.disturbed_s += if advice == Advice::Step { passed_s } else { 0.0 };
                    // Before its first operation there is no load yet.
                    if let (Advice::Step, false, Some(returned_us), Some(late_us)) =
                        (advice, was_idle, returned_us, outcome.late_us.last_mut())
                    {
                        *late_us = (*late_us).max(now_us - returned_us);
                    }
                }
                Either => {}
            }
            now_us += passed_us;
        }
        outcome
    }

    /// A day whose hours are that long: a morning, a long day, an evening in which the load falls to that of the night.
    fn day(hour_s: f64, peak: f64, night: f64) -> Vec<Piece> {
        vec![
            piece(4.0 * hour_s, peak * 0.6, peak, Loaded),
            piece(8.0 * hour_s, peak, peak * 0.7, Loaded),
            piece(2.0 * hour_s, peak * 0.7, night, Either),
            piece(10.0 * hour_s, night, night, Idle),
        ]
    }

    /// What a program really did: requests in each tenth of a second, one a line, behind `load` or `idle`. Recorded on a machine with two busy cores; each
    /// request reads through a cache with a disk tier, which is closed and opened twice. While idle there is a request every third of a second.
    fn recorded() -> Vec<Piece> {
        let mut curve: Vec<Piece> = Vec::new();
        for line in include_str!("quiet_recorded.txt").lines().filter(|line| !line.starts_with('#')) {
            let (kind, count) = line.split_once(' ').expect("what it was and how many");
            let rate = count.parse::<f64>().expect("a count") * 10.0;
            let kind = match (kind, curve.last()) {
                // What was under way when the load ended still counts there.
                ("idle", Some(Piece { kind: Loaded, .. })) => Either,
                ("idle", _) => Idle,
                _ => Loaded,
            };
            curve.push(piece(0.1, rate, rate, kind));
        }
        curve
    }

    fn curves() -> Vec<(&'static str, Vec<Piece>)> {
        // An hour lasts a minute here, or steps of a millisecond would be too many to go through.
        let hours = |count: f64| count * 60.0;
        let days = |peak, night| [day(60.0, peak, night), day(60.0, peak, night)].concat();
        let mut bursts = vec![piece(20.0, 2_000.0, 2_000.0, Loaded)];
        for _ in 0..20 {
            bursts.push(piece(15.0, 20.0, 20.0, Idle));
            bursts.push(piece(4.0, 2_000.0, 2_000.0, Loaded));
        }
        let mut batch = days(500.0, 2.0);
        batch.insert(3, piece(hours(3.0), 2.0, 2.0, Idle));
        batch.insert(4, piece(hours(1.0), 1_500.0, 1_500.0, Loaded));
        vec![
            ("a day of a busy service", days(4_000.0, 40.0)),
            ("a day of a slow one", days(50.0, 0.5)),
            ("bursts", bursts),
            ("a batch at night", batch),
            (
                "idle at once",
                vec![
                    piece(60.0, 1_000.0, 1_000.0, Loaded),
                    piece(60.0, 0.0, 0.0, Idle),
                    piece(60.0, 1_000.0, 1_000.0, Loaded),
                ],
            ),
            (
                "slow ramps",
                vec![
                    piece(120.0, 0.0, 1_000.0, Either),
                    piece(60.0, 1_000.0, 1_000.0, Loaded),
                    piece(120.0, 1_000.0, 10.0, Either),
                    piece(60.0, 10.0, 10.0, Idle),
                ],
            ),
        ]
    }

    #[test]
    fn most_of_the_idle_time_is_found_and_no_step_begins_later_than_a_millisecond_after_load_returned() {
        for (name, curve) in curves() {
            let outcome = run(&curve, Arrivals::Even, 1, STEP_US);
            assert!(outcome.found() >= 0.8, "{name}: {:.3} found", outcome.found());
            assert!(outcome.late_us_max() <= 1_000, "{name}: {:?}", outcome.late_us);
            assert!(outcome.disturbed_s <= outcome.load_s / 1_000.0, "{name}: {} s", outcome.disturbed_s);
        }
    }

    #[test]
    fn a_recorded_load_is_told_from_the_idle_time_between_as_promised() {
        let curve = recorded();
        let of = |kind| curve.iter().filter(|piece| piece.kind == kind).count();
        assert!(of(Idle) > 300 && of(Loaded) > 300, "{} idle, {} loaded", of(Idle), of(Loaded));
        let outcome = run(&curve, Arrivals::Even, 1, STEP_US);
        assert!(outcome.found() >= 0.8, "{:.3} found", outcome.found());
        assert!(outcome.late_us.len() > 5 && outcome.late_us_max() <= 1_000, "{:?}", outcome.late_us);
        assert!(outcome.disturbed_s <= outcome.load_s / 1_000.0, "{} s", outcome.disturbed_s);
    }

    #[test]
    fn operations_that_come_at_random_are_told_from_load_nearly_always() {
        for (name, curve) in curves() {
            let (mut late, mut returns) = (0, 0);
            for seed in 0..5 {
                let outcome = run(&curve, Arrivals::Poisson, seed, STEP_US);
                assert!(outcome.found() >= 0.8, "{name}, seed {seed}: {:.3} found", outcome.found());
                assert!(outcome.disturbed_s <= outcome.load_s / 1_000.0, "{name}, seed {seed}: {outcome:?}");
                // The first is the beginning, which is no return.
                late += outcome.late_us.iter().skip(1).filter(|&&late_us| late_us > 1_000).count();
                returns += outcome.late_us.len() - 1;
            }
            // Between two operations of a load there may be a gap that looks like quiet.
            assert!(late * 10 <= returns, "{name}: {late} of {returns} returns were seen late");
        }
    }

    #[test]
    fn whole_days_and_a_long_weekend_are_found() {
        let week =
            [day(3600.0, 40.0, 0.4), vec![piece(60.0 * 3600.0, 0.4, 0.4, Idle)], day(3600.0, 40.0, 0.4)].concat();
        let outcome = run(&week, Arrivals::Poisson, 7, SAMPLE_US);
        assert!(outcome.found() >= 0.8, "{:.3} found", outcome.found());
        assert!(outcome.disturbed_s <= outcome.load_s / 100.0, "{} s of {}", outcome.disturbed_s, outcome.load_s);
    }

    #[test]
    fn a_load_that_stays_the_same_or_rises_is_never_quiet() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            for rate in [20.0, 1_000.0] {
                let flat = [piece(300.0, rate, rate, Loaded)];
                assert_eq!(run(&flat, arrivals, 3, STEP_US).disturbed_s, 0.0, "{rate} per second, {arrivals:?}");
                let rising = [piece(300.0, rate / 100.0, rate, Loaded)];
                assert_eq!(run(&rising, arrivals, 3, STEP_US).disturbed_s, 0.0, "up to {rate}, {arrivals:?}");
            }
        }
    }

    /// A load looked at once a second.
    struct Steady {
        quiet: Quiet,
        at: Load,
    }

    impl Steady {
        fn new() -> Self {
            Self { quiet: Quiet::default(), at: Load { now_us: 0, operations: 0 } }
        }

        /// Goes on for so long at a rate. Whether a window is open then.
        fn goes_on(&mut self, seconds: u64, per_s: u64) -> bool {
            let mut advice = Advice::Busy;
            for _ in 0..seconds {
                self.at = Load { now_us: self.at.now_us + 1_000_000, operations: self.at.operations + per_s };
                advice = self.quiet.observe(self.at);
            }
            advice != Advice::Busy
        }
    }

    #[test]
    fn a_level_that_fell_for_good_becomes_the_new_level() {
        let mut load = Steady::new();
        assert!(!load.goes_on(24 * 3600, 10_000));
        assert!(load.goes_on(3600, 1_000), "a tenth is quiet at first");
        assert!(!load.goes_on(48 * 3600, 1_000), "but not for days");
    }

    #[test]
    fn a_window_opens_at_fifteen_percent_of_the_level_and_closes_beyond_thirty() {
        let mut load = Steady::new();
        assert!(!load.goes_on(2 * 3600, 10_000));
        assert!(!load.goes_on(60, 1_550) && load.goes_on(60, 1_450));
        assert!(load.goes_on(60, 2_900) && !load.goes_on(60, 3_100));
        assert!(!load.goes_on(60, 1_550), "what was no reason to open is none to open again");
    }

    #[test]
    fn clocks_and_counts_that_go_back_stand_still() {
        let mut quiet = Quiet::default();
        for step in 0..100_000u64 {
            let now_us = if step % 7 == 0 { 0 } else { step * 10_000 };
            let operations = if step % 11 == 0 { 0 } else { step * 10 };
            quiet.observe(Load { now_us, operations });
            assert!(quiet.rate().is_finite() && quiet.level().is_finite());
        }
        assert!((500.0..2_000.0).contains(&quiet.level()), "{}", quiet.level());
        let _ = quiet.observe(Load { now_us: u64::MAX, operations: u64::MAX });
        assert!(quiet.rate().is_finite() && quiet.level().is_finite());
    }
}
