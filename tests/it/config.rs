//! Settings as files and variables say them: they come back as written, mistakes are named with what is allowed, and what is explained is what is taken.

use crate::support::{Rng, cases};
use emberlog::disk::SimDisk;
use emberlog::{Cache, Config, Durability, ErrorKind, Maintenance, QuietWindows, ReadMode, Split, WhenBehind};
use std::sync::Arc;
use std::time::Duration;

fn optional<T>(rng: &mut Rng, value: T) -> Option<T> {
    (rng.below(2) == 1).then_some(value)
}

/// Any length at all: settings are read before they are checked.
fn length(rng: &mut Rng) -> u64 {
    let shift = rng.below(64);
    match rng.below(3) {
        0 => rng.next() >> shift,
        1 => rng.below(1000) << (10 * rng.below(4)),
        _ => rng.below(1000) * 10u64.pow(rng.below(10) as u32),
    }
}

fn random_config(rng: &mut Rng) -> Config {
    let mut config = Config::default();
    config.memory_bytes = length(rng);
    config.disk_bytes = length(rng);
    config.durability = rng.pick(&[Durability::Buffered, Durability::Written, Durability::Synced]);
    config.when_behind = rng.pick(&[WhenBehind::Wait, WhenBehind::Drop]);
    config.maintenance = rng.pick(&[Maintenance::Background, Maintenance::Manual]);
    config.read_mode = rng.pick(&[ReadMode::Mapped, ReadMode::Pread]);
    let time_to_live = Duration::new(length(rng), rng.below(1000) as u32 * rng.pick(&[0, 1, 1_000_000]));
    config.time_to_live = optional(rng, time_to_live);
    let (shards, lengths) = (rng.below(2000) as usize, [length(rng), length(rng), length(rng)]);
    config.shards = optional(rng, shards);
    config.segment_len_bytes = optional(rng, lengths[0]);
    config.append_buffer_bytes = optional(rng, lengths[1]);
    config.disk_index_bytes = optional(rng, lengths[2]);
    config.expected_entry_bytes = length(rng);
    config.sample_one_in = rng.pick(&[0, 1, 256, 1 << 20, u32::MAX]);
    config.counters_page = rng.pick(&[true, false]);
    config.reinsert_percent = (rng.next() >> 32) as u32;
    config.write_overhead_percent = (rng.next() >> 32) as u32;
    config.reinsert_bytes_per_s = length(rng);
    config.quiet_windows = rng.pick(&[QuietWindows::Detected, QuietWindows::Always, QuietWindows::Asked]);
    config
}

/// Every key with a value that is not its default.
fn full_config() -> Config {
    let mut config = Config::default();
    for (key, text) in WORDS {
        config.set(key, text).expect("a word of this key");
    }
    config
}

const WORDS: [(&str, &str); 18] = [
    ("memory_bytes", "8MiB"),
    ("disk_bytes", "100MB"),
    ("durability", "synced"),
    ("when_behind", "drop"),
    ("maintenance", "manual"),
    ("read_mode", "pread"),
    ("time_to_live", "90s"),
    ("shards", "2"),
    ("segment_len_bytes", "256KiB"),
    ("append_buffer_bytes", "64KiB"),
    ("disk_index_bytes", "128KiB"),
    ("expected_entry_bytes", "1kB"),
    ("sample_one_in", "64"),
    ("counters_page", "false"),
    ("reinsert_percent", "35"),
    ("write_overhead_percent", "40"),
    ("reinsert_bytes_per_s", "5MB"),
    ("quiet_windows", "always"),
];

// -- there and back

#[test]
fn settings_come_back_from_json_as_they_were() {
    cases(21, 2_000, |mut rng| {
        let config = random_config(&mut rng);
        let text = serde_json::to_string(&config).expect("settings can be written");
        let back: Config = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(back, config, "{text}");
    });
}

#[cfg(feature = "toml")]
#[test]
fn settings_come_back_from_toml_as_they_were() {
    cases(22, 2_000, |mut rng| {
        let config = random_config(&mut rng);
        let text = config.to_toml_string();
        let back = Config::from_toml_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(back, config, "{text}");
    });
}

#[test]
fn the_names_of_settings_are_those_that_are_written() {
    let written = serde_json::to_value(full_config()).expect("settings can be written");
    let written = written.as_object().expect("one object");
    let mut keys = Config::KEYS.to_vec();
    keys.sort_unstable();
    let mut names: Vec<&str> = written.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, keys);
    for (key, text) in WORDS {
        assert_eq!(written[key].to_string().trim_matches('"'), text, "{key}: the shortest text");
        let mut config = full_config();
        config.set(key, "default").expect("every key has a default");
        let mut expected = Config::default();
        for (other, text) in WORDS.iter().filter(|(other, _)| *other != key) {
            expected.set(other, text).expect("a word of this key");
        }
        assert_eq!(config, expected, "{key}: only this one is set back");
    }
}

#[test]
fn lengths_are_numbers_or_text_and_durations_are_text() {
    let read = |text: &str| serde_json::from_str::<Config>(text);
    assert_eq!(read(r#"{"memory_bytes": 4096}"#).expect("a number").memory_bytes, 4096);
    assert_eq!(read(r#"{"segment_len_bytes": "1.5MiB"}"#).expect("text").segment_len_bytes, Some(3 << 19));
    assert_eq!(read(r#"{"segment_len_bytes": null}"#).expect("nothing").segment_len_bytes, None);
    assert_eq!(read("{}").expect("nothing at all"), Config::default());
    for (text, named) in [
        (r#"{"memory_bytes": -1}"#, "negative"),
        (r#"{"memory_bytes": 1.5}"#, "256MiB"),
        (r#"{"memory_bytes": "64m"}"#, "MiB"),
        (r#"{"time_to_live": 90}"#, "90s"),
        (r#"{"time_to_live": "90"}"#, "90s"),
        (r#"{"durability": "eternal"}"#, "`synced`"),
        (r#"{"quiet_windows": "never"}"#, "`asked`"),
        (r#"{"memory": 1}"#, "`memory`"),
    ] {
        let message = read(text).expect_err(text).to_string();
        assert!(message.contains(named), "{text}: {message}");
    }
}

#[cfg(feature = "toml")]
#[test]
fn a_mistake_in_a_file_is_named_with_the_file_and_the_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache.toml");
    std::fs::write(&path, "memory_bytes = \"8MiB\"\nmemory_byte = \"9MiB\"\n").expect("written");
    let error = Config::from_toml_file(&path).expect_err("an unknown key");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    for named in ["cache.toml", "`memory_byte`", "line 2"] {
        assert!(error.to_string().contains(named), "{error}");
    }
    std::fs::write(&path, "memory_bytes = \"8 apples\"").expect("written");
    let error = Config::from_toml_file(&path).expect_err("not a length");
    assert!(error.to_string().contains("memory_bytes") && error.to_string().contains("apples"), "{error}");
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).expect("written");
    let error = Config::from_toml_file(&path).expect_err("too long");
    assert!(error.to_string().contains("longer than"), "{error}");
    let error = Config::from_toml_file(directory.path().join("none.toml")).expect_err("no such file");
    assert!(error.kind() == ErrorKind::InvalidConfig && error.to_string().contains("none.toml"), "{error}");
    std::fs::write(&path, full_config().to_toml_string()).expect("written");
    assert_eq!(Config::from_toml_file(&path).expect("what was written"), full_config());
}

// -- the environment

#[test]
fn variables_go_over_the_file_and_the_file_over_the_defaults() {
    let mut file = Config::default();
    file.memory_bytes = 8 << 20;
    file.shards = Some(4);
    file.time_to_live = Some(Duration::from_secs(1));
    let variables = [("E_MEMORY_BYTES", "16MiB"), ("E_TIME_TO_LIVE", "default"), ("PATH", "/bin"), ("SHARDS", "9")];
    let config = file.with_variables("E_", variables).expect("known names");
    let mut expected = Config::default();
    expected.memory_bytes = 16 << 20;
    expected.shards = Some(4);
    assert_eq!(config, expected);

    let all = WORDS.map(|(key, text)| (format!("E_{}", key.to_uppercase()), text));
    assert_eq!(Config::default().with_variables("E_", all).expect("every key"), full_config());
}

#[test]
fn every_wrong_variable_is_named() {
    let variables =
        [("E_MEMORY", "1"), ("E_DISK_BYTES", "lots"), ("E_shards", "1"), ("E_", "1"), ("E_MAINTENANCE", "never")];
    let error = Config::default().with_variables("E_", variables).expect_err("all of them are wrong");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let message = error.to_string();
    for named in ["E_MEMORY: ", "E_DISK_BYTES: ", "\"lots\"", "E_shards: ", "E_: ", "E_MAINTENANCE: ", "`manual`"] {
        assert!(message.contains(named), "{named}: {message}");
    }
    assert!(message.contains("MEMORY_BYTES, DISK_BYTES, "), "it says which there are: {message}");
    assert!(Config::default().with_variables("", [("HOME", "/")]).is_err(), "every variable would be a setting");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let raw = std::ffi::OsStr::from_bytes(b"\xff");
        assert!(Config::default().with_variables("E_", [("E_SHARDS", raw)]).is_err());
        assert!(Config::default().with_variables("E_", [(raw, raw)]).is_ok(), "somebody else's");
    }
}

#[test]
fn builder_and_config_are_one() {
    assert_eq!(*Cache::builder().as_config(), Config::default());
    let builder = Cache::builder()
        .memory_bytes(8 << 20)
        .disk_bytes(100_000_000)
        .durability(Durability::Synced)
        .when_behind(WhenBehind::Drop)
        .maintenance(Maintenance::Manual)
        .read_mode(ReadMode::Pread)
        .time_to_live(Duration::from_secs(90))
        .shards(2)
        .segment_len_bytes(256 << 10)
        .append_buffer_bytes(64 << 10)
        .disk_index_bytes(128 << 10)
        .expected_entry_bytes(1000)
        .sample_one_in(64)
        .counters_page(false)
        .reinsert_percent(35)
        .write_overhead_percent(40)
        .reinsert_bytes_per_s(5_000_000)
        .quiet_windows(QuietWindows::Always);
    assert_eq!(*builder.as_config(), full_config());
    assert_eq!(*full_config().builder().as_config(), full_config());
    assert_eq!(*builder.config(Config::default()).as_config(), Config::default());
}

// -- what works

/// Settings that work, for changing one key.
fn sound() -> Config {
    let mut config = full_config();
    config.disk_bytes = 64 << 20;
    config.validate().expect("these work");
    config
}

#[test]
fn each_value_out_of_range_is_named_with_its_key_and_what_is_allowed() {
    // key, the last value that is too small, the first that works, the last that works, the first that is too large, what the message says
    let table = [
        ("shards", "0", "1", "16", "1025", ["0 is out of range: 1 to 1024", "1025 is out of range: 1 to 1024"]),
        (
            "expected_entry_bytes",
            "0",
            "1",
            "1GiB",
            "1073741825",
            ["0B is out of range: 1B to 1GiB", "1073741825B is out of range: 1B to 1GiB"],
        ),
        (
            "segment_len_bytes",
            "65535",
            "64KiB",
            "15MiB",
            "1073741825",
            ["65535B is out of range: 64KiB to 1GiB", "1073741825B is out of range: 64KiB to 1GiB"],
        ),
        (
            "append_buffer_bytes",
            "16383",
            "16KiB",
            "1MiB",
            "1073741825",
            ["16383B is out of range: 16KiB to 1GiB", "1073741825B is out of range: 16KiB to 1GiB"],
        ),
        (
            "disk_index_bytes",
            "4095",
            "4KiB",
            "7MiB",
            "4398046511105",
            ["4095B is out of range: 4KiB to 4TiB", "4398046511105B is out of range: 4KiB to 4TiB"],
        ),
        (
            "time_to_live",
            "999us",
            "1ms",
            "49710d",
            "49711d",
            ["999us is out of range: 1ms to 49710d", "49711d is out of range: 1ms to 49710d"],
        ),
        (
            "disk_bytes",
            "1147903",
            "1147904",
            "2046MiB",
            "2145386497",
            [
                "1147903B is too small for segments of 256KiB: the smallest that works is 1147904 (1121KiB), the largest 2046MiB, or segment_len_bytes from 64KiB to 252KiB",
                "2145386497B is too large for segments of 256KiB: from 1121KiB to 2046MiB, which are 8184 of them, or segment_len_bytes from 260KiB to 523240KiB",
            ],
        ),
        (
            "memory_bytes",
            "500kB",
            "2MiB",
            "4TiB",
            "4398046511105",
            ["500kB is too small for these settings: the smallest that works is ", "4398046511105B is out of range: "],
        ),
    ];
    let in_range = |key: &str, texts: &[&str]| {
        for text in texts {
            let mut config = sound();
            config.set(key, text).expect("text of this key");
            config.validate().unwrap_or_else(|error| panic!("{key} = {text}: {error}"));
        }
    };
    let out_of_range = |key: &str, text: &str, expected: &str| {
        let mut config = sound();
        config.set(key, text).expect("text of this key");
        let error = config.validate().expect_err(key);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let expected = format!("{key} = {expected}");
        assert!(error.to_string().starts_with(&expected), "{error}\nis not\n{expected}");
    };
    // Those of which nothing is too small.
    let from_zero = [
        ("reinsert_percent", "100", "300", "300 is out of range: 0 to 100"),
        ("write_overhead_percent", "1000", "1001", "1001 is out of range: 0 to 1000"),
        ("reinsert_bytes_per_s", "1TiB", "1099511627777", "1099511627777B is out of range: 0B to 1TiB"),
    ];
    for (key, most, above, message) in from_zero {
        in_range(key, &["0", most]);
        out_of_range(key, above, message);
    }
    for (key, below, least, most, above, messages) in table {
        in_range(key, &[least, most]);
        for (bad, expected) in [below, above].into_iter().zip(messages) {
            out_of_range(key, bad, expected);
        }
    }
    for good in ["0", "1", "1048576"] {
        let mut config = sound();
        config.set("sample_one_in", good).expect("a number");
        config.validate().unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    let mut config = sound();
    config.set("sample_one_in", "1048577").expect("a number");
    let error = config.validate().expect_err("more than is allowed").to_string();
    assert!(error.starts_with("sample_one_in = 1048577 is out of range: 0 to 1048576"), "{error}");
    // Every key that has a range is in the table.
    let words =
        ["durability", "when_behind", "maintenance", "read_mode", "quiet_windows", "sample_one_in", "counters_page"];
    assert_eq!(table.len() + from_zero.len() + words.len(), Config::KEYS.len());
}

#[test]
fn what_is_named_instead_works() {
    let behind = |message: &str, words: &str| -> String {
        let rest = message.split(words).nth(1).unwrap_or_else(|| panic!("{words}: {message}"));
        rest.split([' ', ',']).next().expect("a first word").to_owned()
    };
    for (key, value) in [("append_buffer_bytes", "16MiB"), ("disk_index_bytes", "9MiB")] {
        let mut config = sound();
        config.set(key, value).expect("text of this key");
        let message = config.validate().expect_err("more than there is memory").to_string();
        let most = behind(&message, &format!("{key} from {} to ", if key.starts_with('a') { "16KiB" } else { "4KiB" }));
        let smallest: u64 = behind(&message, "works is ").parse().expect("a number");
        let mut larger = config.clone();
        larger.memory_bytes = smallest;
        larger.validate().expect("the smallest that is named works");
        larger.memory_bytes -= 1024;
        larger.validate().expect_err("and it is the smallest");
        config.set(key, &most).expect("a length");
        config.validate().unwrap_or_else(|error| panic!("{message}: {error}"));
        let most = emberlog::units::parse_bytes(&most).expect("a length");
        config.set(key, &(most + 16 * 1024).to_string()).expect("a length");
        config.validate().expect_err("and it is about the largest");
    }
    for disk in ["1MB", "8GiB"] {
        let mut config = sound();
        config.set("disk_bytes", disk).expect("a length");
        let message = config.validate().expect_err("a few segments, or too many").to_string();
        let low = behind(&message, "segment_len_bytes from ");
        let high = behind(&message, &format!("segment_len_bytes from {low} to "));
        for length in [&low, &high] {
            config.set("segment_len_bytes", length).expect("a length");
            if let Err(error) = config.validate() {
                // Many segments take memory for their states.
                assert!(error.to_string().starts_with("memory_bytes"), "{message}: {error}");
            }
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut config = Config::default();
    for (key, text) in [
        ("memory_bytes", "1KiB"),
        ("disk_bytes", "1KiB"),
        ("shards", "0"),
        ("expected_entry_bytes", "0"),
        ("segment_len_bytes", "1"),
        ("append_buffer_bytes", "1"),
        ("disk_index_bytes", "1"),
        ("time_to_live", "0s"),
    ] {
        config.set(key, text).expect("text of this key");
    }
    let message = config.validate().expect_err("nothing is right").to_string();
    assert_eq!(message.split("; ").count(), 8, "{message}");
    assert_eq!(config.clone().open("/nowhere/at/all").expect_err("the same").to_string(), message);
    // Without a disk tier its settings do not count.
    let message = config.builder().open_memory_only().expect_err("the rest").to_string();
    assert_eq!(message.split("; ").count(), 4, "{message}");
    assert!(["shards", "expected_entry_bytes", "time_to_live", "memory_bytes"].iter().all(|key| message.contains(key)));
}

#[test]
fn any_settings_are_explained_or_refused() {
    cases(23, 3_000, |mut rng| {
        let config = random_config(&mut rng);
        match config.explain() {
            Ok(explanation) => {
                assert_sums(&explanation.split);
                assert!(!explanation.to_string().is_empty());
            }
            Err(error) => assert_eq!(error.to_string(), config.validate().expect_err("the same").to_string()),
        }
    });
}

// -- what they come to

fn assert_sums(split: &Split) {
    let (memory, disk) = (&split.memory, &split.disk);
    let sum = memory.entries_bytes
        + memory.index_bytes
        + memory.ghost_bytes
        + memory.disk_index_bytes
        + memory.append_buffer_bytes
        + memory.staging_bytes
        + memory.segment_states_bytes
        + memory.working_bytes
        + memory.statistics_bytes
        + memory.fixed_bytes
        + memory.rest_bytes;
    assert_eq!(sum, memory.limit_bytes, "{memory:?}");
    let sum = disk.segments_bytes
        + disk.spare_bytes
        + disk.slack_bytes
        + disk.warm_list_bytes
        + disk.overhead_bytes
        + disk.rest_bytes;
    assert_eq!(sum, disk.limit_bytes, "{disk:?}");
    assert_eq!(disk.segment_count * disk.segment_len_bytes, disk.segments_bytes);
    assert!(disk.segment_count >= 3, "one is written, one waits for its footer, one goes: {disk:?}");
    assert!(disk.entry_count <= disk.room_for_entries.min(disk.index_entry_count));
}

#[test]
fn the_parts_sum_to_the_budgets_and_more_of_them_holds_no_less() {
    for memory_kib in [700u64, 1 << 10, 5 << 10, 8 << 10, 32 << 10, 1 << 20] {
        for entry in [1u64, 64, 1024, 1 << 20] {
            let mut room = 0;
            for disk_mib in [1u64, 8, 32, 512, 10 << 10, 1 << 20] {
                let mut config = Config::default();
                config.memory_bytes = memory_kib << 10;
                config.disk_bytes = disk_mib << 20;
                config.expected_entry_bytes = entry;
                let Ok(explanation) = config.explain() else { continue };
                let what = format!("{memory_kib} KiB, {disk_mib} MiB, {entry} B");
                assert_sums(&explanation.split);
                assert!(explanation.split.disk.room_for_entries >= room, "{what}");
                room = explanation.split.disk.room_for_entries;
                assert_eq!(explanation.others.len(), 4);
                for other in &explanation.others {
                    assert_eq!(other.split.is_none(), other.problem.is_some(), "{what}: {}", other.change);
                    let Some(split) = &other.split else { continue };
                    assert_sums(split);
                    assert_eq!(
                        (split.memory.limit_bytes, split.disk.limit_bytes),
                        (other.memory_bytes, other.disk_bytes)
                    );
                }
            }
        }
    }
}

fn opened(config: &Config) -> Cache {
    let builder = config.clone().builder().maintenance(Maintenance::Manual).random_seed(1);
    builder.open_on(Arc::new(SimDisk::new(1))).expect("settings that work")
}

#[test]
fn what_is_explained_is_what_an_open_takes() {
    for (memory_mib, disk_mib) in [(1, 4), (4, 16), (16, 8)] {
        let mut config = Config::default();
        config.memory_bytes = memory_mib << 20;
        config.disk_bytes = disk_mib << 20;
        let split = config.explain().expect("settings that work").split;
        let cache = opened(&config);
        let accounts = cache.stats().memory.accounts;
        let memory = &split.memory;
        assert_eq!(accounts.append_buffer, memory.append_buffer_bytes + memory.staging_bytes);
        assert_eq!(accounts.disk_index, memory.disk_index_bytes);
        assert_eq!(accounts.statistics, memory.statistics_bytes);
        assert_eq!(accounts.fixed, memory.segment_states_bytes + memory.working_bytes + memory.fixed_bytes);
        let tier = memory.entries_bytes + memory.index_bytes + memory.ghost_bytes;
        assert!((tier..=tier + memory.rest_bytes).contains(&accounts.memory_tier), "{accounts:?}, {memory:?}");
    }
}

#[test]
fn as_many_entries_are_held_as_was_said_and_the_largest_is_taken() {
    for entry_bytes in [64u64, 256, 2000] {
        let mut config = Config::default();
        config.memory_bytes = 4 << 20;
        config.disk_bytes = 8 << 20;
        config.expected_entry_bytes = entry_bytes;
        config.shards = Some(1);
        // Short ones, so that it matters little how full the active one is.
        config.segment_len_bytes = Some(128 << 10);
        // A length whose eighth, which values leave alone, is no whole number of records' steps.
        config.append_buffer_bytes = Some((128 << 10) + 16);
        let split = config.explain().expect("settings that work").split;
        let cache = opened(&config);
        let value = vec![7; entry_bytes as usize - 8];
        let count = 3 * (8 << 20) / entry_bytes;
        for key in 0..count {
            assert!(cache.insert(key.to_le_bytes(), &value).disk.is_stored());
        }
        let stats = cache.stats();
        // Said is without the spare, the room kept ahead, the warm list and half of the active one: of sixty segments four.
        let near = |held: u64, said: u64, what: &str| {
            assert!(held * 100 >= said * 95 && held * 100 <= said * 108, "{entry_bytes} B {what}: {held}, said {said}");
        };
        near(stats.memory.entries, split.memory.entry_count, "in memory");
        near(stats.disk.expect("a disk tier").entries, split.disk.entry_count, "on disk");

        for (in_memory, largest) in [(true, split.memory.largest_entry_bytes), (false, split.disk.largest_entry_bytes)]
        {
            // In memory room for a long header is left; on disk it is exact.
            for (beyond, stored) in [(0, true), (if in_memory { 32 } else { 1 }, false)] {
                let outcome = cache.insert(b"largest!", vec![1; (largest + beyond) as usize - 8]);
                let tier = if in_memory { outcome.memory } else { outcome.disk };
                assert_eq!(
                    tier.is_stored(),
                    stored,
                    "in memory {in_memory}: {largest} bytes and {beyond}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn an_explanation_reads_like_this() {
    let mut config = Config::default();
    config.memory_bytes = 16 << 20;
    config.disk_bytes = 1 << 30;
    config.shards = Some(4);
    config.append_buffer_bytes = Some(4 << 20);
    let text = config.explain().expect("settings that work").to_string();
    let expected = include_str!("explanation.txt");
    assert!(text == expected, "is now\n{text}\nif that is meant, it belongs into tests/it/explanation.txt");
    let json = serde_json::to_value(config.explain().expect("settings that work")).expect("it can be written");
    assert_eq!(json["split"]["memory"]["append_buffer_bytes"], 4 << 20);
    assert_eq!(json["config"]["append_buffer_bytes"], "4MiB");
    assert_eq!(json["others"][0]["change"], "memory / 2");
}
