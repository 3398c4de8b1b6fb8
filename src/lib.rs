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
pub use silvertine_storage as storage;
pub use silvertine_streams as streams;
pub use silvertine_trading as trading;
pub use silvertine_worker as worker;

use silvertine_engine::driver::StopFlag;
use silvertine_engine::{clock::VirtualClock, executor::block_on};
use silvertine_scenarios::{
    runner::{Report, Runner, RunnerError},
    scenario::Scenario,
};
use silvertine_storage::memory::MemoryLog;

/// What is simulated: virtual time, markets, venues, and whole runs under faults.
///
/// A test of one's own handlers takes three lines:
/// ```
/// # use silvertine::{engine::bus::Priority, sim::{self, log::probe::{Probe, ProbeParams}}};
/// # fn my_handler() -> Probe { Probe::new(ProbeParams::default()).unwrap() }
/// sim::check_handler("my-handler", Priority::Normal, my_handler).unwrap().seeds(20).assert();
/// ```
pub mod sim {
    use silvertine_engine::bus::{Handler, Priority};
    use silvertine_scenarios::{
        check::Check, registry::Registry, scenario::Scenario, under_faults::UnderFaults,
    };
    use silvertine_sim::log::subject::SetupError;
    use silvertine_sim::workers::{Plan, Report, simulate};
    pub use silvertine_sim::*;
    use silvertine_storage::{memory::MemoryLog, streams::MemoryStreams};

    /// A check of a scenario's handlers: its inputs give the instruments, its handlers run as they are,
    /// everything else is drawn.
    ///
    /// # Errors
    /// A handler cannot be built, or a source cannot be read.
    pub fn check(scenario: Scenario, registry: Registry) -> Result<Check<MemoryLog>, SetupError> {
        Ok(Check::new(UnderFaults::new(scenario, registry, None)?))
    }

    /// Runs a plan of the worker plane on streams in memory.
    #[must_use]
    pub fn simulate_workers(plan: &Plan) -> Report {
        let store = MemoryStreams::in_memory(plan.topology.clone());
        simulate(plan, store, &|store, id| {
            store.delete(id).expect("memory can be written");
        })
    }

    /// A check of one handler, which `build` makes anew for each process that starts.
    ///
    /// # Errors
    /// `name` is no name.
    pub fn check_handler<H: Handler + 'static>(
        name: &str,
        priority: Priority,
        build: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Check<MemoryLog>, SetupError> {
        Ok(Check::new(UnderFaults::of_handler(name, priority, build)?))
    }
}

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
