//! What the embedded logs store: keys, checked records, frames of entries. Both have the same layout.
//!
//! - [`meta`]: what the partition knows of itself, and what follows from it: who may write, what a commit
//!   may build on.
//! - [`frame`]: many entries as one value; [`paging`]: a page out of the frames that a store hands out.
//! - [`publishing`]: which messages of producers are new.
//! - [`check`]: one record by itself, for those outside.
//! - here: keys, seals, messages, numbers.
//!
//! Every record carries a checksum. What it covers besides the content is up to the store: `under` is the
//! key where a damaged store may hand out a whole record under a wrong one (redb), and empty where the
//! store takes care of its keys itself (sled).

mod check;
pub(crate) mod frame;
pub(crate) mod meta;
pub(crate) mod paging;
pub(crate) mod publishing;

use silvertine_engine::{
    codec::Codec,
    log::{IngressMessage, LogErrorKind},
    pos::Pos,
    text::Name,
};
use xxhash_rust::xxh3::Xxh3;

pub use self::check::{EmbeddedStore, check_record};

pub(crate) const META_KEY: &[u8] = b"m";
pub(crate) const MANIFEST_KEY: &[u8] = b"M";
const FRAME_PREFIX: u8 = b'f';
pub(crate) const SNAPSHOT_PREFIX: u8 = b's';
pub(crate) const MESSAGE_PREFIX: u8 = b'i';
pub(crate) const PRODUCER_PREFIX: u8 = b'p';

/// A record that does not check out.
pub(crate) fn corrupt(at: impl ToString, why: impl ToString) -> LogErrorKind {
    LogErrorKind::Corrupt { at: at.to_string(), why: why.to_string() }
}

fn checksum(under: &[u8], content: &[u8]) -> [u8; 8] {
    let mut hash = Xxh3::new();
    hash.update(under);
    hash.update(content);
    hash.digest().to_le_bytes()
}

/// Bytes with their checksum in front.
pub(crate) fn seal(under: &[u8], content: &[u8]) -> Vec<u8> {
    let mut sealed = checksum(under, content).to_vec();
    sealed.extend_from_slice(content);
    sealed
}

/// What [`seal`] sealed, if the checksum agrees.
fn unseal<'a>(under: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, content) = sealed.split_first_chunk::<8>()?;
    (checksum(under, content) == *stored).then_some(content)
}

/// What [`seal`] sealed; `at` is what messages call the record.
///
/// # Errors
/// [`LogErrorKind::Corrupt`] when the checksum differs.
pub(crate) fn content<'a>(
    at: impl ToString,
    under: &[u8],
    sealed: &'a [u8],
) -> Result<&'a [u8], LogErrorKind> {
    unseal(under, sealed).ok_or_else(|| corrupt(at, "checksum differs"))
}

fn pos_key(prefix: u8, pos: Pos) -> [u8; 17] {
    let mut key = [prefix; 17];
    key[1..].copy_from_slice(&pos.to_be_bytes());
    key
}

pub(crate) fn frame_key(first: Pos) -> [u8; 17] {
    pos_key(FRAME_PREFIX, first)
}

pub(crate) fn snapshot_key(pos: Pos) -> [u8; 17] {
    pos_key(SNAPSHOT_PREFIX, pos)
}

/// The position in a frame's or snapshot's key.
fn pos_of(key: &[u8]) -> Option<Pos> {
    Some(Pos::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// The position of the snapshot that lies under a key.
pub(crate) fn snapshot_pos(key: &[u8]) -> Option<Pos> {
    pos_of(key).filter(|_| key[0] == SNAPSHOT_PREFIX)
}

pub(crate) fn producer_key(producer: &Name) -> Vec<u8> {
    [&[PRODUCER_PREFIX], producer.as_bytes()].concat()
}

/// What messages call the snapshot at `pos`.
pub(crate) fn snapshot_name(pos: Pos) -> String {
    format!("snapshot {pos}")
}

/// A producer's last number as stored.
pub(crate) fn encode_number(under: &[u8], seq: u64) -> Vec<u8> {
    seal(under, &seq.to_be_bytes())
}

/// What [`encode_number`] wrote for `producer`.
///
/// # Errors
/// [`LogErrorKind::Corrupt`].
pub(crate) fn decode_number(
    under: &[u8],
    producer: &Name,
    sealed: &[u8],
) -> Result<u64, LogErrorKind> {
    let at = || format!("last number of producer {producer}");
    let number = unseal(under, sealed).ok_or_else(|| corrupt(at(), "checksum differs"))?;
    let number = number.try_into().map_err(|_| corrupt(at(), "not eight bytes"))?;
    Ok(u64::from_be_bytes(number))
}

/// A name holds no control characters, so a zero byte ends it and keys sort by producer, then number.
pub(crate) fn message_key(producer: &Name, seq: u64) -> Vec<u8> {
    [&[MESSAGE_PREFIX], producer.as_bytes(), &[0], &seq.to_be_bytes()].concat()
}

pub(crate) fn encode_message(under: &[u8], message: &IngressMessage) -> Vec<u8> {
    let mut content = vec![message.codec as u8];
    content.extend_from_slice(&message.payload);
    seal(under, &content)
}

pub(crate) fn decode_message(
    under: &[u8],
    key: &[u8],
    sealed: &[u8],
) -> Result<IngressMessage, String> {
    let odd_key = || "odd key".to_owned();
    let name_and_seq = key.get(1..).and_then(<[u8]>::split_last_chunk::<8>);
    let (name, seq) = name_and_seq.ok_or_else(odd_key)?;
    let name = name.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok());
    let producer = name.and_then(|name| Name::new(name).ok()).ok_or_else(odd_key)?;
    let seq = u64::from_be_bytes(*seq);
    let wrong = |why: &str| format!("number {seq} of producer {producer}: {why}");
    let content = unseal(under, sealed).ok_or_else(|| wrong("checksum differs"))?;
    let (codec, payload) = content.split_first().ok_or_else(|| wrong("empty"))?;
    let codec = match codec {
        0 => Codec::Postcard,
        1 => Codec::Json,
        other => return Err(wrong(&format!("codec {other} is not known"))),
    };
    Ok(IngressMessage { producer, seq, codec, payload: payload.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_covers_the_content_and_what_it_lies_under() {
        let sealed = seal(b"key", b"content");
        assert_eq!(unseal(b"key", &sealed), Some(&b"content"[..]));
        assert_eq!(unseal(b"kez", &sealed), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(b"key", &damaged), None, "flipped at {at}");
        }
        assert_eq!(unseal(b"", b"short"), None);
    }

    #[test]
    fn a_message_under_an_odd_key_is_no_message() {
        let sealed = seal(b"", &[0]);
        for key in [&b""[..], b"i", b"ip", b"i\x00\x00\x00\x00\x00\x00\x00\x00"] {
            assert_eq!(decode_message(b"", key, &sealed), Err("odd key".to_owned()), "{key:?}");
        }
    }
}
