//! Entries of a log: what one records, and how it is shown to people.

use silvertine_engine::{
    codec::decode_entry,
    event::{Body, Event, EventId, OperatorAction, Origin, System},
    park::Release,
    text::Name,
};

/// Ordinals from here on belong to failures of events that are parked; a release causes those of released events.
const PARKED_ORDINALS: u64 = (1 << 63) + (1 << 62);

/// An event that waits for its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) seq: u64,
    pub(crate) id: EventId,
}

/// Whether it is an operator's permission to go on behind a halt.
pub(crate) fn is_past_halt(event: &Event) -> bool {
    let Body::System(System::Operator { action, .. }) = &event.body else { return false };
    event.origin == Origin::Input && *action == OperatorAction::PastHalt
}

/// What an operator asks to be released.
pub(crate) fn release(event: &Event) -> Option<Release> {
    match event.body {
        Body::System(System::Operator { action: OperatorAction::Release(release), .. })
            if event.origin == Origin::Input =>
        {
            Some(release)
        }
        _ => None,
    }
}

/// Whether the entry records that an event failed when it was released.
pub(crate) fn is_retry(event: &Event) -> bool {
    let again = |failed: EventId| event.header.causation != Some(failed);
    event.origin == Origin::Outcome
        && event.header.source_seq >= PARKED_ORDINALS
        && matches!(event.body, Body::System(System::HandlerFailed { event: failed, .. }) if again(failed))
}

/// Whether an outcome can be of this event, and not of another with its id: where it parked, it has its number.
pub(crate) fn may_be_of(outcome: &Event, event: &Event) -> bool {
    outcome.header.source_seq.checked_sub(PARKED_ORDINALS).is_none_or(|seq| seq == event.pos.seq)
}

/// Whether the entry records that this event failed when it was released.
pub(crate) fn is_retry_of(event: &Event, handler: Name, waiting: Waiting) -> bool {
    is_retry(event)
        && event.header.source == handler
        && event.header.source_seq - PARKED_ORDINALS == waiting.seq
}

/// Whether an outcome records that the handler failed on the event.
pub(super) fn is_failure_of(system: &System, by: Name, on: &Event) -> bool {
    matches!(system, System::HandlerFailed { handler, event, .. } if (*handler, *event) == (by, on.header.id))
}

/// An entry, for people.
pub(crate) fn describe(bytes: &[u8]) -> String {
    decode_entry(bytes).map_or_else(
        |why| why.to_string(),
        |event| {
            let Event { pos, time, origin, header, body } = event;
            format!("{pos} at {time}, {origin:?} of {}: {body:?}", header.source)
        },
    )
}
