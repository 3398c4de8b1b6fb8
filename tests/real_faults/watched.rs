//! A log on Redis that lets the harness strike before commits and trims and see what becomes of them.

use silvertine::{
    engine::{
        log::{Acquired, Commit, Committed, EventLog, Lease, LogError, OwnerId},
        pos::Pos,
    },
    storage::redis::RedisLog,
};

use crate::harness::Harness;

/// A log around the one under test.
#[derive(Clone)]
pub struct WatchedLog {
    harness: Harness,
    inner: RedisLog,
}

impl WatchedLog {
    pub fn new(harness: Harness, inner: RedisLog) -> Self {
        Self { harness, inner }
    }
}

impl EventLog for WatchedLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let acquired = self.inner.acquire(owner, manifest).await?;
        self.harness.after_acquire(acquired.head.pos);
        Ok(acquired)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        if let Some(rival) = self.harness.before_commit() {
            let acquired = self.harness.direct_log().acquire(rival, b"").await;
            acquired.expect("nothing is wrong with the server");
        }
        let answer = self.inner.commit(lease, commit).await;
        self.harness.after_commit(commit, &answer);
        answer
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.harness.before_trim();
        self.inner.trim(lease, at).await
    }

    silvertine_conformance::forward_log!(inner: head, range, manifest, snapshots, snapshot, publish, ingress, stats, durability_note);
}
