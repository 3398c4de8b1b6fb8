//! Workers: code that does I/O and takes messages off named streams, in any number of processes.
//!
//! Implement [`Handle`] (or hand [`handler`] a closure), say which stream and group, and [run](Worker::run):
//! acknowledgement, retries with backoff, dead letters, circuit breaker, reclaiming from processes that died,
//! duplicates and draining are taken care of, the same on memory, sled, redb and Redis.
//!
//! ```
//! use silvertine_streams::{GroupSpec, Message, Publication, StreamSpec, Streams, Topology};
//! use silvertine_storage::streams::MemoryStreams;
//! use silvertine_worker::{Context, Handled, Single, Typed, Worker, WorkerError, handler, now};
//!
//! # #[derive(Debug)] struct Refused;
//! # impl std::fmt::Display for Refused {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("refused") }
//! # }
//! # impl std::error::Error for Refused {}
//! # impl silvertine_streams::Classify for Refused {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let stream: silvertine_streams::StreamName = "mgmt:trading:commands".parse()?;
//! let spec = StreamSpec::new(stream.clone()).with_group(GroupSpec::new("traders".parse()?));
//! let streams = MemoryStreams::in_memory(Topology { streams: vec![spec], ..Topology::default() });
//! streams.declare(now()).await?;
//! let command = Message::json(&["start", "BTCUSDT"])?.with_key("command-1");
//! streams.publish(&[Publication::new(stream.clone(), command)], now()).await?;
//!
//! let broker = handler(async |Typed(command): Typed<Vec<String>>, cx: Context| {
//!     println!("{command:?}, known to the broker as {}", cx.key());
//!     Ok::<_, Refused>(Handled::done())
//! });
//! let worker = Worker::new(streams, stream, "traders".parse()?, "worker-1".parse()?, broker)?;
//! let stats = worker.until_idle().run().await?;
//! assert_eq!(stats.done, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

mod builtin;
mod config;
pub mod dlq;
mod handle;
pub mod notice;
mod relay;
mod run;

pub use self::{
    builtin::{Exec, ExecError, Never, Router},
    config::{ConfigError, REFERENCE_TOPOLOGY, parse_topology, read_topology, reference_topology},
    handle::{
        Batched, Context, FromMessage, Handle, HandleBatch, Handled, Single, Typed, batch_handler,
        handler, handler_with,
    },
    relay::Relay,
    run::{Worker, WorkerError, now},
};
