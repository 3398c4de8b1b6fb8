//! Writing: one write transaction reads meta, compares, writes everything and is synced.

use redb::{Durability, ReadableTableMetadata, Table, WriteTransaction};
use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, IngressCursor, IngressMessage, Lease, LogError,
        LogErrorKind, OwnerId, Published,
    },
    pos::Pos,
};

use super::{
    RedbLog,
    errors::kind,
    read::{Definition, INGRESS, LOG},
};
use crate::records::{
    self, MANIFEST_KEY, META_KEY, corrupt, frame,
    meta::{Admitted, Meta, may_trim},
    publishing::{Publishing, check_numbers},
};

/// A leaf of redb with one large value takes a power of two of pages. This leaves room in sixteen of them
/// for the last entry and for what redb adds.
const FRAME_BYTES: usize = 60 * 1024;

/// What is to become of a transaction, and what to answer.
enum Outcome<T> {
    /// Nothing was changed: let it go.
    Unchanged(T),
    /// Commit it.
    Changed(T),
}

use Outcome::{Changed, Unchanged};

/// A table inside a write transaction.
type Records<'t> = Table<'t, &'static [u8], &'static [u8]>;

impl RedbLog {
    /// Does everything in one write transaction, commits it and syncs it. An error of `change` leaves
    /// nothing behind.
    fn transact<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&WriteTransaction) -> Result<Outcome<T>, LogError>,
    ) -> Result<T, LogError> {
        self.check_usable(operation, true)?;
        let (transaction, outcome) = self.shielded(operation, || {
            let transaction = self.inner.db.get().begin_write();
            let mut transaction = transaction.map_err(|why| self.failed(operation, why))?;
            let durable = transaction.set_durability(Durability::Immediate);
            durable.map_err(|why| self.failed(operation, why))?;
            let outcome = change(&transaction)?;
            Ok((transaction, outcome))
        })?;
        match outcome {
            Unchanged(answer) => {
                let aborted = self.shielded(operation, || {
                    transaction.abort().map_err(|why| self.failed(operation, why))
                });
                aborted.map(|()| answer)
            }
            Changed(answer) => {
                let committed = self.shielded(operation, || {
                    let committed = transaction.commit();
                    committed.map_err(|why| self.error(operation, kind(&why.into())))
                });
                committed.map(|()| answer).map_err(|error| self.torn(error))
            }
        }
    }

    /// A commit that failed: all of it may be in the file, and nobody knows before it is opened again.
    fn torn(&self, error: LogError) -> LogError {
        let error = LogError { applied: Applied::Maybe, ..error };
        self.give_up(&error);
        error
    }

    fn table<'t>(
        &self,
        operation: &'static str,
        transaction: &'t WriteTransaction,
        definition: Definition,
    ) -> Result<Records<'t>, LogError> {
        transaction.open_table(definition).map_err(|why| self.failed(operation, why))
    }

    fn insert(
        &self,
        operation: &'static str,
        table: &mut Records<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), LogError> {
        table.insert(key, value).map_err(|why| self.failed(operation, why))?;
        Ok(())
    }

    fn remove(
        &self,
        operation: &'static str,
        table: &mut Records<'_>,
        from: &[u8],
        through: &[u8],
    ) -> Result<(), LogError> {
        let removed = table.retain_in::<&[u8], _>(from..=through, |_, _| false);
        removed.map_err(|why| self.failed(operation, why))
    }

    fn check_lease(
        &self,
        operation: &'static str,
        table: &Records<'_>,
        lease: &Lease,
    ) -> Result<Meta, LogError> {
        let meta = self.find_meta(operation, table)?;
        let meta = meta.ok_or_else(|| self.error(operation, LogErrorKind::Gone))?;
        meta.check_lease(lease).map_err(|kind| self.error(operation, kind))?;
        Ok(meta)
    }

    pub(super) fn acquire_partition(
        &self,
        owner: OwnerId,
        manifest: &[u8],
    ) -> Result<Acquired, LogError> {
        self.transact("acquire", |transaction| {
            let mut table = self.table("acquire", transaction, LOG)?;
            let before = self.find_meta("acquire", &table)?;
            let is_new = table.is_empty().map_err(|why| self.failed("acquire", why))?;
            if before.is_none() && !is_new {
                return Err(self.error("acquire", corrupt("meta", "the record is missing")));
            }
            // An owner who cannot recover must fence nobody: reading comes first.
            let snapshots = self.snapshots_in("acquire", &table)?;
            let manifest = match &before {
                Some(_) => self.manifest_in("acquire", &table)?,
                None => {
                    let sealed = records::seal(MANIFEST_KEY, manifest);
                    self.insert("acquire", &mut table, MANIFEST_KEY, &sealed)?;
                    manifest.to_vec()
                }
            };
            let known = before.as_ref().map(Meta::lease);
            let mut meta = before.unwrap_or_default();
            meta.take_over(owner);
            let lease = meta.lease();
            if known != Some(lease) {
                self.insert("acquire", &mut table, META_KEY, &meta.encode())?;
            }
            let (head, checkpoint) = (meta.head, meta.checkpoint);
            let acquired = Acquired { lease, head, checkpoint, manifest, snapshots };
            Ok(if known == Some(lease) { Unchanged(acquired) } else { Changed(acquired) })
        })
    }

    pub(super) fn commit_batch(
        &self,
        lease: &Lease,
        commit: &Commit<'_>,
    ) -> Result<Committed, LogError> {
        self.transact("commit", |transaction| {
            let mut table = self.table("commit", transaction, LOG)?;
            let mut meta = self.check_lease("commit", &table, lease)?;
            let admitted = meta.admit(commit).map_err(|kind| self.error("commit", kind))?;
            if admitted == Admitted::Already {
                return Ok(Unchanged(Committed { head: meta.head.pos, duplicate: true }));
            }
            meta.advance(commit);
            let head = meta.head.pos;
            for (first, frame) in frame::frames(commit.entries, FRAME_BYTES) {
                self.insert("commit", &mut table, &records::frame_key(first), &frame)?;
            }
            if let Some(snapshot) = commit.snapshot {
                self.remove_snapshots("commit", &mut table, snapshot.keep_from)?;
                let key = records::snapshot_key(head);
                self.insert("commit", &mut table, &key, &records::seal(&key, snapshot.bytes))?;
            }
            self.insert("commit", &mut table, META_KEY, &meta.encode())?;
            drop(table);
            if let Some(done) = commit.ingress_done.filter(|done| !done.is_empty()) {
                self.discard_consumed(transaction, done)?;
            }
            Ok(Changed(Committed { head, duplicate: false }))
        })
    }

    /// Drops the snapshots before `keep_from`.
    fn remove_snapshots(
        &self,
        operation: &'static str,
        table: &mut Records<'_>,
        keep_from: Pos,
    ) -> Result<(), LogError> {
        for pos in self.snapshots_in(operation, table)?.into_iter().filter(|&pos| pos < keep_from) {
            let key = records::snapshot_key(pos);
            table.remove(&key[..]).map_err(|why| self.failed(operation, why))?;
        }
        Ok(())
    }

    fn discard_consumed(
        &self,
        transaction: &WriteTransaction,
        done: &IngressCursor,
    ) -> Result<(), LogError> {
        let mut table = self.table("commit", transaction, INGRESS)?;
        for (producer, &done) in done {
            let from = records::message_key(producer, 0);
            let through = records::message_key(producer, done);
            self.remove("commit", &mut table, &from, &through)?;
        }
        Ok(())
    }

    pub(super) fn trim_entries(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.transact("trim", |transaction| {
            let mut table = self.table("trim", transaction, LOG)?;
            let mut meta = self.check_lease("trim", &table, lease)?;
            let kept = self.snapshots_in("trim", &table)?;
            if !may_trim(&kept, at).map_err(|kind| self.error("trim", kind))? {
                return Ok(Unchanged(0));
            }
            // Snapshots stand between commits and frames never cross commits, so whatever begins at or
            // before `at` ends there too: no frame is ever trimmed in part.
            let from = records::frame_key(Pos::ZERO);
            self.remove("trim", &mut table, &from, &records::frame_key(at))?;
            self.remove_snapshots("trim", &mut table, at)?;
            let removed = meta.note_trimmed(at);
            self.insert("trim", &mut table, META_KEY, &meta.encode())?;
            Ok(Changed(removed))
        })
    }

    pub(super) fn publish_messages(
        &self,
        messages: &[IngressMessage],
    ) -> Result<Vec<Published>, LogError> {
        check_numbers(messages)
            .map_err(|why| self.error("publish", LogErrorKind::Invalid { why }))?;
        self.transact("publish", |transaction| {
            let mut table = self.table("publish", transaction, INGRESS)?;
            let sorted = Publishing::sort(messages, |producer| {
                self.last_published("publish", &table, producer)
            })?;
            if sorted.fresh.is_empty() {
                return Ok(Unchanged(sorted.published));
            }
            for message in sorted.fresh {
                let key = records::message_key(&message.producer, message.seq);
                let sealed = records::encode_message(&key, message);
                self.insert("publish", &mut table, &key, &sealed)?;
            }
            for (producer, seq) in sorted.last {
                let key = records::producer_key(&producer);
                let sealed = records::encode_number(&key, seq);
                self.insert("publish", &mut table, &key, &sealed)?;
            }
            Ok(Changed(sorted.published))
        })
    }
}
