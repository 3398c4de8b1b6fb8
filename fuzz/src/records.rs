//! Records of embedded logs.

use silvertine_storage::{EmbeddedStore, check_record};
use xxhash_rust::xxh3::Xxh3;

use super::assert_one_line;

/// One record of an embedded log: what is accepted is stored in those very bytes. The first byte is the length of the
/// key.
pub fn records(bytes: &[u8]) {
    let Some((&key_len, rest)) = bytes.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(key_len.into()) else { return };
    for store in [EmbeddedStore::Redb, EmbeddedStore::Sled] {
        check_stored(store, key, value);
        // Nobody guesses a checksum, so what lies behind it is tried with the right one too.
        let (checksum_at, under) = match (key.first(), store) {
            (Some(b'f'), _) => (8, &b""[..]),
            (Some(b'm'), _) => (1, &b""[..]),
            (_, EmbeddedStore::Redb) => (0, key),
            (_, EmbeddedStore::Sled) => (0, &b""[..]),
        };
        let mut sealed = value.to_vec();
        if let Some((head, content)) = sealed.split_at_mut_checked(checksum_at + 8) {
            let mut hash = Xxh3::new();
            hash.update(under);
            hash.update(content);
            head[checksum_at..].copy_from_slice(&hash.digest().to_le_bytes());
            check_stored(store, key, &sealed);
        }
    }
}

fn check_stored(store: EmbeddedStore, key: &[u8], value: &[u8]) {
    match check_record(store, key, value) {
        Ok(again) => assert_eq!(again, value),
        Err(why) => assert_one_line(&why),
    }
}
