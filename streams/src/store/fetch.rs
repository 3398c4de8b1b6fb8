//! Handing messages to a member: what it asks for, what it gets, and what is on record about each message.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Member, MessageId};
use crate::{Message, StreamName};
use silvertine_engine::{pos::Pos, span::Span, time::Nanos};

/// What a member asks for.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Who asks.
    pub member: &'a Member,
    /// At most so many messages, at least one.
    pub limit: usize,
    /// How long to wait for the first one, where the store can wait.
    pub wait: Duration,
    /// Which messages are looked for.
    pub scope: FetchScope,
    /// Which lane is emptied first.
    pub lanes: LaneOrder,
    /// A member that has shown no sign of life for so long has died.
    pub reclaim_after: Span,
    /// The caller's time.
    pub now: Nanos,
}

/// Which messages a member asks for. Each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FetchScope {
    /// New messages alone, which costs the store least.
    NewOnly,
    /// Also what has come back to the group: what members that died held, retries that are due, and redriven dead
    /// letters. A busy member asks for it now and then, and one that waits, always.
    WithReturned,
    /// First of all everything that this member was handed before and has not settled: after a start, and after a
    /// fetch whose answer was lost. It comes even where it is more than the limit, and without waiting.
    WithOwn,
}

impl FetchScope {
    /// Whether messages that have come back to the group are looked for.
    #[must_use]
    pub const fn includes_returned(self) -> bool {
        matches!(self, Self::WithReturned | Self::WithOwn)
    }

    /// Whether what the member was handed before comes once more.
    #[must_use]
    pub const fn includes_own(self) -> bool {
        matches!(self, Self::WithOwn)
    }
}

/// Which of a stream's lanes is emptied first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LaneOrder {
    /// The most urgent one.
    #[default]
    UrgentFirst,
    /// The least urgent one. Asked for now and then, it keeps busy urgent lanes from starving the others.
    UrgentLast,
}

/// What a member got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The messages.
    pub deliveries: Vec<Delivery>,
    /// In how long the next waiting retry is due, as far as this fetch has looked.
    pub next_due: Option<Span>,
    /// Groups that were gone and have been created again where they had been, with what was lost.
    pub regrouped: Vec<Regrouped>,
}

/// A group that somebody had removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regrouped {
    /// The stream.
    pub stream: StreamName,
    /// The id it was set to: everything behind it is delivered, perhaps again.
    pub at: Pos,
}

/// A message that was handed to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub id: MessageId,
    /// The message; `None` when it is gone from its stream although nobody had handled it.
    pub message: Option<Message>,
    /// Why it comes now.
    pub why: Why,
    /// What is on record about earlier tries.
    pub tries: Tries,
    /// How often it was handed to a member, this time included.
    pub deliveries: u64,
    /// A message with the same key is done already: this one only needs to be settled.
    pub done: bool,
}

/// Why a message comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// This member had it before and did not settle it.
    Own,
    /// The member that had it died.
    Reclaimed,
    /// Its retry is due, or somebody released it.
    Due,
    /// It is new.
    New,
}

/// What is on record about a message that was not handled at the first go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How often a handler has failed on it.
    pub attempts: u32,
    /// How often a handler was started on it alone, since it came back from a member that died.
    pub starts: u32,
    /// How often it was taken from a member that had died.
    pub reclaims: u32,
    /// When a handler failed on it first; zero when none has.
    pub first_failed: Nanos,
    /// When a handler failed on it last; zero when none has.
    pub last_failed: Nanos,
}
