//! Plays stretches of a workload on a session and lets the oracle judge every answer.
//!
//! Knows: lanes, requests, the oracle. Does not know: which stretches make an experiment; that is run.rs.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::replay::oracle::{Covered, Oracle, Violations};
use crate::replay::protocol::{Ask, Request, Response};
use crate::replay::session::Session;
use crate::replay::workload::{Operation, Workload, version_of};
use crate::stopwatch::Stopwatch;

/// What became of the requests, summed over lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Answered requests.
    pub(crate) requests: u64,
    /// Of these, gets.
    pub(crate) gets: u64,
    /// Gets that hit.
    pub(crate) hits: u64,
    /// Value bytes that gets asked for.
    pub(crate) get_bytes: u64,
    /// Value bytes of the hits.
    pub(crate) hit_bytes: u64,
    /// Insertions after a miss, and overwrites.
    pub(crate) insertions: u64,
    /// Removes.
    pub(crate) removes: u64,
    /// Insertions that the memory tier refused.
    pub(crate) refused_by_memory: u64,
    /// Insertions that the disk tier refused.
    pub(crate) refused_by_disk: u64,
    /// Time that requests were under way.
    pub(crate) traffic_ms: f64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.gets += other.gets;
        self.hits += other.hits;
        self.get_bytes += other.get_bytes;
        self.hit_bytes += other.hit_bytes;
        self.insertions += other.insertions;
        self.removes += other.removes;
        self.refused_by_memory += other.refused_by_memory;
        self.refused_by_disk += other.refused_by_disk;
    }
}

/// Where each lane is: the next request it has no answer to. A lane skips the other lanes' requests.
pub(crate) type Positions = Vec<u32>;

/// How far a stretch came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// For each lane, the first request without an answer.
    pub(crate) acknowledged: Positions,
    /// For each lane, the first request that was certainly not sent.
    pub(crate) sent: Positions,
}

/// Answers to gets, by request; for hit ratios over any stretch.
const NO_ANSWER: u8 = 0;
const MISS: u8 = 1;
const HIT: u8 = 2;

/// A workload being played on one cache, through any number of sessions.
#[derive(Debug)]
pub(crate) struct Player<'w> {
    workload: &'w Workload,
    progress: &'w Progress,
    oracles: Vec<Oracle<'w>>,
    answers: Vec<AtomicU8>,
    tally: Tally,
}

impl<'w> Player<'w> {
    /// A player for an empty cache.
    pub(crate) fn new(workload: &'w Workload, lane_count: usize, progress: &'w Progress) -> Player<'w> {
        let oracles = (0..lane_count).map(|_| Oracle::new(workload)).collect();
        let answers = (0..workload.request_count()).map(|_| AtomicU8::new(NO_ANSWER)).collect();
        Player { workload, progress, oracles, answers, tally: Tally::default() }
    }

    /// The start of the workload.
    pub(crate) fn start(&self) -> Positions {
        vec![0; self.oracles.len()]
    }

    /// Plays each lane's requests `from .. until`. With `kill_after`, kills the child when so many requests of this stretch have
    /// been answered, and stops there.
    pub(crate) fn play(
        &mut self,
        session: &mut Session,
        from: &[u32],
        until: &[u32],
        kill_after: Option<u64>,
    ) -> Result<Reached, Failure> {
        let (workload, answers, lane_count) = (self.workload, &self.answers, self.oracles.len());
        let requests = |lane: usize| {
            let indices = from[lane]..until[lane];
            indices.filter(move |index| workload.lane(workload.key_id(*index), lane_count) == lane)
        };
        let answered = AtomicU64::new(0);
        let mut kill_failure = None;
        let mut tallies: Vec<_> = (0..lane_count).map(|_| (Tally::default(), None)).collect();
        let mut lanes = Vec::new();
        for (lane, (oracle, (tally, failed))) in self.oracles.iter_mut().zip(&mut tallies).enumerate() {
            let asks = requests(lane).map(move |index| traffic(workload, index));
            let answered = &answered;
            let judge = move |session: &Session, request: &Request, response: Response<'_>| {
                let index = (request.version - 1) as u32;
                let answer = judge(oracle, tally, workload, index, response);
                answers[index as usize].store(answer, Ordering::Relaxed);
                if Some(answered.fetch_add(1, Ordering::Relaxed) + 1) == kill_after {
                    *failed = session.kill().err();
                }
            };
            lanes.push((asks, judge));
        }
        let done = self.progress.done();
        let watch = Stopwatch::start();
        let pumped = session.pump(lanes, || self.progress.set(done + answered.load(Ordering::Relaxed)));
        self.tally.traffic_ms += watch.ms();
        self.progress.set(done + answered.load(Ordering::Relaxed));
        for (tally, failed) in tallies {
            self.tally.add(&tally);
            kill_failure = kill_failure.or(failed);
        }
        if let Some(error) = kill_failure {
            return Err(Failure::new(format!("cannot kill the child: {error}")));
        }
        let pumped = pumped?;
        let position = |lane: usize, count: u64| {
            requests(lane).nth(usize::try_from(count).unwrap_or(usize::MAX)).unwrap_or(until[lane].max(from[lane]))
        };
        Ok(Reached {
            acknowledged: pumped
                .iter()
                .enumerate()
                .map(|(lane, pumped)| position(lane, pumped.answered_count))
                .collect(),
            sent: pumped.iter().enumerate().map(|(lane, pumped)| position(lane, pumped.sent_count)).collect(),
        })
    }

    /// The keys that are there, of those that were ever written; nothing is promoted. By key id.
    pub(crate) fn present(&mut self, session: &mut Session) -> Result<Vec<bool>, Failure> {
        let found = self.probe(session, Ask::Contains)?;
        Ok(found.into_iter().map(|event| event.is_some()).collect())
    }

    /// Reads every key that was ever written, without promotion, and judges what is there. By key id, the request that wrote it.
    pub(crate) fn read_all(&mut self, session: &mut Session) -> Result<Vec<Option<u32>>, Failure> {
        self.probe(session, Ask::Peek)
    }

    fn probe(&mut self, session: &mut Session, ask: Ask) -> Result<Vec<Option<u32>>, Failure> {
        let (workload, lane_count) = (self.workload, self.oracles.len());
        let mut found_by_lane = vec![Vec::new(); lane_count];
        let mut lanes = Vec::new();
        for (lane, (oracle, found)) in self.oracles.iter_mut().zip(&mut found_by_lane).enumerate() {
            let touched: Vec<u32> = (0..workload.key_count())
                .filter(|id| workload.lane(*id, lane_count) == lane && oracle.was_ever_touched(*id))
                .collect();
            // The version carries the key's id there and back.
            let request = move |id: u32| Request { ask, size_bytes: 0, key: workload.key(id), version: u64::from(id) };
            let asks = touched.into_iter().map(request);
            let judge = move |_: &Session, request: &Request, response: Response<'_>| {
                let id = request.version as u32;
                match response {
                    Response::Hit(bytes) => found.extend(oracle.hit(id, bytes).map(|event| (id, event))),
                    Response::Present => found.push((id, 0)),
                    _ => {}
                }
            };
            lanes.push((asks, judge));
        }
        session.pump(lanes, || {})?;
        let mut found = vec![None; workload.key_count() as usize];
        for (id, event) in found_by_lane.into_iter().flatten() {
            found[id as usize] = Some(event);
        }
        Ok(found)
    }

    /// By key id, the insertion that was acknowledged last, unless a remove followed.
    pub(crate) fn latest_insertions(&self) -> Vec<Option<u32>> {
        let lane = |id| &self.oracles[self.workload.lane(id, self.oracles.len())];
        (0..self.workload.key_count()).map(|id| lane(id).latest_insertion(id)).collect()
    }

    /// Tells the oracle that the cache was killed there.
    pub(crate) fn killed(&mut self, reached: &Reached, covered: Covered) {
        let (workload, lane_count) = (self.workload, self.oracles.len());
        for (lane, oracle) in self.oracles.iter_mut().enumerate() {
            let is_mine = |index| workload.lane(workload.key_id(index), lane_count) == lane;
            oracle.killed(reached.acknowledged[lane], reached.sent[lane], covered, is_mine);
        }
    }

    /// Gets and hits among the answers to each lane's requests `from .. until`.
    pub(crate) fn count(&self, from: &[u32], until: &[u32]) -> (u64, u64) {
        let lane_count = self.oracles.len();
        let (mut gets, mut hits) = (0, 0);
        let first = from.iter().copied().min().unwrap_or(0);
        let last = until.iter().copied().max().unwrap_or(0);
        for index in first..last {
            let lane = self.workload.lane(self.workload.key_id(index), lane_count);
            if (from[lane]..until[lane]).contains(&index) {
                let answer = self.answers[index as usize].load(Ordering::Relaxed);
                gets += u64::from(answer != NO_ANSWER);
                hits += u64::from(answer == HIT);
            }
        }
        (gets, hits)
    }

    /// What became of the requests so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The bad answers so far.
    pub(crate) fn violations(&self) -> Violations {
        let mut all = Violations::default();
        self.oracles.iter().for_each(|oracle| all.add(oracle.violations()));
        all
    }
}

fn traffic(workload: &Workload, index: u32) -> Request {
    let ask = match workload.operation(index) {
        Operation::Get => Ask::Get,
        Operation::Overwrite => Ask::Insert,
        Operation::Remove => Ask::Remove,
    };
    let (size_bytes, key) = (workload.size_bytes(index), workload.key(workload.key_id(index)));
    Request { ask, size_bytes, key, version: version_of(index) }
}

fn judge(oracle: &mut Oracle<'_>, tally: &mut Tally, workload: &Workload, index: u32, response: Response<'_>) -> u8 {
    tally.requests += 1;
    let size_bytes = u64::from(workload.size_bytes(index));
    match response {
        Response::Hit(bytes) => {
            tally.gets += 1;
            tally.hits += 1;
            tally.get_bytes += size_bytes;
            tally.hit_bytes += size_bytes;
            // A bad answer is counted by the oracle.
            let _ = oracle.hit(workload.key_id(index), bytes);
            HIT
        }
        Response::Filled(outcome) | Response::Inserted(outcome) => {
            tally.insertions += 1;
            tally.refused_by_memory += u64::from(outcome.is_refused_by_memory());
            tally.refused_by_disk += u64::from(outcome.is_refused_by_disk());
            oracle.inserted(index);
            if matches!(response, Response::Inserted(_)) {
                return NO_ANSWER;
            }
            tally.gets += 1;
            tally.get_bytes += size_bytes;
            MISS
        }
        Response::Removed(_) => {
            tally.removes += 1;
            oracle.removed(index);
            NO_ANSWER
        }
        // The session lets no other answer to traffic through.
        Response::Present | Response::Absent => NO_ANSWER,
    }
}
