//! The driver: moves inputs from a feed through the engine into a log, and recovers from one.
//!
//! One driver serves every log and both clocks. All knowledge of retries, fencing, unknown outcomes and recovery is here; a
//! log only maps an operation to its store and classifies the answer. The driver is `async` so that live code can await
//! I/O; it spawns no task and knows no runtime, so any executor can run it.

mod commit;
mod config;
mod patience;
mod recover;
mod report;

use std::time::Duration;

pub use self::{
    config::{DriverConfig, RetryConfig, RunRequest},
    report::{End, Observer, Outcome, Progress, RunError},
};
use crate::{
    clock::Clock,
    engine::{Engine, Stepped},
    feed::{Feed, FeedError, Polled},
    log::{Acquired, Advice, Batch, EventLog, Lease, LogError},
    park::{ParkedKey, Release},
    pos::Pos,
    stop::StopFlag,
    time::Nanos,
};

/// The longest single wait, so that a stop request is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// An engine between a feed and a log.
///
/// A source runs through an engine into a log in memory, and a second process recovers from it:
/// ```
/// use silvertine_engine::{
///     clock::VirtualClock,
///     driver::{Driver, DriverConfig, End, RunRequest},
///     engine::{Engine, EngineConfig},
///     event::{Side, Trade},
///     executor::block_on,
///     feed::{Merge, MergedSource, OnBadRow},
///     log::OwnerId,
///     numbers::{Price, Qty},
///     source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
///     stop::StopFlag,
///     text::{Name, Symbol},
///     time::Nanos,
/// };
/// use silvertine_storage::memory::MemoryLog;
///
/// /// A hundred trades, a second apart.
/// struct Trades {
///     name: Name,
///     symbol: Symbol,
///     seq: u64,
/// }
///
/// impl Source for Trades {
///     fn name(&self) -> Name {
///         self.name
///     }
///     fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
///         if self.seq == 100 {
///             return Ok(None);
///         }
///         self.seq += 1;
///         let time = Nanos(self.seq * 1_000_000_000);
///         let trade = Trade {
///             symbol: self.symbol,
///             trade_id: self.seq,
///             price: Price::from_units(1_000_000_000),
///             qty: Qty::from_units(1_000_000_000),
///             aggressor: Side::Buy,
///         };
///         Ok(Some(Row::Event(Input {
///             source: self.name,
///             source_seq: self.seq,
///             id: None,
///             event_time: time,
///             recv_time: time,
///             body: trade.into(),
///         })))
///     }
///     fn last_row(&self) -> RowOrigin<'_> {
///         RowOrigin { line: self.seq, bytes: b"" }
///     }
///     fn cursor(&self) -> SourceCursor {
///         SourceCursor { seq: self.seq, ..SourceCursor::default() }
///     }
///     fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
///         self.seq = cursor.seq;
///         Ok(())
///     }
/// }
///
/// let log = MemoryLog::new();
/// let driver = || -> Result<_, Box<dyn std::error::Error>> {
///     let source = Trades { name: Name::new("market")?, symbol: Symbol::new("BTCUSDT")?, seq: 0 };
///     let source = MergedSource::new(Box::new(source), "market", OnBadRow::Stop);
///     Ok(Driver {
///         log: log.clone(),
///         feed: Merge::new(vec![source]),
///         clock: VirtualClock::default(),
///         observer: (),
///         engine: Engine::builder(EngineConfig::default()).build()?,
///         config: DriverConfig::default(),
///     })
/// };
/// let never = StopFlag::default();
///
/// let mut request = RunRequest::new(OwnerId(1), "trades");
/// let outcome = block_on(driver()?.run(&request, &never))?;
/// assert_eq!((outcome.end, outcome.counts.inputs), (End::Finished, 100));
///
/// request.owner = OwnerId(2);
/// request.resume = true;
/// let resumed = block_on(driver()?.run(&request, &never))?;
/// assert_eq!((resumed.inputs_here, resumed.digest), (0, outcome.digest));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<L, F, C, O> {
    /// The log.
    pub log: L,
    /// The inputs.
    pub feed: F,
    /// The clock.
    pub clock: C,
    /// Watches the run.
    pub observer: O,
    /// The engine.
    pub engine: Engine,
    /// How to commit, snapshot, trim and retry.
    pub config: DriverConfig,
}

/// The state of a run.
struct Run {
    lease: Lease,
    /// The committed head.
    committed: Pos,
    batch: Batch,
    duplicates: u64,
    /// The duplicates that the committed checkpoint covers.
    committed_duplicates: u64,
    inputs_here: u64,
    /// Kept snapshots, oldest first.
    snapshots: Vec<Pos>,
    last_snapshot: (u64, Nanos),
}

impl Run {
    /// Entries and duplicates to commit. Duplicates leave no entry, but the checkpoint must advance past them; otherwise an
    /// ingress that holds only duplicates would be kept and read again for ever.
    fn uncommitted(&self) -> usize {
        self.batch.len() + (self.duplicates - self.committed_duplicates) as usize
    }
}

impl<L: EventLog, F: Feed, C: Clock, O: Observer> Driver<L, F, C, O> {
    /// Acquires the partition, recovers, and runs until the feed ends or a stop is requested.
    ///
    /// # Errors
    /// [`RunError`]. Everything acknowledged stays in the log, and a later run can continue from there.
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
            // A fenced owner must stop at once.
            Err(RunError::Feed(FeedError::Log(error))) => error.advice() == Advice::Retry,
            // Also when the inputs failed: what was handled before is complete.
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

    /// Takes inputs and commits until there are none left or a stop is requested.
    async fn pump(&mut self, run: &mut Run, stop: &StopFlag) -> Result<End, RunError> {
        loop {
            if let Some(halt) = self.engine.halted() {
                return Err(RunError::Halted(Box::new(halt.clone())));
            }
            if stop.is_requested() {
                return Ok(End::Stopped);
            }
            // With uncommitted entries the driver does not wait: that would only delay their commit.
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

    #[inline]
    fn handle_next(&mut self, run: &mut Run, recv_time: Nanos) {
        self.observer.taken();
        let at = self.clock.stamp(recv_time);
        self.engine.advance(at, &mut run.batch);
        if self.engine.halted().is_some() {
            // The input stays in the feed: the run that continues after the halt handles it.
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
                unreachable!("no input is taken from the feed while the engine is halted")
            }
        }
    }
}
