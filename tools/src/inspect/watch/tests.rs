//! Frames as people see them: known looks, drawn as text and compared with the files in `frames/`.

use std::path::Path;

use emberlog::format::counters::{CellState, PageHeader, RunState, SegmentCell};
use serde_json::{Value, json};

use super::frame::Scene;
use super::history::History;
use super::look::{Look, Seen, Sight};
use super::text;
use crate::store::Holder;

const OPENED_UNIX_MS: u64 = 1_700_000_000_000;

/// What a cache under even load tells after so many seconds.
fn stats(seconds: u64) -> Value {
    json!({
        "requests": {
            "hits": 110_000 + 40_000 * seconds + 1_000 * seconds * seconds, "misses": 90_000 + 11_000 * seconds,
            "inserts": 100_000 + 12_000 * seconds, "removes": 20 * seconds, "loads": 11_000 * seconds,
            "load_errors": 3, "loads_shared": 70 * seconds, "loads_overtaken": 0,
        },
        "memory": {
            "hits": 100_000 + 30_000 * seconds, "entries": 140_123, "live_bytes": 43_800_000, "held_bytes": 67_108_000,
            "limit_bytes": 67_108_864, "accounts": {
                "memory_tier": 47_000_000, "disk_index": 16_777_216, "append_buffer": 2_359_296, "fixed": 592_000
            },
            "promotions": 4_000 * seconds, "evicted": 9_000 * seconds, "restored": 77, "refused_oversize": 2,
            "dropped_by_index": 0,
        },
        "disk": {
            "is_on": true, "hits": 10_000 + 10_000 * seconds + 1_000 * seconds * seconds, "entries": 1_102_701,
            "index_capacity": 2_097_152, "used_bytes": 530_055_168, "limit_bytes": 536_870_912,
            "bytes_accepted": 3_500_000 * seconds, "bytes_written": 4_100_000 * seconds, "buffered_bytes": 27_955,
            "last_seqno": 120_000 + 12_000 * seconds, "written_seqno": 119_910 + 12_000 * seconds,
            "synced_seqno": 115_000 + 12_000 * seconds, "syncs": 2 * seconds, "dropped_with_segment": 900 * seconds,
            "dropped_behind": 0, "dropped_for_a_reason_of_later": 5, "off_because": null,
        },
    })
}

fn cells() -> Vec<SegmentCell> {
    let cell = |number: u32, state, data_bytes, live_count| SegmentCell {
        first_number: number,
        segment_count: 1,
        state,
        charged_bytes: 4 << 20,
        data_bytes,
        event_count: 10_000,
        live_count,
    };
    let sealed = (378..500).map(|n| cell(n, CellState::Sealed, 4_150_000, 5_600 + (n - 378) * 30 + n * 7919 % 500));
    let rest = [
        cell(500, CellState::Unsealed, 4_150_000, 9_700),
        cell(501, CellState::Active, 1_000_000, 9_900),
        SegmentCell { event_count: 0, live_count: 0, ..cell(502, CellState::Spare, 0, 0) },
    ];
    sealed.chain(rest).collect()
}

/// A look at second `seconds` of a cache, by the process that has it open.
fn look(seconds: u64, stats: Value) -> Look {
    let header = PageHeader {
        sequence: seconds,
        written_unix_ms: OPENED_UNIX_MS + seconds * 1_000,
        opened_unix_ms: OPENED_UNIX_MS,
        process_id: 4711,
        state: RunState::Open,
        text_len: 0,
        cell_count: 0,
    };
    let seen = Seen { header, stats, crate_version: Some("0.1.0".to_owned()), cells: cells() };
    let holder = Some(Holder { process_id: 4711, holds_lock: true });
    Look { at_unix_ms: header.written_unix_ms + 300, holder, sight: Sight::Page(Box::new(seen)) }
}

fn seen(look: &mut Look) -> &mut Seen {
    if let Sight::Page(seen) = &mut look.sight { seen } else { panic!("there is a page") }
}

/// The frame behind these looks.
fn drawn(looks: &[Look], size: (u16, u16)) -> String {
    let mut history = History::default();
    looks.iter().for_each(|look| {
        history.note(look);
    });
    let look = looks.last().expect("at least one look");
    let scene = Scene { directory: "/var/cache/shop", look, history: &history, is_coloured: false, hint: "q quit" };
    text(&scene, size)
}

fn running() -> Vec<Look> {
    (4..30).map(|seconds| look(seconds, stats(seconds))).collect()
}

#[track_caller]
fn assert_drawn(name: &str, frame: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inspect/watch/frames").join(name);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(frame == expected, "{} is now\n{frame}", path.display());
}

#[test]
fn a_running_cache_looks_like_this() {
    assert_drawn("running-100x30.txt", &drawn(&running(), (100, 30)));
    assert_drawn("running-80x24.txt", &drawn(&running(), (80, 24)));
    assert_drawn("running-50x12.txt", &drawn(&running(), (50, 12)));
}

#[test]
fn what_is_not_running_says_so_with_its_last_figures() {
    let mut looks = running();
    let last = looks.last_mut().expect("a look");
    last.holder = None;
    last.at_unix_ms += 3_725_000;
    let gone = drawn(&looks, (100, 30));
    assert!(
        gone.lines().next().is_some_and(|line| line.ends_with("○ not running, last seen 2023-11-14 22:13:49 UTC")),
        "{gone}"
    );
    assert!(gone.contains("1 h 2 min old") && gone.contains("2,111,000"), "{gone}");

    let last = looks.last_mut().expect("a look");
    seen(last).header.state = RunState::Closed;
    let closed = drawn(&looks, (100, 30));
    assert!(
        closed.lines().next().is_some_and(|line| line.ends_with("○ not running, closed 2023-11-14 22:13:49 UTC")),
        "{closed}"
    );

    let last = looks.last_mut().expect("a look");
    last.holder = Some(Holder { process_id: 99, holds_lock: true });
    let starting = drawn(&looks, (100, 30));
    assert!(starting.contains("◐ process 99 has opened it, page of 2023-11-14 22:13:49 UTC"), "{starting}");
}

#[test]
fn without_a_page_a_sentence_says_why() {
    for (sight, holder, words) in [
        (Sight::NoPage, None, "No cache is open here"),
        (Sight::NoPage, Some(7), "counters_page is off"),
        (Sight::Foreign, Some(7), "not of this store"),
        (Sight::Unreadable, Some(7), "about a second away"),
        (Sight::Unreadable, None, "nothing is known of the last run"),
    ] {
        let holder = holder.map(|process_id| Holder { process_id, holds_lock: true });
        let frame = drawn(&[Look { at_unix_ms: 5, holder, sight: sight.clone() }], (100, 30));
        assert!(frame.contains(words), "{sight:?}: {frame}");
    }
}

#[test]
fn a_disk_tier_that_is_off_is_seen_at_once_and_says_why() {
    let mut later = stats(31);
    later["disk"]["is_on"] = json!(false);
    later["disk"]["off_because"] = json!("cannot sync segment-0000000501.log");
    let frame = drawn(&[look(30, stats(30)), look(31, later)], (100, 30));
    assert!(frame.contains("disk: off") && frame.contains("OFF: cannot sync segment-0000000501.log"), "{frame}");
}

#[test]
fn windows_have_a_place_once_the_figures_have_them() {
    assert!(!drawn(&running(), (100, 30)).contains("quiet windows"));
    let mut with_windows = stats(31);
    with_windows["windows"] = json!({"found": 12, "moved_bytes": 1_234_567, "is_open": true, "list": [1, 2]});
    let frame = drawn(&[look(31, with_windows)], (100, 36));
    for words in ["quiet windows", "moved bytes", "1,234,567", "is open", "yes", "dropped, by reason"] {
        assert!(frame.contains(words), "{words}: {frame}");
    }
}

#[test]
fn pages_of_other_versions_are_shown_as_far_as_they_are_understood() {
    for stats in [
        Value::Null,
        json!([1, 2]),
        json!({}),
        json!({"requests": 5, "memory": null, "disk": {"hits": -1, "used_bytes": "much"}}),
        json!({"requests": {"hits": 7}, "disk": null, "latency": {"get": {"p99": [1, 2, 3]}}}),
    ] {
        for size in [(100, 30), (80, 24), (50, 12)] {
            let frame = drawn(&[look(30, stats.clone()), look(31, stats.clone())], size);
            assert!(frame.contains("process 4711") && frame.contains('–'), "{stats}: {frame}");
        }
    }
}

#[test]
fn every_size_has_its_frame_and_nothing_stands_beyond_its_edge() {
    for width in (20..=240).step_by(7).chain([75, 76, 79, 80, 100, 500]) {
        for height in [5, 6, 10, 21, 22, 24, 30, 60, 200] {
            let frame = drawn(&running(), (width, height));
            assert_eq!(frame.lines().count(), usize::from(height), "{width}x{height}");
            assert!(frame.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}x{height}: {frame}");
            if width >= 76 && height >= 22 {
                // Every panel is closed at its right, so nothing was pushed out of it.
                let panels = frame.lines().skip(1).take(usize::from(height) - 2);
                assert!(
                    panels.clone().all(|line| line.chars().count() == usize::from(width)),
                    "{width}x{height}: {frame}"
                );
                assert!(panels.clone().all(|line| line.ends_with(['│', '╮', '╯'])), "{width}x{height}: {frame}");
            }
        }
    }
}

#[test]
fn columns_stay_where_they_are_while_figures_grow() {
    let edges = |frame: &str| -> Vec<Vec<usize>> {
        let ends = |line: &str| -> Vec<usize> {
            let cells: Vec<char> = line.chars().collect();
            // Where a number of a column ends.
            (1..cells.len()).filter(|&at| cells[at - 1].is_ascii_digit() && cells[at] == ' ').collect()
        };
        frame.lines().skip(3).take(3).map(ends).collect()
    };
    let frames: Vec<String> = [2, 5, 20, 60, 80]
        .map(|seconds| drawn(&[look(seconds - 1, stats(seconds - 1)), look(seconds, stats(seconds))], (100, 30)))
        .into();
    let firsts: Vec<Vec<usize>> =
        frames.iter().map(|frame| edges(frame).into_iter().map(|ends| ends[0]).collect()).collect();
    assert!(firsts.iter().all(|ends| *ends == firsts[0]), "{firsts:?}\n{}", frames.join("\n"));
}
