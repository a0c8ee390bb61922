//! `emberlog`: inspects, verifies and drives emberlog directories.
fn main() {}
