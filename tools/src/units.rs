//! Lengths and counts as people write them, both ways.
//!
//! Knows: KiB, MiB, GiB, k, M. Does not know: which of them makes a working budget.

/// Reads a length: `4096`, `64KiB`, `32MiB`, `1GiB`; a decimal unit (`kB`, `MB`, `GB`) counts in thousands.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => return Err(format!("unknown unit {other:?}; there are B, KiB, MiB, GiB, TiB, kB, MB, GB")),
    };
    scaled(number, scale).ok_or_else(|| format!("{text:?} is not a length; write it as in 64MiB"))
}

/// Reads a count: `5000`, `500k`, `2M`.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let (number, scale) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    scaled(number, scale).ok_or_else(|| format!("{text:?} is not a count; write it as in 500k or 2M"))
}

/// Reads a share between 0 and 1.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is not a share between 0 and 1")),
    }
}

fn scaled(number: &str, scale: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let exact = number.parse::<f64>().ok()? * scale as f64;
    (exact.is_finite() && (0.0..9e15).contains(&exact)).then_some(exact as u64)
}

/// Writes a length with three digits or so: `999 B`, `64.0 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
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
pub(crate) fn show_count(count: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_in_every_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("1.5 MiB", 1_572_864),
            ("1GiB", 1 << 30),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1PiB", "99999999999TiB", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_and_shares_are_read() {
        assert_eq!(parse_count("2M"), Ok(2_000_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert!(parse_count("k").is_err() && parse_count("").is_err());
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert!(parse_share("1.1").is_err() && parse_share("NaN").is_err());
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
