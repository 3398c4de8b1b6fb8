//! Values of Redis as what they stand for: texts, positions, entries of streams, content under a checksum.

use redis::Value;
use silvertine_engine::pos::Pos;
use xxhash_rust::xxh3::xxh3_64;

/// A value as bytes, where it is bytes.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A value as text, where it is text.
pub(super) fn text(value: &Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
}

/// Bytes with their checksum in front.
pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    let mut sealed = xxh3_64(content).to_le_bytes().to_vec();
    sealed.extend_from_slice(content);
    sealed
}

/// What [`sealed`] sealed, if the checksum agrees.
pub(super) fn unsealed(sealed: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = sealed.split_first_chunk::<8>()?;
    (xxh3_64(content).to_le_bytes() == *checksum).then_some(content)
}

/// An entry of a stream: its id and its fields.
pub(super) fn stream_entry(value: &Value) -> Option<(&[u8], &[Value])> {
    match value {
        Value::Array(parts) => match parts.as_slice() {
            [id, Value::Array(fields)] => Some((bytes(id)?, fields)),
            _ => None,
        },
        _ => None,
    }
}

/// A position as it stands in an id.
pub(super) fn parse_pos(bytes: &[u8]) -> Option<Pos> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
