//! What the tests here share: seeds, settings, values that tell where they are from, and this binary as a child process.

use emberlog::{Builder, Cache};
pub(crate) use emberlog_torture::Rng;
pub(crate) use emberlog_torture::values::{key_bytes, value_of, version_of};
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Names the job of a child; children ignore everything else.
const CHILD: &str = "EMBERLOG_REAL_CHILD";

/// A number from the environment.
pub(crate) fn env_or(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    env_or("EMBERLOG_SEED", 1)
}

/// Settings of a store so small that both tiers evict all the time.
pub(crate) fn settings() -> Builder {
    Cache::builder()
        .memory_bytes(900 << 10)
        .append_buffer_bytes(64 << 10)
        .disk_bytes(1 << 20)
        .segment_len_bytes(64 << 10)
        .disk_index_bytes(8 << 10)
        .shards(2)
}

/// A directory where syncs cost nothing, if there is such a place: for tests that are not about them.
pub(crate) fn fast_directory() -> tempfile::TempDir {
    let fast = std::path::Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Starts this binary again for one (ignored) test, with the write end of a pipe as its standard input, where [`tell`] writes to.
pub(crate) fn start_child(test: &str, job: &str) -> (Child, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, job)
        .stdin(Stdio::from(writer))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (child, reader)
}

/// The job of this process, if it is a child.
pub(crate) fn job() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Writes a record to the parent: one call, so whole or not at all (it is shorter than a pipe's atomic write).
pub(crate) fn tell(record: &[u8]) {
    let told = rustix::io::write(std::io::stdin(), record).unwrap();
    assert_eq!(told, record.len());
}

/// Growth of anonymous memory of this process is measured against this: bytes now.
pub(crate) fn rss_anon_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5 tells RssAnon");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Runs a body on a thread of its own and fails if it does not end: for what must not block.
pub(crate) fn must_end<T: Send + 'static>(what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(body()));
    match receiver.recv_timeout(Duration::from_secs(30 + env_or("EMBERLOG_LINEAR_MS", 0) / 1000)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} did not end within half a minute"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("the channel breaks only when the body panics"),
        },
    }
}
