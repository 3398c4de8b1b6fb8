//! Ending the handling of a message: what its member decides, and what became of that.

use std::sync::Arc;

use super::{MessageId, Tries};
use crate::{DeadLetter, Publication};
use silvertine_engine::span::Span;

/// How the handling of a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The message.
    pub id: MessageId,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is done: never delivered again, its key remembered, and these messages published with it. Where a
    /// message of the same key was done before, nothing is published.
    Done {
        /// The key by which another message is recognised as this one; none for a message that is known by its place
        /// alone and never comes again.
        key: Option<Arc<str>>,
        /// What the handler emitted.
        emit: Vec<Publication>,
    },
    /// It is delivered again after a pause, to any member.
    Retry {
        /// What is on record from now on.
        tries: Tries,
        /// The pause.
        after: Span,
    },
    /// Nobody will handle it.
    Dead(Box<DeadLetter>),
    /// The member did not get to it: it is due for others at once.
    Release,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Applied,
    /// A message with this key was done before: acknowledged, and nothing published.
    Duplicate,
    /// Nothing: the member no longer holds it, because it was settled, reclaimed or removed.
    Lost,
}
