//! The result of `verify` as a page for people.

use std::fmt;

use super::Report;
use crate::units::{show_bytes, show_count};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        writeln!(f, "{}", self.directory)?;
        writeln!(
            f,
            "  {} in {} sealed, {} unsealed and {} other segments; {} records verify",
            show_bytes(totals.file_bytes),
            show_count(totals.segments_sealed),
            show_count(totals.segments_unsealed),
            show_count(totals.segments_other),
            show_count(totals.records),
        )?;
        if let Some(holder) = &self.live {
            let sure = if holder.holds_lock { "holds the lock" } else { "is named in the lock file" };
            writeln!(f, "  live: process {} {sure}; damage counts only if it stays", holder.process_id)?;
        }
        for name in &self.foreign {
            writeln!(f, "  foreign  {name}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note     {}", note.to_string().replace('\n', "\n           "))?;
        }
        for damage in &self.damage {
            writeln!(f, "  DAMAGE   {}", damage.to_string().replace('\n', "\n           "))?;
        }
        match (self.damage_count, self.damage.len() as u64) {
            (0, _) => writeln!(f, "  sound: every checksum verifies"),
            (count, shown) if count > shown => {
                writeln!(f, "  {} damaged places, the first {} shown", show_count(count), show_count(shown))
            }
            (1, _) => writeln!(f, "  1 damaged place"),
            (count, _) => writeln!(f, "  {} damaged places", show_count(count)),
        }
    }
}
