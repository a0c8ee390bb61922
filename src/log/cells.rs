//! The segments of the log in a bounded number of cells, for whoever draws a map of them.
//!
//! Takes the tail's lock in short steps, so the picture is not of one instant: segments come and go between two of them.

use super::{Log, Segment};
use crate::format::counters::{CellState, SegmentCell};
use crate::sync::Ordering;

/// Segments that are looked at under one lock.
const STEP_COUNT: usize = 64;
/// Cells that are not full groups: the first and the last, one that waits for its footer, the active one, the spare.
const ODD_COUNT: usize = 5;

impl Log {
    /// Lists all segments by number, several in a cell where there are more than so many. Which ones share a cell follows from their numbers, so that
    /// the map does not flicker.
    pub(crate) fn list_cells(&self, count_max: usize, cells: &mut Vec<SegmentCell>) {
        cells.clear();
        let group_len = self.tail.lock().order.len().div_ceil(count_max.saturating_sub(ODD_COUNT).max(1)).max(1) as u32;
        let mut next = Some(0);
        while let Some(from) = next {
            let tail = self.tail.lock();
            let start = tail.order.partition_point(|segment| segment.header.number < from);
            let mut seen = 0;
            for segment in tail.order.range(start..).take(STEP_COUNT) {
                let is_active = std::ptr::eq(&raw const **segment, &raw const *tail.active);
                let next_seqno = if is_active { Some(tail.next_seqno) } else { None };
                push(cells, count_max, group_len, cell(segment, next_seqno));
                next = segment.header.number.checked_add(1);
                seen += 1;
            }
            if seen < STEP_COUNT {
                if let Some(spare) = &tail.spare {
                    let state = CellState::Spare;
                    push(cells, count_max, group_len, SegmentCell { state, ..cell(spare, None) });
                }
                break;
            }
        }
    }
}

/// One segment; `next_seqno` for the one that is appended to.
fn cell(segment: &Segment, next_seqno: Option<u64>) -> SegmentCell {
    let end = segment.end();
    let state = match (next_seqno, segment.is_sealed()) {
        (Some(_), _) => CellState::Active,
        (None, true) => CellState::Sealed,
        (None, false) => CellState::Unsealed,
    };
    let before_seqno = segment.link_if_set().map(|link| link.predecessor_last_seqno);
    let last_seqno = end.map(|end| end.last_seqno).or(next_seqno.map(|next| next - 1));
    let events = last_seqno.zip(before_seqno).map_or(0, |(last, before)| last.saturating_sub(before));
    let event_count = u32::try_from(events).unwrap_or(u32::MAX);
    SegmentCell {
        first_number: segment.header.number,
        segment_count: 1,
        state,
        charged_bytes: segment.charge.lock().bytes(),
        data_bytes: end.map_or(segment.watermark.get(), |end| end.data_end).into(),
        event_count,
        // Counted by others meanwhile.
        live_count: segment.live_count.load(Ordering::Relaxed).min(event_count),
    }
}

fn push(cells: &mut Vec<SegmentCell>, count_max: usize, group_len: u32, next: SegmentCell) {
    let is_full = cells.len() == count_max;
    if let Some(last) = cells.last_mut()
        && (is_full || last.state == next.state && last.first_number / group_len == next.first_number / group_len)
    {
        last.segment_count = last.segment_count.saturating_add(1);
        last.charged_bytes += next.charged_bytes;
        last.data_bytes += next.data_bytes;
        last.event_count = last.event_count.saturating_add(next.event_count);
        last.live_count = last.live_count.saturating_add(next.live_count);
    } else if !is_full {
        cells.push(next);
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;

    fn sealed(number: u32) -> SegmentCell {
        SegmentCell {
            first_number: number,
            segment_count: 1,
            state: CellState::Sealed,
            charged_bytes: 10,
            data_bytes: 8,
            event_count: 4,
            live_count: 3,
        }
    }

    #[test]
    fn cells_are_bounded_lose_nothing_and_keep_their_borders_while_the_log_moves() {
        for (first, count) in [(1, 1), (1, 100), (7, 151), (1_000_003, 8192)] {
            let gather = |first: u32| {
                let group_len = (count as usize).div_ceil(160 - ODD_COUNT) as u32;
                let mut cells = Vec::new();
                (first..first + count).for_each(|number| push(&mut cells, 160, group_len, sealed(number)));
                for (state, number) in [(CellState::Unsealed, 0), (CellState::Active, 1), (CellState::Spare, 2)] {
                    push(&mut cells, 160, group_len, SegmentCell { state, ..sealed(first + count + number) });
                }
                cells
            };
            let cells = gather(first);
            assert!(cells.len() <= 160, "{} cells for {count}", cells.len());
            assert!(cells.windows(2).all(|pair| pair[0].first_number < pair[1].first_number));
            let sums = cells.iter().fold((0u64, 0, 0), |sums, cell| {
                (sums.0 + u64::from(cell.segment_count), sums.1 + cell.charged_bytes, sums.2 + cell.live_count)
            });
            assert_eq!(sums, (u64::from(count) + 3, (u64::from(count) + 3) * 10, (count + 3) * 3));
            let later = gather(first + 1);
            let borders = |cells: &[SegmentCell]| -> Vec<u32> {
                cells.iter().filter(|cell| cell.state == CellState::Sealed).map(|cell| cell.first_number).collect()
            };
            let (borders, later) = (borders(&cells), borders(&later));
            let kept = borders.iter().filter(|border| later.contains(border)).count();
            assert!(kept + 1 >= borders.len(), "{kept} of {} borders are where they were", borders.len());
        }
    }
}
