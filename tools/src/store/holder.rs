//! Who has a store open, without touching its lock.
//!
//! Taking the lock, even shared and for an instant, could make a writer's open fail in that instant. So the system's table of locks is read instead; where
//! there is none, the lock file's process id and whether such a process lives.

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
        let is_alive = named.is_some_and(|id| Path::new("/proc").join(id.to_string()).exists());
        // The table is read in pieces, and a line can slip through while other processes take and leave locks: so who may hold one is looked for again.
        for _ in 0..if is_alive { LOOKS } else { 1 } {
            let Ok(table) = std::fs::read_to_string("/proc/locks") else {
                return named.filter(|_| is_alive).map(|process_id| Holder { process_id, holds_lock: false });
            };
            if let Some(process_id) = holder_in(&table, place.dev(), place.ino(), named) {
                return Some(Holder { process_id, holds_lock: true });
            }
        }
        None
    }
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
