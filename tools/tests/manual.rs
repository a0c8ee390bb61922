//! Completions and man pages as users have them: read by the real shell, judged by the real formatters.
//!
//! Where a formatter or shell is not installed, a test says SKIPPED on stderr for it; at least one formatter and
//! bash must be there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const COMMANDS: [&str; 8] = ["inspect", "verify", "dump", "explain", "replay", "torture", "completions", "man"];

fn emberlog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberlog")).args(arguments).output().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = emberlog(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a program says, or nothing, loudly, if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Not through the test harness, which would keep it to itself.
            let mut err = std::io::stderr();
            writeln!(err, "SKIPPED: {program} is not installed, so part of this test did not run").unwrap();
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// The candidates that bash offers for the last word.
fn complete(script: &Path, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, previous) = (words[words.len() - 1], words[words.len() - 2]);
    let line = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; \
         $(complete -p emberlog | sed 's/.*-F \\([^ ]*\\).*/\\1/') emberlog '{last}' '{previous}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        quoted.join(" "),
        words.len() - 1,
    );
    let output = run("bash", &["--norc", "-c", &line]).expect("bash is needed to test its completions");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && problem.is_empty(), "{problem}");
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("emberlog.bash");
    std::fs::write(&script, stdout(&["completions", "bash"])).unwrap();
    assert_eq!(complete(&script, &["emberlog", "insp"]), ["inspect"]);
    assert_eq!(complete(&script, &["emberlog", "inspect", "--js"]), ["--json"]);
    assert_eq!(complete(&script, &["emberlog", "replay", "--restart", ""]), ["kill", "close"]);
    assert_eq!(complete(&script, &["emberlog", "replay", "--format", "m"]), ["monitor"]);
    let all = complete(&script, &["emberlog", ""]);
    for command in COMMANDS {
        assert!(all.iter().any(|candidate| candidate == command), "{command} is not in {all:?}");
    }
    assert!(!all.iter().any(|candidate| candidate == "replay-child"), "what is not for users is not offered: {all:?}");
}

#[test]
fn every_shell_gets_a_script_that_it_can_read() {
    let place = tempfile::tempdir().unwrap();
    for (shell, checker) in [
        ("bash", Some(("bash", "-n"))),
        ("zsh", Some(("zsh", "-n"))),
        ("fish", Some(("fish", "-n"))),
        ("elvish", None),
        ("powershell", None),
    ] {
        let script = stdout(&["completions", shell]);
        for word in COMMANDS.iter().chain(&["skip-bad", "salvage"]) {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let path = place.path().join(shell);
        std::fs::write(&path, script).unwrap();
        let Some((program, flag)) = checker else { continue };
        if let Some(output) = run(program, &[flag, path.to_str().unwrap()]) {
            let problem = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && problem.is_empty(), "{shell}: {problem}");
        }
    }
    let output = emberlog(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("powershell"));
}

#[test]
fn there_is_a_sound_page_for_each_command_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("share/man1");
    assert_eq!(stdout(&["man", "--out", dir.to_str().unwrap()]), "");
    let mut names: Vec<String> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> = COMMANDS.iter().map(|command| format!("emberlog-{command}.1")).collect();
    expected.push("emberlog.1".into());
    expected.sort();
    assert_eq!(names, expected);
    let mut judge_count = 0;
    for name in names {
        let path = dir.join(&name);
        let path = path.to_str().unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            let section = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(section.iter().any(|head| page.contains(head)), "{name} has no {section:?}");
        }
        for (program, arguments) in
            [("mandoc", &["-Tlint", "-W", "warning", path][..]), ("groff", &["-man", "-ww", "-z", "-Tutf8", path])]
        {
            let Some(output) = run(program, arguments) else { continue };
            judge_count += 1;
            let said = [output.stdout, output.stderr].concat();
            assert!(said.is_empty(), "{program} of {name}: {}", String::from_utf8_lossy(&said));
        }
    }
    if judge_count == 0 {
        let mut err = std::io::stderr();
        writeln!(err, "SKIPPED: with neither mandoc nor groff nobody judged the man pages").unwrap();
    }
}

#[test]
fn one_page_goes_to_stdout_and_an_unknown_one_is_refused() {
    assert!(stdout(&["man"]).contains(".TH EMBERLOG 1 "));
    let page = stdout(&["man", "replay"]);
    assert!(page.contains(".TH EMBERLOG-REPLAY 1 ") && page.contains("redis\\-cli monitor"), "{page}");
    let output = emberlog(&["man", "replay-child"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are inspect, verify"));
}

#[test]
fn help_of_each_command_tells_exit_codes_and_examples_that_parse() {
    for command in COMMANDS {
        let help = stdout(&[command, "--help"]);
        assert!(help.contains("Exit codes:\n  0  ") && help.contains("  2  "), "{help}");
        assert!(help.contains(&format!("emberlog {command} ")), "{help}");
        assert!(stdout(&[command, "-h"]).lines().count() < 60, "-h fits a terminal or two");
        for line in help.lines().filter_map(|line| line.strip_prefix("  emberlog ")) {
            // Up to what is the shell's.
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| !["|", ">", "&&"].contains(word)).collect();
            let output = emberlog(&[&words[..], &["--help"]].concat());
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            let flags = words.iter().filter(|word| word.starts_with("--"));
            for flag in flags {
                assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{line}: {flag}");
            }
        }
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure_and_a_full_disk_is() {
    for command in [&["explain"][..], &["explain", "--json"], &["man", "replay"], &["completions", "bash"]] {
        let run = |stdout: Stdio| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_emberlog"));
            program.args(command).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(writer.into());
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{command:?}");
        let output = run(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout: No space"), "{command:?}");
    }
}
