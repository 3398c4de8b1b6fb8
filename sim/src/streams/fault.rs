//! What may happen to the worker plane, and how often it did.
//!
//! To add a fault: its line here, its drawing in `plan/draw.rs`, and what it does in `network.rs` (to one request) or in
//! `strikes.rs` (at a time).

use crate::kernel::{catalogue::catalogue, coverage, network::Fate};

catalogue! {
    /// A fault, or a rare state that faults lead to.
    pub enum Fault {
        LostRequest "lost_request" "a request never reaches the store";
        LostReply "lost_reply" "a request takes effect and its answer is lost";
        Late "late" "a request takes effect after its client has given up";
        Refused "refused" "the store refuses a request, without effect";
        Slow "slow_network" "a request and its answer take long";
        SentTwice "sent_twice" "a request takes effect, and once more later";
        Stall "stall" "the server freezes; what was sent takes effect when it goes on";
        Restart "restart" "the server is killed and restarted; what it acknowledged is on disk";
        Failover "failover" "another server takes over without the newest writes";
        ClockJump "clock_jump" "the store's clock jumps";
        Outage "outage" "the store answers nobody for a while";
        Crash "crash" "a member dies with all its handlers";
        Renamed "renamed" "a member comes back under another name";
        Pause "pause" "a member stands still and goes on as if nothing had happened";
        Drain "drain" "a member leaves gracefully";
        Skew "skew" "a member's clock differs from the store's";
        Stranger "stranger" "somebody deletes a message behind everybody's back";
        Twice "twice" "a producer publishes a message again under the same key";
        Full "full" "a full stream refuses what is published";
        Transient "transient" "a handler fails in a way that passes";
        TimedOut "timed_out" "a handler does not end in time";
        Permanent "permanent" "a handler fails for good";
        Undecodable "undecodable" "a handler cannot decode a message";
        Panicked "panicked" "a handler panics";
        InvalidOutput "invalid_output" "a handler emits what cannot be published";
        Killer "killer" "a message kills its process";
        Abandoned "abandoned" "a drain's time is over while a handler runs";
        Reclaimed "reclaimed" "a message is taken from a member that seems dead";
        Zombie "zombie" "a member settles a message that another has by now";
        Ghost "ghost" "a request of a dead member takes effect";
        Duplicate "duplicate" "a message of a key that is done is settled";
        Redrive "redrive" "an operator sends a dead letter back";
        Contended "contended" "two operators change the same dead letter";
        Opened "circuit_opened" "a circuit opens";
        Closed "circuit_closed" "a circuit closes again";
        Blocked "blocked" "a message waits behind another with its ordering key";
        LostPublication "lost_publication" "a message that was acknowledged is lost in a failover";
        LostSettlement "lost_settlement" "a settlement that was acknowledged is lost in a failover";
        Vanished "vanished" "a deleted message was never seen by a group";
    }
}

/// How often each was seen.
pub type Counts = coverage::Counts<Fault>;

impl Fault {
    /// The fault that a request's fate is.
    pub(super) const fn of(fate: Fate) -> Option<Self> {
        match fate {
            Fate::Normal => None,
            Fate::LostRequest => Some(Self::LostRequest),
            Fate::LostReply => Some(Self::LostReply),
            Fate::LateEffect { .. } => Some(Self::Late),
            Fate::SentTwice { .. } => Some(Self::SentTwice),
            Fate::Slow { .. } => Some(Self::Slow),
            Fate::Refused => Some(Self::Refused),
        }
    }
}
