//! Messages of outside producers: events that have no position yet.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Body, EventId},
    text::one_line,
    time::Nanos,
};

/// How a message's payload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Codec {
    /// A version byte, then postcard: compact, between Rust programs of compatible versions.
    #[default]
    Postcard = 0,
    /// JSON: for other languages and for people. Prices and quantities are decimals in quotes.
    Json = 1,
}

/// The version byte in front of postcard messages.
const MESSAGE_VERSION: u8 = 1;

/// An event as an outside producer sends it. The producer's name and sequence number are sent beside it (see
/// [`crate::log::Message`]), so that the log refuses duplicates without decoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputMessage {
    /// An id of the producer's own; without it the id derives from producer and sequence.
    #[serde(default)]
    pub id: Option<EventId>,
    /// When it happened, where it happened.
    pub event_time: Nanos,
    /// The event's content.
    pub body: Body,
}

impl Codec {
    /// The name used in keys and fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postcard => "postcard",
            Self::Json => "json",
        }
    }

    /// The codec of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "postcard" => Some(Self::Postcard),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The payload of `message`.
    #[must_use]
    pub fn encode(self, message: &InputMessage) -> Vec<u8> {
        let encoded = match self {
            Self::Postcard => {
                postcard::to_extend(message, vec![MESSAGE_VERSION]).map_err(|why| why.to_string())
            }
            Self::Json => serde_json::to_vec(message).map_err(|why| why.to_string()),
        };
        encoded.expect("a message has no map or untyped part that a codec could refuse")
    }

    /// The message in `payload`.
    ///
    /// # Errors
    /// Why it does not decode, in one line.
    pub fn decode(self, payload: &[u8]) -> Result<InputMessage, String> {
        match self {
            Self::Json => {
                // serde_json repeats the names of unknown fields and variants as they came.
                let reason = |why: serde_json::Error| one_line(&format!("not a JSON event: {why}"));
                serde_json::from_slice(payload).map_err(reason)
            }
            Self::Postcard => match payload {
                [MESSAGE_VERSION, message @ ..] => match postcard::take_from_bytes(message) {
                    Ok((message, [])) => Ok(message),
                    Ok((_, rest)) => Err(format!("{} bytes behind the event", rest.len())),
                    Err(why) => Err(format!("not a postcard event: {why}")),
                },
                [version, ..] => Err(format!("message format version {version} is not known")),
                [] => Err("empty message".to_owned()),
            },
        }
    }
}
