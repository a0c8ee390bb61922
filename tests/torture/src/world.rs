//! A world for the model: a simulated disk, a clock, the cache on it, and the oracle beside it.
//!
//! One client, one thread. Every operation is made on both and compared. The world survives crashes: the disk becomes what a crash leaves, the cache
//! is opened again, and the oracle forgets what did not happen.

use crate::oracle::{Change, Oracle, key_bytes, value_bytes};
use crate::recorder::{Promised, Recorder};
use crate::setup::{Rng, START_UNIX_MS, Setup};
use emberlog::disk::{Disk, SimDisk};
use emberlog::format::record::RecordHeader;
use emberlog::{Cache, Durability, EntryOptions, ErrorKind, MaintenanceBudget, ManualClock};
use std::sync::Arc;
use std::time::Duration;

pub const KEY_COUNT: u32 = 48;

/// How a process ends without being asked.
#[derive(Debug, Clone, Copy)]
pub enum Crash {
    Kill,
    PowerCut { seed: u64 },
}

/// See the [module](self).
#[derive(Debug)]
pub struct World {
    pub setup: Setup,
    pub disk: SimDisk,
    pub clock: Arc<ManualClock>,
    pub now_ms: u64,
    pub cache: Option<Cache>,
    pub oracle: Oracle,
    pub rng: Rng,
    /// Value of the disk's count of calls at which the process dies.
    dies_at: Option<u64>,
    /// Events up to here survive a power cut, and those up to there a kill.
    durable_seqno: u64,
    written_seqno: u64,
    /// Whether segments were ever retired.
    has_retired: bool,
    /// Operations that have returned, and that nothing has made durable yet.
    at_risk: Vec<AtRisk>,
    /// Stands between cache and disk, if states are to be kept.
    recorder: Option<Recorder>,
    pub hits: u64,
    /// The most that one crash has lost of what had returned: bytes, and the age of the oldest.
    pub lost_bytes: u64,
    pub lost_ms: u64,
}

/// An operation that has returned.
#[derive(Debug, Clone, Copy)]
struct AtRisk {
    seqno: u64,
    at_ms: u64,
    bytes: u64,
}

impl World {
    pub fn new(setup: Setup, mut rng: Rng) -> Self {
        let disk = SimDisk::new(rng.next());
        disk.set_capacity_bytes(setup.disk_bytes);
        Self {
            setup,
            disk,
            clock: Arc::new(ManualClock::new(START_UNIX_MS)),
            now_ms: START_UNIX_MS,
            cache: None,
            oracle: Oracle::default(),
            rng,
            dies_at: None,
            durable_seqno: 0,
            written_seqno: 0,
            has_retired: false,
            at_risk: Vec::new(),
            recorder: None,
            hits: 0,
            lost_bytes: 0,
            lost_ms: 0,
        }
    }

    /// The process will die in the `ops`-th call that changes the disk.
    pub fn die_after(&mut self, ops: u64) {
        self.dies_at = Some(self.disk.op_count() + ops);
        self.disk.stop_after(ops);
    }

    pub fn is_dead(&self) -> bool {
        self.dies_at.is_some_and(|at| self.disk.op_count() >= at)
    }

    pub fn cache(&self) -> &Cache {
        self.cache.as_ref().expect("the world's cache is open")
    }

    /// Opens the store and checks everything. Returns false if the process died meanwhile.
    pub fn open(&mut self) -> bool {
        let opened = self.setup.builder(&self.clock, self.rng.next()).open_on(self.handle());
        if self.is_dead() {
            return false;
        }
        let cache = opened.unwrap_or_else(|error| panic!("a sound disk opens: {error}"));
        let disk = cache.stats().disk.expect("a disk tier");
        assert!(disk.is_on, "a sound disk is on: {:?}", disk.off_because);
        let report = cache.stats().recovery.expect("a disk tier");
        let damage: Vec<_> = report.findings.iter().filter(|finding| finding.damage).collect();
        assert!(damage.is_empty() && report.forgotten_older == 0, "a crash is not damage: {damage:?}");
        let kept = disk.last_seqno;
        // Where all that was durable has been retired, nothing may be left to tell how far it reached.
        let may_be_empty = self.has_retired && report.segments_kept == 0;
        let promised = self.durable_seqno;
        assert!(kept >= promised || may_be_empty, "events up to {promised} were promised, {kept} are left");
        self.oracle.cut(kept);
        let lost = || self.at_risk.iter().filter(|event| event.seqno > kept);
        self.lost_bytes = self.lost_bytes.max(lost().map(|event| event.bytes).sum());
        self.lost_ms = self.lost_ms.max(lost().map(|event| self.now_ms - event.at_ms).max().unwrap_or(0));
        self.at_risk.clear();
        (self.durable_seqno, self.written_seqno) = (kept, kept);
        self.promise();
        self.cache = Some(cache);
        self.cache().validate();
        self.check_all();
        true
    }

    pub fn check_all(&mut self) {
        self.hits += self.oracle.check_all(self.cache(), KEY_COUNT, self.now_ms);
    }

    /// The world as a crash at this instant leaves it. This one goes on.
    pub fn crashed(&mut self, crash: Crash) -> Self {
        match crash {
            Crash::Kill => self.left(self.disk.after_kill(), self.written_seqno),
            Crash::PowerCut { seed } => self.left(self.disk.after_power_cut(seed), self.durable_seqno),
        }
    }

    /// The world with a disk that a crash has left at some time, by when events up to `promised_seqno` were to survive it.
    pub fn left(&mut self, disk: SimDisk, promised_seqno: u64) -> Self {
        Self {
            setup: self.setup.clone(),
            // The first segment is the first to go.
            has_retired: self.has_retired || disk.read_file("segment-0000000001.log").is_empty(),
            disk,
            clock: Arc::new(ManualClock::new(self.now_ms)),
            now_ms: self.now_ms,
            cache: None,
            oracle: self.oracle.clone(),
            rng: Rng::new(self.rng.next()),
            dies_at: None,
            durable_seqno: promised_seqno,
            // What a killed process wrote is not durable before the next one has sealed it.
            written_seqno: promised_seqno,
            at_risk: self.at_risk.clone(),
            recorder: None,
            hits: 0,
            lost_bytes: self.lost_bytes,
            lost_ms: self.lost_ms,
        }
    }

    /// Keeps states from when the recorder is started.
    pub fn record(&mut self) {
        self.recorder = Some(Recorder::new(&self.disk));
    }

    /// # Panics
    /// Without [`World::record`].
    pub fn recorder(&self) -> &Recorder {
        self.recorder.as_ref().expect("it was asked for")
    }

    fn handle(&self) -> Arc<dyn Disk> {
        match &self.recorder {
            Some(recorder) => Arc::new(recorder.clone()),
            None => Arc::new(self.disk.clone()),
        }
    }

    fn promise(&self) {
        if let Some(recorder) = &self.recorder {
            let (durable_seqno, written_seqno) = (self.durable_seqno, self.written_seqno);
            recorder.promise(Promised { durable_seqno, written_seqno });
        }
    }

    /// # Panics
    /// If the cache is not open.
    pub fn disk_stats(&self) -> emberlog::DiskStats {
        self.cache().stats().disk.expect("a disk tier")
    }

    /// The same, and there is no way back.
    pub fn crash(&mut self, crash: Crash) {
        let durable_seqno = self.durable_seqno;
        let mut left = self.crashed(crash);
        if let Crash::Kill = crash {
            // A power cut may follow before the next process has made anything durable.
            left.durable_seqno = durable_seqno;
        }
        left.hits = self.hits;
        // Only now the cache may go: dropping it closes it, which this process never came to.
        *self = left;
    }

    /// Makes the medium one that held another store before, whose segments had the same numbers and lengths.
    pub fn fill_with_another_store(&mut self, seed: u64) {
        let setup = Setup { disk_bytes: 1024 << 10, durability: Durability::Written, ..self.setup.clone() };
        let mut other = Self::new(setup, Rng::new(seed));
        assert!(other.open());
        other.insert(3, 1000, None);
        for key in 0..60 {
            other.insert(2 + key % 40, 900, None);
        }
        let first = other.disk.snapshot().into_iter().find(|(name, _)| name.starts_with("segment-"));
        self.disk.set_stale_bytes(first.expect("a store has a segment").1);
    }

    /// Notes what the call that just returned has promised.
    fn settle(&mut self, is_flush: bool) {
        if self.is_dead() {
            return;
        }
        let disk = self.cache().stats().disk.expect("a disk tier");
        assert!(disk.is_on, "nothing failed: {:?}", disk.off_because);
        let last = self.oracle.last_seqno();
        assert!(disk.last_seqno >= last, "every mutation leaves a record: {} of {last}", disk.last_seqno);
        let promised = if is_flush || self.setup.durability == Durability::Synced { last } else { 0 };
        assert!(disk.synced_seqno >= promised, "synced {}, promised {promised}", disk.synced_seqno);
        let handed_over = if self.setup.durability == Durability::Written { last } else { promised };
        assert!(disk.written_seqno >= handed_over, "written {}, promised {handed_over}", disk.written_seqno);
        // What the statistics claim beyond the promise has to hold as well.
        self.durable_seqno = disk.synced_seqno;
        self.written_seqno = disk.written_seqno;
        self.promise();
        self.at_risk.retain(|event| event.seqno > disk.synced_seqno);
        assert!(disk.used_bytes <= self.setup.disk_bytes, "{} of {}", disk.used_bytes, self.setup.disk_bytes);
        let really = self.disk.used_bytes();
        assert!(really <= disk.used_bytes, "files take {really} bytes, {} are charged", disk.used_bytes);
    }

    /// The operation noted last has returned; its key and value have so many bytes.
    fn returned(&mut self, payload_len: usize) {
        if !self.is_dead() {
            let (seqno, bytes) = (self.oracle.last_seqno(), (RecordHeader::LEN + payload_len) as u64);
            self.at_risk.push(AtRisk { seqno, at_ms: self.now_ms, bytes });
        }
    }

    fn next_seqno(&self) -> u64 {
        self.cache().stats().disk.expect("a disk tier").last_seqno + 1
    }

    pub fn random_len(&mut self) -> usize {
        let most = match self.rng.below(20) {
            0 => return 0,
            1..=7 => 64,
            8..=15 => 1500,
            16..=18 => 6000,
            // Now and then more than a segment, the append buffer or memory takes.
            _ => 80_000,
        };
        self.rng.below(most) as usize
    }

    pub fn insert(&mut self, key: u32, len: usize, time_to_live: Option<Duration>) {
        let version = self.oracle.next_version();
        // Whole seconds, rounded up: never gone early, and never served a second late.
        let until_ms = time_to_live.map(|time| self.now_ms + time.as_millis() as u64 + 1000);
        self.oracle.note(self.next_seqno(), Change::Put { key, version, len, until_ms });
        let options = time_to_live.map_or(EntryOptions::new(), |time| EntryOptions::new().time_to_live(time));
        let outcome = self.cache().insert_with(key_bytes(key), value_bytes(key, version, len), options);
        self.returned(key_bytes(key).len() + len);
        self.settle(false);
        if outcome.memory.is_stored() && !self.is_dead() {
            assert!(self.cache().contains_key(key_bytes(key)), "key {key} was stored just now");
        }
    }

    pub fn remove(&mut self, key: u32) {
        let was_there = self.cache().peek(key_bytes(key)).is_some();
        self.oracle.note(self.next_seqno(), Change::Remove { key });
        let removed = self.cache().remove(key_bytes(key));
        if !self.is_dead() {
            assert_eq!(removed, was_there, "remove tells whether key {key} had a value");
        }
        self.returned(0);
        self.settle(false);
    }

    pub fn clear(&mut self) {
        self.oracle.note(self.next_seqno(), Change::Clear);
        self.cache().invalidate_all();
        self.returned(0);
        self.settle(false);
    }

    pub fn flush(&mut self) {
        let flushed = self.cache().flush();
        if !self.is_dead() {
            flushed.unwrap_or_else(|error| panic!("a sound disk is flushed: {error}"));
        }
        self.settle(true);
    }

    pub fn maintain(&mut self, steps_max: u32) {
        let done = self.cache().maintain(MaintenanceBudget { steps_max, ..MaintenanceBudget::default() });
        if !self.is_dead() {
            done.unwrap_or_else(|error| panic!("a sound disk is maintained: {error}"));
        }
        self.settle(false);
    }

    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.now_ms += by.as_millis() as u64;
    }

    fn ask(&mut self, key: u32) {
        let cache = self.cache();
        let answer = match self.rng.clone().below(3) {
            0 => cache.get(key_bytes(key)).map(|bytes| bytes.to_vec()),
            1 => cache.read(key_bytes(key), <[u8]>::to_vec),
            _ => cache.peek(key_bytes(key)).map(|bytes| bytes.to_vec()),
        };
        self.oracle.check(key, self.now_ms, answer.as_deref());
        if self.cache().contains_key(key_bytes(key)) {
            assert!(self.oracle.current(key, self.now_ms).is_some(), "key {key} has no value to be there");
        }
        self.hits += u64::from(answer.is_some());
    }

    pub fn close(&mut self) {
        let closed = self.cache().close();
        assert!(self.cache().get(key_bytes(3)).is_none(), "a closed cache serves nothing");
        if !self.is_dead() {
            closed.unwrap_or_else(|error| panic!("a sound disk is closed: {error}"));
            self.durable_seqno = self.durable_seqno.max(self.oracle.last_seqno());
            self.written_seqno = self.durable_seqno;
            let flushed = self.cache().flush().expect_err("a closed cache cannot be flushed");
            assert_eq!(flushed.kind(), ErrorKind::Closed);
            self.cache = None;
        }
    }

    /// One random operation. Returns false once the process is dead.
    pub fn step(&mut self) -> bool {
        let key = self.rng.below(KEY_COUNT.into()) as u32;
        match self.rng.below(100) {
            0..=47 => {
                let len = self.random_len();
                let time_to_live = (self.rng.below(5) == 0).then(|| Duration::from_millis(1 + self.rng.below(20_000)));
                self.insert(key, len, time_to_live);
            }
            48..=57 => self.remove(key),
            58 => self.clear(),
            59..=80 => self.ask(key),
            81..=85 => self.flush(),
            86..=92 => {
                let steps = 1 + self.rng.below(4) as u32;
                self.maintain(steps);
            }
            93..=96 => {
                let by = Duration::from_millis(self.rng.below(5000));
                self.advance(by);
            }
            97 => self.check_all(),
            98 => self.cache().validate(),
            _ => {
                self.close();
                return !self.is_dead() && self.open();
            }
        }
        !self.is_dead()
    }

    /// Random operations, at most `count`; fewer if the process dies. Returns whether it lives.
    pub fn run(&mut self, count: u64) -> bool {
        (0..count).all(|_| self.step())
    }
}
