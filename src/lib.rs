//! The event-driven core of a trading platform: write a handler once, run it over a recorded market, put it under
//! faults in a test, and run it live on Redis Streams. The same events in give the same bytes out, and one digest proves
//! it.
//!
//! # A handler
//! A handler is synchronous. It sees an event and a [`Context`](engine::bus::Context): engine time, seeded randomness,
//! timers, and `emit`. It says which topics it wants, and saves and loads its state.
//!
//! ```
//! use silvertine::prelude::*;
//!
//! /// Goes long when a trade prints above the highest one so far.
//! struct Breakout {
//!     symbol: Symbol,
//!     highest: Price,
//! }
//!
//! impl Handler for Breakout {
//!     fn topics(&self) -> TopicSet {
//!         TopicSet::of(&[Topic::MarketData])
//!     }
//!     fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
//!         let Body::MarketData(MarketData::Trade(trade)) = &event.body else { return Ok(()) };
//!         if trade.symbol == self.symbol && trade.price > self.highest {
//!             self.highest = trade.price;
//!             ctx.emit(Signal { symbol: self.symbol, strategy: ctx.handler(), strength: Ratio::ONE });
//!         }
//!         Ok(())
//!     }
//!     fn save(&self) -> Result<Vec<u8>, HandlerError> {
//!         encode_state(&self.highest)
//!     }
//!     fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
//!         self.highest = decode_state(state)?;
//!         Ok(())
//!     }
//! }
//!
//! // The name that scenarios call it by, when it is called, and how it is built from its parameters.
//! fn registry() -> Registry {
//!     let build = |symbol: Params| Ok(Breakout { symbol: symbol.symbol, highest: Price::ZERO });
//!     Registry::standard().handler("breakout", Priority::Normal, build)
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Params {
//!     symbol: Symbol,
//! }
//!
//! // A scenario says where events come from and who handles them; it is one TOML file.
//! const SCENARIO: &str = r#"
//!     name = "first"
//!     source = [{ kind = "generator", name = "market", symbols = ["DEMO"], events = 1000, trades_per_mille = 500 }]
//!     handler = [{ kind = "breakout", params = { symbol = "DEMO" } }]
//! "#;
//!
//! // A backtest, in memory.
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scenario = Scenario::parse(SCENARIO, "first.toml", ".".into())?;
//! let report = silvertine::run(scenario.clone()).with(registry()).backtest()?;
//! assert!(report.outcome.counts.signals > 0);
//!
//! // The same in a file that survives a crash: the same digest.
//! # let folder = tempfile::tempdir()?;
//! # let address = format!("redb:{}", folder.path().join("log").display());
//! # #[cfg(feature = "redb")] {
//! let again = silvertine::run(scenario).with(registry()).on(&address).backtest()?;
//! assert_eq!(again.outcome.digest, report.outcome.digest);
//! # }
//!
//! // Under faults, as a test: lost replies, crashes at any operation, failovers, second owners.
//! let new = || Breakout { symbol: Symbol::new("A").unwrap(), highest: Price::ZERO };
//! check_handler("breakout", Priority::Normal, new)?.seeds(50).assert();
//! # Ok(())
//! # }
//! ```
//!
//! # Live, on Redis
//! ```no_run
//! # use silvertine::prelude::*;
//! # fn registry() -> Registry { Registry::standard() }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scenario = Scenario::read("live.toml".as_ref())?;
//! silvertine::run(scenario).with(registry()).on("redis://127.0.0.1:6379").resume().live()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A program of one's own
//! One line gives a binary every command (`run`, `verify`, `diff`, `sim`, …) with its own handlers and sources:
//! ```no_run
//! # #[cfg(feature = "cli")]
//! fn main() -> std::process::ExitCode {
//!     silvertine::cli::main(silvertine::Registry::standard())
//! }
//! # #[cfg(not(feature = "cli"))]
//! # fn main() {}
//! ```
//!
//! # Where to find what
//! | to do | look at |
//! |---|---|
//! | write a handler | [`engine::bus::Handler`], [`engine::event`], [`engine::numbers`] |
//! | run a scenario | [`Run`], [`scenarios::scenario::Scenario`], [`Registry`] |
//! | bring data of one's own | [`engine::source::Source`], [`scenarios::sources`] |
//! | test recovery | [`runtime::faults`], [`sim`] |
//! | do I/O: gateways, notifications, sinks | [`worker`], [`streams`] |
//! | choose or write a log | [`storage`], [`engine::log::EventLog`], [`engine::driver`] |
//! | trade: venue, risk, portfolio | [`trading`] |
//!
//! # Features
//! | feature | default | what it brings |
//! |---|---|---|
//! | `cli` | yes | the program `silvertine` and [`cli::main`]; clap, indicatif, hdrhistogram, tracing-subscriber, signal-hook |
//! | `redb`, `sled` | yes | logs and named streams on disk |
//! | `redis` | yes | logs and named streams on Redis 7.0 or newer |
//! | `process` | with `cli` | [`worker::Exec`], which runs a program of any language for each message |
//! | `proptest` | no | strategies for property tests over the simulator's inputs |
//!
//! Without any, the log in memory is there, and everything that runs on it.

pub mod prelude;

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

/// A run of `scenario`, in memory and with the kinds that ship until told otherwise; see [`Run`].
pub fn run(scenario: Scenario) -> Run {
    Run::of(scenario)
}

/// The README's Rust blocks, compiled and run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
