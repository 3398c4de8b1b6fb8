//! The log in memory: for backtests, and the reference that other backends are compared with.
//!
//! Law-keeping: one lock makes every operation atomic (L3); a commit is one frame appended to a ring,
//! so order is the order of commits (L1, L2); the epoch is compared under the same lock (L5). Entries
//! are kept in the canonical bytes that the digest needs anyway, so nothing is encoded twice.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use silvertine_engine::{
    event::TopicSet,
    log::{
        Acquired, Applied, Batch, Commit, Committed, Epoch, EventLog, Head, IngressCursor,
        IngressMessage, Lease, LogError, LogErrorKind, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
    text::Name,
};

/// What nearly every entry fits in, for the room that a page is given at first.
const ENTRY_BYTES: usize = 256;

/// A partition in this process's memory. Clones share it; it is gone with the last of them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until somebody acquires the partition.
    manifest: Option<Vec<u8>>,
    lease: Option<Lease>,
    head: Head,
    checkpoint: Vec<u8>,
    /// One frame per commit, oldest first.
    frames: VecDeque<Batch>,
    snapshots: BTreeMap<Pos, Vec<u8>>,
    ingress: BTreeMap<Name, Producer>,
}

#[derive(Debug, Default)]
struct Producer {
    last: u64,
    messages: BTreeMap<u64, IngressMessage>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every operation leaves the state whole before it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error(operation: &'static str, kind: LogErrorKind) -> LogError {
    LogError { kind, applied: Applied::No, operation, log: "memory".to_owned() }
}

impl State {
    fn check_lease(&self, operation: &'static str, lease: &Lease) -> Result<(), LogError> {
        let Some(current) = self.lease else { return Err(error(operation, LogErrorKind::Gone)) };
        if current == *lease {
            return Ok(());
        }
        let (ours, current) = (lease.epoch, current.epoch);
        Err(error(operation, LogErrorKind::Fenced { ours, current }))
    }

    fn commit(&mut self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.check_lease("commit", lease)?;
        if commit.id == self.head.commit {
            return Ok(Committed { head: self.head.pos, duplicate: true });
        }
        let head = self.head.pos;
        if commit.expected != head {
            let expected = commit.expected;
            return Err(error("commit", LogErrorKind::Conflict { expected, head }));
        }
        if commit.entries.first_pos().is_some_and(|first| first <= head) {
            let why = format!("entries must stand above the head {head}");
            return Err(error("commit", LogErrorKind::Invalid { why }));
        }
        if !commit.entries.is_empty() {
            self.frames.push_back(commit.entries.clone());
        }
        self.head.pos = commit.resulting_pos();
        self.head.digest = commit.digest;
        self.head.commit = commit.id;
        self.checkpoint.clear();
        self.checkpoint.extend_from_slice(commit.checkpoint);
        if let Some(snapshot) = commit.snapshot {
            self.snapshots.retain(|&pos, _| pos >= snapshot.keep_from);
            self.snapshots.insert(self.head.pos, snapshot.bytes.to_vec());
        }
        for (producer, &done) in commit.ingress_done.into_iter().flatten() {
            if let Some(producer) = self.ingress.get_mut(producer) {
                producer.messages = producer.messages.split_off(&(done + 1));
            }
        }
        Ok(Committed { head: self.head.pos, duplicate: false })
    }

    /// An empty batch with room for about `limit` entries of the frames from `begin` on, or for all there are.
    fn room_for(&self, begin: usize, limit: usize) -> Batch {
        let (mut entries, mut bytes) = (0, 0);
        for frame in self.frames.range(begin..) {
            if entries >= limit {
                break;
            }
            entries += frame.len();
            bytes += frame.byte_len();
        }
        Batch::with_capacity(entries.min(limit), bytes.min(limit.saturating_mul(ENTRY_BYTES)))
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        if query.after.seq < self.head.trimmed.seq {
            let through = self.head.trimmed;
            return Err(error("range", LogErrorKind::Trimmed { through }));
        }
        let begin =
            self.frames.partition_point(|frame| frame.last_pos().is_some_and(|p| p <= query.after));
        let mut page = Page { entries: self.room_for(begin, query.limit), next: None };
        for frame in self.frames.range(begin..) {
            let behind = frame.first_after(query.after)..frame.len();
            if query.topics == TopicSet::ALL {
                let room = query.limit - page.entries.len();
                let end = behind.end.min(behind.start.saturating_add(room));
                page.entries.extend_from(frame, behind.start..end);
                if end < behind.end {
                    page.next = page.entries.last_pos();
                    return Ok(page);
                }
                continue;
            }
            for at in behind {
                let entry = frame.get(at);
                if !query.topics.contains(entry.topic) {
                    continue;
                }
                if page.entries.len() == query.limit {
                    page.next = page.entries.last_pos();
                    return Ok(page);
                }
                page.entries.push_encoded(entry.bytes).expect("what is kept was encoded here");
            }
        }
        Ok(page)
    }

    fn trim(&mut self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.check_lease("trim", lease)?;
        if self.snapshots.last_key_value().is_none_or(|(&newest, _)| at > newest) {
            let why = format!("{at} is above the newest snapshot, the floor of trimming");
            return Err(error("trim", LogErrorKind::Invalid { why }));
        }
        if !self.snapshots.contains_key(&at) {
            return Ok(0);
        }
        let removed = at.seq.saturating_sub(self.head.trimmed.seq);
        while self.frames.front().is_some_and(|frame| frame.last_pos().is_some_and(|p| p <= at)) {
            self.frames.pop_front();
        }
        self.snapshots = self.snapshots.split_off(&at);
        self.head.trimmed = self.head.trimmed.max(at);
        Ok(removed)
    }
}

impl EventLog for MemoryLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let mut state = self.lock();
        let lease = match state.lease {
            Some(lease) if lease.owner == owner => lease,
            earlier => Lease { epoch: Epoch(earlier.map_or(0, |lease| lease.epoch.0) + 1), owner },
        };
        state.lease = Some(lease);
        let manifest = state.manifest.get_or_insert_with(|| manifest.to_vec()).clone();
        Ok(Acquired {
            lease,
            head: state.head,
            checkpoint: state.checkpoint.clone(),
            manifest,
            snapshots: state.snapshots.keys().copied().collect(),
        })
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.lock().commit(lease, commit)
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        let state = self.lock();
        Ok(state.manifest.is_some().then_some(state.head))
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.lock().range(&query)
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.lock().manifest.clone())
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        Ok(self.lock().snapshots.keys().copied().collect())
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.lock().snapshots.get(&pos).cloned())
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        if messages.iter().any(|message| message.seq == 0) {
            let why = "a producer counts from one".to_owned();
            return Err(error("publish", LogErrorKind::Invalid { why }));
        }
        let mut state = self.lock();
        let mut store = |message: &IngressMessage| {
            let producer = state.ingress.entry(message.producer).or_default();
            if message.seq <= producer.last {
                return Published::Duplicate;
            }
            producer.last = message.seq;
            producer.messages.insert(message.seq, message.clone());
            Published::Stored
        };
        Ok(messages.iter().map(&mut store).collect())
    }

    /// Never waits: nobody else could publish meanwhile on a single-threaded executor.
    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        _wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let state = self.lock();
        if let Some(lease) = lease {
            state.check_lease("ingress", lease)?;
        }
        let waiting = state.ingress.iter().flat_map(|(name, producer)| {
            let after = cursor.get(name).copied().unwrap_or(0);
            producer.messages.range(after + 1..).map(|(_, message)| message)
        });
        Ok(waiting.take(limit).cloned().collect())
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.lock().trim(lease, at)
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        let state = self.lock();
        debug_assert!(state.frames.iter().all(|frame| !frame.is_empty()), "no frame is empty");
        Ok(Stats {
            entries: state.head.pos.seq - state.head.trimmed.seq,
            bytes: state.frames.iter().map(|frame| frame.capacity_bytes() as u64).sum(),
            snapshots: state.snapshots.len() as u64,
            ingress: state.ingress.values().map(|p| p.messages.len() as u64).sum(),
        })
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        Ok("memory: everything is gone with the process".to_owned())
    }
}
