//! `invalidate_all` emptied the index, and the segments went on counting records that nothing named.

use emberlog::disk::SimDisk;
use emberlog::{Cache, Maintenance};
use std::sync::Arc;

#[test]
fn after_invalidate_all_no_segment_counts_live_records() {
    let cache = Cache::builder()
        .memory_bytes(1 << 20)
        .disk_bytes(1 << 20)
        .maintenance(Maintenance::Manual)
        .open_on(Arc::new(SimDisk::new(1)))
        .unwrap();
    cache.insert("key", "value");
    cache.invalidate_all();
    cache.validate();
    cache.insert("key", "value");
    cache.validate();
}
