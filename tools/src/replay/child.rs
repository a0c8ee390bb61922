//! The process that holds the cache: serves lanes until it is told to close, or killed.
//!
//! Knows: the cache's public interface, the protocol. Does not know: the trace, or what answers are right; nothing it says about
//! its values is believed.
//!
//! What it holds must not be taken for the cache's memory: every buffer is taken and touched before the cache is opened, and none
//! grows afterwards. Values are copied from the cache straight to the lane's output buffer or, if longer than that, to the socket.

use std::fmt::Display;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

// The one place that names the library.
use emberlog::{Cache, InsertOutcome, TierOutcome};

use crate::failure::Failure;
use crate::replay::protocol::{Ask, Order, Outcome, REQUEST_LEN, Report, Request, Settings, State, Tier, tag};
use crate::replay::sample;
use crate::replay::value;
use crate::stopwatch::Stopwatch;

/// Requests carried out before their answers are sent, at most: what a SIGKILL can leave done but unanswered.
const BATCH_LEN: usize = 128;
const OUTPUT_LEN_BYTES: usize = 64 << 10;
/// Requests between two looks at the memory held; a look costs about as much as fifty requests.
const SAMPLE_EVERY: u64 = 4096;

/// Serves `lane_count` lanes on the parent's socket, and orders on stdin, until stdin ends.
pub(crate) fn serve(socket: &Path, lane_count: usize) -> Result<(), Failure> {
    let lanes = (0..lane_count).map(|_| UnixStream::connect(socket)).collect::<io::Result<Vec<_>>>()?;
    let memory = Memory::default();
    std::thread::scope(|scope| {
        let (ready, readies) = channel();
        let mut starts = Vec::new();
        for (number, stream) in lanes.into_iter().enumerate() {
            let (start, started) = channel();
            let (memory, ready) = (&memory, ready.clone());
            scope.spawn(move || serve_lane(stream, &started, &ready, (number == 0).then_some(memory)));
            starts.push(start);
        }
        // Ending this closure drops `starts` and shuts no lane: the parent does, by closing its end.
        take_orders(&starts, &readies, &memory)
    })
}

/// Growth of anonymous memory since just before open.
#[derive(Debug, Default)]
struct Memory {
    baseline_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

impl Memory {
    fn set_baseline(&self) -> Result<(), Failure> {
        self.baseline_bytes.store(sample::anonymous_bytes()?, Ordering::Relaxed);
        self.peak_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Looks now. A number that cannot be read is left out here: the baseline could be read.
    fn look(&self) -> u64 {
        let growth = sample::anonymous_bytes()
            .map_or(0, |bytes| bytes.saturating_sub(self.baseline_bytes.load(Ordering::Relaxed)));
        self.peak_bytes.fetch_max(growth, Ordering::Relaxed).max(growth)
    }
}

/// What a lane's thread needs to begin.
enum Start {
    /// Take buffers for values this long, touch them, and say so.
    Touch { value_max_bytes: usize },
    /// Serve.
    Serve(Cache),
}

fn take_orders(starts: &[Sender<Start>], readies: &Receiver<()>, memory: &Memory) -> Result<(), Failure> {
    let mut cache = None;
    let mut input = io::stdin().lock();
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let order: Order = serde_json::from_str(&line).map_err(|error| Failure::new(format!("bad order: {error}")))?;
        let report = match (order, &cache) {
            (Order::Open(settings), None) => match open(&settings, starts, readies, memory) {
                Ok((opened, report)) => {
                    cache = Some(opened);
                    report
                }
                Err(failure) => Report::Failed { message: failure.to_string() },
            },
            (Order::Look, Some(cache)) => Report::State(state(cache, memory)),
            (Order::Close, Some(cache)) => match cache.close() {
                Ok(()) => Report::State(state(cache, memory)),
                Err(error) => Report::Failed { message: format!("close: {error}") },
            },
            _ => Report::Failed { message: "that order does not come now".into() },
        };
        let mut output = io::stdout().lock();
        serde_json::to_writer(&mut output, &report).map_err(io::Error::from)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
}

fn open(
    settings: &Settings,
    starts: &[Sender<Start>],
    readies: &Receiver<()>,
    memory: &Memory,
) -> Result<(Cache, Report), Failure> {
    let gone = |_| Failure::new("a lane ended early");
    let value_max_bytes = settings.value_max_bytes as usize;
    for start in starts {
        start.send(Start::Touch { value_max_bytes }).map_err(|_| Failure::new("a lane ended early"))?;
    }
    for _ in starts {
        readies.recv().map_err(gone)?;
    }
    memory.set_baseline()?;
    let watch = Stopwatch::start();
    let cache = settings.config.clone().open(&settings.dir).map_err(|error| Failure::new(format!("open: {error}")))?;
    let open_ms = watch.ms();
    // Its answer is not used: the same key is asked for again on a lane, where the oracle looks.
    drop(cache.get(settings.first_key.to_le_bytes()));
    let first_get_ms = watch.ms();
    for start in starts {
        start.send(Start::Serve(cache.clone())).map_err(|_| Failure::new("a lane ended early"))?;
    }
    let state = state(&cache, memory);
    Ok((cache, Report::Opened { open_ms, first_get_ms, state }))
}

fn state(cache: &Cache, memory: &Memory) -> State {
    let peak_anonymous_bytes = memory.look();
    let stats = serde_json::to_value(cache.stats()).unwrap_or_default();
    State { stats, peak_anonymous_bytes }
}

/// One lane, from its start to the end of its socket. Trouble ends the process: the parent reads why on stderr.
fn serve_lane(stream: UnixStream, started: &Receiver<Start>, ready: &Sender<()>, memory: Option<&Memory>) {
    let Ok(Start::Touch { value_max_bytes }) = started.recv() else { return };
    let mut lane = Lane::new(stream, value_max_bytes);
    if ready.send(()).is_err() {
        return;
    }
    let Ok(Start::Serve(cache)) = started.recv() else { return };
    if let Err(error) = lane.serve(&cache, memory) {
        // The parent that went away is no trouble.
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            fail(&error);
        }
    }
}

fn fail(error: &dyn Display) {
    // Nobody is left to tell if stderr is closed too.
    let _ = writeln!(io::stderr(), "lane: {error}");
    std::process::exit(2);
}

struct Lane {
    stream: UnixStream,
    output: Output,
    value: Vec<u8>,
    input: Vec<u8>,
}

impl Lane {
    fn new(stream: UnixStream, value_max_bytes: usize) -> Lane {
        // Filled with ones: zeroed memory would be handed out untouched.
        let mut output = vec![1; OUTPUT_LEN_BYTES];
        output.clear();
        let (value, input) = (vec![1; value_max_bytes], vec![1; BATCH_LEN * REQUEST_LEN]);
        Lane { stream, output: Output { held: output, failed: None }, value, input }
    }

    fn serve(&mut self, cache: &Cache, memory: Option<&Memory>) -> io::Result<()> {
        let mut filled = 0;
        let mut served = 0u64;
        loop {
            let count = self.stream.read(&mut self.input[filled..])?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            let (requests, rest) = self.input[..filled].as_chunks::<REQUEST_LEN>();
            for request in requests {
                let request = Request::decode(request)?;
                self.output.room_for(16, &mut self.stream);
                carry_out(cache, &request, &mut self.value, &mut self.output, &mut self.stream);
                served += 1;
                if let (Some(memory), 0) = (memory, served % SAMPLE_EVERY) {
                    memory.look();
                }
            }
            let (rest_len, taken) = (rest.len(), requests.len() * REQUEST_LEN);
            self.input.copy_within(taken..taken + rest_len, 0);
            filled = rest_len;
            self.output.send(&mut self.stream);
            if let Some(error) = self.output.failed.take() {
                return Err(error);
            }
        }
    }
}

/// Answers that wait for the end of their batch.
struct Output {
    held: Vec<u8>,
    failed: Option<io::Error>,
}

impl Output {
    fn room_for(&mut self, len: usize, stream: &mut UnixStream) {
        if self.held.len() + len > OUTPUT_LEN_BYTES {
            self.send(stream);
        }
    }

    fn send(&mut self, stream: &mut UnixStream) {
        let held = std::mem::take(&mut self.held);
        self.write_through(&held, stream);
        self.held = held;
        self.held.clear();
    }

    fn write_through(&mut self, bytes: &[u8], stream: &mut UnixStream) {
        if self.failed.is_none() {
            self.failed = stream.write_all(bytes).err();
        }
    }

    fn value(&mut self, bytes: &[u8], stream: &mut UnixStream) {
        self.held.push(tag::HIT);
        self.held.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.room_for(bytes.len(), stream);
        if bytes.len() > OUTPUT_LEN_BYTES {
            self.write_through(bytes, stream);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }
}

fn carry_out(cache: &Cache, request: &Request, value: &mut [u8], output: &mut Output, stream: &mut UnixStream) {
    let key = request.key.to_le_bytes();
    let mut insert = || {
        let target = &mut value[..request.size_bytes as usize];
        value::fill(target, request.key, request.version);
        outcome(&cache.insert(key, &*target)).0
    };
    match request.ask {
        Ask::Get => {
            // Both ways to read, by turns: owned and borrowed.
            let hit = if request.version.is_multiple_of(2) {
                cache.get(key).map(|bytes| output.value(&bytes, stream)).is_some()
            } else {
                cache.read(key, |bytes| output.value(bytes, stream)).is_some()
            };
            if !hit {
                output.held.extend_from_slice(&[tag::FILLED, insert()]);
            }
        }
        Ask::Insert => output.held.extend_from_slice(&[tag::INSERTED, insert()]),
        Ask::Remove => output.held.extend_from_slice(&[tag::REMOVED, u8::from(cache.remove(key))]),
        Ask::Contains => output.held.push(if cache.contains_key(key) { tag::PRESENT } else { tag::ABSENT }),
        Ask::Peek => match cache.peek(key) {
            Some(bytes) => output.value(&bytes, stream),
            None => output.held.push(tag::ABSENT),
        },
    }
}

fn outcome(outcome: &InsertOutcome) -> Outcome {
    let tier = |outcome: &TierOutcome| match outcome {
        TierOutcome::Stored => Tier::Stored,
        TierOutcome::Absent => Tier::Absent,
        _ => Tier::Refused,
    };
    Outcome::new(tier(&outcome.memory), tier(&outcome.disk))
}
