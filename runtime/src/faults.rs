//! Handlers under drawn faults, in a test: the driver and the recovery of every live run, on logs in memory, in virtual
//! time.
//!
//! ```
//! # use silvertine_engine::bus::Priority;
//! # use silvertine_runtime::faults::check_handler;
//! # use silvertine_sim::log::probe::{Probe, ProbeParams};
//! # fn my_handler() -> Probe { Probe::new(ProbeParams::default()).unwrap() }
//! check_handler("my-handler", Priority::Normal, my_handler).unwrap().seeds(20).assert();
//! ```

use silvertine_engine::bus::{Handler, Priority};
pub use silvertine_scenarios::check::{CheckError, Checked};
use silvertine_scenarios::{
    check::Check, registry::Registry, scenario::Scenario, under_faults::UnderFaults,
};
use silvertine_sim::streams::{Plan, Report, Subject, simulate};
use silvertine_storage::{memory::MemoryLog, streams::MemoryStreams};

/// A check of a scenario's handlers: its inputs give the instruments, its handlers run as they are,
/// everything else is drawn.
///
/// # Errors
/// One line: a handler cannot be built, or a source cannot be read.
pub fn check(scenario: Scenario, registry: Registry) -> Result<Check<MemoryLog>, CheckError> {
    let subject = UnderFaults::new(scenario, registry, None).map_err(CheckError::Setup)?;
    Ok(Check::new(subject))
}

/// A check of one handler, which `build` makes anew for each process that starts.
///
/// # Errors
/// `name` is no name.
pub fn check_handler<H: Handler + 'static>(
    name: &str,
    priority: Priority,
    build: impl Fn() -> H + Send + Sync + 'static,
) -> Result<Check<MemoryLog>, CheckError> {
    let subject = UnderFaults::of_handler(name, priority, build).map_err(CheckError::Setup)?;
    Ok(Check::new(subject))
}

/// Runs a plan of the worker plane on streams in memory.
///
/// # Panics
/// When the plan does not [check out](Plan::check), as those that are drawn do.
#[must_use]
pub fn simulate_workers(plan: &Plan) -> Report {
    simulate(plan, worker_subject())
}

/// What plans of the worker plane run on: streams in memory.
#[must_use]
pub fn worker_subject() -> Subject<'static, MemoryStreams> {
    Subject {
        open: &|plan| MemoryStreams::in_memory(plan.topology.clone()),
        delete: &|store, id| {
            store.delete(id).expect("memory can be written");
        },
    }
}
