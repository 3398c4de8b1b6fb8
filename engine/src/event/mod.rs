//! Events: five kinds of content, each with the same header.

mod id;
mod kinds;
mod topic;
mod validate;

use serde::{Deserialize, Serialize};

pub use self::{
    id::EventId,
    kinds::{
        Bar, Body, Fill, Liquidity, MarketData, OperatorAction, Order, OrderKind, OrderStatus,
        Quote, Side, Signal, System, Trade,
    },
    topic::{Topic, TopicSet},
    validate::{Invalid, validate, validate_time},
};
use crate::{pos::Pos, text::Name, time::Nanos};

/// One event at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its position in the log, which alone defines the order.
    pub pos: Pos,
    /// Engine time at which it was handled. Times explain events but do not order them.
    pub time: Nanos,
    /// How it came into the log.
    pub origin: Origin,
    /// Its producer, times, and causes.
    pub header: Header,
    /// Its content.
    pub body: Body,
}

/// How an event came into the log. Replay feeds inputs, fires timers, and expects decisions and outcomes to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Origin {
    /// It came from outside: a source, a producer, an operator.
    Input = 0,
    /// A timer that a handler had set fired.
    Timer = 1,
    /// A handler emitted it.
    Decision = 2,
    /// The engine recorded that a handler failed, or that its circuit opened or closed.
    Outcome = 3,
}

impl Origin {
    /// The origin with this wire code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Input),
            1 => Some(Self::Timer),
            2 => Some(Self::Decision),
            3 => Some(Self::Outcome),
            _ => None,
        }
    }

    /// Whether it belongs to the cascade of an entry before it.
    #[must_use]
    pub const fn is_caused(self) -> bool {
        matches!(self, Self::Decision | Self::Outcome)
    }
}

/// The producer, times, and causes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Unique over all logs; derived, so that re-execution yields the same id.
    pub id: EventId,
    /// When it happened at its origin (exchange time); for decisions the engine time.
    pub event_time: Nanos,
    /// When the recorder or the engine received it. Inputs are merged by this time.
    pub recv_time: Nanos,
    /// The producer: a source, an outside producer, or the handler that emitted it.
    pub source: Name,
    /// The producer's own sequence number; strictly increasing per producer for inputs, the
    /// ordinal of the emission for decisions.
    pub source_seq: u64,
    /// The root cause: the id of the input or timer at the head of the cascade's history.
    pub correlation: EventId,
    /// The direct cause; `None` for inputs.
    pub causation: Option<EventId>,
}
