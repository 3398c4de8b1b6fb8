//! The folder: what may be opened, sled's errors and panics, the sync that sled does not do.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use silvertine_engine::log::{Applied, LogError, LogErrorKind};
use sled::Db;

use super::{
    marker::{LOG, Purpose, STREAMS, is_there},
    unfinished,
};
use crate::{
    disk::{self, sync_folder},
    records::corrupt,
};

/// What a damaged file of sled is called.
const FILES: &str = "sled's files";

/// sled lets go of its lock on a thread of its own, a moment after the last handle is dropped; a process
/// that closes a log and opens it again must not be told that another one has it.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn error(path: &Path, operation: &'static str, kind: LogErrorKind) -> LogError {
    let log = format!("sled:{}", path.display());
    LogError { kind, applied: Applied::No, operation, log }
}

/// Opens sled in `path`, creating the folder when it is not there.
pub(crate) fn open(path: &Path, purpose: Purpose, cache_bytes: u64) -> Result<Db, LogError> {
    prepare(path, purpose)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(500))
        .mode(sled::Mode::HighThroughput);
    let mut attempts_left = LOCK_ATTEMPTS;
    loop {
        match open_once(path, purpose, &config) {
            Err(LogError { kind: LogErrorKind::Locked { .. }, .. }) if attempts_left > 0 => {
                attempts_left -= 1;
                sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn open_once(path: &Path, purpose: Purpose, config: &sled::Config) -> Result<Db, LogError> {
    let removed = unfinished::remove(path, purpose);
    let _opening = removed.map_err(|why| classify(path, "open", &sled::Error::Io(why)))?;
    guarded(path, "open", || config.open())
}

/// Makes sure that the folder is ours or becomes ours.
fn prepare(path: &Path, purpose: Purpose) -> Result<(), LogError> {
    let foreign = |why: &str| error(path, "open", LogErrorKind::Foreign { why: why.to_owned() });
    let failed = |why: io::Error| classify(path, "open", &sled::Error::Io(why));
    if path.exists() && !path.is_dir() {
        return Err(foreign("this is a file, not a folder"));
    }
    fs::create_dir_all(path).map_err(failed)?;
    let marker = path.join(purpose.marker);
    if marker.is_file() {
        return Ok(());
    }
    if let Some(other) = [LOG, STREAMS].into_iter().find(|other| is_there(path, *other)) {
        return Err(foreign(&format!(
            "this folder holds {}, not {}",
            other.content, purpose.content
        )));
    }
    if fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(foreign("the folder holds something else; name an empty or a new one"));
    }
    fs::write(&marker, purpose.unused).map_err(failed)
}

/// Calls sled and says what its errors mean.
pub(crate) fn guarded<T>(
    path: &Path,
    operation: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, LogError> {
    shielded(path, operation, || call().map_err(|why| classify(path, operation, &why)))
}

/// Runs what calls sled. It panics on some damaged files; here that is an error like any other.
pub(crate) fn shielded<T>(
    path: &Path,
    operation: &'static str,
    call: impl FnOnce() -> Result<T, LogError>,
) -> Result<T, LogError> {
    disk::shielded(call).unwrap_or_else(|panic| {
        Err(error(path, operation, corrupt(FILES, format!("sled gave up: {panic}"))))
    })
}

/// What an error of sled means.
pub(crate) fn classify(path: &Path, operation: &'static str, why: &sled::Error) -> LogError {
    let text = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let kind = match why {
        sled::Error::Corruption { .. } | sled::Error::Unsupported(_) => corrupt(FILES, text),
        sled::Error::Io(_) if text.contains("could not acquire lock") => {
            LogErrorKind::Locked { why: text }
        }
        sled::Error::Io(io) => disk::io_kind(io, text, FILES),
        _ => LogErrorKind::Unavailable { why: text },
    };
    error(path, operation, kind)
}

/// What of sled's files is on the disk for good: sled's own flush stops at the operating system.
pub(crate) struct Synced {
    path: PathBuf,
    db: File,
    /// Names of the blobs that have been synced. sled moves values and whole leaves above an eighth of a
    /// megabyte into files of their own, writes each once, and never syncs any.
    blobs: BTreeSet<OsString>,
}

impl Synced {
    /// Syncs what opening has created.
    pub(crate) fn begin(path: &Path, purpose: Purpose) -> io::Result<Self> {
        let db = File::open(path.join("db"))?;
        let mut synced = Self { path: path.to_path_buf(), db, blobs: BTreeSet::new() };
        synced.sync_all()?;
        for file in ["conf", purpose.marker] {
            File::open(path.join(file))?.sync_all()?;
        }
        sync_folder(path)?;
        // The folder itself may be new.
        path.canonicalize()?.parent().map_or(Ok(()), sync_folder)?;
        Ok(synced)
    }

    /// Syncs everything written so far.
    pub(crate) fn sync_all(&mut self) -> io::Result<()> {
        let folder = self.path.join("blobs");
        let mut present = BTreeSet::new();
        let mut fresh = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !self.blobs.contains(&name) {
                match File::open(entry.path()) {
                    Ok(blob) => blob.sync_all()?,
                    // sled has written its content elsewhere meanwhile and dropped it.
                    Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                    Err(why) => return Err(why),
                }
                fresh = true;
            }
            present.insert(name);
        }
        if fresh {
            sync_folder(&folder)?;
        }
        self.blobs = present;
        self.db.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_synced_once_each_and_forgotten_with_their_files() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let db = open(folder.path(), LOG, 1 << 20).expect("opens");
        let blobs = || -> BTreeSet<OsString> {
            let files = fs::read_dir(folder.path().join("blobs")).expect("sled made it");
            files.map(|file| file.expect("reads").file_name()).collect()
        };
        let mut synced = Synced::begin(folder.path(), LOG).expect("syncs");
        for round in 0..20_u8 {
            db.insert(b"large", vec![round; 300_000]).expect("inserts");
            db.flush().expect("flushes");
            synced.sync_all().expect("syncs");
            assert!(!synced.blobs.is_empty(), "large values are blobs in sled {round}");
            // sled may drop one at any moment, but creates one only when it is written to.
            assert!(synced.blobs.is_superset(&blobs()), "round {round}");
        }
    }

    #[test]
    fn a_panic_of_sled_is_corruption_and_names_its_words() {
        let error = shielded::<()>(Path::new("x"), "range", || panic!("torn\nbacktrace"));
        let LogErrorKind::Corrupt { why, .. } = error.expect_err("panicked").kind else {
            panic!("another kind")
        };
        assert_eq!(why, "sled gave up: torn");
    }
}
