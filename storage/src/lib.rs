//! Logs for Silvertine: memory, redb, sled and Redis Streams behind one [`EventLog`](silvertine_engine::log::EventLog)
//! trait; and named streams for workers behind [`Streams`](silvertine_streams::Streams).
//!
//! Every adapter does one thing: it maps an operation to its store and the answer to a classified
//! result. It never retries and never decides; the engine's driver does.

mod address;
mod any;
#[cfg(any(feature = "sled", feature = "redb"))]
mod disk;
pub mod memory;
#[cfg(any(feature = "sled", feature = "redb"))]
mod records;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sled")]
pub mod sled;
pub mod streams;

#[cfg(any(feature = "sled", feature = "redb"))]
pub use self::records::{EmbeddedStore, check_record};
pub use self::{
    address::{LogAddress, LogAddressError},
    any::AnyLog,
};
