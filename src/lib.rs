//! Silvertine: the event-driven core of a trading platform.
//!
//! Write a handler once. Run it offline over a recorded market and live on Redis Streams: the same
//! events in, the same bytes out, and one digest that proves it.

#[cfg(feature = "cli")]
pub use silvertine_cli as cli;
pub use silvertine_engine as engine;
pub use silvertine_runtime as runtime;
pub use silvertine_runtime::Run;
pub use silvertine_scenarios as scenarios;
pub use silvertine_scenarios::registry::Registry;
use silvertine_scenarios::scenario::Scenario;
pub use silvertine_sim as sim;
pub use silvertine_storage as storage;
pub use silvertine_streams as streams;
pub use silvertine_trading as trading;
pub use silvertine_worker as worker;

/// A run of `scenario`; see [`Run`].
pub fn run(scenario: Scenario) -> Run {
    Run::of(scenario)
}
