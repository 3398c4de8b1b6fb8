//! What a member knows of a message that it holds.

use std::sync::Arc;

use crate::{Disposition, Message, MessageId, Tries};
use silvertine_engine::span::Span;

/// A message in this member's hands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Arc<Message>,
    pub(super) key: Option<Arc<str>>,
    pub(super) origin: MessageId,
    pub(super) redrives: u32,
    pub(super) tries: Tries,
    pub(super) deliveries: u64,
    /// The member releases it: its handler was not started, or was stopped.
    pub(super) given_back: bool,
    pub(super) stage: Stage,
}

impl Held {
    /// The key under which the store is to remember it: its producer's, or the place where it stood before it was
    /// redriven. A message without a key that was never redriven needs no entry: once settled, it never comes again from
    /// its place.
    pub(super) fn remembered_as(&self, id: &MessageId) -> Option<Arc<str>> {
        match &self.key {
            Some(key) => Some(Arc::clone(key)),
            None if self.origin == *id => None,
            None => Some(self.origin.to_string().into()),
        }
    }

    /// Releases a message whose handler was stopped or had not started. A recorded start is taken back, because no
    /// process died of it.
    pub(super) fn give_back(&mut self) -> Disposition {
        self.stage = Stage::Settling;
        self.given_back = true;
        if self.tries.starts == 0 {
            return Disposition::Release;
        }
        self.tries.starts -= 1;
        Disposition::Retry { tries: self.tries, after: Span::ZERO }
    }
}

/// How far a held message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for the handler.
    Ready,
    /// Waits for the handler, alone.
    Suspect,
    /// Its start is being put on record.
    Beginning,
    /// The handler has it.
    Running,
    /// Its settlement waits to be sent, or to be answered.
    Settling,
}

/// Why a member asks for everything that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnReason {
    Started,
    AnswerLost,
    /// A check: a fetch that nobody waits for any more may have arrived late.
    Check,
}
