//! Who has a store open, without touching its lock.
//!
//! Taking the lock, even shared and for an instant, could make a writer's open fail in that instant. So the system's table of locks is read instead; where
//! there is none, the lock file's process id and whether such a process lives.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use emberlog::format::names::LOCK;
use serde::Serialize;

/// How often the table is read before a living process that the lock file names is said to hold none.
const LOOKS: u32 = 8;

/// The process that has the store open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    /// Its id.
    pub(crate) process_id: u32,
    /// Whether the system's table of locks says so; else a living process merely has the id that the lock file names.
    pub(crate) holds_lock: bool,
}

impl Holder {
    /// Finds the holder of the store in this directory.
    pub(crate) fn find(directory: &Path) -> Option<Holder> {
        let path = directory.join(LOCK);
        let place = std::fs::symlink_metadata(&path).ok().filter(|found| found.is_file())?;
        // A few digits; a file that is longer is not a lock file.
        let named = (place.len() < 32).then(|| std::fs::read_to_string(&path).ok()).flatten();
        let named = named.and_then(|text| text.trim().parse::<u32>().ok());
        let living = named.filter(|id| Path::new("/proc").join(id.to_string()).exists());
        let read = || std::fs::read_to_string("/proc/locks");
        look(living, read, |table| holder_in(table, place.dev(), place.ino(), named))
    }
}

/// Looks for the holder in the table of locks, where `read` brings it: once, or again if `living` may hold one. The table is read in pieces, and a line can
/// slip through while other processes take and leave locks.
fn look(
    living: Option<u32>,
    mut read: impl FnMut() -> io::Result<String>,
    holder_in: impl Fn(&str) -> Option<u32>,
) -> Option<Holder> {
    for _ in 0..if living.is_some() { LOOKS } else { 1 } {
        let Ok(table) = read() else {
            return living.map(|process_id| Holder { process_id, holds_lock: false });
        };
        if let Some(process_id) = holder_in(&table) {
            return Some(Holder { process_id, holds_lock: true });
        }
    }
    None
}

/// Looks a file up in the table of locks. File systems with several devices show another one there; then the process id has to agree.
fn holder_in(table: &str, dev: u64, ino: u64, named: Option<u32>) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, place, ..] = fields[..] else { return None };
        let process: u32 = process.parse().ok()?;
        let mut parts = place.split(':');
        let (major, minor) =
            (u64::from_str_radix(parts.next()?, 16).ok()?, u64::from_str_radix(parts.next()?, 16).ok()?);
        let same_ino = parts.next()?.parse() == Ok(ino);
        let same_dev = (major, minor) == (major_of(dev), minor_of(dev));
        (same_ino && (same_dev || Some(process) == named)).then_some(process)
    })
}

fn major_of(dev: u64) -> u64 {
    ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)
}

fn minor_of(dev: u64) -> u64 {
    (dev & 0xff) | ((dev >> 12) & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_slipped_through_is_found_by_another_look_if_the_process_named_lives() {
        // Looks in which the line slips through; what is found then, and after how many.
        let find = |living, slipped_count| {
            let mut count = 0;
            let read = || {
                count += 1;
                Ok(if count <= slipped_count { "" } else { "1: FLOCK  ADVISORY  WRITE 7 fe:00:55 0 EOF\n" }.to_owned())
            };
            let found = look(living, read, |table| holder_in(table, 0xfe << 8, 55, Some(7)));
            (found, count)
        };
        let holder = Some(Holder { process_id: 7, holds_lock: true });
        assert_eq!(find(Some(7), 0), (holder.clone(), 1), "none more than it takes");
        assert_eq!(find(Some(7), 1), (holder.clone(), 2));
        assert_eq!(find(Some(7), LOOKS - 1), (holder.clone(), LOOKS));
        assert_eq!(find(Some(7), u32::MAX), (None, LOOKS), "it lives, but holds nothing");
        assert_eq!(find(None, 0), (holder, 1), "a process that the lock file does not name yet");
        assert_eq!(find(None, 1), (None, 1), "nobody who may hold it is known");
    }

    #[test]
    fn without_a_table_a_living_process_counts_but_not_as_sure() {
        let look = |living| look(living, || Err(io::ErrorKind::NotFound.into()), |_| unreachable!("there is no table"));
        assert_eq!(look(Some(7)), Some(Holder { process_id: 7, holds_lock: false }));
        assert_eq!(look(None), None);
    }

    #[test]
    fn the_holder_is_found_by_file_and_a_waiting_process_is_none() {
        let table = "1: POSIX  ADVISORY  WRITE 7 fe:00:55 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 16439 fe:00:55 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fe:00:77 0 EOF\n";
        let dev = 0xfe << 8;
        assert_eq!(holder_in(table, dev, 55, None), Some(16439));
        assert_eq!(holder_in(table, dev, 77, Some(9)), None, "it only waits");
        assert_eq!(holder_in(table, 0x42, 55, Some(16439)), Some(16439), "another device, the same process");
        assert_eq!(holder_in(table, 0x42, 55, Some(1)), None, "a file of another device with the same number");
        assert_eq!(holder_in("garbage\n\u{0}: FLOCK", dev, 55, None), None);
    }
}
