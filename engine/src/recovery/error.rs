//! Why a log could not be replayed, and where re-execution and log differ.

use std::fmt;

use crate::{
    codec::{DecodeError, decode_entry},
    digest::Digest,
    engine::EngineError,
    event::Event,
    log::LogError,
    pos::Pos,
};

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An entry does not decode.
    #[error("entry at {pos} does not decode: {why}")]
    Undecodable {
        /// Which entry.
        pos: Pos,
        /// Why.
        why: DecodeError,
    },
    /// The handlers do not produce what the log holds.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The entries agree but the stored digest is another.
    #[error("digest differs at {pos}: the log says {stored}, its entries give {computed}")]
    Digest {
        /// The head.
        pos: Pos,
        /// What the log says.
        stored: Digest,
        /// What its entries give.
        computed: Digest,
    },
    /// The log ends before the head that it had when it was acquired: a failover or a crash of the server lost the tail.
    #[error(
        "the log lost its tail: entries after {head} up to {expected} were acknowledged and are gone"
    )]
    LostTail {
        /// The head that had been acknowledged.
        expected: Pos,
        /// The last entry that is there.
        head: Pos,
    },
    /// The beginning of the log is trimmed and no snapshot covers it.
    #[error("entries up to {through} are trimmed and no snapshot covers them")]
    NoSnapshot {
        /// Everything up to here is gone.
        through: Pos,
    },
}

/// The first position at which re-execution and log differ. Causes: a handler's behaviour changed, it is not deterministic,
/// or its snapshot does not hold its whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Where.
    pub pos: Pos,
    /// What the log holds there; `None` when it ends before.
    pub logged: Option<Event>,
    /// What the handlers produce there; `None` when they produce nothing.
    pub produced: Option<Event>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let describe = |event: &Option<Event>| match event {
            None => "nothing".to_owned(),
            Some(event) => {
                format!("a {} event of {}", event.body.topic(), event.header.source)
            }
        };
        write!(
            f,
            "re-execution differs at {}: the log holds {}, the handlers produce {}",
            self.pos,
            describe(&self.logged),
            describe(&self.produced)
        )
    }
}

pub(super) fn diverged(pos: Pos, logged: Option<&[u8]>, produced: Option<&[u8]>) -> ReplayError {
    let decode = |bytes: Option<&[u8]>| bytes.and_then(|bytes| decode_entry(bytes).ok());
    let (logged, produced) = (decode(logged), decode(produced));
    ReplayError::Diverged(Box::new(Divergence { pos, logged, produced }))
}
