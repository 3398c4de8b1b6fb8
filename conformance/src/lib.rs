//! The laws of Silvertine's contracts as suites of tests, for logs and stores of one's own.
//!
//! - [`log`]: the laws L1 to L6, L8 and L9 of an [`EventLog`](silvertine_engine::log::EventLog).
//! - [`streams`]: the law L7 of [`Streams`](silvertine_streams::Streams), sentence by sentence.
//!
//! An author implements a small fixture and calls a macro, which makes one test of each law, so that a red run names
//! the law. Without tests, `check` returns what it found. Nothing here knows any store; whoever keeps these
//! laws can take part in everything that the engine and the workers promise.
//!
//! A law ends by unwinding where it is broken: the suites need `panic = "unwind"`, which tests have.

mod breach;
mod forward;
mod journal;
pub mod log;
mod random;
mod report;
mod runtime;
pub mod streams;

#[doc(hidden)]
pub use silvertine_engine as engine;

pub use report::{BrokenLaw, Checked};
