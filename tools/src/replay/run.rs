//! The experiment: the run with its restart, the control that never stops, and the cold start.
//!
//! Knows: the order of stretches, restarts and looks. Does not know: how requests travel, or how results are shown.
//!
//! ```text
//! run      |-------- before --------| kill or close, open |==== after ====|-------- rest --------|
//! control  |------------------------------------------------==== same ====|
//! cold                                                      |==== same ====|
//! ```
//! After a kill the run goes on with the first request that had no answer, as a client would that retries.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::replay::counters::{dropped, number};
use crate::replay::oracle::{Covered, Violations};
use crate::replay::place::Place;
use crate::replay::player::{Player, Positions, Reached, Tally};
use crate::replay::protocol::{Level, Settings, State};
use crate::replay::session::{Opened, Session};
use crate::replay::stopped::Stopped;
use crate::replay::workload::Workload;

/// Requests behind the restart whose hit ratio is compared, at most; else a tenth of the run.
const WINDOW_MAX: u32 = 100_000;
/// Parts of the window that are shown one by one.
pub(crate) const SLICE_COUNT: u32 = 5;
/// Parts of a run without a restart that are shown one by one.
pub(crate) const PART_COUNT: u32 = 20;
/// Requests between the last look at the counters and the kill, at most.
const LOOK_AHEAD_MAX: u32 = 2_000;

/// How the cache is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum How {
    /// SIGKILL, while requests are in flight.
    Kill,
    /// An orderly close.
    Close,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) durability: Level,
    pub(crate) config: emberlog::Config,
    pub(crate) lane_count: usize,
    pub(crate) restart: Option<(How, f64)>,
    /// No bar, also on a terminal.
    pub(crate) is_quiet: bool,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Of the run, its control and the cold start.
    pub(crate) violations: Violations,
    pub(crate) counters: Counters,
    pub(crate) peak_anonymous_bytes: u64,
    pub(crate) peak_disk_bytes: u64,
    pub(crate) restart: Option<Restart>,
    /// Gets and hits, part by part; of a run without a restart.
    pub(crate) parts: Vec<(u64, u64)>,
    /// The cache's own stats at the end.
    pub(crate) stats: serde_json::Value,
}

/// Counters of the cache, summed over its processes. Those of a killed process are as of the last look, shortly before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) l1_hits: u64,
    pub(crate) l2_hits: u64,
    pub(crate) bytes_accepted: u64,
    pub(crate) bytes_requested: u64,
    pub(crate) bytes_written: u64,
    pub(crate) segments_retired: u64,
    pub(crate) reinserted: u64,
}

/// What the restart did.
#[derive(Debug)]
pub(crate) struct Restart {
    pub(crate) how: How,
    pub(crate) at_request: u32,
    pub(crate) in_flight: u64,
    pub(crate) open_ms: f64,
    pub(crate) first_get_ms: f64,
    pub(crate) window_requests: u32,
    /// Gets and hits, slice by slice: before, after, of the control behind the restart, of the cold start.
    pub(crate) before: Vec<(u64, u64)>,
    pub(crate) after: Vec<(u64, u64)>,
    pub(crate) control: Vec<(u64, u64)>,
    pub(crate) cold: Vec<(u64, u64)>,
    pub(crate) keys_before: u64,
    pub(crate) missing_after: u64,
    pub(crate) counted_as_dropped: u64,
    pub(crate) lost_acknowledged: u64,
    pub(crate) bytes_at_risk: u64,
    pub(crate) entries_before: u64,
    pub(crate) entries_after: u64,
}

/// Runs the plan.
pub(crate) fn run(plan: &Plan, workload: &Workload) -> Result<Outcome, Failure> {
    let place = Place::new(plan.dir.as_deref())?;
    let request_count = workload.request_count();
    let progress = Progress::new(Some(u64::from(request_count)), plan.is_quiet);
    let mut run = Run::new(plan, workload, &progress);
    let end = vec![workload.request_count(); plan.lane_count];
    let Some((how, fraction)) = plan.restart else {
        progress.phase("run");
        let (mut session, _) = run.open(&place.dir, 0)?;
        let start = run.player.start();
        run.play(&mut session, &start, &end)?;
        run.look(&mut session)?;
        let stats = run.close(session)?;
        let parts = slices(&run.player, &start, &end, PART_COUNT);
        return Ok(run.outcome(stats, None, parts));
    };
    let at = ((f64::from(request_count) * fraction) as u32).clamp(1, request_count.saturating_sub(1).max(1));
    progress.expect(all_requests(request_count, at));
    progress.phase("before");
    let stopped = match how {
        How::Kill => run.until_kill(&place.dir, at)?,
        How::Close => run.until_close(&place.dir, at)?,
    };
    let positions = stopped.reached.acknowledged.clone();
    let at_request = positions.iter().copied().max().unwrap_or(0);
    let window_requests = window(request_count, at_request);
    let before: Positions =
        vec![positions.iter().copied().min().unwrap_or(0).saturating_sub(window_requests); plan.lane_count];
    let after: Positions = vec![at_request.saturating_add(window_requests).min(request_count); plan.lane_count];

    let first = at_request.min(request_count - 1);
    progress.expect(all_requests(request_count, at_request));
    progress.phase("after");
    let (mut session, opened) = run.open(&place.dir, first)?;
    let found = run.player.read_all(&mut session)?;
    run.baseline = session.look()?.stats;
    run.play(&mut session, &positions, &end)?;
    run.look(&mut session)?;
    let stats = run.close(session)?;

    progress.phase("control");
    let control = Control::run(plan, workload, &place, &progress, how, &positions, &after)?;
    progress.phase("cold start");
    let cold_place = Place::beside(&place)?;
    let mut cold = Run::new(plan, workload, &progress);
    let (mut session, _) = cold.open(&cold_place.dir, first)?;
    cold.play(&mut session, &positions, &after)?;
    cold.close(session)?;
    drop(cold_place);

    let lost = stopped.lost(workload, control.present.as_deref(), &found);
    let counted_as_dropped = match how {
        How::Kill => 0,
        How::Close => dropped(&stopped.stats, &stopped.closing_stats, &opened.state.stats)?,
    };
    let restart = Restart {
        how,
        at_request,
        in_flight: stopped.in_flight(),
        open_ms: opened.open_ms,
        first_get_ms: opened.first_get_ms,
        window_requests,
        before: slices(&run.player, &before, &positions, SLICE_COUNT),
        after: slices(&run.player, &positions, &after, SLICE_COUNT),
        control: slices(&control.run.player, &positions, &after, SLICE_COUNT),
        cold: slices(&cold.player, &positions, &after, SLICE_COUNT),
        keys_before: lost.keys_before,
        missing_after: lost.key_count,
        counted_as_dropped,
        lost_acknowledged: lost.key_count.saturating_sub(counted_as_dropped),
        bytes_at_risk: lost.bytes,
        entries_before: number(&stopped.stats, "/disk/entries")?,
        entries_after: number(&opened.state.stats, "/disk/entries")?,
    };
    let mut outcome = run.outcome(stats, Some(restart), Vec::new());
    outcome.violations.add(&control.run.player.violations());
    outcome.violations.add(&cold.player.violations());
    Ok(outcome)
}

/// Requests behind a restart there that are compared.
fn window(request_count: u32, at_request: u32) -> u32 {
    WINDOW_MAX.min(request_count / 10).max(1).min(request_count - at_request.min(request_count - 1))
}

/// Requests of the run, its control and the cold start together.
fn all_requests(request_count: u32, at_request: u32) -> u64 {
    let window = u64::from(window(request_count, at_request));
    u64::from(request_count) + u64::from(at_request) + 2 * window
}

/// One cache directory being driven through its processes.
struct Run<'a> {
    plan: &'a Plan,
    workload: &'a Workload,
    player: Player<'a>,
    counters: Counters,
    /// The current process's counters when its traffic began: probes are not traffic.
    baseline: serde_json::Value,
    peak_anonymous_bytes: u64,
    peak_disk_bytes: u64,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, workload: &'a Workload, progress: &'a Progress) -> Run<'a> {
        Run {
            plan,
            workload,
            player: Player::new(workload, plan.lane_count, progress),
            counters: Counters::default(),
            baseline: serde_json::Value::Null,
            peak_anonymous_bytes: 0,
            peak_disk_bytes: 0,
        }
    }

    fn open(&mut self, dir: &Path, first_request: u32) -> Result<(Session, Opened), Failure> {
        let settings = Settings {
            dir: dir.to_owned(),
            config: self.plan.config.clone(),
            value_max_bytes: self.workload.size_max_bytes(),
            first_key: self.workload.key(self.workload.key_id(first_request)),
        };
        let (session, opened) = Session::open(&settings, self.plan.lane_count)?;
        self.peak_anonymous_bytes = self.peak_anonymous_bytes.max(opened.state.peak_anonymous_bytes);
        self.baseline = opened.state.stats.clone();
        Ok((session, opened))
    }

    fn play(&mut self, session: &mut Session, from: &[u32], until: &[u32]) -> Result<Reached, Failure> {
        self.player.play(session, from, until, None)
    }

    /// Adds up the counters of the traffic since the baseline.
    fn look(&mut self, session: &mut Session) -> Result<serde_json::Value, Failure> {
        let state = session.look()?;
        self.peak_anonymous_bytes = self.peak_anonymous_bytes.max(state.peak_anonymous_bytes);
        let stats = state.stats;
        for (sum, field) in [
            (&mut self.counters.l1_hits, "/memory/hits"),
            (&mut self.counters.l2_hits, "/disk/hits"),
            (&mut self.counters.bytes_accepted, "/disk/bytes_accepted"),
            (&mut self.counters.bytes_requested, "/disk/bytes_requested"),
            (&mut self.counters.bytes_written, "/disk/bytes_written"),
            (&mut self.counters.segments_retired, "/disk/segments_retired"),
            (&mut self.counters.reinserted, "/disk/records_reinserted"),
        ] {
            // What open itself wrote counts: the process's own start is the baseline of everything but hits.
            let before = if field.ends_with("/hits") { number(&self.baseline, field)? } else { 0 };
            *sum += number(&stats, field)?.saturating_sub(before);
        }
        Ok(stats)
    }

    fn close(&mut self, session: Session) -> Result<serde_json::Value, Failure> {
        let (State { stats, peak_anonymous_bytes }, peak_disk_bytes) = session.close()?;
        self.peak_anonymous_bytes = self.peak_anonymous_bytes.max(peak_anonymous_bytes);
        self.peak_disk_bytes = self.peak_disk_bytes.max(peak_disk_bytes);
        Ok(stats)
    }

    fn until_kill(&mut self, dir: &Path, at: u32) -> Result<Stopped, Failure> {
        let (mut session, _) = self.open(dir, 0)?;
        let lane_count = self.plan.lane_count;
        // A quiet look shortly before; then full traffic up to the end, and the kill in the middle of it.
        let ahead = LOOK_AHEAD_MAX.min(at / 10).max(1);
        let start = self.player.start();
        let look_at = self.play(&mut session, &start, &vec![at - ahead; lane_count])?.acknowledged;
        let stats = self.look(&mut session)?;
        let end = vec![self.workload.request_count(); lane_count];
        let reached = self.player.play(&mut session, &look_at, &end, Some(u64::from(ahead)))?;
        self.peak_disk_bytes = self.peak_disk_bytes.max(session.bury()?);
        let expected = self.player.latest_insertions();
        self.player.killed(
            &reached,
            match self.plan.durability {
                Level::Buffered => Covered::Flushed,
                Level::Written | Level::Synced => Covered::Acknowledged,
            },
        );
        Ok(Stopped { reached, stats, closing_stats: serde_json::Value::Null, expected, present: None })
    }

    fn until_close(&mut self, dir: &Path, at: u32) -> Result<Stopped, Failure> {
        let (mut session, _) = self.open(dir, 0)?;
        let start = self.player.start();
        let reached = self.play(&mut session, &start, &vec![at; self.plan.lane_count])?;
        let stats = self.look(&mut session)?;
        let present = self.player.present(&mut session)?;
        let closing_stats = self.close(session)?;
        let expected = self.player.latest_insertions();
        Ok(Stopped { reached, stats, closing_stats, expected, present: Some(present) })
    }

    fn outcome(self, stats: serde_json::Value, restart: Option<Restart>, parts: Vec<(u64, u64)>) -> Outcome {
        Outcome {
            tally: self.player.tally().clone(),
            violations: self.player.violations(),
            counters: self.counters,
            peak_anonymous_bytes: self.peak_anonymous_bytes,
            peak_disk_bytes: self.peak_disk_bytes,
            restart,
            parts,
            stats,
        }
    }
}

/// The same requests on a cache of its own that is never stopped.
struct Control<'a> {
    run: Run<'a>,
    present: Option<Vec<bool>>,
}

impl<'a> Control<'a> {
    fn run(
        plan: &'a Plan,
        workload: &'a Workload,
        place: &Place,
        progress: &'a Progress,
        how: How,
        restart: &[u32],
        until: &[u32],
    ) -> Result<Control<'a>, Failure> {
        let place = Place::beside(place)?;
        let mut run = Run::new(plan, workload, progress);
        let (mut session, _) = run.open(&place.dir, 0)?;
        let start = run.player.start();
        run.play(&mut session, &start, restart)?;
        let present = match how {
            How::Kill => Some(run.player.present(&mut session)?),
            How::Close => None,
        };
        run.play(&mut session, restart, until)?;
        run.close(session)?;
        Ok(Control { run, present })
    }
}

/// Gets and hits of each lane's requests `from .. until`, in equal parts.
fn slices(player: &Player<'_>, from: &[u32], until: &[u32], count: u32) -> Vec<(u64, u64)> {
    let cut = |part: u32| -> Positions {
        let between = |(from, until): (&u32, &u32)| {
            from + (u64::from(until.saturating_sub(*from)) * u64::from(part) / u64::from(count)) as u32
        };
        from.iter().zip(until).map(between).collect()
    };
    (0..count).map(|part| player.count(&cut(part), &cut(part + 1))).collect()
}
