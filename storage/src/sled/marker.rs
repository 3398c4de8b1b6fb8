//! The marker file beside sled's own files: what a folder is for, and whether its content was ever created.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

/// What a folder of sled's files is for.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    /// Written into a folder before sled creates its files there, so that a foreign folder is never touched and
    /// one kind of content is never taken for the other.
    pub(super) marker: &'static str,
    /// What stands in the marker at first.
    pub(super) unused: &'static str,
    /// sled takes damaged files for empty ones and says nothing. This line, outside its files, tells an empty
    /// store from a lost one.
    created: &'static str,
    /// What error messages call the content.
    pub(super) content: &'static str,
}

/// A partition's log.
pub(super) const LOG: Purpose = Purpose {
    marker: "SILVERTINE_LOG",
    unused: "A log of Silvertine, kept by sled 0.34.\n",
    created: "The partition has been created.\n",
    content: "a partition's log",
};
/// Named streams.
pub(crate) const STREAMS: Purpose = Purpose {
    marker: "SILVERTINE_STREAMS",
    unused: "Named streams of Silvertine, kept by sled 0.34.\n",
    created: "The streams have been created.\n",
    content: "named streams",
};

/// Notes outside sled's own files that the content was created.
pub(crate) fn note_created(path: &Path, purpose: Purpose) -> io::Result<()> {
    let marker = path.join(purpose.marker);
    let mut marker = fs::OpenOptions::new().append(true).open(marker)?;
    marker.write_all(purpose.created.as_bytes())?;
    marker.sync_all()
}

/// Whether the content was ever created.
pub(crate) fn was_created(path: &Path, purpose: Purpose) -> bool {
    fs::read_to_string(path.join(purpose.marker)).is_ok_and(|text| text.contains(purpose.created))
}

/// Whether a folder is ours and for this.
pub(crate) fn is_there(path: &Path, purpose: Purpose) -> bool {
    path.join(purpose.marker).is_file()
}

/// Whether a folder holds a log of ours.
pub(crate) fn is_log(path: &Path) -> bool {
    is_there(path, LOG)
}
