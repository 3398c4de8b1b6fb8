//! Silvertine: the event-driven core of a trading platform.
//!
//! Write a handler once. Run it offline over a recorded market and live on Redis Streams: the same
//! events in, the same bytes out, and one digest that proves it.
//!
//! This crate gathers the parts: [`engine`] (events, handlers, the log and its laws, the driver),
//! [`storage`] (memory, redb, sled, Redis), [`sim`] (virtual time, markets, venues) and [`scenarios`] (files that
//! describe a run, sources, standard handlers). [`backtest`] runs a scenario in memory with one call.

pub use silvertine_engine as engine;
pub use silvertine_scenarios as scenarios;
pub use silvertine_sim as sim;
pub use silvertine_storage as storage;

use silvertine_engine::driver::StopFlag;
use silvertine_scenarios::{
    runner::{Report, Runner, RunnerError},
    scenario::Scenario,
};
use silvertine_sim::{clock::VirtualClock, executor::block_on};
use silvertine_storage::memory::MemoryLog;

/// Runs a scenario in memory, as fast as it goes, with the handlers that `runner` knows.
///
/// # Errors
/// [`RunnerError`] says what is wrong with the scenario, its inputs or the run.
pub fn backtest(runner: &Runner, scenario: &Scenario) -> Result<Report, RunnerError> {
    let (log, clock) = (MemoryLog::new(), VirtualClock::default());
    let never = StopFlag::default();
    let run = runner.run(scenario, log, clock, (), &never);
    block_on(run).map(|(report, ())| report)
}
