//! Scenarios for Silvertine: the file that describes a run, the sources and handlers it can name, and the
//! runner that executes it on any log.

pub mod check;

pub mod manifest;
pub mod registry;
pub mod runner;
pub mod scenario;
pub mod sources;
pub mod under_faults;
