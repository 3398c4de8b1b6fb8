//! What a member knows of a message that it holds.

use std::sync::Arc;

use crate::{Message, MessageId, Tries, Verdict};
use silvertine_engine::span::Span;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Arc<Message>,
    pub(super) key: Option<Arc<str>>,
    pub(super) origin: MessageId,
    pub(super) replays: u32,
    pub(super) tries: Tries,
    pub(super) deliveries: u64,
    /// The member did not get to it, or did not come to its end.
    pub(super) given_back: bool,
    pub(super) stage: Stage,
}

impl Held {
    /// The key under which the store is to remember it: its producer's, or where it was replayed from. Its own
    /// place needs no remembering, since what is settled never comes again from there.
    pub(super) fn remembered_as(&self, id: &MessageId) -> Option<Arc<str>> {
        match &self.key {
            Some(key) => Some(Arc::clone(key)),
            None if self.origin == *id => None,
            None => Some(self.origin.to_string().into()),
        }
    }

    /// Gives a message back whose handler was stopped, or was about to start: nobody died of it.
    pub(super) fn give_back(&mut self) -> Verdict {
        self.stage = Stage::Settling;
        self.given_back = true;
        if self.tries.starts == 0 {
            return Verdict::Release;
        }
        self.tries.starts -= 1;
        Verdict::Retry { tries: self.tries, after: Span::ZERO }
    }
}

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
    /// What became of it waits to be told to the store.
    Settling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnReason {
    Started,
    AnswerLost,
    /// To be sure: a poll that nobody waits for any more may have arrived late.
    Sure,
}

pub(super) fn name_of(key: Option<&str>, origin: &MessageId) -> String {
    key.map_or_else(|| origin.to_string(), str::to_owned)
}
