//! Runs a scenario on any log and either clock.
//!
//! [`Run`] is the short way: a scenario, a log by its address, a backtest or a live run. [`faults`] puts handlers under
//! drawn faults in a test. [`LiveClock`] is the one place that reads a real clock on behalf of an engine, and
//! [`unique_owner`] the one that makes owner ids.

mod clock;
pub mod faults;
mod owner;
mod run;

pub use self::{
    clock::{LiveClock, ParseSpeedError, Speed},
    owner::unique_owner,
    run::{LaunchError, Run},
};
