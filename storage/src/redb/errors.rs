//! What redb's errors mean, and when a handle is of no use any more.

use silvertine_engine::log::{Applied, LogError, LogErrorKind};

use super::{RedbLog, seam::Foreign};
use crate::{disk, records::corrupt};

/// What a damaged file of redb is called.
pub(crate) const FILE: &str = "redb's file";

/// Why a handle is of no use any more.
pub(super) struct Broken {
    why: String,
    /// Whether what failed then may be in the log.
    applied: Applied,
}

pub(crate) fn error(name: &str, operation: &'static str, kind: LogErrorKind) -> LogError {
    LogError { kind, applied: Applied::No, operation, log: format!("redb:{name}") }
}

/// What an error of redb means.
pub(crate) fn kind(why: &redb::Error) -> LogErrorKind {
    let text = why.to_string();
    match why {
        redb::Error::Corrupted(_)
        // Our tables have the types they were created with, unless somebody damaged the file.
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        // So old a format was never written here.
        | redb::Error::UpgradeRequired(_) => corrupt(FILE, text),
        redb::Error::Io(io) if io.get_ref().is_some_and(|inner| inner.is::<Foreign>()) => {
            LogErrorKind::Foreign { why: io.to_string() }
        }
        redb::Error::Io(io) => disk::io_kind(io, io.to_string(), FILE),
        redb::Error::DatabaseAlreadyOpen => LogErrorKind::Locked { why: text },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
            LogErrorKind::NeedsReopen { why: text }
        }
        redb::Error::ValueTooLarge(_) => LogErrorKind::Invalid { why: text },
        _ => LogErrorKind::Unavailable { why: text },
    }
}

/// Whether redb does nothing more with the file after this error.
pub(crate) fn ends_everything(why: &redb::Error) -> bool {
    use redb::Error::{DatabaseClosed, Io, LockPoisoned, PreviousIo};
    matches!(why, Io(_) | PreviousIo | DatabaseClosed | LockPoisoned(_))
}

impl RedbLog {
    pub(super) fn error(&self, operation: &'static str, kind: LogErrorKind) -> LogError {
        error(&self.inner.name, operation, kind)
    }

    /// What an error of redb before a commit means.
    pub(super) fn failed(&self, operation: &'static str, why: impl Into<redb::Error>) -> LogError {
        let why = why.into();
        let error = self.error(operation, kind(&why));
        if ends_everything(&why) {
            self.give_up(&error);
        }
        error
    }

    /// Remembers why nothing works any more; the first reason counts.
    pub(super) fn give_up(&self, error: &LogError) {
        let why = match &error.kind {
            LogErrorKind::NeedsReopen { why } => why.clone(),
            other => other.to_string(),
        };
        let _first = self.inner.broken.set(Broken { why, applied: error.applied });
    }

    /// Refuses what could not succeed. What is to be written may be in the log already, if it is what
    /// failed before.
    pub(super) fn check_usable(
        &self,
        operation: &'static str,
        writes: bool,
    ) -> Result<(), LogError> {
        let Some(Broken { why, applied }) = self.inner.broken.get() else { return Ok(()) };
        let applied = if writes { *applied } else { Applied::No };
        let kind = LogErrorKind::NeedsReopen { why: why.clone() };
        Err(LogError { applied, ..self.error(operation, kind) })
    }

    /// Runs what calls redb. It panics on some damaged files; here that is an error like any other.
    pub(super) fn shielded<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        disk::shielded(call).unwrap_or_else(|panic| Err(self.error(operation, panicked(&panic))))
    }
}

/// What a panic of redb means.
pub(crate) fn panicked(panic: &str) -> LogErrorKind {
    corrupt(FILE, format!("redb gave up: {panic}"))
}
