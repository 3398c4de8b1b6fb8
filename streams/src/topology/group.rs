//! One consumer group: how its members work, and when their circuit opens.

use serde::{Deserialize, Serialize};

use crate::{GroupName, RetryPolicy};
use silvertine_engine::{circuit::CircuitConfig, span::Span};

/// One consumer group. [`new`](Self::new) gives the defaults; every field may then be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupSpec {
    /// Its name.
    pub name: GroupName,
    /// Where it begins when it is created.
    #[serde(default)]
    pub start: Start,
    /// How long a handler may take; past it, the attempt has failed.
    #[serde(default = "thirty_seconds")]
    pub handler_timeout: Span,
    /// A member that has shown no sign of life for so long has died; others take over what it held.
    #[serde(default = "thirty_seconds")]
    pub reclaim_after: Span,
    /// The most messages that one member works on or has waiting. As many again may wait to be settled.
    #[serde(default = "default_in_flight")]
    pub in_flight: usize,
    /// For how long a message that was handled is recognised when it comes again.
    #[serde(default = "ten_minutes")]
    pub idempotency_window: Span,
    /// At most so many handled messages are remembered for that.
    #[serde(default = "default_window_entries")]
    pub idempotency_entries: u64,
    /// Messages with the same value of this field are handled one after the other, over all members.
    #[serde(default)]
    pub order_by: Option<String>,
    /// When its handler's circuit opens, and for how long.
    #[serde(default)]
    pub circuit: CircuitSpec,
    /// Overrides the stream's.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// Whether dead letters of transient failures are redriven once the circuit has closed again.
    #[serde(default = "yes", alias = "auto_drain")]
    pub auto_redrive: bool,
    /// How many of them per second.
    #[serde(default = "default_redrive_rate", alias = "drain_per_second")]
    pub redrive_per_second: u32,
}

const fn yes() -> bool {
    true
}

const fn default_redrive_rate() -> u32 {
    10
}

const fn thirty_seconds() -> Span {
    Span::from_secs(30)
}

const fn ten_minutes() -> Span {
    Span::from_secs(600)
}

const fn default_in_flight() -> usize {
    64
}

const fn default_window_entries() -> u64 {
    100_000
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest message kept.
    #[default]
    Beginning,
    /// With the first message after it was created.
    End,
}

/// A circuit breaker's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CircuitSpec {
    /// Transient failures in a row that open it.
    pub failure_threshold: u32,
    /// How long it stays open before one message is tried.
    pub reset_after: Span,
}

impl Default for CircuitSpec {
    fn default() -> Self {
        Self { failure_threshold: 5, reset_after: Span::from_secs(60) }
    }
}

impl CircuitSpec {
    /// A circuit that `failure_threshold` transient failures in a row open for `reset_after`.
    #[must_use]
    pub const fn new(failure_threshold: u32, reset_after: Span) -> Self {
        Self { failure_threshold, reset_after }
    }

    /// The same for the state machine.
    #[must_use]
    pub const fn config(&self) -> CircuitConfig {
        CircuitConfig::new(self.failure_threshold, self.reset_after.duration())
    }
}

impl GroupSpec {
    /// A group of this name with the defaults.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        Self {
            name,
            start: Start::default(),
            handler_timeout: thirty_seconds(),
            reclaim_after: thirty_seconds(),
            in_flight: default_in_flight(),
            idempotency_window: ten_minutes(),
            idempotency_entries: default_window_entries(),
            order_by: None,
            circuit: CircuitSpec::default(),
            retry: None,
            auto_redrive: yes(),
            redrive_per_second: default_redrive_rate(),
        }
    }
}
