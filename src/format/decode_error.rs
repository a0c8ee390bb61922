//! Why bytes were not believed: one variant for each way to be wrong, with the structure it was to be.

use std::fmt;

/// Bytes that are not the structure they were read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// The structure, as the specification names it.
    pub structure: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Fewer bytes than the structure has.
    Truncated {
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The checksum does not match.
    Checksum {
        /// Computed over the bytes that are there.
        expected: u32,
        /// Read.
        found: u32,
    },
    /// The magic is another.
    Magic,
    /// A version later than this crate knows.
    Version {
        /// Highest version known.
        expected: u32,
        /// Read.
        found: u32,
    },
    /// A required feature that this crate does not know.
    Feature {
        /// The bits that are not known.
        unknown: u64,
    },
    /// A field with a value that its table does not allow, under a good checksum.
    Field {
        /// The field's name in the specification.
        field: &'static str,
        /// Its value.
        found: u64,
    },
}

impl DecodeError {
    pub(crate) const fn new(structure: &'static str, fault: Fault) -> Self {
        Self { structure, fault }
    }

    /// Whether the bytes are sound but made for a later version or with an unknown feature.
    pub fn is_incompatible(&self) -> bool {
        matches!(self.fault, Fault::Version { .. } | Fault::Feature { .. })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.structure;
        match self.fault {
            Fault::Truncated { expected, found } => write!(f, "{name}: expected {expected} bytes, found {found}"),
            Fault::Checksum { expected, found } => {
                write!(f, "{name}: expected checksum {expected:08x}, found {found:08x}")
            }
            Fault::Magic => write!(f, "{name}: not the expected magic"),
            Fault::Version { expected, found } => {
                write!(f, "{name}: format version {found}, this library reads up to {expected}")
            }
            Fault::Feature { unknown } => write!(f, "{name}: requires unknown features {unknown:#x}"),
            Fault::Field { field, found } => write!(f, "{name}: field {field} has the invalid value {found}"),
        }
    }
}

impl std::error::Error for DecodeError {}
