//! Dead letters: messages that were given up, and what people do about them.

use serde::{Deserialize, Serialize};

use super::{ConsumerName, GroupName, HandlerFailure, Message, MessageId, Publication, StreamName};
use silvertine_engine::{pos::Pos, time::Nanos};

/// A message that was given up: the message itself, unchanged, why it was given up, and what people have done since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The message as it was.
    pub message: Message,
    /// What happened to it before it was given up.
    pub story: Story,
    /// What people have done about it since.
    pub state: DeadState,
}

/// What happened to a message until it was given up. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The stream it was published to, and its id there.
    pub origin: MessageId,
    /// The group that gave it up.
    pub group: GroupName,
    /// The key by which handlers know it.
    pub key: String,
    /// When it was published, as its id says.
    pub published: Nanos,
    /// When it failed for the first time.
    pub first_failed: Nanos,
    /// When it failed for the last time.
    pub last_failed: Nanos,
    /// How often a handler has failed on it.
    pub attempts: u32,
    /// How often it was handed to a member.
    pub deliveries: u64,
    /// How often it was taken from a member that had died.
    pub reclaims: u32,
    /// Why it was given up.
    pub reason: Reason,
    /// What the last failure was.
    pub failure: HandlerFailure,
    /// Failures of the same kind share it.
    pub fingerprint: u64,
    /// The handler.
    pub handler: String,
    /// The member that gave it up.
    pub consumer: ConsumerName,
    /// The handler's version, as its build says.
    pub build: String,
    /// How often it had been redriven before.
    #[serde(alias = "replays")]
    pub redrives: u32,
}

/// Why a message was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// All attempts failed.
    MaxAttempts,
    /// The handler said that no attempt will ever succeed.
    Permanent,
    /// The payload does not decode.
    Undecodable,
    /// The handler panicked.
    Panicked,
    /// Three processes died while they handled it.
    Crashed,
    /// It was too old to be tried again.
    Expired,
    /// It was trimmed away, or deleted by somebody else, before it was handled.
    Trimmed,
    /// Imported from a file.
    Imported,
}

impl Reason {
    /// The name used in files, fields and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAttempts => "max_attempts",
            Self::Permanent => "permanent",
            Self::Undecodable => "undecodable",
            Self::Panicked => "panicked",
            Self::Crashed => "crashed",
            Self::Expired => "expired",
            Self::Trimmed => "trimmed",
            Self::Imported => "imported",
        }
    }
}

/// What people have done about a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadState {
    /// What was last done with it.
    pub status: Status,
    /// How often it has been redriven from here.
    #[serde(alias = "replays")]
    pub redrives: u32,
    /// What the last person noted.
    pub note: String,
}

/// What was last done with a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has looked at it.
    #[default]
    New,
    /// Kept from being redriven until it is released.
    Held,
    /// Sent back to be handled again.
    #[serde(alias = "replayed")]
    Redriven,
    /// Given up for good.
    Discarded,
}

impl Status {
    /// The name used in files, fields and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Held => "held",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }
}

/// A change of one dead letter. Applied only where the letter is still as `expected`, so that two people, or
/// a person and an automatic redrive, never send the same letter back twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The dead letter's own id.
    pub id: Pos,
    /// The state that it must be in; anything else leaves it alone.
    pub expected: DeadState,
    /// What becomes of it.
    pub change: DeadChange,
}

/// What becomes of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadChange {
    /// It gets this state.
    Mark(DeadState),
    /// It gets this state, and the message goes out, in the same atomic step.
    Send(DeadState, Publication),
    /// It is removed.
    Remove,
}

/// The field that tells where a redriven message first stood: `<stream>/<id>`.
pub const ORIGIN: &str = "sv-origin";
/// The field that counts how often a message was redriven.
pub const REDRIVES: &str = "sv-replays";

impl DeadLetter {
    /// The message as it is sent back to its group: its own fields, where it came from, and how often it
    /// has come back.
    #[must_use]
    pub fn redrive(&self) -> Message {
        let redrives = self.state.redrives.saturating_add(self.story.redrives).saturating_add(1);
        let origin = format!("{}/{}", self.story.origin.stream, self.story.origin.id);
        self.message.clone().with(ORIGIN, origin).with(REDRIVES, redrives.to_string())
    }

    /// Where a redriven letter goes so that only the group that gave it up gets it.
    #[must_use]
    pub fn redrive_stream(&self, stream: &StreamName) -> StreamName {
        stream.redrives(&self.story.group)
    }
}

/// Takes apart what [`DeadLetter::redrive`] added: the original message, its origin, the number of redrives.
#[must_use]
pub fn redriven(message: &Message) -> Option<(Message, MessageId, u32)> {
    let origin = message.text(ORIGIN)?;
    let (stream, id) = origin.rsplit_once('/')?;
    let origin = MessageId { stream: StreamName::new(stream).ok()?, id: id.parse().ok()? };
    let redrives = message.text(REDRIVES)?.parse().ok()?;
    let own = message.fields().iter();
    let own = own.filter(|(name, _)| name != ORIGIN.as_bytes() && name != REDRIVES.as_bytes());
    Some((Message::from_fields(own.cloned().collect()), origin, redrives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_were_written_under_former_names_are_read() {
        let former = r#"{"status":"replayed","replays":2,"note":"fixed"}"#;
        let state: DeadState = serde_json::from_str(former).expect("reads");
        let note = "fixed".to_owned();
        assert_eq!(state, DeadState { status: Status::Redriven, redrives: 2, note });
    }
}
