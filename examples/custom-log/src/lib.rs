//! An [`EventLog`] of one's own: a partition in a plain file.
//!
//! [`FileLog`] keeps all laws of a log, and says so by its tests, `tests/conformance.rs`. It is made to be read: the file
//! is a row of frames (`frames`), each frame is a record, and the partition is what its records make of it (`state`). Here
//! are only the lock, the order of check, write and apply, and the errors.

mod frames;
mod state;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, Epoch, EventLog, Head, IngressCursor, IngressMessage,
        Lease, LogError, LogErrorKind, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
};

use self::{
    frames::{Frames, OpenError},
    state::{Record, State},
};

/// A partition in a file. Clones share it; the last one that goes closes it.
#[derive(Clone, Debug)]
pub struct FileLog {
    open: Arc<Mutex<Open>>,
    name: Arc<str>,
}

#[derive(Debug)]
struct Open {
    frames: Frames,
    state: State,
    /// Why an append failed. The end of the file is unknown since then, so nothing is appended any more.
    failed: Option<String>,
}

impl FileLog {
    /// Opens the log in this file, or begins one.
    ///
    /// # Errors
    /// [`LogErrorKind::Locked`] while it is open elsewhere, [`LogErrorKind::Foreign`] when it is no such file,
    /// [`LogErrorKind::Corrupt`] with the offset of the first damaged frame.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let name = format!("file:{}", path.display());
        let error =
            |kind| LogError { kind, applied: Applied::No, operation: "open", log: name.clone() };
        let (frames, payloads) = Frames::open(path).map_err(|why| error(open_error(why)))?;
        let mut state = State::default();
        for (number, payload) in payloads.iter().enumerate() {
            let record = postcard::from_bytes(payload).map_err(|error| error.to_string());
            record.and_then(|record| state.apply(record)).map_err(|why| {
                error(LogErrorKind::Corrupt { at: format!("record {number}"), why })
            })?;
        }
        let open = Open { frames, state, failed: None };
        Ok(Self { open: Arc::new(Mutex::new(open)), name: name.into() })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic can only come before a record is written, which leaves everything as it was.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How `operation` fails without having changed anything.
    fn refuses(&self, operation: &'static str) -> impl Fn(LogErrorKind) -> LogError + '_ {
        move |kind| LogError { kind, applied: Applied::No, operation, log: self.name.to_string() }
    }

    /// Writes a record, then applies it.
    fn write(
        &self,
        open: &mut Open,
        operation: &'static str,
        record: Record,
    ) -> Result<(), LogError> {
        let refuses = self.refuses(operation);
        if let Some(why) = &open.failed {
            return Err(refuses(LogErrorKind::NeedsReopen { why: why.clone() }));
        }
        let payload = postcard::to_stdvec(&record)
            .map_err(|error| refuses(LogErrorKind::Invalid { why: error.to_string() }))?;
        if let Err(error) = open.frames.append(&payload) {
            let why = error.to_string();
            open.failed = Some(why.clone());
            // Part of it, or all of it, may be in the file.
            let unknown = refuses(LogErrorKind::NeedsReopen { why });
            return Err(LogError { applied: Applied::Maybe, ..unknown });
        }
        open.state.apply(record).expect("it was checked before it was written");
        Ok(())
    }
}

fn open_error(error: OpenError) -> LogErrorKind {
    match error {
        OpenError::Io(error) => LogErrorKind::Unavailable { why: error.to_string() },
        OpenError::Locked => LogErrorKind::Locked { why: "the file is locked".to_owned() },
        OpenError::Foreign => LogErrorKind::Foreign { why: "it begins otherwise".to_owned() },
        OpenError::Corrupt { at, why } => {
            LogErrorKind::Corrupt { at: format!("byte {at}"), why: why.to_owned() }
        }
    }
}

impl EventLog for FileLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let mut open = self.lock();
        if open.state.lease.is_none_or(|lease| lease.owner != owner) {
            let epoch = Epoch(open.state.lease.map_or(0, |lease| lease.epoch.0) + 1);
            let record = Record::Acquired { epoch, owner, manifest: manifest.to_vec() };
            self.write(&mut open, "acquire", record)?;
        }
        let State { manifest, lease, head, checkpoint, snapshots, .. } = &open.state;
        Ok(Acquired {
            lease: lease.expect("acquired just now"),
            head: *head,
            checkpoint: checkpoint.clone(),
            manifest: manifest.clone().unwrap_or_default(),
            snapshots: snapshots.keys().copied().collect(),
        })
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let mut open = self.lock();
        let record = open.state.commit(lease, commit).map_err(self.refuses("commit"))?;
        let duplicate = record.is_none();
        if let Some(record) = record {
            self.write(&mut open, "commit", record)?;
        }
        Ok(Committed { head: open.state.head.pos, duplicate })
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        let open = self.lock();
        Ok(open.state.manifest.is_some().then_some(open.state.head))
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.lock().state.range(&query).map_err(self.refuses("range"))
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.lock().state.manifest.clone())
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        Ok(self.lock().state.snapshots.keys().copied().collect())
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.lock().state.snapshots.get(&pos).cloned())
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        let mut open = self.lock();
        let (record, published) = open.state.publish(messages).map_err(self.refuses("publish"))?;
        if published.contains(&Published::Stored) {
            self.write(&mut open, "publish", record)?;
        }
        Ok(published)
    }

    /// Never waits: it would block the thread, as nothing wakes it when another one publishes.
    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        _wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let open = self.lock();
        if let Some(lease) = lease {
            open.state.check_lease(lease).map_err(self.refuses("ingress"))?;
        }
        let waiting = open.state.ingress.iter().flat_map(|(name, producer)| {
            let after = cursor.get(name).copied().unwrap_or(0);
            producer.waiting.range(after + 1..).map(|(_, message)| message)
        });
        Ok(waiting.take(limit).cloned().collect())
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        let mut open = self.lock();
        let before = open.state.entries.len();
        if let Some(record) = open.state.trim(lease, at).map_err(self.refuses("trim"))? {
            self.write(&mut open, "trim", record)?;
        }
        Ok((before - open.state.entries.len()) as u64)
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        let open = self.lock();
        let waiting = open.state.ingress.values().map(|producer| producer.waiting.len() as u64);
        Ok(Stats {
            entries: open.state.entries.len() as u64,
            bytes: open.state.entries.byte_len() as u64,
            snapshots: open.state.snapshots.len() as u64,
            ingress: waiting.sum(),
        })
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        Ok("file: synced before every answer; an acknowledged commit survives a crash of the machine"
            .to_owned())
    }
}
