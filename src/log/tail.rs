//! The append tail: where the next record goes, and who may put one there. All of it is guarded by one lock, taken inside a shard's.
//!
//! Order of events (P1): room is reserved before the shard lock, position and seqno are taken here while that lock is held; so log order is lock
//! order. Bytes go to the append buffer; the writer takes them from there.
//!
//! Invariants
//!  I-TAIL-1  `buffer.used() + reserved <= capacity`, so an append with a reservation never lacks room in the buffer.
//!  I-TAIL-2  All that is reserved fits the rest of the active segment, or the spare: `roll` finds a spare whenever it is called.
//!  I-TAIL-3  A segment always keeps room for one more empty batch and its footer.
//!  I-TAIL-4  The queue covers exactly the bytes `buffer.freed()..open batch`, in order.

use super::buffer::AppendBuffer;
use super::segment::{End, Segment};
use crate::format::ALIGN_BYTES;
use crate::format::batch::{BatchHeader, BatchKind};
use crate::format::footer::footer_len;
use crate::format::record::RecordHeader;
use crate::format::segment::{DATA_START, LINK_BATCH_LEN, LINK_OFFSETS, Link};
use crate::sync::{Arc, Ordering};
use std::collections::VecDeque;

/// What a record may cost beside its own bytes: a batch header, both copies of a link, a footer entry.
const OVERHEAD_BYTES: u64 = BatchHeader::LEN as u64 + 2 * LINK_BATCH_LEN + 16;

/// What an append of `record_len` bytes reserves.
pub(crate) const fn cost(record_len: u64) -> u64 {
    record_len + OVERHEAD_BYTES
}

/// Bytes that reservations may fill in a fresh segment of this length.
pub(crate) fn segment_capacity(len_bytes: u32) -> u64 {
    u64::from(len_bytes).saturating_sub(DATA_START + footer_len(0) + BatchHeader::LEN as u64)
}

/// What is appended; the reserve of the buffer is kept for events without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A put: may use the buffer up to its headroom.
    Value,
    /// A put that is appended again while the oldest segment goes: the same, and the room that is kept for it.
    Reinserted,
    /// A tombstone, a clear or an empty batch: may use all of it.
    Control,
}

/// A piece of the log that waits to be written: whole batches.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u32,
    pub(crate) stream: u64,
    pub(crate) len: u64,
    pub(crate) last_seqno: u64,
}

#[derive(Debug)]
struct OpenBatch {
    offset: u32,
    stream: u64,
    first_seqno: u64,
    record_count: u32,
}

/// Where a record was put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) segment_name: u16,
    pub(crate) offset: u32,
    pub(crate) seqno: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Tail {
    // The append buffer and what is in it.
    pub(crate) buffer: AppendBuffer,
    pub(crate) capacity: u64,
    pub(crate) headroom: u64,
    pub(crate) batch_len_max: u64,
    pub(crate) queue: VecDeque<Extent>,
    /// Somebody waits for what is in the buffer to be written, so the writer does not linger for more.
    pub(crate) urgent: bool,
    batch: Option<OpenBatch>,
    // The place in the log.
    pub(crate) active: Arc<Segment>,
    offset: u32,
    entry_count: u64,
    pub(crate) spare: Option<Arc<Segment>>,
    /// Segments that the log has left and that wait for their footer, oldest first.
    pub(crate) unsealed: VecDeque<(Arc<Segment>, u32)>,
    /// Live segments, oldest first; the active one is last.
    pub(crate) order: VecDeque<Arc<Segment>>,
    // Sequence numbers.
    pub(crate) next_seqno: u64,
    pub(crate) written_seqno: u64,
    pub(crate) synced_seqno: u64,
    /// Highest `synced_through` that a batch carries.
    pub(crate) recorded_seqno: u64,
    // Reservations.
    reserved: u64,
    waiting: VecDeque<u64>,
    next_ticket: u64,
    /// Highest time seen, in seconds since the epoch.
    pub(crate) clock_mark_s: u32,
    /// Bytes of segments appended: batches, records, links.
    pub(crate) appended_bytes: u64,
}

impl Tail {
    /// A tail at the start of `active`, a fresh segment, which follows what `link` names. `order` holds the segments before it, oldest first.
    #[allow(clippy::too_many_arguments, reason = "called once; the parts have different owners")]
    pub(crate) fn new(
        buffer: AppendBuffer,
        capacity: u64,
        headroom: u64,
        batch_len_max: u64,
        active: Arc<Segment>,
        mut order: VecDeque<Arc<Segment>>,
        link: Link,
        clock_mark_s: u32,
    ) -> Self {
        order.push_back(Arc::clone(&active));
        let seqno = link.predecessor_last_seqno;
        let mut tail = Self {
            buffer,
            capacity,
            headroom,
            batch_len_max,
            queue: VecDeque::new(),
            urgent: false,
            batch: None,
            active,
            offset: DATA_START as u32,
            entry_count: 0,
            spare: None,
            unsealed: VecDeque::new(),
            order,
            next_seqno: seqno + 1,
            // What recovery accepted was sealed and synced.
            written_seqno: seqno,
            synced_seqno: seqno,
            recorded_seqno: seqno,
            reserved: 0,
            waiting: VecDeque::new(),
            next_ticket: 0,
            clock_mark_s,
            appended_bytes: 0,
        };
        tail.enter(link);
        tail
    }

    // -- reservations

    /// Takes a place in the queue of those who wait for room.
    pub(crate) fn take_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(ticket);
        ticket
    }

    /// The same, ahead of all others: for bounded amounts only.
    pub(crate) fn take_first_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_front(ticket);
        ticket
    }

    /// Leaves the queue without a reservation.
    pub(crate) fn drop_ticket(&mut self, ticket: u64) {
        self.waiting.retain(|&waiting| waiting != ticket);
    }

    /// Whether others wait for room.
    pub(crate) fn is_contended(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reserves `cost` bytes if it is this ticket's turn (or, without one, nobody waits) and there is room in buffer and segment. Values leave
    /// `kept_bytes` of the segment alone.
    pub(crate) fn try_reserve(&mut self, class: Class, cost: u64, ticket: Option<u64>, kept_bytes: u64) -> bool {
        match ticket {
            Some(ticket) if self.waiting.front() != Some(&ticket) => return false,
            None if !self.waiting.is_empty() => return false,
            _ => {}
        }
        let kept_bytes = if class == Class::Value { kept_bytes } else { 0 };
        if !self.buffer_has_room(class, cost) || !self.segment_has_room(cost + kept_bytes) {
            return false;
        }
        self.reserved += cost;
        if ticket.is_some() {
            self.waiting.pop_front();
        }
        true
    }

    pub(crate) fn buffer_has_room(&self, class: Class, cost: u64) -> bool {
        let limit = match class {
            Class::Value | Class::Reinserted => self.capacity - self.headroom,
            Class::Control => self.capacity,
        };
        self.buffer.used() + self.reserved + cost <= limit
    }

    pub(crate) fn segment_has_room(&self, cost: u64) -> bool {
        let wanted = self.reserved + cost;
        wanted <= self.space_left()
            || self.spare.as_ref().is_some_and(|spare| wanted <= segment_capacity(spare.header.len_bytes))
    }

    /// Gives a reservation back, used or not.
    pub(crate) fn release(&mut self, cost: u64) {
        self.reserved -= cost;
    }

    /// Whether the active segment is filled enough that the next one's room should be made.
    pub(crate) fn is_quarter_full(&self) -> bool {
        self.offset >= self.active.header.len_bytes / 4
    }

    fn space_left(&self) -> u64 {
        let kept = footer_len(self.entry_count) + BatchHeader::LEN as u64;
        u64::from(self.active.header.len_bytes).saturating_sub(u64::from(self.offset) + kept)
    }

    // -- appending

    /// Appends a record; its room is reserved. `payload` is key and value, or nothing.
    pub(crate) fn append(&mut self, header: &RecordHeader, payload: [&[u8]; 2]) -> Position {
        let record_len = header.record_len();
        let batch_full =
            self.batch.as_ref().is_some_and(|batch| self.buffer.end() - batch.stream >= self.batch_len_max);
        if batch_full {
            self.close_batch();
        }
        let wanted = record_len + 16 + if self.batch.is_none() { BatchHeader::LEN as u64 } else { 0 };
        if wanted > self.space_left() {
            self.roll();
        }
        if self.batch.is_none() {
            self.open_batch();
        }
        let offset = self.offset;
        self.buffer.append(&header.encode(self.active.seed(), offset.into()));
        self.buffer.append(payload[0]);
        self.buffer.append(payload[1]);
        let padding = record_len - header.len() as u64 - header.payload_len();
        self.buffer.append(&[0; ALIGN_BYTES as usize][..padding as usize]);
        self.offset += record_len as u32;
        self.appended_bytes += record_len;
        self.entry_count += 1;
        let seqno = self.next_seqno;
        self.next_seqno += 1;
        if let Some(batch) = &mut self.batch {
            batch.record_count += 1;
        }
        Position { segment_name: self.active.name, offset, seqno }
    }

    /// Appends an empty batch that records how far the log is durable; its room is reserved.
    pub(crate) fn append_synced_mark(&mut self) {
        self.close_batch();
        if BatchHeader::LEN as u64 > self.space_left() {
            self.roll();
        }
        self.open_batch();
        self.close_batch();
    }

    /// Whether anything waits to be written.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.queue.is_empty() || self.batch.is_some()
    }

    fn open_batch(&mut self) {
        let stream = self.buffer.end();
        self.batch = Some(OpenBatch { offset: self.offset, stream, first_seqno: self.next_seqno, record_count: 0 });
        self.buffer.append(&[0; BatchHeader::LEN]);
        self.offset += BatchHeader::LEN as u32;
        self.appended_bytes += BatchHeader::LEN as u64;
    }

    /// Closes the open batch, if there is one: writes its header and queues it for the writer.
    pub(crate) fn close_batch(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let len = self.buffer.end() - batch.stream;
        let header = BatchHeader {
            first_seqno: batch.first_seqno,
            synced_through: self.synced_seqno.min(batch.first_seqno - 1),
            body_len: (len - BatchHeader::LEN as u64) as u32,
            record_count: batch.record_count,
            clock_mark_s: self.clock_mark_s,
            kind: BatchKind::Records,
        };
        self.recorded_seqno = self.recorded_seqno.max(header.synced_through);
        self.buffer.overwrite(batch.stream, &header.encode(self.active.seed(), batch.offset.into()));
        self.queue.push_back(Extent {
            segment: Arc::clone(&self.active),
            offset: batch.offset,
            stream: batch.stream,
            len,
            last_seqno: self.next_seqno - 1,
        });
    }

    /// Leaves the active segment for the spare.
    fn roll(&mut self) {
        self.close_batch();
        let spare = self.spare.take().expect("what is reserved fits the active segment or the spare: I-TAIL-2");
        let left = std::mem::replace(&mut self.active, spare);
        let end = End { data_end: self.offset, last_seqno: self.next_seqno - 1 };
        left.set_end(end);
        let link = Link {
            predecessor_number: left.header.number,
            predecessor_uid: left.header.uid,
            predecessor_last_seqno: end.last_seqno,
            predecessor_end_offset: end.data_end,
        };
        self.unsealed.push_back((left, self.clock_mark_s));
        self.order.push_back(Arc::clone(&self.active));
        self.offset = DATA_START as u32;
        self.entry_count = 0;
        self.enter(link);
    }

    /// Writes the link of the active segment, which is fresh.
    fn enter(&mut self, link: Link) {
        let stream = self.buffer.end();
        self.active.set_link(link);
        // Relaxed: readers learn the segment's name under a lock that is taken after this.
        self.active.stream_base.store(stream.wrapping_sub(LINK_OFFSETS[0]), Ordering::Relaxed);
        let batches = link.encode_batches(self.active.seed(), self.synced_seqno, self.clock_mark_s);
        self.buffer.append(&batches);
        self.appended_bytes += batches.len() as u64;
        self.recorded_seqno = self.recorded_seqno.max(self.synced_seqno);
        self.queue.push_back(Extent {
            segment: Arc::clone(&self.active),
            offset: LINK_OFFSETS[0] as u32,
            stream,
            len: batches.len() as u64,
            last_seqno: link.predecessor_last_seqno,
        });
    }

    /// Forgets all that waits to be written, since it never will be.
    pub(crate) fn discard(&mut self) {
        self.batch = None;
        self.queue.clear();
        let end = self.buffer.end();
        self.buffer.free(end);
    }

    /// Recomputes what the invariants say.
    pub(crate) fn validate(&self) {
        assert!(self.buffer.used() + self.reserved <= self.capacity, "I-TAIL-1");
        let mut at = self.buffer.freed();
        for extent in &self.queue {
            assert_eq!(extent.stream, at, "I-TAIL-4");
            at += extent.len;
        }
        assert_eq!(self.batch.as_ref().map_or(self.buffer.end(), |batch| batch.stream), at, "I-TAIL-4");
        assert!(self.synced_seqno <= self.written_seqno && self.written_seqno < self.next_seqno);
    }
}
