//! Judges how owners fail: an owner may fail only because of a fault that struck it, and its error must say which.

use std::time::Duration;

use silvertine_engine::{
    driver::{RetryConfig, RunError},
    feed::FeedError,
    log::{Advice, LogError, LogErrorKind},
    pos::Pos,
    recovery::ReplayError,
};

use super::{Promise, Violation, same};
use crate::log::{
    coverage::Sight,
    world::{process::Process, server::Server},
};

/// What an owner's error shows was reached, or the promise that it breaks.
pub(crate) fn explain<L>(
    error: &RunError,
    process: &Process,
    server: &Server<L>,
    retry: &RetryConfig,
) -> Result<Sight, Violation> {
    let end = BadEnd { error, process, server, retry };
    match error {
        RunError::Log(why)
        | RunError::Feed(FeedError::Log(why))
        | RunError::Replay(ReplayError::Log(why)) => end.of_log(why),
        RunError::Halted(halt) => {
            let what = "a run that halts says where, and has committed all up to there";
            same(Promise::Truth, what, &process.acknowledged, &halt.pos)?;
            Ok(Sight::Halted)
        }
        RunError::LostTail { expected, head } if process.lost => {
            end.loss_is_true(*expected, *head)?;
            Ok(Sight::TailLossReported)
        }
        RunError::Replay(ReplayError::LostTail { .. }) if process.lost => {
            Ok(Sight::TailLossReported)
        }
        RunError::Replay(ReplayError::NoSnapshot { .. }) if server.was_damaged => {
            Ok(Sight::DamageReported)
        }
        RunError::Replay(ReplayError::NoSnapshot { .. }) if end.is_taken_over() => {
            Ok(Sight::OwnerFenced)
        }
        // The log was lost and written anew while it was being re-executed.
        RunError::Replay(ReplayError::Diverged(_)) if process.lost && end.is_taken_over() => {
            Ok(Sight::OwnerFenced)
        }
        RunError::Replay(ReplayError::Diverged(_) | ReplayError::Digest { .. }) => {
            let what = "recovery gives what the log holds";
            Err(Violation::new(Promise::Replay, what, "the log, entry for entry", error))
        }
        _ => end.unexplained(),
    }
}

struct BadEnd<'a, L> {
    error: &'a RunError,
    process: &'a Process,
    server: &'a Server<L>,
    retry: &'a RetryConfig,
}

impl<L> BadEnd<'_, L> {
    fn of_log(&self, why: &LogError) -> Result<Sight, Violation> {
        let Self { process, server, .. } = self;
        match &why.kind {
            LogErrorKind::LostTail { expected, head } if process.lost => {
                self.loss_is_true(*expected, *head)?;
                Ok(Sight::TailLossReported)
            }
            LogErrorKind::Gone if server.lost_writes => Ok(Sight::FlushReported),
            LogErrorKind::Fenced { .. } if self.may_say_fenced() => {
                let zombie = process.was_frozen;
                Ok(if zombie { Sight::ZombieFenced } else { Sight::OwnerFenced })
            }
            LogErrorKind::Corrupt { .. } if self.could_do_without(why) => self.unexplained(),
            LogErrorKind::Corrupt { .. } | LogErrorKind::Trimmed { .. } if server.was_damaged => {
                Ok(Sight::DamageReported)
            }
            // A successor has trimmed what this one was still recovering from.
            LogErrorKind::Trimmed { .. } if self.is_taken_over() => Ok(Sight::OwnerFenced),
            LogErrorKind::Denied { .. } if server.denied => Ok(Sight::DenialReported),
            _ if why.advice() == Advice::Retry => self.waited_long_enough(why),
            _ if process.lost => {
                let what = "an owner was told that entries are committed, and they are gone";
                let report = "a report of the loss";
                Err(Violation::new(Promise::Durability, what, report, self.error))
            }
            _ => self.unexplained(),
        }
    }

    fn unexplained(&self) -> Result<Sight, Violation> {
        let what = "an owner ends badly without a reason";
        Err(Violation::new(Promise::Explanation, what, "a good end", self.error))
    }

    /// A snapshot was damaged, and the whole log was there to stand in for it.
    fn could_do_without(&self, why: &LogError) -> bool {
        let Server { witness, lost_writes, .. } = self.server;
        why.operation == "snapshot" && witness.head.trimmed == Pos::ZERO && !lost_writes
    }

    /// By somebody else, or by a late acquisition of its own.
    fn is_taken_over(&self) -> bool {
        self.server.witness.lease.is_some_and(|lease| Some(lease) != self.process.lease)
    }

    /// An owner may report that it is fenced only if, as far as it can know, nothing is lost; otherwise it must report the loss.
    fn may_say_fenced(&self) -> bool {
        let Process { lost, blind, looked, acknowledged, .. } = self.process;
        let saw_all = looked.is_some_and(|head| head >= *acknowledged);
        *blind || saw_all || (self.is_taken_over() && !lost)
    }

    fn loss_is_true(&self, expected: Pos, head: Pos) -> Result<(), Violation> {
        // What it was told may be old: a successor can have written on since, or more was lost, perhaps
        // while the answer that shows the loss was on its way.
        let was_shown = self.process.looked == Some(head);
        let is_old = self.is_taken_over() || self.process.was_frozen || was_shown;
        let now = if is_old { head } else { self.server.witness.head.pos };
        let truth = (self.process.acknowledged, now);
        let what = "a lost tail is reported with its positions";
        same(Promise::Durability, what, &truth, &(expected, head))
    }

    /// Checks that an operation was given up no earlier than configured.
    fn waited_long_enough(&self, why: &LogError) -> Result<Sight, Violation> {
        let asked = match why.operation {
            "acquire" => self.retry.give_up_acquiring_after,
            _ => self.retry.give_up_after,
        };
        let waited = self.process.waited_ns.get(why.operation).copied().unwrap_or(0);
        let waited = Duration::from_nanos(waited);
        if waited + self.retry.longest_pause >= asked {
            return Ok(Sight::GaveUp);
        }
        let what = format!("{} is given up", why.operation);
        let expected = format!("attempts for {asked:?}");
        Err(Violation::new(Promise::Liveness, what, expected, format!("{waited:?}: {why}")))
    }
}
