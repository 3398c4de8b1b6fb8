//! Faults as scenario files write them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::{CrashedRequest, Fault, FaultKind, IDLE, ONE_SECOND, OpKind, When};
use crate::kernel::{
    catalogue::Kind,
    spell::{self, TimeError},
};

/// The longest that a fault may last: within it, a run that only waits still comes to its end.
const LONGEST_NS: u64 = 3_600 * ONE_SECOND;

/// A fault in a file makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// There is no such kind.
    #[error("no fault is called {name:?}; known are {}", FaultKind::names())]
    UnknownKind {
        /// The name in the file.
        name: String,
    },
    /// There is no such operation.
    #[error("no operation is called {name:?}; known are {}", OpKind::names())]
    UnknownOperation {
        /// The name in the file.
        name: String,
    },
    /// The kind has nothing to do with this key.
    #[error("a fault of kind {kind} takes no {key:?}")]
    UnknownKey {
        /// The kind of fault.
        kind: FaultKind,
        /// The key in the file.
        key: &'static str,
    },
    /// It does not say when it strikes, or says so twice.
    #[error(
        "fault {kind}: say either at = \"HH:MM:SS\" (or \"commit#17\", or \"idle\") or after_events"
    )]
    NoTime {
        /// The kind of fault.
        kind: FaultKind,
    },
    /// It strikes at an operation, and names another one.
    #[error("fault {kind}: \"at\" already names the operation")]
    TwoOperations {
        /// The kind of fault.
        kind: FaultKind,
    },
    /// It lasts for too long.
    #[error("fault {kind}: for = {span:?} is longer than an hour")]
    TooLong {
        /// The kind of fault.
        kind: FaultKind,
        /// The span in the file.
        span: String,
    },
    /// The number of an operation is none.
    #[error("{text:?}: operations are counted from one")]
    Count {
        /// The text in the file.
        text: String,
    },
    /// A time or a span cannot be read.
    #[error(transparent)]
    Time(#[from] TimeError),
}

impl FromStr for OpKind {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::named(text).ok_or_else(|| FaultError::UnknownOperation { name: text.to_owned() })
    }
}

/// A fault as a scenario file writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<String>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    span: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lose: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<CrashedRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Written::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl TryFrom<Written> for Fault {
    type Error = FaultError;

    fn try_from(written: Written) -> Result<Self, FaultError> {
        let Some(kind) = FaultKind::named(&written.kind) else {
            return Err(FaultError::UnknownKind { name: written.kind });
        };
        for (key, given) in [
            ("op", written.op.is_some()),
            ("for", written.span.is_some()),
            ("lose", written.lose.is_some()),
            ("request", written.request.is_some()),
            ("by", written.by.is_some()),
        ] {
            if given && !kind.keys().contains(&key) {
                return Err(FaultError::UnknownKey { kind, key });
            }
        }
        let at = match (&written.at, written.after_events) {
            (Some(at), None) => parse_when(at)?,
            (None, Some(events)) => When::Events(events),
            _ => return Err(FaultError::NoTime { kind }),
        };
        let mut fault = Self::new(at, kind);
        if let Some(op) = written.op {
            if matches!(at, When::Op(..)) {
                return Err(FaultError::TwoOperations { kind });
            }
            fault.op = Some(op.parse()?);
        }
        if let Some(span) = written.span {
            fault.for_ns = spell::parse_span(&span)?;
            if fault.for_ns > LONGEST_NS {
                return Err(FaultError::TooLong { kind, span });
            }
        }
        fault.lose = written.lose.unwrap_or(fault.lose);
        fault.request = written.request.unwrap_or_default();
        if let Some(by) = written.by {
            fault.by_ns = spell::parse_signed_span(&by)?;
        }
        Ok(fault)
    }
}

impl From<Fault> for Written {
    fn from(fault: Fault) -> Self {
        let (at, after_events) = match fault.at {
            When::Events(events) => (None, Some(events)),
            other => (Some(other.to_string()), None),
        };
        Self {
            kind: fault.kind.name().to_owned(),
            at,
            after_events,
            op: fault.op.map(|op| op.to_string()),
            span: fault.takes("for").then(|| spell::span(fault.for_ns)),
            lose: fault.takes("lose").then_some(fault.lose),
            request: fault.takes("request").then_some(fault.request),
            by: fault.takes("by").then(|| spell::signed_span(fault.by_ns)),
        }
    }
}

fn parse_when(text: &str) -> Result<When, FaultError> {
    match text.split_once('#') {
        Some((op, n)) => {
            let n = n.parse().ok().filter(|&n| n > 0);
            let n = n.ok_or_else(|| FaultError::Count { text: text.to_owned() })?;
            Ok(When::Op(op.parse()?, n))
        }
        None if text == IDLE => Ok(When::Idle),
        None => Ok(When::Time(spell::parse_clock(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_survives_being_written() {
        let whens =
            [When::Op(OpKind::Trim, 3), When::Events(7), When::Time(61_250_000_000), When::Idle];
        for &kind in FaultKind::ALL {
            for at in whens {
                let fault = Fault::new(at, kind);
                let read = Fault::try_from(Written::from(fault)).expect("reads what it wrote");
                assert_eq!(read, fault);
            }
        }
    }

    #[test]
    fn a_mistake_in_a_fault_is_named() {
        let said =
            |written: Written| Fault::try_from(written).expect_err("must be refused").to_string();
        let written = |kind: &str| Written { kind: kind.to_owned(), ..Written::default() };
        assert!(said(written("nonsense")).contains("known are lost_request"));
        assert!(said(written("flush")).contains("after_events"));
        let at = Some("commit#0".to_owned());
        assert!(said(Written { at, ..written("flush") }).contains("from one"));
        let lose = Some(1);
        assert!(said(Written { lose, after_events: Some(1), ..written("flush") }).contains("lose"));
    }
}
