//! The deterministic core of Silvertine: an engine is a deterministic function over a log.
//!
//! Inputs go from a feed through the driver into the engine's step; the step hands each event to handlers, which emit further
//! events; the driver commits the entries to a log. Executing a log again gives the same bytes.
//!
//! The crate knows no storage, no async runtime, no real clock, no file and no socket: callers pass them in.
//!
//! # Modules by task
//! To write a handler:
//! - [`bus`]: the [`Handler`](bus::Handler) trait, its [`Context`](bus::Context), and what follows a failure;
//! - [`event`]: the five kinds of events; [`numbers`]: exact prices, quantities and money; [`text`] and [`time`]: names, symbols,
//!   points in time; [`params`] and [`rng`]: refusing parameters, reproducible random numbers.
//!
//! To bring inputs in:
//! - [`source`]: recorded or generated rows; [`feed`]: sources merged, queues from other threads, the partition's ingress.
//!
//! To run an engine:
//! - [`engine`]: the step, by hand; [`driver`]: from a feed into a log, with recovery; [`clock`] and [`executor`]: virtual time,
//!   futures without a runtime; [`stop`]: a request to stop; [`circuit`]: when a failing handler is skipped.
//!
//! To operate one:
//! - [`halt`] and [`park`]: what a failure stops or holds back, and how it continues; [`recovery`]: replay and dead letters.
//!
//! To write a log, or to read one:
//! - [`log`]: the [`EventLog`](log::EventLog) trait and its laws; [`pos`] and [`digest`]: the order and the identity of entries;
//!   [`codec`]: their bytes; [`span`]: lengths of time in files and on command lines.

pub mod bus;
mod bytes;
pub mod circuit;
pub mod clock;
pub mod codec;
mod counts;
mod dedup;
pub mod digest;
pub mod driver;
pub mod engine;
pub mod event;
pub mod executor;
mod failure;
pub mod feed;
pub mod halt;
pub mod log;
pub mod numbers;
mod ordinal;
pub mod params;
pub mod park;
pub mod pos;
pub mod recovery;
pub mod rng;
pub mod source;
pub mod span;
pub mod stop;
pub mod text;
pub mod time;
mod timers;

pub use self::{counts::Counts, dedup::DedupConfig};
