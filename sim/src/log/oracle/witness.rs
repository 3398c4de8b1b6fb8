//! A naive model of the log: told every request that reached the real one, it says what the answer must be.
//!
//! It shares no code with any backend and keeps no bytes, only their fingerprints.

use std::collections::BTreeMap;

use silvertine_engine::{
    digest::{Digest, fingerprint},
    event::Topic,
    log::{
        Acquired, Committed, Head, IngressCursor, IngressMessage, Lease, LogError, LogErrorKind,
        Page, Published, RangeQuery,
    },
    pos::Pos,
    text::Name,
};

use super::{Promise, Violation, same};
use crate::log::op::{Answer, OwnedCommit, Request};

type Fingerprint = [u8; 16];
type Check = Result<(), Violation>;

/// What the log must hold.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    manifest: Option<Vec<u8>>,
    pub(crate) lease: Option<Lease>,
    pub(crate) head: Head,
    checkpoint: Vec<u8>,
    /// Entry `seq` stands at `seq - 1`, trimmed or not.
    entries: Vec<Kept>,
    snapshots: BTreeMap<Pos, Fingerprint>,
    producers: BTreeMap<Name, Producer>,
    /// Commits in the log.
    pub(crate) commits: u64,
}

#[derive(Debug)]
struct Kept {
    pos: Pos,
    topic: Topic,
    content: Fingerprint,
}

#[derive(Debug, Default)]
struct Producer {
    last: u64,
    stored: u64,
    /// The newest that was consumed.
    consumed: u64,
    waiting: BTreeMap<u64, Fingerprint>,
}

impl Witness {
    /// Checks an answer of the real log and follows what it did.
    pub(crate) fn observe(
        &mut self,
        request: &Request,
        answer: &Result<Answer, LogError>,
    ) -> Check {
        match (request, answer) {
            (Request::Acquire { manifest, .. }, Ok(Answer::Acquired(acquired))) => {
                self.acquired(request, manifest, acquired)
            }
            (Request::Commit { lease, commit }, Ok(Answer::Committed(committed))) => {
                self.committed(lease, commit, *committed)
            }
            (Request::Commit { lease, commit }, Err(error)) => {
                self.commit_refused(lease, commit, error)
            }
            (Request::Range(query), Ok(Answer::Page(page))) => self.read(query, page),
            (Request::Range(query), Err(error)) => self.read_refused(query, error),
            (Request::Snapshot(pos), Ok(Answer::Bytes(bytes))) => {
                let content = bytes.as_deref().map(fingerprint);
                let kept = self.snapshots.get(pos).copied();
                same(Promise::Atomicity, "a snapshot reads as it was written", &kept, &content)
            }
            (Request::Publish(messages), Ok(Answer::Published(published))) => {
                self.published(messages, published)
            }
            (Request::Ingress { lease, cursor, limit, .. }, Ok(Answer::Messages(messages))) => {
                let reader = lease.or(self.lease);
                same(Promise::Fencing, "only the owner reads as the owner", &self.lease, &reader)?;
                self.ingress(cursor, *limit, messages)
            }
            (Request::Ingress { lease: Some(lease), .. }, Err(error))
                if self.lease != Some(*lease)
                    && matches!(error.kind, LogErrorKind::Fenced { .. } | LogErrorKind::Gone) =>
            {
                Ok(())
            }
            (Request::Trim { lease, at }, Ok(Answer::Removed(removed))) => {
                self.trimmed(lease, *at, *removed)
            }
            (Request::Trim { lease, at }, Err(error)) => self.trim_refused(lease, *at, error),
            (Request::Head, Ok(Answer::Head(head))) => {
                let expected = self.manifest.is_some().then_some(self.head);
                same(Promise::Order, "the head is that of the newest commit", &expected, head)
            }
            (_, Ok(_)) => Ok(()),
            (request, Err(error)) => Err(Violation::new(
                Promise::Classification,
                format!("{} fails although nothing is wrong", request.name()),
                "an answer",
                error,
            )),
        }
    }

    fn acquired(&mut self, request: &Request, manifest: &[u8], acquired: &Acquired) -> Check {
        let Request::Acquire { owner, .. } = request else { return Ok(()) };
        same(Promise::Fencing, "the lease names its owner", owner, &acquired.lease.owner)?;
        match self.lease {
            Some(lease) if lease.owner == *owner => {
                same(
                    Promise::Idempotence,
                    "acquiring again keeps the lease",
                    &lease,
                    &acquired.lease,
                )?;
            }
            Some(lease) if acquired.lease.epoch <= lease.epoch => {
                return Err(Violation::new(
                    Promise::Fencing,
                    "acquiring raises the epoch",
                    format!("above {}", lease.epoch.0),
                    acquired.lease.epoch.0,
                ));
            }
            _ => {}
        }
        self.lease = Some(acquired.lease);
        let manifest = self.manifest.get_or_insert_with(|| manifest.to_vec());
        same(Promise::Atomicity, "the manifest is the first one", manifest, &acquired.manifest)?;
        same(Promise::Durability, "acquiring finds the newest commit", &self.head, &acquired.head)?;
        let (kept, found) = (&self.checkpoint, &acquired.checkpoint);
        same(Promise::Atomicity, "the checkpoint is that of the newest commit", kept, found)?;
        let snapshots: Vec<Pos> = self.snapshots.keys().copied().collect();
        same(Promise::Atomicity, "acquiring finds the snapshots", &snapshots, &acquired.snapshots)
    }

    fn committed(&mut self, lease: &Lease, commit: &OwnedCommit, answer: Committed) -> Check {
        if self.lease != Some(*lease) {
            return Err(Violation::new(
                Promise::Fencing,
                "a commit is accepted from somebody who is not the owner",
                format!("owner {:?}", self.lease),
                format!("{lease:?}"),
            ));
        }
        if commit.id == self.head.commit {
            let expected = Committed { head: self.head.pos, duplicate: true };
            return same(
                Promise::Idempotence,
                "a commit sent again is a duplicate",
                &expected,
                &answer,
            );
        }
        same(Promise::Order, "a commit builds on the head", &self.head.pos, &commit.expected)?;
        let expected = Committed { head: commit.resulting_pos(), duplicate: false };
        same(Promise::Idempotence, "a new commit is not a duplicate", &expected, &answer)?;
        self.append(commit)?;
        self.commits += 1;
        self.checkpoint.clone_from(&commit.checkpoint);
        if let Some((bytes, keep_from)) = &commit.snapshot {
            let newest = self.newest_snapshot();
            if newest.is_some_and(|newest| newest < *keep_from) {
                let what = "a snapshot leaves an older one to fall back on";
                let expected = format!("{newest:?} is kept");
                return Err(Violation::new(Promise::Trimming, what, expected, keep_from));
            }
            self.snapshots.retain(|pos, _| pos >= keep_from);
            self.snapshots.insert(self.head.pos, fingerprint(bytes));
        }
        for (name, done) in commit.ingress_done.iter().flatten() {
            let producer = self.producers.entry(*name).or_default();
            producer.consumed = producer.consumed.max(*done);
            // Oldest first, as they are consumed: what waits is not looked through.
            while let Some(first) = producer.waiting.first_entry().filter(|e| e.key() <= done) {
                first.remove();
            }
        }
        Ok(())
    }

    fn append(&mut self, commit: &OwnedCommit) -> Check {
        let mut digest = self.head.digest;
        let mut last = self.head.pos;
        for entry in commit.entries.iter() {
            if entry.pos.seq != last.seq + 1 || entry.pos.ms < last.ms {
                return Err(Violation::new(
                    Promise::Order,
                    "entries are numbered without a gap and never go back in time",
                    format!("entry {} at {} ms or later", last.seq + 1, last.ms),
                    entry.pos,
                ));
            }
            last = entry.pos;
            let content = fingerprint(entry.bytes);
            digest = digest.chain_fingerprint(content);
            self.entries.push(Kept { pos: entry.pos, topic: entry.topic, content });
        }
        same(Promise::Replay, "a commit's digest is that of its entries", &digest, &commit.digest)?;
        self.head = Head { pos: last, digest, commit: commit.id, ..self.head };
        Ok(())
    }

    fn commit_refused(&self, lease: &Lease, commit: &OwnedCommit, error: &LogError) -> Check {
        let accounted = match &error.kind {
            LogErrorKind::Gone => self.lease.is_none(),
            LogErrorKind::Fenced { ours, current } => self
                .lease
                .is_some_and(|now| now != *lease && *ours == lease.epoch && *current == now.epoch),
            LogErrorKind::Conflict { expected, head } => {
                self.lease == Some(*lease)
                    && commit.id != self.head.commit
                    && *expected == commit.expected
                    && *head == self.head.pos
                    && expected != head
            }
            _ => false,
        };
        if accounted {
            return Ok(());
        }
        let what = "a commit is refused that should be taken, or for another reason";
        let expected = format!("owner {:?}, head {}", self.lease, self.head.pos);
        Err(Violation::new(Promise::Classification, what, expected, error))
    }

    fn read(&self, query: &RangeQuery, page: &Page) -> Check {
        if query.after.seq < self.head.trimmed.seq {
            let what = "a reader below the floor is told";
            let told = format!("trimmed through {}", self.head.trimmed);
            return Err(Violation::new(Promise::Trimming, what, told, "a page"));
        }
        let begin = self.entries.partition_point(|kept| kept.pos <= query.after);
        let wanted = self.entries[begin..].iter().filter(|kept| query.topics.contains(kept.topic));
        let mut wanted = wanted.peekable();
        for entry in page.entries.iter() {
            let Some(kept) = wanted.next() else {
                let what = "a reader is given an entry that was never committed";
                return Err(Violation::new(Promise::Integrity, what, "the end", entry.pos));
            };
            same(Promise::Order, "a reader sees every entry in order", &kept.pos, &entry.pos)?;
            let content = fingerprint(entry.bytes);
            same(Promise::Integrity, "an entry reads as it was written", &kept.content, &content)?;
        }
        if page.entries.len() > query.limit {
            let what = "a page holds what was asked for at most";
            return Err(Violation::new(Promise::Bounds, what, query.limit, page.entries.len()));
        }
        let rest = wanted.peek().map(|kept| kept.pos);
        match (page.next, rest) {
            (Some(next), _) if next <= query.after => {
                let what = "a page leads on";
                Err(Violation::new(Promise::Order, what, format!("behind {}", query.after), next))
            }
            (Some(next), Some(rest)) if next >= rest => {
                let what = "a reader that goes on behind a page misses nothing";
                Err(Violation::new(Promise::Order, what, format!("before {rest}"), next))
            }
            (None, Some(rest)) => {
                let what = "a reader is told of the end although there is more";
                Err(Violation::new(Promise::Order, what, rest, "the end"))
            }
            _ => Ok(()),
        }
    }

    fn read_refused(&self, query: &RangeQuery, error: &LogError) -> Check {
        let trimmed = self.head.trimmed;
        let accounted = matches!(error.kind, LogErrorKind::Trimmed { through } if through == trimmed)
            && query.after.seq < trimmed.seq;
        if accounted {
            return Ok(());
        }
        let what = "a reader is refused what is there";
        Err(Violation::new(Promise::Trimming, what, format!("trimmed through {trimmed}"), error))
    }

    fn published(&mut self, messages: &[IngressMessage], answers: &[Published]) -> Check {
        let expected: Vec<Published> = messages
            .iter()
            .map(|message| {
                let producer = self.producers.entry(message.producer).or_default();
                if message.seq <= producer.last {
                    return Published::Duplicate;
                }
                producer.last = message.seq;
                producer.stored += 1;
                producer.waiting.insert(message.seq, fingerprint(&message.payload));
                Published::Stored
            })
            .collect();
        let answers = answers.to_vec();
        same(Promise::Idempotence, "a producer's number is taken once", &expected, &answers)
    }

    fn ingress(&self, cursor: &IngressCursor, limit: usize, messages: &[IngressMessage]) -> Check {
        let mut waiting: BTreeMap<Name, _> = BTreeMap::new();
        for (&name, producer) in &self.producers {
            let after = cursor.get(&name).copied().unwrap_or(0);
            waiting.insert(name, producer.waiting.range(after + 1..).peekable());
        }
        for message in messages {
            let next = waiting.get_mut(&message.producer).and_then(Iterator::next);
            let next = next.map(|(&seq, &content)| (seq, content));
            let found = Some((message.seq, fingerprint(&message.payload)));
            same(Promise::Ledger, "the ingress gives every message in order", &next, &found)?;
        }
        let left = waiting.values_mut().any(|waiting| waiting.peek().is_some());
        if left && messages.len() < limit {
            let what = "the ingress keeps messages back";
            return Err(Violation::new(Promise::Ledger, what, "more messages", messages.len()));
        }
        Ok(())
    }

    fn trimmed(&mut self, lease: &Lease, at: Pos, removed: u64) -> Check {
        same(Promise::Fencing, "only the owner trims", &self.lease, &Some(*lease))?;
        if !self.snapshots.contains_key(&at) {
            return same(Promise::Trimming, "no snapshot there: nothing is removed", &0, &removed);
        }
        let expected = at.seq.saturating_sub(self.head.trimmed.seq);
        same(Promise::Trimming, "trimming removes what lies before", &expected, &removed)?;
        self.head.trimmed = self.head.trimmed.max(at);
        self.snapshots.retain(|&pos, _| pos >= at);
        Ok(())
    }

    fn trim_refused(&self, lease: &Lease, at: Pos, error: &LogError) -> Check {
        let newest = self.snapshots.last_key_value().map(|(&pos, _)| pos);
        let accounted = match &error.kind {
            LogErrorKind::Gone => self.lease.is_none(),
            LogErrorKind::Fenced { .. } => self.lease.is_some_and(|now| now != *lease),
            LogErrorKind::Invalid { .. } => newest.is_none_or(|newest| at > newest),
            _ => false,
        };
        if accounted {
            return Ok(());
        }
        Err(Violation::new(Promise::Trimming, "trimming is refused", "removed entries", error))
    }

    /// Whether a message was accepted and not yet consumed, nor `read` by an owner who misses nothing. One that was lost
    /// behind a reader who had it, and was then published once more, stays behind the reader's cursor; and a loss that
    /// takes no entry can bring back refused duplicates that their reader has passed.
    pub(crate) fn some_message_waits(&self, read: Option<&IngressCursor>) -> bool {
        self.producers.iter().any(|(name, producer)| {
            let read = read.and_then(|read| read.get(name)).copied().unwrap_or(0);
            let passed = producer.consumed.max(read);
            producer.waiting.last_key_value().is_some_and(|(&newest, _)| newest > passed)
        })
    }

    /// Messages that were accepted, consumed or not.
    pub(crate) fn messages_accepted(&self) -> u64 {
        self.producers.values().map(|producer| producer.stored).sum()
    }

    pub(crate) fn snapshot_count(&self) -> usize {
        self.snapshots.len()
    }

    pub(crate) fn oldest_snapshot(&self) -> Option<Pos> {
        self.snapshots.first_key_value().map(|(&pos, _)| pos)
    }

    pub(crate) fn newest_snapshot(&self) -> Option<Pos> {
        self.snapshots.last_key_value().map(|(&pos, _)| pos)
    }

    /// Digest over everything committed.
    pub(crate) const fn digest(&self) -> Digest {
        self.head.digest
    }
}
