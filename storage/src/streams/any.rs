//! Any of the stores of named streams, chosen by an address at run time.

use std::{future::Future, pin::Pin};

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadLetter, Fetch, Fetched, Member, Message, MessageId, Publication, Settled,
    Settlement, StoreError, StreamName, StreamStats, Streams, Topology, Tries,
};

use super::MemoryStreams;
#[cfg(feature = "redb")]
use super::RedbStreams;
#[cfg(feature = "sled")]
use super::SledStreams;
#[cfg(feature = "redb")]
use crate::redb::RedbOptions;
#[cfg(feature = "redis")]
use crate::redis::RedisStreams;
#[cfg(feature = "sled")]
use crate::sled::SledOptions;
use crate::{LogAddress, any::unusable};

/// Named streams in a store of any kind. Each has a place of its own: a folder or file that holds
/// streams holds no partition's log.
#[derive(Clone, Debug)]
pub enum AnyStreams {
    /// In memory.
    Memory(MemoryStreams),
    /// On disk, in a file.
    #[cfg(feature = "redb")]
    Redb(RedbStreams),
    /// On disk, in a folder.
    #[cfg(feature = "sled")]
    Sled(SledStreams),
    /// On a server.
    #[cfg(feature = "redis")]
    Redis(RedisStreams),
}

impl AnyStreams {
    /// Opens the streams of this topology at `address`. With `must_exist`, embedded streams that are not there
    /// are an error instead of being created.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be opened. A server is first contacted by the first operation.
    pub fn open(
        address: &LogAddress,
        topology: Topology,
        #[cfg_attr(
            not(any(feature = "redb", feature = "sled")),
            expect(unused_variables, reason = "only embedded streams are created by opening them")
        )]
        must_exist: bool,
    ) -> Result<Self, StoreError> {
        match address {
            LogAddress::Memory => Ok(Self::Memory(MemoryStreams::in_memory(topology))),
            #[cfg(feature = "redb")]
            LogAddress::Redb(path) => {
                if must_exist && !crate::redb::is_log(path) {
                    return Err(unusable(address, "there are no streams in this file").into());
                }
                RedbStreams::open(path, &RedbOptions::default(), topology).map(Self::Redb)
            }
            #[cfg(not(feature = "redb"))]
            LogAddress::Redb(_) => Err(unusable(address, "this build has no redb").into()),
            #[cfg(feature = "sled")]
            LogAddress::Sled(path) => {
                if must_exist && !super::sled::is_there(path) {
                    return Err(unusable(address, "there are no streams in this folder").into());
                }
                SledStreams::open(path, &SledOptions::default(), topology).map(Self::Sled)
            }
            #[cfg(not(feature = "sled"))]
            LogAddress::Sled(_) => Err(unusable(address, "this build has no sled").into()),
            #[cfg(feature = "redis")]
            LogAddress::Redis { partition: Some(partition), .. } => {
                let why = format!("streams are not in a partition; leave out #{partition}");
                Err(unusable(address, &why).into())
            }
            #[cfg(feature = "redis")]
            LogAddress::Redis { url, partition: None } => {
                RedisStreams::open(url, topology).map(Self::Redis)
            }
            #[cfg(not(feature = "redis"))]
            LogAddress::Redis { .. } => Err(unusable(address, "this build has no Redis").into()),
        }
    }
}

/// Calls the same method of whichever store it is.
macro_rules! delegate {
    ($self:ident, $streams:ident => $call:expr) => {
        match $self {
            Self::Memory($streams) => $call,
            #[cfg(feature = "redb")]
            Self::Redb($streams) => $call,
            #[cfg(feature = "sled")]
            Self::Sled($streams) => $call,
            #[cfg(feature = "redis")]
            Self::Redis($streams) => $call,
        }
    };
}

impl Streams for AnyStreams {
    fn topology(&self) -> &Topology {
        delegate!(self, streams => streams.topology())
    }

    async fn declare(&self, now: Nanos) -> Result<(), StoreError> {
        delegate!(self, streams => streams.declare(now).await)
    }

    async fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        delegate!(self, streams => streams.publish(publications, now).await)
    }

    async fn relay(&self, messages: &[(Pos, Publication)], now: Nanos) -> Result<u64, StoreError> {
        delegate!(self, streams => streams.relay(messages, now).await)
    }

    async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        delegate!(self, streams => streams.fetch(fetch).await)
    }

    /// What arrives from the moment of this call on is noticed, not only from the first time it is waited for.
    fn arrival(&self) -> impl Future<Output = ()> + Send {
        delegate!(self, streams => Box::pin(streams.arrival()) as Arrival<'_>)
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        delegate!(self, streams => streams.begin(member, tries, now).await)
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, StoreError> {
        delegate!(self, streams => streams.settle(member, settlements, now).await)
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, StoreError> {
        delegate!(self, streams => streams.extend(member, held, now).await)
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), StoreError> {
        delegate!(self, streams => streams.leave(member, now).await)
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        delegate!(self, streams => streams.read(stream, after, limit).await)
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> Result<Option<StreamStats>, StoreError> {
        delegate!(self, streams => streams.stream_stats(stream, now).await)
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        delegate!(self, streams => streams.dead_letters(stream, after, limit).await)
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        delegate!(self, streams => streams.bury(stream, letters, now).await)
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        delegate!(self, streams => streams.amend(stream, amendments, audit, now).await)
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        delegate!(self, streams => streams.record(stream, name).await)
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        delegate!(self, streams => streams.swap_record(stream, name, expected, new).await)
    }
}

/// One type for the waiting of all stores.
type Arrival<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
