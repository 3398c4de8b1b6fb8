//! The trait that users implement.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Context;
use crate::{
    event::{Event, TopicSet},
    numbers::Money,
};

/// Reacts to events: a strategy, a risk check, a venue, a portfolio.
///
/// A handler is a deterministic function of the events it receives, the [`Context`] and its own state: it uses no clock, no
/// I/O, no random numbers but the context's, and does not iterate over hashed maps. [`save`](Self::save) must return its
/// whole state; otherwise recovery diverges, and reports the first entry that differs.
///
/// When [`handle`](Self::handle) fails, everything it emitted and every timer it changed for that event is discarded, but
/// changes to its own state stay: check first, change afterwards.
///
/// A handler that goes long whenever the price rises:
/// ```
/// use silvertine_engine::{
///     bus::{Context, Handler, HandlerError, decode_state, encode_state},
///     event::{Body, Event, MarketData, Signal, Topic, TopicSet},
///     numbers::{Price, Ratio},
/// };
///
/// struct Momentum {
///     last: Option<Price>,
/// }
///
/// impl Handler for Momentum {
///     fn topics(&self) -> TopicSet {
///         TopicSet::of(&[Topic::MarketData])
///     }
///
///     fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
///         let Body::MarketData(MarketData::Trade(trade)) = &event.body else { return Ok(()) };
///         let rises = self.last.is_some_and(|last| trade.price > last);
///         self.last = Some(trade.price);
///         if rises {
///             let strategy = ctx.handler();
///             ctx.emit(Signal { symbol: trade.symbol, strategy, strength: Ratio::ONE });
///         }
///         Ok(())
///     }
///
///     fn save(&self) -> Result<Vec<u8>, HandlerError> {
///         encode_state(&self.last)
///     }
///
///     fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
///         self.last = decode_state(state)?;
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: Send {
    /// The topics that it receives. It receives its own timers even without `system`.
    fn topics(&self) -> TopicSet;

    /// Reacts to one event.
    ///
    /// # Errors
    /// Recorded as [`System::HandlerFailed`](crate::event::System::HandlerFailed); a number of failures in a row
    /// opens the handler's circuit. A panic counts as an error. What else follows depends on the
    /// [`FailurePolicy`](super::FailurePolicy) of the event's topic.
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError>;

    /// The whole state, for the snapshot. [`encode_state`] encodes any serializable value.
    ///
    /// # Errors
    /// The state cannot be encoded; no snapshot is taken and the run stops.
    fn save(&self) -> Result<Vec<u8>, HandlerError>;

    /// Restores the state that [`save`](Self::save) returned. [`decode_state`] reads what [`encode_state`] wrote.
    ///
    /// # Errors
    /// The bytes are not a state of this handler.
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError>;

    /// Figures for the end of a run, by name. Names are shared by all handlers: the run's summary shows the `equity` of any
    /// handler that reports one.
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
    /// Any other figure, as text for people.
    Text(String),
}

/// Why a handler could not handle an event: one line for people.
///
/// Every error converts into it with `?`.
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
    // A small state would otherwise reallocate several times.
    Ok(postcard::to_extend(state, Vec::with_capacity(128))?)
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// The bytes are not a whole value of this type.
pub fn decode_state<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HandlerError> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        (_, rest) => Err(HandlerError::new(format!("{} bytes follow the state", rest.len()))),
    }
}

/// The order in which handlers receive an event. Handlers of one priority receive it in the order of registration.
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
