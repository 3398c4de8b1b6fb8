//! The folder: what may be opened, sled's errors and panics, the sync that sled does not do.

use std::{
    fs::{self, File},
    io,
    panic::{self, AssertUnwindSafe},
    path::Path,
    thread::sleep,
    time::Duration,
};

use silvertine_engine::log::{Applied, LogError, LogErrorKind};
use sled::Db;

/// Written into a folder before sled creates its files there, so that a foreign folder is never touched.
const MARKER: &str = "SILVERTINE_LOG";
const UNUSED: &str = "A log of Silvertine, kept by sled 0.34.\n";
/// sled takes damaged files for empty ones and says nothing. This line, outside its files, tells an empty
/// log from a lost one.
const CREATED: &str = "The partition has been created.\n";

/// sled lets go of its lock on a thread of its own, a moment after the last handle is dropped; a process
/// that closes a log and opens it again must not be told that another one has it.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn error(path: &Path, operation: &'static str, kind: LogErrorKind) -> LogError {
    let log = format!("sled:{}", path.display());
    LogError { kind, applied: Applied::No, operation, log }
}

/// Opens sled in `path`, creating the folder when it is not there.
pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Db, LogError> {
    prepare(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(500))
        .mode(sled::Mode::HighThroughput);
    let mut attempts_left = LOCK_ATTEMPTS;
    loop {
        match guarded(path, "open", || config.open()) {
            Err(LogError { kind: LogErrorKind::Locked { .. }, .. }) if attempts_left > 0 => {
                attempts_left -= 1;
                sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Makes sure that the folder is ours or becomes ours.
fn prepare(path: &Path) -> Result<(), LogError> {
    let foreign = |why: &str| error(path, "open", LogErrorKind::Foreign { why: why.to_owned() });
    let failed = |why: io::Error| classify(path, "open", &sled::Error::Io(why));
    if path.exists() && !path.is_dir() {
        return Err(foreign("this is a file, not a folder"));
    }
    fs::create_dir_all(path).map_err(failed)?;
    let marker = path.join(MARKER);
    if marker.is_file() {
        return Ok(());
    }
    if fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(foreign("the folder holds something else; name an empty or a new one"));
    }
    fs::write(&marker, UNUSED).map_err(failed)
}

/// Notes outside sled's own files that the partition was created.
pub(super) fn note_created(path: &Path) -> Result<(), LogError> {
    let written = fs::write(path.join(MARKER), format!("{UNUSED}{CREATED}"));
    written.map_err(|why| classify(path, "acquire", &sled::Error::Io(why)))
}

/// Whether the partition was ever created.
pub(super) fn was_created(path: &Path) -> bool {
    fs::read_to_string(path.join(MARKER)).is_ok_and(|text| text.contains(CREATED))
}

/// Whether a folder holds a log of ours.
pub(crate) fn is_log(path: &Path) -> bool {
    path.join(MARKER).is_file()
}

/// Calls sled. It panics on some damaged files; here that is an error like any other.
pub(super) fn guarded<T>(
    path: &Path,
    operation: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, LogError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|why| classify(path, operation, &why)),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let first_line = text.and_then(|text| text.lines().next()).unwrap_or("no message");
            let why = format!("sled gave up: {first_line}");
            let at = "sled's files".to_owned();
            Err(error(path, operation, LogErrorKind::Corrupt { at, why }))
        }
    }
}

/// What an error of sled means.
pub(super) fn classify(path: &Path, operation: &'static str, why: &sled::Error) -> LogError {
    let text = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let kind = match why {
        sled::Error::Corruption { .. } | sled::Error::Unsupported(_) => {
            LogErrorKind::Corrupt { at: "sled's files".to_owned(), why: text }
        }
        sled::Error::Io(io) => match io.kind() {
            io::ErrorKind::WouldBlock => LogErrorKind::Locked { why: text },
            _ if text.contains("could not acquire lock") => LogErrorKind::Locked { why: text },
            io::ErrorKind::PermissionDenied => LogErrorKind::Denied { why: text },
            io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => {
                LogErrorKind::RefusesWrites { why: text }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                LogErrorKind::Corrupt { at: "sled's files".to_owned(), why: text }
            }
            _ => LogErrorKind::Unavailable { why: text },
        },
        _ => LogErrorKind::Unavailable { why: text },
    };
    error(path, operation, kind)
}

/// `fdatasync` on sled's file: sled's own flush stops at the operating system.
pub(super) fn sync(path: &Path, operation: &'static str) -> Result<(), LogError> {
    let synced = File::open(path.join("db")).and_then(|file| file.sync_data());
    synced.map_err(|why| {
        let error = classify(path, operation, &sled::Error::Io(why));
        LogError { applied: Applied::Maybe, ..error }
    })
}
