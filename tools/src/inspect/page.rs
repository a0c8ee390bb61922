//! The result of `inspect` as a page for people.

use std::fmt;

use super::{Report, SegmentReport, State, WarmListReport};
use crate::store::{show_age, show_date};
use crate::units::{show_bytes, show_count};

const BAR_LEN: usize = 16;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = &self.identity;
        writeln!(f, "{}", self.directory)?;
        writeln!(f, "  store {}, format {}, created {}", identity.store_id, identity.format_version, identity.created)?;
        if identity.required_features | identity.optional_features != 0 {
            let (required, optional) = (identity.required_features, identity.optional_features);
            writeln!(f, "  features: required {required:#x}, optional {optional:#x}")?;
        }
        match &self.live {
            Some(holder) if holder.holds_lock => writeln!(f, "  live: process {} holds the lock", holder.process_id)?,
            Some(holder) => writeln!(f, "  live: perhaps, process {} is named in the lock file", holder.process_id)?,
            None => writeln!(f, "  not open in any process seen from here")?,
        }
        if self.changed_while_read {
            writeln!(f, "  it changed while it was read: the figures are of no one moment")?;
        }
        self.fmt_segments(f)?;
        self.fmt_chain(f)?;
        self.fmt_figures(f)?;
        self.fmt_findings(f)
    }
}

impl Report {
    fn fmt_segments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return writeln!(f, "\n  no segments");
        }
        writeln!(
            f,
            "\n  {:>7} {:8} {:9} {:11} {:>9} {:>10} {:>10}  {:BAR_LEN$} {:>19} {:>7}",
            "segment", "uid", "state", "verdict", "events", "live", "dead", "of the file", "seqnos", "age"
        )?;
        self.segments.iter().try_for_each(|segment| segment.fmt_row(f))?;
        writeln!(f, "  {:62}   █ live  ▒ dead  · the rest of the file", "")
    }

    fn fmt_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  chain    ")?;
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &number in &self.chain {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let shown: Vec<String> = runs
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first} → … → {last}") })
            .collect();
        write!(f, "{}", if shown.is_empty() { "empty".to_owned() } else { shown.join("  ⇢  ") })?;
        let first = self.chain.first().and_then(|first| self.segments.iter().find(|segment| segment.number == *first));
        if let Some(follows) = first.and_then(|first| first.follows.as_ref()) {
            write!(f, ", after {} and older, which are gone", follows.number)?;
        }
        writeln!(f)?;
        match &self.log.end {
            Some(end) => writeln!(
                f,
                "  log end  segment {} at {}, seqno {}; durable through {}; clock mark {}",
                end.segment,
                show_count(u64::from(end.offset)),
                show_count(end.last_seqno),
                show_count(self.log.synced_max),
                show_date(self.identity.epoch_unix_s.saturating_add(u64::from(self.log.clock_mark_s))),
            ),
            None => Ok(()),
        }
    }

    fn fmt_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (space, entries) = (&self.space, &self.entries);
        writeln!(
            f,
            "  space    {} allocated: {} live ({:.1} %), {} dead, {} headers, footers and room",
            show_bytes(space.allocated_bytes),
            show_bytes(space.live_bytes),
            space.live_ratio * 100.0,
            show_bytes(space.dead_bytes),
            show_bytes(space.other_bytes),
        )?;
        writeln!(
            f,
            "  entries  {} live, {} of them expired; {} events: {} puts, {} tombstones, {} clears",
            show_count(entries.live),
            show_count(entries.expired),
            show_count(self.log.events),
            show_count(entries.puts),
            show_count(entries.tombstones),
            show_count(entries.clears),
        )?;
        self.fmt_counters(f)?;
        match &self.warm_list {
            None => writeln!(f, "  warm     no list of what memory held"),
            Some(WarmListReport { keys: Some(keys), records: Some(records), length_bytes, .. }) => {
                let (keys, records, len) = (show_count(*keys), show_count(*records), show_bytes(*length_bytes));
                writeln!(
                    f,
                    "  warm     {keys} keys that memory held, {records} records hit on disk, in a list of {len} that verifies"
                )
            }
            Some(WarmListReport { length_bytes, .. }) => {
                writeln!(f, "  warm     a list of {} that does not verify", show_bytes(*length_bytes))
            }
        }
    }

    fn fmt_counters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(counters) = &self.counters else { return Ok(()) };
        let (Some(written_unix_s), Some(process_id)) = (counters.written_unix_s, counters.process_id) else {
            return writeln!(f, "  counters no page that verifies");
        };
        let date = show_date(written_unix_s);
        match counters.closed {
            Some(true) => {
                writeln!(f, "  counters the last page of process {process_id}, which closed the cache, of {date}")
            }
            _ => writeln!(f, "  counters a page of process {process_id} of {date}; inspect --watch shows it"),
        }
    }

    fn fmt_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.foreign {
            writeln!(f, "  foreign  {name}")?;
        }
        // Spares stand in the table.
        for note in self.notes.iter().filter(|note| note.verdict.label != "S-SPARE") {
            writeln!(f, "  note     {}", note.to_string().replace('\n', "\n           "))?;
        }
        for damage in &self.damage {
            writeln!(f, "  DAMAGE   {}", damage.to_string().replace('\n', "\n           "))?;
        }
        if self.damage_count > 0 {
            return writeln!(f, "  {} damaged places; verify looks at every checksum", show_count(self.damage_count));
        }
        Ok(())
    }
}

impl SegmentReport {
    fn fmt_row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_records = matches!(self.state, State::Sealed | State::Unsealed);
        let bytes = |bytes| if has_records { show_bytes(bytes) } else { "-".to_owned() };
        let seqnos = match (self.first_seqno, self.last_seqno) {
            (Some(first), Some(last)) => format!("{first}-{last}"),
            _ => "-".to_owned(),
        };
        writeln!(
            f,
            "  {:>7} {:8} {:9} {:11} {:>9} {:>10} {:>10}  {:BAR_LEN$} {:>19} {:>7}",
            self.number,
            self.uid.as_deref().and_then(|uid| uid.get(..8)).unwrap_or("-"),
            self.state.word(),
            self.verdict,
            show_count(self.events),
            bytes(self.live_bytes),
            bytes(self.dead_bytes),
            if has_records { bar(self.live_bytes, self.dead_bytes, self.length_bytes) } else { String::new() },
            seqnos,
            self.age_s.map_or("-".to_owned(), |age_s| show_age(u64::from(age_s))),
        )
    }
}

/// A bar over a file. Any live record at all shows.
fn bar(live: u64, dead: u64, whole: u64) -> String {
    let cells = |bytes: u64| (bytes as f64 / whole.max(1) as f64 * BAR_LEN as f64).round() as usize;
    let full = cells(live).max(usize::from(live > 0)).min(BAR_LEN);
    let used = cells(live.saturating_add(dead)).clamp(full, BAR_LEN);
    format!("{}{}{}", "█".repeat(full), "▒".repeat(used - full), "·".repeat(BAR_LEN - used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_always_as_long_and_never_hides_what_lives() {
        for (live, dead, whole) in
            [(0, 0, 0), (1, 0, 1 << 20), (5, 5, 10), (10, 10, 10), (0, 99, 100), (u64::MAX, 9, 3)]
        {
            let bar = bar(live, dead, whole);
            assert_eq!(bar.chars().count(), BAR_LEN, "{live} {dead} {whole}");
            assert_eq!(bar.contains('█'), live > 0, "{live} {dead} {whole}");
        }
        assert_eq!(bar(50, 25, 100), "████████▒▒▒▒····");
    }
}
