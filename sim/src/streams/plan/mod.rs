//! Plans: everything that decides a run of the worker plane.
//!
//! A seed [draws](Plan::draw) one. Written as a file it runs without the seed's drawing, and a plan that breaks a promise is
//! [shrunk](crate::kernel::shrink) to a smaller one first.

mod draw;
mod file;
mod shrink;

use std::fmt;

use serde::{Deserialize, Serialize};
use silvertine_engine::span::Span;
use silvertine_streams::{GroupSpec, Message, StreamName, Topology};

pub use self::file::PlanError;
use crate::kernel::{network::Rates, spell};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MS;
/// The lane that some plans have beside the stream.
const LANE: &str = "urgent";
/// The field that tells which of the plan's messages it is.
pub(super) const LABEL: &str = "label";
/// The field by whose value some groups are ordered.
const ORDER: &str = "account";

/// A run of the worker plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed that it was drawn from; also the root of latencies and coin tosses.
    pub seed: u64,
    /// When faults end.
    #[serde(rename = "faults_end", with = "file::clock")]
    pub(super) heals_ns: u64,
    /// Whether the store holds a poll until something arrives, or the member waits by itself.
    pub(super) store_waits: bool,
    /// The largest difference of a member's clock.
    #[serde(default)]
    pub(super) skew: Span,
    /// How often a restarted member takes another name, in per cent.
    #[serde(default)]
    pub(super) rename_percent: u64,
    /// How many members each group has.
    pub members: Vec<u64>,
    /// What becomes of requests.
    #[serde(default)]
    pub(super) rates: Rates,
    /// What strikes at a time.
    #[serde(default, rename = "strike")]
    pub(super) strikes: Vec<Strike>,
    /// The messages, and what handlers make of each.
    #[serde(default, rename = "message")]
    pub(super) labels: Vec<Label>,
    /// What producers do: at which time, who, which message.
    #[serde(default, rename = "send")]
    pub(super) sends: Vec<Send>,
    /// The streams and groups.
    pub topology: Topology,
}

/// A message: what it is, and what handlers make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Label {
    #[serde(rename = "handlers")]
    pub(super) nature: Nature,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) account: u64,
    #[serde(default)]
    pub(super) urgent: bool,
    #[serde(default)]
    pub(super) outputs: u64,
    #[serde(default)]
    pub(super) work: Span,
}

/// What a handler makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nature {
    #[serde(rename = "succeed")]
    Well,
    /// Fails so often before it succeeds; never again once faults have healed.
    #[serde(rename = "fail")]
    Transient(u32),
    /// Fails until faults have healed.
    #[serde(rename = "fail_until_faults_end")]
    Down,
    #[serde(rename = "fail_for_good")]
    Permanent,
    #[serde(rename = "cannot_decode")]
    Undecodable,
    #[serde(rename = "panic")]
    Panics,
    /// Does not end in time so often.
    #[serde(rename = "time_out")]
    TimesOut(u32),
    /// Emits what cannot be published.
    #[serde(rename = "emit_nonsense")]
    Invalid,
    /// Kills its process so often.
    #[serde(rename = "kill")]
    Kills(u32),
}

impl Nature {
    pub(super) const fn is_well(self) -> bool {
        matches!(self, Self::Well)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    #[serde(rename = "at", with = "file::clock")]
    pub(super) at_ns: u64,
    #[serde(default)]
    pub(super) producer: u64,
    #[serde(rename = "message")]
    pub(super) label: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Strike {
    #[serde(rename = "at", with = "file::clock")]
    pub(super) at_ns: u64,
    #[serde(flatten)]
    pub(super) what: StrikeKind,
    /// Decides whom it strikes. Less than 2^63, since files know no greater number.
    #[serde(default)]
    pub(super) draw: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum StrikeKind {
    Crash,
    Pause {
        #[serde(rename = "for")]
        lasts: Span,
    },
    Drain {
        grace: Span,
    },
    Outage {
        #[serde(rename = "for")]
        lasts: Span,
    },
    Stall {
        #[serde(rename = "for")]
        lasts: Span,
    },
    Restart {
        #[serde(rename = "for")]
        lasts: Span,
    },
    /// Another server takes over that lacks the newest writes.
    Failover {
        #[serde(rename = "for")]
        lasts: Span,
        lose: u64,
    },
    /// The store's clock jumps.
    ClockJump {
        #[serde(rename = "by", with = "file::signed_span")]
        by_ns: i64,
    },
    Stranger,
    Redrive {
        contended: bool,
    },
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {}", spell::clock(self.at_ns), self.what)
    }
}

impl fmt::Display for StrikeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("a member dies"),
            Self::Pause { lasts } => write!(f, "a member stands still for {lasts}"),
            Self::Drain { grace } => write!(f, "a member is to leave within {grace}"),
            Self::Outage { lasts } => write!(f, "the store answers nobody for {lasts}"),
            Self::Stall { lasts } => write!(f, "the server freezes for {lasts}"),
            Self::Restart { lasts } => write!(f, "the server restarts within {lasts}"),
            Self::Failover { lasts, lose } => {
                write!(
                    f,
                    "another server takes over within {lasts} without the newest {lose} writes"
                )
            }
            Self::ClockJump { by_ns } => {
                write!(f, "the store's clock jumps by {}", spell::signed_span(*by_ns))
            }
            Self::Stranger => f.write_str("somebody deletes a message"),
            Self::Redrive { contended: false } => {
                f.write_str("an operator sends dead letters back")
            }
            Self::Redrive { contended: true } => {
                f.write_str("two operators send the same dead letters back")
            }
        }
    }
}

/// The stream that the groups consume.
pub(super) fn work_stream() -> StreamName {
    StreamName::new("sim:in:work").expect("a name")
}

/// The stream of what handlers emit.
pub(super) fn out_stream() -> StreamName {
    StreamName::new("sim:out:results").expect("a name")
}

/// The stream that tells of redrives.
pub(super) fn audit_stream() -> StreamName {
    StreamName::new("sim:out:audit").expect("a name")
}

impl Plan {
    /// A message of the plan, as its producer writes it.
    pub(super) fn message(&self, label: usize) -> Message {
        let of = &self.labels[label];
        let message = Message::default()
            .with("data", format!("{{\"n\":{label}}}"))
            .with(LABEL, label.to_string())
            .with(ORDER, format!("a{}", of.account));
        match &of.key {
            Some(key) => message.with_key(key),
            None => message,
        }
    }

    /// The stream that a message goes to.
    pub(super) fn stream_of(&self, label: usize) -> StreamName {
        if self.labels[label].urgent { work_stream().lane(LANE) } else { work_stream() }
    }

    /// Whether a store may take a living member for dead, because it does not hear it or because its own clock jumps.
    pub(super) fn has_silence(&self) -> bool {
        let silences = |strike: &Strike| match strike.what {
            StrikeKind::Pause { .. }
            | StrikeKind::Outage { .. }
            | StrikeKind::Stall { .. }
            | StrikeKind::Restart { .. }
            | StrikeKind::Failover { .. } => true,
            StrikeKind::ClockJump { by_ns } => by_ns > 0,
            _ => false,
        };
        !self.rates.is_calm() || self.strikes.iter().any(silences)
    }

    /// Whether the store may lose what it has acknowledged.
    pub(super) fn has_losses(&self) -> bool {
        self.strikes.iter().any(|strike| matches!(strike.what, StrikeKind::Failover { .. }))
    }

    /// By how much the store's clock is set back, in nanoseconds.
    pub(super) fn set_back_ns(&self) -> u64 {
        let back = |strike: &Strike| match strike.what {
            StrikeKind::ClockJump { by_ns } if by_ns < 0 => by_ns.unsigned_abs(),
            _ => 0,
        };
        self.strikes.iter().map(back).sum()
    }

    /// A group of the stream that is consumed.
    pub(super) fn group(&self, at: usize) -> &GroupSpec {
        &self.topology.streams[0].groups[at]
    }

    /// How many messages kill their process.
    pub(super) fn killers(&self) -> u64 {
        let kills = |label: &&Label| matches!(label.nature, Nature::Kills(_));
        self.labels.iter().filter(kills).count() as u64
    }

    /// How many messages handlers fail on.
    pub(super) fn failing(&self) -> usize {
        self.labels.iter().filter(|label| !label.nature.is_well()).count()
    }

    /// How many strikes and messages there are.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        (self.strikes.len(), self.labels.len())
    }

    /// The plan in lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let producers = self.sends.iter().map(|send| send.producer).max().map_or(0, |max| max + 1);
        let mut lines = vec![format!(
            "{} strikes, {} members, {} messages of which handlers fail on {}, {producers} producers; faults end at {}",
            self.strikes.len(),
            self.members.iter().sum::<u64>(),
            self.labels.len(),
            self.failing(),
            spell::clock(self.heals_ns)
        )];
        for (group, members) in self.topology.streams[0].groups.iter().zip(&self.members) {
            lines.push(format!(
                "group {}: {members} members, in_flight {}, reclaim_after {}, handler_timeout {}, window {}{}",
                group.name,
                group.in_flight,
                group.reclaim_after,
                group.handler_timeout,
                group.idempotency_window,
                if group.order_by.is_some() { ", ordered" } else { "" },
            ));
        }
        let Rates { lost_request, lost_reply, late_effect, refused, slow, sent_twice } = self.rates;
        if !self.rates.is_calm() {
            lines.push(format!(
                "of 1000 requests: {lost_request} lost, {lost_reply} replies lost, {late_effect} late, {refused} refused, {slow} slow, {sent_twice} sent twice"
            ));
        }
        if self.skew > Span::ZERO {
            lines.push(format!("members' clocks differ by up to {}", self.skew));
        }
        lines.extend(self.strikes.iter().map(ToString::to_string));
        lines
    }
}
