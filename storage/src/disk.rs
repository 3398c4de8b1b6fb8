//! What the embedded logs share about files: what an I/O error means, names that survive, panics of a store.

use std::{
    fs::File,
    io,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use silvertine_engine::log::LogErrorKind;

/// What an I/O error means; `text` says it in the store's words, `files` names what is corrupt.
pub(crate) fn io_kind(why: &io::Error, text: String, files: &str) -> LogErrorKind {
    match why.kind() {
        io::ErrorKind::WouldBlock => LogErrorKind::Locked { why: text },
        io::ErrorKind::PermissionDenied => LogErrorKind::Denied { why: text },
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::ReadOnlyFilesystem => LogErrorKind::RefusesWrites { why: text },
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            LogErrorKind::Corrupt { at: files.to_owned(), why: text }
        }
        _ => LogErrorKind::Unavailable { why: text },
    }
}

/// Makes the names of new files in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Runs what calls a store. Stores panic on some damaged files; here that is the first line of what they say.
pub(crate) fn shielded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.and_then(|text| text.lines().next()).unwrap_or("no message").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_writes_and_says_so() {
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::FileTooLarge,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            let kind = io_kind(&kind.into(), "no room".to_owned(), "files");
            assert_eq!(kind, LogErrorKind::RefusesWrites { why: "no room".to_owned() });
        }
    }

    #[test]
    fn a_panic_of_a_store_is_told_in_its_first_line() {
        let error = shielded::<()>(|| panic!("torn\nbacktrace"));
        assert_eq!(error, Err("torn".to_owned()));
        assert_eq!(shielded(|| 3), Ok(3));
    }
}
