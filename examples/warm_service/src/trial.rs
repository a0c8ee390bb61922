//! One trial: a service is filled, put under load, killed, started again at once; and everything that was seen from outside.
//!
//! Knows: the order of events, where to look. Does not know: what the figures mean.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::{self, SECOND_NS};
use crate::failure::Failure;
use crate::household::Household;
use crate::load::{Plan, Said, Sample};
use crate::process;
use crate::service::{Ready, Settings};
use crate::supervisor::Show;

/// What the service says of itself at `/stats`, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stats {
    pub(crate) origin_query_count: u64,
    pub(crate) cache: CacheStats,
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
    pub(crate) origin_query_count: u64,
}

/// The most that was seen at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peaks {
    /// Anonymous memory of the process beyond what it had before it opened the cache.
    pub(crate) growth_bytes: u64,
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
    /// Whether it closed its cache after SIGTERM.
    pub(crate) closed: bool,
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
    let first: Ready = service.expect()?;
    watch.of(service.pid, &first, settings.cache.as_deref());
    // The port is the system's choice in the first life, and the same in the second.
    let (settings, plan) = (
        Settings { address: first.address, ..settings.clone() },
        Plan { address: first.address, ..plan.clone() },
    );

    let mut load = household.start("load", &plan)?;
    let load_pid = load.pid;
    let (tell, told) = mpsc::channel();
    // Ends with the load's output, or when nobody listens here any more.
    let ear = std::thread::Builder::new().name("ear".to_owned()).spawn(move || {
        while let Some(said) = load.hear::<Said>().transpose() {
            let failed = said.is_err();
            if tell.send(said).is_err() || failed {
                return;
            }
        }
    });
    ear.map_err(|error| Failure::new("cannot listen to the load", error))?;

    show.begin("filling the cache", u64::from(plan.fill_count));
    let mut kill_at_ns = u64::MAX;
    let mut killed = None;
    let samples = loop {
        let left = Duration::from_nanos(kill_at_ns.saturating_sub(clock::now_ns()));
        let said = if killed.is_some() {
            told.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            told.recv_timeout(left.min(Duration::from_secs(3600)))
        };
        match said {
            Ok(said) => match said? {
                Said::Filled { count } => show.at(u64::from(count)),
                Said::Began { at_ns } => {
                    kill_at_ns = at_ns + kill_after_s * SECOND_NS;
                    show.begin("under load", plan.seconds * crate::load::TICKS_PER_S);
                }
                Said::Going { answer_count, hit_count } => {
                    show.going(answer_count, hit_count, killed.is_some());
                    watch.look();
                }
                Said::Done { samples } => break samples,
            },
            Err(RecvTimeoutError::Timeout) if clock::now_ns() >= kill_at_ns => {
                let before = watch.look().ok_or_else(|| Failure::new("the service", "did not answer before the kill"))?;
                let killed_ns = clock::now_ns();
                household.kill(service.pid);
                service = household.start("service", &settings)?;
                let second: Ready = service.expect()?;
                watch.of(service.pid, &second, settings.cache.as_deref());
                killed = Some((killed_ns, before, second));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the load", "ended too early")),
        }
    };
    household.bury(load_pid);
    let (killed_ns, before, second) = killed.ok_or_else(|| Failure::new("the load", "ended before the kill"))?;
    let after = watch.look().ok_or_else(|| Failure::new("the service", "did not answer at the end"))?;
    let closed = stop(household, &mut service)?;
    show.end();
    let [.., first_looks, second_looks] = watch.looks.as_mut_slice() else {
        return Err(Failure::new("the service", "has not lived twice"));
    };
    Ok(Trial {
        samples,
        killed_ns,
        lives: [first, second],
        looks: [std::mem::take(first_looks), std::mem::take(second_looks)],
        peaks: watch.peaks,
        stats: [before, after],
        closed,
    })
}

/// SIGTERM; returns when the service is gone, and whether it said that all is well.
fn stop(household: &Household, service: &mut crate::household::Helper) -> Result<bool, Failure> {
    let pid = i32::try_from(service.pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| Failure::new("cannot stop the service", error))?;
    }
    // It says nothing more, so this is the end of its output, and of it.
    while service.hear::<serde_json::Value>()?.is_some() {}
    Ok(household.bury(service.pid))
}

/// Looks at whatever life the service is in.
#[derive(Debug, Default)]
struct Watch<'a> {
    pid: u32,
    address: Option<SocketAddr>,
    baseline_bytes: u64,
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
        self.baseline_bytes = ready.baseline_bytes;
        self.directory = directory;
        self.looks.push(vec![Look { at_ns: ready.at_ns, origin_query_count: 0 }]);
    }

    /// Looks now. `None` if the service does not answer; that is no reason to give up, as it may be busy.
    fn look(&mut self) -> Option<Stats> {
        let peaks = &mut self.peaks;
        if let Some(bytes) = process::anonymous_bytes(self.pid) {
            peaks.growth_bytes = peaks.growth_bytes.max(bytes.saturating_sub(self.baseline_bytes));
        }
        let allocated_bytes = self.directory.map_or(0, process::allocated_bytes);
        peaks.allocated_bytes = peaks.allocated_bytes.max(allocated_bytes);
        let stats = ask_stats(self.address?)?;
        peaks.held_bytes = peaks.held_bytes.max(stats.cache.memory.held_bytes);
        peaks.used_bytes = peaks.used_bytes.max(stats.cache.disk.as_ref().map_or(0, |disk| disk.used_bytes));
        let look = Look { at_ns: clock::now_ns(), origin_query_count: stats.origin_query_count };
        self.looks.last_mut()?.push(look);
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
