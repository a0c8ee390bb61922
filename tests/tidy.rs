//! The house rules that a compiler does not know: who may import whom, who may name what, and which words mean what.
//!
//! Each rule is a function over a file's path and text that gives complaints, so that each can be shown to find something. A complaint says how to
//! mend it. The floor table below is the one place that says what is above what.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Modules by floor. A module imports only from floors below its own; on floor 0 each other too.
const FLOORS: &[(u32, &[&str])] = &[
    (0, &["error", "sync", "clock", "budget", "counters", "hash", "histogram", "random", "units"]),
    (1, &["format", "policy"]),
    (2, &["disk"]),
    (3, &["log", "ring"]),
    (4, &["index"]),
    (5, &["shard", "recovery"]),
    (6, &["compaction"]),
    (7, &["cache", "observe"]),
    (8, &["metrics", "typed"]),
    (9, &["guide"]),
];

/// The only files with unsafe code.
const UNSAFE_FILES: &[&str] = &["src/disk/mapping.rs"];

/// Words that only one place may name, where that is, and what others use instead.
const HOMES: &[(&[&str], &[&str], &str)] = &[
    (
        &["std::fs", "rustix::fs", "memmap2", "fs2::", "libc::"],
        &["src/disk/"],
        "go through `disk::Disk` and `disk::DiskFile`, so that the simulated disk can stand in",
    ),
    (
        &["std::sync", "std::thread", "parking_lot", "loom::"],
        &["src/sync.rs"],
        "use what `crate::sync` offers, or add it there, so that loom can stand in",
    ),
];

/// Words that the glossary has another for.
const WRONG_WORDS: &[(&str, &str)] = &[
    ("garbage collect", "compaction"),
    ("hit rate", "hit ratio"),
    ("miss rate", "miss ratio"),
    ("sequence id", "seqno"),
    ("log file", "segment"),
    ("quiet period", "quiet window"),
    ("cache entry on disk", "record"),
];

const LINES_MAX: usize = 1000;

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Lines with their numbers, comments and what is in test modules left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests_only = self.path.ends_with("tests.rs") || self.path.contains("/tests/");
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        // Tests come last in a file.
        lines
            .take_while(move |(_, line)| !tests_only && !is_test_module(line))
            .map(|(number, line)| (number, line.split("//").next().unwrap_or("")))
    }

    fn complain(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn is_test_module(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,")
}

fn floor_of(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// The names that follow `crate::` in a line, those in braces too.
fn imported(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        // Not `$crate::`, nor the end of a longer name.
        if line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(|part| name(part.trim())).filter(|name| !name.is_empty())),
            None => found.push(name(rest)),
        }
    }
    found
}

/// Imports go down. Pages import nothing.
fn floors(source: &Source) -> Vec<String> {
    let inside = source.path.strip_prefix("src/").filter(|path| path.ends_with(".rs"));
    let Some(inside) = inside else { return Vec::new() };
    let module = inside.split(['/', '.']).next().unwrap();
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = floor_of(module) else {
        return vec![source.complain(1, "this module is on no floor; give it one in FLOORS of tests/tidy.rs")];
    };
    let mut complaints = Vec::new();
    for (line, code) in source.code() {
        if code.trim_end().ends_with("crate::{") {
            complaints.push(source.complain(line, "write one `use crate::module::…` a module: this rule reads lines"));
        }
        for name in imported(code).into_iter().filter(|name| name != module) {
            // Re-exports at the root stand for the modules below: types of the public face.
            let Some(other) = floor_of(&name).or_else(|| root_export_floor(&name)) else {
                let what = format!("`crate::{name}` is on no floor; name its module instead");
                complaints.push(source.complain(line, &what));
                continue;
            };
            if other >= own && !(other == 0 && own == 0) && !is_sibling_allowed(module, &name) {
                let what = format!(
                    "`{module}` is on floor {own} and imports `{name}` from floor {other}: move what both need to a lower \
                     floor, or pass it in as an argument or a trait"
                );
                complaints.push(source.complain(line, &what));
            }
        }
    }
    complaints
}

/// Types that lib.rs re-exports and that lower floors name by their short path.
fn root_export_floor(name: &str) -> Option<u32> {
    ["Error", "ErrorKind", "Clock"].contains(&name).then_some(0)
}

/// Statistics are plain data that the cache fills in.
fn is_sibling_allowed(module: &str, other: &str) -> bool {
    module == "cache" && other == "observe"
}

/// Words that have one home. Examples on pages are a user's code.
fn homes(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/") || !source.path.ends_with(".rs") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (line, code) in source.code() {
        for (words, places, instead) in HOMES {
            for word in words.iter().filter(|word| code.contains(**word)) {
                if !places.iter().any(|place| source.path.starts_with(place)) {
                    let what = format!("`{word}` is named outside {}: {instead}", places.join(", "));
                    complaints.push(source.complain(line, &what));
                }
            }
        }
    }
    complaints
}

/// Unsafe code is where it is allowed, tests included.
fn unsafe_code(source: &Source) -> Vec<String> {
    let is_code =
        ["src/", "tools/", "tests/", "benches/", "examples/"].iter().any(|place| source.path.starts_with(place));
    if !is_code || !source.path.ends_with(".rs") || UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let word = ["un", "safe"].concat();
    let is_unsafe = |line: &str| {
        let code = line.split("//").next().unwrap_or("");
        let lint = format!("allow({word}_code");
        code.contains(&lint)
            || [" {", " fn", " impl", " trait", " extern"].iter().any(|next| code.contains(&format!("{word}{next}")))
    };
    let lines = source.text.lines().enumerate().filter(|(_, line)| is_unsafe(line));
    let what =
        "unsafe code outside UNSAFE_FILES of tests/tidy.rs: say it in safe Rust, or move it to src/disk/mapping.rs";
    lines.map(|(index, _)| source.complain(index + 1, what)).collect()
}

/// Files say what they are, and are no longer than one can read.
fn shape(source: &Source) -> Vec<String> {
    let is_ours = ["src/", "tools/", "tests/", "fuzz/", "benches/", "examples/"]
        .iter()
        .any(|place| source.path.starts_with(place));
    if !is_ours || !source.path.ends_with(".rs") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let line_count = source.text.lines().count();
    if source.path.starts_with("src/") && line_count > LINES_MAX {
        let what = format!("{line_count} lines are more than {LINES_MAX}: split it, one noun a file");
        complaints.push(source.complain(LINES_MAX, &what));
    }
    if !source.text.starts_with("//!") {
        complaints.push(source.complain(1, "begin with `//!`: what this file is, what it knows and does not know"));
    }
    complaints
}

/// One word for a thing, in comments and pages.
fn words(source: &Source) -> Vec<String> {
    let is_page = source.path.ends_with(".md");
    // This file names the wrong words; what others wrote is theirs.
    if source.path == "tests/tidy.rs"
        || source.path.starts_with("LICENSE")
        || !(is_page || source.path.ends_with(".rs"))
    {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let prose = if is_page { line } else { line.split_once("//").map_or("", |(_, comment)| comment) };
        let prose = prose.to_lowercase();
        for (wrong, right) in WRONG_WORDS.iter().filter(|(wrong, _)| prose.contains(wrong)) {
            complaints.push(source.complain(index + 1, &format!("say '{right}', not '{wrong}'")));
        }
    }
    complaints
}

/// Nothing depends on where it was written.
fn machine_paths(source: &Source) -> Vec<String> {
    let roots = ["home/", "root/", "Users/", "work/"].map(|root| format!("/{root}"));
    let mut complaints = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for root in &roots {
            let named = line.match_indices(root.as_str()).any(|(at, _)| {
                // In the middle of a longer path or an address it is not a root.
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~/}".contains(before))
            });
            if named {
                let what =
                    format!("'{root}…' is a path of one machine: use one relative to the repository, or a variable");
                complaints.push(source.complain(index + 1, &what));
            }
        }
    }
    complaints
}

type Rule = fn(&Source) -> Vec<String>;

const RULES: &[Rule] = &[floors, homes, unsafe_code, shape, words, machine_paths];

fn gather(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let generated = ["target", ".git", "corpus", "artifacts", "coverage", "__pycache__"];
            if !generated.contains(&name.as_str()) {
                gather(&path, root, sources);
            }
        } else if let Ok(text) = std::fs::read_to_string(&path)
            // In a worktree this is a file, and git's.
            && name != ".git"
        {
            let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(root, root, &mut sources);
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the repository was found");
    let mut page = String::new();
    for complaint in sources.iter().flat_map(|source| RULES.iter().flat_map(move |rule| rule(source))) {
        writeln!(page, "{complaint}").unwrap();
    }
    assert!(page.is_empty(), "\n{page}");
}

/// Pages that say which test proves a promise.
const PROMISES: &[&str] = &["README.md", "src/guide/guarantees.md"];

/// Names of files and tests in the last cell of a table's rows that are neither there nor tests; and rows that name none. A name is a file or folder of the
/// repository, or a file and one of its tests: `tests/it/model.rs::name`.
fn unproved(page: &Source, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut is_table_of_promises = false;
    for (index, line) in page.text.lines().enumerate() {
        let Some(row) = line.strip_prefix('|') else {
            is_table_of_promises = false;
            continue;
        };
        let cell = row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or("").trim();
        if cell == "proved by" {
            is_table_of_promises = true;
        }
        if !is_table_of_promises || cell == "proved by" || cell.starts_with("---") {
            continue;
        }
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            complaints.push(page.complain(index + 1, "this promise names no test: name one, or do not promise it"));
        }
        for name in names {
            let (file, test) = name.split_once("::").map_or((name, None), |(file, test)| (file, Some(test)));
            let mut files = sources.iter().filter(|source| match file.strip_suffix('/') {
                Some(_) => source.path.starts_with(file),
                None => source.path == file,
            });
            let is_there = match test {
                Some(test) => files.any(|source| has_test(&source.text, test)),
                None => files.next().is_some(),
            };
            if !is_there {
                let what = format!("'{name}' is not there: name the test that proves it now");
                complaints.push(page.complain(index + 1, &what));
            }
        }
    }
    complaints
}

/// Whether the text has a test of this name that is run: one that is ignored proves nothing.
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let found = lines.iter().position(|line| line.starts_with(&head));
    found.is_some_and(|at| {
        let attributes = || lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes().any(|line| *line == "#[test]") && !attributes().any(|line| line.starts_with("#[ignore"))
    })
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(root, root, &mut sources);
    for path in PROMISES {
        let page = sources.iter().find(|source| source.path == *path).expect("the page of promises is there");
        assert!(page.text.contains("proved by |"), "{path} has a table of promises");
        let complaints = unproved(page, &sources);
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}

// -- each rule finds what it is for, and lets its neighbours pass

#[test]
fn a_promise_without_its_test_is_found() {
    let tests = "#[test]\nfn there() {}\n\nfn helper() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn asleep() {}\n";
    let sources = [Source::new("tests/a.rs", tests)];
    let complaints = |cell: &str| {
        let text = format!("| promise | proved by |\n| --- | --- |\n| It holds | {cell} |\n\n| other | table |\n");
        unproved(&Source::new("page.md", &text), &sources).len()
    };
    for cell in ["`tests/a.rs::there`", "`tests/a.rs`", "`tests/`", "`tests/`, `tests/a.rs::there`, in words"] {
        assert_eq!(complaints(cell), 0, "{cell}");
    }
    for cell in ["`tests/a.rs::gone`", "`tests/a.rs::helper`", "`tests/a.rs::asleep`", "`tests/b.rs`", "`test/`", ""] {
        assert_eq!(complaints(cell), 1, "{cell}");
    }
    assert_eq!(complaints("`tests/a.rs::the`, `tests/a.rs::ther`"), 2, "a name is whole");
}

fn complaints(rule: Rule, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn an_import_from_above_is_found_in_each_way_to_write_it() {
    for line in [
        "use crate::cache::Cache;",
        "    use crate::{error::Error, shard::Shards};",
        "pub(crate) use crate::recovery;",
        "let x = crate::compaction::retire_oldest();",
        "fn f(shard: &crate::shard::Shard) {}",
    ] {
        assert_eq!(complaints(floors, "src/log/tail.rs", line), 1, "{line}");
        assert!(floors(&Source::new("src/log/tail.rs", line))[0].contains("lower floor"), "it says how to mend it");
    }
    assert_eq!(complaints(floors, "src/ring/log.rs", "use crate::log::Log;"), 1, "two modules of one floor");
    assert_eq!(complaints(floors, "src/log/tail.rs", "use crate::{\n    shard::Shards,\n};"), 1, "a list over lines");
    assert_eq!(complaints(floors, "src/fresh.rs", "//! New."), 1, "a module that is on no floor");
    assert_eq!(complaints(floors, "src/log/tail.rs", "use crate::Cache;"), 1, "a re-export hides no floor");
}

#[test]
fn imports_from_below_and_within_pass() {
    for line in [
        "use crate::format::record::RecordHeader;",
        "use crate::{budget, sync::Arc};",
        "use crate::log::pins::Pin;",
        "// crate::cache knows this",
        "use other_crate::cache::Cache;",
        "use crate::Error;",
        "#[cfg(test)]\nmod tests {\n    use crate::cache::Cache;\n}",
    ] {
        assert_eq!(complaints(floors, "src/log/mod.rs", line), 0, "{line}");
    }
    assert_eq!(complaints(floors, "src/lib.rs", "pub use crate::cache::Cache;"), 0);
    assert_eq!(complaints(floors, "src/log/page.md", "[`Cache`](crate::Cache)"), 0, "a page imports nothing");
    assert_eq!(complaints(floors, "src/budget.rs", "use crate::sync::Arc;"), 0, "leaves know each other");
}

#[test]
fn files_and_threads_outside_their_homes_are_found() {
    for line in [
        "use std::fs::File;",
        "let x = std::thread::yield_now();",
        "use parking_lot::Mutex;",
        "use std::sync::Arc;",
        "let map = memmap2::Mmap::map(&file);",
        "let fd = rustix::fs::open(path);",
        "loom::model(|| {});",
    ] {
        assert_eq!(complaints(homes, "src/cache/core.rs", line), 1, "{line}");
    }
    assert_eq!(complaints(homes, "src/disk/os.rs", "use rustix::fs::Stat;"), 0);
    assert_eq!(complaints(homes, "src/disk/os.rs", "use std::sync::Arc;"), 1, "each home is for its own words");
    assert_eq!(complaints(homes, "src/sync.rs", "pub use std::sync::Arc;"), 0);
    assert_eq!(complaints(homes, "src/guide/page.md", "use std::sync::Arc;"), 0, "an example on a page");
    assert_eq!(complaints(homes, "src/cache/core.rs", "//! Unlike std::fs, ..."), 0, "prose may name it");
    assert_eq!(complaints(homes, "src/disk/os/tests.rs", "std::thread::scope(|_| {});"), 0, "a test may");
}

#[test]
fn code_that_is_not_safe_is_found_wherever_it_is() {
    let word = ["un", "safe"].concat();
    for line in
        [format!("let x = {word} {{ f() }};"), format!("{word} fn f() {{}}"), format!("{word} impl Send for X {{}}")]
    {
        for path in ["src/log/mod.rs", "tools/src/main.rs", "tests/it/main.rs"] {
            assert_eq!(complaints(unsafe_code, path, &line), 1, "{line}");
        }
        assert_eq!(complaints(unsafe_code, UNSAFE_FILES[0], &line), 0);
    }
    let switched_off = format!("#![allow({word}_code)]");
    assert_eq!(
        complaints(unsafe_code, "src/log/mod.rs", &switched_off),
        1,
        "the lint cannot be switched off elsewhere"
    );
    assert_eq!(complaints(unsafe_code, "src/log/mod.rs", &format!("// {word} {{ }} is for mapping.rs")), 0);
}

#[test]
fn long_files_and_files_that_do_not_say_what_they_are_are_found() {
    assert_eq!(complaints(shape, "src/x.rs", &"//! X.\n".repeat(LINES_MAX)), 0);
    assert_eq!(complaints(shape, "src/x.rs", &"//! X.\n".repeat(LINES_MAX + 1)), 1);
    assert_eq!(complaints(shape, "src/x.rs", "use std::io;\n//! X.\n"), 1);
    assert_eq!(complaints(shape, "tools/src/x.rs", "fn main() {}\n"), 1);
}

#[test]
fn words_that_the_glossary_replaces_are_found_in_comments_and_pages() {
    let [(wrong, _), ..] = WRONG_WORDS else { panic!("there are wrong words") };
    assert_eq!(complaints(words, "README.md", &format!("It does {wrong}ion.")), 1);
    assert_eq!(complaints(words, "src/x.rs", &format!("let x = 1; // {}", wrong.to_uppercase())), 1);
    assert_eq!(complaints(words, "src/x.rs", "let hit_rate = 1;"), 0, "names are judged by people");
    assert_eq!(complaints(words, "README.md", "the hit ratio"), 0);
}

#[test]
fn paths_of_one_machine_are_found_in_every_file() {
    for root in ["home", "root", "work"] {
        assert_eq!(complaints(machine_paths, ".ci/run", &format!("cd /{root}/me/emberlog")), 1);
        assert_eq!(complaints(machine_paths, "x.json", &format!("\"/{root}/x\"")), 1);
    }
    assert_eq!(complaints(machine_paths, "README.md", "see https://example.org/work/x and ../work/y"), 0);
}
