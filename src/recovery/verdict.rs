//! What each kind of damage means: two tables, as pure functions. Specification: `format-spec/07-recovery.md`.

/// What is known about a place where a record or a batch should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts {
    /// Its header verifies.
    pub header_ok: bool,
    /// Its payload verifies.
    pub payload_ok: bool,
    /// Its key's hash is known: from the header, or from a footer.
    pub named: bool,
    /// Something later says that it was durable.
    pub synced: bool,
}

/// What recovery does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordVerdict {
    /// The event counts.
    Keep,
    /// The key's newest version is gone: the key is a miss, never an older version.
    ForgetKey,
    /// Versions of unknown keys are gone: all that is older is forgotten, what follows counts.
    ForgetOlder,
    /// The log was never durable this far: it ends here.
    Cut,
}

/// The verdict on a place, with its label in the specification.
pub fn record(facts: RecordFacts) -> (&'static str, RecordVerdict) {
    use RecordVerdict::{Cut, ForgetKey, ForgetOlder, Keep};
    let RecordFacts { header_ok, payload_ok, named, synced } = facts;
    match (header_ok, payload_ok, named, synced) {
        // label      header payload named synced   how this arises
        (true, true, _, _) => ("V-KEEP", Keep),              //   a sound record
        (true, false, _, true) => ("V-KEY", ForgetKey),      // bit rot in a payload
        (true, false, _, false) => ("V-CUT", Cut),           //  crash while the payload was on its way
        (false, _, true, _) => ("V-NAMED", ForgetKey), // bit rot in a header of a sealed segment (footers imply synced)
        (false, _, false, true) => ("V-OLDER", ForgetOlder), // bit rot in a header of the unsealed tail
        (false, _, false, false) => ("V-TORN", Cut),   // crash while the batch was on its way
    }
}

/// How a segment stands to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the first of the store, or all before it were retired.
    First,
    /// Its link names the predecessor that is there.
    Follows,
    /// Its link names the predecessor's uid, but an end that the predecessor's footer does not have.
    OtherEnd,
    /// Its link names another uid than the predecessor has, or another number.
    OtherUid,
    /// The predecessor is missing or unreadable, though older files are there.
    Hole,
}

/// What is known about a numbered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Either copy of the header verifies.
    pub header_ok: bool,
    /// The footer verifies, entries included.
    pub footer_ok: bool,
    /// Either copy of the link verifies.
    pub link_ok: bool,
    /// Some batch behind the link verifies.
    pub has_batch: bool,
    /// No newer file is part of the chain.
    pub newest: bool,
    /// Something later says that its first known event was durable. Asked for only where the link is lost.
    pub synced: bool,
    /// How its link, if known, stands to the file before it.
    pub relation: Relation,
}

/// What recovery does with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentVerdict {
    /// The footer's entries are its events.
    Trust,
    /// Its batches are walked.
    Scan,
    /// The same, but all that is older is forgotten.
    ScanForgetOlder,
    /// The log ends before it.
    CutBefore,
    /// It was prepared and never used: removed.
    Spare,
    /// It cannot be read at all: all that is older is forgotten, and it with it.
    Hole,
    /// Left over from an end of the log that an earlier recovery cut: it and all newer files are removed.
    Stale,
}

/// The verdict on a segment, with its label in the specification; and whether older files are still part of the log.
pub fn segment(facts: SegmentFacts) -> (&'static str, SegmentVerdict, bool) {
    use SegmentVerdict::{CutBefore, Hole, Scan, ScanForgetOlder, Spare, Stale, Trust};
    let SegmentFacts { header_ok, footer_ok, link_ok, has_batch, newest, synced, relation } = facts;
    if !footer_ok && !header_ok {
        return ("S-HOLE", Hole, false);
    }
    if !footer_ok && !link_ok {
        return match (has_batch, newest, synced) {
            (false, true, _) => ("S-SPARE", Spare, true),
            (true, _, true) => ("S-NOLINK", ScanForgetOlder, false),
            (false, false, true) => ("S-NOLINK", Hole, false),
            (_, _, false) => ("S-NOLINK", CutBefore, true),
        };
    }
    let (label, verdict) = if footer_ok { ("S-TRUST", Trust) } else { ("S-SCAN", Scan) };
    match relation {
        Relation::First | Relation::Follows => (label, verdict, true),
        Relation::OtherEnd => ("S-STALE", Stale, true),
        Relation::OtherUid => ("S-SPLIT", verdict, false),
        Relation::Hole => (label, verdict, false),
    }
}

/// Names a verdict. An alias, so that serde does not take it for something that it may borrow.
pub type Label = &'static str;

/// All labels of verdicts.
pub const LABELS: [Label; 17] = [
    "S-TRUST",
    "S-SCAN",
    "S-STALE",
    "S-SPLIT",
    "S-HOLE",
    "S-NOLINK",
    "S-SPARE",
    "S-FORGOTTEN",
    "S-NOROOM",
    "V-KEEP",
    "V-KEY",
    "V-NAMED",
    "V-VOID",
    "V-OLDER",
    "V-CUT",
    "V-TORN",
    "W-LIST",
];

/// Reads a label back. One that this version does not know, in what another version wrote, becomes `?`.
pub(crate) fn read_label<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Label, D::Error> {
    let read = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(LABELS.into_iter().find(|label| *label == read).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_record_facts_has_the_verdict_of_the_rules() {
        for bits in 0..16u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let facts = RecordFacts { header_ok: bit(0), payload_ok: bit(1), named: bit(2), synced: bit(3) };
            let (label, verdict) = record(facts);
            // The rules, said another way than the table says them.
            if facts.header_ok && facts.payload_ok {
                assert_eq!((label, verdict), ("V-KEEP", RecordVerdict::Keep), "{facts:?}");
                continue;
            }
            assert_ne!(verdict, RecordVerdict::Keep, "damage is never kept: {facts:?}");
            let key_known = facts.header_ok || facts.named;
            match verdict {
                RecordVerdict::ForgetKey => assert!(key_known, "{facts:?}"),
                RecordVerdict::ForgetOlder => assert!(!key_known && facts.synced, "{facts:?}"),
                RecordVerdict::Cut => assert!(!facts.synced, "what was durable is never cut: {facts:?}"),
                RecordVerdict::Keep => unreachable!(),
            }
            if facts.synced {
                assert_ne!(verdict, RecordVerdict::Cut, "{facts:?}");
            } else if facts.header_ok || !facts.named {
                assert_eq!(verdict, RecordVerdict::Cut, "{facts:?}");
            }
        }
    }

    #[test]
    fn every_combination_of_segment_facts_has_the_verdict_of_the_rules() {
        let relations = [Relation::First, Relation::Follows, Relation::OtherEnd, Relation::OtherUid, Relation::Hole];
        for bits in 0..64u32 {
            for relation in relations {
                let bit = |n: u32| bits & (1 << n) != 0;
                let facts = SegmentFacts {
                    header_ok: bit(0),
                    footer_ok: bit(1),
                    link_ok: bit(2),
                    has_batch: bit(3),
                    newest: bit(4),
                    synced: bit(5),
                    relation,
                };
                let (label, verdict, older_counts) = segment(facts);
                let readable = facts.footer_ok || (facts.header_ok && (facts.link_ok || facts.has_batch));
                match verdict {
                    SegmentVerdict::Trust => assert!(facts.footer_ok, "{facts:?}"),
                    SegmentVerdict::Scan => assert!(!facts.footer_ok && facts.header_ok && facts.link_ok, "{facts:?}"),
                    SegmentVerdict::ScanForgetOlder => {
                        assert!(!older_counts && facts.has_batch && facts.synced && !facts.link_ok, "{facts:?}");
                    }
                    SegmentVerdict::CutBefore => assert!(older_counts && !facts.synced && !facts.link_ok, "{facts:?}"),
                    SegmentVerdict::Spare => {
                        assert!(older_counts && facts.newest && !facts.has_batch && !facts.link_ok, "{facts:?}");
                    }
                    SegmentVerdict::Hole => assert!(!older_counts && !readable, "{facts:?}"),
                    SegmentVerdict::Stale => assert!(readable && relation == Relation::OtherEnd, "{facts:?}"),
                }
                if readable
                    && matches!(relation, Relation::OtherUid | Relation::Hole)
                    && (facts.footer_ok || facts.link_ok)
                {
                    assert!(!older_counts, "a hole forgets all that is older: {facts:?}");
                }
                assert!(label.starts_with("S-"));
            }
        }
    }
}
