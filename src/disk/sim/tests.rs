//! Tests of the simulated disk: that it forgets all that the contract lets it forget, and nothing else.

use super::image::SECTOR_LEN;
use super::*;
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// A disk with one durable file of `len` bytes that are all `fill`.
fn disk_with(fill: u8, len: usize) -> (SimDisk, Box<dyn DiskFile>) {
    let disk = SimDisk::from_snapshot(7, &BTreeMap::from([("a".to_owned(), vec![fill; len])]));
    let file = disk.open("a", Access::ReadWrite).expect("just written");
    (disk, file)
}

/// What a file can look like after a power cut, over many seeds.
fn outcomes(disk: &SimDisk, name: &str) -> BTreeSet<Vec<u8>> {
    (0..1000).map(|seed| disk.after_power_cut(seed).read_file(name)).collect()
}

#[test]
fn synced_bytes_and_names_survive_every_power_cut() {
    let disk = SimDisk::new(1);
    let file = disk.create_new("temporary").unwrap();
    file.allocate(8192).unwrap();
    file.write_at(300, &[1; 5000]).unwrap();
    file.sync_data().unwrap();
    disk.rename("temporary", "a").unwrap();
    disk.sync_dir().unwrap();
    file.write_at(6000, &[2; 100]).unwrap();
    let before = file.len().unwrap();
    for seed in 0..1000 {
        let after = disk.after_power_cut(seed);
        assert_eq!(after.list().unwrap(), ["a"], "seed {seed}");
        let bytes = after.read_file("a");
        assert_eq!(bytes.len() as u64, before, "seed {seed}");
        assert_eq!(bytes[..5300], disk.read_file("a")[..5300], "seed {seed}: a synced sector changed");
        assert!(after.used_bytes() >= 8192, "seed {seed}: allocation was synced");
    }
}

#[test]
fn each_unsynced_sector_is_old_new_or_any_content_between_and_never_mixed() {
    let (disk, file) = disk_with(0, 1536);
    for content in 1..=3 {
        file.write_at(0, &[content; 1536]).unwrap();
    }
    let mut sectors_seen: [BTreeSet<u8>; 3] = Default::default();
    let mut mixtures = BTreeSet::new();
    for bytes in outcomes(&disk, "a") {
        assert_eq!(bytes.len(), 1536);
        let contents: Vec<u8> = bytes.chunks(SECTOR_LEN).map(|sector| sector[0]).collect();
        for (number, sector) in bytes.chunks(SECTOR_LEN).enumerate() {
            assert!(sector.iter().all(|&byte| byte == sector[0]), "sector {number} is torn");
            sectors_seen[number].insert(sector[0]);
        }
        mixtures.insert(contents);
    }
    assert!(sectors_seen.iter().all(|seen| *seen == BTreeSet::from([0, 1, 2, 3])), "{sectors_seen:?}");
    assert_eq!(mixtures.len(), 64, "sectors survive each on its own");
}

#[test]
fn a_write_into_part_of_a_sector_leaves_the_rest_of_it() {
    let (disk, file) = disk_with(5, 1024);
    file.write_at(100, &[6; 10]).unwrap();
    let mut new = vec![5; 1024];
    new[100..110].fill(6);
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([vec![5; 1024], new]));
}

#[test]
fn an_unsynced_length_is_any_between_the_smallest_and_the_largest() {
    let (disk, file) = disk_with(1, 10);
    file.write_at(0, &[2; 30]).unwrap();
    file.truncate(20).unwrap();
    let lens: BTreeSet<usize> = outcomes(&disk, "a").iter().map(Vec::len).collect();
    assert_eq!(lens, (10..=30).collect());
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([vec![2; 20]]));
}

#[test]
fn a_file_that_was_never_synced_may_be_empty_or_full_of_zeros() {
    let disk = SimDisk::new(1);
    disk.create_new("a").unwrap().write_at(0, &[9; 512]).unwrap();
    disk.sync_dir().unwrap();
    let seen = outcomes(&disk, "a");
    for expected in [vec![], vec![0; 512], vec![9; 512]] {
        assert!(seen.contains(&expected));
    }
}

#[test]
fn an_unsynced_cut_may_be_undone_and_a_synced_one_not() {
    let (disk, file) = disk_with(1, 2048);
    file.truncate(700).unwrap();
    file.write_at(700, &[2; 324]).unwrap();
    let seen = outcomes(&disk, "a");
    assert!(seen.contains(&vec![1; 2048]), "undone");
    assert!(seen.iter().any(|bytes| bytes.len() == 1024 && bytes[1023] == 2), "done");
    for bytes in seen {
        assert!(bytes[..512].iter().all(|&byte| byte == 1), "not touched");
        assert!(bytes.iter().all(|byte| (0..=2).contains(byte)));
    }
    file.sync_data().unwrap();
    let mut cut = vec![1; 700];
    cut.resize(1024, 2);
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([cut]));
}

#[test]
fn directory_operations_are_each_kept_or_undone_until_the_directory_is_synced() {
    let disk = SimDisk::new(1);
    for name in ["old", "gone"] {
        disk.create_new(name).unwrap();
    }
    disk.sync_dir().unwrap();
    disk.create_new("made").unwrap();
    disk.rename("old", "new").unwrap();
    disk.unlink("gone").unwrap();
    let seen: BTreeSet<Vec<String>> = (0..1000).map(|seed| disk.after_power_cut(seed).list().unwrap()).collect();
    assert_eq!(seen.len(), 8, "every combination of three: {seen:?}");
    for names in &seen {
        let has = |name: &str| names.iter().any(|other| other == name);
        assert!(has("old") != has("new"), "a rename is done or not: {names:?}");
    }
    disk.sync_dir().unwrap();
    for seed in 0..1000 {
        assert_eq!(disk.after_power_cut(seed).list().unwrap(), ["made", "new"], "seed {seed}");
    }
}

#[test]
fn a_file_never_has_two_names_after_a_power_cut() {
    let disk = SimDisk::new(1);
    let file = disk.create_new("a").unwrap();
    file.write_at(0, b"only one").unwrap();
    file.sync_data().unwrap();
    disk.rename("a", "b").unwrap();
    disk.rename("b", "c").unwrap();
    for seed in 0..1000 {
        let names = disk.after_power_cut(seed).list().unwrap();
        assert!(names.len() <= 1, "seed {seed}: {names:?}");
    }
}

#[test]
fn a_rename_over_a_file_leaves_one_of_the_two_under_the_name() {
    let (disk, _file) = disk_with(1, 10);
    let new = disk.create_new("b").unwrap();
    new.write_at(0, &[2; 10]).unwrap();
    new.sync_data().unwrap();
    disk.rename("b", "a").unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([vec![1; 10], vec![2; 10]]));
}

#[test]
fn a_kill_keeps_all_and_a_power_cut_after_it_may_still_lose_it() {
    let (disk, file) = disk_with(1, 512);
    file.write_at(0, &[2; 512]).unwrap();
    disk.create_new("b").unwrap();
    disk.unlink("b").unwrap();
    disk.create_new("c").unwrap();
    disk.lock("LOCK").unwrap();
    let killed = disk.after_kill();
    assert_eq!(killed.snapshot(), disk.snapshot());
    killed.lock("LOCK").expect("a dead process holds no lock");
    assert_eq!(outcomes(&killed, "a"), BTreeSet::from([vec![1; 512], vec![2; 512]]));
    assert!((0..100).any(|seed| !killed.after_power_cut(seed).list().unwrap().contains(&"c".to_owned())));
    file.write_at(0, &[3; 512]).unwrap();
    assert_eq!(killed.read_file("a"), vec![2; 512], "disks after a crash are their own");
}

#[test]
fn what_a_power_cut_left_is_durable() {
    let (disk, file) = disk_with(1, 512);
    file.write_at(0, &[2; 512]).unwrap();
    for seed in 0..20 {
        let first = disk.after_power_cut(seed);
        assert_eq!(outcomes(&first, "a").len(), 1, "seed {seed}");
        assert_eq!(first.after_power_cut(1).snapshot(), first.snapshot(), "seed {seed}");
    }
}

#[test]
fn after_a_failed_sync_a_later_success_says_nothing_about_the_bytes_before() {
    let mut lost_count = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, &[2; 512]).unwrap();
        disk.fail_nth(SimOp::Sync, 1, SimFault::once(SimCause::Io));
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
        file.write_at(512, &[3; 512]).unwrap();
        file.sync_data().expect("the kernel forgot");
        assert_eq!(disk.read_file("a")[..512], [2; 512], "the page cache still shows it");
        let after = disk.after_power_cut(seed).read_file("a");
        assert_eq!(after[512..], [3; 512], "seed {seed}: written after the failure and synced");
        assert!(after[..512] == [1; 512] || after[..512] == [2; 512], "seed {seed}");
        lost_count += usize::from(after[0] == 1);
    }
    assert!((10..90).contains(&lost_count), "{lost_count} of 100 lost");
}

#[test]
fn a_failed_directory_sync_may_lose_operations_that_a_later_one_does_not_bring_back() {
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        disk.create_new("a").unwrap();
        disk.fail_nth(SimOp::SyncDir, 1, SimFault::once(SimCause::Io));
        assert!(disk.sync_dir().is_err());
        disk.create_new("b").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "b"]);
        kept.insert(disk.after_power_cut(seed).list().unwrap());
    }
    let both = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(kept, BTreeSet::from([both, vec!["b".to_owned()]]));
}

#[test]
fn faults_hit_the_nth_call_of_their_kind_once_or_for_ever() {
    let (disk, file) = disk_with(1, 10);
    disk.fail_nth(SimOp::Read, 2, SimFault::once(SimCause::Io));
    disk.fail_nth(SimOp::Allocate, 1, SimFault::forever(SimCause::Full));
    disk.fail_nth(SimOp::Open, 1, SimFault::once(SimCause::TooManyFiles));
    disk.fail_nth(SimOp::Sync, 1, SimFault::forever(SimCause::Interrupted));
    let reads: Vec<bool> = (0..4).map(|_| file.read_at(0, &mut [0]).is_ok()).collect();
    assert_eq!(reads, [true, false, true, true]);
    for _ in 0..3 {
        assert_eq!(file.allocate(100).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    let refused = disk.open("a", Access::Read).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
    disk.open("a", Access::Read).unwrap();
    file.sync_data().expect("an interrupted call is continued");
    disk.clear_faults();
    file.allocate(100).unwrap();
}

#[test]
fn every_kind_of_call_can_fail_and_leaves_the_names_as_they_were() {
    let every = [
        (SimOp::Write, true),
        (SimOp::Read, false),
        (SimOp::Sync, true),
        (SimOp::SyncDir, true),
        (SimOp::Allocate, true),
        (SimOp::Rename, true),
        (SimOp::Unlink, true),
        (SimOp::Create, true),
        (SimOp::Open, false),
        (SimOp::Truncate, true),
        (SimOp::Map, false),
        (SimOp::Lock, true),
        (SimOp::List, false),
    ];
    for (op, mutates) in every {
        for aim in [op, SimOp::Any] {
            let (disk, file) = disk_with(1, 10);
            let op_count = disk.op_count();
            disk.fail_nth(aim, 1, SimFault::once(SimCause::Io));
            let failed = match op {
                SimOp::Write => file.write_at(0, b"x").is_err(),
                SimOp::Read => file.read_at(0, &mut [0]).is_err(),
                SimOp::Sync => file.sync_data().is_err(),
                SimOp::SyncDir => disk.sync_dir().is_err(),
                SimOp::Allocate => file.allocate(100).is_err(),
                SimOp::Rename => disk.rename("a", "b").is_err(),
                SimOp::Unlink => disk.unlink("a").is_err(),
                SimOp::Create => disk.create_new("b").is_err(),
                SimOp::Open => disk.open("a", Access::Read).is_err(),
                SimOp::Truncate => file.truncate(0).is_err(),
                SimOp::Map => file.map(1).is_err(),
                SimOp::Lock => disk.lock("LOCK").is_err(),
                SimOp::List => disk.list().is_err(),
                SimOp::Any => unreachable!("an aim, not a call"),
            };
            assert!(failed, "{op:?} aimed at as {aim:?}");
            assert_eq!(disk.op_count() - op_count, u64::from(mutates), "{op:?}");
            assert_eq!(disk.list().unwrap(), ["a"], "{op:?}");
            assert_eq!(file.len().unwrap(), 10, "{op:?}");
        }
    }
}

#[test]
fn a_failed_write_lands_as_any_prefix() {
    let mut landed = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        disk.fail_nth(SimOp::Write, 1, SimFault::once(SimCause::Full));
        assert_eq!(file.write_at(0, &[1; 4]).unwrap_err().kind(), ErrorKind::StorageFull);
        landed.insert(disk.read_file("a"));
    }
    assert_eq!(landed, (0..=4).map(|len| vec![1; len]).collect());
}

#[test]
fn a_process_can_die_in_every_mutating_call_and_does_nothing_afterwards() {
    let run = |disk: &SimDisk| -> io::Result<()> {
        let file = disk.create_new("a")?;
        file.allocate(4)?;
        file.write_at(0, b"1234")?;
        file.read_at(0, &mut [0])?;
        file.sync_data()?;
        disk.rename("a", "b")?;
        disk.sync_dir()?;
        disk.unlink("b")
    };
    let whole = SimDisk::new(1);
    run(&whole).unwrap();
    assert_eq!(whole.op_count(), 7);
    for nth in 1..=7 {
        let disk = SimDisk::new(nth);
        disk.stop_after(nth);
        assert!(run(&disk).is_err(), "in call {nth}");
        assert_eq!(disk.op_count(), nth);
        assert!(disk.list().is_err() && disk.free_bytes().is_err(), "the dead do not read");
        assert!(disk.sync_dir().is_err() && disk.create_new("late").is_err());
        let after = disk.after_kill();
        let expected: &[&str] = [&[][..], &["a"], &["a"], &["a"], &["a"], &["b"], &["b"]][nth as usize - 1];
        assert_eq!(after.list().unwrap(), expected, "in call {nth}");
        if nth >= 4 {
            assert_eq!(after.read_file(expected[0]), b"1234", "in call {nth}");
        }
    }
    let disk = SimDisk::new(1);
    disk.stop_after(8);
    run(&disk).expect("dies later");
}

#[test]
fn a_process_that_dies_in_a_sync_has_synced_nothing() {
    let (disk, file) = disk_with(1, 512);
    file.write_at(0, &[2; 512]).unwrap();
    disk.create_new("b").unwrap();
    disk.stop_after(1);
    assert!(file.sync_data().is_err() && disk.sync_dir().is_err());
    assert_eq!(outcomes(&disk, "a").len(), 2);
    assert_eq!((0..100).map(|seed| disk.after_power_cut(seed).list().unwrap()).collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn a_full_disk_refuses_blocks_it_does_not_have_and_no_others() {
    let disk = SimDisk::new(1);
    disk.set_capacity_bytes(4 * 4096);
    let file = disk.create_new("a").unwrap();
    file.allocate(3 * 4096).unwrap();
    assert_eq!((disk.used_bytes(), disk.free_bytes().unwrap()), (3 * 4096, 4096));
    assert_eq!(file.allocate(5 * 4096).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * 4096, "all or nothing");
    let other = disk.create_new("b").unwrap();
    assert_eq!(other.write_at(0, &[1; 8192]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 4096, "what fitted has landed");
    assert_eq!(disk.free_bytes().unwrap(), 0);
    file.write_at(0, &[2; 3 * 4096]).expect("blocks are there");
    other.write_at(0, &[3; 4096]).expect("blocks are there");
    disk.unlink("b").unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 0, "still open");
    drop(other);
    assert_eq!(disk.free_bytes().unwrap(), 4096);
    file.truncate(4096).unwrap();
    assert_eq!(disk.used_bytes(), 4096);
}

#[test]
fn the_lock_belongs_to_one_handle_until_it_is_dropped() {
    let first = SimDisk::new(1);
    let second = first.clone();
    let third = second.clone();
    second.lock("LOCK").unwrap();
    for other in [&first, &third] {
        assert_eq!(other.lock("LOCK").unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    drop(third);
    assert!(first.lock("LOCK").is_err(), "another handle's end changes nothing");
    drop(second);
    first.lock("LOCK").unwrap();
}

#[test]
fn the_same_seed_and_calls_give_the_same_disk() {
    let run = |seed: u64| {
        let disk = SimDisk::new(seed);
        for number in 0..20_u64 {
            let file = disk.create_new(&format!("{number}")).unwrap();
            disk.fail_nth(SimOp::Write, 2, SimFault::once(SimCause::Io));
            file.write_at(0, &[1; 3000]).unwrap();
            file.write_at(number * 700, &[2; 5000]).unwrap_err();
            disk.fail_nth(SimOp::Sync, 1 + number % 2, SimFault::once(SimCause::Io));
            let _ = file.sync_data();
        }
        (disk.snapshot(), disk.after_power_cut(5).snapshot())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    let disk = SimDisk::new(1);
    (0..20).for_each(|number| drop(disk.create_new(&format!("{number}")).unwrap()));
    assert_ne!(disk.after_power_cut(3).snapshot(), disk.after_power_cut(12).snapshot());
}

#[test]
fn helpers_change_files_durably_and_in_place() {
    let (disk, file) = disk_with(1, 5000);
    let map = file.map(5000).unwrap();
    let mut bytes = disk.read_file("a");
    bytes[4321] ^= 0x80;
    disk.write_file("a", &bytes);
    disk.write_file("b", b"");
    assert_eq!(map[4321], 0x81, "a mapping sees the damage");
    let after = disk.after_power_cut(3);
    assert_eq!(after.snapshot(), BTreeMap::from([("a".to_owned(), bytes), ("b".to_owned(), Vec::new())]));
    assert_eq!(SimDisk::from_snapshot(9, &after.snapshot()).snapshot(), after.snapshot());
    disk.write_file("a", b"short");
    disk.remove_file("b");
    disk.remove_file("b");
    let short = BTreeMap::from([("a".to_owned(), b"short".to_vec())]);
    assert_eq!(disk.after_power_cut(4).snapshot(), short);
    assert!(disk.read_file("b").is_empty());
}

#[test]
fn mappings_and_the_page_cache_agree_after_random_calls() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        let mut model = Vec::new();
        let mut early = None;
        for step in 0..40_u8 {
            let (at, len) = (random.below(20_000) as usize, random.below(6000) as usize);
            match random.below(4) {
                0 if at < model.len() => {
                    early = None;
                    file.truncate(at as u64).unwrap();
                    model.truncate(at);
                }
                1 => {
                    file.allocate(at as u64).unwrap();
                    model.resize(model.len().max(at), 0);
                }
                _ if len > 0 => {
                    file.write_at(at as u64, &vec![step; len]).unwrap();
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].fill(step);
                }
                _ => file.sync_data().unwrap(),
            }
            assert!(disk.read_file("a") == model, "seed {seed} step {step}");
            if !model.is_empty() {
                let map = file.map(model.len() as u64).unwrap();
                assert!(*map == *model, "seed {seed} step {step}: the mapping differs");
                let early: &Mapping = early.get_or_insert(map);
                assert!(**early == model[..early.len()], "seed {seed} step {step}: an early mapping differs");
            }
        }
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        assert!(disk.after_power_cut(seed).read_file("a") == model, "seed {seed}: all was synced");
    }
}

#[test]
fn files_that_nothing_reaches_are_forgotten() {
    let disk = SimDisk::new(1);
    for _ in 0..10 {
        let file = disk.create_new("a").unwrap();
        disk.unlink("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, b"still open").unwrap();
    }
    assert_eq!(disk.state().files.len(), 0);
}

#[test]
fn preallocated_blocks_are_durable_once_synced() {
    let disk = SimDisk::new(1);
    let file = disk.create_new("a").unwrap();
    file.allocate(8192).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    for seed in 0..100 {
        let after = disk.after_power_cut(seed);
        assert_eq!((after.read_file("a"), after.used_bytes()), (vec![0; 8192], 8192), "seed {seed}");
    }
}

#[test]
fn bytes_that_were_cut_do_not_come_back_when_the_file_grows_again() {
    let mut expected = vec![1; 700];
    expected.resize(9000, 0);
    let (disk, file) = disk_with(1, 9000);
    file.truncate(700).unwrap();
    file.allocate(9000).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([expected]), "cut and grown between two syncs");

    let (disk, file) = disk_with(1, 9000);
    file.truncate(0).unwrap();
    disk.fail_nth(SimOp::Sync, 1, SimFault::once(SimCause::Io));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    file.allocate(9000).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([vec![0; 9000]]), "a length that was synced is the length");
}

#[test]
fn a_file_that_a_power_cut_made_shorter_has_nothing_behind_its_end() {
    let (disk, file) = disk_with(1, 0);
    file.write_at(0, &[2; 9000]).unwrap();
    for seed in 0..200 {
        let after = disk.after_power_cut(seed);
        let file = after.open("a", Access::ReadWrite).unwrap();
        let len = after.read_file("a").len();
        file.allocate(9000).unwrap();
        assert!(after.read_file("a")[len..].iter().all(|&byte| byte == 0), "seed {seed}: cut at {len}");
    }
}

#[test]
fn an_unlink_that_outlives_an_undone_rename_takes_only_the_file_it_was_meant_for() {
    let disk = SimDisk::from_snapshot(1, &BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), Vec::new()))));
    disk.rename("b", "a").unwrap();
    disk.unlink("a").unwrap();
    let seen: BTreeSet<Vec<String>> = (0..200).map(|seed| disk.after_power_cut(seed).list().unwrap()).collect();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(seen, BTreeSet::from([names(&["a", "b"]), names(&["a"]), names(&[])]));
}

#[test]
fn a_name_whose_removal_a_failed_sync_lost_still_has_its_file() {
    let mut back_count = 0;
    for seed in 0..100 {
        let disk = SimDisk::from_snapshot(seed, &BTreeMap::from([("a".to_owned(), b"back".to_vec())]));
        disk.unlink("a").unwrap();
        disk.fail_nth(SimOp::SyncDir, 1, SimFault::once(SimCause::Io));
        assert!(disk.sync_dir().is_err());
        disk.sync_dir().unwrap();
        let after = disk.after_power_cut(seed).snapshot();
        assert!(after.get("a").is_none_or(|bytes| bytes == b"back"), "seed {seed}");
        back_count += after.len();
    }
    assert!((10..90).contains(&back_count), "{back_count} of 100 came back");
}

#[test]
fn what_the_medium_held_before_shows_only_where_no_sync_made_the_blocks_a_file_s_own() {
    let stale: Vec<u8> = (0..8).flat_map(|page| [0x70 + page; 4096]).collect();
    let disk = SimDisk::new(5);
    disk.set_stale_bytes(stale);
    let durable = disk.create_new("durable").unwrap();
    durable.allocate(8 * 4096).unwrap();
    durable.sync_data().unwrap();
    durable.write_at(4096, &[1; 4096]).unwrap();
    let fresh = disk.create_new("fresh").unwrap();
    fresh.allocate(8 * 4096).unwrap();
    fresh.write_at(0, &[2; 100]).unwrap();
    disk.sync_dir().unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let left = disk.after_power_cut(seed);
        let durable = left.read_file("durable");
        assert!(durable.iter().all(|&byte| byte <= 1), "allocated durably, it is zero or what was written");
        let fresh = left.read_file("fresh");
        for (page, bytes) in fresh.chunks(4096).enumerate() {
            assert!(bytes.iter().all(|&byte| [0, 2, 0x70 + page as u8].contains(&byte)), "at its place in the file");
            seen.insert(bytes[bytes.len() - 1]);
        }
        // A kill afterwards keeps what the medium held in mind, too.
        drop(left.after_kill());
    }
    assert!((0x71..0x78).all(|page| seen.contains(&page)) && seen.contains(&0), "{seen:?}");
}

#[test]
fn calls_are_counted_by_their_kind() {
    let disk = SimDisk::new(1);
    let file = disk.create_new("a").unwrap();
    file.write_at(0, b"x").unwrap();
    file.write_at(1, b"y").unwrap();
    disk.fail_nth(SimOp::Write, 1, SimFault::once(SimCause::Io));
    file.write_at(2, b"z").unwrap_err();
    disk.list().unwrap();
    let counts = [SimOp::Create, SimOp::Write, SimOp::List, SimOp::Sync, SimOp::Any].map(|op| disk.call_count(op));
    assert_eq!(counts, [1, 3, 1, 0, 5]);
}

#[test]
fn every_state_that_a_power_cut_may_leave_is_told_once() {
    let disk = SimDisk::new(1);
    let file = disk.create_new("a").unwrap();
    file.write_at(0, &[1; 1024]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.undecided_count(), 0);
    assert_eq!(disk.power_cuts().count(), 1);
    // Two sectors, one of them with a content in between; one name.
    file.write_at(0, &[2; 1024]).unwrap();
    file.write_at(512, &[3; 512]).unwrap();
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.undecided_count(), 3);
    let told: Vec<_> = disk.power_cuts().map(|left| left.snapshot()).collect();
    let states: BTreeSet<_> = told.iter().cloned().collect();
    assert_eq!(states.len(), 2 * 2 * 3, "old or new; old, new or between; either name");
    // A sector that survives chooses between two contents, so none is told twice.
    assert_eq!(told.len(), states.len());
    // Chance finds no other, and each of them.
    let drawn: BTreeSet<_> = (0..2000).map(|seed| disk.after_power_cut(seed).snapshot()).collect();
    assert_eq!(drawn, states);
}
