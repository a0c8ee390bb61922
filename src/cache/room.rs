//! Room in the log for what is about to be written: reserved before any lock of a shard is taken, as whoever waits for it waits for I/O.
//!
//! Knows: what the log refuses, and what goes there instead of a value. Does not know: memory, the index.

use super::builder::WhenBehind;
use super::core::Core;
use super::outcome::{Refusal, TierOutcome};
use crate::counters::Counter;
use crate::format::record::RecordHeader;
use crate::log::{Class, Log, Reservation};

/// Room for the empty batch that tells how far the log is durable.
pub(crate) const MARK_LEN: u64 = crate::format::batch::BatchHeader::LEN as u64;

/// What a put does to the log.
pub(super) enum Room<'a> {
    /// There is no disk tier, or it is off.
    None(TierOutcome),
    /// The value is appended.
    Value(Reservation<'a>),
    /// A tombstone takes its place.
    Tombstone(Reservation<'a>, Refusal),
}

impl Core {
    pub(super) fn room_for_value(&self, record_len: u64) -> Room<'_> {
        let Some(log) = &self.log else { return Room::None(TierOutcome::Absent) };
        if log.latch.is_tripped() {
            self.count_drop(&self.counters.dropped_off, "off");
            return Room::None(TierOutcome::Refused(Refusal::DiskOff));
        }
        let why = if record_len > log.plan().record_len_max() {
            self.count_drop(&self.counters.dropped_oversize, "oversize");
            Refusal::Oversize
        } else {
            let room = match self.when_behind {
                WhenBehind::Wait => self.reserve(log, Class::Value, record_len),
                WhenBehind::Drop => match log.try_reserve(Class::Value, record_len) {
                    // Without threads nobody else would ever write, so that is not what being behind means.
                    None if self.is_inline() => self.reserve(log, Class::Value, record_len),
                    room => room,
                },
            };
            match room {
                Some(room) => return Room::Value(room),
                None if log.latch.is_tripped() => {
                    self.count_drop(&self.counters.dropped_off, "off");
                    return Room::None(TierOutcome::Refused(Refusal::DiskOff));
                }
                None => {
                    self.count_drop(&self.counters.dropped_behind, "behind");
                    Refusal::Behind
                }
            }
        };
        match self.reserve(log, Class::Control, RecordHeader::LEN as u64) {
            Some(room) => Room::Tombstone(room, why),
            None => Room::None(TierOutcome::Refused(Refusal::DiskOff)),
        }
    }

    pub(super) fn room_for_control(&self, len: u64) -> Option<Reservation<'_>> {
        self.log_on().and_then(|log| self.reserve(log, Class::Control, len))
    }

    /// Reserves room, waiting for it or making it. `None` once the disk is off.
    fn reserve<'a>(&self, log: &'a Log, class: Class, record_len: u64) -> Option<Reservation<'a>> {
        if let Some(room) = log.try_reserve(class, record_len) {
            return (!log.latch.is_tripped()).then_some(room);
        }
        if !self.is_inline() {
            return log.reserve_or_wait(class, record_len);
        }
        loop {
            // Here the caller's thread does what the writer and maintenance would.
            let wrote = log.write_step().ok()?;
            if let Some(room) = log.try_reserve(class, record_len) {
                return Some(room);
            }
            if !wrote {
                self.make_spare().ok()?;
            }
        }
    }

    /// Counts a value that the disk tier does not take. The first for each reason is an event; of the others only the count tells.
    fn count_drop(&self, counter: &Counter, reason: &'static str) {
        if counter.is_first() {
            tracing::warn!(reason, "the disk tier begins to drop values; how many is in the statistics");
        }
    }
}
