//! The table of all metrics: name, kind, unit, meaning, and where in the statistics it comes from.
//!
//! Names follow OpenMetrics: `emberlog_`, the thing, its unit in base units; a counter's `_total` is added where it is written.

use super::{Kind, Metric, Points, Scaled};
use crate::observe::{DiskAccounts, MemoryAccounts, Temperature};

/// Every metric there is, in the order in which they are written.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "emberlog_reads",
        kind: Kind::Counter,
        unit: "",
        help: "Reads by where they ended.",
        read: |stats, points| {
            points.whole(&[("outcome", "memory_hit")], stats.memory.hits);
            if let Some(disk) = &stats.disk {
                points.whole(&[("outcome", "disk_hit")], disk.hits);
            }
            points.whole(&[("outcome", "miss")], stats.requests.misses);
        },
    },
    Metric {
        name: "emberlog_inserts",
        kind: Kind::Counter,
        unit: "",
        help: "Inserts.",
        read: |stats, points| points.whole(&[], stats.requests.inserts),
    },
    Metric {
        name: "emberlog_removes",
        kind: Kind::Counter,
        unit: "",
        help: "Removes.",
        read: |stats, points| points.whole(&[], stats.requests.removes),
    },
    Metric {
        name: "emberlog_loads",
        kind: Kind::Counter,
        unit: "",
        help: "Loads begun by get_with and its like.",
        read: |stats, points| points.whole(&[], stats.requests.loads),
    },
    Metric {
        name: "emberlog_load_errors",
        kind: Kind::Counter,
        unit: "",
        help: "Loads that ended with an error.",
        read: |stats, points| points.whole(&[], stats.requests.load_errors),
    },
    Metric {
        name: "emberlog_loads_shared",
        kind: Kind::Counter,
        unit: "",
        help: "Requests served by another one's load.",
        read: |stats, points| points.whole(&[], stats.requests.loads_shared),
    },
    Metric {
        name: "emberlog_loads_overtaken",
        kind: Kind::Counter,
        unit: "",
        help: "Loads not stored because the key was changed meanwhile.",
        read: |stats, points| points.whole(&[], stats.requests.loads_overtaken),
    },
    Metric {
        name: "emberlog_request_duration_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        help: "How long sampled requests take, and all loads.",
        read: |stats, points| {
            let latency = &stats.latency;
            for (operation, histogram) in [
                ("memory_hit", &latency.memory_hit_ns),
                ("disk_hit", &latency.disk_hit_ns),
                ("miss", &latency.miss_ns),
                ("insert", &latency.insert_ns),
                ("remove", &latency.remove_ns),
                ("load", &latency.load_ns),
            ] {
                points.histogram(&[("operation", operation)], Scaled::of_ns(histogram));
            }
        },
    },
    Metric {
        name: "emberlog_request_sampled_one_in",
        kind: Kind::Gauge,
        unit: "",
        help: "One request in so many is measured; 0 for none.",
        read: |stats, points| points.whole(&[], stats.latency.sampled_one_in),
    },
    Metric {
        name: "emberlog_entries",
        kind: Kind::Gauge,
        unit: "",
        help: "Entries in memory, and records on disk that can be found.",
        read: |stats, points| {
            points.whole(&[("tier", "memory")], stats.memory.entries);
            if let Some(disk) = &stats.disk {
                points.whole(&[("tier", "disk")], disk.entries);
            }
        },
    },
    Metric {
        name: "emberlog_dropped",
        kind: Kind::Counter,
        unit: "",
        help: "Entries and values that a tier let go or did not take, by reason.",
        read: |stats, points| {
            let memory = &stats.memory;
            for (reason, count) in [
                ("evicted", memory.evicted),
                ("expired", memory.expired),
                ("oversize", memory.refused_oversize),
                ("index", memory.dropped_by_index),
            ] {
                points.whole(&[("tier", "memory"), ("reason", reason)], count);
            }
            let Some(disk) = &stats.disk else { return };
            for (reason, count) in [
                ("segment", disk.dropped_with_segment),
                ("oversize", disk.dropped_oversize),
                ("behind", disk.dropped_behind),
                ("off", disk.dropped_off),
                ("index", disk.dropped_by_index),
                ("close", disk.dropped_at_close),
            ] {
                points.whole(&[("tier", "disk"), ("reason", reason)], count);
            }
        },
    },
    Metric {
        name: "emberlog_memory_limit_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "The memory budget.",
        read: |stats, points| points.whole(&[], stats.memory.limit_bytes),
    },
    Metric {
        name: "emberlog_memory_live_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Live entries in memory with their headers.",
        read: |stats, points| points.whole(&[], stats.memory.live_bytes),
    },
    Metric {
        name: "emberlog_memory_held_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Memory taken, by account.",
        read: |stats, points| memory_accounts(&stats.memory.accounts, points),
    },
    Metric {
        name: "emberlog_memory_planned_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Memory that the budget was divided into, by account.",
        read: |stats, points| memory_accounts(&stats.memory.accounts_planned, points),
    },
    Metric {
        name: "emberlog_memory_used_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Memory that something lies in now, by account.",
        read: |stats, points| memory_accounts(&stats.memory.accounts_used, points),
    },
    Metric {
        name: "emberlog_promotions",
        kind: Kind::Counter,
        unit: "",
        help: "Entries promoted from disk to memory.",
        read: |stats, points| points.whole(&[], stats.memory.promotions),
    },
    Metric {
        name: "emberlog_restored",
        kind: Kind::Counter,
        unit: "",
        help: "Entries read back into memory after a restart.",
        read: |stats, points| points.whole(&[], stats.memory.restored),
    },
    Metric {
        name: "emberlog_memory_moved",
        kind: Kind::Counter,
        unit: "",
        help: "Entries moved within the rings instead of evicted.",
        read: |stats, points| points.whole(&[], stats.memory.moved),
    },
    Metric {
        name: "emberlog_ghost_hits",
        kind: Kind::Counter,
        unit: "",
        help: "Entries that came back while they were remembered after their eviction.",
        read: |stats, points| points.whole(&[], stats.memory.ghost_hits),
    },
    Metric {
        name: "emberlog_tail_age_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "Age of the oldest watched entry in memory, and of the oldest segment, which goes next.",
        read: |stats, points| {
            let ages = &stats.ages;
            for (tier, oldest_ms) in [("memory", ages.memory_oldest_ms), ("disk", ages.disk_oldest_ms)] {
                if let Some(oldest_ms) = oldest_ms {
                    points.real(&[("tier", tier)], oldest_ms as f64 / 1e3);
                }
            }
        },
    },
    Metric {
        name: "emberlog_eviction_age_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        help: "Age of watched entries when they are evicted from memory, and of live records that go with their segment.",
        read: |stats, points| {
            points.histogram(&[("tier", "memory")], Scaled::of_ms(&stats.ages.memory_at_eviction_ms));
            if stats.disk.is_some() {
                points.histogram(&[("tier", "disk")], Scaled::of_ms(&stats.ages.disk_at_drop_ms));
            }
        },
    },
    Metric {
        name: "emberlog_eviction_idle_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        help: "How long nobody had asked for watched entries when they are evicted from memory.",
        read: |stats, points| points.histogram(&[], Scaled::of_ms(&stats.ages.memory_idle_at_eviction_ms)),
    },
    Metric {
        name: "emberlog_hits_by_age",
        kind: Kind::Counter,
        unit: "",
        help: "Sampled hits by the age of what they found, in classes that do not overlap.",
        read: |stats, points| {
            temperature("memory", &stats.ages.memory_hits, points);
            if stats.disk.is_some() {
                temperature("disk", &stats.ages.disk_hits, points);
            }
        },
    },
    Metric {
        name: "emberlog_watched_entries",
        kind: Kind::Gauge,
        unit: "",
        help: "Entries in memory whose age is watched.",
        read: |stats, points| points.whole(&[], stats.ages.watched_entries),
    },
    Metric {
        name: "emberlog_watched_one_in",
        kind: Kind::Gauge,
        unit: "",
        help: "One entry in so many is watched; 0 for none.",
        read: |stats, points| points.whole(&[], stats.ages.watched_one_in),
    },
    Metric {
        name: "emberlog_disk_on",
        kind: Kind::Gauge,
        unit: "",
        help: "1 if the disk tier is in use, 0 after a failed write or sync.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.flag(disk.is_on);
            }
        },
    },
    Metric {
        name: "emberlog_disk_limit_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "The disk budget.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.limit_bytes);
            }
        },
    },
    Metric {
        name: "emberlog_disk_used_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Storage charged to the budget.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.used_bytes);
            }
        },
    },
    Metric {
        name: "emberlog_disk_charged_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Storage charged to the budget, by account.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                disk_accounts(&disk.accounts, points);
            }
        },
    },
    Metric {
        name: "emberlog_disk_planned_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "What the disk budget is divided into when the log is full, by account.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                disk_accounts(&disk.accounts_planned, points);
            }
        },
    },
    Metric {
        name: "emberlog_disk_index_slots",
        kind: Kind::Gauge,
        unit: "",
        help: "Slots of the index of the disk tier; entries of the tier disk is how many are in use.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.index_capacity);
            }
        },
    },
    Metric {
        name: "emberlog_disk_accepted_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Keys and values that the disk tier took.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.bytes_accepted);
            }
        },
    },
    Metric {
        name: "emberlog_disk_requested_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Records that requests appended, headers and padding included.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.bytes_requested);
            }
        },
    },
    Metric {
        name: "emberlog_disk_written_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Bytes written to files.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.bytes_written);
            }
        },
    },
    Metric {
        name: "emberlog_disk_buffered_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Bytes that wait in the append buffer.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.buffered_bytes);
            }
        },
    },
    Metric {
        name: "emberlog_segments",
        kind: Kind::Gauge,
        unit: "",
        help: "Segments of the log.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.segments);
            }
        },
    },
    Metric {
        name: "emberlog_segments_retired",
        kind: Kind::Counter,
        unit: "",
        help: "Segments retired, by what was short.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                let for_space = disk.segments_retired.saturating_sub(disk.segments_retired_for_index);
                points.by("reason", &[("space", for_space), ("index", disk.segments_retired_for_index)]);
            }
        },
    },
    Metric {
        name: "emberlog_reinserted",
        kind: Kind::Counter,
        unit: "",
        help: "Records appended again when their segment was retired.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.records_reinserted);
            }
        },
    },
    Metric {
        name: "emberlog_reinserted_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Bytes of these.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.bytes_reinserted);
            }
        },
    },
    Metric {
        name: "emberlog_windows",
        kind: Kind::Counter,
        unit: "",
        help: "Quiet windows so far, the open one included.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.whole(&[], windows.count);
            }
        },
    },
    Metric {
        name: "emberlog_window_open",
        kind: Kind::Gauge,
        unit: "",
        help: "1 while a quiet window is open.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.flag(windows.is_open);
            }
        },
    },
    Metric {
        name: "emberlog_window_open_seconds",
        kind: Kind::Counter,
        unit: "seconds",
        help: "How long quiet windows were open.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.whole(&[], windows.lasted_ms / 1_000);
            }
        },
    },
    Metric {
        name: "emberlog_window_moved",
        kind: Kind::Counter,
        unit: "",
        help: "Records appended again in quiet windows.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.whole(&[], windows.records_moved);
            }
        },
    },
    Metric {
        name: "emberlog_window_moved_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Bytes of these.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.whole(&[], windows.bytes_moved);
            }
        },
    },
    Metric {
        name: "emberlog_load",
        kind: Kind::Gauge,
        unit: "",
        help: "Requests per second as quiet windows see them: now, and the level that they are measured against.",
        read: |stats, points| {
            if let Some(windows) = &stats.windows {
                points.by("of", &[("now", windows.load_per_s), ("level", windows.level_per_s)]);
            }
        },
    },
    Metric {
        name: "emberlog_counters_page_failures",
        kind: Kind::Counter,
        unit: "",
        help: "Pages of counters that could not be written.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.counters_failures);
            }
        },
    },
    Metric {
        name: "emberlog_damaged_records",
        kind: Kind::Counter,
        unit: "",
        help: "Records that did not verify when they were read.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.damaged_records);
            }
        },
    },
    Metric {
        name: "emberlog_seqno",
        kind: Kind::Gauge,
        unit: "",
        help: "Number of the last event that was appended, written, synced.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.by(
                    "state",
                    &[("appended", disk.last_seqno), ("written", disk.written_seqno), ("synced", disk.synced_seqno)],
                );
            }
        },
    },
    Metric {
        name: "emberlog_syncs",
        kind: Kind::Counter,
        unit: "",
        help: "Syncs.",
        read: |stats, points| {
            if let Some(disk) = &stats.disk {
                points.whole(&[], disk.syncs);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_duration_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "How long recovery took at the last open.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.real(&[], recovery.duration_ns as f64 / 1e9);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_fresh",
        kind: Kind::Gauge,
        unit: "",
        help: "1 if the store was created by this open.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.flag(recovery.created);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_segments",
        kind: Kind::Gauge,
        unit: "",
        help: "Segments at the last open: found, kept of these, trusted by their footer of those.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.by(
                    "state",
                    &[
                        ("found", recovery.segments_found),
                        ("kept", recovery.segments_kept),
                        ("trusted", recovery.segments_trusted),
                    ],
                );
            }
        },
    },
    Metric {
        name: "emberlog_recovery_events",
        kind: Kind::Gauge,
        unit: "",
        help: "Events that counted at the last open.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.whole(&[], recovery.events);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_entries",
        kind: Kind::Gauge,
        unit: "",
        help: "Entries that could be found after the last open.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.whole(&[], recovery.entries);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_dropped",
        kind: Kind::Gauge,
        unit: "",
        help: "Slots of the index dropped at the last open because their buckets were full.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.whole(&[], recovery.dropped_by_index);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_forgotten_keys",
        kind: Kind::Gauge,
        unit: "",
        help: "Keys forgotten at the last open because their newest version is damaged.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.whole(&[], recovery.forgotten_keys);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_forgotten_older",
        kind: Kind::Gauge,
        unit: "",
        help: "How many times all that was older was forgotten at the last open.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.whole(&[], recovery.forgotten_older);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_emptied_by_clock",
        kind: Kind::Gauge,
        unit: "",
        help: "1 if the last open emptied the store because its clock mark is more than a day ahead.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.flag(recovery.emptied_by_clock);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_findings",
        kind: Kind::Gauge,
        unit: "",
        help: "Findings of the last open, and how many of them are damage.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                points.by("kind", &[("all", recovery.finding_count), ("damage", recovery.damage_count)]);
            }
        },
    },
    Metric {
        name: "emberlog_recovery_findings_by_label",
        kind: Kind::Gauge,
        unit: "",
        help: "Findings of the last open by their label in the recovery table; the first ten thousand.",
        read: |stats, points| {
            if let Some(recovery) = &stats.recovery {
                for (label, count) in &recovery.findings_by_label {
                    points.whole(&[("label", label.as_str())], *count);
                }
            }
        },
    },
];

fn memory_accounts(accounts: &MemoryAccounts, points: &mut Points<'_>) {
    let MemoryAccounts { memory_tier, disk_index, append_buffer, statistics, fixed } = *accounts;
    points.by(
        "account",
        &[
            ("memory_tier", memory_tier),
            ("disk_index", disk_index),
            ("append_buffer", append_buffer),
            ("statistics", statistics),
            ("fixed", fixed),
        ],
    );
}

fn disk_accounts(accounts: &DiskAccounts, points: &mut Points<'_>) {
    let DiskAccounts { segments, warm_list, overhead } = *accounts;
    points.by("account", &[("segments", segments), ("warm_list", warm_list), ("overhead", overhead)]);
}

fn temperature(tier: &str, hits: &Temperature, points: &mut Points<'_>) {
    let names = ["under_1s", "under_10s", "under_1min", "under_10min", "under_1h", "under_1d", "older"];
    for (name, (_, count)) in names.into_iter().zip(hits.classes()) {
        points.whole(&[("tier", tier), ("age", name)], count);
    }
}
