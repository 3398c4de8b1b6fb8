//! Failures as the log records them, for replay.
//!
//! Replay takes a failure that halted the engine or parked an event from the log, and does not call the handler. A corrected
//! build would not fail again, and must still produce the same entries.

use crate::{
    event::{Body, Event, EventId, Origin, System},
    ordinal,
    text::Name,
};

/// A handler's failure, read from the entry that records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedFailure {
    pub(crate) handler: Name,
    pub(crate) event: EventId,
    /// The sequence number of the event, where the event was parked.
    pub(crate) parked: Option<u64>,
    pub(crate) reason: String,
}

impl RecordedFailure {
    /// The failure that `entry` records, or `None` for any other entry.
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

    /// Whether this is `handler`'s failure on `event`, delivered for the first time. The id alone does not tell: a producer
    /// may bring one id twice, and then two events of a cascade share it.
    pub(crate) fn matches(&self, event: &Event, handler: Name) -> bool {
        let same_place = self.parked.is_none_or(|seq| seq == event.pos.seq);
        self.handler == handler && self.event == event.header.id && same_place
    }

    /// Whether this is `handler`'s failure on the parked `event`, retried by a release.
    pub(crate) fn matches_retry(&self, event: &Event, handler: Name) -> bool {
        self.handler == handler && self.parked == Some(event.pos.seq)
    }
}
