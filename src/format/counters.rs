//! The page of counters: what a running cache tells of itself, for whoever looks into its directory. Specification: `format-spec/11-counters.md`.
//!
//! It is news, not memory: nothing that is opened reads it back. A file holds two places for pages that are written in turn, so that one of them is whole
//! while the other is written over.

use super::FORMAT_VERSION;
use super::checksum::{self, Seed};
use super::codec::{self, Builder, Fields};
use super::decode_error::{DecodeError, Fault};
use super::identity::check_version;
use super::segment::check_store_id;

const HEAD_NAME: &str = "counters head";
const PAGE_NAME: &str = "counters page";
const BODY_NAME: &str = "counters body";
const CELL_NAME: &str = "counters segment";
const HEAD_MAGIC: [u8; 4] = *b"ECTR";
const PAGE_MAGIC: [u8; 4] = *b"EPAG";

/// Room for one page, its header included.
pub const PLACE_LEN: usize = 20 << 10;
/// Where pages stand: an odd one at the first place, an even one at the second.
pub const PLACE_OFFSETS: [u64; 2] = [4096, 4096 + PLACE_LEN as u64];
/// Length of the file.
pub const FILE_LEN: u64 = PLACE_OFFSETS[1] + PLACE_LEN as u64;

/// The start of the file: whose it is. Written once, before the file has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountersHead {
    /// The store that the pages are of.
    pub store_id: [u8; 16],
}

impl CountersHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 64;

    /// Encodes the head, which stands at offset 0.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&HEAD_MAGIC).u32(FORMAT_VERSION).u32(PLACE_LEN as u32).u64(0).put(&self.store_id);
        let mut bytes = out.finish();
        checksum::seal(Seed(self.store_id), 0, &mut bytes);
        bytes
    }

    /// Decodes the head of a file of this store.
    pub fn decode(store_id: [u8; 16], bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ Self::LEN }>(HEAD_NAME, bytes)?;
        if raw[4..8] != HEAD_MAGIC {
            return Err(DecodeError::new(HEAD_NAME, Fault::Magic));
        }
        checksum::verify(HEAD_NAME, Seed(store_id), 0, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (version, place_len, features) = (fields.u32(), fields.u32(), fields.u64());
        check_version(HEAD_NAME, version, features)?;
        check_store_id(HEAD_NAME, fields.bytes(), store_id)?;
        if place_len as usize != PLACE_LEN {
            return Err(DecodeError::new(HEAD_NAME, Fault::Field { field: "place_len", found: place_len.into() }));
        }
        Ok(Self { store_id })
    }
}

/// How the cache stood when it wrote a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Open.
    Open,
    /// Closed: its last page.
    Closed,
}

/// What stands before the body of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Number of the page since the file was made; the first is 1.
    pub sequence: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_unix_ms: u64,
    /// When the cache was opened.
    pub opened_unix_ms: u64,
    /// Who wrote it.
    pub process_id: u32,
    /// How the cache stood.
    pub state: RunState,
    /// Length of the text, a multiple of 8.
    pub text_len: u32,
    /// Cells behind the text.
    pub cell_count: u32,
}

impl PageHeader {
    /// Encoded length in bytes.
    pub const LEN: usize = 64;

    /// Where a page with this sequence stands.
    pub const fn place_offset(sequence: u64) -> u64 {
        PLACE_OFFSETS[sequence.is_multiple_of(2) as usize]
    }

    /// Length of the body.
    pub const fn body_len(&self) -> usize {
        self.text_len as usize + self.cell_count as usize * SegmentCell::LEN
    }

    /// Writes the header into the start of `page`, behind which the body stands already.
    ///
    /// # Panics
    /// If the body does not stand there in its length, or is longer than its place: that is for the writer to see to.
    pub fn seal(&self, store_id: [u8; 16], page: &mut [u8]) {
        let (header, body) = page.split_at_mut(Self::LEN);
        assert!(body.len() == self.body_len() && body.len() <= PLACE_LEN - Self::LEN, "the body is as the header says");
        let offset = Self::place_offset(self.sequence);
        let state = match self.state {
            RunState::Open => 1,
            RunState::Closed => 2,
        };
        let mut out = Builder::<{ Self::LEN }>::new();
        out.skip(4).put(&PAGE_MAGIC).u64(self.sequence).u64(self.written_unix_ms).u64(self.opened_unix_ms);
        out.u32(self.process_id).u32(state).u32(body_crc(store_id, offset, body)).u32(self.text_len);
        out.u32(self.cell_count);
        let mut bytes = out.finish();
        checksum::seal(Seed(store_id), offset, &mut bytes);
        header.copy_from_slice(&bytes);
    }
}

/// The checksum of the body of a page that stands at `offset`.
fn body_crc(store_id: [u8; 16], offset: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store_id);
    hasher.update(&(offset + PageHeader::LEN as u64).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// How a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellState {
    /// Made ahead of need.
    Spare,
    /// Appended to.
    Active,
    /// Full, and waits for its footer.
    Unsealed,
    /// Sealed.
    Sealed,
}

/// A segment, or several next to each other that are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentCell {
    /// Number of the first.
    pub first_number: u32,
    /// How many there are, from 1.
    pub segment_count: u16,
    /// How they stand.
    pub state: CellState,
    /// Storage that they are charged, in bytes.
    pub charged_bytes: u64,
    /// Bytes from their starts to where their records end.
    pub data_bytes: u64,
    /// Events in them.
    pub event_count: u32,
    /// Of these, the ones that the index still names.
    pub live_count: u32,
}

impl SegmentCell {
    /// Encoded length in bytes.
    pub const LEN: usize = 32;

    /// Encodes the cell.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let state = match self.state {
            CellState::Spare => 1,
            CellState::Active => 2,
            CellState::Unsealed => 3,
            CellState::Sealed => 4,
        };
        let mut out = Builder::<{ Self::LEN }>::new();
        out.u32(self.first_number).u16(self.segment_count).u8(state).skip(1);
        out.u64(self.charged_bytes).u64(self.data_bytes).u32(self.event_count).u32(self.live_count);
        out.finish()
    }

    /// Decodes a cell.
    pub fn decode(raw: &[u8; Self::LEN]) -> Result<Self, DecodeError> {
        let wrong = |field, found| DecodeError::new(CELL_NAME, Fault::Field { field, found });
        let mut fields = Fields::new(raw);
        let (first_number, segment_count) = (fields.u32(), fields.u16());
        let state = match fields.u8() {
            1 => CellState::Spare,
            2 => CellState::Active,
            3 => CellState::Unsealed,
            4 => CellState::Sealed,
            other => return Err(wrong("state", other.into())),
        };
        fields.skip(1);
        if segment_count == 0 {
            return Err(wrong("segment_count", 0));
        }
        let (charged_bytes, data_bytes) = (fields.u64(), fields.u64());
        let (event_count, live_count) = (fields.u32(), fields.u32());
        Ok(Self { first_number, segment_count, state, charged_bytes, data_bytes, event_count, live_count })
    }
}

/// A page that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// When, by whom.
    pub header: PageHeader,
    /// A JSON object, spaces behind it.
    pub text: Vec<u8>,
    /// The segments, by number.
    pub cells: Vec<SegmentCell>,
}

impl Page {
    /// The newer page of a file of this store; `None` where neither place holds one that verifies.
    pub fn newest(store_id: [u8; 16], file: &[u8]) -> Option<Self> {
        let at = |offset: u64| Self::decode(store_id, offset, file.get(offset as usize..).unwrap_or(&[])).ok();
        PLACE_OFFSETS.into_iter().filter_map(at).max_by_key(|page| page.header.sequence)
    }

    /// Decodes the page at one place, given all bytes of the file from there.
    pub fn decode(store_id: [u8; 16], offset: u64, bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw = codec::array::<{ PageHeader::LEN }>(PAGE_NAME, bytes)?;
        let wrong = |field, found| DecodeError::new(PAGE_NAME, Fault::Field { field, found });
        if raw[4..8] != PAGE_MAGIC {
            return Err(DecodeError::new(PAGE_NAME, Fault::Magic));
        }
        checksum::verify(PAGE_NAME, Seed(store_id), offset, raw)?;
        let mut fields = Fields::new(&raw[8..]);
        let (sequence, written_unix_ms, opened_unix_ms) = (fields.u64(), fields.u64(), fields.u64());
        let process_id = fields.u32();
        let state = match fields.u32() {
            1 => RunState::Open,
            2 => RunState::Closed,
            other => return Err(wrong("state", other.into())),
        };
        let (found, text_len, cell_count) = (fields.u32(), fields.u32(), fields.u32());
        if PageHeader::place_offset(sequence) != offset {
            return Err(wrong("sequence", sequence));
        }
        let header = PageHeader { sequence, written_unix_ms, opened_unix_ms, process_id, state, text_len, cell_count };
        let room = (PLACE_LEN - PageHeader::LEN) as u64;
        if u64::from(text_len) > room || !text_len.is_multiple_of(super::ALIGN_BYTES as u32) {
            return Err(wrong("text_len", text_len.into()));
        }
        if u64::from(text_len) + u64::from(cell_count) * SegmentCell::LEN as u64 > room {
            return Err(wrong("cell_count", cell_count.into()));
        }
        let body = bytes.get(PageHeader::LEN..PageHeader::LEN + header.body_len());
        let Some(body) = body else {
            let expected = (PageHeader::LEN + header.body_len()) as u64;
            return Err(DecodeError::new(BODY_NAME, Fault::Truncated { expected, found: bytes.len() as u64 }));
        };
        let expected = body_crc(store_id, offset, body);
        if expected != found {
            return Err(DecodeError::new(BODY_NAME, Fault::Checksum { expected, found }));
        }
        let (text, cells) = body.split_at(text_len as usize);
        let cells = cells.as_chunks::<{ SegmentCell::LEN }>().0.iter().map(SegmentCell::decode);
        Ok(Self { header, text: text.to_vec(), cells: cells.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE_ID: [u8; 16] = [3; 16];

    fn cell(first_number: u32) -> SegmentCell {
        SegmentCell {
            first_number,
            segment_count: 2,
            state: CellState::Sealed,
            charged_bytes: 1 << 33,
            data_bytes: 123,
            event_count: 9,
            live_count: 7,
        }
    }

    fn page(sequence: u64, text: &[u8], cells: &[SegmentCell]) -> Vec<u8> {
        let header = PageHeader {
            sequence,
            written_unix_ms: 5,
            opened_unix_ms: 4,
            process_id: 77,
            state: RunState::Open,
            text_len: text.len() as u32,
            cell_count: cells.len() as u32,
        };
        let mut bytes = vec![0; PageHeader::LEN];
        bytes.extend_from_slice(text);
        cells.iter().for_each(|cell| bytes.extend_from_slice(&cell.encode()));
        header.seal(STORE_ID, &mut bytes);
        bytes
    }

    fn file(pages: &[Vec<u8>; 2]) -> Vec<u8> {
        let mut file = vec![0; FILE_LEN as usize];
        file[..CountersHead::LEN].copy_from_slice(&CountersHead { store_id: STORE_ID }.encode());
        for (offset, page) in PLACE_OFFSETS.into_iter().zip(pages) {
            file[offset as usize..][..page.len()].copy_from_slice(page);
        }
        file
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_seen_and_other_stores_files_are_not_ours() {
        let head = CountersHead { store_id: STORE_ID };
        let good = head.encode();
        assert_eq!(CountersHead::decode(STORE_ID, &good), Ok(head));
        assert!(CountersHead::decode([4; 16], &good).is_err() && CountersHead::decode(STORE_ID, &good[..63]).is_err());
        for bit in 0..CountersHead::LEN * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(CountersHead::decode(STORE_ID, &bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_newer_page_is_read_and_the_older_while_the_newer_is_torn_anywhere() {
        let (older, newer) =
            (page(7, b"{\"hits\":1}      ", &[cell(1)]), page(8, b"{\"hits\":12}     ", &[cell(3), cell(5)]));
        let whole = file(&[older.clone(), newer.clone()]);
        let found = Page::newest(STORE_ID, &whole).expect("both verify");
        assert_eq!((found.header.sequence, found.cells.as_slice()), (8, [cell(3), cell(5)].as_slice()));
        assert_eq!(found.text, b"{\"hits\":12}     ");
        assert_eq!(Page::newest([4; 16], &whole), None, "pages of another store");
        // The place held a longer page before; of the newer one any part is there.
        let before = page(6, b"{\"hits\":0, \"misses\":12345678901}", &[cell(9), cell(10), cell(11)]);
        let mut torn_count = 0;
        for torn in 0..newer.len() {
            let mut bytes = before.clone();
            bytes[..torn].copy_from_slice(&newer[..torn]);
            // What is missing at the very end may stand there already.
            let expected = if bytes.starts_with(&newer) { 8 } else { 7 };
            torn_count += 8 - expected;
            let found = Page::newest(STORE_ID, &file(&[older.clone(), bytes])).expect("the older one is whole");
            assert_eq!(found.header.sequence, expected, "{torn} bytes of the newer page");
        }
        assert!(torn_count > newer.len() as u64 - 8, "{torn_count}");
        for bit in 0..newer.len() * 8 {
            let mut bytes = newer.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = Page::newest(STORE_ID, &file(&[older.clone(), bytes])).expect("the older one is whole");
            assert_eq!(found.header.sequence, 7, "bit {bit} of the newer page");
        }
        assert_eq!(Page::newest(STORE_ID, &[]), None);
        assert_eq!(Page::newest(STORE_ID, &vec![0; FILE_LEN as usize]), None);
    }

    #[test]
    fn a_page_stands_only_at_its_place_and_no_length_beyond_the_place_is_believed() {
        let bytes = page(8, b"{}              ", &[]);
        assert!(Page::decode(STORE_ID, PLACE_OFFSETS[1], &bytes).is_ok());
        assert!(Page::decode(STORE_ID, PLACE_OFFSETS[0], &bytes).is_err());
        for (at, value) in [(44, 17u32), (44, 32 << 10), (44, u32::MAX - 15), (48, 640), (48, u32::MAX), (36, 3)] {
            let mut forged = bytes.clone();
            forged.resize(64 << 10, 0);
            forged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            checksum::seal(Seed(STORE_ID), PLACE_OFFSETS[1], &mut forged[..PageHeader::LEN]);
            let error = Page::decode(STORE_ID, PLACE_OFFSETS[1], &forged).expect_err("it is bounded");
            assert!(matches!(error.fault, Fault::Field { .. }), "{value} at {at}: {error}");
        }
    }

    #[test]
    fn cells_round_trip_and_unknown_states_are_not_guessed() {
        for state in [CellState::Spare, CellState::Active, CellState::Unsealed, CellState::Sealed] {
            let cell = SegmentCell { state, ..cell(u32::MAX) };
            assert_eq!(SegmentCell::decode(&cell.encode()), Ok(cell));
        }
        for (at, byte) in [(6, 0), (6, 5), (4, 0)] {
            let mut raw = cell(1).encode();
            raw[at] = byte;
            assert!(SegmentCell::decode(&raw).is_err(), "{byte} at {at}");
        }
    }
}
