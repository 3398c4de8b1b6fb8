//! What was reached: how often each fault fired in which phase, and how often each interesting state was seen.

use std::fmt;

use crate::{
    kernel::{
        catalogue::{Kind, catalogue},
        coverage::{Counts, Matrix},
    },
    log::fault::FaultKind,
};

catalogue! {
    /// What the owner was doing when a fault struck.
    pub enum Phase {
        Down "down" "No owner is at work";
        Acquiring "acquiring" "Waiting to become owner";
        Recovering "recovering" "Restoring a snapshot or re-executing the log";
        Handling "handling" "Between two operations on the log, with inputs in hand";
        Polling "polling" "Waiting for messages of the ingress";
        Committing "committing" "A commit is under way";
        Snapshotting "snapshotting" "A commit with a snapshot is under way";
        Trimming "trimming" "Trimming is under way";
        Resting "resting" "Waiting before the next attempt";
    }
}

catalogue! {
    /// Something interesting that a good set of seeds reaches again and again.
    pub enum Sight {
        CommitRepeated "commit_repeated" "A commit that was sent again was answered as a duplicate";
        GhostCommitRefused "ghost_commit_refused" "A commit arrived when nobody waited for it and was refused";
        GhostCommitTaken "ghost_commit_taken" "A commit arrived when nobody waited for it and was taken";
        OwnerFenced "owner_fenced" "An owner noticed that another one had taken over";
        ZombieFenced "zombie_fenced" "An owner thawed, tried to go on and was refused";
        TailLossReported "tail_loss_reported" "An owner reported that acknowledged entries were gone";
        FlushReported "flush_reported" "An owner reported that the log was gone";
        DamageReported "damage_reported" "An owner reported a damaged record";
        DenialReported "denial_reported" "An owner reported that permission was withdrawn";
        FellBack "fell_back" "Recovery went around a damaged snapshot";
        Replayed "replayed" "Recovery re-executed entries behind a snapshot";
        ReplayedAll "replayed_all" "Recovery re-executed the log from its beginning";
        CrashedRecovering "crashed_recovering" "A process died during recovery";
        WaitedRecovering "waited_recovering" "Recovery waited for a log that did not answer";
        GaveUp "gave_up" "An owner gave up on a log that did not answer";
        Trimmed "trimmed" "Entries were trimmed";
        DuplicateRefused "duplicate_refused" "An input was refused as a duplicate";
        InputRefused "input_refused" "A bad row or message was recorded as refused";
        HandlerFailed "handler_failed" "A handler failed";
        CircuitOpened "circuit_opened" "A circuit opened";
        CircuitClosed "circuit_closed" "A circuit closed again";
        Halted "halted" "An owner stopped because a handler failed where that halts";
        WentPastHalt "went_past_halt" "An owner went on behind a halt when an operator let it";
        KeyParked "key_parked" "An event was parked, for its handler failed on it or an earlier one of its key";
        KeyReleased "key_released" "An operator released what was parked";
        ReleaseFailed "release_failed" "A released event failed again";
        ReleasedPast "released_past" "An operator gave up the event that a handler failed on, and released those behind it";
        ParkFull "park_full" "There was no room to park more";
        TimerFired "timer_fired" "A timer fired";
        MessageRepeated "message_repeated" "A published message was recognised as a duplicate";
        TwoOwners "two_owners" "Two owners were at work at once";
        Stopped "stopped" "An owner stopped when asked to";
        LostAfterEnd "lost_after_end" "Acknowledged entries were lost after the run had finished";
    }
}

/// Counts of what was reached, over any number of runs; printed, the matrix of faults and phases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Faults that fired, by the owner's phase.
    pub fired: Matrix<FaultKind, Phase>,
    /// Sights that were seen.
    pub seen: Counts<Sight>,
}

impl Coverage {
    pub(crate) fn fire(&mut self, kind: FaultKind, phase: Phase) {
        self.fired.note(kind, phase);
    }

    pub(crate) fn see(&mut self, sight: Sight) {
        self.seen.note(sight);
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        self.fired.add(&other.fired);
        self.seen.add(&other.seen);
    }

    /// Faults and sights that were never reached, by name.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let faults = self.fired.missing().map(Kind::name);
        faults.chain(self.seen.missing().map(Kind::name)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fired.fmt(f)
    }
}
