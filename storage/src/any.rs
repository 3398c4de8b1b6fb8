//! Any of the logs, chosen by an address at run time.

use std::time::Duration;

use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, LogErrorKind, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
    text::Name,
};

#[cfg(feature = "redb")]
use crate::redb::{RedbLog, RedbOptions};
#[cfg(feature = "redis")]
use crate::redis::{RedisConfig, RedisLog};
#[cfg(feature = "sled")]
use crate::sled::{SledLog, SledOptions};
use crate::{LogAddress, memory::MemoryLog};

/// A log of any kind. Commits are batches, so choosing per call costs nothing that could be measured.
#[derive(Clone)]
pub enum AnyLog {
    /// In memory.
    Memory(MemoryLog),
    /// On disk, in a file.
    #[cfg(feature = "redb")]
    Redb(RedbLog),
    /// On disk, in a folder.
    #[cfg(feature = "sled")]
    Sled(SledLog),
    /// On a server.
    #[cfg(feature = "redis")]
    Redis(RedisLog),
}

impl AnyLog {
    /// Opens the log at `address`; `partition` is used where the address names none. With `must_exist`, an
    /// embedded log that is not there is an error instead of being created.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be opened. A server is first contacted by the first operation.
    pub fn open(
        address: &LogAddress,
        #[cfg_attr(
            not(feature = "redis"),
            expect(unused_variables, reason = "only a server holds several partitions")
        )]
        partition: Name,
        #[cfg_attr(
            not(any(feature = "redb", feature = "sled")),
            expect(unused_variables, reason = "only an embedded log is created by opening it")
        )]
        must_exist: bool,
    ) -> Result<Self, LogError> {
        match address {
            LogAddress::Memory => Ok(Self::Memory(MemoryLog::new())),
            #[cfg(feature = "redb")]
            LogAddress::Redb(path) => {
                if must_exist && !crate::redb::is_log(path) {
                    return Err(unusable(address, "there is no log in this file"));
                }
                RedbLog::open(path, &RedbOptions::default()).map(Self::Redb)
            }
            #[cfg(not(feature = "redb"))]
            LogAddress::Redb(_) => Err(unusable(address, "this build has no redb")),
            #[cfg(feature = "sled")]
            LogAddress::Sled(path) => {
                if must_exist && !crate::sled::is_log(path) {
                    return Err(unusable(address, "there is no log in this folder"));
                }
                SledLog::open(path, &SledOptions::default()).map(Self::Sled)
            }
            #[cfg(not(feature = "sled"))]
            LogAddress::Sled(_) => Err(unusable(address, "this build has no sled")),
            #[cfg(feature = "redis")]
            LogAddress::Redis { url, partition: named } => {
                let partition = named.unwrap_or(partition);
                RedisLog::open(RedisConfig::new(url.clone(), partition)).map(Self::Redis)
            }
            #[cfg(not(feature = "redis"))]
            LogAddress::Redis { .. } => Err(unusable(address, "this build has no Redis")),
        }
    }
}

/// Nothing can be opened at this address.
pub(crate) fn unusable(address: &LogAddress, why: &str) -> LogError {
    LogError {
        kind: LogErrorKind::Foreign { why: why.to_owned() },
        applied: Applied::No,
        operation: "open",
        log: address.to_string(),
    }
}

/// Calls the same method of whichever log it is.
macro_rules! delegate {
    ($self:ident, $log:ident => $call:expr) => {
        match $self {
            Self::Memory($log) => $call.await,
            #[cfg(feature = "redb")]
            Self::Redb($log) => $call.await,
            #[cfg(feature = "sled")]
            Self::Sled($log) => $call.await,
            #[cfg(feature = "redis")]
            Self::Redis($log) => $call.await,
        }
    };
}

impl EventLog for AnyLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        delegate!(self, log => log.acquire(owner, manifest))
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        delegate!(self, log => log.commit(lease, commit))
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        delegate!(self, log => log.head())
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        delegate!(self, log => log.range(query))
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        delegate!(self, log => log.manifest())
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        delegate!(self, log => log.snapshots())
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        delegate!(self, log => log.snapshot(pos))
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        delegate!(self, log => log.publish(messages))
    }

    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        delegate!(self, log => log.ingress(lease, cursor, limit, wait))
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        delegate!(self, log => log.trim(lease, at))
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        delegate!(self, log => log.stats())
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        delegate!(self, log => log.durability_note())
    }
}
