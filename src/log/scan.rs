//! Walking the batches and records of one segment file with positioned reads, believing nothing that does not verify.
//!
//! Recovery, sealing and the tools share this walk. It reports what stands where; what damage means is decided in `recovery::verdict`.
//! Time: one pass over the bytes. Memory: one window.

use crate::disk::DiskFile;
use crate::format::batch::{BatchHeader, BatchKind};
use crate::format::record::RecordHeader;
use crate::format::segment::{DATA_START, SegmentHeader};
use crate::format::{ALIGN_BYTES, DecodeError};
use std::io;
use std::ops::ControlFlow;

/// One thing found in a segment, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A batch header that verifies.
    Batch {
        /// Where it stands.
        offset: u32,
        /// The header.
        header: BatchHeader,
    },
    /// A record whose header verifies.
    Record {
        /// Where it stands.
        offset: u32,
        /// Its sequence number.
        seqno: u64,
        /// The header.
        header: RecordHeader,
        /// Whether key and value match their checksum.
        payload: Result<(), DecodeError>,
    },
    /// Bytes that do not verify where a batch or a record should be; at the end of the written part as well.
    Gap(Gap),
}

/// See [`Item::Gap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub offset: u32,
    /// Sequence number of the first event that may be lost in it.
    pub first_seqno: u64,
    /// Why the bytes were not believed.
    pub error: DecodeError,
    /// Whether there is nothing but zeros where the header should be, as behind the last batch of a sound tail.
    pub blank: bool,
    /// The next place that verifies, and the sequence number there; `None` at the end of the log.
    pub resume: Option<(u32, u64)>,
}

impl Gap {
    /// Whether the next place that verifies begins with the very event that comes next: an empty batch was lost, and no event.
    pub fn loses_nothing(&self) -> bool {
        self.resume.is_some_and(|(_, seqno)| seqno == self.first_seqno)
    }
}

/// How far the walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// End of the last batch or record that verified.
    pub end_offset: u32,
    /// Sequence number of the next event.
    pub next_seqno: u64,
}

/// How much of each record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Header and payload.
    Payloads,
    /// The header; the payload is taken as sound.
    Headers,
}

const WINDOW_LEN: usize = 256 << 10;

/// A window over a file.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
    filled: usize,
}

impl<'a> Window<'a> {
    /// A window over the first `limit` bytes of a file.
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u64) -> Self {
        let len = usize::try_from(limit).unwrap_or(WINDOW_LEN).min(WINDOW_LEN);
        Self { file, limit, start: 0, bytes: vec![0; len], filled: 0 }
    }

    /// Up to `len` bytes from `offset`, fewer at the limit or at the end of the file. `len` is at most the window.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let wanted_end = offset.saturating_add(len as u64).min(self.limit);
        if offset < self.start || wanted_end > self.start + self.filled as u64 {
            self.start = offset;
            let room = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(0).min(self.bytes.len());
            self.filled = self.file.read_at(offset, &mut self.bytes[..room])?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.filled);
        let to = from.saturating_add(len).min(self.filled);
        Ok(&self.bytes[from..to])
    }

    /// CRC-32 of `len` bytes from `offset`; `None` if the file ends before.
    fn crc(&mut self, mut offset: u64, mut len: u64) -> io::Result<Option<u32>> {
        let mut hasher = crc32fast::Hasher::new();
        while len > 0 {
            let step = len.min(self.bytes.len() as u64) as usize;
            let bytes = self.get(offset, step)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            hasher.update(bytes);
            offset += bytes.len() as u64;
            len -= bytes.len() as u64;
        }
        Ok(Some(hasher.finalize()))
    }
}

/// Walks the records of a segment from [`DATA_START`] to `limit`, which is the file's length or the end that its successor names.
///
/// `first_seqno` is that of the first record; `None` takes it from the first batch, where the link is lost.
/// `visit` may break off; the place reached is returned in any case. Errors are those of reading.
pub fn scan(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    limit: u32,
    first_seqno: Option<u64>,
    depth: Depth,
    visit: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> io::Result<Reached> {
    let mut walk = Walk { window: Window::new(file, limit.into()), header, limit, depth };
    let mut at = DATA_START as u32;
    let mut seqno = first_seqno;
    let mut reached = Reached { end_offset: at, next_seqno: first_seqno.unwrap_or(1) };
    while at < limit {
        let batch = match walk.batch_at(at)? {
            Ok(batch) if batch.kind == BatchKind::Records && seqno.is_none_or(|seqno| seqno == batch.first_seqno) => {
                batch
            }
            other => {
                let mut next = None;
                let error = match other {
                    Err(error) => error,
                    Ok(batch) => {
                        if batch.kind == BatchKind::Records && seqno.is_some_and(|seqno| seqno < batch.first_seqno) {
                            // A sound batch behind events that are missing.
                            next = Some((at, batch));
                        }
                        let fault = crate::format::Fault::Field { field: "first_seqno", found: batch.first_seqno };
                        DecodeError::new("batch header", fault)
                    }
                };
                if next.is_none() {
                    next = walk.next_batch(at, seqno.unwrap_or(0))?;
                }
                let resume = next.map(|(offset, batch)| (offset, batch.first_seqno));
                let blank = walk.window.get(at.into(), BatchHeader::LEN)?.iter().all(|&byte| byte == 0);
                let first_seqno = seqno.or(resume.map(|(_, seqno)| seqno)).unwrap_or(1);
                let gap = Gap { offset: at, first_seqno, error, blank, resume };
                if visit(Item::Gap(gap)).is_break() {
                    return Ok(reached);
                }
                let Some((offset, next_seqno)) = resume else { return Ok(reached) };
                at = offset;
                seqno = Some(next_seqno);
                continue;
            }
        };
        if visit(Item::Batch { offset: at, header: batch }).is_break() {
            return Ok(reached);
        }
        let body = at + BatchHeader::LEN as u32;
        let next = Reached { end_offset: body, next_seqno: batch.first_seqno };
        let (end, flow) = walk.records(body, &batch, next, visit)?;
        reached = end;
        if flow.is_break() {
            return Ok(reached);
        }
        at = u32::try_from(u64::from(body) + u64::from(batch.body_len)).unwrap_or(limit).min(limit);
        seqno = Some(batch.next_seqno());
    }
    Ok(reached)
}

/// Visits every batch header of a segment that verifies, the link's included, without looking at records. For `synced_through`.
pub fn scan_batches(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    limit: u32,
    visit: &mut dyn FnMut(u32, BatchHeader),
) -> io::Result<()> {
    let mut walk = Walk { window: Window::new(file, limit.into()), header, limit, depth: Depth::Headers };
    for offset in crate::format::segment::LINK_OFFSETS {
        if let Ok(batch) = walk.batch_at(offset as u32)? {
            visit(offset as u32, batch);
        }
    }
    let mut at = DATA_START as u32;
    while at < limit {
        let (offset, batch) = match walk.batch_at(at)? {
            Ok(batch) if batch.kind == BatchKind::Records => (at, batch),
            _ => match walk.next_batch(at, 0)? {
                Some(next) => next,
                None => return Ok(()),
            },
        };
        visit(offset, batch);
        let end = u64::from(offset) + BatchHeader::LEN as u64 + u64::from(batch.body_len);
        at = u32::try_from(end).unwrap_or(limit);
    }
    Ok(())
}

struct Walk<'a> {
    window: Window<'a>,
    header: &'a SegmentHeader,
    limit: u32,
    depth: Depth,
}

impl Walk<'_> {
    fn batch_at(&mut self, offset: u32) -> io::Result<Result<BatchHeader, DecodeError>> {
        let seed = self.header.seed();
        let bytes = self.window.get(offset.into(), BatchHeader::LEN)?;
        Ok(BatchHeader::decode(seed, offset.into(), bytes))
    }

    /// The next batch header behind `offset` that verifies, with no seqno below `seqno_min`. Regions that hold no data are skipped.
    fn next_batch(&mut self, offset: u32, seqno_min: u64) -> io::Result<Option<(u32, BatchHeader)>> {
        let step = ALIGN_BYTES;
        let mut at = u64::from(offset) + step;
        let mut checked_hole_until = 0;
        while at < u64::from(self.limit) {
            if at >= checked_hole_until {
                match self.window.file.next_data(at)? {
                    None => return Ok(None),
                    Some(data) => at = at.max(data & !(step - 1)),
                }
                checked_hole_until = at + (1 << 20);
                if at >= u64::from(self.limit) {
                    return Ok(None);
                }
            }
            let seed = self.header.seed();
            let bytes = self.window.get(at, WINDOW_LEN.min(self.window.bytes.len()))?;
            if bytes.len() < BatchHeader::LEN {
                return Ok(None);
            }
            let mut index = 0;
            while index + BatchHeader::LEN <= bytes.len() {
                // Compare the magic first: most places are ruled out without a checksum.
                if bytes[index + 4..index + 8] == crate::format::batch::MAGIC {
                    let place = at + index as u64;
                    if let Ok(batch) = BatchHeader::decode(seed, place, &bytes[index..])
                        && batch.kind == BatchKind::Records
                        && batch.first_seqno >= seqno_min
                        && let Ok(place) = u32::try_from(place)
                    {
                        return Ok(Some((place, batch)));
                    }
                }
                index += step as usize;
            }
            at += index as u64;
        }
        Ok(None)
    }

    /// The records of one batch. A record that does not verify ends the batch: where the next one starts is not known.
    fn records(
        &mut self,
        body: u32,
        batch: &BatchHeader,
        mut reached: Reached,
        visit: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> io::Result<(Reached, ControlFlow<()>)> {
        let body_end = (u64::from(body) + u64::from(batch.body_len)).min(self.limit.into());
        let mut at = u64::from(body);
        for seqno in batch.first_seqno..batch.next_seqno() {
            if at >= body_end {
                // The segment was cut inside this batch; the rest of it was never accepted.
                break;
            }
            let offset = at as u32;
            let seed = self.header.seed();
            let room = body_end - at;
            let header =
                RecordHeader::decode(seed, at, self.window.get(at, RecordHeader::LEN_MAX)?).and_then(|header| {
                    let fault = crate::format::Fault::Truncated { expected: header.record_len(), found: room };
                    if header.record_len() <= room { Ok(header) } else { Err(DecodeError::new("record header", fault)) }
                });
            let header = match header {
                Ok(header) => header,
                Err(error) => {
                    let resume = (body_end < u64::from(self.limit)).then_some((body_end as u32, batch.next_seqno()));
                    let gap = Gap { offset, first_seqno: seqno, error, blank: false, resume };
                    let flow = visit(Item::Gap(gap));
                    if flow.is_continue() {
                        reached = Reached { end_offset: body_end as u32, next_seqno: batch.next_seqno() };
                    }
                    return Ok((reached, flow));
                }
            };
            let payload = match self.depth {
                Depth::Headers => Ok(()),
                Depth::Payloads => self.payload(at, &header)?,
            };
            if visit(Item::Record { offset, seqno, header, payload }).is_break() {
                return Ok((reached, ControlFlow::Break(())));
            }
            at += header.record_len();
            reached = Reached { end_offset: at as u32, next_seqno: seqno + 1 };
        }
        Ok((reached, ControlFlow::Continue(())))
    }

    fn payload(&mut self, at: u64, header: &RecordHeader) -> io::Result<Result<(), DecodeError>> {
        use crate::format::Fault;
        let expected = self.window.crc(at + header.len() as u64, header.payload_len())?;
        Ok(match expected {
            Some(crc) if crc == header.payload_crc => Ok(()),
            Some(crc) => {
                let fault = Fault::Checksum { expected: crc, found: header.payload_crc };
                Err(DecodeError::new("record payload", fault))
            }
            None => {
                let fault = Fault::Truncated { expected: header.payload_len(), found: 0 };
                Err(DecodeError::new("record payload", fault))
            }
        })
    }
}
