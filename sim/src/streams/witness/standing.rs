//! A message as it stands on a stream, and the key by which a group recognises it.

use silvertine_engine::pos::Pos;
use silvertine_streams::{Message, MessageId, dead, message};

/// A message on a stream.
#[derive(Clone, Debug)]
pub(in crate::streams) struct Standing {
    pub(in crate::streams) id: Pos,
    pub(in crate::streams) message: Message,
    pub(in crate::streams) deleted: bool,
}

/// The key by which a group recognises a message, and whether its producer gave it one.
pub(in crate::streams) fn key_of(id: &MessageId, message: &Message) -> (String, bool) {
    let (message, origin, _) =
        dead::redriven(message).unwrap_or_else(|| (message.clone(), id.clone(), 0));
    match message.text(message::KEY).filter(|key| !key.is_empty()) {
        Some(key) => (key.into_owned(), true),
        None => (origin.to_string(), false),
    }
}

/// A message in a few words, for a report.
pub(in crate::streams) fn shown(message: Option<&Message>) -> String {
    let Some(message) = message else { return "nothing".to_owned() };
    let fields = message.fields().iter().map(|(name, value)| {
        format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    fields.collect::<Vec<_>>().join(" ")
}
