//! Counters out of the cache's stats, by where they stand in its JSON.
//!
//! Knows: names of fields. Does not know: the types behind them; the stats come from another process.

use serde_json::Value;

use crate::failure::Failure;

/// Entries that the cache owns up to having dropped: from the look before the keys were asked for (`before`) to the end of close (`closing`), and
/// when it was opened again (`opened`).
pub(crate) fn dropped(before: &Value, closing: &Value, opened: &Value) -> Result<u64, Failure> {
    let mut count = number(closing, "/disk/dropped_at_close")? + number(opened, "/recovery/dropped_by_index")?;
    // Maintenance goes on until close has ended, and what it drops is counted as it goes.
    for field in ["/disk/dropped_with_segment", "/disk/dropped_by_index"] {
        count += number(closing, field)?.saturating_sub(number(before, field)?);
    }
    Ok(count)
}

/// A counter that must be there: a figure that silently reads 0 would be worse than none.
pub(crate) fn number(stats: &Value, field: &str) -> Result<u64, Failure> {
    let value = stats.pointer(field).and_then(Value::as_u64);
    value.ok_or_else(|| {
        Failure::new(format!("the cache's stats have no {}", field.trim_start_matches('/').replace('/', ".")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_missing_is_an_error_not_a_zero() {
        let stats = serde_json::json!({ "memory": { "hits": 3 } });
        assert_eq!(number(&stats, "/memory/hits").unwrap(), 3);
        assert!(number(&stats, "/disk/hits").unwrap_err().to_string().contains("disk.hits"));
        assert!(dropped(&stats, &stats, &stats).is_err());
    }

    #[test]
    fn drops_are_counted_from_the_look_before_close_on() {
        let disk = |at_close: u64, segment: u64, index: u64| {
            let disk = serde_json::json!({
                "dropped_at_close": at_close, "dropped_with_segment": segment, "dropped_by_index": index
            });
            serde_json::json!({ "disk": disk, "recovery": { "dropped_by_index": 5 } })
        };
        assert_eq!(dropped(&disk(0, 100, 10), &disk(3, 107, 12), &disk(0, 0, 0)).unwrap(), 3 + 7 + 2 + 5);
    }
}
