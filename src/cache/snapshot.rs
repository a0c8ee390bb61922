//! Pulling the counters together, and recounting them.

use super::core::Core;
use crate::observe::{
    AgeStats, DiskAccounts, DiskStats, LatencyStats, MemoryAccounts, MemoryStats, RecoveryReport, RequestStats, Stats,
};

/// What a slot of an index takes.
const SLOT_LEN: u64 = 8;

pub(crate) fn stats(core: &Core) -> Stats {
    figures(core, || core.recovery.clone())
}

/// The same, with what the caller has of the recovery.
pub(crate) fn figures(core: &Core, recovery: impl FnOnce() -> RecoveryReport) -> Stats {
    let mut requests = RequestStats::default();
    let mut memory = MemoryStats { limit_bytes: core.memory_limit_bytes, ..MemoryStats::default() };
    let mut accounts = MemoryAccounts { fixed: core.fixed_bytes, ..MemoryAccounts::default() };
    let mut disk = DiskStats::default();
    let mut ages = ages(core);
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
        if let Some(lives) = shard.memory.lives() {
            let (watched_entries, oldest_ms) = lives.oldest_ms();
            ages.watched_entries += watched_entries;
            ages.memory_oldest_ms = ages.memory_oldest_ms.max(oldest_ms);
        }
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
        let snapshot = log.snapshot();
        let counters = &log.counters;
        disk.is_on = !log.latch.is_tripped();
        disk.off_because = log.latch.check().err().map(|error| error.to_string());
        disk.used_bytes = log.budget().used_bytes();
        disk.limit_bytes = log.budget().limit_bytes();
        let overhead = core.planned.disk.overhead;
        let warm_list = disk.used_bytes.saturating_sub(overhead).saturating_sub(snapshot.charged_bytes);
        disk.accounts = DiskAccounts { segments: snapshot.charged_bytes, warm_list, overhead };
        disk.accounts_planned = core.planned.disk.clone();
        let made_s = snapshot.oldest_made_s;
        ages.disk_oldest_ms = made_s.map(|made_s| u64::from(core.now_s().saturating_sub(made_s)) * 1_000);
        disk.bytes_accepted = counters.accepted_bytes.get();
        disk.bytes_requested = counters.requested_bytes.get();
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
    accounts.statistics = core.planned.memory.statistics;
    accounts.fixed -= accounts.statistics + accounts.append_buffer;
    memory.held_bytes =
        accounts.memory_tier + accounts.disk_index + accounts.append_buffer + accounts.statistics + accounts.fixed;
    memory.accounts_used = MemoryAccounts {
        memory_tier: memory.live_bytes + memory.entries * SLOT_LEN,
        disk_index: disk.entries * SLOT_LEN,
        append_buffer: disk.buffered_bytes,
        ..accounts.clone()
    };
    memory.accounts_planned = core.planned.memory.clone();
    memory.accounts = accounts;
    let with_disk = core.log.is_some();
    Stats {
        requests,
        memory,
        disk: with_disk.then_some(disk),
        windows: with_disk.then(|| core.windows.stats(core.now_us())),
        recovery: with_disk.then(recovery),
        latency: latency(core),
        ages,
    }
}

fn latency(core: &Core) -> LatencyStats {
    let measured = &core.measured;
    LatencyStats {
        sampled_one_in: core.sample_one_in.into(),
        memory_hit_ns: measured.memory_hit_ns.snapshot(),
        disk_hit_ns: measured.disk_hit_ns.snapshot(),
        miss_ns: measured.miss_ns.snapshot(),
        insert_ns: measured.insert_ns.snapshot(),
        remove_ns: measured.remove_ns.snapshot(),
        load_ns: measured.load_ns.snapshot(),
    }
}

/// What is known without looking at shards and log.
fn ages(core: &Core) -> AgeStats {
    AgeStats {
        watched_one_in: core.planned.watched_one_in,
        memory_at_eviction_ms: core.ages.at_eviction_ms.snapshot(),
        memory_idle_at_eviction_ms: core.ages.idle_at_eviction_ms.snapshot(),
        disk_at_drop_ms: core.compaction.age_at_drop_ms.snapshot(),
        memory_hits: core.measured.memory_hits_by_age.snapshot(),
        disk_hits: core.measured.disk_hits_by_age.snapshot(),
        ..AgeStats::default()
    }
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
