//! Named streams on redb 4, in a file of their own.
//!
//! Law-keeping: a step is one write transaction, synced before it is answered. Each record carries a
//! checksum that covers its key. After an I/O error redb does nothing more with a file; then every operation says
//! [`StoreErrorKind::NeedsReopen`], and whoever opens it again gets what survived.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use redb::{
    Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition,
};
use silvertine_streams::{Applied, StoreError, StoreErrorKind, Topology};

use super::{
    EmbeddedStreams,
    kv::{Changes, Kv, Record, opened, sealed},
};
use crate::{
    disk,
    redb::{
        RedbOptions, Shielded,
        errors::{self, panicked},
        open,
        seam::Seam,
    },
};

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new(open::STREAMS);
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Named streams in a file. Clones share them; one process at a time can have them open.
pub type RedbStreams = EmbeddedStreams<RedbKv>;

/// Records in a file.
pub struct RedbKv {
    db: Shielded,
    /// Why redb will do nothing more with the file.
    broken: OnceLock<String>,
}

impl RedbStreams {
    /// Opens or creates the streams of this topology in the file at `path`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Locked`] when it is open already, [`StoreErrorKind::Foreign`] when something else lies
    /// there, such as a partition's log, [`StoreErrorKind::Corrupt`] when the file is damaged,
    /// [`StoreErrorKind::TooNew`] when a newer version wrote it.
    pub fn open(
        path: &Path,
        options: &RedbOptions,
        topology: Topology,
    ) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let file = open::file(path).map_err(|kind| errors::error(&name, "open", kind))?;
        Self::with_backend(file, &name, options, topology)
    }

    /// Opens or creates the streams in a storage of the caller's; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`RedbStreams::open`]. Whether it is open already is for the storage to know.
    pub fn with_backend(
        storage: impl StorageBackend,
        name: &str,
        options: &RedbOptions,
        topology: Topology,
    ) -> Result<Self, StoreError> {
        let failed = |kind| StoreError {
            kind,
            applied: Applied::No,
            operation: "open",
            store: format!("redb:{name}"),
        };
        let seam = Arc::new(Seam::new(storage));
        let (db, damage) = open::database(&seam, options).map_err(|kind| failed(kind.into()))?;
        let store = RedbKv { db, broken: OnceLock::new() };
        if let Some(damage) = damage {
            return Err(failed(store.locate(damage.into())));
        }
        let was_created = store.check_ours().map_err(failed)?;
        if !was_created {
            store.apply(Changes::new()).map_err(failed)?;
        }
        // Table and format are two transactions: one may be there without the other.
        let is_empty = store.keys(&[], &[u8::MAX], 1).map_err(failed)?.is_empty();
        Self::open_in(store, topology, format!("redb:{name}"), !is_empty)
    }
}

impl RedbKv {
    /// What an error of redb means; some are the last thing that it says.
    fn failed(&self, why: redb::Error) -> StoreErrorKind {
        let kind = errors::kind(&why).into();
        if errors::ends_everything(&why) {
            self.give_up(&kind);
        }
        kind
    }

    fn give_up(&self, kind: &StoreErrorKind) {
        let why = match kind {
            StoreErrorKind::NeedsReopen { why } => why.clone(),
            other => other.to_string(),
        };
        let _first = self.broken.set(why);
    }

    /// Runs what calls redb, unless that is of no use any more.
    fn guarded<T>(
        &self,
        call: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, StoreErrorKind> {
        if let Some(why) = self.broken.get() {
            return Err(StoreErrorKind::NeedsReopen { why: why.clone() });
        }
        let done = disk::shielded(call).map_err(|panic| StoreErrorKind::from(panicked(&panic)))?;
        done.map_err(|why| self.failed(why))
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&Table) -> Result<T, redb::StorageError>,
    ) -> Result<T, StoreErrorKind> {
        self.guarded(|| {
            let table = self.db.get().begin_read()?.open_table(TABLE)?;
            Ok(look(&table)?)
        })
    }

    fn range<T>(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        read: impl Fn(&[u8], &[u8]) -> T,
    ) -> Result<Vec<T>, StoreErrorKind> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(|table| {
            let range = table.range::<&[u8]>(from..to)?.take(limit);
            let read = |record: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, _>), _>| {
                record.map(|(key, value)| read(key.value(), value.value()))
            };
            range.map(read).collect()
        })
    }

    /// The file holds streams of ours (then yes) or nothing.
    fn check_ours(&self) -> Result<bool, StoreErrorKind> {
        let view: ReadTransaction = self.guarded(|| Ok(self.db.get().begin_read()?))?;
        match self.guarded(|| Ok(open::stranger(&view, &[open::STREAMS])?))? {
            None => self.guarded(|| Ok(view.list_tables()?.next().is_some())),
            Some(table) if open::is_of_log(&table) => {
                let why = "this file holds a partition's log, not named streams".to_owned();
                Err(StoreErrorKind::Foreign { why })
            }
            Some(table) => Err(StoreErrorKind::Foreign {
                why: format!("a file of redb with a table {table:?}"),
            }),
        }
    }

    /// The record that is damaged, where one can be found; else what redb says of its file.
    fn locate(&self, damage: StoreErrorKind) -> StoreErrorKind {
        let mut from = Vec::new();
        loop {
            match self.scan(&from, &[u8::MAX], 1_000) {
                Err(error @ StoreErrorKind::Corrupt { .. }) => return error,
                Ok(records) if !records.is_empty() => {
                    from = [records[records.len() - 1].0.as_slice(), &[0]].concat();
                }
                _ => return damage,
            }
        }
    }

    fn write(&self, changes: &Changes) -> Result<redb::WriteTransaction, redb::Error> {
        let mut transaction = self.db.get().begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(&key[..], &sealed(key, value)[..])?,
                None => table.remove(&key[..])?,
            };
        }
        drop(table);
        Ok(transaction)
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreErrorKind> {
        let found = self.read(|table| {
            let value = table.get(key)?;
            Ok(value.map(|value| opened(key, value.value())))
        });
        found?.transpose()
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreErrorKind> {
        let records = self.range(from, to, limit, |key, value| {
            opened(key, value).map(|value| (key.to_vec(), value))
        });
        records?.into_iter().collect()
    }

    fn keys(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreErrorKind> {
        self.range(from, to, limit, |key, _| key.to_vec())
    }

    fn apply(&self, changes: Changes) -> Result<(), StoreErrorKind> {
        let transaction = self.guarded(|| self.write(&changes))?;
        // A commit that failed: all of it may be in the file, and nobody knows before it is opened again.
        let committed = self.guarded(|| Ok(transaction.commit()?));
        committed.inspect_err(|kind| self.give_up(kind))
    }
}
