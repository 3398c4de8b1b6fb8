//! The deterministic core of Silvertine.
//!
//! An engine is a deterministic function over a log. This crate holds the events, the [`log::EventLog`]
//! trait with its laws, the synchronous step that hands events to handlers, and the driver that
//! moves inputs through the step into a log and recovers from one.
//!
//! It knows no storage, no runtime, no clock, no file and no socket: those are handed in.

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
