//! Writing: compare with meta under the lock, build one atomic batch, apply it, make it durable.

use std::sync::MutexGuard;

use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, IngressMessage, Lease, LogError, LogErrorKind,
        OwnerId, Published,
    },
    pos::Pos,
    text::Name,
};
use sled::Batch as WriteBatch;

use super::{
    Durability, SledLog, files,
    marker::{self, LOG},
};
use crate::records::{
    self, MANIFEST_KEY, META_KEY, frame,
    meta::{Admitted, Meta, may_trim},
    publishing::{Publishing, check_numbers},
};

/// From 128 KiB on sled writes a value into a file of its own.
const FRAME_BYTES: usize = 64 * 1024;

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

    pub(super) fn check_lease(
        &self,
        operation: &'static str,
        meta: &Option<Meta>,
        lease: &Lease,
    ) -> Result<Meta, LogError> {
        let Some(meta) = meta else { return Err(self.error(operation, LogErrorKind::Gone)) };
        meta.check_lease(lease).map_err(|kind| self.error(operation, kind))?;
        Ok(meta.clone())
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
            batch.insert(MANIFEST_KEY, records::seal(b"", manifest));
            manifest.to_vec()
        } else {
            self.read_manifest("acquire")?
        };
        meta.take_over(owner);
        self.write("acquire", batch, &mut cached, meta.clone())?;
        if !marker::was_created(&self.inner.path, LOG) {
            // First in sled's files for good, or a crash in between would look like a loss.
            self.flush("acquire")?;
            let noted = marker::note_created(&self.inner.path, LOG);
            noted.map_err(|why| {
                let error = self.classify("acquire", &sled::Error::Io(why));
                LogError { applied: Applied::Yes, ..error }
            })?;
        }
        Ok(Acquired {
            lease: meta.lease(),
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
        match meta.admit(commit).map_err(|kind| self.error("commit", kind))? {
            Admitted::New => meta.advance(commit),
            Admitted::Already => {
                // Perhaps sent again because flushing failed: only now it may be acknowledged.
                self.settle("commit")?;
                return Ok(Committed { head: meta.head.pos, duplicate: true });
            }
        }
        let head = meta.head.pos;
        let mut batch = WriteBatch::default();
        for (first, frame) in frame::frames(commit.entries, FRAME_BYTES) {
            batch.insert(&records::frame_key(first)[..], frame);
        }
        if let Some(snapshot) = commit.snapshot {
            let kept = self.snapshot_positions("commit")?;
            remove_snapshots(&mut batch, kept, snapshot.keep_from);
            let sealed = records::seal(b"", snapshot.bytes);
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
        if !may_trim(&kept, at).map_err(|kind| self.error("trim", kind))? {
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
        let removed = meta.note_trimmed(at);
        self.write("trim", batch, &mut cached, meta)?;
        Ok(removed)
    }

    pub(super) fn publish_messages(
        &self,
        messages: &[IngressMessage],
    ) -> Result<Vec<Published>, LogError> {
        check_numbers(messages)
            .map_err(|why| self.error("publish", LogErrorKind::Invalid { why }))?;
        let _one_writer = self.lock();
        let sorted = Publishing::sort(messages, |producer| self.last_published(producer))?;
        let mut batch = WriteBatch::default();
        for message in sorted.fresh {
            let key = records::message_key(&message.producer, message.seq);
            batch.insert(&key[..], records::encode_message(b"", message));
        }
        for (producer, seq) in sorted.last {
            let sealed = records::encode_number(b"", seq);
            batch.insert(&records::producer_key(&producer)[..], sealed);
        }
        self.apply("publish", batch)?;
        self.settle("publish")?;
        Ok(sorted.published)
    }

    fn last_published(&self, producer: &Name) -> Result<u64, LogError> {
        let Some(sealed) = self.get("publish", &records::producer_key(producer))? else {
            return Ok(0);
        };
        records::decode_number(b"", producer, &sealed).map_err(|kind| self.error("publish", kind))
    }
}

/// Removes the snapshots before `keep_from`.
fn remove_snapshots(batch: &mut WriteBatch, kept: Vec<Pos>, keep_from: Pos) {
    for pos in kept.into_iter().filter(|&pos| pos < keep_from) {
        batch.remove(&records::snapshot_key(pos)[..]);
    }
}
