//! The driver: moves inputs from a feed through the engine into a log, and recovers from one.
//!
//! One driver serves every log and both clocks. All knowledge of retrying, fencing, unknown outcomes
//! and recovery is here; a log only maps an operation to its store and classifies the answer. The
//! driver is `async` only so that live code can await: it spawns nothing, selects nothing and knows no
//! runtime, so any executor runs it.

use std::{future::Future, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    counts::Counts,
    digest::Digest,
    engine::{Engine, EngineError, Stepped},
    feed::{Feed, FeedError, Polled},
    halt::Halt,
    log::{
        Acquired, Advice, Batch, Commit, CommitId, EventLog, IngressCursor, Lease, LogError,
        LogErrorKind, OwnerId, Snapshot,
    },
    park::{ParkedKey, Release},
    pos::Pos,
    recovery::{Replay, ReplayError, Replayed},
    stop::StopFlag,
    time::Nanos,
};

/// The longest the driver waits at once, so that a stop request is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// How a driver commits, snapshots, trims and retries. Nothing here changes what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Entries after which a batch is committed, at least one. A cascade is never split, so a batch may
    /// end longer.
    pub batch_entries: usize,
    /// Entries after which a snapshot is taken, at least one.
    pub snapshot_entries: u64,
    /// Engine time after which a snapshot is taken.
    pub snapshot_interval: Duration,
    /// The newest entries that are kept; `None` keeps all.
    pub retention_entries: Option<u64>,
    /// When to stop retrying.
    pub retry: RetryConfig,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            batch_entries: 256,
            snapshot_entries: 250_000,
            snapshot_interval: Duration::MAX,
            retention_entries: None,
            retry: RetryConfig::default(),
        }
    }
}

/// How long a log that cannot be reached or refuses writes is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// The first pause; each further one is twice as long, less a jitter of up to half.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Pauses in all after which the driver gives up, while running.
    pub give_up_after: Duration,
    /// The same while acquiring: a wrong address should be told soon.
    pub give_up_acquiring_after: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
            give_up_after: Duration::from_secs(60),
            give_up_acquiring_after: Duration::from_secs(2),
        }
    }
}

impl RetryConfig {
    /// The pause before attempt `attempt` (from one): exponential, with a jitter that derives from who
    /// waits, so that many waiters spread without any of them drawing a random number.
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

/// Watches a run from outside: progress bars, latency. Sees, never steers.
pub trait Observer: Send {
    /// An input is about to be handled.
    fn taken(&mut self) {}
    /// Everything taken so far is committed.
    fn committed(&mut self, _progress: Progress) {}
    /// The log behind the snapshot is being re-executed; `pos` has been reached.
    fn replaying(&mut self, _pos: Pos) {}
    /// The log did not answer; the next attempt comes after `pause`.
    fn retrying(&mut self, _error: &LogError, _attempt: u32, _pause: Duration) {}
}

/// Watches nothing.
impl Observer for () {}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Totals over the log.
    pub counts: Counts,
    /// Engine time.
    pub time: Nanos,
    /// What the feed has read, and how much there is, in one unit.
    pub feed: Option<(u64, u64)>,
}

/// How a run ended well.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The head of the log.
    pub head: Pos,
    /// Digest over the whole log.
    pub digest: Digest,
    /// Totals over the whole log.
    pub counts: Counts,
    /// Inputs handled by this process.
    pub inputs_here: u64,
    /// Duplicates refused since the log began.
    pub duplicates: u64,
    /// What recovery had to re-execute; `None` when the log was empty.
    pub replayed: Option<Replayed>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The feed ended.
    Finished,
    /// A stop was requested; a later run goes on from here.
    Stopped,
}

/// Why a run ended badly. Whatever was acknowledged before stays in the log.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log failed beyond retrying.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The inputs failed. What came before is committed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A handler failed on an event whose failures halt, now or in an earlier run. Everything up to the record of
    /// it is committed, and nothing later is handled before a [`RunRequest::past_halt`].
    #[error("{0}")]
    Halted(Box<Halt>),
    /// A [`RunRequest::releases`] names a key under which nothing is parked. Nothing was changed.
    #[error("nothing is parked under {key}")]
    NotParked {
        /// The key.
        key: ParkedKey,
        /// Where something is.
        parked: Vec<ParkedKey>,
    },
    /// Recovery failed.
    #[error("recovery: {0}")]
    Replay(#[from] ReplayError),
    /// Acknowledged entries are gone, found while there was nothing to commit.
    #[error(
        "the log lost its tail: entries after {head} up to {expected} were acknowledged and are gone"
    )]
    LostTail {
        /// The head that had been acknowledged.
        expected: Pos,
        /// The head that is there.
        head: Pos,
    },
    /// The log was written by another configuration.
    #[error("the log was written by another scenario, other parameters or another seed")]
    OtherManifest {
        /// What the log was created with.
        stored: Vec<u8>,
    },
    /// The log is not empty and going on was not asked for.
    #[error("the log already holds entries up to {head}")]
    NotEmpty {
        /// Its head.
        head: Pos,
    },
    /// The checkpoint does not decode.
    #[error("the log's checkpoint does not decode: {0}")]
    Checkpoint(String),
}

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Who owns the partition meanwhile.
    pub owner: OwnerId,
    /// What the partition is created with, and what it must have been created with.
    pub manifest: Vec<u8>,
    /// Go on with a log that is not empty.
    pub resume: bool,
    /// The halt that a resumed run may go on behind, by the position of its record. It says so in the log; it
    /// lets no other halt pass.
    pub past_halt: Option<Pos>,
    /// What a resumed run releases before it takes any input, but behind the halt if it goes on behind one. All must be
    /// parked, or none is released. Each says so in the log.
    pub releases: Vec<Release>,
}

/// Stored with every commit.
#[derive(Default, Serialize, Deserialize)]
struct Checkpoint {
    #[serde(with = "crate::bytes")]
    feed: Vec<u8>,
    duplicates: u64,
}

/// An engine between a feed and a log.
pub struct Driver<L, F, C, O> {
    /// The log.
    pub log: L,
    /// The inputs.
    pub feed: F,
    /// The clock.
    pub clock: C,
    /// Who watches.
    pub observer: O,
    /// The engine.
    pub engine: Engine,
    /// How to commit, snapshot, trim and retry.
    pub config: DriverConfig,
}

/// What a driver knows while it runs.
struct Run {
    lease: Lease,
    /// The committed head.
    committed: Pos,
    batch: Batch,
    duplicates: u64,
    /// Those of them that the log's checkpoint is behind.
    committed_duplicates: u64,
    inputs_here: u64,
    /// Kept snapshots, oldest first.
    snapshots: Vec<Pos>,
    last_snapshot: (u64, Nanos),
}

impl Run {
    /// Entries, and duplicates: they leave no entry, but the checkpoint must get behind them, or an
    /// ingress of nothing but duplicates would be kept and read again for ever.
    fn uncommitted(&self) -> usize {
        self.batch.len() + (self.duplicates - self.committed_duplicates) as usize
    }
}

impl<L: EventLog, F: Feed, C: Clock, O: Observer> Driver<L, F, C, O> {
    /// Acquires the partition, recovers, and runs until the feed ends or a stop is requested.
    ///
    /// # Errors
    /// [`RunError`]. Whatever was acknowledged stays in the log, and a later run can go on from there.
    pub async fn run(
        &mut self,
        request: &RunRequest,
        stop: &StopFlag,
    ) -> Result<Outcome, RunError> {
        let acquired = self.acquire(request).await?;
        if acquired.manifest != request.manifest {
            return Err(RunError::OtherManifest { stored: acquired.manifest });
        }
        let head = acquired.head.pos;
        if head != Pos::ZERO && !request.resume {
            return Err(RunError::NotEmpty { head });
        }
        let replayed = if head == Pos::ZERO { None } else { Some(self.recover(&acquired).await?) };
        let halt = self.engine.halted().cloned();
        if let Some(halt) = halt.clone().filter(|halt| request.past_halt != Some(halt.pos)) {
            return Err(RunError::Halted(Box::new(halt)));
        }
        self.check_parked(&request.releases)?;
        let mut run = self.begin(acquired)?;
        if halt.is_some() {
            let now = self.clock.stamp(self.engine.time());
            self.engine.go_past_halt(now, &mut run.batch);
        }
        for &release in &request.releases {
            let now = self.clock.stamp(self.engine.time());
            self.engine.release(release, now, &mut run.batch);
        }
        let ended = self.pump(&mut run, stop).await;
        let may_commit = match &ended {
            Err(RunError::Log(_) | RunError::LostTail { .. }) => false,
            // Who is told to stand down does so at once.
            Err(RunError::Feed(FeedError::Log(error))) => error.advice() == Advice::Retry,
            // Also when the inputs failed: what was handled before is whole and worth keeping.
            _ => true,
        };
        if may_commit {
            self.commit(&mut run, true).await?;
        }
        Ok(Outcome {
            end: ended?,
            head: run.committed,
            digest: self.engine.digest(),
            counts: *self.engine.counts(),
            inputs_here: run.inputs_here,
            duplicates: run.duplicates,
            replayed,
        })
    }

    fn check_parked(&self, releases: &[Release]) -> Result<(), RunError> {
        let parked: Vec<ParkedKey> = self.engine.parked().iter().map(|parked| parked.key).collect();
        match releases.iter().find(|release| !parked.contains(&release.key)) {
            None => Ok(()),
            Some(&Release { key, .. }) => Err(RunError::NotParked { key, parked }),
        }
    }

    async fn acquire(&mut self, request: &RunRequest) -> Result<Acquired, LogError> {
        let give_up_after = self.config.retry.give_up_acquiring_after;
        self.patiently(request.owner, give_up_after, |log| async move {
            log.acquire(request.owner, &request.manifest).await
        })
        .await
    }

    /// Restores the newest snapshot and re-executes the log behind it.
    async fn recover(&mut self, acquired: &Acquired) -> Result<Replayed, ReplayError> {
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

    /// Entries that differ may be those of somebody else, who took the partition over while this owner read.
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

    /// Restores the newest snapshot that can be read. A damaged one costs time, not the log: an older one,
    /// or the whole log, stands in for it.
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
            // Without a snapshot there is no way past what is trimmed.
            Some(error) if acquired.head.trimmed > Pos::ZERO => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The snapshots may be missing because the log lost them, and more, since it was acquired.
    async fn missed_loss(&mut self, acquired: &Acquired) -> Option<ReplayError> {
        let give_up_after = self.config.retry.give_up_after;
        let read = |log: L| async move { log.head().await };
        let now = self.patiently(acquired.lease.owner, give_up_after, read).await.ok()?;
        let head = now.map_or(Pos::ZERO, |head| head.pos);
        let expected = acquired.head.pos;
        (head < expected).then_some(ReplayError::LostTail { expected, head })
    }

    /// Asks the log until it answers or there is no sense in waiting any longer. For operations that are
    /// safe to repeat.
    async fn patiently<T, A>(
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

    fn begin(&mut self, acquired: Acquired) -> Result<Run, RunError> {
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

    /// Takes inputs and commits until there are none left or a stop is requested.
    async fn pump(&mut self, run: &mut Run, stop: &StopFlag) -> Result<End, RunError> {
        loop {
            if let Some(halt) = self.engine.halted() {
                return Err(RunError::Halted(Box::new(halt.clone())));
            }
            if stop.is_requested() {
                return Ok(End::Stopped);
            }
            // With work in hand there is nothing to wait for: it would only be committed later.
            let wait = if run.batch.is_empty() { PATIENCE } else { Duration::ZERO };
            match self.poll_patiently(run, wait).await? {
                Polled::Ready(recv_time) => {
                    let hold = self.clock.hold_back(recv_time);
                    if hold > Duration::ZERO {
                        self.commit(run, false).await?;
                        self.clock.sleep(hold.min(PATIENCE)).await;
                        continue;
                    }
                    self.handle_next(run, recv_time);
                    if run.uncommitted() >= self.config.batch_entries {
                        self.commit(run, false).await?;
                    }
                }
                Polled::Idle => {
                    if let Some(now) = self.clock.idle_time() {
                        self.engine.advance(now, &mut run.batch);
                    }
                    if run.uncommitted() == 0 {
                        self.look_for_loss(run).await?;
                    } else {
                        self.commit(run, false).await?;
                    }
                }
                Polled::End => return Ok(End::Finished),
            }
        }
    }

    /// Who commits learns that the log lost its tail; who has nothing to commit must look.
    async fn look_for_loss(&mut self, run: &Run) -> Result<(), RunError> {
        let give_up_after = self.config.retry.give_up_after;
        let read = |log: L| async move { log.head().await };
        let head = self.patiently(run.lease.owner, give_up_after, read).await?;
        let head = head.map_or(Pos::ZERO, |head| head.pos);
        if head < run.committed {
            return Err(RunError::LostTail { expected: run.committed, head });
        }
        Ok(())
    }

    /// Looks at the next input; a log whose ingress does not answer is waited for like one that does not
    /// take a commit. Reading is positional, so asking again is harmless.
    async fn poll_patiently(&mut self, run: &Run, wait: Duration) -> Result<Polled, RunError> {
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

    #[inline]
    fn handle_next(&mut self, run: &mut Run, recv_time: Nanos) {
        self.observer.taken();
        let at = self.clock.stamp(recv_time);
        self.engine.advance(at, &mut run.batch);
        if self.engine.halted().is_some() {
            // The input stays with the feed: who goes on behind the halt handles it.
            return;
        }
        let mut input = self.feed.take();
        if input.recv_time == Nanos::ZERO {
            input.recv_time = at;
        }
        match self.engine.step(input, at, &mut run.batch) {
            Stepped::Handled => run.inputs_here += 1,
            Stepped::Duplicate => run.duplicates += 1,
            Stepped::Halted => {
                unreachable!("no input is taken from the feed while it stands still")
            }
        }
    }

    /// Commits what is in hand, with a snapshot when one is due (or when `last` and there is anything
    /// that the newest snapshot does not cover).
    async fn commit(&mut self, run: &mut Run, last: bool) -> Result<(), RunError> {
        let head = self.engine.head();
        let snapshot_due = if self.engine.halted().is_some() {
            // Recovery must begin before the cascade, so that it does not meet what the failed call left behind.
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
        // Room for the feed's bytes, their length and the number.
        let room = Vec::with_capacity(checkpoint.feed.len() + 20);
        let checkpoint =
            postcard::to_extend(&checkpoint, room).expect("a checkpoint is bytes and a number");
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
        let mut retry = Retrying::new(self.config.retry.give_up_after);
        while let Err(error) = self.log.commit(&run.lease, &commit).await {
            let (config, owner) = (&self.config.retry, run.lease.owner);
            let pause = retry.pause(error, config, owner, &mut self.clock, &mut self.observer);
            if let Err(error) = pause.await {
                return Err(self.diagnose(error, run).await.into());
            }
        }
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

    /// The oldest snapshot still wanted: the one that trimming will stop at, else the newest but one.
    fn keep_from(&self, run: &Run, head: Pos) -> Pos {
        let newest = run.snapshots.last().copied().unwrap_or(Pos::ZERO);
        match self.config.retention_entries {
            None => newest,
            Some(retention) => trim_point(&run.snapshots, head, retention)
                .or_else(|| run.snapshots.first().copied())
                .unwrap_or(newest),
        }
    }

    /// Drops what retention no longer covers, up to a snapshot.
    async fn trim(&mut self, run: &Run) -> Result<(), RunError> {
        let Some(retention) = self.config.retention_entries else { return Ok(()) };
        let Some(at) = trim_point(&run.snapshots, run.committed, retention) else { return Ok(()) };
        match self.log.trim(&run.lease, at).await {
            Ok(_removed) => Ok(()),
            // Nothing depends on trimming in time; the next snapshot tries again.
            Err(error) if error.advice() == Advice::Retry => {
                tracing::warn!(%error, "trimming was put off");
                Ok(())
            }
            // Nobody asks to trim above the newest snapshot unless the log has lost it since, with what
            // was acknowledged behind it.
            Err(error) if matches!(error.kind, LogErrorKind::Invalid { .. }) => {
                self.look_for_loss(run).await?;
                Err(error.into())
            }
            Err(error) => Err(self.diagnose(error, run).await.into()),
        }
    }

    /// Being fenced has two causes: somebody took over, or a failover lost our acquisition and perhaps
    /// entries with it. Only the head tells, and a loss must be reported whoever owns the log now.
    async fn diagnose(&mut self, mut error: LogError, run: &Run) -> LogError {
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

/// The newest snapshot behind which `retention` entries remain.
fn trim_point(snapshots: &[Pos], head: Pos, retention: u64) -> Option<Pos> {
    let limit = head.seq.checked_sub(retention)?;
    snapshots.iter().copied().rfind(|pos| pos.seq <= limit)
}

/// Counts attempts and pauses of one operation.
struct Retrying {
    attempt: u32,
    left: Duration,
}

impl Retrying {
    const fn new(give_up_after: Duration) -> Self {
        Self { attempt: 0, left: give_up_after }
    }

    /// Waits before the next attempt, or gives the error back when there is to be none.
    async fn pause<C: Clock, O: Observer>(
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

/// A head below the expected one means that acknowledged entries are gone; say so.
fn lost_tail(mut error: LogError) -> LogError {
    if let LogErrorKind::Conflict { expected, head } = error.kind
        && head < expected
    {
        error.kind = LogErrorKind::LostTail { expected, head };
    }
    error
}
