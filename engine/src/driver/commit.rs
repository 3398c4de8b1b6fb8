//! Writes to the log: commits, with a snapshot where one is due, and trims entries that a snapshot covers.

use super::{Driver, Observer, Progress, Run, RunError, patience::Retrying, recover::Checkpoint};
use crate::{
    clock::Clock,
    feed::Feed,
    log::{Advice, Commit, CommitId, EventLog, LogErrorKind, Snapshot},
    pos::Pos,
};

impl<L: EventLog, F: Feed, C: Clock, O: Observer> Driver<L, F, C, O> {
    /// Commits the uncommitted entries, with a snapshot when one is due. The `last` commit of a run takes a snapshot whenever
    /// the newest one does not cover everything.
    pub(super) async fn commit(&mut self, run: &mut Run, last: bool) -> Result<(), RunError> {
        let head = self.engine.head();
        let snapshot_due = if self.engine.halted().is_some() {
            // Recovery must start before the cascade: the failed call may have changed the handler's state.
            false
        } else if last {
            head.seq > run.last_snapshot.0
        } else {
            !run.batch.is_empty() && self.snapshot_due(run)
        };
        if run.uncommitted() == 0 && !snapshot_due {
            return Ok(());
        }
        let snapshot = if snapshot_due { Some(self.engine.save()?) } else { None };
        let keep_from = self.keep_from(run, head);
        let checkpoint = Checkpoint { feed: self.feed.checkpoint(), duplicates: run.duplicates };
        // The feed's bytes, their length, and the number of duplicates.
        let buffer = Vec::with_capacity(checkpoint.feed.len() + 20);
        let checkpoint =
            postcard::to_extend(&checkpoint, buffer).expect("a checkpoint is bytes and a number");
        let digest = self.engine.digest();
        let commit = Commit {
            id: CommitId::derive(&run.lease, run.committed, digest)
                .with_content(&checkpoint, snapshot_due),
            expected: run.committed,
            entries: &run.batch,
            digest,
            checkpoint: &checkpoint,
            snapshot: snapshot.as_deref().map(|bytes| Snapshot { bytes, keep_from }),
            ingress_done: self.feed.ingress_done(),
        };
        let first = run.batch.first_pos();
        assert!(
            first.is_none_or(|first| first.seq == run.committed.seq + 1),
            "a gap before {first:?}"
        );
        assert_eq!(commit.resulting_pos(), head, "a batch ends at the engine's head");
        let mut retry = Retrying::new(self.config.retry.give_up_after);
        let committed = loop {
            let error = match self.log.commit(&run.lease, &commit).await {
                Ok(committed) => break committed,
                Err(error) => error,
            };
            let (config, owner) = (&self.config.retry, run.lease.owner);
            let pause = retry.pause(error, config, owner, &mut self.clock, &mut self.observer);
            if let Err(error) = pause.await {
                return Err(self.diagnose(error, run).await.into());
            }
        };
        assert_eq!(
            committed.head, head,
            "the log acknowledged another head than was committed (L4)"
        );
        run.committed = head;
        run.committed_duplicates = run.duplicates;
        run.batch.clear();
        self.observer.committed(Progress {
            counts: *self.engine.counts(),
            time: self.engine.time(),
            feed: self.feed.progress(),
        });
        if snapshot_due {
            run.last_snapshot = (head.seq, self.engine.time());
            run.snapshots.retain(|&pos| pos >= keep_from);
            run.snapshots.push(head);
            self.trim(run).await?;
        }
        Ok(())
    }

    fn snapshot_due(&self, run: &Run) -> bool {
        let (seq, time) = run.last_snapshot;
        self.engine.head().seq - seq >= self.config.snapshot_entries
            || self.engine.time().since(time) >= self.config.snapshot_interval
    }

    /// The oldest snapshot to keep: the one that trimming stops at, or else the newest before this commit.
    fn keep_from(&self, run: &Run, head: Pos) -> Pos {
        let newest = run.snapshots.last().copied().unwrap_or(Pos::ZERO);
        match self.config.retention_entries {
            None => newest,
            Some(retention) => trim_point(&run.snapshots, head, retention)
                .or_else(|| run.snapshots.first().copied())
                .unwrap_or(newest),
        }
    }

    /// Trims the entries that retention no longer covers, up to a snapshot.
    async fn trim(&mut self, run: &Run) -> Result<(), RunError> {
        let Some(retention) = self.config.retention_entries else { return Ok(()) };
        let Some(at) = trim_point(&run.snapshots, run.committed, retention) else { return Ok(()) };
        match self.log.trim(&run.lease, at).await {
            Ok(_removed) => Ok(()),
            // Trimming may wait: the next snapshot tries again.
            Err(error) if error.advice() == Advice::Retry => {
                tracing::warn!(%error, "cannot trim now; the next snapshot tries again");
                Ok(())
            }
            // The position is that of a snapshot. The log refuses it only if it lost the snapshot, and with it the
            // acknowledged entries after it.
            Err(error) if matches!(error.kind, LogErrorKind::Invalid { .. }) => {
                self.look_for_loss(run).await?;
                Err(error.into())
            }
            Err(error) => Err(self.diagnose(error, run).await.into()),
        }
    }
}

/// The newest snapshot that has at least `retention` entries after it.
fn trim_point(snapshots: &[Pos], head: Pos, retention: u64) -> Option<Pos> {
    let limit = head.seq.checked_sub(retention)?;
    snapshots.iter().copied().rfind(|pos| pos.seq <= limit)
}
