//! `read` panicked on a value that came from disk and was longer than the buffer on its stack. Found by replaying a trace of web objects.

use emberlog::disk::SimDisk;
use emberlog::{Cache, Maintenance};
use std::sync::Arc;

#[test]
fn values_of_every_length_are_lent_from_disk() {
    let disk = SimDisk::new(1);
    let open = || {
        Cache::builder()
            .memory_bytes(1 << 20)
            .disk_bytes(1 << 20)
            .maintenance(Maintenance::Manual)
            .open_on(Arc::new(disk.clone()))
            .unwrap()
    };
    let lens = [0, 1, 4095, 4096, 4097, 20_000];
    let cache = open();
    for len in lens {
        cache.insert(format!("{len}"), vec![7; len]);
    }
    cache.close().unwrap();
    let cache = open();
    for len in lens {
        let read = cache.read(format!("{len}"), |value| (value.len(), value.iter().all(|byte| *byte == 7)));
        assert_eq!(read, Some((len, true)));
    }
}
