//! The log on sled 0.34, an embedded store: for simulation and development on one machine.
//!
//! Law-keeping: a commit is one atomic batch of one tree: frames of entries, meta record, perhaps a
//! snapshot (L3, L6). Meta is cached and compared under one mutex before anything is written (L4, L5);
//! one process at a time can open the folder. A frame holds many entries under the position of its
//! first, because sled is many times faster with few large values. Everything read is checked against
//! a checksum, and positions against each other, so nothing damaged is passed over in silence.
//!
//! What sled is and is not: see `docs/storage.md`. It never retries and knows no fsync of its own, so
//! [`Durability::Fsync`] brings one.

pub(crate) mod files;
pub(crate) mod marker;
mod read;
mod unfinished;
mod write;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use silvertine_engine::{
    log::{
        Acquired, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, LogErrorKind, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
};
use sled::Db;

pub(crate) use self::marker::is_log;
use self::{files::Synced, marker::LOG};
use crate::records::{self, META_KEY, meta::Meta};

/// How sled is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SledOptions {
    /// What a commit has survived when it is acknowledged.
    pub durability: Durability,
    /// Memory for sled's cache, in bytes.
    pub cache_bytes: u64,
}

impl SledOptions {
    /// The same with commits that survive this much when they are acknowledged.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same with this much memory for sled's cache, in bytes.
    #[must_use]
    pub const fn with_cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { durability: Durability::Flush, cache_bytes: 64 << 20 }
    }
}

/// What a commit has survived when it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing yet: sled writes every 500 ms. A killed process may lose that much of the tail, in whole
    /// commits.
    Buffered,
    /// The end of the process: handed to the operating system. A power cut may lose a tail.
    #[default]
    Flush,
    /// A power cut, as far as sled's own recovery goes: `fdatasync` on sled's file after each commit.
    Fsync,
}

/// A partition in a folder. Clones share it.
#[derive(Clone)]
pub struct SledLog {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    /// What the store's meta record says; `None` until the partition is created.
    meta: Mutex<Option<Meta>>,
    durability: Durability,
    /// There when every commit is synced to disk.
    synced: Option<Mutex<Synced>>,
    path: PathBuf,
}

impl fmt::Debug for SledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SledLog({})", self.inner.path.display())
    }
}

impl SledLog {
    /// Opens or creates the log in the folder at `path`.
    ///
    /// # Errors
    /// [`LogErrorKind::Locked`] when another process has it open, [`LogErrorKind::Foreign`] when something else
    /// lies there, [`LogErrorKind::Corrupt`] when its files are damaged, [`LogErrorKind::TooNew`] when a newer
    /// version wrote it.
    pub fn open(path: &Path, options: &SledOptions) -> Result<Self, LogError> {
        let db = files::open(path, LOG, options.cache_bytes)?;
        let mut log = Inner {
            db,
            meta: Mutex::new(None),
            durability: options.durability,
            synced: None,
            path: path.to_path_buf(),
        };
        if options.durability == Durability::Fsync {
            let synced = Synced::begin(path, LOG);
            let failed = |why| files::classify(path, "open", &sled::Error::Io(why));
            log.synced = Some(Mutex::new(synced.map_err(failed)?));
        }
        let log = Self { inner: Arc::new(log) };
        log.shielded("open", || log.read_meta())?;
        Ok(log)
    }

    fn read_meta(&self) -> Result<(), LogError> {
        if let Some(record) = self.get("open", META_KEY)? {
            let meta = Meta::decode(&record).map_err(|kind| self.error("open", kind))?;
            *self.lock() = Some(meta);
        } else if marker::was_created(&self.inner.path, LOG) {
            let why = "the log was created and its records are gone";
            return Err(self.error("open", records::corrupt("meta", why)));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Meta>> {
        // The cache changes only after its write went well, so a panic leaves it true.
        self.inner.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: &'static str, kind: LogErrorKind) -> LogError {
        files::error(&self.inner.path, operation, kind)
    }

    fn classify(&self, operation: &'static str, why: &sled::Error) -> LogError {
        files::classify(&self.inner.path, operation, why)
    }

    /// Does an operation; where sled panics on damaged files, that is an error like any other.
    fn shielded<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        files::shielded(&self.inner.path, operation, call)
    }
}

impl EventLog for SledLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        self.shielded("acquire", || self.acquire_partition(owner, manifest))
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.shielded("commit", || self.commit_batch(lease, commit))
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        Ok(self.committed())
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.shielded("range", || self.read_range(&query))
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        if self.committed().is_none() {
            return Ok(None);
        }
        self.shielded("manifest", || self.read_manifest("manifest").map(Some))
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.shielded("snapshots", || self.snapshot_positions("snapshots"))
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        self.shielded("snapshot", || self.read_snapshot(pos))
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        self.shielded("publish", || self.publish_messages(messages))
    }

    /// Never waits: only this process can have the folder open.
    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        _wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        self.shielded("ingress", || self.read_ingress(lease, cursor, limit))
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.shielded("trim", || self.trim_entries(lease, at))
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        self.shielded("stats", || self.read_stats())
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        Ok(match self.inner.durability {
            Durability::Buffered => "sled: a crash of the process loses up to half a second of commits",
            Durability::Flush => {
                "sled: a crash of the process loses nothing, a power cut may lose the newest commits"
            }
            Durability::Fsync => "sled: every commit is synced to disk before it is acknowledged",
        }
        .to_owned())
    }
}
