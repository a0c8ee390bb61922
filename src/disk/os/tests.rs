//! Tests of the system's disk: what it refuses, what it leaves, and that failing calls are carried out once.

use super::*;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

fn store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    (directory, path)
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn refusal<T>(result: io::Result<T>) -> String {
    let error = result.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    error.to_string()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn missing_directories_are_made_for_this_user_only() {
    let (_guard, path) = store();
    let deep = path.join("a/b");
    let disk = OsDisk::open_or_create(&deep).unwrap();
    disk.create_new("file").unwrap();
    assert_eq!([mode_of(&path), mode_of(&path.join("a")), mode_of(&deep)], [0o700; 3]);
    assert_eq!(mode_of(&deep.join("file")), 0o600);
    OsDisk::open_or_create(&deep).expect("an existing one is opened");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused_unless_asked_for() {
    let (_guard, path) = store();
    std::fs::create_dir(&path).unwrap();
    for mode in [0o770, 0o707, 0o777, 0o1777] {
        set_mode(&path, mode);
        let message = refusal(OsDisk::open_or_create(&path));
        assert!(message.contains("chmod go-w") && message.contains(&format!("{mode:04o}")), "{message}");
        OsDisk::open_or_create_trusting(&path, DirectoryTrust::Anyone).expect("asked for");
    }
    set_mode(&path, 0o755);
    OsDisk::open_or_create(&path).expect("reading by others is the user's choice");
}

#[test]
fn a_directory_of_another_user_is_refused_and_the_message_names_both() {
    let (_guard, path) = store();
    std::fs::create_dir(&path).unwrap();
    let stat = rustix::fs::stat(&path).unwrap();
    let message = refusal(check_directory(&path, &stat, stat.st_uid + 1));
    assert!(message.contains(&format!("user {}", stat.st_uid)) && message.contains("chown"), "{message}");
    if is_root() {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        refusal(OsDisk::open_or_create(&path));
        OsDisk::open_or_create_trusting(&path, DirectoryTrust::Anyone).expect("asked for");
    }
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let (_guard, path) = store();
    std::fs::write(&path, "").unwrap();
    assert_eq!(OsDisk::open_or_create(&path).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(OsDisk::open_existing(&path).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert!(OsDisk::open_or_create(path.join("below")).is_err());
}

#[test]
fn open_existing_makes_nothing_and_changes_nothing() {
    let (_guard, path) = store();
    assert_eq!(OsDisk::open_existing(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path.exists());
    OsDisk::open_or_create(&path).unwrap().create_new("a").unwrap().write_at(0, b"seen").unwrap();
    set_mode(&path.join("a"), 0o400);
    set_mode(&path, 0o500);
    let disk = OsDisk::open_existing(&path).unwrap();
    let mut buffer = [0; 4];
    disk.open("a", Access::Read).unwrap().read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"seen");
    refusal(disk.open("a", Access::ReadWrite));
    refusal(disk.create_new("b"));
    refusal(disk.rename("a", "b"));
    refusal(disk.unlink("a"));
    refusal(disk.lock("LOCK"));
    assert_eq!(disk.list().unwrap(), ["a"]);
    set_mode(&path, 0o700);
}

#[test]
fn symbolic_links_hard_links_directories_and_pipes_are_refused_and_left_alone() {
    let (guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    let outside = guard.path().join("outside");
    std::fs::write(&outside, "precious").unwrap();
    std::os::unix::fs::symlink(&outside, path.join("symlink")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("dangling")).unwrap();
    std::fs::hard_link(&outside, path.join("hardlink")).unwrap();
    std::fs::create_dir(path.join("directory")).unwrap();
    rustix::fs::mkfifoat(&disk.directory, "pipe", Mode::RUSR | Mode::WUSR).unwrap();
    for (name, reason) in [
        ("symlink", "symbolic link"),
        ("dangling", "symbolic link"),
        ("hardlink", "2 hard links"),
        ("directory", "directory"),
        ("pipe", "pipe"),
    ] {
        for access in [Access::Read, Access::ReadWrite] {
            let message = refusal(disk.open(name, access));
            assert!(message.contains(name) && message.contains(reason), "{message}");
        }
        refusal(disk.lock(name));
        assert_eq!(disk.create_new(name).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"precious");
    assert!(!path.join("nowhere").exists());
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    disk.create_new("a").unwrap();
    let stat = rustix::fs::stat(path.join("a")).unwrap();
    let stranger = OsDisk { owner: disk.owner + 1, ..OsDisk::open_or_create(&path).unwrap() };
    assert!(refusal(stranger.check_file("a", &stat)).contains("belongs to user"));
    refusal(stranger.open("a", Access::Read));
    refusal(stranger.lock("a"));
    if is_root() {
        std::os::unix::fs::chown(path.join("a"), Some(65534), None).unwrap();
        refusal(disk.open("a", Access::Read));
    }
}

#[test]
fn an_administrators_tool_can_look_at_a_store_of_another_user() {
    if !is_root() {
        return; // nobody else can give files away
    }
    let (_guard, path) = store();
    OsDisk::open_or_create(&path).unwrap().create_new("a").unwrap();
    for file in [&path, &path.join("a")] {
        std::os::unix::fs::chown(file, Some(65534), None).unwrap();
    }
    OsDisk::open_existing(&path).unwrap().open("a", Access::Read).unwrap();
}

#[test]
fn a_directory_that_was_renamed_is_still_the_one_that_was_opened() {
    let (guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    let moved = guard.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    disk.create_new("a").unwrap();
    assert!(moved.join("a").exists() && !path.join("a").exists());
}

#[test]
fn the_lock_keeps_a_second_handle_out_also_through_a_symbolic_link() {
    let (guard, path) = store();
    let first = OsDisk::open_or_create(&path).unwrap();
    first.lock("LOCK").unwrap();
    let alias = guard.path().join("alias");
    std::os::unix::fs::symlink(&path, &alias).unwrap();
    let second = OsDisk::open_or_create(&alias).unwrap();
    let error = second.lock("LOCK").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    second.lock("LOCK").expect("let go with its disk");
}

#[test]
fn a_lock_file_of_a_longer_past_process_is_written_over_whole() {
    let (_guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    std::fs::write(path.join("LOCK"), "4294967295\nand more than that\n").unwrap();
    disk.lock("LOCK").unwrap();
    assert_eq!(std::fs::read_to_string(path.join("LOCK")).unwrap(), format!("{}\n", std::process::id()));
    assert_eq!(mode_of(&path.join("LOCK")) & 0o077, 0o044, "made by the test, not by us");
}

#[test]
fn a_lock_on_a_file_that_was_removed_or_replaced_meanwhile_does_not_count() {
    let (_guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    let file = path.join("LOCK");
    assert!(disk.try_lock("LOCK", || ()).unwrap().is_some());
    let removed = disk.try_lock("LOCK", || std::fs::remove_file(&file).unwrap());
    assert!(removed.unwrap().is_none(), "it would keep nobody out");
    let replaced = disk.try_lock("LOCK", || {
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "").unwrap();
    });
    assert!(replaced.unwrap().is_none(), "another could lock the new one");
    disk.lock("LOCK").expect("the next attempt finds the file in place");
}

#[test]
fn after_the_lock_file_was_removed_the_next_lock_counts_and_keeps_others_out() {
    let (_guard, path) = store();
    let [first, second, third] = [(); 3].map(|()| OsDisk::open_or_create(&path).unwrap());
    first.lock("LOCK").unwrap();
    std::fs::remove_file(path.join("LOCK")).unwrap();
    second.lock("LOCK").expect("nothing can be known of a lock whose file was taken away");
    assert_eq!(third.lock("LOCK").unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_holder_is_named_as_far_as_the_lock_file_tells() {
    assert_eq!(already_open(b"1234\n").to_string(), "already open by process 1234");
    assert_eq!(already_open(b"12\n34\n").to_string(), "already open by process 12");
    for content in [&b""[..], b"\n", b"12x\n", b"\xff\xfe", b"99999999999999999999\n"] {
        let error = already_open(content);
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(error.to_string().contains("has not written its id"), "{error}");
    }
}

#[test]
fn short_and_interrupted_writes_are_continued() {
    let mut taken = Vec::new();
    let mut call = 0;
    write_all(100, b"0123456789", |bytes, offset| {
        call += 1;
        if call % 2 == 1 {
            return Err(Errno::INTR);
        }
        assert_eq!(offset, 100 + taken.len() as u64);
        let len = bytes.len().min(3);
        taken.extend_from_slice(&bytes[..len]);
        Ok(len)
    })
    .unwrap();
    assert_eq!(taken, b"0123456789");
}

#[test]
fn a_write_that_takes_nothing_or_fails_or_is_interrupted_for_ever_ends() {
    assert_eq!(write_all(0, b"x", |_, _| Ok(0)).unwrap_err().kind(), ErrorKind::WriteZero);
    assert_eq!(write_all(0, b"x", |_, _| Err(Errno::NOSPC)).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(write_all(0, b"x", |_, _| Err(Errno::INTR)).unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn short_and_interrupted_reads_are_continued_until_the_end() {
    let source = b"0123456789";
    let mut call = 0;
    let mut buffer = [0; 20];
    let len = read_full(2, &mut buffer, |buffer, offset| {
        call += 1;
        if call % 2 == 1 {
            return Err(Errno::INTR);
        }
        let rest = &source[offset as usize..];
        let len = rest.len().min(3).min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    })
    .unwrap();
    assert_eq!(&buffer[..len], b"23456789");
    let failed = read_full(0, &mut buffer, |_, _| Err(Errno::IO)).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn where_nothing_can_be_preallocated_zeros_are_written_past_the_end_only() {
    let (_guard, path) = store();
    let file = OsDisk::open_or_create(&path).unwrap().create_new("a").unwrap();
    file.write_at(0, b"kept").unwrap();
    write_zeros(&*file, 4, 200_001).unwrap();
    assert_eq!(file.len().unwrap(), 200_001);
    assert!(file.allocated_bytes().unwrap() >= 200_001);
    let mut buffer = [1; 8];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"kept\0\0\0\0");
}

#[test]
fn preallocation_falls_back_to_zeros_only_where_the_file_system_has_none() {
    let (_guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    let file = OsFile(disk.create_checked("a").unwrap());
    let error = allocate_with(&file, 10_000, || Err(Errno::NOSPC)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 0);
    file.write_at(0, b"kept").unwrap();
    allocate_with(&file, 10_000, || Err(Errno::OPNOTSUPP)).unwrap();
    assert_eq!(file.len().unwrap(), 10_000);
    let mut buffer = [1; 5];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"kept\0");
}

#[test]
fn no_room_is_said_as_storage_full_also_while_zeros_are_written() {
    // A device that is always full, opened past the checks.
    let full = rustix::fs::open("/dev/full", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let full = OsFile(full);
    assert_eq!(full.write_at(0, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    let error = allocate_with(&full, 4096, || Err(Errno::OPNOTSUPP)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[test]
fn descriptors_are_closed_when_another_program_starts() {
    let (_guard, path) = store();
    let disk = OsDisk::open_or_create(&path).unwrap();
    disk.lock("LOCK").unwrap();
    let file = OsFile(disk.create_checked("a").unwrap());
    let opened = disk.open_checked("a", OFlags::RDWR).unwrap();
    for fd in [&disk.directory, &file.0, &opened, disk.lock.lock().as_ref().unwrap()] {
        assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn allocated_bytes_are_those_of_the_system() {
    let (_guard, path) = store();
    let file = OsDisk::open_or_create(&path).unwrap().create_new("a").unwrap();
    file.write_at(0, &[1; 100_000]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), std::fs::metadata(path.join("a")).unwrap().blocks() * 512);
}
