//! A strict reader of OpenMetrics 1.0 text, written from the specification and not from the writer: what it does not know it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// Names of labels and their values, sorted.
pub(crate) type Labels = Vec<(String, String)>;
/// The name of a sample, and its labels.
pub(crate) type Series = (String, Labels);

/// A family of samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) help: String,
    /// By name and labels, as they are sorted.
    pub(crate) samples: BTreeMap<Series, f64>,
}

/// Reads a whole exposition, or says which line is wrong.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut order = Vec::<String>::new();
    let Some(body) = text.strip_suffix("# EOF\n") else { return Err("the text does not end with '# EOF'".into()) };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("a line has no end".into());
    }
    for line in body.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if line.is_empty() || line != line.trim() || line.contains('\r') {
            return wrong("a blank line, or space around it");
        }
        if let Some(metadata) = line.strip_prefix("# ") {
            let mut words = metadata.splitn(3, ' ');
            let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
                return wrong("metadata of fewer than three words");
            };
            if !is_name(name, true) {
                return wrong("not a name");
            }
            if order.last().is_none_or(|last| last != name) {
                if what != "TYPE" || families.contains_key(name) {
                    return wrong("a family begins with its type, once");
                }
                order.push(name.to_owned());
                let empty =
                    Family { kind: String::new(), unit: String::new(), help: String::new(), samples: BTreeMap::new() };
                families.insert(name.to_owned(), empty);
            }
            let family = families.get_mut(name).expect("just seen to");
            if !family.samples.is_empty() {
                return wrong("metadata behind samples");
            }
            let field = match what {
                "TYPE" if ["counter", "gauge", "histogram"].contains(&rest) => &mut family.kind,
                "UNIT" if name.ends_with(&format!("_{rest}")) => &mut family.unit,
                "HELP" => &mut family.help,
                _ => return wrong("unknown metadata, or a unit that the name does not end with"),
            };
            if !field.is_empty() {
                return wrong("said twice");
            }
            *field = unescape(rest).ok_or_else(|| format!("a bad escape: {line:?}"))?;
            continue;
        }
        let ((name, labels), value) = sample(line).ok_or_else(|| format!("not a sample: {line:?}"))?;
        let Some(last) = order.last() else { return wrong("a sample without a family") };
        let family = families.get_mut(last).expect("in the order");
        let suffix = name
            .strip_prefix(last.as_str())
            .ok_or_else(|| format!("a sample of another family than {last}: {line:?}"))?;
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            _ => &["_bucket", "_count", "_sum"],
        };
        if !allowed.contains(&suffix) {
            return wrong("not a suffix of this type");
        }
        if value.is_nan() || family.kind != "gauge" && (value < 0.0 || value.is_infinite()) {
            return wrong("not a value of this type");
        }
        if family.samples.insert((name, labels), value).is_some() {
            return wrong("a sample that is there already");
        }
    }
    for (name, family) in &families {
        check(name, family)?;
    }
    Ok(families)
}

/// What holds for a family as a whole.
fn check(name: &str, family: &Family) -> Result<(), String> {
    if family.samples.is_empty() || family.help.is_empty() {
        return Err(format!("{name} has no samples, or no help"));
    }
    if ["_total", "_bucket", "_count", "_sum", "_created"].iter().any(|suffix| name.ends_with(suffix)) {
        return Err(format!("{name} ends like a sample"));
    }
    if family.kind != "histogram" {
        let without_le = family.samples.keys().all(|(_, labels)| labels.iter().all(|(label, _)| label != "le"));
        return if without_le { Ok(()) } else { Err(format!("{name} has le and is no histogram")) };
    }
    let series = |of: &Series| -> Labels { of.1.iter().filter(|(label, _)| label != "le").cloned().collect() };
    for labels in family.samples.keys().map(series).collect::<BTreeSet<_>>() {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (sample, value) in family.samples.iter().filter(|(sample, _)| series(sample) == labels) {
            if let Some((_, limit)) = sample.1.iter().find(|(label, _)| label == "le") {
                let limit =
                    if limit == "+Inf" { f64::INFINITY } else { limit.parse().map_err(|_| format!("le={limit}"))? };
                buckets.push((limit, *value));
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = |suffix: &str| family.samples.get(&(format!("{name}{suffix}"), labels.clone())).copied();
        let (Some(count), Some(sum)) = (of("_count"), of("_sum")) else {
            return Err(format!("{name}{labels:?} has no count or sum"));
        };
        if buckets.windows(2).any(|pair| pair[0].1 > pair[1].1 || pair[0].0 == pair[1].0) {
            return Err(format!("{name}{labels:?} is not cumulative"));
        }
        if buckets.last() != Some(&(f64::INFINITY, count)) {
            return Err(format!("{name}{labels:?} does not end with all in +Inf"));
        }
        let least: f64 = buckets.windows(2).map(|pair| pair[0].0 * (pair[1].1 - pair[0].1)).sum();
        if sum < least {
            return Err(format!("{name}{labels:?}: a sum of {sum} is less than its buckets say, {least}"));
        }
    }
    Ok(())
}

fn is_name(name: &str, with_colon: bool) -> bool {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || with_colon && char == ':';
    !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|char: char| char.is_ascii_digit())
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            },
            '"' => return None,
            char => char,
        });
    }
    Some(out)
}

/// `name{label="value",…} number`, and nothing behind it.
fn sample(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            let mut is_escaped = false;
            let end = behind.char_indices().find(|(_, char)| {
                let ends = *char == '"' && !is_escaped;
                is_escaped = *char == '\\' && !is_escaped;
                ends
            })?;
            if !is_name(label, false) || labels.iter().any(|(other, _)| other == label) {
                return None;
            }
            labels.push((label.to_owned(), unescape(&behind[..end.0])?));
            rest = &behind[end.0 + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    labels.sort();
    let number = rest.strip_prefix(' ')?;
    let is_number = number.chars().all(|char| char.is_ascii_digit() || "+-.e".contains(char));
    (is_name(name, true) && is_number).then(|| Some(((name.to_owned(), labels), number.parse().ok()?)))?
}

#[test]
fn the_reader_refuses_what_is_not_openmetrics() {
    let good = "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n# HELP a_seconds Text.\na_seconds_bucket{le=\"1.0\"} 1\n\
                a_seconds_bucket{le=\"+Inf\"} 2\na_seconds_count 2\na_seconds_sum 7.5\n# TYPE b counter\n# HELP b Text.\n\
                b_total{x=\"q\\\"\\\\\\n\"} 3\n# EOF\n";
    let families = parse(good).unwrap();
    let label = &families["b"].samples.keys().next().unwrap().1[0];
    assert_eq!(label, &("x".to_owned(), "q\"\\\n".to_owned()));
    for (from, to) in [
        ("# EOF\n", ""),
        ("# EOF\n", "# EOF\n\n"),
        ("# UNIT a_seconds seconds", "# UNIT a_seconds bytes"),
        ("# TYPE b counter\n", ""),
        ("# TYPE b counter", "# TYPE a_seconds counter"),
        ("b_total", "b"),
        ("} 3", "} -3"),
        ("} 3", "} NaN"),
        ("} 3", "} 3 "),
        ("x=\"q", "x=\"q\\t"),
        ("x=\"q", "1x=\"q"),
        ("{le=\"1.0\"} 1", "{le=\"1.0\"} 3"),
        ("{le=\"+Inf\"} 2", "{le=\"9\"} 2"),
        ("count 2", "count 3"),
        ("a_seconds_sum 7.5\n", ""),
        ("sum 7.5", "sum 0.5"),
        ("# HELP b Text.\n", ""),
    ] {
        assert!(good.contains(from));
        let bad = good.replacen(from, to, 1);
        assert!(parse(&bad).is_err(), "{from:?} to {to:?}");
    }
}
