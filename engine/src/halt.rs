//! Halts: a failure on an event whose topic halts stops the engine in the middle of a cascade.
//!
//! Everything handled before the failure is in the log, and the record of the failure is the last entry. The rest of the
//! cascade waits in memory: the event's remaining handlers, and emitted events that are not yet written. An operator's
//! action continues the cascade. The action is an entry of its own, so that replay does the same.
//!
//! No snapshot is taken during a halt. A resumed run executes the cascade again from the log, and takes the failure from
//! the log instead of calling the failed handler. Therefore a corrected build produces the same entries as the one that
//! failed, and the handler's state is as if it had never seen the event, whatever the failed call changed.

use std::{collections::VecDeque, fmt};

use crate::{
    event::{Event, System, Topic},
    pos::Pos,
    text::Name,
};

/// Where and why an engine halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The entry that records the failure: the last entry of the log. An operator names it to continue after the halt.
    pub pos: Pos,
    /// Which handler failed.
    pub handler: Name,
    /// The event that it failed on.
    pub event: Pos,
    /// The event's topic.
    pub topic: Topic,
    /// Why it failed.
    pub reason: String,
    /// The event is parked and the parking capacity is exceeded. Otherwise the handler skips the event.
    pub parked: bool,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pos, handler, event, topic, reason, parked } = self;
        write!(f, "halted at {pos}: ")?;
        if *parked {
            f.write_str("the parking capacity is exceeded: ")?;
            return write!(f, "{handler} did not handle the {topic} event at {event}: {reason}");
        }
        write!(f, "{handler} failed on the {topic} event at {event}: {reason}")
    }
}

/// The rest of the cascade in which an engine halted.
pub(crate) struct HaltedCascade {
    pub(crate) halt: Halt,
    /// Entries that are not yet delivered to all their handlers, in order.
    pub(crate) unfinished: VecDeque<Dispatch>,
    /// How many events the cascade may still emit.
    pub(crate) cascade_budget: usize,
}

/// An entry that is delivered to some of its handlers.
pub(crate) struct Dispatch {
    pub(crate) event: Event,
    /// The number of its handlers that are done.
    pub(crate) from: usize,
}

/// A failure that halts, as the dispatch returns it.
pub(crate) struct Halting {
    pub(crate) handler: Name,
    /// The number of the event's handlers that are done, the failed one included.
    pub(crate) next: usize,
    pub(crate) outcomes: Vec<System>,
}
