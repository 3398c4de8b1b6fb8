//! The running digest: a 128-bit value over all entries of a log. Logs with the same digest hold the same entries.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// A digest chained entry by entry over the canonical bytes of a log.
///
/// `d(0) = 0`, `d(n) = XXH3-128(d(n-1) ‖ XXH3-128(bytes of entry n))`, both as 16 little-endian bytes.
/// It depends only on the entries, not on batches, commits, snapshots or backends. XXH3 is fast enough for the hot path and
/// detects accidental changes. It is not cryptographic: it does not detect a log that was forged on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of an empty log.
    pub const EMPTY: Self = Self([0; 16]);

    /// The digest of this log with one more entry.
    #[must_use]
    pub fn chain(self, entry_bytes: &[u8]) -> Self {
        self.chain_fingerprint(fingerprint(entry_bytes))
    }

    /// The same for an entry of which only the [`fingerprint`] is known.
    #[must_use]
    pub fn chain_fingerprint(self, entry: [u8; 16]) -> Self {
        let mut link = [0; 32];
        link[..16].copy_from_slice(&self.0);
        link[16..].copy_from_slice(&entry);
        Self(xxh3_128(&link).to_le_bytes())
    }

    /// The 16 bytes as stored.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The digest of these stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// XXH3-128 of arbitrary bytes, little endian: the fingerprint of refused input.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> [u8; 16] {
    xxh3_128(bytes).to_le_bytes()
}

impl fmt::Display for Digest {
    /// 32 hexadecimal digits, bytes in stored order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_sees_content_and_order() {
        let ab = Digest::EMPTY.chain(b"a").chain(b"b");
        assert_ne!(ab, Digest::EMPTY.chain(b"b").chain(b"a"));
        assert_ne!(ab, Digest::EMPTY.chain(b"ab"));
        assert_eq!(ab, Digest::EMPTY.chain(b"a").chain(b"b"));
    }

    #[test]
    fn the_digest_of_version_1_is_pinned() {
        let digest = Digest::EMPTY.chain(b"silvertine");
        assert_eq!(digest.to_string(), "08653ea66ae99049b7dbdbb8059d8847");
    }
}
