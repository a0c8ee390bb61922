//! Faults of the simulated disk: which call fails, with what, and when the simulated process dies.
//!
//! Knows how calls are counted. Does not know what a failing call leaves behind.

use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// What a call to the simulated disk does; what faults are aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimOp {
    /// Writing bytes.
    Write,
    /// Reading bytes, other than through a mapping.
    Read,
    /// `sync_data`.
    Sync,
    /// `sync_dir`.
    SyncDir,
    /// Preallocating.
    Allocate,
    /// Renaming.
    Rename,
    /// Unlinking.
    Unlink,
    /// Creating a file.
    Create,
    /// Opening a file that exists.
    Open,
    /// Cutting a file.
    Truncate,
    /// Mapping a file.
    Map,
    /// Taking the directory's lock.
    Lock,
    /// Listing the directory.
    List,
    /// Each of the above.
    Any,
}

impl SimOp {
    /// Whether such a call can change what a crash leaves.
    pub fn mutates(self) -> bool {
        !matches!(self, Self::Read | Self::Open | Self::Map | Self::List)
    }
}

/// Why a simulated call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimCause {
    /// The medium fails: EIO.
    Io,
    /// No room: ENOSPC.
    Full,
    /// No descriptors: EMFILE.
    TooManyFiles,
    /// A signal came in between, or the call did only a part: it is continued, and the caller sees nothing of it.
    Interrupted,
}

/// A fault to inject with [`SimDisk::fail_nth`](super::SimDisk::fail_nth).
///
/// A write that fails may land in part: any prefix of it. A sync that fails makes an unknown part durable and forgets the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimFault {
    cause: SimCause,
    is_lasting: bool,
}

impl SimFault {
    /// One call fails.
    pub fn once(cause: SimCause) -> Self {
        Self { cause, is_lasting: false }
    }

    /// One call and all later ones of its kind fail.
    pub fn forever(cause: SimCause) -> Self {
        Self { cause, is_lasting: true }
    }
}

/// Why a call is not carried out.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It failed.
    Fault(Errno),
    /// The process died while it was under way.
    Died,
    /// The process had died before.
    Dead,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(errno) => errno.into(),
            Refusal::Died | Refusal::Dead => Self::other("the simulated process is dead"),
        }
    }
}

/// What is to fail, and the count of calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    op_count: u64,
    /// Calls of each kind.
    call_counts: BTreeMap<SimOp, u64>,
    /// Value of `op_count` at which the process dies.
    death: Option<u64>,
}

#[derive(Debug)]
struct Armed {
    op: SimOp,
    /// Calls until it fires, that one included; 0 once it has.
    left_count: u64,
    fault: SimFault,
}

impl Faults {
    pub(super) fn arm(&mut self, op: SimOp, nth: u64, fault: SimFault) {
        self.armed.push(Armed { op, left_count: nth.max(1), fault });
    }

    pub(super) fn disarm(&mut self) {
        self.armed.clear();
        self.death = None;
    }

    pub(super) fn die_at(&mut self, nth: u64) {
        self.death = Some(self.op_count + nth.max(1));
    }

    pub(super) fn op_count(&self) -> u64 {
        self.op_count
    }

    pub(super) fn call_count(&self, op: SimOp) -> u64 {
        match op {
            SimOp::Any => self.call_counts.values().sum(),
            op => self.call_counts.get(&op).copied().unwrap_or(0),
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.death.is_some_and(|death| self.op_count >= death)
    }

    /// Counts a call, and says whether it may go on.
    pub(super) fn begin(&mut self, op: SimOp) -> Result<(), Refusal> {
        if self.is_dead() {
            return Err(Refusal::Dead);
        }
        *self.call_counts.entry(op).or_default() += 1;
        if op.mutates() {
            self.op_count += 1;
            if self.is_dead() {
                return Err(Refusal::Died);
            }
        }
        let mut cause = None;
        for armed in &mut self.armed {
            if armed.op != op && armed.op != SimOp::Any {
                continue;
            }
            let is_due = match armed.left_count {
                0 => armed.fault.is_lasting,
                left_count => {
                    armed.left_count = left_count - 1;
                    left_count == 1
                }
            };
            if is_due {
                cause = cause.or(Some(armed.fault.cause));
            }
        }
        match cause {
            None | Some(SimCause::Interrupted) => Ok(()),
            Some(SimCause::Io) => Err(Refusal::Fault(Errno::IO)),
            Some(SimCause::Full) => Err(Refusal::Fault(Errno::NOSPC)),
            Some(SimCause::TooManyFiles) => Err(Refusal::Fault(Errno::MFILE)),
        }
    }
}
