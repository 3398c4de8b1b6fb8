//! What can go wrong with a store of streams, whether it took effect, and whether waiting mends it.
//!
//! A store has no owner and no head, so the errors of a [log](silvertine_engine::log::LogError) about fencing, lost
//! tails and trimmed ranges do not exist here. What is left has the same meaning in both, because the adapters classify
//! the answers of sled, redb and Redis once: [`From`] translates.

use std::fmt;

use silvertine_engine::log::{Applied, LogError, LogErrorKind};

/// A failed operation on a store of streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store}: {operation}: {kind}{}", MaybeApplied(.applied))]
pub struct StoreError {
    /// What went wrong.
    pub kind: StoreErrorKind,
    /// Whether it took effect.
    pub applied: Applied,
    /// The operation: `publish`, `settle`, …
    pub operation: &'static str,
    /// The store, as the user named it, without passwords.
    pub store: String,
}

/// What went wrong with an operation on a store of streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Cannot be reached at the moment.
    #[error("unavailable: {why}")]
    Unavailable {
        /// Why, in the store's words.
        why: String,
    },
    /// A stream is full and refuses more, or the store has no memory or disk left.
    #[error("refuses writes: {why}")]
    RefusesWrites {
        /// Why, in the store's words.
        why: String,
    },
    /// It failed in a way after which this handle is of no use; opened again, the store tells what survived.
    #[error("must be opened again: {why}")]
    NeedsReopen {
        /// What went wrong before.
        why: String,
    },
    /// Wrong password or missing permission.
    #[error("access denied: {why}")]
    Denied {
        /// Why, in the store's words.
        why: String,
    },
    /// Another process has it open.
    #[error("in use by another process: {why}")]
    Locked {
        /// Which lock.
        why: String,
    },
    /// Something else lies under a name of ours.
    #[error("not streams of ours: {why}")]
    Foreign {
        /// What lies there.
        why: String,
    },
    /// A record does not check out.
    #[error("corrupt record at {at}: {why}")]
    Corrupt {
        /// The record.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer version of this software.
    #[error("store format version {found} is newer than {known}, the newest this build reads")]
    TooNew {
        /// The version found.
        found: u64,
        /// The newest version known.
        known: u64,
    },
    /// The call makes no sense; a mistake of the caller.
    #[error("invalid call: {why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed after a pause. Everything else takes a person to mend.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }
}

impl StoreErrorKind {
    /// See [`StoreError::is_retryable`].
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::RefusesWrites { .. })
    }
}

impl From<LogErrorKind> for StoreErrorKind {
    fn from(kind: LogErrorKind) -> Self {
        match kind {
            LogErrorKind::Unavailable { why } => Self::Unavailable { why },
            LogErrorKind::RefusesWrites { why } => Self::RefusesWrites { why },
            LogErrorKind::NeedsReopen { why } => Self::NeedsReopen { why },
            LogErrorKind::Denied { why } => Self::Denied { why },
            LogErrorKind::Locked { why } => Self::Locked { why },
            LogErrorKind::Foreign { why } => Self::Foreign { why },
            LogErrorKind::Corrupt { at, why } => Self::Corrupt { at, why },
            LogErrorKind::TooNew { found, known } => Self::TooNew { found, known },
            LogErrorKind::Invalid { why } => Self::Invalid { why },
            // Owners, heads and trimmed ranges: no adapter says this of a store of streams.
            other => Self::Foreign { why: other.to_string() },
        }
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        let LogError { kind, applied, operation, log } = error;
        Self { kind: kind.into(), applied, operation, store: log }
    }
}

struct MaybeApplied<'a>(&'a Applied);

impl fmt::Display for MaybeApplied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Applied::No => Ok(()),
            Applied::Maybe => f.write_str(" (it may have taken effect)"),
            Applied::Yes => f.write_str(" (it took effect)"),
        }
    }
}
