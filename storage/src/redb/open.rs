//! Opening: the file, redb in it, and whether what redb finds is ours.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::Arc,
};

use redb::{
    Database, MultimapTableHandle, ReadableDatabase, StorageBackend, TableHandle,
    backends::FileBackend,
};
use silvertine_engine::log::{LogError, LogErrorKind};

use super::{
    RedbLog, Shielded,
    errors::{self, FILE, panicked},
    read::{INGRESS, LOG},
    seam::{Seam, Shared},
};
use crate::disk::{self, sync_folder};

/// Opens or creates the file at `path`, so that its name survives a power cut.
pub(super) fn file(path: &Path) -> Result<impl StorageBackend, LogErrorKind> {
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

/// Opens redb, which repairs what a crash left behind.
pub(super) fn database(seam: &Arc<Seam>, cache_bytes: usize) -> Result<Shielded, LogErrorKind> {
    let shared = Shared(Arc::clone(seam));
    let open = || Database::builder().set_cache_size(cache_bytes).create_with_backend(shared);
    match disk::shielded(open) {
        Ok(Ok(db)) => Ok(Shielded(Some(db))),
        Ok(Err(why)) => Err(errors::kind(&why.into())),
        Err(panic) => Err(panicked(&panic)),
    }
}

impl RedbLog {
    /// The file holds a log of ours that can be read, or nothing.
    pub(super) fn check_ours(&self) -> Result<(), LogError> {
        self.shielded("open", || {
            let view = self.inner.db.get().begin_read().map_err(|why| self.failed("open", why))?;
            let failed = |why| self.failed("open", why);
            let plain = view.list_tables().map_err(failed)?.map(|table| table.name().to_owned());
            let multi = view.list_multimap_tables().map_err(failed)?;
            let mut names = plain.chain(multi.map(|table| table.name().to_owned()));
            match names.find(|name| name != LOG.name() && name != INGRESS.name()) {
                None => Ok(()),
                Some(table) => {
                    let why = format!("a file of redb with a table {table:?}");
                    Err(self.error("open", LogErrorKind::Foreign { why }))
                }
            }
        })?;
        self.read_head_as("open")?;
        Ok(())
    }
}
