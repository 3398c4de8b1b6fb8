//! Retries operations on a log that does not answer, and finds the cause of a refusal.
//!
//! An operation is sent again only where the error advises it, with growing pauses and for a limited time. A fenced lease
//! and an unexpected head can both mean that the log lost acknowledged entries; a loss is reported before anything else.

use std::{future::Future, time::Duration};

use super::{Driver, Observer, RetryConfig, Run, RunError};
use crate::{
    clock::Clock,
    feed::{Feed, FeedError, Polled},
    log::{Advice, EventLog, LogError, LogErrorKind, OwnerId},
    pos::Pos,
};

impl<L: EventLog, F: Feed, C: Clock, O: Observer> Driver<L, F, C, O> {
    /// Repeats an operation until the log answers, the error advises against it, or the time is up. For operations that are
    /// safe to repeat.
    pub(super) async fn patiently<T, A>(
        &mut self,
        who: OwnerId,
        give_up_after: Duration,
        ask: impl Fn(L) -> A,
    ) -> Result<T, LogError>
    where
        A: Future<Output = Result<T, LogError>>,
    {
        let mut retry = Retrying::new(give_up_after);
        loop {
            match ask(self.log.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let config = &self.config.retry;
                    retry.pause(error, config, who, &mut self.clock, &mut self.observer).await?;
                }
            }
        }
    }

    /// Looks at the next input. An ingress that does not answer is retried like a commit; reading is positional, so reading
    /// again is safe.
    pub(super) async fn poll_patiently(
        &mut self,
        run: &Run,
        wait: Duration,
    ) -> Result<Polled, RunError> {
        let mut retry = Retrying::new(self.config.retry.give_up_after);
        loop {
            match self.feed.poll(wait).await {
                Err(FeedError::Log(error)) => {
                    let (config, owner) = (&self.config.retry, run.lease.owner);
                    let pause =
                        retry.pause(error, config, owner, &mut self.clock, &mut self.observer);
                    if let Err(error) = pause.await {
                        return Err(FeedError::Log(self.diagnose(error, run).await).into());
                    }
                }
                polled => return Ok(polled?),
            }
        }
    }

    /// Checks that the log still ends at the committed head. A commit finds a lost tail by itself; an idle owner must ask.
    pub(super) async fn look_for_loss(&mut self, run: &Run) -> Result<(), RunError> {
        let give_up_after = self.config.retry.give_up_after;
        let read = |log: L| async move { log.head().await };
        let head = self.patiently(run.lease.owner, give_up_after, read).await?;
        let head = head.map_or(Pos::ZERO, |head| head.pos);
        if head < run.committed {
            return Err(RunError::LostTail { expected: run.committed, head });
        }
        Ok(())
    }

    /// The error to report for `error`. A lease is fenced either because another owner acquired the partition, or because a
    /// failover lost this owner's acquisition and perhaps entries with it. The head tells which; a loss must be reported
    /// whoever owns the log now.
    pub(super) async fn diagnose(&mut self, mut error: LogError, run: &Run) -> LogError {
        if let LogErrorKind::Fenced { .. } = error.kind {
            let give_up_after = self.config.retry.give_up_acquiring_after;
            let read = |log: L| async move { log.head().await };
            match self.patiently(run.lease.owner, give_up_after, read).await {
                Ok(None) => error.kind = LogErrorKind::Gone,
                Ok(Some(head)) if head.pos < run.committed => {
                    error.kind = LogErrorKind::LostTail { expected: run.committed, head: head.pos };
                }
                _ => {}
            }
        }
        error
    }
}

/// The attempts and pauses of one operation.
pub(super) struct Retrying {
    attempt: u32,
    left: Duration,
}

impl Retrying {
    pub(super) const fn new(give_up_after: Duration) -> Self {
        Self { attempt: 0, left: give_up_after }
    }

    /// Waits before the next attempt, or returns the error when there must be none.
    pub(super) async fn pause<C: Clock, O: Observer>(
        &mut self,
        error: LogError,
        config: &RetryConfig,
        who: OwnerId,
        clock: &mut C,
        observer: &mut O,
    ) -> Result<(), LogError> {
        if error.advice() != Advice::Retry {
            return Err(lost_tail(error));
        }
        self.attempt += 1;
        let pause = config.pause(self.attempt - 1, who);
        if pause > self.left {
            return Err(error);
        }
        self.left -= pause;
        observer.retrying(&error, self.attempt, pause);
        clock.sleep(pause).await;
        Ok(())
    }
}

impl RetryConfig {
    /// The pause before attempt `attempt` (from one): exponential, with a jitter that derives from the owner's id. Many
    /// owners spread their attempts without drawing random numbers.
    fn pause(&self, attempt: u32, who: OwnerId) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << attempt.min(16));
        let pause = doubled.min(self.longest_pause);
        let mut seed = [0; 20];
        seed[..16].copy_from_slice(&who.0.to_le_bytes());
        seed[16..].copy_from_slice(&attempt.to_le_bytes());
        let jitter = xxhash_rust::xxh3::xxh3_64(&seed) % 512;
        // From one half to the whole of the pause.
        pause / 2 + pause * (jitter as u32) / 1024
    }
}

/// Turns a conflict whose head is below the expected one into the loss that it means.
fn lost_tail(mut error: LogError) -> LogError {
    if let LogErrorKind::Conflict { expected, head } = error.kind
        && head < expected
    {
        error.kind = LogErrorKind::LostTail { expected, head };
    }
    error
}
