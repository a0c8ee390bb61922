//! `emberlog inspect`: what a directory holds.
//!
//! Knows: which figures there are. Does not know: how they look to people (`page`).

mod page;
mod watch;

use std::path::PathBuf;

use clap::Args;
use emberlog::disk::{Access, Disk};
use emberlog::format::counters::RunState;
use emberlog::format::names;
use emberlog::format::segment::DATA_START;
use emberlog::recovery::counters_page::{self, CountersFile};
use emberlog::recovery::survey::{SegmentSurvey, Survey};
use emberlog::recovery::verdict::SegmentVerdict;
use emberlog::recovery::warm_list::WarmSurvey;
use emberlog::{Clock, SystemClock};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::store::{self, Damage, Holder, Live, Pass, Share, Store, View};
use crate::verdict::Verdict;

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The store's directory
    dir: PathBuf,
    /// One JSON object on stdout instead of the page for people
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: watch::WatchArgs,
}

/// Runs the command.
pub(crate) fn inspect(args: &InspectArgs) -> Result<Verdict, Failure> {
    let store = Store::open(&args.dir)?;
    if args.watch.watch {
        return watch::watch(&store, &args.watch);
    }
    let settled = store.settle(read)?;
    let mut report = settled.pass.value;
    report.directory = store.name();
    report.live = settled.holder;
    report.changed_while_read = settled.changed;
    report.damage_count = settled.pass.damage.count();
    report.damage = settled.pass.damage.items().to_vec();
    report.notes = settled.pass.notes.items().to_vec();
    output::report(&report, args.json)?;
    Ok(if report.damage_count == 0 { Verdict::Good } else { Verdict::Damage })
}

/// The result.
#[derive(Debug, Serialize)]
struct Report {
    directory: String,
    /// The process that has the store open.
    live: Option<Holder>,
    changed_while_read: bool,
    identity: IdentityReport,
    segments: Vec<SegmentReport>,
    /// Numbers of the segments whose events count, oldest first.
    chain: Vec<u32>,
    space: Space,
    entries: Entries,
    log: LogReport,
    /// What memory held; `null` if no file says so.
    warm_list: Option<WarmListReport>,
    /// What a running cache told of itself last; `null` if no file of the store says so.
    counters: Option<CountersReport>,
    damage_count: u64,
    damage: Vec<Damage>,
    notes: Vec<Damage>,
    foreign: Vec<String>,
}

#[derive(Debug, Serialize)]
struct IdentityReport {
    store_id: String,
    format_version: u32,
    required_features: u64,
    optional_features: u64,
    epoch_unix_s: u64,
    /// The epoch as a date: the store was created then.
    created: String,
}

#[derive(Debug, Serialize)]
struct SegmentReport {
    number: u32,
    file: String,
    uid: Option<String>,
    state: State,
    /// Label in the specification's table.
    verdict: &'static str,
    /// Whether its events count.
    kept: bool,
    events: u64,
    live_records: u64,
    live_bytes: u64,
    dead_bytes: u64,
    first_seqno: Option<u64>,
    /// `null` if there are no events.
    last_seqno: Option<u64>,
    /// Highest time in it (sealed), or when it was made; seconds since the epoch.
    clock_mark_s: Option<u32>,
    age_s: Option<u32>,
    length_bytes: u64,
    allocated_bytes: u64,
    data_end_offset: Option<u32>,
    /// Which segment its link names, and where that ends; `null` in the first of a store.
    follows: Option<Follows>,
}

#[derive(Debug, Serialize)]
struct Follows {
    number: u32,
    uid: String,
    end_offset: u32,
    last_seqno: u64,
}

/// How a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Sealed,
    Unsealed,
    Spare,
    Stale,
    Hole,
    Forgotten,
}

impl State {
    fn of(segment: &SegmentSurvey) -> State {
        match segment.verdict {
            SegmentVerdict::Spare => State::Spare,
            SegmentVerdict::Stale | SegmentVerdict::CutBefore => State::Stale,
            _ if segment.kept && segment.footer.is_some() => State::Sealed,
            _ if segment.kept => State::Unsealed,
            _ if segment.label == "S-HOLE" => State::Hole,
            _ => State::Forgotten,
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Sealed => "sealed",
            State::Unsealed => "unsealed",
            State::Spare => "spare",
            State::Stale => "stale",
            State::Hole => "hole",
            State::Forgotten => "forgotten",
        }
    }
}

/// Where the bytes are. The store does not know its budget: that is its opener's.
#[derive(Debug, Default, Serialize)]
struct Space {
    /// Allocated blocks of all files of the store: what `disk_bytes` bounds.
    allocated_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    /// All that is allocated and not a record: headers, batches, footers, room not yet written.
    other_bytes: u64,
    /// Live bytes of all allocated bytes.
    live_ratio: f64,
}

#[derive(Debug, Default, Serialize)]
struct Entries {
    /// Keys that have a value, expired ones included.
    live: u64,
    expired: u64,
    /// Events by kind.
    puts: u64,
    tombstones: u64,
    clears: u64,
}

#[derive(Debug, Default, Serialize)]
struct LogReport {
    /// Highest sequence number that something says was durable.
    synced_max: u64,
    /// Highest time seen, in seconds since the epoch.
    clock_mark_s: u32,
    events: u64,
    /// Where the log ends; `null` if it is empty.
    end: Option<End>,
}

#[derive(Debug, Serialize)]
struct WarmListReport {
    /// Whether it would be used.
    verifies: bool,
    /// Keys that it names; `null` if it does not verify.
    keys: Option<u64>,
    /// Records that it names; `null` if it does not verify.
    records: Option<u64>,
    length_bytes: u64,
    allocated_bytes: u64,
}

#[derive(Debug, Serialize)]
struct CountersReport {
    allocated_bytes: u64,
    /// Number of the newest page that verifies; `null` if none does.
    sequence: Option<u64>,
    written_unix_s: Option<u64>,
    process_id: Option<u32>,
    /// Whether it is the last page of a cache that was closed.
    closed: Option<bool>,
}

#[derive(Debug, Serialize)]
struct End {
    segment: u32,
    offset: u32,
    last_seqno: u64,
}

fn read(view: &View) -> Result<Pass<Report>, Failure> {
    let mut live = Live::default();
    let Pass { value: survey, damage, notes } = store::survey(view, &mut live)?;
    let unix_s = SystemClock.now_unix_ms() / 1000;
    let now_s = u32::try_from(unix_s.saturating_sub(survey.identity.epoch_unix_s)).unwrap_or(u32::MAX);
    let now_s = now_s.max(survey.clock_mark_s);
    let (mut segments, mut space, mut expired) = (Vec::new(), Space::default(), 0);
    for (index, segment) in survey.segments.iter().enumerate() {
        let share = match segment.kept {
            true => live.weigh(index, segment, &*view.open(&segment.file, Access::Read)?, now_s)?,
            false => Share::default(),
        };
        space.allocated_bytes += segment.allocated_bytes;
        space.live_bytes += share.live_bytes;
        space.dead_bytes += share.dead_bytes;
        expired += share.expired_count;
        segments.push(SegmentReport::new(segment, &share, now_s));
    }
    space.allocated_bytes += survey.warm.as_ref().map_or(0, |warm| warm.allocated_bytes);
    // Of no weight where it cannot be read.
    let counters = counters_page::read(view, survey.identity.store_id).ok().flatten().and_then(CountersReport::new);
    space.allocated_bytes += counters.as_ref().map_or(0, |counters| counters.allocated_bytes);
    let others = [names::IDENTITY, names::LOCK].into_iter().chain(survey.temporaries.iter().map(String::as_str));
    for name in others {
        // The lock file may be missing, and what is unfinished may just have been finished.
        let allocated = view.open(name, Access::Read).and_then(|file| file.allocated_bytes());
        space.allocated_bytes += allocated.unwrap_or(0);
    }
    space.other_bytes = space.allocated_bytes.saturating_sub(space.live_bytes + space.dead_bytes);
    space.live_ratio = (space.live_bytes as f64 / space.allocated_bytes.max(1) as f64 * 1e6).round() / 1e6;
    let entries = Entries {
        live: live.key_count(),
        expired,
        puts: live.put_count,
        tombstones: live.tombstone_count,
        clears: live.clear_count,
    };
    let report = Report {
        directory: String::new(),
        live: None,
        changed_while_read: false,
        identity: IdentityReport::new(&survey),
        segments,
        chain: survey.kept().map(|index| survey.segments[index].number).collect(),
        space,
        entries,
        log: LogReport::new(&survey),
        warm_list: survey.warm.as_ref().map(WarmListReport::new),
        counters,
        damage_count: 0,
        damage: Vec::new(),
        notes: Vec::new(),
        foreign: store::foreign(view, survey.identity.store_id)?,
    };
    Ok(Pass { value: report, damage, notes })
}

impl IdentityReport {
    fn new(survey: &Survey) -> IdentityReport {
        let identity = &survey.identity;
        IdentityReport {
            store_id: store::hex(&identity.store_id),
            format_version: identity.format_version,
            required_features: identity.required_features,
            optional_features: identity.optional_features,
            epoch_unix_s: identity.epoch_unix_s,
            created: store::show_date(identity.epoch_unix_s),
        }
    }
}

impl LogReport {
    fn new(survey: &Survey) -> LogReport {
        let end = survey.kept().next_back().map(|index| &survey.segments[index]).map(|newest| End {
            segment: newest.number,
            offset: newest.data_end,
            last_seqno: newest.last_seqno,
        });
        let (synced_max, clock_mark_s, events) = (survey.synced_max, survey.clock_mark_s, survey.event_count);
        LogReport { synced_max, clock_mark_s, events, end }
    }
}

impl WarmListReport {
    fn new(warm: &WarmSurvey) -> WarmListReport {
        let WarmSurvey { file_len, allocated_bytes, named } = *warm;
        WarmListReport {
            verifies: named.is_some(),
            keys: named.map(|named| named.keys),
            records: named.map(|named| named.records),
            length_bytes: file_len,
            allocated_bytes,
        }
    }
}

impl CountersReport {
    /// Nothing for somebody else's file.
    fn new(file: CountersFile) -> Option<CountersReport> {
        let CountersFile::Ours { allocated_bytes, page } = file else { return None };
        let header = page.map(|page| page.header);
        Some(CountersReport {
            allocated_bytes,
            sequence: header.map(|header| header.sequence),
            written_unix_s: header.map(|header| header.written_unix_ms / 1000),
            process_id: header.map(|header| header.process_id),
            closed: header.map(|header| header.state == RunState::Closed),
        })
    }
}

impl SegmentReport {
    fn new(segment: &SegmentSurvey, share: &Share, now_s: u32) -> SegmentReport {
        let known = |link: emberlog::format::segment::Link| (link.predecessor_number != 0).then_some(link);
        let follows = segment.link.and_then(known).map(|link| Follows {
            number: link.predecessor_number,
            uid: store::hex(&link.predecessor_uid),
            end_offset: link.predecessor_end_offset,
            last_seqno: link.predecessor_last_seqno,
        });
        let clock_mark_s = segment.header.map(|header| header.clock_mark_s);
        let has_log = segment.kept || segment.footer.is_some();
        let has_events = has_log && segment.last_seqno >= segment.first_seqno;
        SegmentReport {
            number: segment.number,
            file: segment.file.clone(),
            uid: segment.header.map(|header| store::hex(&header.uid)),
            state: State::of(segment),
            verdict: segment.label,
            kept: segment.kept,
            events: segment.event_count,
            live_records: share.live_count,
            live_bytes: share.live_bytes,
            dead_bytes: share.dead_bytes,
            first_seqno: has_log.then_some(segment.first_seqno),
            last_seqno: has_events.then_some(segment.last_seqno),
            clock_mark_s,
            age_s: clock_mark_s.map(|mark_s| now_s.saturating_sub(mark_s)),
            length_bytes: segment.file_len,
            allocated_bytes: segment.allocated_bytes,
            data_end_offset: has_log.then_some(segment.data_end.max(DATA_START as u32)),
            follows,
        }
    }
}
