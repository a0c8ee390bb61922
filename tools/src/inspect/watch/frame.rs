//! The frame: where everything stands, for any size of terminal. Pure: the same looks give the same frame.
//!
//! Numbers stand in columns of fixed width, so that nothing jumps. A figure that the page does not have is a dash.

use emberlog::format::counters::CellState;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};
use serde_json::Value;

use super::history::History;
use super::look::{Life, Look, Seen, Sight};
use super::map::{Ground, Map};
use super::words::{self, UNKNOWN, bars, count, gauge, or_unknown, percent, rate};
use crate::store::show_date;
use crate::units::{show_bytes, show_count};

/// All that a frame shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// The directory as the user named it.
    pub(crate) directory: &'a str,
    /// The newest look.
    pub(crate) look: &'a Look,
    /// All looks.
    pub(crate) history: &'a History,
    /// Whether there are colours.
    pub(crate) is_coloured: bool,
    /// What the last line says at its left; the keys, say.
    pub(crate) hint: &'a str,
}

const READS: [&str; 2] = ["requests.hits", "requests.misses"];

/// What the letters under the map say; the first that fits.
const LEGENDS: [&str; 3] = [
    "   oldest to newest; a active, s spare, u waits for its footer",
    "   a active, s spare, u unsealed",
    "   a active, s spare",
];

/// Why values were not kept, by the names of the counters. Others of such names that a later version has are shown by their names.
const DROPS: [(&str, &str); 12] = [
    ("memory.refused_oversize", "too big, memory"),
    ("memory.dropped_by_index", "memory index"),
    ("disk.dropped_oversize", "too big, disk"),
    ("disk.dropped_behind", "writer behind"),
    ("disk.dropped_off", "disk tier off"),
    ("disk.dropped_by_index", "disk index"),
    ("disk.dropped_with_segment", "live in segment"),
    ("disk.dropped_at_close", "room at close"),
    ("disk.damaged_records", "damaged"),
    ("requests.load_errors", "loads failed"),
    ("requests.loads_overtaken", "loads overtaken"),
    ("disk.counters_failures", "counters page"),
];

impl Scene<'_> {
    /// Draws the frame.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
        self.draw_head(frame, head);
        self.draw_foot(frame, foot);
        match self.look.seen() {
            None => self.draw_absence(frame, body),
            Some(seen) if area.width < 76 || area.height < 22 => self.draw_small(frame, body, seen),
            Some(seen) => self.draw_panels(frame, body, seen),
        }
    }

    // -- style

    fn style(&self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn faint(&self) -> Style {
        self.style(Color::DarkGray)
    }

    fn strong(&self) -> Style {
        if self.is_coloured { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
    }

    fn block<'b>(&self, title: impl Into<String>) -> Block<'b> {
        let title = Span::styled(format!(" {} ", title.into()), self.strong());
        Block::bordered().border_type(BorderType::Rounded).border_style(self.faint()).title(title)
    }

    // -- the lines around

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let (state, colour) = self.state();
        let width = usize::from(area.width);
        let state_len = state.chars().count().min(width);
        let room = width.saturating_sub(state_len + 12);
        // Of a long path the end tells more.
        let path_len = self.directory.chars().count();
        let path: String = if path_len > room && room > 1 {
            let end = self.directory.chars().skip(path_len + 1 - room);
            std::iter::once('…').chain(end).collect()
        } else {
            self.directory.chars().take(room).collect()
        };
        let left = Line::from(vec![Span::styled(" emberlog ", self.strong()), Span::raw(path)]);
        let [left_area, right_area] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(state_len as u16 + 1)]).areas(area);
        frame.render_widget(Paragraph::new(left), left_area);
        frame.render_widget(Paragraph::new(Span::styled(state, self.style(colour))), right_area);
    }

    fn state(&self) -> (String, Color) {
        let holder = self.look.holder.as_ref().map(|holder| holder.process_id);
        let Some(seen) = self.look.seen() else {
            return match holder {
                Some(id) => (format!("open in process {id}"), Color::Yellow),
                None => ("not running".to_owned(), Color::Red),
            };
        };
        let header = &seen.header;
        let date = show_date(header.written_unix_ms / 1000);
        match (self.look.life(), holder) {
            (Some(Life::Running), _) => {
                let open_s = self.look.at_unix_ms.saturating_sub(header.opened_unix_ms) / 1000;
                (format!("● process {}, open for {}", header.process_id, words::age(open_s)), Color::Green)
            }
            (Some(Life::Starting), Some(id)) => {
                (format!("◐ process {id} has opened it, page of {date}"), Color::Yellow)
            }
            (Some(Life::Closed), _) => (format!("○ not running, closed {date}"), Color::Red),
            _ => (format!("○ not running, last seen {date}"), Color::Red),
        }
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let right = match self.look.seen() {
            Some(seen) => {
                let age_s = self.look.at_unix_ms.saturating_sub(seen.header.written_unix_ms) / 1000;
                let version =
                    seen.crate_version.as_deref().map_or(String::new(), |version| format!("emberlog {version}, "));
                format!("{version}page {}, {} old ", count(seen.header.sequence), words::age(age_s))
            }
            None => String::new(),
        };
        frame.render_widget(Paragraph::new(Span::styled(format!(" {}", self.hint), self.faint())), area);
        if area.width as usize > right.len() + self.hint.len() + 2 {
            let right = Paragraph::new(Span::styled(right, self.faint())).alignment(Alignment::Right);
            frame.render_widget(right, area);
        }
    }

    fn draw_absence(&self, frame: &mut Frame<'_>, area: Rect) {
        let what = match (&self.look.sight, &self.look.holder) {
            (Sight::Foreign, _) => {
                "The file 'counters' is not of this store, so its cache keeps no page.\nMove it away, and open the cache again."
            }
            (Sight::Unreadable, Some(_)) => "The page of counters does not verify; the next is about a second away.",
            (Sight::Unreadable, None) => "The page of counters does not verify: nothing is known of the last run.",
            (_, Some(_)) => {
                "There is no page of counters yet. The first comes a second after the cache was opened,\nunless it is of an older version or counters_page is off."
            }
            (_, None) => "No cache is open here, and none has left a page of counters.",
        };
        let lines: Vec<Line<'_>> = what.lines().map(Line::from).collect();
        let [_, middle, _] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(lines.len() as u16), Constraint::Fill(2)])
                .areas(area);
        frame.render_widget(Paragraph::new(lines).alignment(Alignment::Center), middle);
    }

    // -- panels

    fn draw_panels(&self, frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
        let rows = Layout::vertical([Constraint::Length(8), Constraint::Length(7), Constraint::Fill(1)]);
        let [first, second, third] = rows.areas(area);
        let halves = || Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]);
        let [requests, ratios] = halves().areas(first);
        self.draw_requests(frame, requests);
        self.draw_ratios(frame, ratios);
        let [memory, disk] = halves().areas(second);
        self.draw_memory(frame, memory);
        self.draw_disk(frame, disk, seen);
        let right_width = (area.width * 2 / 5).clamp(38, 60);
        let [segments, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(right_width)]).areas(third);
        self.draw_segments(frame, segments, seen);
        match windows(&seen.stats) {
            None => self.draw_drops(frame, right),
            Some(windows) => {
                let height = (windows.len() as u16 + 2).min(right.height / 2);
                let [drops, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(right);
                self.draw_drops(frame, drops);
                self.draw_windows(frame, below, &windows);
            }
        }
    }

    /// A line of a table: a label, two numbers, and bars over what room is left.
    fn row(&self, area: Rect, label: &str, numbers: [String; 2], bars: String, colour: Color) -> Line<'static> {
        let [label_width, first, second] = columns(area);
        let text = format!(" {label:<label_width$}{:>first$}{:>second$}  ", numbers[0], numbers[1]);
        Line::from(vec![Span::raw(text), Span::styled(bars, self.style(colour))])
    }

    fn heading(&self, area: Rect, numbers: [&str; 2]) -> Line<'static> {
        let [label_width, first, second] = columns(area);
        Line::styled(format!(" {:label_width$}{:>first$}{:>second$}", "", numbers[0], numbers[1]), self.faint())
    }

    /// Characters that are left for bars in a panel of this width: borders, a space at the left, two before the bars, one behind.
    fn bars_width(area: Rect) -> usize {
        usize::from(area.width).saturating_sub(2 + 1 + 2 + 1 + columns(area).iter().sum::<usize>())
    }

    fn draw_requests(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = Self::bars_width(area);
        let mut lines = vec![self.heading(area, ["per s", "total"])];
        let rows = [
            ("hits", "requests.hits", Color::Green),
            ("misses", "requests.misses", Color::Yellow),
            ("inserts", "requests.inserts", Color::Cyan),
            ("removes", "requests.removes", Color::Magenta),
            ("loads", "requests.loads", Color::Blue),
        ];
        for (label, name, colour) in rows {
            let numbers = [or_unknown(self.history.rate(name), rate), or_unknown(self.history.total(name), count)];
            let bars = bars(&self.history.rates(name, width), None, width);
            lines.push(self.row(area, label, numbers, bars, colour));
        }
        frame.render_widget(Paragraph::new(lines).block(self.block("requests")), area);
    }

    fn draw_ratios(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = Self::bars_width(area);
        let mut lines = vec![self.heading(area, ["last", "total"])];
        // Of those who are not served from memory, the disk serves so many.
        let rest = ["requests.misses", "disk.hits"];
        let rows: [(&str, &[&str], &[&str], Color); 3] = [
            ("all", &["requests.hits"], &READS, Color::Green),
            ("memory", &["memory.hits"], &READS, Color::Cyan),
            ("disk", &["disk.hits"], &rest, Color::Blue),
        ];
        for (label, part, whole, colour) in rows {
            let shares = self.history.shares(part, whole, width.max(1));
            let last = shares.last().copied().flatten();
            let total = self.history.total_share(part, whole);
            let bars = bars(&shares, Some(1.0), width);
            let numbers = [or_unknown(last, percent), or_unknown(total, percent)];
            lines.push(self.row(area, label, numbers, bars, colour));
        }
        lines.push(Line::styled(" memory of all reads, disk of the rest", self.faint()));
        let shared = or_unknown(self.history.total("requests.loads_shared"), count);
        let errors = or_unknown(self.history.total("requests.load_errors"), count);
        lines.push(Line::from(format!(" loads: {shared} shared, {errors} failed")));
        frame.render_widget(Paragraph::new(lines).block(self.block("hit ratio")), area);
    }

    /// A line with a gauge: what is used of a budget.
    fn budget(&self, used: Option<u64>, limit: Option<u64>, width: usize, colour: Color) -> Line<'static> {
        let (Some(used), Some(limit)) = (used, limit) else { return Line::from(format!(" {UNKNOWN}")) };
        let share = used as f64 / limit.max(1) as f64;
        let text = format!(" {:>10} of {:>10} {:>7}  ", show_bytes(used), show_bytes(limit), percent(share));
        let gauge_width = width.saturating_sub(text.chars().count() + 1);
        Line::from(vec![Span::raw(text), Span::styled(gauge(share, gauge_width), self.style(colour))])
    }

    fn draw_memory(&self, frame: &mut Frame<'_>, area: Rect) {
        let history = self.history;
        let width = usize::from(area.width).saturating_sub(2);
        let bytes = |name: &str| or_unknown(history.total(name), show_bytes);
        let per_s = |name: &str| or_unknown(history.rate(name), rate);
        let counted = |name: &str| or_unknown(history.total(name), count);
        let pair = |left, right| pair(width, left, right);
        let lines = vec![
            self.budget(history.total("memory.held_bytes"), history.total("memory.limit_bytes"), width, Color::Cyan),
            pair(("entries", counted("memory.entries")), ("live", bytes("memory.live_bytes"))),
            pair(("evicted/s", per_s("memory.evicted")), ("index", bytes("accounts.disk_index"))),
            pair(("promoted/s", per_s("memory.promotions")), ("buffer", bytes("accounts.append_buffer"))),
            pair(("restored", counted("memory.restored")), ("fixed", bytes("accounts.fixed"))),
        ];
        frame.render_widget(Paragraph::new(lines).block(self.block("memory")), area);
    }

    fn draw_disk(&self, frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
        let history = self.history;
        let width = usize::from(area.width).saturating_sub(2);
        let off_because = seen.stats["disk"]["off_because"].as_str();
        let is_off = history.total("disk.is_on") == Some(0);
        let pair = |left, right| pair(width, left, right);
        let per_s = |name: &str| or_unknown(history.rate(name), rate);
        let bytes_per_s = |name: &str| or_unknown(history.rate(name), |per_s| show_bytes(per_s.round() as u64));
        let lag = |from: &str, to: &str| {
            let events = history.total(from).zip(history.total(to)).map(|(from, to)| from.saturating_sub(to));
            or_unknown(events, count)
        };
        let entries = or_unknown(history.total("disk.entries"), count);
        let index = history.total("disk.entries").zip(history.total("disk.index_capacity"));
        let index = or_unknown(index, |(used, capacity)| percent(used as f64 / capacity.max(1) as f64));
        let mut lines =
            vec![self.budget(history.total("disk.used_bytes"), history.total("disk.limit_bytes"), width, Color::Blue)];
        lines.push(pair(("entries", entries), ("index", index)));
        if is_off {
            let why = off_because.unwrap_or("for a reason that is not known");
            lines.push(Line::styled(format!(" OFF: {why}"), self.style(Color::Red)));
        } else {
            lines.push(pair(
                ("accepted/s", bytes_per_s("disk.bytes_accepted")),
                ("queued", or_unknown(history.total("disk.buffered_bytes"), show_bytes)),
            ));
        }
        lines.push(pair(
            ("written/s", bytes_per_s("disk.bytes_written")),
            ("pending", lag("disk.last_seqno", "disk.written_seqno")),
        ));
        lines.push(pair(("syncs/s", per_s("disk.syncs")), ("at risk", lag("disk.last_seqno", "disk.synced_seqno"))));
        let title = if is_off { "disk: off" } else { "disk and writer" };
        frame.render_widget(Paragraph::new(lines).block(self.block(title)), area);
    }

    fn draw_drops(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut known: Vec<(String, &str, u64)> = Vec::new();
        for group in ["memory.", "disk.", "requests."] {
            for (name, total) in self.history.totals(group) {
                let field = name.trim_start_matches(group);
                let label = DROPS.iter().find(|(known, _)| *known == name).map(|(_, label)| (*label).to_owned());
                let of_later = ["dropped_", "refused_"].iter().find_map(|prefix| field.strip_prefix(prefix));
                if let Some(label) = label.or(of_later.map(|reason| reason.replace('_', " "))) {
                    known.push((label, name, total));
                }
            }
        }
        // Always in the same order; what never happened is left out.
        known.retain(|(_, _, total)| *total > 0);
        let width = usize::from(area.width).saturating_sub(2);
        let label_width = width.saturating_sub(1 + 9 + 10 + 1).max(1);
        let line = |label: &str, rate: &str, total: &str| {
            let label: String = label.chars().take(label_width).collect();
            format!(" {label:<label_width$}{rate:>9}{total:>10}")
        };
        let mut lines = vec![Line::styled(line("", "per s", "total"), self.faint())];
        if known.is_empty() {
            lines.push(Line::from(" nothing was dropped"));
        }
        for (label, name, total) in &known {
            let now = self.history.rate(name);
            let style = if now > Some(0.0) { self.style(Color::Yellow) } else { Style::new() };
            lines.push(Line::styled(line(label, &or_unknown(now, rate), &count(*total)), style));
        }
        frame.render_widget(Paragraph::new(lines).block(self.block("dropped, by reason")), area);
    }

    fn draw_windows(&self, frame: &mut Frame<'_>, area: Rect, windows: &[(String, String)]) {
        let width = usize::from(area.width).saturating_sub(4);
        let lines: Vec<Line<'_>> = windows
            .iter()
            .map(|(name, value)| {
                let room = width.saturating_sub(name.chars().count() + 1);
                Line::from(format!(" {name} {value:>room$}"))
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(self.block("quiet windows")), area);
    }

    fn draw_segments(&self, frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
        let present: u64 = seen.cells.iter().map(|cell| u64::from(cell.segment_count)).sum();
        let block = self.block(format!("{} segments", show_count(present)));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let whole = seen.cells.iter().map(|cell| cell.charged_bytes / u64::from(cell.segment_count.max(1))).max();
        let fit = self.history.total("disk.limit_bytes").zip(whole).map_or(0, |(limit, whole)| limit / whole.max(1));
        let width = usize::from(inner.width).saturating_sub(2);
        let map = Map::new(&seen.cells, fit, width);
        let mut lines = Vec::new();
        // A line of words above, one of marks and one of numbers below.
        let height = usize::from(inner.height).saturating_sub(3);
        let share = map.live_bytes as f64 / map.data_bytes.max(1) as f64;
        let dead = map.data_bytes.saturating_sub(map.live_bytes);
        let (live, dead) = (show_bytes(map.live_bytes), show_bytes(dead));
        let (live, dead) = match width >= 48 {
            true => (format!(" about {live} live ({})   ", percent(share)), format!(" {dead} dead")),
            false => (format!(" {live} live  "), format!(" {dead} dead")),
        };
        lines.push(Line::from(vec![
            Span::styled(" █", self.style(Color::Green)),
            Span::raw(live),
            Span::styled("░", self.faint()),
            Span::raw(dead),
        ]));
        for row in 0..height {
            let mut spans = vec![Span::raw(" ")];
            for (ground, column) in map.row(row, height).into_iter().zip(&map.columns) {
                spans.push(Span::styled(
                    ground.glyph().to_string().repeat(map.column_width),
                    self.paint(ground, column.state),
                ));
            }
            lines.push(Line::from(spans));
        }
        let marks: String =
            map.columns.iter().map(|column| format!("{:<1$}", Map::mark(column), map.column_width)).collect();
        lines.push(Line::styled(format!(" {marks}"), self.style(Color::Cyan)));
        let numbers = seen.cells.first().zip(seen.cells.last()).map(|(first, last)| {
            let newest = u64::from(last.first_number) + u64::from(last.segment_count) - 1;
            let (first, last) = (first.first_number.to_string(), newest.to_string());
            let room = width.saturating_sub(first.len() + 3 + last.len());
            let middle = LEGENDS.into_iter().find(|legend| legend.len() <= room).unwrap_or_default();
            format!(" {first} … {last}{middle}")
        });
        lines.push(Line::styled(numbers.unwrap_or_default(), self.faint()));
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn paint(&self, ground: Ground, state: CellState) -> Style {
        let live = if state == CellState::Active { Color::Cyan } else { Color::Green };
        match ground {
            Ground::Live(eighths, true) if eighths < 8 && self.is_coloured => Style::new().fg(live).bg(Color::DarkGray),
            Ground::Live(..) => self.style(live),
            Ground::Dead | Ground::Room => self.faint(),
        }
    }

    // -- where there is no room for panels

    fn draw_small(&self, frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
        let history = self.history;
        let per_s = |name: &str| or_unknown(history.rate(name), rate);
        let ratio = history.shares(&["requests.hits"], &READS, 1).pop().flatten();
        let total_ratio = history.total_share(&["requests.hits"], &READS);
        let of = |used: &str, limit: &str| {
            let pair = history.total(used).zip(history.total(limit));
            or_unknown(pair, |(used, limit)| format!("{} of {}", show_bytes(used), show_bytes(limit)))
        };
        let map = Map::new(&seen.cells, 0, usize::from(area.width).saturating_sub(2));
        let row = map.row(0, 1).into_iter().zip(&map.columns);
        let mut cells = vec![Span::raw(" ")];
        cells.extend(
            row.map(|(ground, column)| Span::styled(ground.glyph().to_string(), self.paint(ground, column.state))),
        );
        let lines = vec![
            Line::from(format!(
                " hit ratio {} last, {} in total",
                or_unknown(ratio, percent),
                or_unknown(total_ratio, percent)
            )),
            Line::from(format!(" per s: {} hits, {} misses", per_s("requests.hits"), per_s("requests.misses"))),
            Line::from(format!(" per s: {} inserts, {} removes", per_s("requests.inserts"), per_s("requests.removes"))),
            Line::from(format!(" memory {}", of("memory.held_bytes", "memory.limit_bytes"))),
            Line::from(format!(" disk   {}", of("disk.used_bytes", "disk.limit_bytes"))),
            Line::from(format!(" to write {}", or_unknown(history.total("disk.buffered_bytes"), show_bytes))),
            Line::from(cells),
        ];
        frame.render_widget(Paragraph::new(lines), area);
    }
}

/// Widths of a label and two numbers in a panel.
fn columns(area: Rect) -> [usize; 3] {
    if area.width < 46 { [7, 9, 10] } else { [11, 10, 11] }
}

/// Two figures beside each other, each in a column of its own width.
fn pair(width: usize, left: (&str, String), right: (&str, String)) -> Line<'static> {
    let (left_width, gap, right_width) = if width >= 48 { (21, 4, 19) } else { (20, 1, 16) };
    let cell = |(label, value): (&str, String), width: usize| {
        let room = width.saturating_sub(label.chars().count());
        format!("{label}{value:>room$}")
    };
    Line::from(format!(" {}{:gap$}{}", cell(left, left_width), "", cell(right, right_width)))
}

/// What the cache tells of its quiet windows, where it does: each figure with its name.
fn windows(stats: &Value) -> Option<Vec<(String, String)>> {
    let fields = [&stats["windows"], &stats["disk"]["windows"]].into_iter().find_map(Value::as_object)?;
    let shown = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), show_count),
            Value::String(text) => text.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            _ => return None,
        };
        Some((name.replace('_', " "), value))
    };
    Some(fields.iter().filter_map(shown).collect())
}
