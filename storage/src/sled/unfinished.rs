//! Files that a killed process left unfinished, and that sled takes for damage.
//!
//! sled 0.34 writes two small files in several steps, and opens no store in which one of them was cut short:
//! - `conf`, the parameters of the store and then their checksum, before it creates `db`;
//! - `snap.<LSN>.generating`, an index of `db` that a recovery writes, syncs and renames to `snap.<LSN>`.
//!   When sled looks for the newest index it means to pass over unfinished ones, by a name that it no longer
//!   gives them.
//!
//! Neither ever holds anything that was acknowledged: before there is a `db` nothing was, and an index is made
//! of `db` and the index before it, which sled removes only after renaming. So both are removed here and
//! made again by sled, under the locks that say nobody is at work on them.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::marker::{Purpose, was_created};

/// Removes what a killed process left unfinished. Nobody else passes here while the returned lock is held: keep
/// it until sled has its own.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when somebody is opening the folder or has it open.
pub(super) fn remove(path: &Path, purpose: Purpose) -> io::Result<File> {
    let opening = lock(path, purpose.marker)?;
    let empty = match lock(path, "db") {
        Ok(db) => db.metadata()?.len() == 0,
        Err(why) if why.kind() == io::ErrorKind::NotFound => true,
        Err(why) => return Err(why),
    };
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let index = name.to_str().is_some_and(is_unfinished_index);
        // What was in use and is empty now has lost its records: that is for opening to say.
        let conf = name == "conf" && empty && !was_created(path, purpose);
        if index || conf {
            tracing::info!(folder = %path.display(), file = ?name, "removing an unfinished file");
            fs::remove_file(path.join(name))?;
        }
    }
    Ok(opening)
}

fn is_unfinished_index(name: &str) -> bool {
    name.starts_with("snap.") && name.ends_with(".generating")
}

fn lock(path: &Path, name: &str) -> io::Result<File> {
    let file = File::open(path.join(name))?;
    file.try_lock().map_err(|why| {
        let why = io::Error::from(why);
        io::Error::new(why.kind(), format!("could not acquire lock on {name}: {why}"))
    })?;
    Ok(file)
}
