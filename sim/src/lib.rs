//! What Silvertine simulates: virtual time, markets and venues; and whole runs under faults.
//!
//! Everything runs on one thread, draws from seeds and reads no clock.
//!
//! The way of a run under faults: a [`plan`] says which [`fault`]s strike a [`subject`] and when;
//! [`simulate`](simulate::simulate) runs the driver of every live run in a world of its own, in which one
//! server and several processes talk through operations that can be lost, delayed and repeated; [`oracle`]s
//! watch every step; a run that breaks a promise is [shrunk](shrink) to the least that still breaks it.

pub mod coverage;
pub mod exhaust;
pub mod fault;
pub mod kernel;
pub mod oracle;
pub mod plan;
pub mod probe;
pub mod report;
pub mod shrink;
pub mod simulate;
pub mod subject;
pub mod trace;
pub mod twin;
pub mod workers;
pub mod workload;
mod world;
