//! One simulated file: what the page cache shows, what the medium holds, and what lies between.
//!
//! Knows: which sectors were written since the last sync, and every content they had. Does not know: names, faults, other files.
//!
//! Invariants
//!  I-SIM-1  A sector that is not in `unsynced` reads the same before and after a power cut, unless a sync failed on it.
//!  I-SIM-2  `durable_len` and `len` lie within `len_range`.

use super::image::{Image, PAGE_LEN, SECTOR_LEN, SECTORS_PER_PAGE, Sector, pieces};
use super::random::Random;
use crate::disk::Mapping;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

/// Larger files are refused, as by a real file system; offsets below this can be added without overflow.
const LEN_MAX: u64 = 1 << 44;

/// One page's sectors that were written since the last sync.
#[derive(Debug, Clone, Default)]
struct UnsyncedPage {
    /// Bit n: sector n.
    sectors: u8,
    /// Contents that a sector had between the synced and the present one.
    between: Vec<(usize, Box<Sector>)>,
}

/// A file without a name.
#[derive(Debug)]
pub(super) struct SimFileState {
    pub(super) open_count: u32,
    cache: Image,
    len: u64,
    /// Bytes from the start for which blocks are reserved; pages beyond it have blocks once they are written.
    preallocated_len: u64,
    allocated_pages: u64,
    durable: Image,
    durable_len: u64,
    durable_preallocated_len: u64,
    /// Lengths since the last sync.
    len_range: RangeInclusive<u64>,
    unsynced: BTreeMap<u64, UnsyncedPage>,
    /// The same bytes as `cache` where the kernel can map them; made by the first mapping, as most simulated files never see one.
    view: Option<OwnedFd>,
}

impl SimFileState {
    pub(super) fn new() -> Self {
        Self::all_durable(Image::default(), 0, 0)
    }

    /// A file as found on a medium.
    pub(super) fn all_durable(image: Image, len: u64, preallocated_len: u64) -> Self {
        let mut file = Self {
            open_count: 0,
            cache: image.clone(),
            len,
            preallocated_len,
            allocated_pages: 0,
            durable: image,
            durable_len: len,
            durable_preallocated_len: preallocated_len,
            len_range: len..=len,
            unsynced: BTreeMap::new(),
            view: None,
        };
        file.count_pages();
        file
    }

    /// Gives the file other bytes, durably, in place.
    pub(super) fn replace_durably(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Never shorter than both lengths: another thread may be reading the part that stays through a mapping.
        self.write(0, bytes, u64::MAX)?;
        self.truncate(bytes.len() as u64)?;
        self.allocate(bytes.len() as u64, u64::MAX)?;
        self.sync();
        Ok(())
    }

    /// All bytes as readers see them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated_pages * PAGE_LEN as u64
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let len = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        self.cache.read(offset, &mut buffer[..len]);
        len
    }

    /// Sectors and lengths that a power cut decides on.
    pub(super) fn undecided_count(&self) -> u64 {
        let sectors: u64 = self.unsynced.values().map(|page| u64::from(page.sectors.count_ones())).sum();
        sectors + u64::from(self.len_range.start() != self.len_range.end())
    }

    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let page = self.cache.pages_from(offset / PAGE_LEN as u64).next()?;
        Some(offset.max(page * PAGE_LEN as u64)).filter(|&found| found < self.len)
    }

    /// Writes as far as `room_bytes` lasts for pages that have no blocks yet.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], mut room_bytes: u64) -> io::Result<()> {
        check_len(offset.saturating_add(bytes.len() as u64))?;
        for piece in pieces(offset, bytes.len()) {
            if !self.is_allocated(piece.page) {
                room_bytes = room_bytes.checked_sub(PAGE_LEN as u64).ok_or(Errno::NOSPC)?;
                self.allocated_pages += 1;
            }
            self.note_unsynced(piece.page, piece.sectors());
            let at = piece.page * PAGE_LEN as u64 + piece.start as u64;
            let bytes = &bytes[piece.source];
            self.cache.write(at, bytes);
            self.set_len(self.len.max(at + bytes.len() as u64))?;
            if let Some(view) = &self.view {
                write_view(view, at, bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, len: u64, room_bytes: u64) -> io::Result<()> {
        check_len(len)?;
        let (before, after) = (page_count(self.preallocated_len), page_count(len));
        let written = self.cache.pages_from(before).take_while(|&page| page < after).count() as u64;
        if after.saturating_sub(before).saturating_sub(written) * PAGE_LEN as u64 > room_bytes {
            return Err(Errno::NOSPC.into());
        }
        self.preallocated_len = self.preallocated_len.max(len);
        self.count_pages();
        self.set_len(self.len.max(len))
    }

    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        let cut_pages: Vec<u64> = self.cache.pages_from(len / PAGE_LEN as u64).collect();
        for page in cut_pages {
            let page_start = page * PAGE_LEN as u64;
            let first = (len.saturating_sub(page_start) as usize) / SECTOR_LEN;
            self.note_unsynced(page, first..SECTORS_PER_PAGE);
        }
        self.cache.cut(len);
        self.preallocated_len = self.preallocated_len.min(len);
        self.count_pages();
        self.set_len(len)
    }

    /// Makes the page cache durable, but for what an earlier failed sync lost.
    pub(super) fn sync(&mut self) {
        for (page, unsynced) in std::mem::take(&mut self.unsynced) {
            self.durable.adopt(&self.cache, page, unsynced.sectors);
        }
        self.durable_len = self.len;
        self.durable_preallocated_len = self.preallocated_len;
        self.len_range = self.len..=self.len;
        // What a failed sync lost may lie beyond the end by now.
        self.durable.cut(self.len);
    }

    /// What the kernel does when write-back fails: some sectors arrived, and all pages are clean from now on.
    pub(super) fn fail_sync(&mut self, random: &mut Random, stale: Option<&[u8]>) {
        let (durable, durable_len, durable_preallocated_len) = self.pick_survivors(random, stale);
        self.durable = durable;
        self.durable_len = durable_len;
        self.durable_preallocated_len = durable_preallocated_len;
        self.unsynced.clear();
        self.len_range = self.len.min(durable_len)..=self.len.max(durable_len);
    }

    /// The file as another process finds it after this one was killed: all is there, and no more durable than before.
    pub(super) fn after_kill(&self) -> Self {
        Self {
            open_count: 0,
            cache: self.cache.clone(),
            durable: self.durable.clone(),
            len_range: self.len_range.clone(),
            unsynced: self.unsynced.clone(),
            view: None,
            ..*self
        }
    }

    /// The file as the next boot finds it.
    pub(super) fn after_power_cut(&self, random: &mut Random, stale: Option<&[u8]>) -> Self {
        let (image, len, preallocated_len) = self.pick_survivors(random, stale);
        Self::all_durable(image, len, preallocated_len)
    }

    pub(super) fn map(&mut self, len: u64) -> io::Result<Mapping> {
        let view = match self.view.take() {
            Some(view) => view,
            None => self.make_view()?,
        };
        Mapping::of_file(self.view.insert(view), len)
    }

    /// Rolls the dice for every unsynced sector, the length and the allocation. `stale` is what the medium held before.
    fn pick_survivors(&self, random: &mut Random, stale: Option<&[u8]>) -> (Image, u64, u64) {
        let mut image = self.durable.clone();
        let odds = random.odds();
        for (&page, unsynced) in &self.unsynced {
            for sector in (0..SECTORS_PER_PAGE).filter(|sector| unsynced.sectors & (1 << sector) != 0) {
                if !random.wins(odds) {
                    continue;
                }
                let between: Vec<&Sector> = unsynced
                    .between
                    .iter()
                    .filter(|(number, _)| *number == sector)
                    .map(|(_, bytes)| &**bytes)
                    .collect();
                let pick = random.below(between.len() as u64 + 1) as usize;
                match between.get(pick) {
                    Some(bytes) => image.set_sector(page, sector, bytes),
                    None => image.set_sector(page, sector, &self.cache.sector(page, sector)),
                }
            }
        }
        let (low, high) = (*self.len_range.start(), *self.len_range.end());
        // Where each is the same there is nothing to choose.
        let len = match random.below(if low == high { 1 } else { 3 }) {
            0 => self.durable_len,
            1 => self.len,
            _ => low + random.below_many(high - low + 1),
        };
        image.cut(len);
        if let Some(stale) = stale.filter(|stale| stale.len() >= PAGE_LEN) {
            self.expose(stale, &mut image, len, random);
        }
        let is_same = self.durable_preallocated_len == self.preallocated_len;
        let preallocated_len = match random.below(if is_same { 1 } else { 2 }) {
            0 => self.durable_preallocated_len,
            _ => self.preallocated_len,
        };
        (image, len, preallocated_len.min(len))
    }

    /// Pages that were never durable, and of which nothing arrived, may show what the medium held before.
    fn expose(&self, stale: &[u8], image: &mut Image, len: u64, random: &mut Random) {
        let odds = random.odds();
        let durable = page_count(self.durable_preallocated_len.max(self.durable_len));
        let never_durable = (durable..page_count(len)).filter(|&page| !self.durable.has_page(page));
        for page in never_durable.collect::<Vec<_>>() {
            if image.has_page(page) || !random.wins(odds) {
                continue;
            }
            // At the same place in the file, the most that old bytes can pretend.
            let from = (page as usize % (stale.len() / PAGE_LEN)) * PAGE_LEN;
            image.write(page * PAGE_LEN as u64, &stale[from..from + PAGE_LEN]);
        }
        image.cut(len);
    }

    /// Remembers sectors that are about to change.
    fn note_unsynced(&mut self, page: u64, sectors: std::ops::Range<usize>) {
        let unsynced = self.unsynced.entry(page).or_default();
        for sector in sectors {
            if unsynced.sectors & (1 << sector) != 0 {
                unsynced.between.push((sector, Box::new(self.cache.sector(page, sector))));
            }
            unsynced.sectors |= 1 << sector;
        }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len == self.len {
            return Ok(());
        }
        self.len = len;
        self.len_range = len.min(*self.len_range.start())..=len.max(*self.len_range.end());
        match &self.view {
            Some(view) => Ok(rustix::fs::ftruncate(view, len)?),
            None => Ok(()),
        }
    }

    fn is_allocated(&self, page: u64) -> bool {
        page < page_count(self.preallocated_len) || self.cache.has_page(page)
    }

    fn count_pages(&mut self) {
        let preallocated = page_count(self.preallocated_len);
        self.allocated_pages = preallocated + self.cache.pages_from(preallocated).count() as u64;
    }

    fn make_view(&self) -> io::Result<OwnedFd> {
        let view = rustix::fs::memfd_create("emberlog-sim", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&view, self.len)?;
        let mut bytes = [0; PAGE_LEN];
        for page in self.cache.pages_from(0) {
            let at = page * PAGE_LEN as u64;
            let len = self.read(at, &mut bytes);
            write_view(&view, at, &bytes[..len])?;
        }
        Ok(view)
    }
}

fn write_view(view: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(view, bytes, offset))?;
        offset += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn page_count(len: u64) -> u64 {
    len.div_ceil(PAGE_LEN as u64)
}

fn check_len(len: u64) -> io::Result<()> {
    if len > LEN_MAX { Err(Errno::FBIG.into()) } else { Ok(()) }
}
