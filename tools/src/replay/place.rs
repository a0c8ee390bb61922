//! Where caches live while they are replayed.
//!
//! Invariant: a directory that holds something is never touched.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::replay::cleanup::Temporary;

/// Where a cache lives: the user's directory, or a temporary one.
pub(crate) struct Place {
    /// The cache's directory; not made yet, or empty.
    pub(crate) dir: PathBuf,
    /// Held for its end: that removes the directory.
    _temporary: Option<Temporary>,
    /// Where the user's directory is, so that the control stands on the same file system.
    parent: Option<PathBuf>,
}

impl Place {
    /// The user's directory, which must be new or empty, or else a temporary one.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Place, Failure> {
        let Some(dir) = dir else { return Place::temporary(None) };
        if is_occupied(dir)? {
            let message = "is not empty; the oracle must know everything in it, so replay wants a new directory";
            return Err(Failure::new(format!("{} {message}", dir.display())));
        }
        let dir = std::path::absolute(dir)?;
        let parent = dir.parent().filter(|parent| parent.is_dir()).map(Path::to_owned);
        Ok(Place { dir, _temporary: None, parent })
    }

    /// A temporary one on the same file system.
    pub(crate) fn beside(place: &Place) -> Result<Place, Failure> {
        Place::temporary(place.parent.as_deref())
    }

    fn temporary(parent: Option<&Path>) -> Result<Place, Failure> {
        let temporary = Temporary::new(parent)?;
        Ok(Place {
            dir: temporary.path().join("cache"),
            _temporary: Some(temporary),
            parent: parent.map(Path::to_owned),
        })
    }
}

/// Whether a directory is there and holds something.
fn is_occupied(dir: &Path) -> Result<bool, Failure> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::new(format!("cannot look at {}: {error}", dir.display()))),
    }
}
