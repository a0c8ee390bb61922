//! The page of counters: what the cache tells of itself to whoever looks into its directory. News only: see `format-spec/11-counters.md`.
//!
//! Knows: the counters, the disk. Does not know: who reads it. Written by whoever does maintenance, about once a second while something changes, in
//! place, in one call of bounded length, never synced (but for the head of a fresh file, once). Its storage is part of what is charged for good
//! beside segments, its memory part of what maintenance works with. A failure ends it, not the disk tier.
//!
//! Invariants
//!  I-PAGE-1  A file of that name that is not of this store is neither written to nor removed.

use super::core::Core;
use super::snapshot;
use crate::counters::Counter;
use crate::disk::{Disk, DiskFile};
use crate::format::counters::{CountersHead, FILE_LEN, PLACE_LEN, PageHeader, RunState, SegmentCell};
use crate::format::{ALIGN_BYTES, names};
use crate::log::Log;
use crate::observe::{RecoveryReport, Stats};
use crate::recovery::counters_page;
use crate::sync::{Mutex, Ordering, PlainAtomicBool, PlainAtomicU64};
use serde::Serialize;
use std::io;
use std::time::Duration;

/// Time between two pages.
const INTERVAL_MS: u64 = 1000;
/// Most cells of segments that a page has.
const CELL_COUNT_MAX: usize = 160;
/// Memory that a page takes while it is made.
pub(crate) const WORKING_BYTES: u64 = (PLACE_LEN + CELL_COUNT_MAX * size_of::<SegmentCell>()) as u64;
/// What the file may take beyond its length.
const SLACK_BYTES: u64 = 4096;

/// The page of one cache, and when the next is due.
#[derive(Debug)]
pub(crate) struct CountersPage {
    is_on: PlainAtomicBool,
    due_unix_ms: PlainAtomicU64,
    opened_unix_ms: u64,
    /// Pages that could not be written: one at most.
    pub(crate) failed: Counter,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Made with the first page.
    file: Option<Box<dyn DiskFile>>,
    sequence: u64,
    /// Checksum of the last body: an idle cache does not write.
    last_crc: Option<u32>,
    bytes: Vec<u8>,
    cells: Vec<SegmentCell>,
    /// What opening found, without the single findings.
    recovery: RecoveryReport,
}

/// The text of a page.
#[derive(Serialize)]
struct Text<'a> {
    crate_version: &'static str,
    stats: &'a Stats,
}

impl State {
    /// Puts the page together, but for its header. Returns the length of its text, and the checksum of it all.
    fn encode(&mut self, stats: &Stats, log: &Log) -> io::Result<(usize, u32)> {
        let text = Text { crate_version: env!("CARGO_PKG_VERSION"), stats };
        self.bytes.clear();
        self.bytes.resize(PageHeader::LEN, 0);
        serde_json::to_writer(Bounded(&mut self.bytes), &text).map_err(io::Error::from)?;
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN_BYTES as usize), b' ');
        let text_len = self.bytes.len() - PageHeader::LEN;
        let cell_count_max = CELL_COUNT_MAX.min((PLACE_LEN - self.bytes.len()) / SegmentCell::LEN);
        log.list_cells(cell_count_max, &mut self.cells);
        self.cells.iter().for_each(|cell| self.bytes.extend_from_slice(&cell.encode()));
        Ok((text_len, crc32fast::hash(&self.bytes[PageHeader::LEN..])))
    }
}

impl CountersPage {
    /// The page of a cache that was opened at this time.
    pub(crate) fn new(is_on: bool, opened_unix_ms: u64, recovery: &RecoveryReport) -> Self {
        let (bytes_len, cell_count) = if is_on { (PLACE_LEN, CELL_COUNT_MAX) } else { (0, 0) };
        // Not cloned with its findings, of which there may be many.
        let recovery =
            RecoveryReport { findings: Vec::new(), findings_by_label: recovery.findings_by_label.clone(), ..*recovery };
        Self {
            is_on: PlainAtomicBool::new(is_on),
            // Who opens a cache for less than a second gets no file.
            due_unix_ms: PlainAtomicU64::new(opened_unix_ms.saturating_add(INTERVAL_MS)),
            opened_unix_ms,
            failed: Counter::default(),
            state: Mutex::new(State {
                file: None,
                sequence: 0,
                last_crc: None,
                bytes: Vec::with_capacity(bytes_len),
                cells: Vec::with_capacity(cell_count),
                recovery,
            }),
        }
    }

    /// Removes the file that an earlier process left. Returns whether one of this process may take its place.
    pub(crate) fn remove_old(disk: &dyn Disk, store_id: [u8; 16]) -> bool {
        match counters_page::find(disk, store_id) {
            Ok(None) => true,
            // Not durable before the directory is synced for another reason: if it comes back, it goes with the next open.
            Ok(Some(true)) => disk.unlink(names::COUNTERS).inspect_err(warn).is_ok(),
            Ok(Some(false)) => {
                tracing::warn!(
                    "a file 'counters' is here that is not of this store: left alone, no counters are shown"
                );
                false
            }
            Err(error) => {
                warn(&error);
                false
            }
        }
    }

    fn is_due(&self, now_unix_ms: u64) -> bool {
        // Also where the clock was set back.
        let due_unix_ms = self.due_unix_ms.load(Ordering::Relaxed);
        self.is_on.load(Ordering::Relaxed) && due_unix_ms.wrapping_sub(now_unix_ms).wrapping_sub(1) >= INTERVAL_MS
    }

    fn write(&self, core: &Core, log: &Log, disk: &dyn Disk, now_unix_ms: u64, run_state: RunState) -> io::Result<()> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if run_state == RunState::Open && !self.is_due(now_unix_ms) {
            // Another thread was faster.
            return Ok(());
        }
        self.due_unix_ms.store(now_unix_ms.saturating_add(INTERVAL_MS), Ordering::Relaxed);
        if run_state == RunState::Closed && state.file.is_none() {
            return Ok(());
        }
        let mut stats = snapshot::figures(core, || state.recovery.clone());
        // What moves with time alone is no reason for a page.
        let moving = (stats.ages.memory_oldest_ms.take(), stats.ages.disk_oldest_ms.take(), stats.windows.clone());
        if let Some(windows) = &mut stats.windows {
            (windows.lasted_ms, windows.load_per_s, windows.level_per_s) = (0, 0, 0);
            windows.last.iter_mut().for_each(|last| last.lasted_ms = 0);
        }
        let (_, crc) = state.encode(&stats, log)?;
        if state.last_crc == Some(crc) && run_state == RunState::Open {
            return Ok(());
        }
        (stats.ages.memory_oldest_ms, stats.ages.disk_oldest_ms, stats.windows) = moving;
        let (text_len, _) = state.encode(&stats, log)?;
        let file = match &mut state.file {
            Some(file) => file,
            none => none.insert(create(disk, log.store_id())?),
        };
        state.sequence += 1;
        let header = PageHeader {
            sequence: state.sequence,
            written_unix_ms: now_unix_ms,
            opened_unix_ms: self.opened_unix_ms,
            process_id: std::process::id(),
            state: run_state,
            text_len: text_len as u32,
            cell_count: state.cells.len() as u32,
        };
        header.seal(log.store_id(), &mut state.bytes);
        file.write_at(PageHeader::place_offset(state.sequence), &state.bytes)?;
        state.last_crc = Some(crc);
        Ok(())
    }
}

impl Core {
    /// Writes the page if it is due.
    pub(crate) fn publish(&self) {
        let now_unix_ms = self.clock.now_unix_ms();
        if self.page.is_due(now_unix_ms) {
            self.publish_as(RunState::Open, now_unix_ms);
        }
    }

    /// Writes the last page, if there was one before.
    pub(crate) fn publish_end(&self) {
        self.publish_as(RunState::Closed, self.clock.now_unix_ms());
    }

    /// Whether a page is due.
    pub(crate) fn is_page_due(&self) -> bool {
        self.page.is_due(self.clock.now_unix_ms())
    }

    /// How long maintenance may sleep for the sake of the page.
    pub(crate) fn page_wait(&self) -> Option<Duration> {
        self.page.is_on.load(Ordering::Relaxed).then_some(Duration::from_millis(INTERVAL_MS))
    }

    fn publish_as(&self, run_state: RunState, now_unix_ms: u64) {
        let (Some(log), Some(disk)) = (&self.log, &self.disk) else { return };
        if !self.page.is_on.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.page.write(self, log, &**disk, now_unix_ms, run_state) {
            self.page.is_on.store(false, Ordering::Relaxed);
            self.page.failed.one();
            warn(&error);
        }
    }
}

fn warn(error: &io::Error) {
    tracing::warn!(%error, "cannot write the page of counters: no more of them until the cache is opened again");
}

/// Makes the file, whole and with its head durable before it has its name: so whose it is can always be told.
fn create(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<Box<dyn DiskFile>> {
    if counters_page::find(disk, store_id)? == Some(false) {
        // I-PAGE-1: somebody made it since the open.
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file 'counters' that is not of this store"));
    }
    let file = disk.create_new(names::COUNTERS_TEMPORARY)?;
    let made = (|| {
        file.allocate(FILE_LEN)?;
        if file.allocated_bytes()? > FILE_LEN + SLACK_BYTES {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the file takes more blocks than were charged"));
        }
        file.write_at(0, &CountersHead { store_id }.encode())?;
        file.sync_data()?;
        disk.rename(names::COUNTERS_TEMPORARY, names::COUNTERS)
    })();
    match made {
        Ok(()) => Ok(file),
        Err(error) => {
            // If it stays, the next open removes it; its room is charged for good.
            let _ = disk.unlink(names::COUNTERS_TEMPORARY);
            Err(error)
        }
    }
}

/// Appends to a vector within its capacity.
struct Bounded<'a>(&'a mut Vec<u8>);

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > PLACE_LEN - self.0.len() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the counters do not fit their page"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
