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

/// Why a payload is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputMessageError {
    /// It is empty.
    #[error("empty message")]
    Empty,
    /// Its format version is not known to this build.
    #[error("message format version {0} is not known")]
    UnknownVersion(u8),
    /// It is no JSON event; the reason in one line.
    #[error("not a JSON event: {0}")]
    Json(String),
    /// It is no postcard event.
    #[error("not a postcard event: {0}")]
    Postcard(String),
    /// Bytes follow the event.
    #[error("{0} bytes behind the event")]
    TrailingBytes(usize),
}

/// The version byte in front of postcard messages.
const MESSAGE_VERSION: u8 = 1;

/// An event as an outside producer sends it. The producer's name and sequence number are sent beside it (see
/// [`crate::log::IngressMessage`]), so that the log refuses duplicates without decoding.
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
    /// [`InputMessageError`] says why it does not decode.
    pub fn decode(self, payload: &[u8]) -> Result<InputMessage, InputMessageError> {
        match self {
            // serde_json repeats the names of unknown fields and variants as they came.
            Self::Json => serde_json::from_slice(payload)
                .map_err(|why| InputMessageError::Json(one_line(&why.to_string()))),
            Self::Postcard => match payload {
                [MESSAGE_VERSION, message @ ..] => match postcard::take_from_bytes(message) {
                    Ok((message, [])) => Ok(message),
                    Ok((_, rest)) => Err(InputMessageError::TrailingBytes(rest.len())),
                    Err(why) => Err(InputMessageError::Postcard(why.to_string())),
                },
                [version, ..] => Err(InputMessageError::UnknownVersion(*version)),
                [] => Err(InputMessageError::Empty),
            },
        }
    }
}
