//! Numbers as they stand in the frame: never wider than their column, so that nothing jumps.

use crate::units::show_count;

/// What stands for a figure that is not known.
pub(crate) const UNKNOWN: &str = "–";

/// A count in at most nine characters: `1,234,567`, then `12.3 M`.
pub(crate) fn count(count: u64) -> String {
    if count < 10_000_000 { show_count(count) } else { large(count as f64) }
}

/// A number of events per second, in at most nine characters.
pub(crate) fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        _ if per_s < 9.95 => format!("{per_s:.1}"),
        _ if per_s < 9_999_999.5 => show_count(per_s.round() as u64),
        _ => large(per_s),
    }
}

fn large(number: f64) -> String {
    let (mut amount, mut unit) = (number / 1e6, "M");
    for larger in ["G", "T", "P", "E"] {
        if amount < 999.95 {
            break;
        }
        amount /= 1e3;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// A share as a percentage, in at most seven characters.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What is not known as a dash.
pub(crate) fn or_unknown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A line of bars, the newest at the right end. The highest is `top`, or the highest of them; gaps where nothing is known.
pub(crate) fn bars(values: &[Option<f64>], top: Option<f64>, width: usize) -> String {
    let values = &values[values.len().saturating_sub(width)..];
    let top = top.unwrap_or_else(|| values.iter().flatten().copied().fold(0.0, f64::max));
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if top > 0.0 => LEVELS[((value / top * 7.0).round().max(0.0) as usize).min(7)],
        Some(_) => LEVELS[0],
    };
    let line: String = values.iter().map(bar).collect();
    format!("{}{line}", " ".repeat(width - values.len()))
}

/// How full something is, as a bar of this many characters.
pub(crate) fn gauge(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let part = [None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')][rest];
    let used = full + usize::from(part.is_some());
    format!("{}{}{}", "█".repeat(full), part.map(String::from).unwrap_or_default(), "·".repeat(width - used))
}

/// A length of time for a line that is read from afar: `3 h 12 min`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_their_columns() {
        for exponent in 0..64 {
            for number in [(1u64 << exponent) - 1, 1 << exponent, 10u64.saturating_pow(exponent).saturating_sub(1)] {
                assert!(count(number).chars().count() <= 9, "{}", count(number));
                assert!(rate(number as f64 + 0.5).chars().count() <= 9, "{}", rate(number as f64));
            }
        }
        assert_eq!([count(0), count(9_999_999), count(10_000_000)], ["0", "9,999,999", "10.0 M"]);
        assert_eq!([rate(0.0), rate(0.04), rate(9.94), rate(9.96), rate(1234.4)], ["0", "0.0", "9.9", "10", "1,234"]);
        assert_eq!([age(59), age(3_599), age(86_399), age(90_000)], ["59 s", "59 min 59 s", "23 h 59 min", "1 d 1 h"]);
        assert_eq!([percent(1.0), percent(0.00049)], ["100.0 %", "0.0 %"]);
    }

    #[test]
    fn bars_and_gauges_have_their_width_whatever_they_show() {
        assert_eq!(bars(&[Some(0.0), None, Some(4.0), Some(8.0)], None, 6), "  ▁ ▅█");
        assert_eq!(bars(&[Some(9.0), Some(0.5), Some(2.0)], Some(1.0), 2), "▅█");
        assert_eq!(bars(&[Some(0.0), Some(0.0)], None, 2), "▁▁");
        assert_eq!(bars(&[], None, 3), "   ");
        for (share, shown) in
            [(0.0, "····"), (0.5, "██··"), (0.53, "██▏·"), (1.0, "████"), (7.0, "████"), (-1.0, "····")]
        {
            assert_eq!(gauge(share, 4), shown, "{share}");
        }
    }
}
