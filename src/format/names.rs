//! File names of a store's directory. Specification: `format-spec/01-directory.md`.

/// The store's identity.
pub const IDENTITY: &str = "identity";
/// The identity while it is made.
pub const IDENTITY_TEMPORARY: &str = "identity.tmp";
/// Held locked by the process that has the store open; never removed.
pub const LOCK: &str = "lock";

/// What memory held, as advice for the next open; may be missing.
pub const WARM: &str = "warm";
/// The same while it is written.
pub const WARM_TEMPORARY: &str = "warm.tmp";

/// What a running cache tells of itself, for whoever looks; may be missing.
pub const COUNTERS: &str = "counters";
/// The same while it is made.
pub const COUNTERS_TEMPORARY: &str = "counters.tmp";

/// What a name in the directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    /// [`IDENTITY`].
    Identity,
    /// [`LOCK`].
    Lock,
    /// [`WARM`].
    Warm,
    /// [`COUNTERS`]; ours only if its head says so.
    Counters,
    /// A segment with its number.
    Segment(u32),
    /// A file of ours that was never finished, free to be removed.
    Temporary,
    /// Not ours; never touched.
    Foreign,
}

/// The name of a segment's file.
pub fn segment(number: u32) -> String {
    format!("segment-{number:010}.log")
}

/// The name of a segment's file while it is prepared.
pub fn segment_temporary(number: u32) -> String {
    format!("segment-{number:010}.tmp")
}

/// Says what `name` stands for.
///
/// ```
/// use emberlog::format::names::{FileName, parse};
/// assert_eq!(parse("segment-0000000007.log"), FileName::Segment(7));
/// assert_eq!(parse("segment-7.log"), FileName::Foreign);
/// ```
pub fn parse(name: &str) -> FileName {
    match name {
        IDENTITY => return FileName::Identity,
        IDENTITY_TEMPORARY | WARM_TEMPORARY | COUNTERS_TEMPORARY => return FileName::Temporary,
        WARM => return FileName::Warm,
        COUNTERS => return FileName::Counters,
        LOCK => return FileName::Lock,
        _ => {}
    }
    let Some(rest) = name.strip_prefix("segment-") else { return FileName::Foreign };
    let Some((digits, suffix)) = rest.split_once('.') else { return FileName::Foreign };
    if digits.len() != 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return FileName::Foreign;
    }
    match (digits.parse::<u32>(), suffix) {
        (Ok(number), "log") if number > 0 => FileName::Segment(number),
        (Ok(number), "tmp") if number > 0 => FileName::Temporary,
        _ => FileName::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_pattern_are_ours() {
        assert_eq!(parse(&segment(u32::MAX)), FileName::Segment(u32::MAX));
        assert_eq!(parse(&segment_temporary(1)), FileName::Temporary);
        for foreign in [
            "segment-0000000000.log",
            "segment-9999999999.log",
            "segment-+000000001.log",
            "segment-0000000001",
            "x",
            "",
        ] {
            assert_eq!(parse(foreign), FileName::Foreign, "{foreign}");
        }
    }
}
