//! The log plane under faults: one engine, its driver, its log and its inputs.
//!
//! A [`plan`] says which [`fault`]s strike a [`subject`] and when. [`simulate`](simulate::simulate) runs the driver of every
//! live run in a world of its own, in which one server and several processes talk through operations that can be
//! lost, delayed and repeated. [`oracle`]s watch every step. A run that breaks a promise is shrunk
//! ([`shrink`](crate::kernel::shrink)) to the smallest plan that still breaks it.
//!
//! What happens to a request is the kernel's ([`network`](crate::kernel::network)); this module adds the operations of
//! an event log, the driver's processes, what can be lost or damaged on a server, and what must hold.

pub mod counterexample;
pub mod coverage;
mod draw;
pub mod exhaust;
pub mod fault;
mod op;
pub mod oracle;
pub mod plan;
pub mod probe;
pub mod report;
mod shrink;
pub mod simulate;
pub mod subject;
pub mod trace;
pub mod twin;
pub mod workload;
mod world;
