//! Delivers an entry to its handlers, and applies what they emitted and which timers they set.
//!
//! This file decides what follows a failure: the handler skips the event, the event is parked, or the engine halts. An
//! operator's release is delivered like any other entry; then the events that are parked under its key are delivered.

use std::mem;

use super::{Engine, Queued, outcome::reason_in};
use crate::{
    bus::{Slot, TimerChange, Verdict},
    event::{Body, Event, OperatorAction, Origin, System, Topic},
    halt::Halting,
    ordinal,
    park::{ParkedKey, Release},
    text::Name,
    timers::Timer,
};

impl Engine {
    /// Delivers an event to its handlers, without the first `from` of them. An error is a failure that halts.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        event: &Event,
        from: usize,
        cascade_budget: &mut usize,
    ) -> Result<(), Halting> {
        let topic = event.body.topic();
        if let Body::System(System::TimerFired { handler, .. }) = &event.body {
            return self.dispatch_timer(event, *handler, from, cascade_budget);
        }
        for nth in from..self.routes[topic.index()].len() {
            let at = self.routes[topic.index()][nth];
            if let Err(outcomes) = self.deliver(at, event, cascade_budget) {
                return Err(Halting { handler: self.slots[at].name, next: nth + 1, outcomes });
            }
        }
        if topic == Topic::System && !self.parking.is_empty() {
            self.release_if_asked(event, cascade_budget);
        }
        Ok(())
    }

    /// Delivers a timer to its owner and to every handler that subscribes to `system`, in bus order.
    fn dispatch_timer(
        &mut self,
        event: &Event,
        owner: Name,
        from: usize,
        cascade_budget: &mut usize,
    ) -> Result<(), Halting> {
        for at in from..self.slots.len() {
            let handler = self.slots[at].name;
            let subscribed = self.routes[Topic::System.index()].contains(&at);
            if (subscribed || handler == owner)
                && let Err(outcomes) = self.deliver(at, event, cascade_budget)
            {
                return Err(Halting { handler, next: at + 1, outcomes });
            }
        }
        Ok(())
    }

    /// Delivers an event to one handler. The error holds what to record of a failure that halts.
    #[inline]
    fn deliver(
        &mut self,
        at: usize,
        event: &Event,
        cascade_budget: &mut usize,
    ) -> Result<(), Vec<System>> {
        let topic = event.body.topic();
        let slot = &mut self.slots[at];
        let handler = slot.name;
        if self.parks.contains(topic)
            && let Some(key) = ParkedKey::of(handler, event)
        {
            return self.deliver_or_park(at, event, key, cascade_budget);
        }
        let config = &self.config;
        let halts = self.halting.contains(topic);
        let circuit = (!halts).then_some(&config.circuit);
        let recorded =
            self.recorded_failures.iter().find(|failure| halts && failure.matches(event, handler));
        let verdict = match recorded {
            None => slot.deliver(event, config.seed, *cascade_budget, &mut self.staged, circuit),
            Some(failure) => slot.fail_again(event, failure.reason.clone()),
        };
        match verdict {
            Verdict::PassedOver => {}
            Verdict::Done if self.staged.is_empty() => {}
            Verdict::Done => self.apply_staged(event, handler, cascade_budget),
            Verdict::Noted { succeeded: true, outcomes } => {
                self.queue_outcomes(event, handler, outcomes);
                self.apply_staged(event, handler, cascade_budget);
            }
            Verdict::Noted { succeeded: false, outcomes } => {
                self.staged.clear();
                if halts {
                    return Err(outcomes);
                }
                self.queue_outcomes(event, handler, outcomes);
            }
        }
        Ok(())
    }

    /// Delivers an event whose topic parks. It is parked when the handler fails, or when an earlier event of its key is
    /// parked. The error holds what to record when the parking capacity is exceeded.
    #[inline(never)]
    fn deliver_or_park(
        &mut self,
        at: usize,
        event: &Event,
        key: ParkedKey,
        cascade_budget: &mut usize,
    ) -> Result<(), Vec<System>> {
        let handler = key.handler;
        if self.parking.holds(&key) {
            self.parking.push(key, event);
            if self.parking.len() <= self.config.park_capacity {
                return Ok(());
            }
            self.parking.failures += 1;
            let reason = "it was not called, for an earlier event of its key is parked".to_owned();
            return Err(vec![System::HandlerFailed { handler, event: event.header.id, reason }]);
        }
        let (slot, seed) = (&mut self.slots[at], self.config.seed);
        let recorded =
            self.recorded_failures.iter().find(|failure| failure.matches(event, handler));
        let verdict = match recorded {
            None => slot.deliver_or_undo(event, seed, *cascade_budget, &mut self.staged),
            Some(failure) => slot.fail_again(event, failure.reason.clone()),
        };
        let outcomes = match verdict {
            Verdict::PassedOver => return Ok(()),
            Verdict::Done => {
                self.apply_staged(event, handler, cascade_budget);
                return Ok(());
            }
            Verdict::Noted { succeeded: true, outcomes } => {
                self.queue_outcomes(event, handler, outcomes);
                self.apply_staged(event, handler, cascade_budget);
                return Ok(());
            }
            Verdict::Noted { succeeded: false, outcomes } => outcomes,
        };
        self.staged.clear();
        self.parking.begin(key, event, reason_in(&outcomes));
        if self.parking.len() > self.config.park_capacity {
            return Err(outcomes);
        }
        for (n, system) in outcomes.into_iter().enumerate() {
            let ordinal = match system {
                System::HandlerFailed { .. } => ordinal::of_parked_failure(event.pos.seq),
                _ => ordinal::of_outcome(n),
            };
            let outcome = self.outcome_at(event, handler, ordinal, system);
            self.queue.push_back(outcome);
        }
        Ok(())
    }

    /// Where `asked` is an operator's release, delivers the events parked under its key until one fails. They are delivered
    /// one after the other, before anything that they cause.
    #[cold]
    fn release_if_asked(&mut self, asked: &Event, cascade_budget: &mut usize) {
        let Body::System(System::Operator { action: OperatorAction::Release(release), .. }) =
            asked.body
        else {
            return;
        };
        let Release { key, past } = release;
        let by_name = |slot: &Slot| slot.name == key.handler;
        let Some(at) = self.slots.iter().position(by_name) else { return };
        // A release that a handler emitted is not an operator's.
        if asked.origin != Origin::Input || !self.parking.holds(&key) {
            return;
        }
        if past {
            self.parking.pop(&key);
            self.parking.given_up += 1;
        }
        while let Some(first) = self.parking.first(&key) {
            // Position and header stay; the time is engine time, or the handler would set timers in the past.
            let event = Event { time: self.time, ..first.clone() };
            // Each released event may cause as much as an input, so the cascade stays bounded.
            let mut own_budget = self.config.cascade_limit;
            if let Err(reason) = self.retry(at, &event, own_budget) {
                self.staged.clear();
                self.parking.fail_again(&key, reason.clone());
                let handler = key.handler;
                let failed = System::HandlerFailed { handler, event: event.header.id, reason };
                let ordinal = ordinal::of_parked_failure(event.pos.seq);
                let outcome = self.outcome_at(asked, handler, ordinal, failed);
                self.queue.push_back(outcome);
                return;
            }
            self.parking.pop(&key);
            self.apply_staged(&event, key.handler, &mut own_budget);
            *cascade_budget += own_budget;
        }
    }

    /// Delivers a parked event again. The circuit neither blocks nor counts it, since an operator asked for it.
    fn retry(&mut self, at: usize, event: &Event, cascade_budget: usize) -> Result<(), String> {
        let slot = &mut self.slots[at];
        let recorded =
            self.recorded_failures.iter().find(|failure| failure.matches_retry(event, slot.name));
        match recorded {
            None => slot.call_or_undo(event, self.config.seed, cascade_budget, &mut self.staged),
            Some(failure) => Err(failure.reason.clone()),
        }
    }

    /// Applies what a handler staged: queues its events, sets and cancels its timers.
    fn apply_staged(&mut self, event: &Event, handler: Name, cascade_budget: &mut usize) {
        let mut staged = mem::take(&mut self.staged);
        assert!(staged.emitted.len() <= *cascade_budget, "{handler} staged more than its budget");
        *cascade_budget -= staged.emitted.len();
        for (ordinal, (id, body)) in staged.emitted.drain(..).enumerate() {
            let header = self.caused_header(event, id, handler, ordinal as u64);
            self.queue.push_back(Queued::new(Origin::Decision, header, body));
        }
        for change in staged.timers.drain(..) {
            match change {
                TimerChange::Set { key, due, by } => {
                    let correlation = event.header.correlation;
                    self.timers.set(due, Timer { key, set_by: by, correlation });
                }
                TimerChange::Cancel { key } => self.timers.cancel(&key),
            }
        }
        // The buffers are reused, so that a step allocates nothing once they have grown.
        self.staged = staged;
    }
}
