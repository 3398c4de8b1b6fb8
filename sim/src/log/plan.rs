//! Plans: everything that decides a run under faults.
//!
//! A plan is plain data. It says what the inputs look like, how the engine and the driver are set up, and
//! which faults strike when. It can be written down, changed, shrunk and run again after the way in which plans
//! are drawn has changed.

use std::ops::Range;

use silvertine_engine::{
    bus::FailurePolicy,
    numbers::Price,
    text::{Name, Symbol},
};
use thiserror::Error;

use super::{fault::Fault, workload::Workload};

/// So many seeds in a row run over the same inputs with the same settings of the engine: what a fault-free run of them
/// gives is worked out once.
pub const SEEDS_OF_FAMILY: u64 = 4;

/// What plans are drawn for.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The instruments that the handlers know, and about what they cost.
    pub symbols: Vec<(Symbol, Price)>,
    /// Whether the handlers are handed trades, and bars.
    pub trades: bool,
    /// See [`Shape::trades`].
    pub bars: bool,
    /// The handlers' names, for whom operators may release what is parked.
    pub handlers: Vec<Name>,
    /// Rows of a plan: from, to.
    pub events: (u64, u64),
}

/// A run under faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed that it was drawn from; also the root of latencies and coin tosses.
    pub seed: u64,
    /// The inputs, in merge order.
    pub workloads: Vec<(Name, Workload)>,
    /// How the driver and the engine are set up.
    pub knobs: Knobs,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Handlers that are left out; only shrinking leaves any out.
    pub without_handlers: Vec<String>,
}

/// Settings that change how a run goes but, except for those of the engine, not what it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Entries in a commit.
    pub batch_entries: usize,
    /// Entries between snapshots.
    pub snapshot_entries: u64,
    /// Entries kept; `None` for all.
    pub retention_entries: Option<u64>,
    /// How long a log that does not answer is waited for, in seconds.
    pub give_up_after_s: u64,
    /// How the engine is set up.
    pub engine: EngineKnobs,
}

/// Settings of the engine, which change what a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineKnobs {
    /// Root of what handlers draw.
    pub seed: u64,
    /// Engine time for which ids are remembered, in milliseconds.
    pub dedup_window_ms: u64,
    /// Ids remembered.
    pub dedup_capacity: usize,
    /// Failures in a row that open a circuit.
    pub circuit_failures: u32,
    /// Engine time until a handler behind an open circuit is tried again, in milliseconds.
    pub circuit_reset_ms: u64,
    /// What follows failures, where it is not left to the scenario.
    pub on_failure: Option<FailurePolicy>,
    /// The most events that are parked.
    pub park_capacity: usize,
}

/// The last seed: a plan that breaks a promise is written as TOML, which knows no greater number.
pub const LAST_SEED: u64 = i64::MAX as u64;

/// Seeds that lead past [`LAST_SEED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{count} seeds from {from} on lead past the last one, {LAST_SEED}")]
pub struct SeedsError {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub count: u64,
}

/// The seeds from `from` on, so many of them.
///
/// # Errors
/// They lead past [`LAST_SEED`].
pub fn seeds_from(from: u64, count: u64) -> Result<Range<u64>, SeedsError> {
    let end = from.checked_add(count).filter(|&end| end <= LAST_SEED + 1);
    let end = end.ok_or(SeedsError { from, count })?;
    Ok(from..end)
}

impl Plan {
    /// Whether a fault-free run of both is the same: they differ in what goes wrong, and in how the log is written.
    #[must_use]
    pub fn is_of_one_family(&self, other: &Self) -> bool {
        self.knobs.engine == other.knobs.engine
            && self.without_handlers == other.without_handlers
            && self.workloads == other.workloads
    }

    /// Rows of all inputs.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.workloads.iter().map(|(_, workload)| workload.events).sum()
    }
}
