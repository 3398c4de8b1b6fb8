//! Handing messages to the handler, and deciding what becomes of a message when its handler has ended.

use std::sync::Arc;

use super::{
    Action, HandlerOutcome, MemberMachine, Work,
    action::name_of,
    held::{Held, Stage},
};
use crate::{
    Class, DeadLetter, DeadState, Disposition, HandlerFailure, Message, MessageId, Reason,
    RetryDecision, Settlement, StoreError, Story,
};
use silvertine_engine::{
    circuit::{Admission, Circuit, Transition},
    span::Span,
    time::Nanos,
};

/// Starts on record after which a message is poison.
pub(super) const STARTS_MAX: u32 = 3;

impl MemberMachine {
    /// Has the store record the start of a suspect, once nothing else runs.
    pub(super) fn next_suspect(&mut self, now: Nanos) -> Option<Action> {
        if self.running > 0 || self.suspects.is_empty() {
            return None;
        }
        if self.circuit.admit(now) == Admission::Refuse {
            return None;
        }
        let id = self.suspects.pop_front()?;
        let held = self.held.get_mut(&id).expect("suspects are held");
        held.stage = Stage::Beginning;
        held.tries.starts += 1;
        let begin = Action::Begin(vec![(id, held.tries)]);
        // It counts as running, so that nothing else starts beside it.
        self.running += 1;
        self.command(begin, now)
    }

    pub(super) fn next_work(&mut self, now: Nanos) -> Option<Action> {
        if self.ready.is_empty() || !self.suspects.is_empty() || self.is_beginning_or_alone() {
            return None;
        }
        if !self.is_fresh(self.lease_proven_at, now) {
            return None;
        }
        if matches!(self.circuit, Circuit::HalfOpen) && self.running > 0 {
            return None;
        }
        if self.circuit.admit(now) == Admission::Refuse {
            return None;
        }
        let at = self.ready.iter().position(|id| !self.twin_is_busy(id))?;
        let id = self.ready.remove(at)?;
        Some(self.start(id))
    }

    /// Whether a suspect is being handled.
    fn is_beginning_or_alone(&self) -> bool {
        self.running == 1
            && self.held.values().any(|held| match held.stage {
                Stage::Beginning => true,
                Stage::Running => held.tries.starts > 0,
                _ => false,
            })
    }

    /// Whether another message with the same key is being handled or settled.
    fn twin_is_busy(&self, id: &MessageId) -> bool {
        let key =
            |held: &Held| held.key.as_ref().is_some_and(|key| self.busy_keys.contains_key(key));
        !self.busy_keys.is_empty() && self.held.get(id).is_some_and(key)
    }

    fn start(&mut self, id: MessageId) -> Action {
        let held = self.held.get_mut(&id).expect("what is started is held");
        held.stage = Stage::Running;
        self.running += 1;
        if let Some(key) = &held.key {
            self.busy_keys.insert(Arc::clone(key), id.clone());
        }
        Self::work(id, held)
    }

    fn work(id: MessageId, held: &Held) -> Action {
        Action::Handle(Work {
            id,
            message: Arc::clone(&held.message),
            origin: held.origin.clone(),
            key: held.key.clone(),
            attempt: held.tries.attempts + 1,
            redrives: held.redrives,
        })
    }

    /// Reports whether starts were put on record. Returns the work that may now be done.
    #[must_use]
    pub fn began(
        &mut self,
        ids: &[MessageId],
        result: Result<Vec<bool>, StoreError>,
        now: Nanos,
    ) -> Vec<Work> {
        self.commanding = false;
        let mut work = Vec::new();
        match result {
            Ok(ours) => {
                self.command_succeeded(now);
                let fresh = self.is_fresh(self.command_sent, now);
                for (id, ours) in ids.iter().zip(ours) {
                    let Some(held) = self.held.get_mut(id) else { continue };
                    if ours && !fresh && self.draining.is_none() {
                        self.running -= 1;
                        // The answer is too old to rely on. The next record holds the same number of starts.
                        held.tries.starts -= 1;
                        held.stage = Stage::Suspect;
                        self.suspects.push_front(id.clone());
                    } else if ours && self.draining.is_none() {
                        held.stage = Stage::Running;
                        if let Some(key) = &held.key {
                            self.busy_keys.insert(Arc::clone(key), id.clone());
                        }
                        let Action::Handle(one) = Self::work(id.clone(), held) else { continue };
                        work.push(one);
                    } else if ours {
                        self.running -= 1;
                        let (id, disposition) = (id.clone(), held.give_back());
                        self.outbox.push_back(Settlement { id, disposition });
                    } else {
                        self.running -= 1;
                        self.stats.lost += 1;
                        self.drop_held(id);
                    }
                }
            }
            Err(_) => {
                self.failed_command(now);
                for id in ids {
                    let Some(held) = self.held.get_mut(id) else { continue };
                    self.running -= 1;
                    // The store may have recorded it all the same. The next record holds the same number of starts.
                    held.tries.starts -= 1;
                    held.stage = Stage::Suspect;
                    self.suspects.push_front(id.clone());
                }
                if let Some(deadline) = self.draining.take() {
                    self.drain(deadline);
                }
            }
        }
        work
    }

    /// Reports how a handler ended.
    pub fn handled(&mut self, id: &MessageId, outcome: HandlerOutcome, now: Nanos) {
        let Some(held) = self.held.get_mut(id) else { return };
        // A handler that was abandoned has released its message, so its end no longer counts.
        if held.stage != Stage::Running {
            return;
        }
        held.stage = Stage::Settling;
        self.running -= 1;
        let disposition = match outcome {
            HandlerOutcome::Done(emit) => {
                if let Some(why) = emit.iter().find_map(|out| out.message.check().err()) {
                    let text = format!("the handler emitted what cannot be published: {why}");
                    let failure = HandlerFailure::new(Class::Permanent, "invalid_output", &text);
                    let disposition = self.fail(id, HandlerOutcome::Failed(failure), now);
                    self.outbox.push_back(Settlement { id: id.clone(), disposition });
                    return;
                }
                let key = held.remembered_as(id);
                self.succeed();
                Disposition::Done { key, emit }
            }
            outcome => self.fail(id, outcome, now),
        };
        self.outbox.push_back(Settlement { id: id.clone(), disposition });
    }

    fn succeed(&mut self) {
        if self.circuit.succeed() == Transition::Closed {
            self.stats.circuit_closed += 1;
        }
    }

    fn fail(&mut self, id: &MessageId, outcome: HandlerOutcome, now: Nanos) -> Disposition {
        let (reason, failure) = explain(outcome, self.config.group.handler_timeout);
        if failure.class == Class::Transient {
            if let Transition::Opened { .. } =
                self.circuit.fail(now, &self.config.group.circuit.config())
            {
                self.stats.circuit_opened += 1;
            }
        } else if matches!(self.circuit, Circuit::HalfOpen) {
            // The service answered, even if it refused.
            self.succeed();
        }
        let held = self.held.get_mut(id).expect("what fails is held");
        held.tries.attempts = held.tries.attempts.saturating_add(1);
        // The handler ended, so the message did not kill its process.
        held.tries.starts = 0;
        held.tries.last_failed = now;
        if held.tries.first_failed == Nanos::ZERO {
            held.tries.first_failed = now;
        }
        let held = &self.held[id];
        if failure.class != Class::Transient {
            return self.give_up(held, reason, failure, now);
        }
        let published = Nanos::from_ms(held.origin.id.ms).unwrap_or_default();
        match self.config.retry.decide(id, held.tries.attempts, published, now) {
            RetryDecision::Retry(pause) => {
                let after = failure.retry_after.map_or(pause, |asked| asked.max(pause));
                Disposition::Retry { tries: held.tries, after }
            }
            RetryDecision::Exhausted => self.give_up(held, Reason::MaxAttempts, failure, now),
            RetryDecision::Expired => self.give_up(held, Reason::Expired, failure, now),
        }
    }

    pub(super) fn give_up(
        &self,
        held: &Held,
        reason: Reason,
        failure: HandlerFailure,
        now: Nanos,
    ) -> Disposition {
        let or_now = |at: Nanos| if at == Nanos::ZERO { now } else { at };
        let story = Story {
            origin: held.origin.clone(),
            group: self.config.member.group.clone(),
            key: name_of(held.key.as_deref(), &held.origin),
            published: Nanos::from_ms(held.origin.id.ms).unwrap_or_default(),
            first_failed: or_now(held.tries.first_failed),
            last_failed: or_now(held.tries.last_failed),
            attempts: held.tries.attempts,
            deliveries: held.deliveries,
            reclaims: held.tries.reclaims,
            reason,
            fingerprint: failure.fingerprint(&self.config.handler),
            failure,
            handler: self.config.handler.clone(),
            consumer: self.config.member.consumer.clone(),
            build: self.config.build.clone(),
            redrives: held.redrives,
        };
        let (message, state) = (Message::clone(&held.message), DeadState::default());
        Disposition::Dead(Box::new(DeadLetter { message, story, state }))
    }
}

/// Why a handler failed, as a dead letter records it.
fn explain(outcome: HandlerOutcome, timeout: Span) -> (Reason, HandlerFailure) {
    match outcome {
        HandlerOutcome::Failed(failure) => (Reason::Permanent, failure),
        HandlerOutcome::Undecodable(why) => {
            (Reason::Undecodable, HandlerFailure::new(Class::Poison, "undecodable", &why))
        }
        HandlerOutcome::Panicked(why) => {
            let text = format!("the handler panicked: {why}");
            (Reason::Panicked, HandlerFailure::new(Class::Poison, "panicked", &text))
        }
        HandlerOutcome::TimedOut => {
            let text = format!("the handler did not end within {timeout}");
            (Reason::MaxAttempts, HandlerFailure::new(Class::Transient, "timed_out", &text))
        }
        HandlerOutcome::Done(_) => unreachable!("a success is no failure"),
    }
}
