//! The ways to torture a cache.

use crate::report::Tally;
use crate::runner::Options;
use crate::{bitflip, exhaustive, io_errors, kill, power, truncate};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What is done to caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Random lives on a simulated disk that end in power cuts and kills, also while the store is recovered.
    Power,
    /// Every sequence of a few operations, cut at every call, in every state that a power cut may leave.
    Exhaustive,
    /// A store cut at every byte of every file, without any one or two of them, and at pairs of record borders.
    Truncate,
    /// A store with every bit flipped, bytes cleared and set, pages zeroed, swapped and duplicated.
    Bitflip,
    /// Every call of the disk that fails, once or from then on, in each way that calls fail.
    IoErrors,
    /// A real process that is killed, again and again on one store.
    Kill,
    /// All of these, one after the other.
    All,
}

/// Which of the two forms that a mode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Minutes, for every change.
    #[default]
    Quick,
    /// Hours, before a release.
    Long,
}

impl Effort {
    /// One number for each form.
    pub fn of<T>(self, quick: T, long: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Long => long,
        }
    }
}

/// The cases of a mode.
pub(crate) trait Cases: Sync {
    /// How many there are; `None` where each number makes another.
    fn count(&self) -> Option<u64>;
    /// How many are run where nobody says.
    fn runs(&self) -> u64;
    /// Whether several may run at once: not where they share the machine's disk, or measure time.
    fn is_parallel(&self) -> bool {
        true
    }
    /// Runs one. A broken promise is a panic.
    fn run(&self, case: u64, tally: &mut Tally);
}

impl Mode {
    /// The modes that [`Mode::All`] stands for, in this order.
    pub const EACH: [Self; 6] =
        [Self::Power, Self::Exhaustive, Self::Truncate, Self::Bitflip, Self::IoErrors, Self::Kill];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Exhaustive => "exhaustive",
            Self::Truncate => "truncate",
            Self::Bitflip => "bitflip",
            Self::IoErrors => "io-errors",
            Self::Kill => "kill",
            Self::All => "all",
        }
    }

    pub(crate) fn cases(self, options: &Options) -> Box<dyn Cases> {
        match self {
            Self::Power => Box::new(power::Power::new(options)),
            Self::Exhaustive => Box::new(exhaustive::Exhaustive::new(options)),
            Self::Truncate => Box::new(truncate::Truncate::new(options)),
            Self::Bitflip => Box::new(bitflip::Bitflip::new(options)),
            Self::IoErrors => Box::new(io_errors::IoErrors::new(options)),
            Self::Kill => Box::new(kill::Kill::new(options)),
            Self::All => unreachable!("the runner takes it apart"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::EACH.into_iter().chain([Self::All]);
        let found = all.clone().find(|mode| mode.name() == text);
        found.ok_or_else(|| format!("no mode '{text}': {}", all.map(Self::name).collect::<Vec<_>>().join(", ")))
    }
}
