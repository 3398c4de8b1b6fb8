//! Reading: one read transaction for each operation; every record is checked, every gap is noticed.

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};
use silvertine_engine::{
    log::{
        Head, IngressCursor, IngressMessage, Lease, LogError, LogErrorKind, Page, RangeQuery, Stats,
    },
    pos::Pos,
    text::Name,
};

use super::RedbLog;
use crate::records::{
    self, MANIFEST_KEY, MESSAGE_PREFIX, META_KEY, PRODUCER_PREFIX, SNAPSHOT_PREFIX, corrupt,
    meta::Meta,
    paging::{Paging, check_kept},
};

pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Stored = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Meta, manifest, frames, snapshots. Created together with the first meta record.
pub(super) const LOG: Definition = TableDefinition::new("silvertine log");
/// Messages and the last number of every producer: they can be there before the partition is.
pub(super) const INGRESS: Definition = TableDefinition::new("silvertine ingress");

/// One moment of the log, for one operation.
pub(super) struct View<'a> {
    log: &'a RedbLog,
    operation: &'static str,
    transaction: ReadTransaction,
}

/// A table to read from, inside a read or a write transaction.
pub(super) trait Records: ReadableTable<&'static [u8], &'static [u8]> {}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Records for T {}

impl View<'_> {
    fn table(&self, definition: Definition) -> Result<Option<Stored>, LogError> {
        match self.transaction.open_table(definition) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(why) => Err(self.log.failed(self.operation, why)),
        }
    }

    /// The table of a partition that exists, and its meta record.
    fn partition(&self) -> Result<Option<(Stored, Meta)>, LogError> {
        let Some(table) = self.table(LOG)? else { return Ok(None) };
        let meta = self.log.meta(self.operation, &table)?;
        Ok(Some((table, meta)))
    }
}

impl RedbLog {
    /// Looks at one moment of the log.
    fn view<T>(
        &self,
        operation: &'static str,
        look: impl FnOnce(&View<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.check_usable(operation, false)?;
        self.shielded(operation, || {
            let transaction = self.inner.db.get().begin_read();
            let transaction = transaction.map_err(|why| self.failed(operation, why))?;
            look(&View { log: self, operation, transaction })
        })
    }

    pub(super) fn get<T>(
        &self,
        operation: &'static str,
        table: &impl Records,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, LogError> {
        let found = table.get(key).map_err(|why| self.failed(operation, why))?;
        Ok(found.map(|value| read(value.value())))
    }

    /// What a sealed record holds; `at` names it in errors.
    fn content(
        &self,
        operation: &'static str,
        table: &impl Records,
        key: &[u8],
        at: &str,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let content = self.get(operation, table, key, |sealed| {
            records::content(at, key, sealed).map(<[u8]>::to_vec)
        })?;
        content.transpose().map_err(|kind| self.error(operation, kind))
    }

    /// The meta record, which is written together with the table it is in.
    pub(super) fn meta(
        &self,
        operation: &'static str,
        table: &impl Records,
    ) -> Result<Meta, LogError> {
        let meta = self.find_meta(operation, table)?;
        meta.ok_or_else(|| self.error(operation, corrupt("meta", "the record is missing")))
    }

    pub(super) fn find_meta(
        &self,
        operation: &'static str,
        table: &impl Records,
    ) -> Result<Option<Meta>, LogError> {
        let meta = self.get(operation, table, META_KEY, Meta::decode)?;
        meta.transpose().map_err(|kind| self.error(operation, kind))
    }

    /// The manifest of a partition that exists: it was written together with the first meta record.
    pub(super) fn manifest_in(
        &self,
        operation: &'static str,
        table: &impl Records,
    ) -> Result<Vec<u8>, LogError> {
        let manifest = self.content(operation, table, MANIFEST_KEY, "manifest")?;
        manifest.ok_or_else(|| self.error(operation, corrupt("manifest", "the record is missing")))
    }

    pub(super) fn snapshots_in(
        &self,
        operation: &'static str,
        table: &impl Records,
    ) -> Result<Vec<Pos>, LogError> {
        // Nothing sorts behind snapshots, so whatever is there is one or is damaged.
        let rest = table.range::<&[u8]>(&[SNAPSHOT_PREFIX][..]..);
        let rest = rest.map_err(|why| self.failed(operation, why))?;
        rest.map(|record| {
            let (key, _) = record.map_err(|why| self.failed(operation, why))?;
            let pos = records::snapshot_pos(key.value());
            pos.ok_or_else(|| self.error(operation, corrupt("a snapshot", "odd key")))
        })
        .collect()
    }

    /// The last number that a producer has published; zero when it has published nothing.
    pub(super) fn last_published(
        &self,
        operation: &'static str,
        table: &impl Records,
        producer: &Name,
    ) -> Result<u64, LogError> {
        let key = records::producer_key(producer);
        let number = self
            .get(operation, table, &key, |sealed| records::decode_number(&key, producer, sealed))?;
        number
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|kind| self.error(operation, kind))
    }

    pub(super) fn read_head(&self) -> Result<Option<Head>, LogError> {
        self.read_head_as("head")
    }

    pub(super) fn read_head_as(&self, operation: &'static str) -> Result<Option<Head>, LogError> {
        self.view(operation, |view| Ok(view.partition()?.map(|(_, meta)| meta.head)))
    }

    pub(super) fn read_manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.view("manifest", |view| {
            let Some((table, _)) = view.partition()? else { return Ok(None) };
            self.manifest_in("manifest", &table).map(Some)
        })
    }

    pub(super) fn read_snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.view("snapshots", |view| {
            let Some((table, _)) = view.partition()? else { return Ok(Vec::new()) };
            self.snapshots_in("snapshots", &table)
        })
    }

    pub(super) fn read_snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        self.view("snapshot", |view| {
            let Some((table, _)) = view.partition()? else { return Ok(None) };
            let at = records::snapshot_name(pos);
            let state = self.content("snapshot", &table, &records::snapshot_key(pos), &at)?;
            // In a damaged tree a record can be listed and not be found.
            if state.is_none() && self.snapshots_in("snapshot", &table)?.contains(&pos) {
                return Err(self.error("snapshot", corrupt(at, "the record cannot be found")));
            }
            Ok(state)
        })
    }

    pub(super) fn read_range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        self.view("range", |view| {
            let Some((table, meta)) = view.partition()? else { return Ok(Page::default()) };
            check_kept(query, meta.head).map_err(|kind| self.error("range", kind))?;
            if query.after >= meta.head.pos {
                return Ok(Page::default());
            }
            self.read_up_to(meta.head.pos, &table, query)
        })
    }

    fn read_up_to(
        &self,
        head: Pos,
        table: &impl Records,
        query: &RangeQuery,
    ) -> Result<Page, LogError> {
        let mut paging = Paging::new(query);
        let from = self.frame_with(query.after, table)?;
        let through = records::frame_key(head);
        let frames = table.range::<&[u8]>(&from[..]..=&through[..]);
        for record in frames.map_err(|why| self.failed("range", why))? {
            let (key, value) = record.map_err(|why| self.failed("range", why))?;
            let taken = paging.take(key.value(), value.value());
            if taken.map_err(|kind| self.error("range", kind))?.is_break() {
                return Ok(paging.into_full());
            }
        }
        paging.finish(head).map_err(|kind| self.error("range", kind))
    }

    /// The key to begin at: the frame that `after` stands in begins at or before it.
    fn frame_with(&self, after: Pos, table: &impl Records) -> Result<Vec<u8>, LogError> {
        let from = records::frame_key(Pos::ZERO);
        let up_to = records::frame_key(after);
        let before = table.range::<&[u8]>(&from[..]..=&up_to[..]);
        let before = before.map_err(|why| self.failed("range", why))?.next_back().transpose();
        let before = before.map_err(|why| self.failed("range", why))?;
        Ok(before.map_or(up_to.to_vec(), |(key, _)| key.value().to_vec()))
    }

    pub(super) fn read_ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
    ) -> Result<Vec<IngressMessage>, LogError> {
        self.view("ingress", |view| {
            if let Some(lease) = lease {
                let partition = view.partition()?;
                let (_, meta) =
                    partition.ok_or_else(|| self.error("ingress", LogErrorKind::Gone))?;
                meta.check_lease(lease).map_err(|kind| self.error("ingress", kind))?;
            }
            let Some(table) = view.table(INGRESS)? else { return Ok(Vec::new()) };
            let mut messages = Vec::new();
            for record in table.iter().map_err(|why| self.failed("ingress", why))? {
                if messages.len() == limit {
                    break;
                }
                let (key, value) = record.map_err(|why| self.failed("ingress", why))?;
                let damaged = |why: &str| self.error("ingress", corrupt("a message", why));
                let key = key.value();
                match key.first() {
                    Some(&MESSAGE_PREFIX) => {
                        let message = records::decode_message(key, key, value.value());
                        let message = message.map_err(|why| damaged(&why))?;
                        if message.seq > cursor.get(&message.producer).copied().unwrap_or(0) {
                            messages.push(message);
                        }
                    }
                    Some(&PRODUCER_PREFIX) => {}
                    // Passing it over could lose a message in silence.
                    _ => return Err(damaged("odd key")),
                }
            }
            Ok(messages)
        })
    }

    pub(super) fn read_stats(&self) -> Result<Stats, LogError> {
        self.view("stats", |view| {
            let bytes = self.inner.seam.len();
            let bytes = bytes.map_err(|why| self.failed("stats", redb::Error::Io(why)))?;
            let mut stats = Stats { bytes, ..Stats::default() };
            if let Some((table, meta)) = view.partition()? {
                stats.entries = meta.head.pos.seq - meta.head.trimmed.seq;
                stats.snapshots = self.snapshots_in("stats", &table)?.len() as u64;
            }
            if let Some(table) = view.table(INGRESS)? {
                let messages = table.range::<&[u8]>(&[MESSAGE_PREFIX][..]..&[MESSAGE_PREFIX + 1]);
                for message in messages.map_err(|why| self.failed("stats", why))? {
                    message.map_err(|why| self.failed("stats", why))?;
                    stats.ingress += 1;
                }
            }
            Ok(stats)
        })
    }
}
