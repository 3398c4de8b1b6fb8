//! Workers: code that does I/O and takes messages off named streams, in any number of processes.
//!
//! Implement [`Handle`] (or hand [`handler`] a closure), say which stream and group, and [run](Worker::run). The worker
//! acknowledges, retries with backoff, keeps dead letters, opens a circuit while a service is down, takes over from
//! processes that died, recognises duplicates and drains when it is stopped: the same on memory, sled, redb and Redis.
//!
//! This crate is the one to import from: it re-exports what the author of a worker needs of the contract of named
//! streams (`silvertine-streams`) and of the engine's vocabulary.
//!
//! ```
//! use silvertine_storage::streams::MemoryStreams;
//! use silvertine_worker::{
//!     Classify, GroupSpec, Handled, Message, MessageContext, Publication, StreamName, StreamSpec, Streams, Topology,
//!     Typed, Worker, handler, now,
//! };
//!
//! # #[derive(Debug)] struct Refused;
//! # impl std::fmt::Display for Refused {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("refused") }
//! # }
//! # impl std::error::Error for Refused {}
//! impl Classify for Refused {}
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let stream: StreamName = "mgmt:trading:commands".parse()?;
//! let spec = StreamSpec::new(stream.clone()).with_group(GroupSpec::new("traders".parse()?));
//! let streams = MemoryStreams::in_memory(Topology::new(vec![spec]));
//! streams.declare(now()).await?;
//! let command = Message::json(&["start", "BTCUSDT"])?.with_key("command-1");
//! streams.publish(&[Publication::new(stream.clone(), command)], now()).await?;
//!
//! let broker = handler(async |Typed(command): Typed<Vec<String>>, cx: MessageContext| {
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

mod clock;
mod config;
pub mod dlq;
#[cfg(feature = "process")]
mod exec;
mod guard;
mod handle;
pub mod notice;
mod relay;
mod router;
mod run;
mod tend;
mod worker;

pub use silvertine_engine::{codec::Codec, pos::Pos, span::Span, stop::StopFlag, time::Nanos};
pub use silvertine_streams::{
    Alerts, Applied, CircuitSpec, Class, Classify, Condition, ConsumerName, DeadLetter, DeadState,
    GroupName, GroupSpec, GroupStats, HandlerFailure, MemberStats, Message, MessageError,
    MessageId, NameError, Naming, Publication, Reason, RetryPolicy, RetryVariableError, Route,
    RouteError, Rule, Start, Status, StoreError, StoreErrorKind, Story, StreamName, StreamSpec,
    StreamStats, Streams, Topology, TopologyError, Trim, WhenFull, message,
};

#[cfg(feature = "process")]
pub use self::exec::{Exec, ExecError};
pub use self::{
    clock::now,
    config::{ConfigError, REFERENCE_TOPOLOGY, parse_topology, read_topology, reference_topology},
    handle::{
        Batched, FromMessage, Handle, HandleBatch, Handled, MessageContext, Single, Typed,
        batch_handler, handler, handler_with,
    },
    relay::{Relay, RelayError},
    router::{Never, Router},
    worker::{Worker, WorkerError},
};
