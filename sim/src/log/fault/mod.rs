//! Faults: what can go wrong, when it does, and the catalogue that names every kind in one place.
//!
//! To add a fault: its line in the catalogue of [`FaultKind`], and what it does in the module `world`. Drawing,
//! counting, shrinking, files and the coverage matrix read the catalogue.

pub mod written;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kernel::{catalogue::catalogue, spell};

const ONE_SECOND: u64 = 1_000_000_000;

/// What a kind of fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One operation on the log.
    Operation,
    /// The server, for a while.
    Server,
    /// What the server had acknowledged.
    Loss,
    /// What is stored; found when it is read, so the owner crashes with it.
    Damage,
    /// The engine's process.
    Process,
    /// The wall clock; it has an effect only in runs on the wall clock.
    Clock,
    /// A producer of ingress messages; only runs with an ingress have one.
    Producer,
}

catalogue! {
    /// A kind of fault.
    pub enum FaultKind in Scope {
        LostRequest "lost_request" Operation ["op"]
            "a request never arrives; the client times out";
        LostReply "lost_reply" Operation ["op"]
            "a request takes effect and its reply is lost";
        LateEffect "late_effect" Operation ["op", "for"]
            "the client times out, and then the request takes effect";
        SentTwice "sent_twice" Operation ["op", "for"]
            "a request takes effect, and once more later";
        Slow "slow" Operation ["op", "for"]
            "a request and its reply take their time";
        Refused "refused" Operation ["op"]
            "the connection is refused";
        Disconnect "disconnect" Server ["for"]
            "the network is down; what was under way may or may not arrive";
        Restart "restart" Server ["for"]
            "the server is killed and restarted; what it acknowledged is on disk";
        Stall "stall" Server ["for"]
            "the server freezes (SIGSTOP); what was sent takes effect when it thaws";
        Loading "loading" Server ["for"]
            "the server is loading its data and answers LOADING";
        Busy "busy" Server ["for"]
            "a script runs for too long and everything else is answered BUSY";
        ClusterDown "cluster_down" Server ["for"]
            "no primary is known: CLUSTERDOWN";
        OutOfMemory "out_of_memory" Server ["for"]
            "writes are refused: OOM";
        ReadOnly "read_only" Server ["for"]
            "the server was demoted: READONLY";
        Misconf "misconf" Server ["for"]
            "the server cannot persist: MISCONF";
        NoReplicas "no_replicas" Server ["for"]
            "too few replicas: NOREPLICAS";
        Denied "denied" Server ["for"]
            "permission is withdrawn: NOPERM";
        Failover "failover" Loss ["for", "lose"]
            "a replica takes over without the newest writes";
        PowerLoss "power_loss" Loss ["for", "lose"]
            "the server's machine loses power and the newest writes with it";
        Flush "flush" Loss []
            "somebody empties the server (FLUSHALL)";
        TornSnapshot "torn_snapshot" Damage ["for"]
            "the owner crashes; the newest snapshot does not check out";
        LostSnapshot "lost_snapshot" Damage ["for"]
            "the owner crashes; the newest snapshot is gone";
        CorruptEntry "corrupt_entry" Damage ["for"]
            "the owner crashes; an entry behind the newest snapshot does not check out";
        TrimmedAway "trimmed_away" Damage ["for"]
            "the owner crashes; entries behind the newest snapshot were trimmed by somebody else";
        Crash "crash" Process ["for", "op", "request"]
            "the owner dies at once";
        Pause "pause" Process ["for"]
            "the owner freezes; a standby takes over, and then the owner thaws";
        SecondOwner "second_owner" Process []
            "somebody starts a second owner beside the first";
        Stop "stop" Process ["for"]
            "a signal asks the owner to stop";
        ClockJump "clock_jump" Clock ["by"]
            "the wall clock jumps";
        ProducerRestart "producer_restart" Producer []
            "a producer forgets what was acknowledged and sends it again";
    }
}

catalogue! {
    /// An operation on the log, as faults and reports name it.
    pub enum OpKind {
        Acquire "acquire" "Becoming owner";
        Commit "commit" "Committing";
        Range "range" "Reading entries";
        Snapshot "snapshot" "Reading a snapshot";
        Trim "trim" "Trimming";
        Ingress "ingress" "Reading the ingress";
        Publish "publish" "Publishing to the ingress";
        Look "look" "Reading the head, the manifest, the list of snapshots or the statistics";
    }
}

impl OpKind {
    /// Whether it changes the log.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Acquire | Self::Commit | Self::Trim | Self::Publish)
    }
}

/// What files call [`When::Idle`].
const IDLE: &str = "idle";

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// At the n-th operation of a kind, counted over the whole run from one: `commit#17`.
    Op(OpKind, u64),
    /// Once so many inputs have been taken, counted over the whole run, repeated ones included.
    Events(u64),
    /// At this virtual time in nanoseconds, counted from the first input.
    Time(u64),
    /// Where producers publish: once every message is consumed and the owner waits for more. Several of them strike one
    /// after the other, each when all is consumed again.
    Idle,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(kind, n) => write!(f, "{kind}#{n}"),
            Self::Events(n) => write!(f, "after {n} events"),
            Self::Time(ns) => f.write_str(&spell::clock(*ns)),
            Self::Idle => f.write_str(IDLE),
        }
    }
}

impl When {
    /// The count or time at which it strikes, so that shrinking can lower it.
    pub(crate) fn count_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Op(_, n) | Self::Events(n) | Self::Time(n) => Some(n),
            Self::Idle => None,
        }
    }
}

/// What becomes of the request during which the owner crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashedRequest {
    /// It never arrives.
    #[default]
    Lost,
    /// It takes effect.
    Applied,
    /// It takes effect later, when a successor may already be at work.
    Late,
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it strikes.
    pub at: When,
    /// What happens.
    pub kind: FaultKind,
    /// For faults that strike after a number of events or at a time: at the next operation of this
    /// kind then. Without it, faults of one operation strike the next commit, and crashes strike at
    /// once, between two inputs.
    pub op: Option<OpKind>,
    /// How long it lasts, or until the process is started again, in nanoseconds.
    pub for_ns: u64,
    /// How many of the newest writes are lost.
    pub lose: u32,
    /// What becomes of the request during which the owner crashes.
    pub request: CrashedRequest,
    /// By how much the clock jumps, in nanoseconds.
    pub by_ns: i64,
}

impl Fault {
    /// A fault of this kind with the usual parameters: commits, one second, two writes lost.
    #[must_use]
    pub const fn new(at: When, kind: FaultKind) -> Self {
        let request = CrashedRequest::Lost;
        Self { at, kind, op: None, for_ns: ONE_SECOND, lose: 2, request, by_ns: ONE_SECOND as i64 }
    }

    fn takes(&self, key: &str) -> bool {
        self.kind.keys().contains(&key)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.kind)?;
        if let Some(op) = self.op {
            write!(f, " op={op}")?;
        }
        if self.takes("for") {
            write!(f, " for={}", spell::span(self.for_ns))?;
        }
        if self.takes("lose") {
            write!(f, " lose={}", self.lose)?;
        }
        if self.takes("request") {
            write!(f, " request={}", format!("{:?}", self.request).to_lowercase())?;
        }
        if self.takes("by") {
            write!(f, " by={}", spell::signed_span(self.by_ns))?;
        }
        Ok(())
    }
}
