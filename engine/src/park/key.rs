//! The key under which events are parked, and an operator's order to release them. Events contain both, so this file knows
//! nothing of events.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text::{Name, Symbol, TextError};

/// The key under which events are parked: one instrument for one handler.
///
/// The instrument, and not the order, because positions, limits and books are kept by instrument: a handler that missed
/// one order's fill would take the fill of the next for more than it is. Events without an instrument share one key.
///
/// Written `HANDLER:SYMBOL`, or `HANDLER` for events without an instrument. The handler's name ends at the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParkedKey {
    /// The handler for which they are parked.
    pub handler: Name,
    /// The instrument.
    pub symbol: Option<Symbol>,
}

impl fmt::Display for ParkedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol {
            None => write!(f, "{}", self.handler),
            Some(symbol) => write!(f, "{}:{symbol}", self.handler),
        }
    }
}

impl FromStr for ParkedKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Ok(match text.split_once(':') {
            None => Self { handler: text.parse()?, symbol: None },
            Some((handler, symbol)) => {
                Self { handler: handler.parse()?, symbol: Some(symbol.parse()?) }
            }
        })
    }
}

/// An operator's order to release the events that are parked under a key. Where nothing is parked, it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The key to release.
    pub key: ParkedKey,
    /// Whether the handler skips the failed event and continues with the next.
    pub past: bool,
}
