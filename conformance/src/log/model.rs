//! What a log must do, as simply as it can be said. Shares no code with any backend.

use std::collections::BTreeMap;

use silvertine_engine::{event::Topic, log::IngressCursor, pos::Pos};

/// What an operation came to, reduced to what every backend must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Acquired { epoch: u64, head: Pos, checkpoint: Vec<u8>, snapshots: Vec<Pos> },
    Committed { head: Pos, duplicate: bool },
    Fenced,
    Conflict { head: Pos },
    Invalid,
    Trimmed { through: Pos },
    Removed(u64),
    Entries { entries: Vec<Vec<u8>>, more: bool },
    Published(Vec<bool>),
    Messages(Vec<(String, u64)>),
}

/// A commit as the model sees it.
pub struct ModelCommit {
    pub lease: (u64, u128),
    pub id: u128,
    pub expected: Pos,
    pub entries: Vec<(Pos, Topic, Vec<u8>)>,
    pub checkpoint: Vec<u8>,
    pub snapshot: Option<Pos>,
    pub done: Option<IngressCursor>,
}

#[derive(Default)]
pub struct Model {
    epoch: u64,
    owner: u128,
    head: Pos,
    trimmed: Pos,
    last_commit: u128,
    checkpoint: Vec<u8>,
    entries: Vec<(Pos, Topic, Vec<u8>)>,
    snapshots: Vec<Pos>,
    published: BTreeMap<String, u64>,
    waiting: Vec<(String, u64)>,
}

impl Model {
    pub fn acquire(&mut self, owner: u128) -> Answer {
        if self.owner != owner {
            self.epoch += 1;
            self.owner = owner;
        }
        Answer::Acquired {
            epoch: self.epoch,
            head: self.head,
            checkpoint: self.checkpoint.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    pub fn commit(&mut self, commit: ModelCommit) -> Answer {
        if commit.lease != (self.epoch, self.owner) {
            return Answer::Fenced;
        }
        if commit.id == self.last_commit {
            return Answer::Committed { head: self.head, duplicate: true };
        }
        if commit.expected != self.head {
            return Answer::Conflict { head: self.head };
        }
        self.last_commit = commit.id;
        self.checkpoint = commit.checkpoint;
        if let Some((pos, ..)) = commit.entries.last() {
            self.head = *pos;
        }
        self.entries.extend(commit.entries);
        if let Some(keep_from) = commit.snapshot {
            self.snapshots.retain(|&pos| pos >= keep_from && pos != self.head);
            self.snapshots.push(self.head);
        }
        for (producer, done) in commit.done.into_iter().flatten() {
            self.waiting.retain(|(name, seq)| name != producer.as_str() || *seq > done);
        }
        Answer::Committed { head: self.head, duplicate: false }
    }

    pub fn trim(&mut self, lease: (u64, u128), at: Pos) -> Answer {
        if self.snapshots.last().is_none_or(|&newest| at > newest) {
            // Backends may look at the lease first or at the floor first.
            let fenced = lease != (self.epoch, self.owner);
            return if fenced { Answer::Fenced } else { Answer::Invalid };
        }
        if lease != (self.epoch, self.owner) {
            return Answer::Fenced;
        }
        if !self.snapshots.contains(&at) {
            return Answer::Removed(0);
        }
        let before = self.entries.len();
        self.entries.retain(|(pos, ..)| *pos > at);
        self.snapshots.retain(|&pos| pos >= at);
        self.trimmed = self.trimmed.max(at);
        Answer::Removed((before - self.entries.len()) as u64)
    }

    pub fn range(&self, after: Pos, topics: &[Topic], limit: usize) -> Answer {
        if after.seq < self.trimmed.seq {
            return Answer::Trimmed { through: self.trimmed };
        }
        let wanted =
            |(pos, topic, _): &&(Pos, Topic, Vec<u8>)| *pos > after && topics.contains(topic);
        let all: Vec<Vec<u8>> =
            self.entries.iter().filter(wanted).map(|(_, _, bytes)| bytes.clone()).collect();
        Answer::Entries { more: all.len() > limit, entries: all.into_iter().take(limit).collect() }
    }

    pub fn publish(&mut self, messages: &[(String, u64)]) -> Answer {
        let mut stored = Vec::new();
        for (producer, seq) in messages {
            let last = self.published.entry(producer.clone()).or_default();
            stored.push(seq > last);
            if seq > last {
                *last = *seq;
                self.waiting.push((producer.clone(), *seq));
            }
        }
        Answer::Published(stored)
    }

    /// Everything that waits behind a cursor, sorted.
    pub fn ingress(&self, cursor: &IngressCursor) -> Answer {
        let mut waiting = self.waiting.clone();
        for (producer, consumed) in cursor {
            waiting.retain(|(name, seq)| name != producer.as_str() || seq > consumed);
        }
        waiting.sort();
        Answer::Messages(waiting)
    }

    pub fn head(&self) -> Pos {
        self.head
    }

    pub fn trimmed(&self) -> Pos {
        self.trimmed
    }

    pub fn last_commit(&self) -> u128 {
        self.last_commit
    }

    pub fn snapshots(&self) -> &[Pos] {
        &self.snapshots
    }
}
