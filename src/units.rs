//! Lengths, durations and counts as people write them, both ways.
//!
//! Used by [`Config`](crate::Config) and by the program `emberlog`; public so that a service's own flags and files can read and show the same words.
//!
//! Knows: KiB, MB, h, ms, k, M. Does not know: which of them makes a working budget.

use std::time::Duration;

/// Units of length with their scale. Those that count in thousands are written with B alone, those that count in 1,024s with iB.
const LENGTH_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Whole units of time, the longest first.
const DURATION_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Digits behind the point that are looked at; more cannot change a number of bytes below 2⁶⁴.
const FRACTION_DIGITS_MAX: usize = 18;

/// Reads a length: `4096`, `64KiB`, `1.5 GiB`. A unit without an i (`kB`, `MB`, `GB`, `TB`) counts in thousands; what is less than a byte is dropped.
/// Upper and lower case are the same.
///
/// ```
/// use emberlog::units::parse_bytes;
/// assert_eq!(parse_bytes("256MiB"), Ok(256 << 20));
/// assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
/// assert_eq!(parse_bytes("2GB"), Ok(2_000_000_000));
/// assert_eq!(parse_bytes("4096"), Ok(4096));
/// assert!(parse_bytes("64k").unwrap_err().contains("KiB"));
/// ```
///
/// # Errors
/// A sentence: the unit is unknown, it is no number, or it is 16 EiB and more.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let known = LENGTH_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let scale = match known {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => 1,
        // One letter is 1,000 for some and 1,024 for others.
        None => return Err(format!("unknown unit {unit:?}; there are B, KiB, MiB, GiB, TiB, kB, MB, GB, TB")),
    };
    scaled(number, scale).ok_or_else(|| format!("{text:?} is not a length; write it as in 64MiB"))
}

/// Writes a length as the shortest text that [`parse_bytes`] reads as exactly this many bytes.
///
/// ```
/// use emberlog::units::exact_bytes;
/// assert_eq!(exact_bytes(256 << 20), "256MiB");
/// assert_eq!(exact_bytes(3 << 29), "1.5GiB");
/// assert_eq!(exact_bytes(2_500_000), "2.5MB");
/// assert_eq!(exact_bytes(1001), "1001B");
/// ```
pub fn exact_bytes(bytes: u64) -> String {
    let candidates = LENGTH_UNITS.iter().filter(|(_, scale)| bytes >= *scale || *scale == 1);
    // The first of the shortest: units of 1,024 stand before those of 1,000.
    let texts = candidates.map(|(unit, scale)| format!("{}{unit}", exact_quotient(bytes, *scale)));
    texts.min_by_key(String::len).unwrap_or_else(|| format!("{bytes}B"))
}

/// `bytes / scale` with all its decimals: finite, as scales are products of twos and fives.
fn exact_quotient(bytes: u64, scale: u64) -> String {
    let mut text = (bytes / scale).to_string();
    let mut rest = u128::from(bytes % scale);
    if rest != 0 {
        text.push('.');
    }
    while rest != 0 {
        rest *= 10;
        text.push_str(&(rest / u128::from(scale)).to_string());
        rest %= u128::from(scale);
    }
    text
}

/// Reads a duration: `250ms`, `90s`, `1h`, `7d`, `1h 30m`. A number without a unit is none.
///
/// ```
/// use emberlog::units::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
/// assert!(parse_duration("90").is_err());
/// ```
///
/// # Errors
/// A sentence that says what is not understood.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    // humantime takes M for months, which nobody means who sets a time to live.
    if text.contains('M') {
        return Err(format!("{text:?}: write m for minutes, ms for milliseconds, d for days"));
    }
    humantime::parse_duration(text).map_err(|error| format!("{text:?} is not a duration as in 90s, 1h or 7d: {error}"))
}

/// Writes a duration in the longest unit that it is a whole number of, as [`parse_duration`] reads it.
///
/// ```
/// use emberlog::units::exact_duration;
/// use std::time::Duration;
/// assert_eq!(exact_duration(Duration::from_secs(7200)), "2h");
/// assert_eq!(exact_duration(Duration::from_secs(90)), "90s");
/// assert_eq!(exact_duration(Duration::from_millis(1500)), "1500ms");
/// ```
pub fn exact_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    match DURATION_UNITS.iter().find(|(_, scale)| nanos.is_multiple_of(*scale)) {
        // humantime keeps what is given in less than seconds as nanoseconds, in 64 bits.
        Some((unit, scale)) if duration.subsec_nanos() == 0 || nanos <= u128::from(u64::MAX) => {
            format!("{}{unit}", nanos / scale)
        }
        _ => format!("{}s {}ns", duration.as_secs(), duration.subsec_nanos()),
    }
}

/// Reads a count: `5000`, `500k`, `2M`.
///
/// # Errors
/// A sentence: it is no number, or too large.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let (number, scale) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    scaled(number, scale).ok_or_else(|| format!("{text:?} is not a count; write it as in 500k or 2M"))
}

/// A decimal number times `scale`, rounded down. In integers: a float would lose bytes of large lengths.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    let part = part * u128::from(scale) / 10u128.pow(digits.len() as u32);
    whole.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

/// Writes a length for people, rounded to a tenth of a unit: `999 B`, `64.0 MiB`.
pub fn show_bytes(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        // 1023.95 would be shown as 1024.0.
        if amount < 1023.95 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

/// Writes a count with separators: `1,234,567`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Reads and writes settings that are lengths: a number of bytes, or text with a unit.
pub(crate) mod bytes {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    struct Bytes;

    impl de::Visitor<'_> for Bytes {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes, or text as in \"256MiB\"")
        }

        fn visit_u64<E>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom("a length is not negative"))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            super::parse_bytes(text).map_err(E::custom)
        }
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::exact_bytes(*bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Bytes)
    }
}

/// The same for settings that may be left out.
pub(crate) mod optional_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Bytes(#[serde(with = "super::bytes")] u64);

    pub(crate) fn serialize<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::bytes::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Bytes>::deserialize(deserializer)?.map(|Bytes(bytes)| bytes))
    }
}

/// Reads and writes settings that are durations and may be left out.
pub(crate) mod optional_duration {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::fmt;
    use std::time::Duration;

    struct Text(Duration);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Words;
            impl de::Visitor<'_> for Words {
                type Value = Text;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a duration with its unit, as in \"90s\" or \"1h\"")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                    super::parse_duration(text).map(Text).map_err(E::custom)
                }
            }
            deserializer.deserialize_str(Words)
        }
    }

    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&super::exact_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests {
    use super::*;
    use crate::random::Random;

    const SEED: u64 = 11;

    fn next(random: &Random) -> u64 {
        u64::from_le_bytes(random.bytes().expect("a seeded source"))
    }

    #[test]
    fn lengths_are_read_in_every_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            (" 64KiB ", 65_536),
            ("1.5 MiB", 1_572_864),
            ("1GiB", 1 << 30),
            ("1gib", 1 << 30),
            ("2GB", 2_000_000_000),
            ("0.3KiB", 307),
            (".5KiB", 512),
            ("1.TB", 1_000_000_000_000),
            ("18446744073709551615", u64::MAX),
            ("16777215.999999TiB", u64::MAX - 1_099_511),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "MiB", ".", ".MiB", "-1", "1PiB", "1k", "16777216TiB", "1.2.3", "1e3", "+1", "18446744073709551616"]
        {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_length_that_is_written_is_read_as_the_same_and_no_unit_is_shorter() {
        let random = Random::seeded(SEED);
        for case in 0..20_000u64 {
            let raw = next(&random) >> (next(&random) % 64);
            let (_, scale) = LENGTH_UNITS[(next(&random) % 9) as usize];
            // Round numbers of units, halves and tenths of them, and anything.
            let bytes = match case % 3 {
                0 => raw,
                1 => (raw % 5000).saturating_mul(scale),
                _ => (raw % 50_000).saturating_mul(scale) / 10,
            };
            let text = exact_bytes(bytes);
            assert_eq!(parse_bytes(&text), Ok(bytes), "SEED={SEED} CASE={case}: {text}");
            assert!(text.len() <= format!("{bytes}B").len(), "SEED={SEED} CASE={case}: {text}");
            for (unit, scale) in LENGTH_UNITS.iter().filter(|(_, scale)| bytes.is_multiple_of(*scale)) {
                assert!(text.len() <= format!("{}{unit}", bytes / scale).len(), "SEED={SEED} CASE={case}: {text}");
            }
        }
        assert_eq!(exact_bytes(0), "0B");
        assert_eq!(exact_bytes(1024), "1KiB", "not 1.024kB");
        assert_eq!(exact_bytes(u64::MAX), "18446744073709551615B");
    }

    #[test]
    fn a_duration_that_is_written_is_read_as_the_same() {
        let random = Random::seeded(SEED);
        for case in 0..20_000u64 {
            let secs = next(&random) >> (next(&random) % 64);
            let nanos = (next(&random) % 1_000_000_000) as u32;
            let duration = match case % 4 {
                0 => Duration::new(secs, nanos),
                1 => Duration::new(secs, nanos / 1_000_000 * 1_000_000),
                2 => Duration::new(secs % 1000, nanos / 1000 * 1000),
                _ => Duration::from_secs(secs % 1_000_000 / 60 * 60),
            };
            let text = exact_duration(duration);
            assert_eq!(parse_duration(&text), Ok(duration), "SEED={SEED} CASE={case}: {text}");
        }
        assert_eq!(exact_duration(Duration::ZERO), "0s");
        assert_eq!(parse_duration(&exact_duration(Duration::MAX)), Ok(Duration::MAX));
        for text in ["", "90", "1x", "h", "5M", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_read() {
        assert_eq!(parse_count("2M"), Ok(2_000_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert!(parse_count("k").is_err() && parse_count("").is_err());
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(show_bytes(1023), "1023 B");
        assert_eq!(show_bytes(64 << 20), "64.0 MiB");
        assert_eq!(show_bytes((1 << 30) - 1), "1.0 GiB");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(999), "999");
    }
}
