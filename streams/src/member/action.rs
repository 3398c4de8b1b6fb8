//! What a member's state machine tells its shell to do, and how the shell tells that a handler ended.

use std::{sync::Arc, time::Duration};

use crate::{
    FetchScope, HandlerFailure, LaneOrder, Message, MessageId, Publication, Settlement, Tries,
};

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the store for messages, see [`Fetch`](crate::Fetch); report with
    /// [`fetched`](crate::MemberMachine::fetched). One at a time.
    Fetch {
        /// At most so many.
        limit: usize,
        /// How long to wait for the first.
        wait: Duration,
        /// Which messages.
        scope: FetchScope,
        /// Which lane first.
        lanes: LaneOrder,
    },
    /// Have the store record these tries; report with [`began`](crate::MemberMachine::began).
    Begin(Vec<(MessageId, Tries)>),
    /// Start the handler; report with [`handled`](crate::MemberMachine::handled). Any number side by side.
    Handle(Work),
    /// Settle; report with [`settled`](crate::MemberMachine::settled).
    Settle(Vec<Settlement>),
    /// Show that these are still worked on; report with [`extended`](crate::MemberMachine::extended).
    Extend(Vec<MessageId>),
    /// Cancel handlers that still run: their messages are about to be released.
    Abandon(Vec<MessageId>),
    /// Leave the group; report with [`left`](crate::MemberMachine::left).
    Leave,
    /// All is done: stop.
    Stop,
}

/// A message for a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where it stands.
    pub id: MessageId,
    /// The message, as its producer wrote it.
    pub message: Arc<Message>,
    /// Where it stood first: elsewhere, if it was redriven from the dead letters.
    pub origin: MessageId,
    /// Its producer's key.
    pub key: Option<Arc<str>>,
    /// Which attempt this is, from one.
    pub attempt: u32,
    /// How often it was redriven from the dead letters.
    pub redrives: u32,
}

impl Work {
    /// Names the message for the outside world: the same at every delivery, retry and redrive.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(self.key.as_deref(), &self.origin)
    }
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerOutcome {
    /// It did its work, and these messages are to be published with it.
    Done(Vec<Publication>),
    /// It failed.
    Failed(HandlerFailure),
    /// The payload does not decode.
    Undecodable(String),
    /// It panicked.
    Panicked(String),
    /// It did not end in time.
    TimedOut,
}

/// The name of a message for the outside world: its producer's key, or else the place where it stood first.
pub(super) fn name_of(key: Option<&str>, origin: &MessageId) -> String {
    key.map_or_else(|| origin.to_string(), str::to_owned)
}
