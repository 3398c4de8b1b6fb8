//! One record by itself: what the logs' readers check, without a store around it.

use silvertine_engine::{log::LogErrorKind, text::Name};

use super::{
    FRAME_PREFIX, MANIFEST_KEY, MESSAGE_PREFIX, META_KEY, PRODUCER_PREFIX, SNAPSHOT_PREFIX,
    content, corrupt, decode_message, decode_number, encode_message, encode_number, frame,
    meta::Meta, pos_of, seal, snapshot_name,
};

/// Which of the embedded stores a record lies in. The layout is the same, what a checksum covers is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddedStore {
    /// Checksums cover the key too.
    Redb,
    /// Checksums cover the content alone.
    Sled,
}

/// Checks one key and value of an embedded log as the log's own readers do, and returns the value as this
/// build would write it. For tools that look at a damaged log from outside, and for fuzzing.
///
/// # Errors
/// [`LogErrorKind::Corrupt`] names the record and what is wrong with it, [`LogErrorKind::TooNew`] one that a
/// newer version wrote.
pub fn check_record(
    store: EmbeddedStore,
    key: &[u8],
    value: &[u8],
) -> Result<Vec<u8>, LogErrorKind> {
    let under = match store {
        EmbeddedStore::Redb => key,
        EmbeddedStore::Sled => b"",
    };
    let resealed = |at: &str| Ok(seal(under, content(at, under, value)?));
    match key {
        META_KEY => Ok(Meta::decode(value)?.encode()),
        MANIFEST_KEY => resealed("manifest"),
        [FRAME_PREFIX, ..] => {
            let entries = frame::decode_at(key, value)?;
            Ok(frame::encode(&entries, 0..entries.len()))
        }
        [SNAPSHOT_PREFIX, ..] => {
            let pos = pos_of(key).ok_or_else(|| odd_key("a snapshot"))?;
            resealed(&snapshot_name(pos))
        }
        [MESSAGE_PREFIX, ..] => {
            let message = decode_message(under, key, value);
            let message = message.map_err(|why| corrupt("a message", why))?;
            Ok(encode_message(under, &message))
        }
        [PRODUCER_PREFIX, name @ ..] => {
            let name = std::str::from_utf8(name).ok().and_then(|name| Name::new(name).ok());
            let producer = name.ok_or_else(|| odd_key("last number of a producer"))?;
            let number = decode_number(under, &producer, value)?;
            Ok(encode_number(under, number))
        }
        _ => Err(odd_key("a record")),
    }
}

fn odd_key(at: &str) -> LogErrorKind {
    corrupt(at, "odd key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{message_key, producer_key, snapshot_key};
    use silvertine_engine::{codec::Codec, log::IngressMessage, pos::Pos};

    #[test]
    fn each_store_knows_its_own_records_and_not_those_of_the_other() {
        let producer = Name::new("p").expect("valid");
        let message =
            IngressMessage { producer, seq: 1, codec: Codec::Json, payload: b"{}".to_vec() };
        let pos = Pos { ms: 1, seq: 1 };
        let sealed = |key: &[u8], content: &[u8]| (seal(key, content), seal(b"", content));
        let (snapshot, letter) = (snapshot_key(pos), message_key(&producer, 1));
        let number = producer_key(&producer);
        let records = [
            (MANIFEST_KEY, sealed(MANIFEST_KEY, b"manifest")),
            (&snapshot, sealed(&snapshot, b"state")),
            (&letter, (encode_message(&letter, &message), encode_message(b"", &message))),
            (&number, (encode_number(&number, 1), encode_number(b"", 1))),
        ];
        for (key, (of_redb, of_sled)) in records {
            assert_eq!(check_record(EmbeddedStore::Redb, key, &of_redb).as_ref(), Ok(&of_redb));
            assert_eq!(check_record(EmbeddedStore::Sled, key, &of_sled).as_ref(), Ok(&of_sled));
            assert!(check_record(EmbeddedStore::Redb, key, &of_sled).is_err(), "{key:?}");
            assert!(check_record(EmbeddedStore::Sled, key, &of_redb).is_err(), "{key:?}");
        }
        let meta = Meta::default().encode();
        for store in [EmbeddedStore::Redb, EmbeddedStore::Sled] {
            assert_eq!(check_record(store, META_KEY, &meta).as_ref(), Ok(&meta));
        }
    }
}
