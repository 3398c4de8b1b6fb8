//! The reports of a run: its progress, and how it ended.

use std::time::Duration;

use crate::{
    counts::Counts,
    digest::Digest,
    engine::EngineError,
    feed::FeedError,
    halt::Halt,
    log::LogError,
    park::ParkedKey,
    pos::Pos,
    recovery::{ReplayError, Replayed},
    time::Nanos,
};

/// Watches a run, for progress bars and latency. An observer cannot influence the run.
pub trait Observer: Send {
    /// An input is about to be handled.
    fn taken(&mut self) {}
    /// Every input taken so far is committed.
    fn committed(&mut self, _progress: Progress) {}
    /// The log behind the snapshot is being re-executed; `pos` has been reached.
    fn replaying(&mut self, _pos: Pos) {}
    /// The log did not answer; the next attempt comes after `pause`.
    fn retrying(&mut self, _error: &LogError, _attempt: u32, _pause: Duration) {}
}

/// Watches nothing.
impl Observer for () {}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Totals over the log.
    pub counts: Counts,
    /// Engine time.
    pub time: Nanos,
    /// How much the feed has read, and how much there is in all, in one unit (bytes or rows).
    pub feed: Option<(u64, u64)>,
}

/// The result of a run that ended without an error.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The head of the log.
    pub head: Pos,
    /// Digest over the whole log.
    pub digest: Digest,
    /// Totals over the whole log.
    pub counts: Counts,
    /// Inputs handled by this process.
    pub inputs_here: u64,
    /// Duplicates refused since the log began.
    pub duplicates: u64,
    /// What recovery had to re-execute; `None` when the log was empty.
    pub replayed: Option<Replayed>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The feed ended.
    Finished,
    /// A stop was requested; a later run can continue from here.
    Stopped,
}

/// Why a run failed. Everything acknowledged before stays in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The log failed beyond retrying.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The inputs failed. What came before is committed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A handler failed on an event whose failures halt, now or in an earlier run. Everything up to the record of the
    /// failure is committed. Nothing later is handled before a run with [`past_halt`](super::RunRequest::past_halt).
    #[error("{0}")]
    Halted(Box<Halt>),
    /// A [`releases`](super::RunRequest::releases) names a key under which nothing is parked. Nothing was changed.
    #[error("nothing is parked under {key}")]
    NotParked {
        /// The key.
        key: ParkedKey,
        /// The keys under which something is parked.
        parked: Vec<ParkedKey>,
    },
    /// Recovery failed.
    #[error("recovery: {0}")]
    Replay(#[from] ReplayError),
    /// Acknowledged entries are gone. Found while there was nothing to commit.
    #[error(
        "the log lost its tail: entries after {head} up to {expected} were acknowledged and are gone"
    )]
    LostTail {
        /// The head that had been acknowledged.
        expected: Pos,
        /// The head that is there.
        head: Pos,
    },
    /// The log was created with another manifest.
    #[error("the log was written by another scenario, other parameters or another seed")]
    OtherManifest {
        /// What the log was created with.
        stored: Vec<u8>,
    },
    /// The log is not empty, and the request does not allow to continue it.
    #[error("the log already holds entries up to {head}")]
    NotEmpty {
        /// Its head.
        head: Pos,
    },
    /// The checkpoint does not decode.
    #[error("the log's checkpoint does not decode: {0}")]
    Checkpoint(String),
}
