//! Serde for a `Vec<u8>` as one byte string instead of a sequence of numbers, for `#[serde(with)]`.
//!
//! Postcard writes the same bytes either way (a length, then the bytes), but faster.

use std::fmt;

use serde::{Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    deserializer.deserialize_bytes(Visitor)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct AtOnce(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn bytes_read_and_are_written_as_a_list_of_numbers_is() {
        for bytes in [vec![], vec![0, 0x80, 255], vec![7; 300]] {
            let written = postcard::to_stdvec(&AtOnce(bytes.clone())).expect("serializes");
            assert_eq!(written, postcard::to_stdvec(&bytes).expect("serializes"));
            assert_eq!(postcard::from_bytes(&written), Ok(AtOnce(bytes)));
        }
        assert!(postcard::from_bytes::<AtOnce>(&[3, 1, 2]).is_err());
    }
}
