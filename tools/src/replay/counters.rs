//! Counters out of the cache's stats, by where they stand in its JSON.
//!
//! Knows: names of fields. Does not know: the types behind them; the stats come from another process.

use serde_json::Value;

use crate::failure::Failure;

/// Entries that close and recovery own up to having left out.
pub(crate) fn dropped(stats: &Value) -> u64 {
    ["/disk/dropped_at_close", "/recovery/slots_dropped"]
        .iter()
        .filter_map(|field| stats.pointer(field).and_then(Value::as_u64))
        .sum()
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
        assert_eq!(dropped(&stats), 0);
    }
}
