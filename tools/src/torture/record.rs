//! `--record FILE`: what came of a run goes into a table that others can read, with the commit that was run. No figure in it is typed by hand.
//!
//! Invariant: a row is replaced only by a run of the same mode; all others stay as they are.

use std::path::Path;
use std::process::Command;

use emberlog_torture::{Effort, Mode, Report};

use crate::failure::Failure;
use crate::units::show_count;

/// What stands above the table.
const HEAD: &str = "\
# What was tried

`emberlog torture --record RELIABILITY.md` writes this page; no figure in it is typed by hand. What the modes do is told in `tools/README.md`. A row is
the last recorded run of its mode: with the seed, the form and the commit it can be made again. A *state* is a store as a crash, a failing call or damage
left it, opened and checked; a *value* was served by one and compared byte for byte. *Lost* is the most that one crash took of operations that had
returned and that no flush covered, and the age of the oldest of them; the append buffer of `kill` is 65,536 bytes.

| mode | form | seed | cases | of | states | values | broken promises | lost, bytes | lost, ms | seconds | commit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// Puts a report's modes into the page.
pub(crate) fn record(path: &Path, report: &Report) -> Result<(), Failure> {
    let commit = commit()?;
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
    };
    let modes = if report.modes.is_empty() { std::slice::from_ref(report) } else { &report.modes };
    std::fs::write(path, page(&before, modes, &commit))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn page(before: &str, reports: &[Report], commit: &str) -> String {
    let mut text = HEAD.to_owned();
    for mode in Mode::EACH {
        let start = format!("| {mode} |");
        if let Some(report) = reports.iter().find(|report| report.mode == mode) {
            text += &row(report, commit);
        } else if let Some(row) = before.lines().find(|line| line.starts_with(&start)) {
            text += &format!("{row}\n");
        }
    }
    text
}

fn row(report: &Report, commit: &str) -> String {
    let form = match report.effort {
        Effort::Quick => "quick",
        Effort::Long => "long",
    };
    let planned = report.runs_planned.map_or_else(|| "–".to_owned(), show_count);
    format!(
        "| {} | {form} | {} | {} | {planned} | {} | {} | {} | {} | {} | {} | {commit} |\n",
        report.mode,
        report.seed,
        show_count(report.runs),
        show_count(report.crash_points),
        show_count(report.values_checked),
        report.violations.len(),
        show_count(report.lost_unflushed_max_bytes),
        show_count(report.lost_unflushed_max_ms),
        show_count(report.elapsed_ms / 1000),
    )
}

/// The commit of the working directory's repository, which has to be the one that this program was built from.
fn commit() -> Result<String, Failure> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output();
        let output = output
            .map_err(|error| Failure::new(format!("--record names the commit, and git cannot be run: {error}")))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => {
                Err(Failure::new("--record names the commit: run it in the repository that the program was built from"))
            }
        }
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // The page itself changes with each run.
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!*RELIABILITY.md"])?;
    Ok(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use emberlog_torture::Options;

    #[test]
    fn a_run_replaces_its_own_row_and_no_other() {
        let run = |mode, seed| {
            let mut options = Options::new(mode, seed);
            options.runs = Some(2);
            emberlog_torture::run(&options, &())
        };
        let (power, cut) = (run(Mode::Power, 3), run(Mode::Truncate, 4));
        let first = page("", &[power.clone(), cut], "abc");
        let rows = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| line.contains(" | abc |") || line.contains(" | def |"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(rows(&first).len(), 2);
        assert!(rows(&first)[0].starts_with("| power | quick | 3 | 2 |"), "{first}");
        let second = page(&first, &[power], "def");
        assert!(second.starts_with(HEAD));
        assert_eq!(rows(&second)[1], rows(&first)[1], "the other mode's row stays as it was");
        assert!(rows(&second)[0].ends_with("| def |"), "{second}");
    }
}
