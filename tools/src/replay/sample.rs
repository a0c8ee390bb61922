//! What a process and a directory really use, asked of the kernel, not of the cache.
//!
//! Knows: /proc and allocated blocks. Does not know: budgets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::failure::Failure;

/// Listings tried until two agree.
const ATTEMPTS_MAX: usize = 5;

/// Anonymous memory of this process in RAM: `RssAnon`. The kernel counts it per processor, so it may lag by some 100 KiB.
pub(crate) fn anonymous_bytes() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Failure::new(format!("cannot read /proc/self/status: {error}")))?;
    rss_anon_bytes(&status).ok_or_else(|| Failure::new("/proc/self/status has no RssAnon"))
}

fn rss_anon_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Allocated blocks of all files below `dir`, and of files unlinked there that process `pid` still holds open or mapped.
///
/// A directory cannot be read at one instant: a listing could count a file that goes and the one that takes its room. So a sum
/// counts only if a second listing shows the same files; if none does, the lowest sum stands.
pub(crate) fn disk_bytes(dir: &Path, pid: Option<u32>) -> io::Result<u64> {
    let mut lowest = u64::MAX;
    let mut before = files(dir, pid)?;
    for _ in 0..ATTEMPTS_MAX {
        let after = files(dir, pid)?;
        lowest = lowest.min(before.values().sum());
        if before.keys().eq(after.keys()) {
            return Ok(before.values().sum());
        }
        before = after;
    }
    Ok(lowest)
}

/// Allocated bytes by device and inode.
type Files = BTreeMap<(u64, u64), u64>;

fn files(dir: &Path, pid: Option<u32>) -> io::Result<Files> {
    let mut files = Files::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => directories.push(path),
                Ok(metadata) => note(&mut files, &metadata),
                // It went between listing and looking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    if let Some(pid) = pid {
        note_unlinked(&mut files, dir, pid);
    }
    Ok(files)
}

fn note(files: &mut Files, metadata: &fs::Metadata) {
    files.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
}

/// As far as /proc shows them: descriptors always, mappings where the kernel lets us follow them, else by the mapped length.
fn note_unlinked(files: &mut Files, dir: &Path, pid: u32) {
    let held = |path: &Path| path.starts_with(dir) && path.to_string_lossy().ends_with(" (deleted)");
    let proc = Path::new("/proc").join(pid.to_string());
    for entry in fs::read_dir(proc.join("fd")).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| held(&target))
            && let Ok(metadata) = fs::metadata(entry.path())
        {
            note(files, &metadata);
        }
    }
    let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
    for mapping in maps.lines().filter_map(parse_mapping).filter(|mapping| held(Path::new(mapping.path))) {
        match fs::metadata(proc.join("map_files").join(mapping.range)) {
            Ok(metadata) => note(files, &metadata),
            Err(_) => {
                files.entry((u64::MAX, mapping.inode)).or_insert(mapping.len_bytes);
            }
        }
    }
}

struct Mapping<'a> {
    range: &'a str,
    inode: u64,
    len_bytes: u64,
    path: &'a str,
}

/// One line of /proc/PID/maps: range, access, offset, device, inode, path.
fn parse_mapping(line: &str) -> Option<Mapping<'_>> {
    let path = &line[line.find('/')?..];
    let mut fields = line.split_ascii_whitespace();
    let range = fields.next()?;
    let inode = fields.nth(3)?.parse().ok()?;
    let (start, end) = range.split_once('-')?;
    let len_bytes = u64::from_str_radix(end, 16).ok()?.checked_sub(u64::from_str_radix(start, 16).ok()?)?;
    Some(Mapping { range, inode, len_bytes, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn anonymous_memory_is_told_from_other_memory_and_from_the_most_there_was() {
        let status = "VmHWM:\t   9000 kB\nVmRSS:\t   8000 kB\nRssAnon:\t    1028 kB\nRssFile:\t   6972 kB\n";
        assert_eq!(rss_anon_bytes(status), Some(1028 << 10));
        assert_eq!(rss_anon_bytes("VmRSS:\t   8000 kB\n"), None);
        assert_eq!(rss_anon_bytes("RssAnon:\t    1028\n"), None, "a number of who knows what");
    }

    const MANY_BYTES: usize = 64 << 20;

    #[test]
    #[ignore = "the child of the test below: it has to be alone in its process"]
    fn alone() {
        let taken = |len_bytes| std::hint::black_box(vec![1u8; len_bytes]);
        let before = anonymous_bytes().unwrap();
        drop(taken(2 * MANY_BYTES));
        let given_back = anonymous_bytes().unwrap();
        let held = taken(MANY_BYTES);
        let after = anonymous_bytes().unwrap();
        drop(held);
        writeln!(io::stderr(), "{before} {given_back} {after}").unwrap();
    }

    #[test]
    fn a_process_holds_more_anonymous_memory_after_taking_some_and_less_after_giving_it_back() {
        // In this process other tests take memory and give it back meanwhile.
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "replay::sample::tests::alone", "--ignored", "--nocapture", "--test-threads=1"])
            .output()
            .unwrap();
        let told = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{told}");
        let bytes: Vec<u64> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [before, given_back, after] = bytes[..] else { panic!("the child was not run: {told:?}") };
        let (many, lag) = (MANY_BYTES as u64, 8 << 20);
        assert!(before > 0 && given_back.abs_diff(before) < lag, "{told}");
        assert!((given_back + many).abs_diff(after) < lag, "{told}");
    }

    #[test]
    fn files_count_by_their_blocks_and_unlinked_ones_while_they_are_held() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().canonicalize().unwrap();
        fs::create_dir(dir.join("below")).unwrap();
        fs::write(dir.join("below/a"), vec![1; 100_000]).unwrap();
        let sparse = fs::File::create(dir.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.sync_all().unwrap();
        fs::File::open(dir.join("below/a")).unwrap().sync_all().unwrap();
        let pid = Some(std::process::id());
        let bytes = disk_bytes(&dir, pid).unwrap();
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        let held = fs::File::open(dir.join("below/a")).unwrap();
        fs::remove_file(dir.join("below/a")).unwrap();
        assert!(disk_bytes(&dir, pid).unwrap() >= 100_000, "still open");
        drop(held);
        assert!(disk_bytes(&dir, pid).unwrap() < 100_000);
        assert_eq!(disk_bytes(&dir.join("nowhere"), None).unwrap(), 0);
    }

    #[test]
    fn a_mapping_of_an_unlinked_file_is_recognized() {
        let line = "7f0000000000-7f0000100000 r--s 00000000 fe:00 1234    /tmp/a b/segment-0000000001.log (deleted)";
        let mapping = parse_mapping(line).unwrap();
        assert_eq!((mapping.inode, mapping.len_bytes), (1234, 1 << 20));
        assert_eq!(mapping.path, "/tmp/a b/segment-0000000001.log (deleted)");
        assert!(parse_mapping("7f00-7f10 rw-p 00000000 00:00 0   [heap]").is_none());
    }
}
