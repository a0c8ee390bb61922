//! The segments as a map: a column for each, the oldest at the left, what lives at the bottom, what is dead on top of it.
//!
//! The map is as wide as the disk budget has segments, so that columns keep their width while segments come and go.

use emberlog::format::counters::{CellState, SegmentCell};

const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a character of the map shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Bytes that live, by eighths from the bottom; the rest of the character is dead, where `true`.
    Live(u8, bool),
    /// Dead bytes.
    Dead,
    /// Room that is not written yet.
    Room,
}

impl Ground {
    /// The character.
    pub(crate) fn glyph(self) -> char {
        match self {
            Ground::Live(eighths, _) => LEVELS[usize::from(eighths.min(8))],
            Ground::Dead => '░',
            Ground::Room => '·',
        }
    }
}

/// One column: some segments next to each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// How they stand: the active one over others.
    pub(crate) state: CellState,
    /// Share of their storage that lives, and that is written.
    live: f64,
    written: f64,
}

/// The map of some cells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    /// Oldest first.
    pub(crate) columns: Vec<Column>,
    /// Characters that a column is wide.
    pub(crate) column_width: usize,
    /// Live bytes of all, as far as that can be told, and bytes with records.
    pub(crate) live_bytes: u64,
    /// See `live_bytes`.
    pub(crate) data_bytes: u64,
}

/// What of a cell lives: the index knows how many records, so this takes all of a segment for equally long.
pub(crate) fn live_bytes(cell: &SegmentCell) -> u64 {
    let share = f64::from(cell.live_count.min(cell.event_count)) / f64::from(cell.event_count.max(1));
    (cell.data_bytes as f64 * share).round() as u64
}

impl Map {
    /// Lays the cells out over `width` characters, for a budget that holds so many segments.
    pub(crate) fn new(cells: &[SegmentCell], segment_count_max: u64, width: usize) -> Map {
        let present: u64 = cells.iter().map(|cell| u64::from(cell.segment_count)).sum();
        let (most, width) = (segment_count_max.max(present).max(1), width.max(1) as u64);
        // Two for the edges of groups.
        let per_column = if most <= width { 1 } else { most.div_ceil(width.saturating_sub(2).max(1)) };
        let mut groups: Vec<(u64, Vec<&SegmentCell>)> = Vec::new();
        for cell in cells {
            let group = u64::from(cell.first_number) / per_column;
            match groups.last_mut() {
                Some((last, members)) if *last == group => members.push(cell),
                _ => groups.push((group, vec![cell])),
            }
        }
        let column = |members: &Vec<&SegmentCell>| {
            let sum = |of: fn(&SegmentCell) -> u64| members.iter().map(|cell| of(cell)).sum::<u64>() as f64;
            let charged = sum(|cell| cell.charged_bytes).max(1.0);
            // Of several the one that tells most.
            let rank = |state: &CellState| {
                [CellState::Sealed, CellState::Spare, CellState::Unsealed, CellState::Active]
                    .iter()
                    .position(|other| other == state)
            };
            let state = members.iter().map(|cell| cell.state).max_by_key(rank).unwrap_or(CellState::Sealed);
            Column { state, live: sum(live_bytes) / charged, written: sum(|cell| cell.data_bytes) / charged }
        };
        Map {
            columns: groups.iter().map(|(_, members)| column(members)).take(width as usize).collect(),
            column_width: if per_column == 1 { (width / most).clamp(1, 8) as usize } else { 1 },
            live_bytes: cells.iter().map(live_bytes).sum(),
            data_bytes: cells.iter().map(|cell| cell.data_bytes).sum(),
        }
    }

    /// What stands in a row of the map, counted from the top of `height`, column by column.
    pub(crate) fn row(&self, row: usize, height: usize) -> Vec<Ground> {
        let from_bottom = (height - 1 - row) as f64;
        let eighths = |share: f64| ((share * height as f64 - from_bottom) * 8.0).round().clamp(0.0, 8.0) as u8;
        let ground = |column: &Column| {
            // Any live record shows, in the lowest row.
            let least = u8::from(from_bottom == 0.0 && column.live > 0.0);
            match (eighths(column.live).max(least), eighths(column.written)) {
                (0, 0) => Ground::Room,
                (0, _) => Ground::Dead,
                (live, written) => Ground::Live(live, written > live),
            }
        };
        self.columns.iter().map(ground).collect()
    }

    /// A letter under a column that is not simply sealed.
    pub(crate) fn mark(column: &Column) -> char {
        match column.state {
            CellState::Sealed => ' ',
            CellState::Unsealed => 'u',
            CellState::Active => 'a',
            CellState::Spare => 's',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(number: u32, state: CellState, written: u64, live_count: u32) -> SegmentCell {
        SegmentCell {
            first_number: number,
            segment_count: 1,
            state,
            charged_bytes: 1000,
            data_bytes: written,
            event_count: 100,
            live_count,
        }
    }

    fn drawn(map: &Map, height: usize) -> Vec<String> {
        (0..height).map(|row| map.row(row, height).into_iter().map(Ground::glyph).collect()).collect()
    }

    #[test]
    fn what_lives_is_at_the_bottom_and_what_is_dead_on_top_of_it() {
        let cells = [
            cell(5, CellState::Sealed, 1000, 100),
            cell(6, CellState::Sealed, 1000, 50),
            cell(7, CellState::Sealed, 1000, 0),
            cell(8, CellState::Sealed, 1000, 1),
            cell(9, CellState::Active, 250, 100),
            cell(10, CellState::Spare, 0, 0),
        ];
        let map = Map::new(&cells, 8, 40);
        assert_eq!(map.column_width, 5, "as wide as the budget allows");
        assert_eq!(drawn(&map, 4), ["█░░░··", "█░░░··", "██░░··", "██░▁█·"]);
        assert_eq!(map.columns.iter().map(Map::mark).collect::<String>(), "    as");
        assert_eq!((map.live_bytes, map.data_bytes), (1000 + 500 + 10 + 250, 4250));
    }

    #[test]
    fn columns_keep_their_width_while_segments_come_and_go_and_are_never_too_many() {
        for (most, width) in [(1, 1), (20, 98), (130, 98), (8192, 60), (98, 98), (99, 98)] {
            let widths: Vec<usize> = (0..300)
                .map(|first| {
                    let count = if first % 2 == 0 { most } else { most - most / 9 };
                    let cells: Vec<_> =
                        (first..first + count as u32).map(|n| cell(n + 1, CellState::Sealed, 900, 30)).collect();
                    let map = Map::new(&cells, most, width);
                    assert!(map.columns.len() * map.column_width <= width, "{most} on {width}");
                    assert!(most > width as u64 || map.columns.len() as u64 == count, "{most} on {width}");
                    map.column_width
                })
                .collect();
            assert!(widths.iter().all(|other| *other == widths[0]), "{most} on {width}");
        }
    }
}
