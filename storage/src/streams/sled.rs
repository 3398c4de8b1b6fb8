//! Named streams on sled 0.34, in a folder of their own.
//!
//! Law-keeping: a step is one atomic batch of one tree. Each record carries a checksum that covers its key, so
//! nothing damaged is passed over in silence. A line outside sled's files says that the streams were
//! created, because sled takes damaged files for empty ones.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use silvertine_engine::log::Applied;
use silvertine_streams::{StoreError, StoreErrorKind, Topology};
use sled::{Batch, Db};

use super::{
    EmbeddedStreams,
    kv::{Changes, Kv, Record, opened, sealed},
};
use crate::sled::{
    Durability, SledOptions,
    files::{self, Synced},
    marker::{self, STREAMS},
};

/// Named streams in a folder. Clones share them; one process at a time can have them open.
pub type SledStreams = EmbeddedStreams<SledKv>;

/// Records in a folder.
pub struct SledKv {
    db: Db,
    durability: Durability,
    /// There when every step is synced to disk.
    synced: Option<Mutex<Synced>>,
    path: PathBuf,
}

impl SledStreams {
    /// Opens or creates the streams of this topology in the folder at `path`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Locked`] when another process has it open, [`StoreErrorKind::Foreign`] when something else
    /// lies there, such as a partition's log, [`StoreErrorKind::Corrupt`] when its files are damaged,
    /// [`StoreErrorKind::TooNew`] when a newer version wrote it.
    pub fn open(
        path: &Path,
        options: &SledOptions,
        topology: Topology,
    ) -> Result<Self, StoreError> {
        let db = files::open(path, STREAMS, options.cache_bytes)?;
        let failed = |why| files::classify(path, "open", &sled::Error::Io(why));
        let synced = match options.durability {
            Durability::Fsync => Some(Mutex::new(Synced::begin(path, STREAMS).map_err(failed)?)),
            Durability::Buffered | Durability::Flush => None,
        };
        let durability = options.durability;
        let store = SledKv { db, durability, synced, path: path.to_path_buf() };
        let was_created = marker::was_created(path, STREAMS);
        let streams =
            Self::open_in(store, topology, format!("sled:{}", path.display()), was_created)?;
        if !was_created {
            // First in sled's files for good, or a crash in between would look like a loss.
            let db = &streams.inner.store.db;
            files::guarded(path, "open", || db.flush())?;
            let noted = marker::note_created(path, STREAMS).map_err(failed);
            noted.map_err(|error| StoreError { applied: Applied::Yes, ..error.into() })?;
        }
        Ok(streams)
    }
}

/// Whether a folder holds streams of ours.
pub(crate) fn is_there(path: &Path) -> bool {
    marker::is_there(path, STREAMS)
}

impl SledKv {
    /// Calls sled; its errors and panics are errors of ours.
    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreErrorKind> {
        files::guarded(&self.path, "", call).map_err(|error| error.kind.into())
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
        self.guarded(|| {
            let range = self.db.range(from..to).take(limit);
            range.map(|record| record.map(|(key, value)| read(&key, &value))).collect()
        })
    }
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreErrorKind> {
        let found = self.guarded(|| self.db.get(key))?;
        found.map(|value| opened(key, &value)).transpose()
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
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(sled::IVec::from(&key[..]), sealed(&key, &value)),
                None => batch.remove(key),
            }
        }
        self.guarded(|| self.db.apply_batch(batch))?;
        if self.durability == Durability::Buffered {
            return Ok(());
        }
        self.guarded(|| self.db.flush())?;
        let Some(synced) = &self.synced else { return Ok(()) };
        let mut synced = synced.lock().unwrap_or_else(PoisonError::into_inner);
        synced
            .sync_all()
            .map_err(|why| files::classify(&self.path, "", &sled::Error::Io(why)).kind.into())
    }
}
