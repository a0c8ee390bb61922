//! `emberlog explain` as a user runs it: settings from everywhere, in their order, and mistakes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn emberlog(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberlog"));
    command.arg("explain").args(arguments).env("SHOP_SHARDS", "2").env("SHOP_MEMORY_BYTES", "32MiB");
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_page_in_the_documentation_is_what_is_printed() {
    let output = emberlog(&["--memory", "16MiB", "--disk=1GiB", "--set", "shards=4", "--set=append_buffer_bytes=4MiB"]);
    let page = include_str!("../README.md");
    assert!(page.contains(stdout(&output)), "README.md has another page than\n{}", stdout(&output));
}

#[test]
fn the_command_line_goes_over_the_environment_and_that_over_the_file() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("cache.toml");
    std::fs::write(&path, "memory_bytes = \"8MiB\"\nshards = 1\ntime_to_live = \"1h\"\ndisk_bytes = 67108864\n")
        .unwrap();
    let path = path.to_str().unwrap();
    let output =
        emberlog(&["--config", path, "--env", "SHOP_", "--memory", "16MiB", "--set", "durability=synced", "--json"]);
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    let config = &report["config"];
    assert_eq!((&config["memory_bytes"], &config["shards"]), (&"16MiB".into(), &2.into()));
    assert_eq!((&config["time_to_live"], &config["disk_bytes"]), (&"1h".into(), &"64MiB".into()));
    assert_eq!(config["durability"], "synced");
    assert_eq!(report["split"]["memory"]["limit_bytes"], 16 << 20);

    let toml = emberlog(&["--config", path, "--toml"]);
    assert!(stdout(&toml).contains("time_to_live = \"1h\"\nshards = 1\n"), "{}", stdout(&toml));
}

#[test]
fn mistakes_are_named_with_exit_code_2() {
    for (arguments, named) in [
        (["--set", "shards=0"], "shards = 0 is out of range: 1 to 1024"),
        (["--set", "shard=1"], "shard: there is no such setting"),
        (["--set", "shards"], "KEY=VALUE"),
        (["--memory", "64k"], "KiB"),
        (["--memory", "64KiB"], "the smallest that works is"),
        (["--config", "missing.toml"], "missing.toml"),
    ] {
        let output = emberlog(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(named), "{arguments:?}: {message}");
    }
}
