//! `emberlog inspect --watch` as a user runs it: on a cache that runs, was closed, or was killed; as text, and in a terminal of the test's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use emberlog::format::names::COUNTERS;
use emberlog::{Cache, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

fn open(path: &Path) -> Cache {
    Cache::builder().memory_bytes(8 << 20).disk_bytes(16 << 20).open(path).unwrap()
}

fn work(cache: &Cache, keys: std::ops::Range<u32>) {
    for key in keys {
        cache.insert(key.to_le_bytes(), [key as u8; 300]);
        cache.get(key.to_le_bytes());
        cache.get((key + 1).to_le_bytes());
    }
}

fn watch(path: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberlog"));
    command.arg("inspect").arg(path).arg("--watch").args(arguments).output().unwrap()
}

fn frame(path: &Path, arguments: &[&str]) -> String {
    let output = watch(path, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The numbers in the line of a frame that begins with this label, separators left out.
fn numbers(frame: &str, label: &str) -> Vec<String> {
    let start = format!("│ {label} ");
    let line = frame.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {label}: {frame}"));
    let words = line.trim_start_matches('│').split(['│']).next().unwrap().split_whitespace().skip(1);
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(|word| word.replace(',', "")).collect()
}

/// Waits until the page says what the cache says: it is written about once a second.
fn settled(cache: &Cache, path: &Path) -> Stats {
    for _ in 0..3_000 {
        let stats = cache.stats();
        let bytes = std::fs::read(path.join(COUNTERS)).unwrap_or_default();
        let wanted = format!("\"requests\":{}", serde_json::to_string(&stats.requests).unwrap());
        if bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
            return stats;
        }
        // Not a measure of time: without the page there is nothing else to wait for.
        let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
    }
    panic!("no page with the figures of the cache");
}

#[test]
fn a_frame_of_a_running_cache_has_the_figures_of_its_own_statistics() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path);
    work(&cache, 0..30_000);
    let stats = settled(&cache, &path);
    let frame = frame(&path, &["--once", "--interval", "200ms"]);
    let running = format!("● process {}, open for", std::process::id());
    assert!(frame.lines().next().unwrap().contains(&running), "{frame}");
    assert_eq!((frame.lines().count(), frame.lines().map(|line| line.chars().count()).max()), (30, Some(100)));
    let total = |label: &str| numbers(&frame, label)[1].clone();
    assert_eq!(total("hits"), stats.requests.hits.to_string(), "{frame}");
    assert_eq!(total("misses"), stats.requests.misses.to_string(), "{frame}");
    assert_eq!(total("inserts"), "30000", "{frame}");
    assert_eq!(numbers(&frame, "entries")[0], stats.memory.entries.to_string(), "{frame}");
    let disk = stats.disk.unwrap();
    assert!(frame.contains(&emberlog::units::show_count(disk.entries)), "{frame}");
    let segments = std::fs::read_dir(&path)
        .unwrap()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".log")));
    assert!(frame.contains(&format!("╭ {} segments", segments.count())), "{frame}");

    cache.close().unwrap();
    let closed = self::frame(&path, &["--once"]);
    assert!(closed.lines().next().unwrap().contains("○ not running, closed 20"), "{closed}");
    assert_eq!(numbers(&closed, "inserts"), ["30000"], "its totals, and no rates: {closed}");
}

#[test]
fn rates_are_those_of_the_last_interval() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path);
    work(&cache, 0..1_000);
    settled(&cache, &path);
    let frames = std::thread::scope(|scope| {
        let watching = scope.spawn(|| frame(&path, &["--frames", "6", "--interval", "500ms", "--size", "120x40"]));
        let mut next = 1_000;
        while !watching.is_finished() {
            work(&cache, next..next + 100);
            next += 100;
        }
        watching.join().unwrap()
    });
    let frames: Vec<Vec<&str>> = frames.lines().collect::<Vec<_>>().chunks(40).map(<[&str]>::to_vec).collect();
    assert_eq!((frames.len(), frames.last().unwrap().len()), (6, 40));
    let last = frames.last().unwrap().join("\n");
    let rate = |label: &str| numbers(&last, label)[0].parse::<f64>().unwrap();
    // One of two reads asks for a key that is not there yet.
    assert!(rate("inserts") > 100.0, "{last}");
    let per_insert = (rate("hits") + rate("misses")) / rate("inserts");
    assert!((1.99..2.01).contains(&per_insert), "{per_insert}: {last}");
}

/// Not a test by itself: what others kill.
#[test]
#[ignore = "it never ends; other tests run it in a process of its own"]
fn a_cache_in_a_process_of_its_own() {
    let Some(path) = std::env::var_os("EMBERLOG_TEST_DIR") else { return };
    let cache = open(Path::new(&path));
    work(&cache, 0..2_000);
    settled(&cache, Path::new(&path));
    writeln!(std::io::stderr(), "ready").unwrap();
    // Until somebody kills it.
    let mut end = String::new();
    std::io::stdin().read_line(&mut end).unwrap();
}

#[test]
fn the_page_of_a_killed_process_is_shown_as_the_last_that_was_seen() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_cache_in_a_process_of_its_own", "--nocapture"])
        .env("EMBERLOG_TEST_DIR", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    let running = frame(&path, &["--once", "--interval", "200ms"]);
    assert!(running.contains(&format!("● process {},", child.id())), "{running}");
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = frame(&path, &["--once"]);
    assert!(gone.lines().next().unwrap().contains("○ not running, last seen 20"), "{gone}");
    assert_eq!(numbers(&gone, "inserts"), ["2000"], "{gone}");
    // Another process has opened it and has not written a page of its own.
    let cache = Cache::builder().memory_bytes(8 << 20).disk_bytes(16 << 20).counters_page(false).open(&path).unwrap();
    let other = frame(&path, &["--once", "--interval", "200ms"]);
    assert!(other.contains(&format!("open in process {}", std::process::id())), "{other}");
    assert!(other.contains("counters_page is off"), "{other}");
    drop(cache);
}

#[test]
fn what_cannot_be_watched_is_said_with_exit_code_2() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    drop(open(&path));
    for (path, arguments, words) in [
        (path.as_path(), &[][..], "--once"),
        (place.path(), &["--once"], "not an emberlog store"),
        (Path::new("/no/such/directory"), &["--once"], "/no/such/directory"),
        (path.as_path(), &["--interval", "1ms"], "100ms"),
        (path.as_path(), &["--once", "--size", "3x3"], "20x5"),
        (path.as_path(), &["--json"], "--json"),
    ] {
        let output = watch(path, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let frame = frame(&path, &["--once"]);
    assert!(frame.contains("No cache is open here"), "{frame}");
}

/// A program in a terminal.
struct Terminal {
    master: File,
    slave: OwnedFd,
    before: Termios,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    fn start(path: &Path, environment: &[(&str, &str)]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&master, size(100, 30)).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_emberlog"));
        command.arg("inspect").arg(path).args(["--watch", "--interval", "100ms"]).env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color").envs(environment.iter().copied());
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Terminal { master: File::from(master), slave: OwnedFd::from(slave), before, child, seen: Vec::new() }
    }

    /// Reads until these bytes come: within some frames, as only what changed is sent, without the blanks.
    fn read_until(&mut self, words: &str) {
        let from = self.seen.len();
        let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
        for _ in 0..300 {
            if self.seen[from..].windows(words.len()).any(|window| window == words.as_bytes()) {
                return;
            }
            let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
            let count = poll(&mut ready, Some(&timeout)).unwrap();
            assert!(count > 0, "{words:?} does not come: {}", String::from_utf8_lossy(&self.seen[from..]));
            let mut bytes = [0; 4096];
            let got = self.master.read(&mut bytes).unwrap();
            self.seen.extend_from_slice(&bytes[..got]);
        }
        panic!("{words:?} does not come: {}", String::from_utf8_lossy(&self.seen[from..]));
    }

    /// The program ends by itself, and the terminal is as it was before.
    fn assert_restored(mut self) -> String {
        self.read_until("\u{1b}[?1049l");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let after = tcgetattr(&self.slave).unwrap();
        let modes = |modes: &Termios| (modes.local_modes, modes.input_modes, modes.output_modes, modes.control_modes);
        assert_eq!(modes(&after), modes(&self.before));
        let text = String::from_utf8_lossy(&self.seen).into_owned();
        let last = |words: &str| text.rfind(words).unwrap_or_else(|| panic!("no {words:?}"));
        assert!(last("\u{1b}[?25h") > last("\u{1b}[?25l"), "the cursor is there again");
        assert!(last("\u{1b}[?1049l") > last("\u{1b}[?1049h"), "on the screen that was there before");
        text
    }
}

fn size(width: u16, height: u16) -> Winsize {
    Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn in_a_terminal_keys_and_signals_end_it_and_the_terminal_is_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path);
    work(&cache, 0..1_000);
    settled(&cache, &path);
    for keys in ["q", "\u{1b}", "\u{3}", "xyzq"] {
        let mut terminal = Terminal::start(&path, &[]);
        terminal.read_until("q quit");
        let raw = tcgetattr(&terminal.slave).unwrap();
        assert_ne!(raw.local_modes, terminal.before.local_modes, "keys come at once");
        terminal.master.write_all(keys.as_bytes()).unwrap();
        let text = terminal.assert_restored();
        assert!(text.contains("hit ratio") && text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("\u{1b}[38;5;"), "there are colours: {text}");
    }
    let mut terminal = Terminal::start(&path, &[]);
    terminal.read_until("q quit");
    let id = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    terminal.assert_restored();
}

#[test]
fn in_a_terminal_the_frame_follows_its_size_and_has_no_colours_where_none_are_wanted() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let cache = open(&path);
    work(&cache, 0..1_000);
    settled(&cache, &path);
    let mut terminal = Terminal::start(&path, &[("NO_COLOR", "1")]);
    terminal.read_until("dropped,");
    tcsetwinsize(&terminal.master, size(50, 12)).unwrap();
    // Only the frame without panels has this.
    terminal.read_until("last,");
    tcsetwinsize(&terminal.master, size(8, 2)).unwrap();
    // Still alive, and the key is read.
    terminal.read_until("\u{1b}[");
    terminal.master.write_all(b"q").unwrap();
    let text = terminal.assert_restored();
    assert!(!text.contains("\u{1b}[38;") && !text.contains("\u{1b}[48;"), "no colours: {text}");
    // A store that goes away ends it with a sentence, on the screen that was there before.
    let mut terminal = Terminal::start(&path, &[]);
    terminal.read_until("q quit");
    cache.close().unwrap();
    std::fs::rename(path.join("identity"), place.path().join("identity")).unwrap();
    terminal.read_until("not an emberlog store");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(2));
    let modes = tcgetattr(&terminal.slave).unwrap();
    assert_eq!(modes.local_modes, terminal.before.local_modes);
}
