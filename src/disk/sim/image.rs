//! The bytes of a simulated file: sparse pages, shared between copies until written to.
//!
//! Knows pages and sectors. Does not know what is durable. Copies are cheap, so a power cut costs as much as there are pages, not bytes.

use crate::sync::Arc;
use std::collections::BTreeMap;
use std::fmt;

pub(super) const PAGE_LEN: usize = 4096;
/// What a medium writes whole or not at all.
pub(super) const SECTOR_LEN: usize = 512;
pub(super) const SECTORS_PER_PAGE: usize = PAGE_LEN / SECTOR_LEN;

type Page = [u8; PAGE_LEN];
pub(super) type Sector = [u8; SECTOR_LEN];

/// Sparse bytes; what was never written is zero.
#[derive(Clone, Default)]
pub(super) struct Image {
    pages: BTreeMap<u64, Arc<Page>>,
}

/// A piece of a byte range that lies in one page.
pub(super) struct Piece {
    pub(super) page: u64,
    /// Within the page.
    pub(super) start: usize,
    /// Within the range.
    pub(super) source: std::ops::Range<usize>,
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        self.source.len()
    }

    /// Sectors of the page that the piece touches.
    pub(super) fn sectors(&self) -> std::ops::Range<usize> {
        self.start / SECTOR_LEN..(self.start + self.len()).div_ceil(SECTOR_LEN)
    }
}

/// Cuts `len` bytes from `offset` on at page borders.
pub(super) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % PAGE_LEN as u64) as usize;
        let piece_len = (PAGE_LEN - start).min(len - done);
        let piece = Piece { page: at / PAGE_LEN as u64, start, source: done..done + piece_len };
        done += piece_len;
        Some(piece)
    })
}

impl Image {
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        for piece in pieces(offset, buffer.len()) {
            let target = &mut buffer[piece.source.clone()];
            match self.pages.get(&piece.page) {
                Some(page) => target.copy_from_slice(&page[piece.start..piece.start + target.len()]),
                None => target.fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for piece in pieces(offset, bytes.len()) {
            self.page_mut(piece.page)[piece.start..piece.start + piece.len()].copy_from_slice(&bytes[piece.source]);
        }
    }

    /// Forgets all from `len` on.
    pub(super) fn cut(&mut self, len: u64) {
        let keep_len = (len % PAGE_LEN as u64) as usize;
        self.pages.split_off(&len.div_ceil(PAGE_LEN as u64));
        if keep_len > 0 && self.pages.contains_key(&(len / PAGE_LEN as u64)) {
            self.page_mut(len / PAGE_LEN as u64)[keep_len..].fill(0);
        }
    }

    pub(super) fn has_page(&self, page: u64) -> bool {
        self.pages.contains_key(&page)
    }

    /// Numbers of the pages that were written, from `page` on, in order.
    pub(super) fn pages_from(&self, page: u64) -> impl Iterator<Item = u64> {
        self.pages.range(page..).map(|(&number, _)| number)
    }

    pub(super) fn sector(&self, page: u64, sector: usize) -> Sector {
        let mut bytes = [0; SECTOR_LEN];
        if let Some(page) = self.pages.get(&page) {
            bytes.copy_from_slice(&page[sector * SECTOR_LEN..][..SECTOR_LEN]);
        }
        bytes
    }

    pub(super) fn set_sector(&mut self, page: u64, sector: usize, bytes: &Sector) {
        self.page_mut(page)[sector * SECTOR_LEN..][..SECTOR_LEN].copy_from_slice(bytes);
    }

    /// Takes over the sectors of one page that `mask` names.
    pub(super) fn adopt(&mut self, source: &Self, page: u64, mask: u8) {
        match source.pages.get(&page) {
            Some(whole) if mask == u8::MAX => drop(self.pages.insert(page, Arc::clone(whole))),
            None if mask == u8::MAX => drop(self.pages.remove(&page)),
            _ => {
                for sector in (0..SECTORS_PER_PAGE).filter(|sector| mask & (1 << sector) != 0) {
                    self.set_sector(page, sector, &source.sector(page, sector));
                }
            }
        }
    }

    fn page_mut(&mut self, number: u64) -> &mut Page {
        let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_LEN]));
        if Arc::get_mut(page).is_none() {
            *page = Arc::new(**page);
        }
        Arc::get_mut(page).expect("a page is its image's own once it was copied")
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} pages)", self.pages.len())
    }
}
