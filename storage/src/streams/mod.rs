//! Named streams in an embedded store: in memory, on sled, on redb.
//!
//! Law-keeping: every operation is one step under one lock. A step reads through its own changes and commits
//! them in one atomic batch of the store, so L7 holds at any crash: a message's place, the counts and
//! what is published with it change together. All of this is in here once; a store only brings ordered records
//! and atomic batches.

mod any;
mod dead;
mod done;
mod holding;
mod keys;
mod kv;
mod poll;
mod publish;
mod records;
#[cfg(feature = "redb")]
mod redb;
mod settle;
#[cfg(feature = "sled")]
mod sled;
mod stats;

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll as Readiness, Waker},
};

use silvertine_engine::{
    log::{Applied, LogError, LogErrorKind},
    pos::Pos,
    time::Nanos,
};
use silvertine_streams::{
    Amendment, DeadLetter, GroupSpec, Member, Message, MessageId, Poll, Polled, Publication,
    Settled, Settlement, Start, StreamName, StreamSpec, StreamStats, Streams, Topology, Tries,
};

#[cfg(feature = "redb")]
pub use self::redb::{RedbKv, RedbStreams};
#[cfg(feature = "sled")]
pub use self::sled::{SledKv, SledStreams};
pub use self::{
    any::AnyStreams,
    kv::{Changes, Kv, MemoryKv, Record},
};
use self::{
    keys::{Key, Tag, behind, last_id},
    kv::Step,
    publish::unknown,
    records::{GroupRecord, Stored, decode},
    settle::Settling,
};

/// How the records are written.
#[cfg(any(feature = "sled", feature = "redb"))]
const FORMAT: u64 = 1;

/// Named streams in this process's memory. Clones share them; they are gone with the last of them.
pub type MemoryStreams = EmbeddedStreams<MemoryKv>;

/// Named streams on an embedded store. Clones share it.
pub struct EmbeddedStreams<K: Kv> {
    inner: Arc<Inner<K>>,
}

struct Inner<K: Kv> {
    store: K,
    topology: Topology,
    /// What error messages call the store.
    shown: String,
    /// One operation at a time, and what those before have only noted: signs of life. A crash may forget them,
    /// because it ends the members too.
    turn: Mutex<Changes>,
    bell: Mutex<Bell>,
}

/// Wakes those who wait for something to arrive.
#[derive(Default)]
struct Bell {
    rings: u64,
    sleepers: Vec<Waker>,
}

impl<K: Kv> Drop for Inner<K> {
    fn drop(&mut self) {
        let unwritten = self.turn.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !unwritten.is_empty() {
            // A store that cannot be written any more is as good as one that crashed.
            let _ = self.store.apply(std::mem::take(unwritten));
        }
    }
}

impl<K: Kv> Clone for EmbeddedStreams<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Kv> fmt::Debug for EmbeddedStreams<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedStreams({})", self.inner.shown)
    }
}

impl MemoryStreams {
    /// Empty streams of this topology.
    #[must_use]
    pub fn in_memory(topology: Topology) -> Self {
        Self::new(MemoryKv::default(), topology, "memory".to_owned())
    }
}

impl<K: Kv> EmbeddedStreams<K> {
    /// Streams of this topology in `store`, which error messages call `shown`.
    #[must_use]
    pub fn new(store: K, topology: Topology, shown: String) -> Self {
        let turn = Mutex::default();
        let bell = Mutex::default();
        Self { inner: Arc::new(Inner { store, topology, shown, turn, bell }) }
    }

    /// Streams of this topology in `store`, which is a file of ours if it `was_created` before.
    #[cfg(any(feature = "sled", feature = "redb"))]
    fn open_in(
        store: K,
        topology: Topology,
        shown: String,
        was_created: bool,
    ) -> Result<Self, LogError> {
        let streams = Self::new(store, topology, shown);
        streams.step("open", |step| match step.load::<u64>(keys::FORMAT_KEY)? {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(LogErrorKind::TooNew { found, known: FORMAT }),
            None if was_created => Err(kv::corrupt(
                keys::FORMAT_KEY,
                "the streams were created and their records are gone",
            )),
            None => {
                step.save(keys::FORMAT_KEY.to_vec(), &FORMAT);
                Ok(())
            }
        })?;
        Ok(streams)
    }

    /// Deletes a message that somebody may still have to handle, as a stranger with access to the store would. Returns
    /// whether it was there. For tests of what follows; groups are not asked.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn delete(&self, id: &MessageId) -> Result<bool, LogError> {
        self.step("delete", |step| {
            let key = Key::of(Tag::Message, &id.stream).id(id.id).done();
            if step.get(&key)?.is_none() {
                return Ok(false);
            }
            step.remove(key);
            Ok(true)
        })
    }

    /// Does an operation as one atomic step. An error leaves nothing behind.
    fn step<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Step<'_, K>) -> Result<T, LogErrorKind>,
    ) -> Result<T, LogError> {
        let mut turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::begin(&self.inner.store, turn.clone());
        let result = change(&mut step).map_err(|kind| self.error(operation, kind, Applied::No));
        let answer = result?;
        // A store that fails while it writes does not say how far it came.
        let committed = step.commit(&mut turn);
        drop(turn);
        committed.map_err(|kind| self.error(operation, kind, Applied::Maybe))?;
        Ok(answer)
    }

    /// The same, and afterwards whoever waits looks again.
    fn step_and_ring<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Step<'_, K>) -> Result<T, LogErrorKind>,
    ) -> Result<T, LogError> {
        let answer = self.step(operation, change)?;
        let mut bell = self.bell();
        bell.rings += 1;
        let sleepers = std::mem::take(&mut bell.sleepers);
        drop(bell);
        sleepers.into_iter().for_each(Waker::wake);
        Ok(answer)
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.inner.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: &'static str, kind: LogErrorKind, applied: Applied) -> LogError {
        LogError { kind, applied, operation, log: self.inner.shown.clone() }
    }

    /// What the topology says about a member's stream and group.
    fn specs(&self, member: &Member) -> Result<(&StreamSpec, &GroupSpec), LogErrorKind> {
        let stream = self.spec(&member.stream)?;
        let group = stream.group(&member.group).ok_or_else(|| {
            let why = format!("{} has no group {} in this topology", member.stream, member.group);
            LogErrorKind::Invalid { why }
        })?;
        Ok((stream, group))
    }

    fn spec(&self, stream: &StreamName) -> Result<&StreamSpec, LogErrorKind> {
        self.inner.topology.stream(stream).ok_or_else(|| unknown(stream))
    }

    fn settling<T>(
        &self,
        operation: &'static str,
        member: &Member,
        now: Nanos,
        change: impl FnOnce(&mut Settling<'_, '_, K>) -> Result<T, LogErrorKind>,
    ) -> Result<T, LogError> {
        self.step_and_ring(operation, |step| {
            let (stream, spec) = self.specs(member)?;
            let topology = &self.inner.topology;
            change(&mut Settling { step, topology, stream, spec, member, now })
        })
    }
}

impl<K: Kv> Streams for EmbeddedStreams<K> {
    fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    async fn declare(&self, _now: Nanos) -> Result<(), LogError> {
        let known = |why: String| LogErrorKind::Invalid { why };
        self.step("declare", |step| {
            self.inner.topology.check().map_err(|why| known(why.to_string()))?;
            for spec in &self.inner.topology.streams {
                for stream in spec.keys() {
                    let record = step.stream(&stream)?;
                    step.save_stream(&stream, &record);
                    for group in spec.groups_on(&stream) {
                        if step.group(&stream, &group.name)?.is_some() {
                            continue;
                        }
                        let mut begun = GroupRecord::default();
                        if group.start == Start::End {
                            begun.delivered = record.last;
                            begun.read = record.added;
                        } else {
                            begun.read = record.added - record.length;
                        }
                        step.save_group(&stream, &group.name, &begun);
                    }
                }
            }
            Ok(())
        })
    }

    async fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> Result<Vec<Pos>, LogError> {
        self.step_and_ring("publish", |step| {
            let topology = &self.inner.topology;
            publications.iter().map(|one| publish::append(step, topology, one, now)).collect()
        })
    }

    async fn relay(&self, messages: &[(Pos, Publication)], now: Nanos) -> Result<u64, LogError> {
        self.step_and_ring("relay", |step| {
            let topology = &self.inner.topology;
            let mut added = 0;
            for (id, publication) in messages {
                added += u64::from(publish::append_at(step, topology, *id, publication, now)?);
            }
            Ok(added)
        })
    }

    async fn poll(&self, poll: &Poll<'_>) -> Result<Polled, LogError> {
        self.step("poll", |step| {
            let (stream, spec) = self.specs(poll.member)?;
            poll::poll(step, stream, spec, poll)
        })
    }

    fn arrival(&self) -> impl Future<Output = ()> + Send {
        let heard = self.bell().rings;
        let streams = self.clone();
        poll_fn(move |context| {
            let mut bell = streams.bell();
            if bell.rings > heard {
                return Readiness::Ready(());
            }
            bell.sleepers.push(context.waker().clone());
            Readiness::Pending
        })
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> Result<Vec<bool>, LogError> {
        self.settling("begin", member, now, |settling| settling.begin(tries))
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, LogError> {
        self.settling("settle", member, now, |settling| settling.settle(settlements))
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, LogError> {
        self.settling("extend", member, now, |settling| settling.extend(held))
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), LogError> {
        // A member may hold any number of messages, and others want their turn.
        while !self.settling("leave", member, now, |settling| settling.leave())? {}
        Ok(())
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, LogError> {
        self.step("read", |step| {
            self.inner.topology.owner_of(stream).ok_or_else(|| unknown(stream))?;
            let (from, to) = behind(Key::of(Tag::Message, stream), after);
            let mut messages = Vec::new();
            for (key, value) in step.scan(&from, &to, limit)? {
                messages.push((last_id(&key)?, decode::<Stored<Message>>(&key, &value)?.message));
            }
            Ok(messages)
        })
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> Result<Option<StreamStats>, LogError> {
        self.step("stats", |step| match self.inner.topology.owner_of(stream) {
            Some(spec) => stats::stream(step, spec, stream, now),
            None => Ok(None),
        })
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, LogError> {
        self.step("dead letters", |step| {
            self.spec(stream)?;
            dead::page(step, stream, after, limit)
        })
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> Result<Vec<Pos>, LogError> {
        self.step("bury", |step| {
            let spec = self.spec(stream)?;
            letters.iter().map(|letter| dead::bury(step, spec, letter, now)).collect()
        })
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> Result<Vec<bool>, LogError> {
        self.step_and_ring("amend", |step| {
            self.spec(stream)?;
            let topology = &self.inner.topology;
            let amend = |one| dead::amend(step, topology, stream, one, now);
            let amended = amendments.iter().map(amend).collect::<Result<Vec<bool>, _>>()?;
            if amended.contains(&true) {
                for publication in audit {
                    publish::append(step, topology, publication, now)?;
                }
            }
            Ok(amended)
        })
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        let key = Key::of(Tag::Record, stream).bytes(name.as_bytes()).done();
        self.step("read a record", |step| {
            self.spec(stream)?;
            step.get(&key)
        })
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, LogError> {
        let key = Key::of(Tag::Record, stream).bytes(name.as_bytes()).done();
        self.step("write a record", |step| {
            self.spec(stream)?;
            if step.get(&key)?.as_deref() != expected {
                return Ok(false);
            }
            match new {
                Some(new) => step.put(key, new.to_vec()),
                None => step.remove(key),
            }
            Ok(true)
        })
    }
}
