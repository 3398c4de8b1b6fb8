//! What is put under faults: an engine with its handlers, the inputs, and the log underneath.

use std::fmt;

use silvertine_engine::{
    bus::{Handler, Priority},
    driver::DriverConfig,
    engine::Engine,
    feed::MergedSource,
    log::{EventLog, IngressMessage},
    text::Name,
};
use thiserror::Error;

/// A subject cannot be set up: a handler cannot be built, or a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct SetupError {
    why: String,
}

impl SetupError {
    /// With the reason, in one line.
    #[must_use]
    pub fn new(why: impl fmt::Display) -> Self {
        Self { why: why.to_string() }
    }
}

/// A run that can be begun any number of times, each time from nothing.
///
/// Everything that it hands out must be the same every time: the simulator takes any difference for a broken promise.
pub trait Subject {
    /// The log underneath; the default one is empty, and its futures must be ready at once.
    type Log: EventLog + Default;

    /// A new engine. Every handler goes through `wrap`, so that it can be watched.
    ///
    /// # Errors
    /// Why there is none.
    fn engine(&self, wrap: &mut Wrap<'_>) -> Result<Engine, SetupError>;

    /// The recorded inputs, opened anew: what a process that starts would open.
    ///
    /// # Errors
    /// Why they cannot be opened.
    fn lanes(&self) -> Result<Vec<MergedSource>, SetupError>;

    /// What producers publish to the ingress, in order, one list for each. When there is any, the
    /// engine reads the ingress on the wall clock instead of recorded inputs on the virtual one.
    ///
    /// # Errors
    /// Why there are no messages.
    fn producers(&self) -> Result<Vec<Vec<IngressMessage>>, SetupError>;

    /// What the log is created with.
    fn manifest(&self) -> Vec<u8>;

    /// How the engine is driven.
    fn driver(&self) -> DriverConfig;
}

/// Takes a handler and gives back one that does the same.
pub type Wrap<'a> = dyn FnMut(Name, Priority, Box<dyn Handler>) -> Box<dyn Handler> + 'a;
