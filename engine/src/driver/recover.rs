//! Recovery: puts the engine and the feed where the log ends.
//!
//! The engine loads the newest snapshot that can be read and executes the log after it again. The feed continues from the
//! checkpoint of the newest commit. While this owner reads, the store may lose its tail or another owner may write. Both
//! look like a divergence of the handlers, so recovery asks the log before it reports one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Driver, Observer, Run, RunError};
use crate::{
    clock::Clock,
    feed::Feed,
    log::{Acquired, Batch, EventLog, IngressCursor, LogErrorKind},
    pos::Pos,
    recovery::{Replay, ReplayError, Replayed},
};

/// The driver's own state, stored with every commit.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    #[serde(with = "crate::bytes")]
    pub(super) feed: Vec<u8>,
    pub(super) duplicates: u64,
}

impl<L: EventLog, F: Feed, C: Clock, O: Observer> Driver<L, F, C, O> {
    /// Restores the newest snapshot and executes the log after it again.
    pub(super) async fn recover(&mut self, acquired: &Acquired) -> Result<Replayed, ReplayError> {
        self.restore(acquired).await?;
        let owner = acquired.lease.owner;
        let give_up_after = self.config.retry.give_up_after;
        let mut replay = match Replay::begin(&self.engine, &acquired.head) {
            Err(error) => return Err(self.missed_loss(acquired).await.unwrap_or(error)),
            Ok(replay) => replay,
        };
        while let Some(query) = replay.wanted() {
            let read = |log: L| async move { log.range(query).await };
            let page = self.patiently(owner, give_up_after, read).await?;
            match replay.absorb(&mut self.engine, &page) {
                Ok(reached) => self.observer.replaying(reached),
                Err(error) => return Err(self.blame(error, acquired).await),
            }
        }
        match replay.finish(&self.engine) {
            Ok(replayed) => Ok(replayed),
            Err(error) => Err(self.blame(error, acquired).await),
        }
    }

    /// Restores the newest snapshot that can be read. A damaged one costs time but not the log: an older snapshot or the
    /// whole log replaces it.
    async fn restore(&mut self, acquired: &Acquired) -> Result<(), ReplayError> {
        let owner = acquired.lease.owner;
        let give_up_after = self.config.retry.give_up_after;
        let mut damage = None;
        for &pos in acquired.snapshots.iter().rev() {
            let read = |log: L| async move { log.snapshot(pos).await };
            match self.patiently(owner, give_up_after, read).await {
                Ok(Some(bytes)) => return Ok(self.engine.load(&bytes)?),
                Ok(None) => tracing::warn!(%pos, "a snapshot is missing; trying an older one"),
                Err(error) if matches!(error.kind, LogErrorKind::Corrupt { .. }) => {
                    tracing::warn!(%error, "a snapshot is damaged; trying an older one");
                    damage.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match damage {
            // Without a snapshot the trimmed entries cannot be replaced.
            Some(error) if acquired.head.trimmed > Pos::ZERO => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn begin(&mut self, acquired: Acquired) -> Result<Run, RunError> {
        let mut duplicates = 0;
        self.feed.acquired(&acquired.lease);
        if !acquired.checkpoint.is_empty() {
            let checkpoint: Checkpoint = postcard::from_bytes(&acquired.checkpoint)
                .map_err(|why| RunError::Checkpoint(why.to_string()))?;
            self.feed.restore(&checkpoint.feed)?;
            duplicates = checkpoint.duplicates;
        }
        let newest = acquired.snapshots.last().copied().unwrap_or(Pos::ZERO);
        Ok(Run {
            lease: acquired.lease,
            committed: acquired.head.pos,
            batch: Batch::default(),
            duplicates,
            committed_duplicates: duplicates,
            inputs_here: 0,
            snapshots: acquired.snapshots,
            last_snapshot: (newest.seq, self.engine.time()),
        })
    }

    /// The error to report for `error`. Entries that differ may be those of another owner, who acquired the partition while
    /// this one read; or the log may have lost its tail.
    async fn blame(&mut self, error: ReplayError, acquired: &Acquired) -> ReplayError {
        if !matches!(error, ReplayError::Diverged(_) | ReplayError::Digest { .. }) {
            return error;
        }
        if let Some(loss) = self.missed_loss(acquired).await {
            return loss;
        }
        let lease = acquired.lease;
        let ask = |log: L| async move {
            let nothing_consumed = IngressCursor::new();
            log.ingress(Some(&lease), &nothing_consumed, 1, Duration::ZERO).await
        };
        match self.patiently(lease.owner, self.config.retry.give_up_after, ask).await {
            Err(fenced) if matches!(fenced.kind, LogErrorKind::Fenced { .. }) => fenced.into(),
            _ => error,
        }
    }

    /// The error that the log lost its tail since it was acquired, if it did. Snapshots may be missing for that reason.
    async fn missed_loss(&mut self, acquired: &Acquired) -> Option<ReplayError> {
        let give_up_after = self.config.retry.give_up_after;
        let read = |log: L| async move { log.head().await };
        let now = self.patiently(acquired.lease.owner, give_up_after, read).await.ok()?;
        let head = now.map_or(Pos::ZERO, |head| head.pos);
        let expected = acquired.head.pos;
        (head < expected).then_some(ReplayError::LostTail { expected, head })
    }
}
