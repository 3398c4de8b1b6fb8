//! Messages: what producers put on a stream and workers take off it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StreamName;
use silvertine_engine::{codec::Codec, text::one_line};

/// The field that holds the payload.
pub const PAYLOAD: &str = "data";
/// The field that says what kind of message it is.
pub const TYPE: &str = "type";
/// The field that says how the payload is written: `json` or `postcard`.
pub const CODEC: &str = "codec";
/// The field that identifies the message: handlers give it to the outside world, and a store recognises by it a message
/// that is published twice. An empty value counts as no key.
pub const KEY: &str = "key";

/// The most fields of a message.
pub const FIELDS_MAX: usize = 64;
/// The most bytes of a message, names and values together.
pub const BYTES_MAX: usize = 1 << 20;

/// A message: fields in order, exactly as they stand on the stream.
///
/// A producer in any language writes the same fields with `XADD`. One field, [`PAYLOAD`], is the payload;
/// all others are headers. Unknown headers are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a message cannot be published or its payload not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A stream cannot hold an entry without fields.
    #[error("a message needs at least one field")]
    Empty,
    /// Too many fields.
    #[error("a message has at most {FIELDS_MAX} fields, this one has {0}")]
    TooManyFields(usize),
    /// Too many bytes.
    #[error("a message has at most {BYTES_MAX} bytes, this one has {0}")]
    TooLarge(usize),
    /// The payload is not what its codec says.
    #[error("undecodable: {0}")]
    Undecodable(String),
}

impl Message {
    /// A message of these fields, as they came from a stream.
    #[must_use]
    pub const fn from_fields(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self { fields }
    }

    /// A message with this payload, written by `codec`.
    #[must_use]
    pub fn new(codec: Codec, payload: Vec<u8>) -> Self {
        Self::default().with(CODEC, codec.as_str()).with(PAYLOAD, payload)
    }

    /// A message whose payload is `value` in JSON.
    ///
    /// # Errors
    /// `value` has a map whose keys are no text, or refuses to be written.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, MessageError> {
        let payload = serde_json::to_vec(value);
        let payload =
            payload.map_err(|why| MessageError::Undecodable(one_line(&why.to_string())))?;
        Ok(Self::new(Codec::Json, payload))
    }

    /// The same message with this field behind the others.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name.as_bytes().to_vec(), value.into()));
        self
    }

    /// The same message of this kind.
    #[must_use]
    pub fn with_type(self, kind: &str) -> Self {
        self.with(TYPE, kind)
    }

    /// The same message, recognised by this key when it is published again.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        self.with(KEY, key)
    }

    /// All fields in order.
    #[must_use]
    pub fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.fields
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|(field, _)| field == name.as_bytes());
        field.map(|(_, value)| value.as_slice())
    }

    /// The value of a field as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.field(name).map(String::from_utf8_lossy)
    }

    /// The payload; empty where there is none.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.field(PAYLOAD).unwrap_or_default()
    }

    /// How many bytes its fields have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The payload as a value.
    ///
    /// # Errors
    /// [`MessageError::Undecodable`] when there is none, its codec is unknown, or it is something else.
    pub fn decode<T: DeserializeOwned>(&self, default: Codec) -> Result<T, MessageError> {
        let undecodable = |why: String| MessageError::Undecodable(one_line(&why));
        let codec = match self.text(CODEC) {
            None => default,
            Some(name) => Codec::from_name(&name)
                .ok_or_else(|| undecodable(format!("the codec {name:?} is not known")))?,
        };
        let payload = self.field(PAYLOAD);
        let payload = payload.ok_or_else(|| undecodable(format!("no field {PAYLOAD:?}")))?;
        match codec {
            Codec::Json => {
                serde_json::from_slice(payload).map_err(|why| undecodable(why.to_string()))
            }
            Codec::Postcard => match postcard::take_from_bytes(payload) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => Err(undecodable(format!("{} bytes behind the value", rest.len()))),
                Err(why) => Err(undecodable(why.to_string())),
            },
        }
    }

    /// Checks the limits that a message must keep to be published.
    ///
    /// # Errors
    /// Which limit it breaks.
    pub fn check(&self) -> Result<(), MessageError> {
        match (self.fields.len(), self.bytes()) {
            (0, _) => Err(MessageError::Empty),
            (fields, _) if fields > FIELDS_MAX => Err(MessageError::TooManyFields(fields)),
            (_, bytes) if bytes > BYTES_MAX => Err(MessageError::TooLarge(bytes)),
            _ => Ok(()),
        }
    }
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The stream.
    pub stream: StreamName,
    /// The message.
    pub message: Message,
}

impl Publication {
    /// `message` for `stream`.
    #[must_use]
    pub const fn new(stream: StreamName, message: Message) -> Self {
        Self { stream, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_by_the_codec_that_wrote_it() {
        let json = Message::json(&vec![1, 2]).expect("serializes");
        assert_eq!(json.decode::<Vec<u32>>(Codec::Postcard), Ok(vec![1, 2]));
        let bytes = postcard::to_stdvec(&7_u64).expect("serializes");
        let postcard = Message::default().with(PAYLOAD, bytes);
        assert_eq!(postcard.decode::<u64>(Codec::Postcard), Ok(7));
    }

    #[test]
    fn what_does_not_decode_says_why_in_one_line() {
        let broken = [
            Message::default().with("x", "y"),
            Message::new(Codec::Json, b"{\n".to_vec()),
            Message::default().with(CODEC, "protobuf").with(PAYLOAD, "x"),
            Message::new(Codec::Postcard, vec![1, 2]),
        ];
        for message in broken {
            let error = message.decode::<u8>(Codec::Json).expect_err("broken").to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_limits_of_a_message_are_checked() {
        assert_eq!(Message::default().check(), Err(MessageError::Empty));
        let large = Message::default().with("data", vec![0; BYTES_MAX]);
        assert_eq!(large.check(), Err(MessageError::TooLarge(BYTES_MAX + 4)));
        let mut wide = Message::default();
        for _ in 0..=FIELDS_MAX {
            wide = wide.with("a", "b");
        }
        assert_eq!(wide.check(), Err(MessageError::TooManyFields(FIELDS_MAX + 1)));
    }
}
