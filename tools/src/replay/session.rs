//! One child process and its cache, seen from the parent: started, ordered, driven, closed or killed.
//!
//! Knows: processes, sockets, the protocol. Does not know: the trace or the oracle.
//!
//! Invariants
//!  I-SE-1  A child that ends without being told to is a failure that carries its stderr.
//!  I-SE-2  A request that was written to a lane counts as sent even if the write failed: some of it may have arrived.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::failure::Failure;
use crate::replay::cleanup::{self, SharedChild, Temporary};
use crate::replay::protocol::{Ask, Order, Report, Request, Response, Settings, State, read_response};
use crate::replay::sample;

/// Requests handed to a lane in one write.
const SEND_LEN: usize = 512;
const RECEIVE_LEN_BYTES: usize = 256 << 10;
const STDERR_LEN_MAX_BYTES: usize = 8 << 10;
/// Looks at a lane's connection while the child starts: 10 s in all.
const CONNECT_POLL: Duration = Duration::from_millis(1);
const CONNECT_POLLS_MAX: u32 = 10_000;

/// A child with an open cache.
#[derive(Debug)]
pub(crate) struct Session {
    child: SharedChild,
    pid: u32,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    lanes: Vec<UnixStream>,
    dir: PathBuf,
    value_max_bytes: u32,
    ended: AtomicBool,
    peak_disk_bytes: AtomicU64,
}

/// How long opening took, and how things were.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) open_ms: f64,
    pub(crate) first_get_ms: f64,
    pub(crate) state: State,
}

/// How far a lane came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pumped {
    /// Requests answered.
    pub(crate) answered_count: u64,
    /// Requests sent; some of those not answered may have been carried out.
    pub(crate) sent_count: u64,
}

impl Session {
    /// Starts a child with `lane_count` worker threads and opens its cache.
    pub(crate) fn open(settings: &Settings, lane_count: usize) -> Result<(Session, Opened), Failure> {
        let place = Temporary::new(None)?;
        let socket = place.path().join("lanes");
        let listener = UnixListener::bind(&socket)
            .map_err(|error| Failure::new(format!("cannot make the socket {}: {error}", socket.display())))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(crate::replay::CHILD_COMMAND)
            .arg("--socket")
            .arg(&socket)
            .args(["--lanes", &lane_count.to_string()])
            // The allocator must give back what values took for a moment, or it would be counted as the cache's.
            .envs([
                ("MALLOC_ARENA_MAX", "1"),
                ("MALLOC_MMAP_THRESHOLD_", "131072"),
                ("MALLOC_TRIM_THRESHOLD_", "131072"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = cleanup::spawn(&mut command)
            .map_err(|error| Failure::new(format!("cannot start the child process: {error}")))?;
        let piped = "all three streams are piped";
        let (pid, stdin, stdout, stderr) = {
            let mut child = cleanup::lock(&child);
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            (child.id(), stdin.expect(piped), stdout.expect(piped), stderr.expect(piped))
        };
        let mut session = Session {
            child,
            pid,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
            stderr: Some(std::thread::Builder::new().name("child-stderr".into()).spawn(|| tail(stderr))?),
            lanes: Vec::new(),
            dir: settings.dir.clone(),
            value_max_bytes: settings.value_max_bytes,
            ended: AtomicBool::new(false),
            peak_disk_bytes: AtomicU64::new(0),
        };
        session.accept(&listener, lane_count)?;
        match session.order(&Order::Open(settings.clone()))? {
            Report::Opened { open_ms, first_get_ms, state } => {
                // /proc shows unlinked files by their real paths.
                session.dir = settings.dir.canonicalize()?;
                session.look_at_disk()?;
                Ok((session, Opened { open_ms, first_get_ms, state }))
            }
            other => Err(unexpected(other)),
        }
    }

    fn accept(&mut self, listener: &UnixListener, lane_count: usize) -> Result<(), Failure> {
        listener.set_nonblocking(true)?;
        for _ in 0..CONNECT_POLLS_MAX {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    self.lanes.push(stream);
                    if self.lanes.len() == lane_count {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if cleanup::lock(&self.child).try_wait()?.is_some() {
                        return Err(self.died());
                    }
                    std::thread::park_timeout(CONNECT_POLL);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::new("the child process did not connect within 10 seconds"))
    }

    /// How things are in the child.
    pub(crate) fn look(&mut self) -> Result<State, Failure> {
        self.look_at_disk()?;
        match self.order(&Order::Look)? {
            Report::State(state) => Ok(state),
            other => Err(unexpected(other)),
        }
    }

    /// Closes the cache and ends the child. Gives the last state and the highest use of disk seen.
    pub(crate) fn close(mut self) -> Result<(State, u64), Failure> {
        let state = match self.order(&Order::Close)? {
            Report::State(state) => state,
            other => return Err(unexpected(other)),
        };
        self.look_at_disk()?;
        self.ended.store(true, Ordering::Release);
        self.stdin = None;
        self.lanes.clear();
        let status = cleanup::lock(&self.child).wait()?;
        if !status.success() {
            return Err(self.died());
        }
        Ok((state, self.peak_disk_bytes.load(Ordering::Relaxed)))
    }

    /// Waits until a killed child is gone. Gives the highest use of disk seen.
    pub(crate) fn bury(mut self) -> Result<u64, Failure> {
        cleanup::end(&self.child);
        self.lanes.clear();
        self.look_at_disk()?;
        Ok(self.peak_disk_bytes.load(Ordering::Relaxed))
    }

    /// SIGKILL, now, from any thread, with requests in flight.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.ended.store(true, Ordering::Release);
        cleanup::lock(&self.child).kill()
    }

    /// Notes what the directory uses right now.
    pub(crate) fn look_at_disk(&self) -> Result<(), Failure> {
        let bytes = sample::disk_bytes(&self.dir, Some(self.pid))
            .map_err(|error| Failure::new(format!("cannot look at {}: {error}", self.dir.display())))?;
        self.peak_disk_bytes.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn order(&mut self, order: &Order) -> Result<Report, Failure> {
        let mut line = serde_json::to_string(order).map_err(io::Error::from)?;
        line.push('\n');
        let stdin = self.stdin.as_mut().expect("stdin is open until close takes the session");
        let sent = stdin.write_all(line.as_bytes());
        line.clear();
        if sent.is_err() || self.stdout.read_line(&mut line)? == 0 {
            return Err(self.died());
        }
        serde_json::from_str(&line).map_err(|error| Failure::new(format!("the child's report is garbled: {error}")))
    }

    /// The failure of a child that ended although nobody told it to, or did not end well.
    fn died(&mut self) -> Failure {
        // It may hang rather than be dead; then this ends it.
        for _ in 0..100 {
            if !matches!(cleanup::lock(&self.child).try_wait(), Ok(None)) {
                break;
            }
            std::thread::park_timeout(CONNECT_POLL);
        }
        cleanup::end(&self.child);
        let status = match cleanup::lock(&self.child).wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        match said.trim() {
            "" => Failure::new(format!("the child process ended unexpectedly ({status})")),
            said => Failure::new(format!("the child process ended unexpectedly ({status}); it said:\n{said}")),
        }
    }

    /// Sends all requests of every lane and hands each answer, in the lane's order, to the lane's `on_answer`. Meanwhile calls
    /// `tick` ten times a second. Ends early only if the child was killed.
    pub(crate) fn pump<R, A>(&mut self, lanes: Vec<(R, A)>, mut tick: impl FnMut()) -> Result<Vec<Pumped>, Failure>
    where
        R: Iterator<Item = Request> + Clone + Send,
        A: FnMut(&Session, &Request, Response<'_>) + Send,
    {
        let session = &*self;
        let (results, sampled) = std::thread::scope(|scope| {
            let (done, dones) = std::sync::mpsc::channel::<()>();
            let mut threads = Vec::new();
            for (stream, (requests, mut on_answer)) in session.lanes.iter().zip(lanes) {
                let done = done.clone();
                threads.push(scope.spawn(move || {
                    let result = session.pump_lane(stream, requests, &mut on_answer);
                    drop(done);
                    result
                }));
            }
            drop(done);
            let mut sampled = Ok(());
            // Nothing is ever sent: the channel closes when the last lane is through.
            while dones.recv_timeout(Duration::from_millis(100)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                tick();
                sampled = sampled.and_then(|()| session.look_at_disk());
            }
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            (results, sampled)
        });
        sampled?;
        let mut pumped = Vec::new();
        for result in results {
            match result.map_err(|_| Failure::new("a lane's thread panicked"))? {
                Ok(Some(lane)) => pumped.push(lane),
                Ok(None) => return Err(self.died()),
                Err(error) => return Err(Failure::new(error.to_string())),
            }
        }
        Ok(pumped)
    }

    /// One lane. None: the child ended although nobody killed it.
    fn pump_lane<R: Iterator<Item = Request> + Clone + Send>(
        &self,
        stream: &UnixStream,
        requests: R,
        on_answer: &mut impl FnMut(&Session, &Request, Response<'_>),
    ) -> io::Result<Option<Pumped>> {
        std::thread::scope(|scope| {
            let to_send = requests.clone();
            let sender = scope.spawn(move || send(stream, to_send));
            let received = self.receive(stream, requests, on_answer);
            if !matches!(received, Ok((_, true))) {
                // The sender may be waiting for room that nobody will make.
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            let sent_count = sender.join().map_err(|_| io::Error::other("the sender panicked"))?;
            let (answered_count, complete) = received?;
            if !complete && !self.ended.load(Ordering::Acquire) {
                return Ok(None);
            }
            Ok(Some(Pumped { answered_count, sent_count }))
        })
    }

    /// Counts answers; true if every request got one.
    fn receive(
        &self,
        stream: &UnixStream,
        requests: impl Iterator<Item = Request>,
        on_answer: &mut impl FnMut(&Session, &Request, Response<'_>),
    ) -> io::Result<(u64, bool)> {
        let mut source = BufReader::with_capacity(RECEIVE_LEN_BYTES, stream);
        let mut value = Vec::new();
        let mut answered_count = 0;
        for request in requests {
            let Some(response) = read_response(&mut source, &mut value, self.value_max_bytes)? else {
                return Ok((answered_count, false));
            };
            if !answers(request.ask, &response) {
                return Err(io::Error::other(format!("the child answered {response:?} to {:?}", request.ask)));
            }
            on_answer(self, &request, response);
            answered_count += 1;
        }
        Ok((answered_count, true))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        cleanup::end(&self.child);
        cleanup::unwatch(&self.child);
    }
}

/// Whether this is an answer to that.
fn answers(ask: Ask, response: &Response<'_>) -> bool {
    matches!(
        (ask, response),
        (Ask::Get, Response::Hit(_) | Response::Filled(_))
            | (Ask::Insert, Response::Inserted(_))
            | (Ask::Remove, Response::Removed(_))
            | (Ask::Contains, Response::Present | Response::Absent)
            | (Ask::Peek, Response::Hit(_) | Response::Absent)
    )
}

/// Writes requests until they end or the child does. Gives how many may have arrived: I-SE-2.
fn send(mut stream: &UnixStream, mut requests: impl Iterator<Item = Request>) -> u64 {
    let mut sent_count = 0;
    let mut batch = Vec::new();
    loop {
        batch.clear();
        for request in requests.by_ref().take(SEND_LEN) {
            batch.extend_from_slice(&request.encode());
            sent_count += 1;
        }
        if batch.is_empty() || stream.write_all(&batch).is_err() {
            return sent_count;
        }
    }
}

/// The end of what the child says on stderr.
fn tail(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(STDERR_LEN_MAX_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn unexpected(report: Report) -> Failure {
    match report {
        Report::Failed { message } => Failure::new(message),
        other => Failure::new(format!("the child reported {other:?} instead of what was asked")),
    }
}
