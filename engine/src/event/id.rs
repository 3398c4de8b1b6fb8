//! Event ids: derived, not random, so that re-executing a log gives the same ids.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::text::Name;

/// A 128-bit event id, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u128);

impl EventId {
    /// The id of the `seq`-th event of a producer that assigns no ids: 64 bits of the
    /// producer's name (XXH3), then its sequence number.
    #[must_use]
    pub fn of_input(source: &Name, seq: u64) -> Self {
        Self(u128::from(xxh3_64(source.as_bytes())) << 64 | u128::from(seq))
    }

    /// The id of the `ordinal`-th event that `handler` emits because of `cause`.
    #[must_use]
    pub fn of_emitted(cause: Self, handler: &Name, ordinal: u64) -> Self {
        let mut bytes = [0; 16 + 8 + Name::CAPACITY];
        bytes[..16].copy_from_slice(&cause.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&ordinal.to_le_bytes());
        bytes[24..].copy_from_slice(handler.padded());
        Self(xxh3_128(&bytes[..24 + handler.as_bytes().len()]))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.to_le_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            // `from_str_radix` would also take a sign.
            if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(de::Error::custom("an id is 32 hexadecimal digits"));
            }
            u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_le_bytes(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_cause_handler_and_ordinal() {
        let (a, b) = (Name::new("a").expect("valid"), Name::new("b").expect("valid"));
        let cause = EventId::of_input(&a, 1);
        let id = EventId::of_emitted(cause, &a, 0);
        assert_eq!(id, EventId::of_emitted(cause, &a, 0));
        assert_ne!(id, EventId::of_emitted(cause, &a, 1));
        assert_ne!(id, EventId::of_emitted(cause, &b, 0));
        assert_ne!(id, EventId::of_emitted(EventId::of_input(&b, 1), &a, 0));
    }
}
