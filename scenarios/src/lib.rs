//! Scenarios for Silvertine: the file that describes a run, the sources and handlers it can name, and the
//! runner that executes it on any log.

pub mod check;

pub mod manifest;
pub mod registry;
pub mod runner;
pub mod scenario;
mod shipped;
pub mod sources;
pub mod under_faults;

/// A scenario of handlers that do a bit of everything: what runs under faults when no scenario is named.
pub const PROBES: &str = include_str!("../probes.toml");
