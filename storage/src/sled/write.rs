//! Writing: compare with meta under the lock, build one atomic batch, apply it, make it durable.

use std::{collections::BTreeMap, sync::MutexGuard};

use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, Epoch, Lease, LogError, LogErrorKind, Message,
        OwnerId, Pos, Published,
    },
    text::Name,
};
use sled::Batch as WriteBatch;

use super::{
    Durability, SledLog, files, frame,
    records::{self, MANIFEST_KEY, META_KEY, Meta},
};

impl SledLog {
    /// Writes a batch and the meta record in one atomic step, believes it, and makes it as durable as
    /// asked for.
    ///
    /// A batch that sled refused may still be found after a restart, and one that could not be flushed is
    /// in the store: both failures say [`Applied::Maybe`]. Doing the same again is safe after either.
    fn write(
        &self,
        operation: &'static str,
        mut batch: WriteBatch,
        cached: &mut MutexGuard<'_, Option<Meta>>,
        meta: Meta,
    ) -> Result<(), LogError> {
        batch.insert(META_KEY, meta.encode());
        self.apply(operation, batch)?;
        **cached = Some(meta);
        self.settle(operation)
    }

    fn apply(&self, operation: &'static str, batch: WriteBatch) -> Result<(), LogError> {
        let applied =
            files::guarded(&self.inner.path, operation, || self.inner.db.apply_batch(batch));
        applied.map_err(|error| LogError { applied: Applied::Maybe, ..error })
    }

    fn settle(&self, operation: &'static str) -> Result<(), LogError> {
        if self.inner.durability == Durability::Buffered {
            return Ok(());
        }
        self.flush(operation)?;
        if let Some(synced) = &self.inner.synced {
            let mut synced = synced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            synced.sync_all().map_err(|why| LogError {
                applied: Applied::Maybe,
                ..self.classify(operation, &sled::Error::Io(why))
            })?;
        }
        Ok(())
    }

    fn flush(&self, operation: &'static str) -> Result<(), LogError> {
        let flushed = files::guarded(&self.inner.path, operation, || self.inner.db.flush());
        flushed.map_err(|error| LogError { applied: Applied::Maybe, ..error })?;
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

    pub(super) fn acquire_partition(
        &self,
        owner: OwnerId,
        manifest: &[u8],
    ) -> Result<Acquired, LogError> {
        let mut cached = self.lock();
        let mut batch = WriteBatch::default();
        let mut meta = cached.clone().unwrap_or_default();
        // All reading comes before the write: an owner who cannot recover must fence nobody.
        let snapshots = self.snapshot_positions("acquire")?;
        let manifest = if cached.is_none() {
            batch.insert(MANIFEST_KEY, records::seal(manifest));
            manifest.to_vec()
        } else {
            self.read_manifest("acquire")?
        };
        if cached.is_none() || meta.owner != owner.0 {
            meta.epoch += 1;
            meta.owner = owner.0;
        }
        self.write("acquire", batch, &mut cached, meta.clone())?;
        if !files::was_created(&self.inner.path) {
            // First in sled's files for good, or a crash in between would look like a loss.
            self.flush("acquire")?;
            files::note_created(&self.inner.path)
                .map_err(|error| LogError { applied: Applied::Yes, ..error })?;
        }
        Ok(Acquired {
            lease: Lease { epoch: Epoch(meta.epoch), owner },
            head: meta.head,
            checkpoint: meta.checkpoint,
            manifest,
            snapshots,
        })
    }

    pub(super) fn commit_batch(
        &self,
        lease: &Lease,
        commit: &Commit<'_>,
    ) -> Result<Committed, LogError> {
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
        let head = commit.resulting_pos();
        meta.head.pos = head;
        meta.head.digest = commit.digest;
        meta.head.commit = commit.id;
        meta.checkpoint = commit.checkpoint.to_vec();
        let mut batch = WriteBatch::default();
        for (first, frame) in frame::frames(commit.entries) {
            batch.insert(&records::frame_key(first)[..], frame);
        }
        if let Some(snapshot) = commit.snapshot {
            let kept = self.snapshot_positions("commit")?;
            remove_snapshots(&mut batch, kept, snapshot.keep_from);
            let sealed = records::seal(snapshot.bytes);
            batch.insert(&records::snapshot_key(head)[..], sealed);
        }
        for (producer, &done) in commit.ingress_done.into_iter().flatten() {
            let from = records::message_key(producer, 0);
            let through = records::message_key(producer, done);
            for key in self.inner.db.range(from..=through).keys() {
                batch.remove(key.map_err(|why| self.classify("commit", &why))?);
            }
        }
        self.write("commit", batch, &mut cached, meta)?;
        Ok(Committed { head, duplicate: false })
    }

    pub(super) fn trim_entries(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
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
        // Snapshots stand between commits and frames never cross commits, so whatever begins at or before
        // `at` ends there too: no frame is ever trimmed in part.
        let from = records::frame_key(Pos::ZERO);
        let through = records::frame_key(at);
        for key in self.inner.db.range(&from[..]..=&through[..]).keys() {
            batch.remove(key.map_err(|why| self.classify("trim", &why))?);
        }
        remove_snapshots(&mut batch, kept, at);
        let removed = at.seq.saturating_sub(meta.head.trimmed.seq);
        meta.head.trimmed = meta.head.trimmed.max(at);
        self.write("trim", batch, &mut cached, meta)?;
        Ok(removed)
    }

    pub(super) fn publish_messages(
        &self,
        messages: &[Message],
    ) -> Result<Vec<Published>, LogError> {
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
            let sealed = records::seal(&seq.to_be_bytes());
            batch.insert(&records::producer_key(&producer)[..], sealed);
        }
        self.apply("publish", batch)?;
        self.settle("publish")?;
        Ok(published)
    }

    fn last_published(&self, producer: &Name) -> Result<u64, LogError> {
        let Some(sealed) = self.get("publish", &records::producer_key(producer))? else {
            return Ok(0);
        };
        let stored = records::unseal(&sealed).and_then(|stored| stored.try_into().ok());
        let at = || format!("last number of producer {}", producer.as_str());
        let stored = stored.ok_or_else(|| self.corrupt("publish", &at(), "checksum differs"))?;
        Ok(u64::from_be_bytes(stored))
    }
}

/// Removes the snapshots before `keep_from`.
fn remove_snapshots(batch: &mut WriteBatch, kept: Vec<Pos>, keep_from: Pos) {
    for pos in kept.into_iter().filter(|&pos| pos < keep_from) {
        batch.remove(&records::snapshot_key(pos)[..]);
    }
}
