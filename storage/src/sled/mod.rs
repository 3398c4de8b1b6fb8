//! The log on sled 0.34, the default embedded store: for simulation and development on one machine.
//!
//! Law-keeping: a commit is one atomic batch of one tree: frames of entries, meta record, perhaps a
//! snapshot (L3, L6). Meta is cached and compared under one mutex before anything is written (L4, L5);
//! one process at a time can open the folder. A frame holds many entries under the position of its
//! first, because sled is many times faster with few large values. Everything read is checked against
//! a checksum, and positions against each other, so nothing damaged is passed over in silence.
//!
//! What sled is and is not: see `docs/storage.md`. It never retries and knows no fsync of its own, so
//! [`Durability::Fsync`] brings one.

mod files;
mod frame;
mod records;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, Epoch, EventLog, Head, IngressCursor, Lease,
        LogError, LogErrorKind, Message, OwnerId, Page, Pos, Published, RangeQuery, Stats,
    },
    text::Name,
};
use sled::{Batch as WriteBatch, Db, IVec};

pub(crate) use self::files::is_log;
use self::records::{MANIFEST_KEY, META_KEY, Meta};

/// How sled is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SledOptions {
    /// What a commit has survived when it is acknowledged.
    pub durability: Durability,
    /// Memory for sled's cache, in bytes.
    pub cache_bytes: u64,
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
        let db = files::open(path, options.cache_bytes)?;
        let inner = Inner {
            db,
            meta: Mutex::new(None),
            durability: options.durability,
            path: path.to_path_buf(),
        };
        let log = Self { inner: Arc::new(inner) };
        if let Some(record) = log.get("open", META_KEY)? {
            let meta = Meta::decode(&record).map_err(|kind| log.error("open", kind))?;
            *log.lock() = Some(meta);
        } else if files::was_created(path) {
            return Err(log.corrupt(
                "open",
                "meta",
                "the log was created and its records are gone",
            ));
        }
        Ok(log)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Meta>> {
        // The cache changes only after its write went well, so a panic leaves it true.
        self.inner.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: &'static str, kind: LogErrorKind) -> LogError {
        files::error(&self.inner.path, operation, kind)
    }

    fn get(&self, operation: &'static str, key: &[u8]) -> Result<Option<IVec>, LogError> {
        files::guarded(&self.inner.path, operation, || self.inner.db.get(key))
    }

    /// Writes a batch in one atomic step and makes it as durable as asked for.
    fn write(&self, operation: &'static str, batch: WriteBatch) -> Result<(), LogError> {
        let path = &self.inner.path;
        files::guarded(path, operation, || self.inner.db.apply_batch(batch))?;
        self.settle(operation)
    }

    fn settle(&self, operation: &'static str) -> Result<(), LogError> {
        let path = &self.inner.path;
        if self.inner.durability == Durability::Buffered {
            return Ok(());
        }
        let flushed = files::guarded(path, operation, || self.inner.db.flush());
        // Written but perhaps not flushed: sending it again is recognised.
        flushed.map_err(|error| LogError { applied: Applied::Maybe, ..error })?;
        if self.inner.durability == Durability::Fsync {
            files::sync(path, operation)?;
        }
        Ok(())
    }

    fn check_lease(
        &self,
        operation: &'static str,
        meta: &Option<Meta>,
        lease: &Lease,
    ) -> Result<Meta, LogError> {
        let Some(meta) = meta else { return Err(self.error(operation, LogErrorKind::Gone)) };
        let current = Lease { epoch: Epoch(meta.epoch), owner: OwnerId(meta.owner) };
        if current == *lease {
            return Ok(meta.clone());
        }
        let kind = LogErrorKind::Fenced { ours: lease.epoch, current: current.epoch };
        Err(self.error(operation, kind))
    }

    fn acquire_partition(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let mut cached = self.lock();
        let mut batch = WriteBatch::default();
        let mut meta = cached.clone().unwrap_or_default();
        if cached.is_none() {
            batch.insert(MANIFEST_KEY, records::seal(manifest));
        }
        if cached.is_none() || meta.owner != owner.0 {
            meta.epoch += 1;
            meta.owner = owner.0;
        }
        batch.insert(META_KEY, meta.encode());
        self.write("acquire", batch)?;
        if cached.is_none() {
            // First in sled's files for good, or a crash in between would look like a loss.
            files::guarded(&self.inner.path, "acquire", || self.inner.db.flush())?;
            files::note_created(&self.inner.path)?;
        }
        *cached = Some(meta.clone());
        Ok(Acquired {
            lease: Lease { epoch: Epoch(meta.epoch), owner },
            head: meta.head,
            checkpoint: meta.checkpoint,
            manifest: self.read_manifest()?.unwrap_or_default(),
            snapshots: self.snapshot_positions("acquire")?,
        })
    }

    fn read_manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        let Some(sealed) = self.get("manifest", MANIFEST_KEY)? else { return Ok(None) };
        let content = records::unseal(&sealed);
        let content =
            content.ok_or_else(|| self.corrupt("manifest", "manifest", "checksum differs"))?;
        Ok(Some(content.to_vec()))
    }

    fn commit_batch(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let mut cached = self.lock();
        let mut meta = self.check_lease("commit", &cached, lease)?;
        let head = meta.head.pos;
        if commit.id == meta.head.commit {
            // Perhaps sent again because flushing failed: only now it may be acknowledged.
            self.settle("commit")?;
            return Ok(Committed { head, duplicate: true });
        }
        if commit.expected != head {
            let kind = LogErrorKind::Conflict { expected: commit.expected, head };
            return Err(self.error("commit", kind));
        }
        if commit.entries.first_pos().is_some_and(|first| first <= head) {
            let why = format!("entries must stand above the head {head}");
            return Err(self.error("commit", LogErrorKind::Invalid { why }));
        }
        meta.head.pos = commit.resulting_pos();
        meta.head.digest = commit.digest;
        meta.head.commit = commit.id;
        meta.checkpoint = commit.checkpoint.to_vec();
        let mut batch = WriteBatch::default();
        for (first, frame) in frame::frames(commit.entries) {
            batch.insert(&records::frame_key(first)[..], frame);
        }
        if let Some(snapshot) = commit.snapshot {
            for pos in self.snapshot_positions("commit")? {
                if pos < snapshot.keep_from {
                    batch.remove(&records::snapshot_key(pos)[..]);
                }
            }
            let sealed = records::seal(snapshot.bytes);
            batch.insert(&records::snapshot_key(meta.head.pos)[..], sealed);
        }
        for (producer, &done) in commit.ingress_done.into_iter().flatten() {
            let through = records::message_key(producer, done);
            let from = records::message_key(producer, 0);
            for entry in self.inner.db.range(from..=through) {
                let (key, _) =
                    entry.map_err(|why| files::classify(&self.inner.path, "commit", &why))?;
                batch.remove(key);
            }
        }
        batch.insert(META_KEY, meta.encode());
        self.write("commit", batch).inspect_err(|error| {
            // It is in the store although not flushed: the cache has to say so.
            if error.applied == Applied::Maybe {
                *cached = Some(meta.clone());
            }
        })?;
        let head = meta.head.pos;
        *cached = Some(meta);
        Ok(Committed { head, duplicate: false })
    }

    fn snapshot_positions(&self, operation: &'static str) -> Result<Vec<Pos>, LogError> {
        let keys = self.inner.db.scan_prefix([records::SNAPSHOT_PREFIX]).keys();
        keys.map(|key| {
            let key = key.map_err(|why| files::classify(&self.inner.path, operation, &why))?;
            records::pos_of(&key).ok_or_else(|| self.corrupt(operation, "a snapshot", "odd key"))
        })
        .collect()
    }

    fn corrupt(&self, operation: &'static str, at: &str, why: &str) -> LogError {
        let kind = LogErrorKind::Corrupt { at: at.to_owned(), why: why.to_owned() };
        self.error(operation, kind)
    }

    fn read_range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        let Some(meta) = self.lock().clone() else { return Ok(Page::default()) };
        let mut page = Page::default();
        if query.after.seq < meta.head.trimmed.seq {
            let kind = LogErrorKind::Trimmed { through: meta.head.trimmed };
            return Err(self.error("range", kind));
        }
        if query.after >= meta.head.pos {
            return Ok(page);
        }
        let path = &self.inner.path;
        // The frame that `after` stands in begins at or before it.
        let from = records::frame_key(Pos::ZERO);
        let up_to = records::frame_key(query.after);
        let before = files::guarded(path, "range", || {
            self.inner.db.range(&from[..]..=&up_to[..]).next_back().transpose()
        })?;
        let begin = before.map_or(IVec::from(&up_to[..]), |(key, _)| key);
        let end = records::frame_key(meta.head.pos);
        let mut expected = None;
        for entry in self.inner.db.range(begin..=IVec::from(&end[..])) {
            let (key, value) = entry.map_err(|why| files::classify(path, "range", &why))?;
            let first = records::pos_of(&key);
            let first = first.ok_or_else(|| self.corrupt("range", "a frame", "odd key"))?;
            let frame = frame::decode(&value)
                .map_err(|why| self.corrupt("range", &first.to_string(), &why))?;
            if frame.first_pos() != Some(first) || expected.is_some_and(|seq| seq != first.seq) {
                let why = "entries before it are missing";
                return Err(self.corrupt("range", &first.to_string(), why));
            }
            if expected.is_none() && first.seq > query.after.seq + 1 {
                let why = format!("entries from number {} on are missing", query.after.seq + 1);
                return Err(self.corrupt("range", &first.to_string(), &why));
            }
            expected = frame.last_pos().map(|last| last.seq + 1);
            for at in frame.first_after(query.after)..frame.len() {
                let entry = frame.get(at);
                if !query.topics.contains(entry.topic) {
                    continue;
                }
                if page.entries.len() == query.limit {
                    page.next = page.entries.last_pos();
                    return Ok(page);
                }
                page.entries.push_encoded(entry.bytes).map_err(|why| {
                    self.corrupt("range", &entry.pos.to_string(), &why.to_string())
                })?;
            }
        }
        if expected != Some(meta.head.pos.seq + 1) {
            let why = "entries below the head are missing";
            return Err(self.corrupt("range", &meta.head.pos.to_string(), why));
        }
        Ok(page)
    }

    fn trim_entries(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        let mut cached = self.lock();
        let mut meta = self.check_lease("trim", &cached, lease)?;
        let kept = self.snapshot_positions("trim")?;
        if kept.last().is_none_or(|&newest| at > newest) {
            let why = format!("{at} is above the newest snapshot, the floor of trimming");
            return Err(self.error("trim", LogErrorKind::Invalid { why }));
        }
        if !kept.contains(&at) {
            return Ok(0);
        }
        let mut batch = WriteBatch::default();
        // A frame goes when the next one begins no later than behind `at`. Snapshots stand between commits
        // and frames never cross commits, so that is every frame that begins at or before it.
        let from = records::frame_key(Pos::ZERO);
        let through = records::frame_key(at);
        for key in self.inner.db.range(&from[..]..=&through[..]).keys() {
            batch.remove(key.map_err(|why| files::classify(&self.inner.path, "trim", &why))?);
        }
        for pos in kept.into_iter().filter(|&pos| pos < at) {
            batch.remove(&records::snapshot_key(pos)[..]);
        }
        let removed = at.seq.saturating_sub(meta.head.trimmed.seq);
        meta.head.trimmed = meta.head.trimmed.max(at);
        batch.insert(META_KEY, meta.encode());
        self.write("trim", batch)?;
        *cached = Some(meta);
        Ok(removed)
    }

    fn publish_messages(&self, messages: &[Message]) -> Result<Vec<Published>, LogError> {
        if messages.iter().any(|message| message.seq == 0) {
            let why = "a producer counts from one".to_owned();
            return Err(self.error("publish", LogErrorKind::Invalid { why }));
        }
        let _one_writer = self.lock();
        let mut batch = WriteBatch::default();
        let mut last: BTreeMap<Name, u64> = BTreeMap::new();
        let mut published = Vec::with_capacity(messages.len());
        for message in messages {
            let known = match last.get(&message.producer) {
                Some(&seq) => seq,
                None => self.last_published(&message.producer)?,
            };
            if message.seq <= known {
                published.push(Published::Duplicate);
                continue;
            }
            last.insert(message.producer, message.seq);
            let key = records::message_key(&message.producer, message.seq);
            batch.insert(&key[..], records::encode_message(message));
            published.push(Published::Stored);
        }
        for (producer, seq) in last {
            batch.insert(&records::producer_key(&producer)[..], &seq.to_be_bytes());
        }
        self.write("publish", batch)?;
        Ok(published)
    }

    fn last_published(&self, producer: &Name) -> Result<u64, LogError> {
        let Some(stored) = self.get("publish", &records::producer_key(producer))? else {
            return Ok(0);
        };
        let stored = <[u8; 8]>::try_from(&stored[..]);
        let stored =
            stored.map_err(|_| self.corrupt("publish", producer.as_str(), "last number"))?;
        Ok(u64::from_be_bytes(stored))
    }

    fn read_ingress(&self, cursor: &IngressCursor, limit: usize) -> Result<Vec<Message>, LogError> {
        let mut messages = Vec::new();
        for entry in self.inner.db.scan_prefix([records::MESSAGE_PREFIX]) {
            if messages.len() == limit {
                break;
            }
            let (key, value) =
                entry.map_err(|why| files::classify(&self.inner.path, "ingress", &why))?;
            let message = records::decode_message(&key, &value)
                .map_err(|why| self.corrupt("ingress", "a message", &why))?;
            if message.seq > cursor.get(&message.producer).copied().unwrap_or(0) {
                messages.push(message);
            }
        }
        Ok(messages)
    }
}

impl EventLog for SledLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        self.acquire_partition(owner, manifest)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.commit_batch(lease, commit)
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        Ok(self.lock().as_ref().map(|meta| meta.head))
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.read_range(&query)
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.read_manifest()
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.snapshot_positions("snapshots")
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        let Some(sealed) = self.get("snapshot", &records::snapshot_key(pos))? else {
            return Ok(None);
        };
        let at = format!("snapshot {pos}");
        let content = records::unseal(&sealed);
        let content = content.ok_or_else(|| self.corrupt("snapshot", &at, "checksum differs"))?;
        Ok(Some(content.to_vec()))
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<Published>, LogError> {
        self.publish_messages(messages)
    }

    /// Never waits: only this process can have the folder open.
    async fn ingress(
        &self,
        cursor: &IngressCursor,
        limit: usize,
        _wait: Duration,
    ) -> Result<Vec<Message>, LogError> {
        self.read_ingress(cursor, limit)
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.trim_entries(lease, at)
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        let head = self.lock().as_ref().map(|meta| meta.head).unwrap_or_default();
        let path = &self.inner.path;
        Ok(Stats {
            entries: head.pos.seq - head.trimmed.seq,
            bytes: files::guarded(path, "stats", || self.inner.db.size_on_disk())?,
            snapshots: self.snapshot_positions("stats")?.len() as u64,
            ingress: self.inner.db.scan_prefix([records::MESSAGE_PREFIX]).count() as u64,
        })
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
