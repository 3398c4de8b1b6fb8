//! A log on Redis that lets the bed strike before commits and trims and see what becomes of them.

use std::time::Duration;

use silvertine::{
    engine::{
        log::{
            Acquired, Commit, Committed, EventLog, Head, IngressCursor, Lease, LogError, Message,
            OwnerId, Page, Published, RangeQuery, Stats,
        },
        pos::Pos,
    },
    storage::redis::RedisLog,
};

use crate::bed::Bed;

/// A log around the one under test.
#[derive(Clone)]
pub struct WatchedLog {
    bed: Bed,
    inner: RedisLog,
}

impl WatchedLog {
    pub fn new(bed: Bed, inner: RedisLog) -> Self {
        Self { bed, inner }
    }
}

impl EventLog for WatchedLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let acquired = self.inner.acquire(owner, manifest).await?;
        self.bed.after_acquire(acquired.head.pos);
        Ok(acquired)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        if let Some(rival) = self.bed.before_commit() {
            let acquired = self.bed.direct_log().acquire(rival, b"").await;
            acquired.expect("nothing is wrong with the server");
        }
        let answer = self.inner.commit(lease, commit).await;
        self.bed.after_commit(commit, &answer);
        answer
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        self.inner.head().await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.inner.range(query).await
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.inner.manifest().await
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.inner.snapshots().await
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        self.inner.snapshot(pos).await
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<Published>, LogError> {
        self.inner.publish(messages).await
    }

    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, LogError> {
        self.inner.ingress(lease, cursor, limit, wait).await
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.bed.before_trim();
        self.inner.trim(lease, at).await
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        self.inner.stats().await
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        self.inner.durability_note().await
    }
}
