//! What a user writes: a handler.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Context;
use crate::{
    event::{Event, TopicSet},
    numbers::Money,
};

/// Reacts to events: a strategy, a risk check, a venue, a portfolio.
///
/// A handler is a deterministic function of the events it is handed, the [`Context`] and its own state:
/// no clock, no I/O, no randomness but the context's, no iteration over hashed maps. Whatever it
/// remembers must be in what [`save`](Self::save) returns, or recovery diverges and says where.
///
/// When [`handle`](Self::handle) fails, everything it emitted and every timer it touched for that event is
/// discarded, but changes to its own state stay: check first, change afterwards.
pub trait Handler: Send {
    /// The topics it is handed. Its own timers reach it without `system` being among them.
    fn topics(&self) -> TopicSet;

    /// Reacts to one event.
    ///
    /// # Errors
    /// Recorded as [`System::HandlerFailed`](crate::event::System::HandlerFailed); a number of failures in a row
    /// opens the handler's circuit. A panic counts as an error.
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError>;

    /// The whole state, for the snapshot. [`encode_state`] writes any serializable value.
    ///
    /// # Errors
    /// The state cannot be written; the snapshot is not taken and the run stops.
    fn save(&self) -> Result<Vec<u8>, HandlerError>;

    /// Becomes what [`save`](Self::save) saved. [`decode_state`] reads what [`encode_state`] wrote.
    ///
    /// # Errors
    /// The bytes are not a state of this handler.
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError>;

    /// Figures for the end of a run, by name. Names are shared: the run's summary shows `equity` of
    /// whichever handler reports it.
    fn figures(&self) -> Vec<(&'static str, Figure)> {
        Vec::new()
    }
}

/// A figure that a handler reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// A number of things.
    Count(u64),
    /// An amount of money.
    Amount(Money),
    /// Anything else, for people.
    Text(String),
}

/// Why a handler could not handle an event: one line for people.
///
/// Any error converts into it, so `?` works on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError(String);

impl HandlerError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a handler's state for a snapshot.
///
/// # Errors
/// The type holds something that postcard cannot write, such as a sequence of unknown length.
pub fn encode_state<T: Serialize>(state: &T) -> Result<Vec<u8>, HandlerError> {
    // Room for a small state, which would otherwise grow byte by byte at first.
    Ok(postcard::to_extend(state, Vec::with_capacity(128))?)
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// The bytes are not a whole value of this type.
pub fn decode_state<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HandlerError> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        (_, rest) => Err(HandlerError::new(format!("{} bytes behind the state", rest.len()))),
    }
}

/// When a handler is handed an event, relative to the others. Within a priority, registration order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Risk and breakers.
    Critical,
    /// Execution, venues, positions.
    High,
    /// Strategies.
    #[default]
    Normal,
    /// Recording and reporting.
    Low,
}
