//! What both disks must do alike, said once: each test runs on the system's disk and on the simulated one.

use super::{Access, Disk, OsDisk, SimDisk};
use std::io::ErrorKind;

/// Runs a promise against both disks.
fn on_both(promise: impl Fn(&dyn Disk)) {
    let directory = tempfile::tempdir().expect("a directory");
    promise(&OsDisk::open_or_create(directory.path().join("store")).expect("a new store"));
    promise(&SimDisk::new(1));
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn what_is_written_is_read_back_and_reads_stop_at_the_end() {
    on_both(|disk| {
        let file = disk.create_new("a").unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(5000, b"hello").unwrap();
        assert_eq!(file.len().unwrap(), 5005);
        let mut buffer = [1; 10];
        assert_eq!(file.read_at(4998, &mut buffer).unwrap(), 7);
        assert_eq!(&buffer, b"\0\0hello\x01\x01\x01");
        assert_eq!(file.read_at(5005, &mut buffer).unwrap(), 0);
        assert_eq!(file.read_at(1 << 40, &mut buffer).unwrap(), 0);
        file.write_at(5001, b"ipp").unwrap();
        file.write_at(0, b"").unwrap();
        let other = disk.open("a", Access::Read).unwrap();
        assert_eq!(other.read_at(5000, &mut buffer[..5]).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hippo");
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
    });
}

#[test]
fn a_file_opened_for_reading_takes_no_writes() {
    on_both(|disk| {
        disk.create_new("a").unwrap().write_at(0, b"kept").unwrap();
        let file = disk.open("a", Access::Read).unwrap();
        assert!(file.write_at(0, b"lost").is_err());
        assert!(file.truncate(0).is_err());
        assert!(file.allocate(8192).is_err());
        let mut buffer = [0; 4];
        file.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"kept");
        assert_eq!(file.len().unwrap(), 4);
    });
}

#[test]
fn creating_refuses_an_existing_name_and_opening_a_missing_one() {
    on_both(|disk| {
        disk.create_new("a").unwrap();
        assert_eq!(kind(disk.create_new("a")), Some(ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.open("b", Access::Read)), Some(ErrorKind::NotFound));
        assert_eq!(kind(disk.rename("b", "c")), Some(ErrorKind::NotFound));
        assert_eq!(kind(disk.unlink("b")), Some(ErrorKind::NotFound));
        assert_eq!(disk.list().unwrap(), ["a"]);
    });
}

#[test]
fn names_that_could_lead_out_of_the_directory_are_refused_everywhere() {
    on_both(|disk| {
        disk.create_new("good").unwrap();
        for name in ["", ".", "..", "a/b", "/etc/passwd", "../a", "a..b", "a\0b"] {
            let refused = Some(ErrorKind::InvalidInput);
            assert_eq!(kind(disk.create_new(name)), refused, "{name:?}");
            assert_eq!(kind(disk.open(name, Access::Read)), refused, "{name:?}");
            assert_eq!(kind(disk.rename(name, "b")), refused, "{name:?}");
            assert_eq!(kind(disk.rename("good", name)), refused, "{name:?}");
            assert_eq!(kind(disk.unlink(name)), refused, "{name:?}");
            assert_eq!(kind(disk.lock(name)), refused, "{name:?}");
        }
        assert_eq!(disk.list().unwrap(), ["good"]);
    });
}

#[test]
fn a_rename_replaces_its_target_and_open_files_outlive_their_names() {
    on_both(|disk| {
        let old = disk.create_new("target").unwrap();
        old.write_at(0, b"old").unwrap();
        disk.create_new("b").unwrap().write_at(0, b"new").unwrap();
        disk.rename("b", "target").unwrap();
        disk.rename("target", "target").unwrap();
        assert_eq!(disk.list().unwrap(), ["target"]);
        let new = disk.open("target", Access::Read).unwrap();
        disk.unlink("target").unwrap();
        disk.sync_dir().unwrap();
        assert!(disk.list().unwrap().is_empty());
        let mut buffer = [0; 3];
        old.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"old");
        new.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"new");
    });
}

#[test]
fn listing_is_sorted() {
    on_both(|disk| {
        for name in ["c", "a", "b", "0", "Z"] {
            disk.create_new(name).unwrap();
        }
        assert_eq!(disk.list().unwrap(), ["0", "Z", "a", "b", "c"]);
    });
}

#[test]
fn allocated_bytes_read_as_zero_take_blocks_and_keep_what_was_there() {
    on_both(|disk| {
        let file = disk.create_new("a").unwrap();
        file.allocate(0).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(0, b"kept").unwrap();
        file.allocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        assert!(file.allocated_bytes().unwrap() >= 1 << 20);
        let mut buffer = [1; 8];
        file.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"kept\0\0\0\0");
        file.allocate(4096).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20, "allocation never cuts");
    });
}

#[test]
fn a_cut_gives_blocks_back_forgets_the_rest_and_never_lengthens() {
    on_both(|disk| {
        let file = disk.create_new("a").unwrap();
        file.allocate(1 << 20).unwrap();
        file.write_at(0, &[7; 20_000]).unwrap();
        file.truncate(10_000).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        assert!(file.allocated_bytes().unwrap() <= 64 * 1024);
        assert_eq!(kind(file.truncate(10_001)), Some(ErrorKind::InvalidInput));
        file.allocate(20_000).unwrap();
        let mut buffer = [1; 20_000];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 20_000);
        assert!(buffer[..10_000].iter().all(|&byte| byte == 7));
        assert!(buffer[10_000..].iter().all(|&byte| byte == 0), "cut bytes must not come back");
    });
}

#[test]
fn next_data_never_skips_a_byte_that_is_not_zero() {
    on_both(|disk| {
        let file = disk.create_new("a").unwrap();
        file.allocate(1 << 20).unwrap();
        file.write_at(500_000, b"x").unwrap();
        for offset in [0, 4096, 499_999, 500_000] {
            let found = file.next_data(offset).unwrap().expect("there is data");
            assert!((offset..=500_000).contains(&found), "from {offset}: {found}");
        }
        assert_eq!(file.next_data(1 << 20).unwrap(), None, "nothing past the end");
    });
}

#[test]
fn a_mapping_shows_later_writes_and_outlives_file_and_name() {
    on_both(|disk| {
        let file = disk.create_new("a").unwrap();
        file.write_at(0, b"before").unwrap();
        file.allocate(8192).unwrap();
        assert!(file.map(0).is_err());
        assert!(file.map(8193).is_err());
        let map = file.map(8192).unwrap();
        assert_eq!(&map[..6], b"before");
        disk.open("a", Access::ReadWrite).unwrap().write_at(6, b" and after").unwrap();
        assert_eq!(&map[..16], b"before and after");
        file.allocate(1 << 16).unwrap();
        file.write_at(10_000, b"past").unwrap();
        assert_eq!(&file.map(1 << 16).unwrap()[10_000..10_004], b"past");
        drop(file);
        disk.unlink("a").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(&map[..6], b"before");
    });
}

#[test]
fn a_lock_keeps_its_own_handle_out_too_and_says_who_has_it() {
    on_both(|disk| {
        disk.lock("LOCK").unwrap();
        let error = disk.lock("LOCK").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(error.to_string(), format!("already open by process {}", std::process::id()));
        let mut content = [0; 20];
        let len = disk.open("LOCK", Access::Read).unwrap().read_at(0, &mut content).unwrap();
        assert_eq!(content[..len], *format!("{}\n", std::process::id()).as_bytes());
    });
}

#[test]
fn free_bytes_is_more_than_nothing() {
    on_both(|disk| assert!(disk.free_bytes().unwrap() > 0));
}
