//! What must hold of the log and of the state that a run leaves.

use std::time::Duration;

use silvertine_engine::{
    driver::{DriverConfig, Outcome},
    engine::Engine,
    executor::block_on,
    log::{EventLog, LogError, LogErrorKind, RangeQuery},
    pos::Pos,
};

use crate::log::{
    oracle::{
        Promise, Violation,
        execution::{Executed, Execution},
        same, same_bytes,
    },
    subject::Subject,
    twin::Reference,
    world::Shared,
};

/// A run that has come to its end, and the owner that finished it.
pub(super) struct End<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) reference: &'a Reference,
    pub(super) world: &'a Shared<S::Log>,
    pub(super) config: &'a DriverConfig,
    pub(super) outcome: &'a Outcome,
    pub(super) engine: &'a Engine,
}

impl<S: Subject> End<'_, S> {
    /// What must hold of the log and of the state that are left.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let Self { outcome, engine, .. } = self;
        let twin = self.reference.twin.as_ref();
        let world = self.world.lock();
        let witness = &world.server.witness;
        same(
            Promise::Durability,
            "the log ends where it was told to",
            &witness.head.pos,
            &outcome.head,
        )?;
        same(Promise::Replay, "the run's digest is the log's", &witness.digest(), &outcome.digest)?;
        let log = world.server.log().clone();
        let snapshots = witness.snapshot_count();
        // Where something is trimmed, only a snapshot is a place to begin.
        let begin = match witness.head.trimmed {
            Pos::ZERO => Pos::ZERO,
            trimmed => witness.oldest_snapshot().unwrap_or(trimmed),
        };
        let accepted = witness.messages_accepted();
        let trimmed = witness.head.trimmed;
        drop(world);
        check_floor(&log, trimmed)?;
        let state = save(engine)?;
        if let Some(twin) = twin {
            same(Promise::Transparency, "the log is the twin's", &twin.digest, &outcome.digest)?;
        }
        let sights = match twin {
            // What holds of the twin's log holds of this one. Left is whether the rest of it goes with its oldest snapshot.
            Some(twin) => {
                if begin > Pos::ZERO {
                    self.execute_again(&log, begin, &state)?;
                }
                twin.judged.clone()?
            }
            None => {
                let executed = self.execute_again(&log, begin, &state)?;
                let sights = executed.judge(&outcome.counts)?;
                if let Some(messages) = executed.messages() {
                    self.account_for(messages + outcome.duplicates, accepted)?;
                }
                sights
            }
        };
        let mut world = self.world.lock();
        sights.into_iter().for_each(|sight| world.coverage.see(sight));
        drop(world);
        if let Some(twin) = twin {
            same(
                Promise::Transparency,
                "the totals are the twin's",
                &twin.counts,
                &outcome.counts,
            )?;
            same(
                Promise::Transparency,
                "the figures are the twin's",
                &twin.figures,
                &engine.figures(),
            )?;
            same_bytes(Promise::Transparency, "the state is the twin's", &twin.state, &state)?;
            let what = "duplicates are counted";
            same(Promise::Truth, what, &twin.duplicates, &outcome.duplicates)?;
        }
        self.check_bounds(snapshots)
    }

    /// Executes the log again from the oldest snapshot and compares the state.
    fn execute_again(&self, log: &S::Log, begin: Pos, state: &[u8]) -> Result<Executed, Violation> {
        let unreadable = |error: LogError| {
            let what = "the log is executed again";
            Violation::new(Promise::Replay, what, "the log, entry for entry", error)
        };
        let head = block_on(log.head()).map_err(unreadable)?.unwrap_or_default();
        let snapshot = match begin {
            Pos::ZERO => None,
            begin => block_on(log.snapshot(begin)).map_err(unreadable)?,
        };
        let mut execution = Execution::begin(self.subject, &head, snapshot.as_deref())?;
        while let Some(query) = execution.wanted() {
            execution.absorb(&block_on(log.range(query)).map_err(unreadable)?)?;
        }
        execution.finish(state)
    }

    /// Whether every message that was accepted is an entry or a duplicate.
    fn account_for(&self, accounted: u64, accepted: u64) -> Result<(), Violation> {
        if self.world.lock().server.lost_writes && accounted > accepted {
            // The engine had read a message that the server then lost; it is handled once.
            return Ok(());
        }
        let what = "every message accepted is an entry or a duplicate";
        same(Promise::Ledger, what, &accepted, &accounted)
    }

    fn check_bounds(&self, snapshots: usize) -> Result<(), Violation> {
        // Where they are taken by time too, any entry may be followed by one.
        let by_time = self.config.snapshot_interval != Duration::MAX;
        let every = if by_time { 1 } else { self.config.snapshot_entries.max(1) };
        // An owner that ends takes one more than are due.
        let ended = self.world.lock().processes.len() as u64;
        let limit = match self.config.retention_entries {
            None => 2,
            Some(retention) => retention / every + 3 + ended,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if snapshots <= limit {
            return Ok(());
        }
        let limit = format!("at most {limit}");
        Err(Violation::new(Promise::Bounds, "snapshots are kept", limit, snapshots))
    }
}

/// A reader that misses a single trimmed entry must be told. Owners hardly ever begin to read there, so it is tried here.
fn check_floor<L: EventLog>(log: &L, trimmed: Pos) -> Result<(), Violation> {
    if trimmed == Pos::ZERO {
        return Ok(());
    }
    let after = Pos { seq: trimmed.seq - 1, ..trimmed };
    let read = block_on(log.range(RangeQuery { limit: 1, ..RangeQuery::all_after(after) }));
    match read.map_err(|error| error.kind) {
        Err(LogErrorKind::Trimmed { through }) if through == trimmed => Ok(()),
        told => {
            let what = format!("a reader behind {after} is told that an entry is missing");
            let expected = format!("trimmed through {trimmed}");
            Err(Violation::new(Promise::Trimming, what, expected, format!("{told:?}")))
        }
    }
}

fn save(engine: &Engine) -> Result<Vec<u8>, Violation> {
    engine
        .save()
        .map_err(|error| Violation::new(Promise::Replay, "the state is saved", "bytes", error))
}
