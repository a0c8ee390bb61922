//! The directory of a simulated disk: names now, names on the medium, and the operations between.
//!
//! Invariant I-SIM-3: at most one name stands for a file, in the directory and after every crash: an operation that survives takes the file's other
//! names away.

use super::random::Random;
use std::collections::BTreeMap;

/// Number of a file, as an inode's.
pub(super) type FileId = u64;
pub(super) type Names = BTreeMap<String, FileId>;

/// A directory operation that no sync has confirmed.
#[derive(Debug, Clone)]
enum Change {
    /// The file has this name and no other.
    Name { name: String, file: FileId },
    /// The name is gone, if it stood for this file.
    Unlink { name: String, file: FileId },
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Name { name, file } => {
                names.retain(|_, other| other != file);
                names.insert(name.clone(), *file);
            }
            Self::Unlink { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
        }
    }

    fn file(&self) -> FileId {
        match self {
            Self::Name { file, .. } | Self::Unlink { file, .. } => *file,
        }
    }
}

/// Names, and what of them would survive.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    names: Names,
    durable_names: Names,
    unsynced: Vec<Change>,
}

impl Directory {
    pub(super) fn all_durable(names: Names) -> Self {
        Self { durable_names: names.clone(), names, unsynced: Vec::new() }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Operations that a power cut decides on.
    pub(super) fn undecided_count(&self) -> u64 {
        self.unsynced.len() as u64
    }

    pub(super) fn find(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    /// Gives a file its one name: creates or renames.
    pub(super) fn name(&mut self, name: &str, file: FileId) {
        self.change(Change::Name { name: name.to_owned(), file });
    }

    pub(super) fn unlink(&mut self, name: &str, file: FileId) {
        self.change(Change::Unlink { name: name.to_owned(), file });
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable_names);
        }
    }

    /// A sync that failed: some operations arrived, and the rest is forgotten.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.durable_names = self.pick_survivors(random);
        self.unsynced.clear();
    }

    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        Self::all_durable(self.pick_survivors(random))
    }

    /// Whether a name stands for the file, now or after some crash.
    pub(super) fn reaches(&self, file: FileId) -> bool {
        let has = |names: &Names| names.values().any(|&other| other == file);
        has(&self.names) || has(&self.durable_names) || self.unsynced.iter().any(|change| change.file() == file)
    }

    /// Enters and takes away names as if both had been synced.
    pub(super) fn edit_durably(&mut self, name: &str, file: Option<FileId>) {
        if let Some(old) = self.find(name) {
            self.unlink(name, old);
        }
        if let Some(file) = file {
            self.name(name, file);
        }
        self.sync();
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn pick_survivors(&self, random: &mut Random) -> Names {
        let odds = random.odds();
        let mut names = self.durable_names.clone();
        for change in &self.unsynced {
            if random.wins(odds) {
                change.apply(&mut names);
            }
        }
        names
    }
}
