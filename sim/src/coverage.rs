//! What was reached: how often each fault fired in which phase, and how often each interesting state was seen.

use std::fmt;

use crate::fault::{CATALOGUE, FaultKind};

/// Makes an enum and its names of one list.
macro_rules! named {
    ($(#[$doc:meta])* $enum:ident: $($variant:ident $name:literal $says:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $enum {
            $(#[doc = concat!($says, ".")] $variant,)*
        }

        impl $enum {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// What the owner was doing when a fault struck.
    Phase:
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

named! {
    /// Something interesting that a good set of seeds reaches again and again.
    Sight:
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

/// Counts of what was reached, over any number of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// By fault, by phase.
    fired: Vec<[u64; Phase::ALL.len()]>,
    seen: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        let fired = vec![[0; Phase::ALL.len()]; CATALOGUE.len()];
        Self { fired, seen: vec![0; Sight::ALL.len()] }
    }
}

impl Coverage {
    pub(crate) fn fire(&mut self, kind: FaultKind, phase: Phase) {
        self.fired[kind as usize][phase as usize] += 1;
    }

    pub(crate) fn see(&mut self, sight: Sight) {
        self.seen[sight as usize] += 1;
    }

    /// How often a fault fired, in all phases together.
    #[must_use]
    pub fn fired(&self, kind: FaultKind) -> u64 {
        self.fired[kind as usize].iter().sum()
    }

    /// How often a fault fired in a phase.
    #[must_use]
    pub fn fired_in(&self, kind: FaultKind, phase: Phase) -> u64 {
        self.fired[kind as usize][phase as usize]
    }

    /// How often all faults fired.
    #[must_use]
    pub fn fired_in_all(&self) -> u64 {
        FaultKind::all().map(|kind| self.fired(kind)).sum()
    }

    /// How often something was seen.
    #[must_use]
    pub fn seen(&self, sight: Sight) -> u64 {
        self.seen[sight as usize]
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.fired.iter_mut().zip(&other.fired) {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                *ours += theirs;
            }
        }
        for (ours, theirs) in self.seen.iter_mut().zip(&other.seen) {
            *ours += theirs;
        }
    }

    /// Faults and sights that were never reached, by name.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let faults = FaultKind::all().filter(|&kind| self.fired(kind) == 0).map(FaultKind::name);
        let sights = Sight::ALL.iter().filter(|&&sight| self.seen(sight) == 0).map(|s| s.name());
        faults.chain(sights).collect()
    }
}

impl fmt::Display for Coverage {
    /// The matrix: a line for each fault, a column for each phase, `x` where it was reached and `.` where not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18}", "")?;
        for phase in Phase::ALL {
            write!(f, " {phase}")?;
        }
        for kind in FaultKind::all() {
            write!(f, "\n{kind:<18}")?;
            for &phase in Phase::ALL {
                let mark = if self.fired_in(kind, phase) > 0 { 'x' } else { '.' };
                write!(f, " {mark:<width$}", width = phase.name().len())?;
            }
        }
        writeln!(f)
    }
}
