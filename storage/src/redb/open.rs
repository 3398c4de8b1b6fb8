//! Opening: the file, redb in it, and whether what redb finds is ours.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, MultimapTableHandle, ReadTransaction, ReadableDatabase, StorageBackend, TableHandle,
    backends::FileBackend,
};
use silvertine_engine::log::{IngressCursor, LogError, LogErrorKind, RangeQuery};

use super::{
    RedbLog, RedbOptions, Shielded,
    errors::{self, FILE, panicked},
    read::{INGRESS, LOG},
    seam::{Seam, Shared},
};
use crate::disk::{self, sync_folder};

/// The table of named streams, which have a file of their own.
pub(crate) const STREAMS: &str = "silvertine streams";

/// Opens or creates the file at `path`, so that its name survives a power cut.
pub(crate) fn file(path: &Path) -> Result<impl StorageBackend, LogErrorKind> {
    if path.is_dir() {
        let why = "this is a folder, not a file".to_owned();
        return Err(LogErrorKind::Foreign { why });
    }
    let failed = |why: io::Error| disk::io_kind(&why, why.to_string(), FILE);
    let file = open_or_create(path).map_err(failed)?;
    FileBackend::new(file).map_err(|why| errors::kind(&why.into()))
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let absolute = std::path::absolute(path)?;
    let folder = absolute.parent().unwrap_or(&absolute);
    fs::create_dir_all(folder)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    sync_folder(folder)?;
    Ok(file)
}

/// Whether a file may hold a log.
pub(crate) fn is_log(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Opens redb, which repairs what a crash left behind, and has it look for damage.
pub(crate) fn database(
    seam: &Arc<Seam>,
    options: &RedbOptions,
) -> Result<(Shielded, Option<LogErrorKind>), LogErrorKind> {
    let repaired = Arc::new(AtomicBool::new(false));
    let repairing = Arc::clone(&repaired);
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    builder.set_repair_callback(move |_| repairing.store(true, Ordering::Relaxed));
    let shared = Shared(Arc::clone(seam));
    let db = shielded(|| builder.create_with_backend(shared))?;
    let mut db = Shielded(Some(db));
    // Repairing has looked at every page.
    if !options.check_pages || repaired.load(Ordering::Relaxed) {
        return Ok((db, None));
    }
    let checked = shielded(|| db.get_mut().check_integrity());
    Ok((db, checked.err()))
}

/// Runs what calls redb, and says what its errors and panics mean.
pub(crate) fn shielded<T, E: Into<redb::Error>>(
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, LogErrorKind> {
    let done = disk::shielded(call).map_err(|panic| panicked(&panic))?;
    done.map_err(|why| errors::kind(&why.into()))
}

/// A table in the file that is none of `ours`.
pub(crate) fn stranger(
    view: &ReadTransaction,
    ours: &[&str],
) -> Result<Option<String>, redb::StorageError> {
    let plain = view.list_tables()?.map(|table| table.name().to_owned());
    let multi = view.list_multimap_tables()?.map(|table| table.name().to_owned());
    Ok(plain.chain(multi).find(|name| !ours.contains(&name.as_str())))
}

/// Whether a table is one of a partition's log.
pub(crate) fn is_of_log(table: &str) -> bool {
    table == LOG.name() || table == INGRESS.name()
}

impl RedbLog {
    /// The file holds a log of ours that can be read, or nothing.
    pub(super) fn check_ours(&self) -> Result<(), LogError> {
        self.shielded("open", || {
            let view = self.inner.db.get().begin_read().map_err(|why| self.failed("open", why))?;
            let ours = [LOG.name(), INGRESS.name()];
            match stranger(&view, &ours).map_err(|why| self.failed("open", why))? {
                None => Ok(()),
                Some(table) if table == STREAMS => {
                    let why = "this file holds named streams, not a partition's log".to_owned();
                    Err(self.error("open", LogErrorKind::Foreign { why }))
                }
                Some(table) => {
                    let why = format!("a file of redb with a table {table:?}");
                    Err(self.error("open", LogErrorKind::Foreign { why }))
                }
            }
        })?;
        self.read_head_as("open")?;
        Ok(())
    }

    /// The record that is damaged, where one can be found; else what redb says of its file.
    pub(super) fn locate(&self, damage: LogErrorKind) -> LogError {
        match self.read_everything() {
            Err(error) if matches!(error.kind, LogErrorKind::Corrupt { .. }) => {
                LogError { operation: "open", ..error }
            }
            _ => self.error("open", damage),
        }
    }

    fn read_everything(&self) -> Result<(), LogError> {
        self.read_manifest()?;
        let mut after = self.read_head()?.unwrap_or_default().trimmed;
        while let Some(next) = self.read_range(&RangeQuery::all_after(after))?.next {
            after = next;
        }
        for pos in self.read_snapshots()? {
            self.read_snapshot(pos)?;
        }
        self.read_ingress(None, &IngressCursor::new(), usize::MAX)?;
        Ok(())
    }
}
