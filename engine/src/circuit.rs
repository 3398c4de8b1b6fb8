//! A circuit breaker: what fails several times in a row is skipped for a while. The caller passes the time.
//!
//! Handlers of the ordered plane have one each, on engine time, and so has each member of a consumer group.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// When a handler's circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitConfig {
    /// Failures in a row that open it, at least one.
    pub failure_threshold: u32,
    /// Engine time after which an open circuit lets one call through.
    pub reset_after: Duration,
}

impl CircuitConfig {
    /// Opens after `failure_threshold` failures in a row, for `reset_after`.
    #[must_use]
    pub const fn new(failure_threshold: u32, reset_after: Duration) -> Self {
        Self { failure_threshold, reset_after }
    }
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self { failure_threshold: 5, reset_after: Duration::from_secs(60) }
    }
}

/// The state of one handler's circuit; part of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Circuit {
    /// Calls pass.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Calls are refused.
    Open {
        /// Until then.
        until: Nanos,
    },
    /// One call has been let through on trial.
    HalfOpen,
}

/// How a success or failure changed a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    None,
    /// It opened.
    Opened {
        /// Until then.
        until: Nanos,
    },
    /// It closed.
    Closed,
}

/// Whether a call may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The circuit is closed, or a trial is under way.
    Pass,
    /// Pass, as the one try of a half-open circuit.
    Try,
    /// The circuit is open.
    Refuse,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Circuit {
    /// Asks at `now` whether the handler may be called.
    #[inline]
    pub fn admit(&mut self, now: Nanos) -> Admission {
        match *self {
            Self::Closed { .. } | Self::HalfOpen => Admission::Pass,
            Self::Open { until } if now < until => Admission::Refuse,
            Self::Open { .. } => {
                *self = Self::HalfOpen;
                Admission::Try
            }
        }
    }

    /// Notes that the handler did its work.
    #[inline]
    pub fn succeed(&mut self) -> Transition {
        let closes = matches!(self, Self::HalfOpen);
        *self = Self::Closed { failures: 0 };
        if closes { Transition::Closed } else { Transition::None }
    }

    /// Notes that the handler failed at `now`.
    pub fn fail(&mut self, now: Nanos, config: &CircuitConfig) -> Transition {
        let failures = match *self {
            Self::Closed { failures } => failures.saturating_add(1),
            Self::HalfOpen | Self::Open { .. } => config.failure_threshold,
        };
        if failures < config.failure_threshold {
            *self = Self::Closed { failures };
            return Transition::None;
        }
        let until = now.saturating_add(config.reset_after);
        *self = Self::Open { until };
        Transition::Opened { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: CircuitConfig =
        CircuitConfig { failure_threshold: 2, reset_after: Duration::from_nanos(10) };

    #[test]
    fn failures_in_a_row_open_the_circuit_and_a_success_in_between_does_not() {
        let mut circuit = Circuit::default();
        assert_eq!(circuit.fail(Nanos(0), &CONFIG), Transition::None);
        assert_eq!(circuit.succeed(), Transition::None);
        assert_eq!(circuit.fail(Nanos(1), &CONFIG), Transition::None);
        assert_eq!(circuit.fail(Nanos(2), &CONFIG), Transition::Opened { until: Nanos(12) });
        assert_eq!(circuit.admit(Nanos(11)), Admission::Refuse);
    }

    #[test]
    fn after_the_reset_time_one_try_decides() {
        let mut circuit = Circuit::Open { until: Nanos(12) };
        assert_eq!(circuit.admit(Nanos(12)), Admission::Try);
        assert_eq!(circuit.succeed(), Transition::Closed);
        assert_eq!(circuit, Circuit::Closed { failures: 0 });

        let mut circuit = Circuit::Open { until: Nanos(12) };
        circuit.admit(Nanos(12));
        assert_eq!(circuit.fail(Nanos(12), &CONFIG), Transition::Opened { until: Nanos(22) });
    }
}
