//! The partition's ingress as a feed: the messages that outside producers published, in the order of arrival.

use std::{collections::VecDeque, time::Duration};

use super::{Feed, FeedError, Polled};
use crate::{
    codec::InputMessage,
    digest::fingerprint,
    event::{System, validate, validate_time},
    log::{EventLog, IngressCursor, IngressMessage, Lease},
    source::Input,
    time::Nanos,
};

/// Messages read at once.
const READ_LIMIT: usize = 1024;

/// Reads the ingress of the partition that the engine owns.
pub struct IngressFeed<L> {
    log: L,
    lease: Option<Lease>,
    /// The last message read, per producer.
    read: IngressCursor,
    /// The last message taken, per producer.
    taken: IngressCursor,
    buffer: VecDeque<IngressMessage>,
}

impl<L: EventLog> IngressFeed<L> {
    /// A feed over the ingress of `log`.
    #[must_use]
    pub fn new(log: L) -> Self {
        let nothing = IngressCursor::new();
        Self { log, lease: None, read: nothing.clone(), taken: nothing, buffer: VecDeque::new() }
    }
}

impl<L: EventLog> Feed for IngressFeed<L> {
    fn acquired(&mut self, lease: &Lease) {
        self.lease = Some(*lease);
    }

    async fn poll(&mut self, wait: Duration) -> Result<Polled, FeedError> {
        if self.buffer.is_empty() {
            let messages =
                self.log.ingress(self.lease.as_ref(), &self.read, READ_LIMIT, wait).await?;
            for message in &messages {
                self.read.insert(message.producer, message.seq);
            }
            self.buffer = messages.into();
        }
        Ok(if self.buffer.is_empty() { Polled::Idle } else { Polled::Ready(Nanos::ZERO) })
    }

    fn take(&mut self) -> Input {
        let message = self.buffer.pop_front().expect("poll must have found a message");
        self.taken.insert(message.producer, message.seq);
        to_input(&message)
    }

    fn checkpoint(&self) -> Vec<u8> {
        // A name and a number take about twenty bytes.
        let buffer = Vec::with_capacity(8 + 32 * self.taken.len());
        postcard::to_extend(&self.taken, buffer).expect("a cursor is names and numbers")
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError> {
        self.taken = postcard::from_bytes(checkpoint)
            .map_err(|why| FeedError::Checkpoint(why.to_string()))?;
        self.read = self.taken.clone();
        self.buffer.clear();
        Ok(())
    }

    fn ingress_done(&self) -> Option<&IngressCursor> {
        Some(&self.taken)
    }
}

/// Decodes and validates a message. A message that fails becomes a recorded refusal.
fn to_input(message: &IngressMessage) -> Input {
    let checked =
        message.codec.decode(&message.payload).map_err(|why| why.to_string()).and_then(|decoded| {
            let valid = validate_time(decoded.event_time, "event_time");
            valid.and_then(|()| validate(&decoded.body)).map_err(|invalid| invalid.to_string())?;
            Ok(decoded)
        });
    let InputMessage { id, event_time, body } = checked.unwrap_or_else(|why| {
        let reason = why[..why.floor_char_boundary(1024)].to_owned();
        let digest = fingerprint(&message.payload);
        let body = System::Rejected { reason, line: None, digest }.into();
        InputMessage { id: None, event_time: Nanos::ZERO, body }
    });
    Input {
        source: message.producer,
        source_seq: message.seq,
        id,
        event_time,
        recv_time: Nanos::ZERO,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::Codec, event::OperatorAction, text::Name};

    #[test]
    fn a_message_from_the_end_of_time_is_recorded_as_refused() {
        let by = Name::new("op").expect("valid");
        let input = |event_time| {
            let body = System::Operator { action: OperatorAction::Kill, by }.into();
            let payload = Codec::Json.encode(&InputMessage { id: None, event_time, body });
            to_input(&IngressMessage { producer: by, seq: 1, codec: Codec::Json, payload })
        };
        assert_eq!(input(Nanos::LATEST_INPUT).event_time, Nanos::LATEST_INPUT);
        let refused = input(Nanos::MAX);
        let expected = "event_time is past the year 2499";
        assert!(
            matches!(&refused.body, crate::event::Body::System(System::Rejected { reason, .. }) if reason == expected),
            "{refused:?}"
        );
        assert_eq!(refused.event_time, Nanos::ZERO);
    }
}
