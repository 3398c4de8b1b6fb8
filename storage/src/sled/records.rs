//! Keys and records besides frames: meta, manifest, snapshots, ingress.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    codec::Codec,
    log::{Head, LogErrorKind, Message, Pos},
    text::Name,
};
use xxhash_rust::xxh3::xxh3_64;

pub(super) const META_KEY: &[u8] = b"m";
pub(super) const MANIFEST_KEY: &[u8] = b"M";
const FRAME_PREFIX: u8 = b'f';
pub(super) const SNAPSHOT_PREFIX: u8 = b's';
pub(super) const MESSAGE_PREFIX: u8 = b'i';
const PRODUCER_PREFIX: u8 = b'p';

/// Version of the layout of keys and records.
const FORMAT_VERSION: u8 = 1;

/// What the partition knows of itself; written with every commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) epoch: u64,
    pub(super) owner: u128,
    pub(super) head: Head,
    pub(super) checkpoint: Vec<u8>,
}

impl Meta {
    /// The format version, then the sealed record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let record = postcard::to_stdvec(self).expect("meta is plain numbers and bytes");
        let mut stored = vec![FORMAT_VERSION];
        stored.extend_from_slice(&seal(&record));
        stored
    }

    pub(super) fn decode(stored: &[u8]) -> Result<Self, LogErrorKind> {
        let corrupt =
            |why: &str| LogErrorKind::Corrupt { at: "meta".to_owned(), why: why.to_owned() };
        let (&version, sealed) = stored.split_first().ok_or_else(|| corrupt("empty"))?;
        if version > FORMAT_VERSION {
            let (found, known) = (version.into(), FORMAT_VERSION.into());
            return Err(LogErrorKind::TooNew { found, known });
        }
        if version == 0 {
            return Err(corrupt("format version 0 was never written"));
        }
        let record = unseal(sealed).ok_or_else(|| corrupt("checksum differs"))?;
        postcard::from_bytes(record).map_err(|why| corrupt(&why.to_string()))
    }
}

/// Bytes with their checksum in front.
pub(super) fn seal(content: &[u8]) -> Vec<u8> {
    let mut sealed = xxh3_64(content).to_le_bytes().to_vec();
    sealed.extend_from_slice(content);
    sealed
}

/// What [`seal`] sealed, if the checksum agrees.
pub(super) fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = sealed.split_first_chunk::<8>()?;
    (xxh3_64(content).to_le_bytes() == *checksum).then_some(content)
}

fn pos_key(prefix: u8, pos: Pos) -> [u8; 17] {
    let mut key = [prefix; 17];
    key[1..].copy_from_slice(&pos.to_be_bytes());
    key
}

pub(super) fn frame_key(first: Pos) -> [u8; 17] {
    pos_key(FRAME_PREFIX, first)
}

pub(super) fn snapshot_key(pos: Pos) -> [u8; 17] {
    pos_key(SNAPSHOT_PREFIX, pos)
}

/// The position in a frame's or snapshot's key.
pub(super) fn pos_of(key: &[u8]) -> Option<Pos> {
    Some(Pos::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

pub(super) fn producer_key(producer: &Name) -> Vec<u8> {
    [&[PRODUCER_PREFIX], producer.as_bytes()].concat()
}

/// A name holds no control characters, so a zero byte ends it and keys sort by producer, then number.
pub(super) fn message_key(producer: &Name, seq: u64) -> Vec<u8> {
    [&[MESSAGE_PREFIX], producer.as_bytes(), &[0], &seq.to_be_bytes()].concat()
}

pub(super) fn encode_message(message: &Message) -> Vec<u8> {
    let mut content = vec![message.codec as u8];
    content.extend_from_slice(&message.payload);
    seal(&content)
}

pub(super) fn decode_message(key: &[u8], sealed: &[u8]) -> Result<Message, String> {
    let odd_key = || "odd key".to_owned();
    let (name, seq) = key[1..].split_last_chunk::<8>().ok_or_else(odd_key)?;
    let name = name.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok());
    let producer = name.and_then(|name| Name::new(name).ok()).ok_or_else(odd_key)?;
    let seq = u64::from_be_bytes(*seq);
    let wrong = |why: &str| format!("number {seq} of producer {producer}: {why}");
    let content = unseal(sealed).ok_or_else(|| wrong("checksum differs"))?;
    let (codec, payload) = content.split_first().ok_or_else(|| wrong("empty"))?;
    let codec = match codec {
        0 => Codec::Postcard,
        1 => Codec::Json,
        other => return Err(wrong(&format!("codec {other} is not known"))),
    };
    Ok(Message { producer, seq, codec, payload: payload.to_vec() })
}
