//! What the kernel says of a process and of files, and what a child promises its parent.

use std::path::Path;

use rustix::process::{Resource, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};

use crate::failure::Failure;

/// Has the kernel kill this process when its parent is gone, however that came. Called first thing in a child.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| Failure::new("cannot tie to parent", error))?;
    // It may have gone before the call; then this is somebody else's child, and no signal will come.
    match std::env::var(PARENT).ok().and_then(|text| text.parse::<i32>().ok()) {
        Some(parent) if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) => {
            Err(Failure::new("not started", "the parent is gone"))
        }
        _ => Ok(()),
    }
}

/// The variable in which children find their parent's process id.
pub(crate) const PARENT: &str = "WARM_SERVICE_PARENT";

/// Allows as many open sockets as the system lets this process have: when the origin is slow, many requests wait.
pub(crate) fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If not, fewer can wait, and the others are counted as failed.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Anonymous memory that a process holds, in bytes; `None` once it is gone.
pub(crate) fn anonymous_bytes(pid: u32) -> Option<u64> {
    parse_anonymous(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Blocks that the files of a directory take, in bytes. What goes while one looks is not counted.
pub(crate) fn allocated_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_found_in_the_status_of_a_process() {
        assert_eq!(parse_anonymous("VmRSS:\t  9 kB\nRssAnon:\t    1028 kB\nRssFile:\t 1 kB\n"), Some(1028 << 10));
        assert_eq!(parse_anonymous("VmRSS:\t  9 kB\n"), None);
        assert!(anonymous_bytes(std::process::id()).expect("this process lives") > 0);
    }

    #[test]
    fn files_are_counted_by_their_blocks() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("one"), vec![1; 10_000]).unwrap();
        assert!((10_000..100_000).contains(&allocated_bytes(directory.path())));
        assert_eq!(allocated_bytes(&directory.path().join("missing")), 0);
    }
}
