//! Errors of a log: the cause, whether the operation took effect, and what to do.

use std::fmt;

use super::Epoch;
use crate::pos::Pos;

/// Whether a failed operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It did not, and never will.
    No,
    /// It may have, or still may: ask the log before deciding anything.
    Maybe,
    /// It did.
    Yes,
}

/// What to do about a failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Send the same again, after a pause.
    Retry,
    /// Stop: another owner has the partition now.
    StandDown,
    /// Stop: the log differs from what this owner knows of it; recover from the log.
    Resync,
    /// Stop: only a person can correct this.
    GiveUp,
}

/// A failed operation on a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{log}: {operation}: {kind}{}", AppliedNote(.applied))]
pub struct LogError {
    /// Why it failed.
    pub kind: LogErrorKind,
    /// Whether it took effect.
    pub applied: Applied,
    /// The operation: `commit`, `acquire`, …
    pub operation: &'static str,
    /// The log, as the user named it, without passwords.
    pub log: String,
}

/// Why an operation on a log failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// Another owner has acquired the partition.
    #[error("fenced: another owner has taken the partition over (our epoch {ours:?}, now {current:?})",
        ours = .ours.0, current = .current.0)]
    Fenced {
        /// The epoch of the lease that was used.
        ours: Epoch,
        /// The partition's epoch.
        current: Epoch,
    },
    /// The head is not where this commit expects it.
    #[error("the log ends at {head}, not at {expected} as expected")]
    Conflict {
        /// What the commit expected.
        expected: Pos,
        /// The head that is there.
        head: Pos,
    },
    /// Acknowledged entries are gone: a failover or a crash of the server lost the tail.
    #[error(
        "the log lost its tail: entries after {head} up to {expected} were acknowledged and are gone"
    )]
    LostTail {
        /// The head that had been acknowledged.
        expected: Pos,
        /// The head that is there.
        head: Pos,
    },
    /// The partition's meta record is gone although it was there: flushed, deleted or replaced.
    #[error("the partition is gone: it was deleted or the store was flushed")]
    Gone,
    /// The wanted entries have been trimmed.
    #[error("entries up to {through} have been trimmed")]
    Trimmed {
        /// Everything up to here is gone.
        through: Pos,
    },
    /// A record is damaged.
    #[error("corrupt record at {at}: {why}")]
    Corrupt {
        /// Where: a position, or the name of a record.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer version of this software.
    #[error("log format version {found} is newer than {known}, the newest this build reads")]
    TooNew {
        /// The version found.
        found: u64,
        /// The newest version known.
        known: u64,
    },
    /// Cannot be reached at the moment.
    #[error("unavailable: {why}")]
    Unavailable {
        /// Why, in the backend's words.
        why: String,
    },
    /// An earlier failure made this handle unusable. Open the log again to see what it holds.
    #[error("must be opened again: {why}")]
    NeedsReopen {
        /// What went wrong before.
        why: String,
    },
    /// It refuses writes at the moment: out of memory, disk full, read-only, not enough replicas.
    #[error("refuses writes: {why}")]
    RefusesWrites {
        /// Why, in the backend's words.
        why: String,
    },
    /// Wrong password or missing permission.
    #[error("access denied: {why}")]
    Denied {
        /// Why, in the backend's words.
        why: String,
    },
    /// Another process has it open.
    #[error("in use by another process: {why}")]
    Locked {
        /// Which lock.
        why: String,
    },
    /// Something else than a log of this software is stored under its name.
    #[error("not a log of ours: {why}")]
    Foreign {
        /// What is stored there.
        why: String,
    },
    /// The arguments are invalid: an error of the caller.
    #[error("invalid call: {why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
}

impl LogError {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> Advice {
        match self.kind {
            LogErrorKind::Unavailable { .. } | LogErrorKind::RefusesWrites { .. } => Advice::Retry,
            LogErrorKind::Fenced { .. } => Advice::StandDown,
            LogErrorKind::Conflict { .. } | LogErrorKind::LostTail { .. } => Advice::Resync,
            _ => Advice::GiveUp,
        }
    }
}

struct AppliedNote<'a>(&'a Applied);

impl fmt::Display for AppliedNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Applied::No => Ok(()),
            Applied::Maybe => f.write_str(" (it may have taken effect)"),
            Applied::Yes => f.write_str(" (it took effect)"),
        }
    }
}
