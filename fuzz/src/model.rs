//! The oracle: which values a key may have, in a cache that may forget but not err.
//!
//! Time is a count of mutations. A crash keeps the mutations up to some point of that count, the same one for all keys and never before the last
//! one that was made durable; what is served afterwards narrows down where the point was. A miss is always allowed.

use std::collections::BTreeMap;

/// What a key may hold: a version, or nothing.
pub type State = Option<u64>;

/// One mutation of a key: what it may hold from then on.
#[derive(Debug, Clone)]
struct Step {
    at: u64,
    may_hold: Vec<State>,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Model {
    now: u64,
    durable: u64,
    keys: BTreeMap<u16, Vec<Step>>,
    /// After a crash: it kept the mutations up to a point in here, both ends included.
    kept: Option<(u64, u64)>,
}

impl Model {
    /// A mutation gave a key a value, or took it away.
    pub fn set(&mut self, key: u16, state: State) {
        self.settle();
        self.now += 1;
        self.keys.entry(key).or_default().push(Step { at: self.now, may_hold: vec![state] });
    }

    /// A mutation took all values away.
    pub fn clear(&mut self) {
        self.settle();
        self.now += 1;
        for steps in self.keys.values_mut() {
            steps.push(Step { at: self.now, may_hold: vec![None] });
        }
    }

    /// All mutations so far are durable.
    pub fn synced(&mut self) {
        self.settle();
        self.durable = self.now;
    }

    /// The process died, or the power went.
    pub fn crash(&mut self) {
        self.settle();
        self.kept = Some((self.durable, self.now));
    }

    /// Versions that a key may hold now.
    pub fn may_hold(&self, key: u16) -> Vec<State> {
        let steps = self.keys.get(&key).map_or(&[][..], Vec::as_slice);
        let (first, last) = self.kept.unwrap_or((self.now, self.now));
        let before = steps.iter().rposition(|step| step.at <= first);
        let mut may_hold: Vec<State> = if before.is_none() { vec![None] } else { Vec::new() };
        for step in steps.iter().skip(before.unwrap_or(0)).filter(|step| step.at <= last) {
            may_hold.extend(&step.may_hold);
        }
        may_hold
    }

    /// A key was served in this version. Panics if it cannot hold it.
    pub fn served(&mut self, key: u16, version: u64) {
        let may_hold = self.may_hold(key);
        assert!(
            may_hold.contains(&Some(version)),
            "key {key} was served in version {version}; allowed: {may_hold:?}, a crash kept {:?}",
            self.kept
        );
        let steps = self.keys.get_mut(&key).expect("a key that may hold something has a step");
        match &mut self.kept {
            None => steps.last_mut().expect("as above").may_hold = vec![Some(version)],
            Some((first, last)) => {
                // Only one version is held at a time: the crash came after the step that made it and before the next one.
                let Some(index) =
                    steps.iter().rposition(|step| step.at <= *last && step.may_hold.contains(&Some(version)))
                else {
                    return;
                };
                if steps[index].at > *first {
                    *first = steps[index].at;
                }
                if let Some(next) = steps.get(index + 1)
                    && next.at <= *last
                {
                    *last = next.at - 1;
                }
                steps[index].may_hold = vec![Some(version)];
            }
        }
    }

    /// After a crash and a look at all keys: from here on the crash is a matter of the past.
    fn settle(&mut self) {
        if self.kept.is_none() {
            return;
        }
        let keys: Vec<u16> = self.keys.keys().copied().collect();
        let collapsed = keys.into_iter().map(|key| {
            let mut may_hold = self.may_hold(key);
            may_hold.sort_unstable();
            may_hold.dedup();
            (key, vec![Step { at: 0, may_hold }])
        });
        self.keys = collapsed.collect();
        self.kept = None;
        // Mutations after the crash are newer than all that it left, and what it left is what a further crash may fall back to.
        self.durable = self.now;
    }
}
