//! The records of named streams in an embedded store, and how a step reads and writes them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{ConsumerName, GroupName, MessageId, StoreErrorKind, StreamName, Tries};

use super::{
    keys::{Key, Tag, behind, last_id},
    kv::{Kv, Step, corrupt},
};

/// A stream's newest id and counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct StreamRecord {
    pub(super) last: Pos,
    pub(super) length: u64,
    pub(super) added: u64,
    pub(super) cut: u64,
    /// Nothing is kept up to here: where to look for the oldest message.
    pub(super) trimmed: Pos,
}

/// A message as it is stored: its number on the stream, from one, and its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored<M> {
    pub(super) number: u64,
    pub(super) message: M,
}

/// A group's place on one stream, and its counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    /// The newest id delivered.
    pub(super) delivered: Pos,
    /// The number of the newest message delivered, or of the last before the group began.
    pub(super) read: u64,
    pub(super) held: u64,
    pub(super) retrying: u64,
    pub(super) blocked: u64,
    pub(super) done: u64,
    pub(super) duplicates: u64,
    pub(super) dead: u64,
    /// Keys of handled messages that are remembered; counted on the stream itself.
    pub(super) remembered: u64,
}

/// A message that was delivered and is neither done nor dead.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) place: Place,
    pub(super) deliveries: u64,
    pub(super) tries: Tries,
    /// The fingerprint of its ordering key, where it has one.
    pub(super) ordered: Option<[u8; 16]>,
}

/// Where a pending message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    Held(ConsumerName),
    Waiting(Nanos),
    Blocked,
}

/// Counts of a stream's dead letters.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct DeadRecord {
    pub(super) last: Pos,
    pub(super) count: u64,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("records have no part that could be refused")
}

pub(super) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreErrorKind> {
    postcard::from_bytes(bytes).map_err(|why| corrupt(key, why))
}

impl<K: Kv> Step<'_, K> {
    pub(super) fn load<T: DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, StoreErrorKind> {
        self.get(key)?.map(|bytes| decode(key, &bytes)).transpose()
    }

    pub(super) fn save<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.put(key, encode(value));
    }

    pub(super) fn stream(&self, stream: &StreamName) -> Result<StreamRecord, StoreErrorKind> {
        let key = Key::of(Tag::Stream, stream).done();
        Ok(self.load(&key)?.unwrap_or_default())
    }

    pub(super) fn save_stream(&mut self, stream: &StreamName, record: &StreamRecord) {
        self.save(Key::of(Tag::Stream, stream).done(), record);
    }

    pub(super) fn group(
        &self,
        stream: &StreamName,
        group: &GroupName,
    ) -> Result<Option<GroupRecord>, StoreErrorKind> {
        self.load(&group_key(stream, group))
    }

    pub(super) fn save_group(
        &mut self,
        stream: &StreamName,
        group: &GroupName,
        record: &GroupRecord,
    ) {
        self.save(group_key(stream, group), record);
    }

    /// Changes a group's counts.
    pub(super) fn count(
        &mut self,
        stream: &StreamName,
        group: &GroupName,
        change: impl FnOnce(&mut GroupRecord),
    ) -> Result<(), StoreErrorKind> {
        let mut record = self.group(stream, group)?.unwrap_or_default();
        change(&mut record);
        self.save_group(stream, group, &record);
        Ok(())
    }

    /// A pending message that another record speaks of.
    pub(super) fn known_pending(
        &self,
        id: &MessageId,
        group: &GroupName,
    ) -> Result<Pending, StoreErrorKind> {
        let pending = self.pending(id, group)?;
        pending.ok_or_else(|| corrupt(&pending_key(id, group), "it is missing"))
    }

    /// Behind which id the oldest message of a stream lies, and where messages end.
    pub(super) fn oldest(
        &self,
        stream: &StreamName,
        record: &StreamRecord,
    ) -> Result<Option<Pos>, StoreErrorKind> {
        let kept = behind(Key::of(Tag::Message, stream), record.trimmed);
        self.first(&kept)?.map(|key| last_id(&key)).transpose()
    }

    /// The oldest pending message.
    pub(super) fn oldest_pending(
        &self,
        stream: &StreamName,
        group: &GroupName,
    ) -> Result<Option<Pos>, StoreErrorKind> {
        let pending = Key::of(Tag::Pending, stream).group(group).prefix();
        self.first(&pending)?.map(|key| last_id(&key)).transpose()
    }

    pub(super) fn pending(
        &self,
        id: &MessageId,
        group: &GroupName,
    ) -> Result<Option<Pending>, StoreErrorKind> {
        self.load(&pending_key(id, group))
    }

    /// Puts a pending message into a place: `None` when it was in none before, or is in none from now on.
    /// Keeps the indexes and counts that go with it.
    pub(super) fn place(
        &mut self,
        id: &MessageId,
        group: &GroupName,
        before: Option<&Place>,
        after: Option<&Pending>,
    ) -> Result<(), StoreErrorKind> {
        if let Some(before) = before
            && let Some(key) = index_key(id, group, before)
        {
            self.remove(key);
        }
        match after {
            Some(pending) => {
                if let Some(key) = index_key(id, group, &pending.place) {
                    self.put(key, Vec::new());
                }
                self.save(pending_key(id, group), pending);
            }
            None => self.remove(pending_key(id, group)),
        }
        let after = after.map(|pending| &pending.place);
        self.count(&id.stream, group, |counts| {
            if let Some(place) = before {
                *counter(counts, place) -= 1;
            }
            if let Some(place) = after {
                *counter(counts, place) += 1;
            }
        })
    }

    pub(super) fn message<M: DeserializeOwned>(
        &self,
        id: &MessageId,
    ) -> Result<Option<Stored<M>>, StoreErrorKind> {
        self.load(&Key::of(Tag::Message, &id.stream).id(id.id).done())
    }
}

const fn counter<'a>(counts: &'a mut GroupRecord, place: &Place) -> &'a mut u64 {
    match place {
        Place::Held(_) => &mut counts.held,
        Place::Waiting(_) => &mut counts.retrying,
        Place::Blocked => &mut counts.blocked,
    }
}

pub(super) fn group_key(stream: &StreamName, group: &GroupName) -> Vec<u8> {
    Key::of(Tag::Group, stream).group(group).done()
}

pub(super) fn pending_key(id: &MessageId, group: &GroupName) -> Vec<u8> {
    Key::of(Tag::Pending, &id.stream).group(group).id(id.id).done()
}

/// Where a message in this place is found without looking at all others.
fn index_key(id: &MessageId, group: &GroupName, place: &Place) -> Option<Vec<u8>> {
    match place {
        Place::Held(consumer) => {
            Some(Key::of(Tag::Held, &id.stream).group(group).consumer(consumer).id(id.id).done())
        }
        Place::Waiting(due) => {
            Some(Key::of(Tag::Due, &id.stream).group(group).time(*due).id(id.id).done())
        }
        Place::Blocked => None,
    }
}
