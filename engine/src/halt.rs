//! Standing still: a failure on an event whose topic halts stops the engine in the middle of a cascade.
//!
//! What was handled before the failure is in the log, and the record of the failure is its last entry. What the
//! cascade still had to do waits: the event's other handlers, and what had been emitted and was not yet
//! written. An operator's action lets it go on, from an entry of its own, so that replay does the same.
//!
//! A snapshot never stands in a halt. Whoever resumes executes the cascade again, but does not call the handler
//! that failed: the log foretells its failure. So a mended build gives the same entries as the one that
//! failed, and the handler's state is as if it had never seen the event, whatever the failed call did to it.

use std::{collections::VecDeque, fmt};

use crate::{
    event::{Body, Event, EventId, Origin, System, Topic},
    ordinal,
    pos::Pos,
    text::Name,
};

/// Where and why an engine stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The entry that records the failure: the last one, and what an override names.
    pub pos: Pos,
    /// Which handler failed.
    pub handler: Name,
    /// The event that it failed on.
    pub event: Pos,
    /// The event's topic.
    pub topic: Topic,
    /// Why it failed.
    pub reason: String,
    /// The event is parked, and there is no room for more. Otherwise it is given up for the handler.
    pub parked: bool,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pos, handler, event, topic, reason, parked } = self;
        write!(f, "halted at {pos}: ")?;
        if *parked {
            f.write_str("no room is left to park more: ")?;
            return write!(f, "{handler} was to have the {topic} event at {event}: {reason}");
        }
        write!(f, "{handler} failed on the {topic} event at {event}: {reason}")
    }
}

/// What an engine that stands still had in hand.
pub(crate) struct Standstill {
    pub(crate) halt: Halt,
    /// Entries that some handlers have still to be handed, in order.
    pub(crate) unfinished: VecDeque<Dispatch>,
    /// How many events the cascade may still emit.
    pub(crate) room: usize,
}

/// An entry and the handlers it has not yet reached.
pub(crate) struct Dispatch {
    pub(crate) event: Event,
    /// How many of its handlers had their turn.
    pub(crate) from: usize,
}

/// A failure that halts, on its way out of the dispatch.
pub(crate) struct Halting {
    pub(crate) handler: Name,
    /// How many of the event's handlers had their turn.
    pub(crate) next: usize,
    pub(crate) outcomes: Vec<System>,
}

/// A failure as the log records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foretold {
    pub(crate) handler: Name,
    pub(crate) event: EventId,
    /// Of an event that is parked: its sequence number.
    pub(crate) parked: Option<u64>,
    pub(crate) reason: String,
}

impl Foretold {
    /// The failure that an entry records, if it does.
    pub(crate) fn of(entry: Event) -> Option<Self> {
        match entry.body {
            Body::System(System::HandlerFailed { handler, event, reason })
                if entry.origin == Origin::Outcome =>
            {
                let parked = ordinal::parked_seq(entry.header.source_seq);
                Some(Self { handler, event, parked, reason })
            }
            _ => None,
        }
    }

    /// Whether it is the failure on an event that is handed out for the first time. Two events of a cascade can share
    /// an id that a producer has brought twice.
    pub(crate) fn is(&self, event: &Event, handler: Name) -> bool {
        let same_place = self.parked.is_none_or(|seq| seq == event.pos.seq);
        self.handler == handler && self.event == event.header.id && same_place
    }

    /// Whether it is the failure on an event that is released.
    pub(crate) fn is_retry(&self, event: &Event, handler: Name) -> bool {
        self.handler == handler && self.parked == Some(event.pos.seq)
    }
}
