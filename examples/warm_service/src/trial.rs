//! One trial: a service is filled, put under load, killed, started again at once; and everything that was seen from outside.
//!
//! Knows: the order of events, where to look. Does not know: what the figures mean.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::clock::{self, SECOND_NS};
use crate::failure::Failure;
use crate::household::{Heard, Helper, Household};
use crate::load::{Plan, Said, Sample, TICKS_PER_S};
use crate::process;
use crate::service::{Ready, Settings};
use crate::supervisor::Show;

/// How long a service may take until it listens, and until it has ended after SIGTERM.
const START_PATIENCE_NS: u64 = 30 * SECOND_NS;
const STOP_PATIENCE_NS: u64 = 30 * SECOND_NS;

/// What the service says of itself at `/stats`, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stats {
    pub(crate) origin_query_count: u64,
    pub(crate) cache: CacheStats,
}

impl Stats {
    #[allow(clippy::cast_precision_loss, reason = "counts of one run")]
    fn counts(&self) -> Counts {
        Counts {
            origin_queries: self.origin_query_count as f64,
            memory_hits: self.cache.memory.hits as f64,
            disk_hits: self.cache.disk.as_ref().map_or(0, |disk| disk.hits) as f64,
        }
    }
}

/// The cache's own statistics.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CacheStats {
    pub(crate) memory: MemoryStats,
    pub(crate) disk: Option<DiskStats>,
    pub(crate) recovery: Option<RecoveryStats>,
}

/// Its memory.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MemoryStats {
    pub(crate) hits: u64,
    pub(crate) held_bytes: u64,
}

/// Its disk tier.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DiskStats {
    pub(crate) hits: u64,
    pub(crate) used_bytes: u64,
}

/// What opening found.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RecoveryStats {
    pub(crate) entries: u64,
}

/// A look at a running service.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) at_ns: u64,
    pub(crate) counts: Counts,
}

/// What a service has counted since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) origin_queries: f64,
    pub(crate) memory_hits: f64,
    pub(crate) disk_hits: f64,
}

/// The most that was seen at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peaks {
    /// Anonymous memory of the process.
    pub(crate) anonymous_bytes: u64,
    pub(crate) held_bytes: u64,
    /// Blocks of the cache's files, by the file system.
    pub(crate) allocated_bytes: u64,
    /// The same by the cache.
    pub(crate) used_bytes: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) samples: Vec<Sample>,
    pub(crate) killed_ns: u64,
    /// Both lives of the service.
    pub(crate) lives: [Ready; 2],
    /// Looks at each life, in order.
    pub(crate) looks: [Vec<Look>; 2],
    pub(crate) peaks: Peaks,
    /// The service's own words: just before the kill, and at the end.
    pub(crate) stats: [Stats; 2],
}

/// Runs one.
pub(crate) fn run(
    household: &Household,
    settings: &Settings,
    plan: &Plan,
    kill_after_s: u64,
    show: &Show,
) -> Result<Trial, Failure> {
    let mut watch = Watch::default();
    let mut service = household.start("service", settings)?;
    let first: Ready = service.expect(clock::now_ns() + START_PATIENCE_NS)?;
    watch.of(service.pid, &first, settings.cache.as_deref());
    // The port is the system's choice in the first life, and the same in the second.
    let (settings, plan) =
        (Settings { address: first.address, ..settings.clone() }, Plan { address: first.address, ..plan.clone() });

    let load = household.start("load", &plan)?;
    show.begin("filling the cache", u64::from(plan.fill_count));
    let mut kill_at_ns = u64::MAX;
    let mut killed = None;
    let samples = loop {
        let until_ns = if killed.is_some() { u64::MAX } else { kill_at_ns };
        match load.hear(until_ns)? {
            Heard::Said(Said::Filled { count }) => show.at(u64::from(count)),
            Heard::Said(Said::Began { at_ns }) => {
                kill_at_ns = at_ns + kill_after_s * SECOND_NS;
                show.begin("under load", plan.seconds * TICKS_PER_S);
            }
            Heard::Said(Said::Going { answer_count, hit_count }) => {
                show.going(answer_count, hit_count, killed.is_some());
                watch.look();
            }
            Heard::Said(Said::Done { samples }) => break samples,
            Heard::Nothing => {
                let before =
                    watch.look().ok_or_else(|| Failure::new("the service", "did not answer before the kill"))?;
                let killed_ns = clock::now_ns();
                household.kill(service.pid);
                service = household.start("service", &settings)?;
                let second: Ready = service.expect(killed_ns + START_PATIENCE_NS)?;
                watch.of(service.pid, &second, settings.cache.as_deref());
                killed = Some((killed_ns, before, second));
            }
            Heard::End => return Err(Failure::new("the load", "ended too early")),
        }
    };
    household.bury(load.pid);
    let (killed_ns, before, second) = killed.ok_or_else(|| Failure::new("the load", "ended before the kill"))?;
    let after = watch.look().ok_or_else(|| Failure::new("the service", "did not answer at the end"))?;
    stop(household, &service)?;
    show.end();
    let [first_looks, second_looks] = watch.looks.as_mut_slice() else {
        return Err(Failure::new("the service", "has not lived twice"));
    };
    Ok(Trial {
        samples,
        killed_ns,
        lives: [first, second],
        looks: [std::mem::take(first_looks), std::mem::take(second_looks)],
        peaks: watch.peaks,
        stats: [before, after],
    })
}

/// SIGTERM; returns when the service has finished what it had, closed its cache, and is gone.
fn stop(household: &Household, service: &Helper) -> Result<(), Failure> {
    if let Some(pid) = i32::try_from(service.pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).map_err(|error| Failure::new("cannot stop the service", error))?;
    }
    // It says nothing more, so this waits for the end of its output, which is its own.
    let end = service.hear::<serde_json::Value>(clock::now_ns() + STOP_PATIENCE_NS)?;
    if end == Heard::End && household.bury(service.pid) {
        return Ok(());
    }
    Err(Failure::new("the service", "did not close and end after SIGTERM"))
}

/// Looks at whatever life the service is in.
#[derive(Debug, Default)]
struct Watch<'a> {
    pid: u32,
    address: Option<SocketAddr>,
    directory: Option<&'a Path>,
    peaks: Peaks,
    /// By life.
    looks: Vec<Vec<Look>>,
}

impl<'a> Watch<'a> {
    /// From now on it looks at this life.
    fn of(&mut self, pid: u32, ready: &Ready, directory: Option<&'a Path>) {
        self.pid = pid;
        self.address = Some(ready.address);
        self.directory = directory;
        self.looks.push(vec![Look { at_ns: ready.at_ns, counts: Counts::default() }]);
    }

    /// Looks now. `None` if the service does not answer; that is no reason to give up, as it may be busy.
    fn look(&mut self) -> Option<Stats> {
        let peaks = &mut self.peaks;
        if let Some(bytes) = process::anonymous_bytes(self.pid) {
            peaks.anonymous_bytes = peaks.anonymous_bytes.max(bytes);
        }
        let allocated_bytes = self.directory.map_or(0, process::allocated_bytes);
        peaks.allocated_bytes = peaks.allocated_bytes.max(allocated_bytes);
        let stats = ask_stats(self.address?)?;
        peaks.held_bytes = peaks.held_bytes.max(stats.cache.memory.held_bytes);
        peaks.used_bytes = peaks.used_bytes.max(stats.cache.disk.as_ref().map_or(0, |disk| disk.used_bytes));
        self.looks.last_mut()?.push(Look { at_ns: clock::now_ns(), counts: stats.counts() });
        Some(stats)
    }
}

fn ask_stats(address: SocketAddr) -> Option<Stats> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nhost: warm-service\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    // One snapshot; far more would not be one.
    stream.take(1 << 20).read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::load::Outcome;

    /// A trial whose requests ended like this, and in which nothing else was seen.
    pub(crate) fn trial(outcomes: &[Outcome]) -> Trial {
        let ready = |at_ns| Ready { address: ([127, 0, 0, 1], 1).into(), at_ns, open_ns: 1, baseline_bytes: 1 };
        let stats = Stats {
            origin_query_count: 0,
            cache: CacheStats { memory: MemoryStats { hits: 0, held_bytes: 0 }, disk: None, recovery: None },
        };
        Trial {
            samples: outcomes.iter().map(|outcome| Sample { due_ns: 1, latency_ns: 1, outcome: *outcome }).collect(),
            killed_ns: 10 * SECOND_NS,
            lives: [ready(0), ready(11 * SECOND_NS)],
            looks: [Vec::new(), Vec::new()],
            peaks: Peaks::default(),
            stats: [stats.clone(), stats],
        }
    }
}
