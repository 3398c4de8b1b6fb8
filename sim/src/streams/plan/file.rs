//! What a plan must fulfil that comes from a file, and how its times are written there.

use silvertine_streams::{StreamName, TopologyError};
use thiserror::Error;

use super::{Plan, SECOND, StrikeKind, audit_stream, out_stream, work_stream};

/// Messages, sends, strikes and members of one plan at most.
const COUNT_MAX: u64 = 10_000;
/// Faults end by then at the latest, and last no longer.
const HEALS_MAX_NS: u64 = 3600 * SECOND;
/// The shortest idempotency window where the store's clock is set back: longer than any run, since what was forgotten
/// is not known again when the clock is in the window once more.
const WINDOW_MIN_NS: u64 = 600 * SECOND;
/// The shortest time without a server during a failover. Within one millisecond a stream could give an id again whose
/// message was lost.
const FAILOVER_MIN_NS: u64 = 2_000_000;

/// Why a plan cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The streams are not those that a run has.
    #[error("the topology must have the streams {wanted}, in this order")]
    Streams {
        /// Their names.
        wanted: String,
    },
    /// The topology makes no sense by itself.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Some number is out of range.
    #[error("{what} must be {range}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it may be.
        range: String,
    },
    /// A producer sends a message that is not there.
    #[error("a producer sends message {message}, and there are {messages}, counted from 0")]
    NoMessage {
        /// Its number.
        message: usize,
        /// How many there are.
        messages: usize,
    },
    /// A clock that is set back goes with other jumps or a failover. The model does not know which keys a store forgets in
    /// between, and lost ids could be given again.
    #[error("a clock that is set back goes with no other jump and no failover")]
    SetBack,
}

impl Plan {
    /// Whether it can be run.
    ///
    /// # Errors
    /// It makes no sense, or the model does not know what should come of it.
    pub fn check(&self) -> Result<(), PlanError> {
        let names: Vec<&StreamName> =
            self.topology.streams.iter().map(|stream| &stream.name).collect();
        let wanted = [work_stream(), out_stream(), audit_stream()];
        if names != wanted.iter().collect::<Vec<_>>() {
            let wanted = wanted.map(|name| name.to_string()).join(", ");
            return Err(PlanError::Streams { wanted });
        }
        self.topology.check()?;
        let groups = &self.topology.streams[0].groups;
        within("the number of groups", groups.len() as u64, 1, u64::MAX)?;
        let group_count = groups.len() as u64;
        within("the length of members", self.members.len() as u64, group_count, group_count)?;
        for &members in &self.members {
            within("the number of members", members, 1, 100)?;
        }
        within("the number of messages", self.labels.len() as u64, 0, COUNT_MAX)?;
        within("the number of sends", self.sends.len() as u64, 0, COUNT_MAX)?;
        within("the number of strikes", self.strikes.len() as u64, 0, COUNT_MAX)?;
        let messages = self.labels.len();
        for send in &self.sends {
            if send.label >= messages {
                return Err(PlanError::NoMessage { message: send.label, messages });
            }
            within("a producer's number", send.producer, 0, 1000)?;
        }
        within("skew in nanoseconds", self.skew.as_nanos(), 0, HEALS_MAX_NS)?;
        within("faults_end in nanoseconds", self.heals_ns, 1, HEALS_MAX_NS)?;
        for strike in &self.strikes {
            within("a strike's time in nanoseconds", strike.at_ns, 0, self.heals_ns - 1)?;
            let (least, lasts_ns) = match strike.what {
                StrikeKind::Failover { lasts, .. } => (FAILOVER_MIN_NS, lasts.as_nanos()),
                StrikeKind::ClockJump { by_ns } => (1, by_ns.unsigned_abs()),
                StrikeKind::Pause { lasts }
                | StrikeKind::Drain { grace: lasts }
                | StrikeKind::Outage { lasts }
                | StrikeKind::Stall { lasts }
                | StrikeKind::Restart { lasts } => (0, lasts.as_nanos()),
                StrikeKind::Crash | StrikeKind::Stranger | StrikeKind::Redrive { .. } => continue,
            };
            within("a strike's length in nanoseconds", lasts_ns, least, HEALS_MAX_NS)?;
        }
        self.check_clock()
    }

    fn check_clock(&self) -> Result<(), PlanError> {
        if self.set_back_ns() == 0 {
            return Ok(());
        }
        let is_ahead = |kind| matches!(kind, StrikeKind::ClockJump { by_ns } if by_ns > 0);
        if self.has_losses() || self.strikes.iter().any(|strike| is_ahead(strike.what)) {
            return Err(PlanError::SetBack);
        }
        for group in &self.topology.streams[0].groups {
            let window_ns = group.idempotency_window.as_nanos();
            let what = "an idempotency window, in nanoseconds where a clock is set back,";
            within(what, window_ns, WINDOW_MIN_NS, u64::MAX)?;
        }
        Ok(())
    }
}

fn within(what: &'static str, number: u64, least: u64, most: u64) -> Result<(), PlanError> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    let range = match most {
        u64::MAX => format!("{least} or more, not {number}"),
        _ => format!("from {least} to {most}, not {number}"),
    };
    Err(PlanError::Range { what, range })
}

/// Times of a run as `00:00:01.5`.
pub(super) mod clock {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::kernel::spell;

    pub(in super::super) fn serialize<S: Serializer>(ns: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&spell::clock(*ns))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        spell::parse_clock(&text).map_err(D::Error::custom)
    }
}

/// Spans that may be negative, as `-5s`.
pub(super) mod signed_span {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::kernel::spell;

    pub(in super::super) fn serialize<S: Serializer>(ns: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&spell::signed_span(*ns))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<i64, D::Error> {
        let text = String::deserialize(from)?;
        spell::parse_signed_span(&text).map_err(D::Error::custom)
    }
}
