//! Between redb and the storage: sees to it that a file whose creation was cut short is no obstacle.
//!
//! redb creates a file in steps: room, header, and last the first bytes that say what it is. A power cut in
//! between leaves a file that redb takes for a stranger's. Nothing was ever committed to it, so it may be
//! begun anew; whether it is such a file is looked at here, once redb holds its lock.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend};

/// What redb's files begin with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// redb's header; what it creates a file with, before anything is committed.
const HEADER_BYTES: usize = 320;
/// More than redb makes room for when it creates a file.
const CREATED_BYTES_MAX: u64 = 4 << 20;

/// Something else lies under our name.
#[derive(Debug, thiserror::Error)]
#[error("this is no file of redb")]
pub(crate) struct Foreign;

/// A storage, watched.
#[derive(Debug)]
pub(crate) struct Seam {
    storage: Box<dyn StorageBackend>,
    looked_at: AtomicBool,
}

/// What redb is given: it wants to own its storage.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<Seam>);

/// What a storage holds when it is opened.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Redb,
    /// Nothing, or what redb leaves when it is interrupted while it creates a file.
    Nothing,
    Damaged,
    Foreign,
}

impl Seam {
    pub(crate) fn new(storage: impl StorageBackend) -> Self {
        Self { storage: Box::new(storage), looked_at: AtomicBool::new(false) }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    /// Looks at what is there before redb does.
    fn look(&self) -> io::Result<()> {
        match self.found()? {
            Found::Redb => Ok(()),
            Found::Nothing => self.storage.set_len(0),
            Found::Damaged => {
                let why = "the first bytes, which say what it is, are damaged";
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
            Found::Foreign => Err(io::Error::other(Foreign)),
        }
    }

    fn found(&self) -> io::Result<Found> {
        let length = self.storage.len()?;
        let mut magic = [0; MAGIC.len()];
        let known = magic.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.storage.read(0, &mut magic[..known])?;
        if magic == MAGIC {
            return Ok(Found::Redb);
        }
        if length <= CREATED_BYTES_MAX && began(&magic) && self.is_empty_behind_header(length)? {
            return Ok(Found::Nothing);
        }
        let alike = magic.iter().zip(MAGIC).filter(|(found, ours)| **found == *ours).count();
        Ok(if alike > MAGIC.len() / 2 { Found::Damaged } else { Found::Foreign })
    }

    fn is_empty_behind_header(&self, length: u64) -> io::Result<bool> {
        let header = HEADER_BYTES as u64;
        let mut rest = vec![0; usize::try_from(length.saturating_sub(header)).unwrap_or(0)];
        if !rest.is_empty() {
            self.storage.read(header, &mut rest)?;
        }
        Ok(rest.iter().all(|&byte| byte == 0))
    }
}

/// Whether this is how the first bytes look while they are being written.
fn began(magic: &[u8; MAGIC.len()]) -> bool {
    (0..=MAGIC.len()).any(|n| magic[..n] == MAGIC[..n] && magic[n..].iter().all(|&byte| byte == 0))
}

impl StorageBackend for Shared {
    /// redb asks for the length before anything else, as soon as it holds its lock.
    fn len(&self) -> io::Result<u64> {
        if !self.0.looked_at.swap(true, Ordering::AcqRel) {
            self.0.look()?;
        }
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.storage.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.storage.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.storage.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.storage.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    fn found(bytes: &[u8]) -> Found {
        let storage = InMemoryBackend::new();
        storage.set_len(bytes.len() as u64).expect("in memory");
        storage.write(0, bytes).expect("in memory");
        Seam::new(storage).found().expect("reads")
    }

    #[test]
    fn a_creation_cut_short_at_any_byte_is_nothing_and_the_whole_is_redbs() {
        let mut image = vec![0; 10_000];
        assert_eq!(found(&[]), Found::Nothing);
        assert_eq!(found(&image), Found::Nothing);
        image[9..HEADER_BYTES].fill(7);
        for n in 0..MAGIC.len() {
            assert_eq!(found(&image), Found::Nothing, "{n} bytes written");
            image[n] = MAGIC[n];
        }
        assert_eq!(found(&image), Found::Redb);
    }

    #[test]
    fn damage_to_the_first_bytes_of_a_log_is_neither_nothing_nor_a_strangers_file() {
        let mut image = vec![7; 10_000];
        image[..MAGIC.len()].copy_from_slice(&MAGIC);
        for at in 0..MAGIC.len() {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            assert_eq!(found(&damaged), Found::Damaged, "byte {at}");
        }
        image[..MAGIC.len()].fill(0);
        assert_eq!(
            found(&image),
            Found::Foreign,
            "it holds something that was not created just now"
        );
        assert_eq!(found(b"precious"), Found::Foreign);
    }
}
