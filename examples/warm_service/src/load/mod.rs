//! The load: first nearly every report once, so that the service is as warm as after a long day; then requests on a timetable.
//!
//! Knows: the timetable, Zipf's law, the right answers. Does not know: that the service is killed meanwhile.
//!
//! The loop is open: a request goes out when it is due, however many wait for answers. A closed loop would ask a slow service less often, and so
//! leave out just the latencies that count.

mod client;
mod sample;
mod zipf;

pub(crate) use sample::{Outcome, Sample};

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::clock::{self, SECOND_NS};
use crate::failure::Failure;
use crate::orders::Shops;
use crate::process;
use client::Client;
use zipf::Zipf;

/// After this long without an answer a request has failed.
pub(crate) const PATIENCE_NS: u64 = 2 * SECOND_NS;
/// Requests that wait at once while the cache is being filled; one would leave the origin idle between two questions.
const FILLING_AT_ONCE: u32 = 4;
/// How long one of these may take: the machine may be busy, and nothing is measured yet.
const FILLING_PATIENCE: Duration = Duration::from_secs(60);
/// Times a second that it says how far it is.
pub(crate) const TICKS_PER_S: u64 = 4;

/// What to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) shops: Shops,
    pub(crate) skew: f64,
    pub(crate) seed: u64,
    /// Reports that are asked for before the timetable begins: the most popular ones, the least popular of them first. Not all of them: in a
    /// long day, too, some are asked for for the first time.
    pub(crate) fill_count: u32,
    pub(crate) rate_per_s: u64,
    pub(crate) seconds: u64,
}

/// What it says, a line each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Said {
    /// So many reports were asked for once.
    Filled { count: u32 },
    /// The timetable begins.
    Began { at_ns: u64 },
    /// So many requests are answered right, so many of them from the cache, since the last time it said so.
    Going { answer_count: u64, hit_count: u64 },
    /// All requests, about in the order in which they ended.
    Done { samples: Vec<Sample> },
}

/// Sends what the plan says, and tells about it on standard output.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    process::die_with_parent()?;
    process::allow_many_sockets();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime", error))?;
    let client = Client::new(plan.address, plan.shops);
    LocalSet::new().block_on(&runtime, async {
        fill(plan, &client).await?;
        let samples = keep_timetable(plan, &client).await?;
        say(&Said::Done { samples })
    })
}

/// Asks for each report once, the most popular ones last, as those are what a cache should end up with.
async fn fill(plan: &Plan, client: &Rc<Client>) -> Result<(), Failure> {
    let left = Rc::new(Cell::new(plan.fill_count));
    let workers: Vec<_> = (0..FILLING_AT_ONCE)
        .map(|_| {
            let (left, client, shops) = (Rc::clone(&left), Rc::clone(client), plan.shops);
            let count = plan.fill_count;
            tokio::task::spawn_local(async move {
                while let Some(rank) = left.get().checked_sub(1) {
                    left.set(rank);
                    let outcome = client.ask(shops.report(rank), FILLING_PATIENCE).await;
                    if !outcome.is_answer() {
                        return Err(Failure::new("cannot fill the cache", format_args!("{outcome:?}")));
                    }
                    if rank % 16 == 0 {
                        say(&Said::Filled { count: count - rank })?;
                    }
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await.map_err(|error| Failure::new("cannot fill the cache", error))??;
    }
    Ok(())
}

/// Sends every request when it is due, and gathers how they ended.
async fn keep_timetable(plan: &Plan, client: &Rc<Client>) -> Result<Vec<Sample>, Failure> {
    let began_ns = clock::now_ns() + SECOND_NS / 10;
    say(&Said::Began { at_ns: began_ns })?;
    let (request_count, step_ns) = (plan.rate_per_s * plan.seconds, SECOND_NS / plan.rate_per_s);
    let (due, mut is_due) = mpsc::unbounded_channel();
    // A thread, as the runtime's own timer is late by up to a millisecond, which is more than a hit takes.
    let timetable = std::thread::Builder::new().name("timetable".to_owned()).spawn(move || {
        for due_ns in (0..request_count).map(|number| began_ns + number * step_ns) {
            clock::wait_until(due_ns);
            if due.send(due_ns).is_err() {
                return;
            }
        }
    });
    let timetable = timetable.map_err(|error| Failure::new("cannot start the timetable", error))?;

    let (end, mut ended) = mpsc::unbounded_channel();
    let mut samples = Vec::new();
    let mut zipf = Zipf::new(plan.shops.report_count(), plan.skew, plan.seed);
    let mut progress = Progress::default();
    let tick_count = usize::try_from(plan.rate_per_s / TICKS_PER_S).unwrap_or(1).max(1);
    let mut sent_count = 0;
    while let Some(due_ns) = is_due.recv().await {
        let report = plan.shops.report(zipf.draw());
        let (client, end) = (Rc::clone(client), end.clone());
        tokio::task::spawn_local(async move {
            let waited_ns = clock::now_ns().saturating_sub(due_ns);
            let outcome = client.ask(report, Duration::from_nanos(PATIENCE_NS.saturating_sub(waited_ns))).await;
            let latency_ns = clock::now_ns().saturating_sub(due_ns);
            // Fails only after a failure elsewhere, when nobody gathers any more.
            let _ = end.send(Sample { due_ns, latency_ns, outcome });
        });
        sent_count += 1;
        if sent_count % tick_count == 0 {
            while let Ok(sample) = ended.try_recv() {
                samples.push(sample);
            }
            say(&progress.look(&samples))?;
        }
    }
    drop(end);
    // Each ends when its patience does, if not earlier.
    while let Some(sample) = ended.recv().await {
        samples.push(sample);
    }
    timetable.join().map_err(|_| Failure::new("the timetable was lost", "its thread panicked"))?;
    Ok(samples)
}

/// How far the samples have been told of.
#[derive(Debug, Default)]
struct Progress {
    told_count: usize,
}

impl Progress {
    fn look(&mut self, samples: &[Sample]) -> Said {
        let fresh = &samples[self.told_count..];
        self.told_count = samples.len();
        let count = |is: fn(Outcome) -> bool| fresh.iter().filter(|sample| is(sample.outcome)).count() as u64;
        Said::Going { answer_count: count(Outcome::is_answer), hit_count: count(|outcome| outcome == Outcome::Hit) }
    }
}

fn say(said: &Said) -> Result<(), Failure> {
    let line = serde_json::to_string(said).map_err(|error| Failure::new("cannot say how far it is", error))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| Failure::new("nobody listens", error))
}
