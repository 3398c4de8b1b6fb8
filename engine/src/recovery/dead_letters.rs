//! Dead letters: the failures of handlers that a log records. They are read without executing anything.

use super::ReplayError;
use crate::{
    codec::decode_entry,
    event::{EventId, Topic, TopicSet},
    failure::RecordedFailure,
    log::{EventLog, RangeQuery},
    pos::Pos,
    text::Name,
};

/// A handler's failure as the log records it: the handler skipped the event, or the event is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDeadLetter {
    /// The entry that records it. The event is an earlier entry.
    pub pos: Pos,
    /// Which handler failed.
    pub handler: Name,
    /// On which event.
    pub event: EventId,
    /// Why.
    pub reason: String,
}

/// The first `limit` failures of handlers that a log records after `after`.
///
/// # Errors
/// The log cannot be read, or an entry does not decode.
pub async fn dead_letters<L: EventLog>(
    log: &L,
    after: Pos,
    limit: usize,
) -> Result<Vec<RecordedDeadLetter>, ReplayError> {
    let mut letters = Vec::new();
    let mut next = Some(after);
    while let Some(after) = next.filter(|_| letters.len() < limit) {
        let topics = TopicSet::of(&[Topic::System]);
        let page = log.range(RangeQuery { topics, ..RangeQuery::all_after(after) }).await?;
        for entry in page.entries.iter() {
            let pos = entry.pos;
            let decoded = decode_entry(entry.bytes);
            let event = decoded.map_err(|why| ReplayError::Undecodable { pos, why })?;
            if let Some(RecordedFailure { handler, event, reason, .. }) = RecordedFailure::of(event)
            {
                letters.push(RecordedDeadLetter { pos, handler, event, reason });
            }
        }
        next = page.next;
    }
    letters.truncate(limit);
    Ok(letters)
}
