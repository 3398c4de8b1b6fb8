//! Named streams in an embedded store: in memory, on sled, on redb.
//!
//! Law-keeping: every operation is one step under one lock. A step reads through its own changes and commits
//! them in one atomic batch of the store, so L7 holds at any crash: a message's place, the counts and
//! what is published with it change together. All of this is in here once; a store only brings ordered records
//! and atomic batches.

mod any;
mod dead;
mod done;
mod fetch;
mod holding;
mod keys;
mod kv;
mod operations;
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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use silvertine_engine::{log::Applied, time::Nanos};
use silvertine_streams::{
    GroupSpec, Member, MessageId, StoreError, StoreErrorKind, StreamName, StreamSpec, Topology,
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
    keys::{Key, Tag},
    kv::Step,
    publish::unknown,
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
    ) -> Result<Self, StoreError> {
        let streams = Self::new(store, topology, shown);
        streams.step("open", |step| match step.load::<u64>(keys::FORMAT_KEY)? {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(StoreErrorKind::TooNew { found, known: FORMAT }),
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
    pub fn delete(&self, id: &MessageId) -> Result<bool, StoreError> {
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
        change: impl FnOnce(&mut Step<'_, K>) -> Result<T, StoreErrorKind>,
    ) -> Result<T, StoreError> {
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
        change: impl FnOnce(&mut Step<'_, K>) -> Result<T, StoreErrorKind>,
    ) -> Result<T, StoreError> {
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

    fn error(&self, operation: &'static str, kind: StoreErrorKind, applied: Applied) -> StoreError {
        StoreError { kind, applied, operation, store: self.inner.shown.clone() }
    }

    /// What the topology says about a member's stream and group.
    fn specs(&self, member: &Member) -> Result<(&StreamSpec, &GroupSpec), StoreErrorKind> {
        let stream = self.spec(&member.stream)?;
        let group = stream.group(&member.group).ok_or_else(|| {
            let why = format!("{} has no group {} in this topology", member.stream, member.group);
            StoreErrorKind::Invalid { why }
        })?;
        Ok((stream, group))
    }

    fn spec(&self, stream: &StreamName) -> Result<&StreamSpec, StoreErrorKind> {
        self.inner.topology.stream(stream).ok_or_else(|| unknown(stream))
    }

    fn settling<T>(
        &self,
        operation: &'static str,
        member: &Member,
        now: Nanos,
        change: impl FnOnce(&mut Settling<'_, '_, K>) -> Result<T, StoreErrorKind>,
    ) -> Result<T, StoreError> {
        self.step_and_ring(operation, |step| {
            let (stream, spec) = self.specs(member)?;
            let topology = &self.inner.topology;
            change(&mut Settling { step, topology, stream, spec, member, now })
        })
    }
}
