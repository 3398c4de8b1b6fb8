//! Logs for Silvertine: memory, sled and Redis Streams behind one [`EventLog`](silvertine_engine::log::EventLog)
//! trait.
//!
//! Every adapter does one thing: it maps an operation to its store and the answer to a classified
//! result. It never retries and never decides; the engine's driver does.

mod any;
#[cfg(feature = "sled")]
mod disk;
pub mod memory;
#[cfg(feature = "sled")]
mod records;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sled")]
pub mod sled;

pub use self::any::{AnyLog, LogAddress, LogAddressError};
