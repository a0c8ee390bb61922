//! Running the independent reader.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the specification.
pub(crate) fn spec_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec")
}

/// Runs the reader with these arguments; its exit code, standard output and standard error.
pub(crate) fn run(arguments: &[&Path]) -> (Option<i32>, Vec<u8>, String) {
    let output = Command::new("python3")
        // No compiled files in the folder of the pages.
        .arg("-B")
        .arg(spec_dir().join("reader.py"))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("these tests need python3 (3.9 or later) on the PATH: {error}"));
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the reader says of each of these directories.
pub(crate) fn read(directories: &[PathBuf]) -> Vec<Value> {
    let mut arguments = vec![Path::new("--json")];
    arguments.extend(directories.iter().map(PathBuf::as_path));
    let (code, stdout, stderr) = run(&arguments);
    let parsed: Value = serde_json::from_slice(&stdout)
        .unwrap_or_else(|error| panic!("the reader ended with {code:?} and no JSON ({error}): {stderr}"));
    match parsed {
        Value::Array(list) => list,
        one => vec![one],
    }
}

#[test]
fn the_pages_agree_with_their_worked_examples() {
    let (code, _, stderr) = run(&[Path::new("--check-pages")]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn the_reader_passes_its_own_test() {
    let (code, _, stderr) = run(&[Path::new("--self-test")]);
    assert_eq!(code, Some(0), "{stderr}");
}
