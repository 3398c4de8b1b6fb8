//! Operations on the log as data, so that they can be lost, delayed and sent twice.

use std::{sync::Arc, time::Duration};

use silvertine_engine::{
    digest::{Digest, fingerprint},
    executor::block_on,
    log::{
        Acquired, Batch, Commit, CommitId, Committed, EventLog, Head, IngressCursor,
        IngressMessage, Lease, LogError, OwnerId, Page, Published, RangeQuery, Snapshot, Stats,
    },
    pos::Pos,
};

use crate::log::fault::OpKind;

/// What a client asks of the log.
#[derive(Debug)]
pub(crate) enum Request {
    Acquire { owner: OwnerId, manifest: Vec<u8> },
    Commit { lease: Lease, commit: OwnedCommit },
    Head,
    Range(RangeQuery),
    Manifest,
    Snapshots,
    Snapshot(Pos),
    Publish(Vec<IngressMessage>),
    Ingress { lease: Option<Lease>, cursor: IngressCursor, limit: usize, wait: Duration },
    Trim { lease: Lease, at: Pos },
    Stats,
}

/// A commit that outlives its sender.
#[derive(Debug)]
pub(crate) struct OwnedCommit {
    pub(crate) id: CommitId,
    pub(crate) expected: Pos,
    pub(crate) entries: Batch,
    pub(crate) digest: Digest,
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) snapshot: Option<(Vec<u8>, Pos)>,
    pub(crate) ingress_done: Option<IngressCursor>,
}

/// What the log says to it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Acquired(Acquired),
    Committed(Committed),
    Head(Option<Head>),
    Page(Page),
    Bytes(Option<Vec<u8>>),
    Positions(Vec<Pos>),
    Published(Vec<Published>),
    Messages(Vec<IngressMessage>),
    Removed(u64),
    Stats(Stats),
}

impl OwnedCommit {
    pub(crate) fn of(commit: &Commit<'_>) -> Self {
        Self {
            id: commit.id,
            expected: commit.expected,
            entries: commit.entries.clone(),
            digest: commit.digest,
            checkpoint: commit.checkpoint.to_vec(),
            snapshot: commit.snapshot.map(|snapshot| (snapshot.bytes.to_vec(), snapshot.keep_from)),
            ingress_done: commit.ingress_done.cloned(),
        }
    }

    fn borrow(&self) -> Commit<'_> {
        Commit {
            id: self.id,
            expected: self.expected,
            entries: &self.entries,
            digest: self.digest,
            checkpoint: &self.checkpoint,
            snapshot: self
                .snapshot
                .as_ref()
                .map(|(bytes, keep_from)| Snapshot { bytes, keep_from: *keep_from }),
            ingress_done: self.ingress_done.as_ref(),
        }
    }

    /// The head once it is in the log.
    pub(crate) fn resulting_pos(&self) -> Pos {
        self.entries.last_pos().unwrap_or(self.expected)
    }
}

impl Request {
    pub(crate) const fn kind(&self) -> OpKind {
        match self {
            Self::Acquire { .. } => OpKind::Acquire,
            Self::Commit { .. } => OpKind::Commit,
            Self::Range(_) => OpKind::Range,
            Self::Snapshot(_) => OpKind::Snapshot,
            Self::Trim { .. } => OpKind::Trim,
            Self::Ingress { .. } => OpKind::Ingress,
            Self::Publish(_) => OpKind::Publish,
            Self::Head | Self::Manifest | Self::Snapshots | Self::Stats => OpKind::Look,
        }
    }

    /// The operation's name as errors give it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Manifest => "manifest",
            Self::Snapshots => "snapshots",
            Self::Stats => "stats",
            other => other.kind().name(),
        }
    }

    /// A number that differs where the content does, for the trace.
    pub(crate) fn content(&self) -> u64 {
        let of = |bytes: &[u8]| {
            let [a, b, c, d, e, f, g, h, ..] = fingerprint(bytes);
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        };
        match self {
            Self::Acquire { owner, .. } => owner.0 as u64,
            Self::Commit { commit, .. } => {
                let [a, b, c, d, e, f, g, h, ..] = commit.digest.to_bytes();
                let snapshot = commit.snapshot.as_ref().map_or(0, |(bytes, _)| of(bytes));
                u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ of(&commit.checkpoint) ^ snapshot
            }
            Self::Range(query) => query.after.seq,
            Self::Snapshot(pos) => pos.seq,
            Self::Publish(messages) => mixed(messages.iter().map(|message| of(&message.payload))),
            Self::Ingress { cursor, .. } => mixed(cursor.values().copied()),
            Self::Trim { at, .. } => at.seq,
            Self::Head | Self::Manifest | Self::Snapshots | Self::Stats => 0,
        }
    }
}

fn mixed(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, |mixed: u64, number| mixed.rotate_left(7) ^ number)
}

/// Carries a request out on the log underneath.
pub(crate) fn execute<L: EventLog>(log: &L, request: &Arc<Request>) -> Result<Answer, LogError> {
    block_on(async {
        Ok(match &**request {
            Request::Acquire { owner, manifest } => {
                Answer::Acquired(log.acquire(*owner, manifest).await?)
            }
            Request::Commit { lease, commit } => {
                Answer::Committed(log.commit(lease, &commit.borrow()).await?)
            }
            Request::Head => Answer::Head(log.head().await?),
            Request::Range(query) => Answer::Page(log.range(*query).await?),
            Request::Manifest => Answer::Bytes(log.manifest().await?),
            Request::Snapshots => Answer::Positions(log.snapshots().await?),
            Request::Snapshot(pos) => Answer::Bytes(log.snapshot(*pos).await?),
            Request::Publish(messages) => Answer::Published(log.publish(messages).await?),
            Request::Ingress { lease, cursor, limit, .. } => {
                // Waiting is the simulated server's affair.
                Answer::Messages(log.ingress(lease.as_ref(), cursor, *limit, Duration::ZERO).await?)
            }
            Request::Trim { lease, at } => Answer::Removed(log.trim(lease, *at).await?),
            Request::Stats => Answer::Stats(log.stats().await?),
        })
    })
}
