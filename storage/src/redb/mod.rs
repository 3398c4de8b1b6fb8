//! The log on redb 4, an embedded store made for power cuts: one file, one owner, every commit synced.
//!
//! Law-keeping: each operation that writes is one write transaction of redb: it reads meta, compares,
//! writes frames, meta, perhaps a snapshot, and drops consumed messages, together or not at all (L3, L6).
//! redb lets one write transaction in at a time, so what was compared is still true when it is written
//! (L4, L5). Each operation that reads is one read transaction and sees one moment of the log: no hole, no
//! uncommitted entry (L2). There is no state beside the store that could disagree with it.
//!
//! redb itself checks its pages only when it recovers from a crash. So it is told to check them all whenever
//! a file is opened, and what is read later is checked here: records against a checksum that covers their
//! key too, positions against each other.
//!
//! After an I/O error redb does nothing more with a file, because it cannot know what of it is on the disk.
//! Then the log says [`LogErrorKind::NeedsReopen`] to everything: whoever opens it again gets what survived.

pub(crate) mod errors;
pub(crate) mod open;
mod read;
pub(crate) mod seam;
mod write;

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use redb::Database;
pub use redb::StorageBackend;
use silvertine_engine::{
    log::{
        Acquired, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
};

pub(crate) use self::open::is_log;
use self::{errors::Broken, seam::Seam};
use crate::disk;
#[cfg(doc)]
use silvertine_engine::log::LogErrorKind;

/// How redb is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Memory for redb's cache, in bytes.
    pub cache_bytes: usize,
    /// Reads the whole file when it is opened and compares every page with its checksum. Without it damage
    /// to redb's own pages can make records vanish unnoticed; damage to records is found either way.
    pub check_pages: bool,
}

impl RedbOptions {
    /// The same with this much memory for redb's cache, in bytes.
    #[must_use]
    pub const fn with_cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// The same with or without the check of every page when the file is opened.
    #[must_use]
    pub const fn with_check_pages(mut self, check_pages: bool) -> Self {
        self.check_pages = check_pages;
        self
    }
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, check_pages: true }
    }
}

/// A partition in a file. Clones share it.
#[derive(Clone)]
pub struct RedbLog {
    inner: Arc<Inner>,
}

struct Inner {
    db: Shielded,
    seam: Arc<Seam>,
    /// Set once redb will do nothing more with the file.
    broken: OnceLock<Broken>,
    /// As the user named it.
    name: String,
}

impl fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbLog({})", self.inner.name)
    }
}

impl RedbLog {
    /// Opens or creates the log in the file at `path`.
    ///
    /// # Errors
    /// [`LogErrorKind::Locked`] when it is open already, [`LogErrorKind::Foreign`] when something else lies
    /// there, [`LogErrorKind::Corrupt`] when the file is damaged, [`LogErrorKind::TooNew`] when a newer version
    /// wrote it.
    pub fn open(path: &Path, options: &RedbOptions) -> Result<Self, LogError> {
        let name = path.display().to_string();
        let file = open::file(path).map_err(|kind| errors::error(&name, "open", kind))?;
        Self::with_backend(file, &name, options)
    }

    /// Opens or creates the log in a storage of the caller's; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`RedbLog::open`]. Whether it is open already is for the storage to know.
    pub fn with_backend(
        storage: impl StorageBackend,
        name: &str,
        options: &RedbOptions,
    ) -> Result<Self, LogError> {
        let seam = Arc::new(Seam::new(storage));
        let opened = open::database(&seam, options);
        let (db, damage) = opened.map_err(|kind| errors::error(name, "open", kind))?;
        let (broken, name) = (OnceLock::new(), name.to_owned());
        let log = Self { inner: Arc::new(Inner { db, seam, broken, name }) };
        match damage {
            None => log.check_ours().map(|()| log),
            Some(damage) => Err(log.locate(damage)),
        }
    }
}

/// redb's handle. Closing writes, and on damaged files that can panic as everything else can.
pub(crate) struct Shielded(Option<Database>);

impl Shielded {
    pub(crate) fn get(&self) -> &Database {
        self.0.as_ref().expect("taken only when it is dropped")
    }

    fn get_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("taken only when it is dropped")
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        let db = self.0.take();
        // Nothing is lost when closing fails: every commit is on the disk, and opening repairs.
        let _ = disk::shielded(|| drop(db));
    }
}

impl EventLog for RedbLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        self.acquire_partition(owner, manifest)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.commit_batch(lease, commit)
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        self.read_head()
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.read_range(&query)
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.read_manifest()
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.read_snapshots()
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        self.read_snapshot(pos)
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        self.publish_messages(messages)
    }

    /// Never waits: only this process can have the file open.
    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        _wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        self.read_ingress(lease, cursor, limit)
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.trim_entries(lease, at)
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        self.read_stats()
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        Ok("redb: every commit is synced to disk before it is acknowledged".to_owned())
    }
}
