//! Pulling the counters together, and recounting them.

use super::core::Core;
use crate::observe::{DiskStats, MemoryAccounts, MemoryStats, RecoveryReport, RequestStats, Stats};

pub(crate) fn stats(core: &Core) -> Stats {
    figures(core, || core.recovery.clone())
}

/// The same, with what the caller has of the recovery.
pub(crate) fn figures(core: &Core, recovery: impl FnOnce() -> RecoveryReport) -> Stats {
    let mut requests = RequestStats::default();
    let mut memory = MemoryStats { limit_bytes: core.memory_limit_bytes, ..MemoryStats::default() };
    let mut accounts = MemoryAccounts { fixed: core.fixed_bytes, ..MemoryAccounts::default() };
    let mut disk = DiskStats::default();
    for (shard, counters) in core.shards.iter() {
        memory.hits += counters.memory_hits.get();
        disk.hits += counters.disk_hits.get();
        requests.misses += counters.misses.get();
        requests.inserts += counters.inserts.get();
        requests.removes += counters.removes.get();
        memory.promotions += counters.promotions.get();
        disk.dropped_by_index += counters.index_displaced.get();
        let shard = shard.read();
        let tier = shard.memory.counters();
        memory.entries += shard.memory.len();
        memory.live_bytes += shard.memory.live_bytes();
        memory.refused_oversize += tier.oversize_count;
        memory.evicted += tier.evicted_small_count + tier.evicted_main_count;
        memory.expired += tier.expired_count;
        memory.dropped_by_index += tier.displaced_count + tier.collision_count;
        memory.moved += tier.moved_count;
        memory.ghost_hits += tier.ghost_hit_count;
        accounts.memory_tier += shard.memory.held_bytes();
        if let Some(index) = &shard.disk_index {
            disk.entries += index.used_count();
            disk.index_capacity += index.capacity();
            accounts.disk_index += index.held_bytes();
        }
    }
    requests.hits = memory.hits + disk.hits;
    memory.restored = core.compaction.restored_count.get();
    requests.loads = core.counters.loads.get();
    requests.load_errors = core.counters.load_errors.get();
    requests.loads_shared = core.counters.loads_shared.get();
    requests.loads_overtaken = core.counters.loads_overtaken.get();
    if let Some(log) = &core.log {
        accounts.append_buffer = log.plan().memory_bytes();
        accounts.fixed -= accounts.append_buffer;
        let snapshot = log.snapshot();
        let counters = &log.counters;
        disk.is_on = !log.latch.is_tripped();
        disk.off_because = log.latch.check().err().map(|error| error.to_string());
        disk.used_bytes = log.budget().used_bytes();
        disk.limit_bytes = log.budget().limit_bytes();
        disk.bytes_accepted = counters.accepted_bytes.get();
        disk.bytes_written = counters.written_bytes.get();
        disk.buffered_bytes = snapshot.buffered_bytes;
        disk.segments = snapshot.segment_count;
        disk.segments_retired = counters.segments_retired.get();
        disk.segments_retired_for_index = core.compaction.retired_for_index.get();
        disk.records_reinserted = core.compaction.reinserted_count.get();
        disk.bytes_reinserted = core.compaction.reinserted_bytes.get();
        disk.dropped_with_segment = core.compaction.dropped_live_count.get();
        disk.dropped_oversize = core.counters.dropped_oversize.get();
        disk.dropped_behind = core.counters.dropped_behind.get();
        disk.dropped_off = core.counters.dropped_off.get();
        disk.dropped_at_close = core.counters.dropped_at_close.get();
        disk.damaged_records = counters.damaged_records.get();
        disk.last_seqno = snapshot.next_seqno - 1;
        disk.written_seqno = snapshot.written_seqno;
        disk.synced_seqno = snapshot.synced_seqno;
        disk.syncs = counters.sync_count.get();
        disk.counters_failures = core.page.failed.get();
    }
    memory.held_bytes = accounts.memory_tier + accounts.disk_index + accounts.append_buffer + accounts.fixed;
    memory.accounts = accounts;
    let with_disk = core.log.is_some();
    Stats { requests, memory, disk: with_disk.then_some(disk), recovery: with_disk.then(recovery) }
}

pub(crate) fn validate(core: &Core) {
    // A retirement that is half done has forgotten slots that its segment still counts.
    let _none = core.retiring.lock();
    // All shards at once: maintenance goes on appending what memory holds, and moves counts from segment to segment.
    let shards: Vec<_> = core.shards.iter().map(|(shard, _)| shard.read()).collect();
    let mut named = std::collections::BTreeMap::<u16, u64>::new();
    for shard in &shards {
        shard.memory.validate();
        if let Some(index) = &shard.disk_index {
            index.validate();
            for slot in index.slots() {
                *named.entry(crate::format::location::Location::unpack(slot.location()).segment).or_default() += 1;
            }
        }
    }
    if let Some(log) = core.log.as_ref().filter(|log| !log.latch.is_tripped()) {
        log.validate();
        log.validate_live(&named);
    }
}
