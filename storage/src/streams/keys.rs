//! Where the records of named streams stand in an embedded store.
//!
//! A key is a tag, names each ended by a zero byte (no name holds one), then ids and times in big-endian bytes, so
//! that byte order is the order in which they are read.

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{ConsumerName, GroupName, StoreErrorKind, StreamName};

use super::kv::corrupt;

/// The record that says how all others are written.
#[cfg(any(feature = "sled", feature = "redb"))]
pub(super) const FORMAT_KEY: &[u8] = b"v";

/// What a record is.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    /// A stream's newest id and counts.
    Stream = b's',
    /// A message.
    Message = b'm',
    /// A group's place on one stream, and its counts.
    Group = b'g',
    /// A message that was delivered and is neither done nor dead.
    Pending = b'p',
    /// What one member holds.
    Held = b'h',
    /// Retries by the time they are due.
    Due = b'r',
    /// When a member last showed a sign of life.
    Member = b'l',
    /// Keys that are done, and when.
    Done = b'd',
    /// The same by time.
    DoneAt = b't',
    /// Who holds an ordering key.
    Holder = b'o',
    /// Who waits for an ordering key.
    Queue = b'q',
    /// Dead letters.
    Dead = b'x',
    /// What people have done about a dead letter.
    DeadState = b'y',
    /// Counts of dead letters.
    DeadCount = b'z',
    /// Small records.
    Record = b'k',
}

/// A key in the making.
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of(tag: Tag, stream: &StreamName) -> Self {
        let mut key = Vec::with_capacity(64);
        key.push(tag as u8);
        Self(key).name(stream.as_str())
    }

    fn name(mut self, name: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self
    }

    pub(super) fn group(self, group: &GroupName) -> Self {
        self.name(group.as_str())
    }

    pub(super) fn consumer(self, consumer: &ConsumerName) -> Self {
        self.name(consumer.as_str())
    }

    pub(super) fn id(mut self, id: Pos) -> Self {
        self.0.extend_from_slice(&id.to_be_bytes());
        self
    }

    pub(super) fn time(mut self, at: Nanos) -> Self {
        self.0.extend_from_slice(&at.0.to_be_bytes());
        self
    }

    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }

    /// The keys that begin with this one: from it up to, not including, the second.
    pub(super) fn prefix(self) -> (Vec<u8>, Vec<u8>) {
        let mut end = self.0.clone();
        // The last byte is that of a name's end, a tag or part of an id; none of these keys ends in 0xff only.
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        (self.0, end)
    }
}

/// The id in a key's last sixteen bytes.
pub(super) fn last_id(key: &[u8]) -> Result<Pos, StoreErrorKind> {
    let bytes = key.last_chunk::<16>().ok_or_else(|| corrupt(key, "no id in its key"))?;
    Ok(Pos::from_be_bytes(*bytes))
}

/// The next possible id.
pub(super) const fn successor(id: Pos) -> Pos {
    match id.seq.checked_add(1) {
        Some(seq) => Pos { ms: id.ms, seq },
        None => Pos { ms: id.ms.saturating_add(1), seq: 0 },
    }
}

/// The records behind `after` among those whose keys begin with this and end with an id.
pub(super) fn behind(prefix: Key, after: Pos) -> (Vec<u8>, Vec<u8>) {
    let (mut from, to) = prefix.prefix();
    from.extend_from_slice(&successor(after).to_be_bytes());
    (from, to)
}
