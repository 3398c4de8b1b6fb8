//! Entries of a log.

use silvertine_engine::{
    codec::{decode_entry, encode_entry, peek_entry},
    event::Event,
};

use super::{assert_one_line, refused_in_one_line};

/// Canonical bytes of an entry have one spelling: whatever decodes encodes to the same bytes.
pub fn entry(bytes: &[u8]) {
    let event = match decode_entry(bytes) {
        Ok(event) => event,
        Err(why) => return assert_one_line(&why),
    };
    let mut again = Vec::new();
    encode_entry(&event, &mut again);
    assert_eq!(again, bytes, "{event:?}");
    let peek = peek_entry(bytes).expect("what decodes has a header");
    let seen = (event.pos, event.time, event.body.topic(), event.origin);
    assert_eq!((peek.pos, peek.time, peek.topic, peek.origin), seen);
    // JSON is what people are shown of an entry.
    let json = serde_json::to_string(&event).expect("an event is plain data");
    assert_eq!(serde_json::from_str::<Event>(&json).expect(&json), event);
    refused_in_one_line(&event.body);
}
