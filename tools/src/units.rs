//! Numbers on the command line: the library's words for lengths and counts, and shares beside them.

pub(crate) use emberlog::units::{parse_bytes, parse_count, show_bytes, show_count};

/// Reads a share between 0 and 1.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is not a share between 0 and 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert!(parse_share("1.1").is_err() && parse_share("NaN").is_err());
    }
}
