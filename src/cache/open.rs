//! Opening: settings to sizes, files to an index, and the log goes on.

use super::builder::Builder;
use super::close_look::Measured;
use super::core::{Core, CoreCounters, Planned};
use super::plan::Plan;
use super::publish::CountersPage;
use super::windows::Windows;
use super::{Cache, Handle};
use crate::budget::Budget;
use crate::compaction::{CompactionCounters, Refill, Warm};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::format::FORMAT_VERSION;
use crate::format::identity::Identity;
use crate::format::location::Location;
use crate::format::names::{self, FileName};
use crate::log::{Depth, Log};
use crate::observe::RecoveryReport;
use crate::policy::Allowance;
use crate::random::Random;
use crate::recovery::survey::{Finding, Room, Survey, Visitor, open_error, read_identity};
use crate::recovery::warm_list::HitRecord;
use crate::recovery::{Repaired, repair};
use crate::shard::Shards;
use crate::shard::lives::Ages;
use crate::sync::{Mutex, PlainArc, PlainAtomicBool, PlainAtomicU32, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::iter::Peekable;

/// A clock mark further ahead of the clock than this empties the store: times in it mean nothing (P7).
const CLOCK_AHEAD_MAX_S: u32 = 86_400;

/// Builds the index while the survey tells the events.
struct IndexBuilder<'a> {
    shards: &'a Shards,
    /// Short name of the segment whose events come now; the first is 0.
    name: Option<u16>,
    live: Vec<u32>,
    dropped: u64,
    /// Records of that segment that were hit before, still to come.
    hits: Peekable<std::vec::IntoIter<HitRecord>>,
}

impl IndexBuilder<'_> {
    fn forget(&mut self, location: Option<Location>) {
        if let Some(location) = location {
            self.live[usize::from(location.segment)] -= 1;
        }
    }
}

impl Visitor for IndexBuilder<'_> {
    fn segment(&mut self, _index: usize) {
        self.name = Some(self.name.map_or(0, |name| name + 1));
        self.live.push(0);
    }

    fn hits(&mut self, records: &[HitRecord]) {
        self.hits = Vec::from(records).into_iter().peekable();
    }

    fn put(&mut self, key_hash: u64, offset: u32) {
        let segment = self.name.expect("a segment comes before its events");
        let location = Location { segment, offset };
        let is_before = |hit: &HitRecord| hit.offset < offset;
        while self.hits.next_if(is_before).is_some() {}
        let popularity = self.hits.next_if(|hit| hit.offset == offset).map_or(0, |hit| hit.popularity);
        // Names were given in log order, so they tell the age.
        let mut shard = self.shards.write(key_hash);
        let indexed = shard.index_put_popular(key_hash, location, popularity, |location| location.segment.into());
        drop(shard);
        self.live[usize::from(segment)] += 1;
        self.forget(indexed.dropped);
        self.dropped += u64::from(indexed.displaced);
    }

    fn tombstone(&mut self, key_hash: u64) {
        let dropped = self.shards.write(key_hash).index_clear(key_hash);
        self.forget(dropped);
    }

    fn clear(&mut self) {
        self.shards.write_all().iter_mut().for_each(|shard| shard.clear());
        self.live.fill(0);
    }
}

/// Opens a store, or creates one.
pub(crate) fn open(settings: Builder, disk: PlainArc<dyn Disk>) -> Result<Cache, Error> {
    let plan = Plan::new(&settings.config, true)?;
    let disk_plan = plan.disk.clone().expect("asked for");
    disk.lock(names::LOCK).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::new(ErrorKind::Locked, error.to_string()),
        _ => open_error(names::LOCK, error),
    })?;
    let opened = open_locked(&settings, &plan, &disk_plan, &disk);
    match opened {
        Ok(core) => finish(core),
        Err(error) => {
            disk.unlock();
            Err(error)
        }
    }
}

fn open_locked(
    settings: &Builder,
    plan: &Plan,
    disk_plan: &super::plan::DiskPlan,
    disk: &PlainArc<dyn Disk>,
) -> Result<Core, Error> {
    let started_ns = settings.clock.monotonic_ns();
    let random = settings.random_seed.map_or(Random::System, Random::seeded);
    let (identity, created) = find_identity(settings, &**disk, &random)?;
    let memory = |error| Error::io("cannot take memory", error);
    let mut shards = Shards::new(plan.shard_count, plan.memory, disk_plan.index_bytes_per_shard, identity.hash_salt)
        .map_err(memory)?;
    let ages = observe(&mut shards, settings, plan);

    let budget = Budget::new(disk_plan.disk_bytes);
    let overhead = budget
        .try_charge(super::plan::DISK_OVERHEAD_BYTES)
        .expect("the plan leaves room for the identity and the lock");
    // These files are never removed.
    overhead.keep();

    let log_plan = &disk_plan.log;
    let room = Room {
        bytes_max: disk_plan.disk_bytes - super::plan::DISK_OVERHEAD_BYTES - log_plan.segment_charge_bytes(),
        warm_bytes_max: crate::compaction::list_bytes_max(disk_plan.disk_bytes),
        count_max: log_plan.segment_count_max.saturating_sub(3),
        // Memory that entries will take later.
        hit_count_max: (settings.config.memory_bytes / 8 / size_of::<HitRecord>() as u64) as usize,
    };
    let mut builder = IndexBuilder {
        shards: &shards,
        name: None,
        live: Vec::new(),
        dropped: 0,
        hits: Vec::new().into_iter().peekable(),
    };
    let mut survey = Survey::read(&**disk, Depth::Headers, Some(room), &mut builder)?;
    let (mut live, dropped_by_index) = (builder.live, builder.dropped);

    let epoch_unix_ms = identity.epoch_unix_s.saturating_mul(1000);
    let now_ms = settings.clock.now_unix_ms().saturating_sub(epoch_unix_ms);
    let now_s = u32::try_from(now_ms / 1000).unwrap_or(u32::MAX);
    let emptied_by_clock = survey.clock_mark_s.saturating_sub(now_s) > CLOCK_AHEAD_MAX_S;
    if emptied_by_clock {
        tracing::warn!(mark_s = survey.clock_mark_s, now_s, "the store's clock mark is more than a day ahead: emptied");
        survey.forget_all();
        shards.write_all().iter_mut().for_each(|shard| shard.clear());
        live.clear();
    }
    let latest_s = if emptied_by_clock { now_s } else { now_s.max(survey.clock_mark_s) };

    let Repaired { mut segments, next_number, link } = repair(&**disk, &survey)?;
    for (segment, live) in segments.iter_mut().zip(&live) {
        segment.live_count = *live;
    }
    let segments_kept = segments.len() as u64;
    let entries =
        shards.iter().map(|(shard, _)| shard.read().disk_index.as_ref().map_or(0, |index| index.used_count())).sum();
    let recovery = RecoveryReport {
        created,
        segments_found: survey.segments.len() as u64,
        segments_kept,
        segments_trusted: survey.segments.iter().filter(|segment| segment.kept && segment.footer.is_some()).count()
            as u64,
        events: survey.event_count,
        entries,
        dropped_by_index,
        forgotten_keys: survey.forgotten_keys,
        forgotten_older: survey.forgotten_older,
        emptied_by_clock,
        duration_ns: settings.clock.monotonic_ns().saturating_sub(started_ns),
        finding_count: survey.finding_count,
        damage_count: survey.damage_count,
        findings_by_label: by_label(&survey.findings),
        findings: std::mem::take(&mut survey.findings),
    };
    tracing::info!(
        created,
        duration_ns = recovery.duration_ns,
        segments = segments_kept,
        events = recovery.events,
        entries,
        findings = survey.finding_count,
        damage = survey.damage_count,
        "recovery is done"
    );
    if survey.damage_count > 0 {
        tracing::warn!(damage = survey.damage_count, "recovery found damage; see the recovery report");
    }
    let list_bytes = survey.warm.as_ref().map_or(0, |warm| warm.allocated_bytes);
    let list_charge = budget.try_charge(list_bytes).filter(|charge| charge.bytes() > 0);
    let warm = Warm::new(&shards, list_charge);
    let refill = Refill::new(&shards, survey.warm_list.take().filter(|_| !emptied_by_clock));
    let may_publish = CountersPage::remove_old(&**disk, identity.store_id);
    let log = Log::start(
        PlainArc::clone(disk),
        identity.clone(),
        log_plan.clone(),
        budget,
        random,
        segments,
        next_number,
        link,
        latest_s,
    )?;
    Ok(core(
        settings,
        plan,
        shards,
        Some(log),
        Some(PlainArc::clone(disk)),
        (refill, warm, ages, may_publish && settings.config.counters_page),
        identity.hash_salt,
        epoch_unix_ms,
        latest_s,
        recovery,
    ))
}

fn by_label(findings: &[Finding]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.label.to_owned()).or_default() += 1;
    }
    counts
}

/// Opens a cache without a disk tier.
pub(crate) fn open_memory_only(settings: Builder) -> Result<Cache, Error> {
    let plan = Plan::new(&settings.config, false)?;
    let random = settings.random_seed.map_or(Random::System, Random::seeded);
    let salt = u64::from_le_bytes(random.bytes().map_err(|error| Error::io("cannot get random bytes", error))?);
    let mut shards =
        Shards::new(plan.shard_count, plan.memory, 0, salt).map_err(|error| Error::io("cannot take memory", error))?;
    let ages = observe(&mut shards, &settings, &plan);
    let epoch_unix_ms = settings.clock.now_unix_ms();
    let parts = (Refill::new(&shards, None), Warm::new(&shards, None), ages, false);
    finish(core(&settings, &plan, shards, None, None, parts, salt, epoch_unix_ms, 0, RecoveryReport::default()))
}

#[allow(clippy::too_many_arguments, reason = "the parts of a cache, brought together in one place")]
fn core(
    settings: &Builder,
    plan: &Plan,
    shards: Shards,
    log: Option<Log>,
    disk: Option<PlainArc<dyn Disk>>,
    (refill, warm, ages, publishes): (Refill, Warm, PlainArc<Ages>, bool),
    salt: u64,
    epoch_unix_ms: u64,
    latest_s: u32,
    recovery: RecoveryReport,
) -> Core {
    let page = CountersPage::new(publishes, settings.clock.now_unix_ms(), &recovery);
    Core {
        shards,
        log,
        disk,
        salt,
        epoch_unix_ms,
        clock: PlainArc::clone(&settings.clock),
        latest_s: PlainAtomicU32::new(latest_s),
        durability: settings.config.durability,
        when_behind: settings.config.when_behind,
        maintenance: settings.config.maintenance,
        time_to_live: settings.config.time_to_live,
        gate: RwLock::new(false),
        closed: PlainAtomicBool::new(false),
        stopping: PlainAtomicBool::new(false),
        writer_stopping: PlainAtomicBool::new(false),
        index_crowded: PlainAtomicBool::new(false),
        retiring: Mutex::new(()),
        refill: Mutex::new(refill),
        warm,
        counters: CoreCounters::default(),
        compaction: CompactionCounters::default(),
        allowance: Mutex::new(Allowance::new(
            settings.config.reinsert_percent,
            settings.config.write_overhead_percent,
            settings.config.reinsert_bytes_per_s,
            plan.disk.as_ref().map_or(0, |disk| disk.log.segment_len_bytes.into()),
        )),
        sweep: Mutex::default(),
        windows: Windows::new(settings.config.quiet_windows),
        owed: crate::compaction::Owed::default(),
        waits: crate::shard::flights::Waits::default(),
        recovery,
        page,
        memory_limit_bytes: settings.config.memory_bytes,
        fixed_bytes: plan.fixed_bytes,
        sample_one_in: settings.config.sample_one_in,
        measured: Measured::default(),
        ages,
        planned: Planned {
            memory: plan.memory_accounts(),
            disk: plan.disk_accounts(settings.config.expected_entry_bytes),
            watched_one_in: plan.lives.map_or(0, |lives| lives.one_in()),
        },
    }
}

/// Has the shards measure what they were told to. Returns where they write ages down.
fn observe(shards: &mut Shards, settings: &Builder, plan: &Plan) -> PlainArc<Ages> {
    let ages = PlainArc::new(Ages::new(PlainArc::clone(&settings.clock)));
    if let Some(lives) = plan.lives {
        shards.observe(settings.config.sample_one_in, lives, &ages);
    }
    ages
}

fn finish(core: Core) -> Result<Cache, Error> {
    let core = PlainArc::new(core);
    // The spare before the first request, so that none has to wait for it; but nothing is retired because a store is opened.
    let spare = core.log.as_ref().map_or(Ok(()), |log| log.prepare_step().map(|_| ()));
    let ready = spare.and_then(|()| core.start_threads());
    match ready {
        Ok(workers) => {
            tracing::info!(with_disk = core.log.is_some(), memory_bytes = core.memory_limit_bytes, "the cache is open");
            Ok(Cache::new(Handle { core, workers: Mutex::new(workers) }))
        }
        Err(error) => {
            if let Some(disk) = &core.disk {
                disk.unlock();
            }
            Err(error)
        }
    }
}

/// The identity of the store, made if the directory is empty.
fn find_identity(settings: &Builder, disk: &dyn Disk, random: &Random) -> Result<(Identity, bool), Error> {
    let names = disk.list().map_err(|error| Error::io("cannot list the directory", error))?;
    let parsed: Vec<FileName> = names.iter().map(|name| names::parse(name)).collect();
    if parsed.contains(&FileName::Identity) {
        return Ok((read_identity(disk)?, false));
    }
    if parsed.iter().any(|name| matches!(name, FileName::Segment(_))) {
        let message = "segments are here, but the file 'identity' is not; nothing was touched";
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    // A list of what memory held, or a page of counters, is never made before the identity.
    let is_foreign = |(name, parsed): &(&String, &FileName)| {
        matches!(parsed, FileName::Foreign | FileName::Warm | FileName::Counters)
            || [names::WARM_TEMPORARY, names::COUNTERS_TEMPORARY].contains(&name.as_str())
    };
    if let Some(foreign) = names.iter().zip(&parsed).find(is_foreign) {
        let message =
            format!("the directory holds '{}', which is not of an emberlog store; nothing was touched", foreign.0);
        return Err(Error::new(ErrorKind::NotAStore, message));
    }
    let context = "cannot create the identity";
    let failed = |error| Error::io(context, error);
    let identity = Identity {
        format_version: FORMAT_VERSION,
        required_features: 0,
        optional_features: 0,
        store_id: random.bytes().map_err(failed)?,
        hash_salt: u64::from_le_bytes(random.bytes().map_err(failed)?),
        epoch_unix_s: settings.clock.now_unix_ms() / 1000,
    };
    if names.iter().any(|name| name == names::IDENTITY_TEMPORARY) {
        disk.unlink(names::IDENTITY_TEMPORARY).map_err(failed)?;
    }
    let file = disk.create_new(names::IDENTITY_TEMPORARY).map_err(failed)?;
    file.write_at(0, &identity.encode_file()).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    disk.rename(names::IDENTITY_TEMPORARY, names::IDENTITY).map_err(failed)?;
    disk.sync_dir().map_err(failed)?;
    Ok((identity, true))
}
