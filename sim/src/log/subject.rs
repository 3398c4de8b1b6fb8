//! What is put under faults: an engine with its handlers, the inputs, and the log underneath.

use silvertine_engine::{
    bus::{Handler, Priority},
    driver::DriverConfig,
    engine::Engine,
    feed::MergedSource,
    log::{EventLog, Message},
    text::Name,
};

/// A run that can be begun any number of times, each time from nothing.
///
/// Everything it hands out must be the same every time; what differs is what the simulator looks for.
pub trait Subject {
    /// The log underneath; the default one is empty, and its futures must be ready at once.
    type Log: EventLog + Default;

    /// A new engine. Every handler goes through `wrap`, so that it can be watched.
    ///
    /// # Errors
    /// One line: why there is none.
    fn engine(&self, wrap: &mut Wrap<'_>) -> Result<Engine, String>;

    /// The recorded inputs, opened anew: what a process that starts would open.
    ///
    /// # Errors
    /// One line: why they cannot be opened.
    fn lanes(&self) -> Result<Vec<MergedSource>, String>;

    /// What producers publish to the ingress, in order, one list for each. When there is any, the
    /// engine reads the ingress on the wall clock instead of recorded inputs on the virtual one.
    ///
    /// # Errors
    /// One line: why there are no messages.
    fn producers(&self) -> Result<Vec<Vec<Message>>, String>;

    /// What the log is created with.
    fn manifest(&self) -> Vec<u8>;

    /// How the engine is driven.
    fn driver(&self) -> DriverConfig;
}

/// Takes a handler and gives back one that does the same.
pub type Wrap<'a> = dyn FnMut(Name, Priority, Box<dyn Handler>) -> Box<dyn Handler> + 'a;
