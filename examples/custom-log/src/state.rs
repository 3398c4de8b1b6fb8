//! What a partition is, and the records whose sequence makes it so.
//!
//! Every change is one [`Record`]: written first, applied then. Opening applies them all again. So nothing can be in
//! memory that is not on disk, and a change is there as a whole or not at all (L3, L6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    log::{
        Batch, Commit, CommitId, Epoch, Head, IngressCursor, IngressMessage, Lease, LogErrorKind,
        OwnerId, Page, Published, RangeQuery,
    },
    pos::Pos,
    text::Name,
};

/// One change of a partition.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    /// Somebody became the owner. The manifest counts the first time only.
    Acquired { epoch: Epoch, owner: OwnerId, manifest: Vec<u8> },
    /// A commit.
    Committed {
        id: CommitId,
        digest: Digest,
        entries: Vec<Vec<u8>>,
        checkpoint: Vec<u8>,
        /// Its bytes, and from where on older ones are kept.
        snapshot: Option<(Vec<u8>, Pos)>,
        ingress_done: IngressCursor,
    },
    /// New messages: producer, number, how the payload is written, payload.
    Published(Vec<(Name, u64, Codec, Vec<u8>)>),
    /// Entries up to here are gone.
    Trimmed(Pos),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// `None` until somebody acquires the partition.
    pub manifest: Option<Vec<u8>>,
    pub lease: Option<Lease>,
    pub head: Head,
    pub checkpoint: Vec<u8>,
    pub entries: Batch,
    pub snapshots: BTreeMap<Pos, Vec<u8>>,
    pub ingress: BTreeMap<Name, Producer>,
}

#[derive(Debug, Default)]
pub(crate) struct Producer {
    /// The last number published, so that earlier ones are refused although their messages are gone.
    pub last: u64,
    pub waiting: BTreeMap<u64, IngressMessage>,
}

impl State {
    /// Makes the change that a record tells of.
    pub fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Acquired { epoch, owner, manifest } => {
                self.lease = Some(Lease { epoch, owner });
                self.manifest.get_or_insert(manifest);
            }
            Record::Committed { id, digest, entries, checkpoint, snapshot, ingress_done } => {
                for bytes in &entries {
                    self.entries.push_encoded(bytes).map_err(|error| error.to_string())?;
                }
                let pos = if entries.is_empty() { None } else { self.entries.last_pos() };
                let pos = pos.unwrap_or(self.head.pos);
                self.head = Head { pos, digest, commit: id, ..self.head };
                self.checkpoint = checkpoint;
                if let Some((bytes, keep_from)) = snapshot {
                    self.snapshots.retain(|&pos, _| pos >= keep_from);
                    self.snapshots.insert(pos, bytes);
                }
                for (producer, done) in ingress_done {
                    if let Some(producer) = self.ingress.get_mut(&producer) {
                        producer.waiting.retain(|&seq, _| seq > done);
                    }
                }
            }
            Record::Published(messages) => {
                for (name, seq, codec, payload) in messages {
                    let producer = self.ingress.entry(name).or_default();
                    producer.last = seq;
                    let message = IngressMessage { producer: name, seq, codec, payload };
                    producer.waiting.insert(seq, message);
                }
            }
            Record::Trimmed(at) => {
                let mut kept = Batch::default();
                kept.extend_from(&self.entries, self.entries.first_after(at)..self.entries.len());
                self.entries = kept;
                self.snapshots = self.snapshots.split_off(&at);
                self.head.trimmed = self.head.trimmed.max(at);
            }
        }
        Ok(())
    }

    /// L5: only the newest owner may.
    pub fn check_lease(&self, lease: &Lease) -> Result<(), LogErrorKind> {
        let Some(current) = self.lease else { return Err(LogErrorKind::Gone) };
        if current == *lease {
            return Ok(());
        }
        Err(LogErrorKind::Fenced { ours: lease.epoch, current: current.epoch })
    }

    /// The record of a commit; `None` when this commit is there already (L4).
    pub fn commit(
        &self,
        lease: &Lease,
        commit: &Commit<'_>,
    ) -> Result<Option<Record>, LogErrorKind> {
        self.check_lease(lease)?;
        let head = self.head.pos;
        if commit.id == self.head.commit {
            return Ok(None);
        }
        if commit.expected != head {
            return Err(LogErrorKind::Conflict { expected: commit.expected, head });
        }
        if commit.entries.first_pos().is_some_and(|first| first <= head) {
            let why = format!("entries must stand above the head {head}");
            return Err(LogErrorKind::Invalid { why });
        }
        Ok(Some(Record::Committed {
            id: commit.id,
            digest: commit.digest,
            entries: commit.entries.iter().map(|entry| entry.bytes.to_vec()).collect(),
            checkpoint: commit.checkpoint.to_vec(),
            snapshot: commit.snapshot.map(|one| (one.bytes.to_vec(), one.keep_from)),
            ingress_done: commit.ingress_done.cloned().unwrap_or_default(),
        }))
    }

    /// The record of the new ones among these messages, and what becomes of each.
    pub fn publish(
        &self,
        messages: &[IngressMessage],
    ) -> Result<(Record, Vec<Published>), LogErrorKind> {
        if messages.iter().any(|message| message.seq == 0) {
            return Err(LogErrorKind::Invalid { why: "a producer counts from one".to_owned() });
        }
        let (mut last, mut new, mut published) = (IngressCursor::new(), Vec::new(), Vec::new());
        for message in messages {
            let stored = self.ingress.get(&message.producer).map_or(0, |producer| producer.last);
            let last = last.entry(message.producer).or_insert(stored);
            if message.seq <= *last {
                published.push(Published::Duplicate);
                continue;
            }
            *last = message.seq;
            let IngressMessage { producer, seq, codec, payload } = message.clone();
            new.push((producer, seq, codec, payload));
            published.push(Published::Stored);
        }
        Ok((Record::Published(new), published))
    }

    /// The record of trimming; `None` when there is nothing to trim (L8).
    pub fn trim(&self, lease: &Lease, at: Pos) -> Result<Option<Record>, LogErrorKind> {
        self.check_lease(lease)?;
        if self.snapshots.last_key_value().is_none_or(|(&newest, _)| at > newest) {
            let why = format!("{at} is above the newest snapshot, the floor of trimming");
            return Err(LogErrorKind::Invalid { why });
        }
        Ok(self.snapshots.contains_key(&at).then_some(Record::Trimmed(at)))
    }

    /// Entries of some topics, in order (L2).
    pub fn range(&self, query: &RangeQuery) -> Result<Page, LogErrorKind> {
        if query.after.seq < self.head.trimmed.seq {
            return Err(LogErrorKind::Trimmed { through: self.head.trimmed });
        }
        let mut page = Page::default();
        for at in self.entries.first_after(query.after)..self.entries.len() {
            if !query.topics.contains(self.entries.get(at).topic) {
                continue;
            }
            if page.entries.len() == query.limit {
                page.next = page.entries.last_pos();
                break;
            }
            page.entries.extend_from(&self.entries, at..at + 1);
        }
        Ok(page)
    }
}
