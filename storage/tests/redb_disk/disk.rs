//! A disk in memory: what programs see of it, what a power cut leaves of it, and when it refuses.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use silvertine_storage::redb::StorageBackend;

/// One thing that was asked of the disk and done.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes at an offset.
    Write { offset: u64, data: Vec<u8> },
    /// Another length.
    SetLen(u64),
    /// Everything before this is safe.
    Sync,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What programs see.
    image: Vec<u8>,
    journal: Vec<Op>,
    syncs_until_failure: Option<usize>,
    full_from: Option<u64>,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with_image(Vec::new())
    }

    /// A disk that holds `image`, safely.
    pub fn with_image(image: Vec<u8>) -> Self {
        let journal = Vec::new();
        let state = State { image, journal, syncs_until_failure: None, full_from: None };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets so many syncs succeed and the one after them fail, once.
    pub fn fail_a_sync(&self, after: usize) {
        self.lock().syncs_until_failure = Some(after);
    }

    /// Refuses writes that go beyond this byte, or none.
    pub fn set_full_from(&self, byte: Option<u64>) {
        self.lock().full_from = byte;
    }

    /// What programs see.
    pub fn image(&self) -> Vec<u8> {
        self.lock().image.clone()
    }

    /// How much has been done so far.
    pub fn journal_len(&self) -> usize {
        self.lock().journal.len()
    }

    /// Everything done so far.
    pub fn journal(&self) -> Vec<Op> {
        self.lock().journal.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the disk")
    }
}

/// Does to an image what was done to the disk.
pub fn apply(image: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data } => {
            let begin = usize::try_from(*offset).expect("a small disk");
            let end = begin + data.len();
            // Where a change of length was lost and a write behind it was not, the write extends the file.
            if image.len() < end {
                image.resize(end, 0);
            }
            image[begin..end].copy_from_slice(data);
        }
        Op::SetLen(length) => image.resize(usize::try_from(*length).expect("a small disk"), 0),
        Op::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let begin = usize::try_from(offset).map_err(io::Error::other)?;
        let there = begin.checked_add(out.len()).and_then(|end| state.image.get(begin..end));
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.lock().done(Op::SetLen(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(left) = state.syncs_until_failure {
            state.syncs_until_failure = left.checked_sub(1);
            if left == 0 {
                // EIO, as Linux numbers it.
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        state.done(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.full_from.is_some_and(|full| offset + data.len() as u64 > full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.done(Op::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

impl State {
    fn done(&mut self, op: Op) {
        apply(&mut self.image, &op);
        self.journal.push(op);
    }
}
