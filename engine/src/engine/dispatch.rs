//! Hands an entry to its handlers, and lets what they want take effect.
//!
//! Here is decided what a failure leads to: the event is given up for the handler, it is parked, or the engine halts.
//! An operator's release is an entry like any other; once it is handed out, what is parked under its key follows.

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
    /// Hands an event to its handlers, but for the first `from` of them. An error is a failure that halts.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        event: &Event,
        from: usize,
        room: &mut usize,
    ) -> Result<(), Halting> {
        let topic = event.body.topic();
        if let Body::System(System::TimerFired { handler, .. }) = &event.body {
            return self.dispatch_timer(event, *handler, from, room);
        }
        for nth in from..self.routes[topic.index()].len() {
            let at = self.routes[topic.index()][nth];
            if let Err(outcomes) = self.deliver(at, event, room) {
                return Err(Halting { handler: self.slots[at].name, next: nth + 1, outcomes });
            }
        }
        if topic == Topic::System && !self.parking.is_empty() {
            self.release_if_asked(event, room);
        }
        Ok(())
    }

    /// A timer reaches its owner and whoever subscribes to `system`, in the usual order.
    fn dispatch_timer(
        &mut self,
        event: &Event,
        owner: Name,
        from: usize,
        room: &mut usize,
    ) -> Result<(), Halting> {
        for at in from..self.slots.len() {
            let handler = self.slots[at].name;
            let subscribed = self.routes[Topic::System.index()].contains(&at);
            if (subscribed || handler == owner)
                && let Err(outcomes) = self.deliver(at, event, room)
            {
                return Err(Halting { handler, next: at + 1, outcomes });
            }
        }
        Ok(())
    }

    /// Hands an event to one handler. An error is what to record of a failure that halts.
    #[inline]
    fn deliver(&mut self, at: usize, event: &Event, room: &mut usize) -> Result<(), Vec<System>> {
        let topic = event.body.topic();
        let slot = &mut self.slots[at];
        let handler = slot.name;
        if self.parks.contains(topic)
            && let Some(key) = ParkedKey::of(handler, event)
        {
            return self.deliver_or_park(at, event, key, room);
        }
        let config = &self.config;
        let halts = self.halting.contains(topic);
        let circuit = (!halts).then_some(&config.circuit);
        let foretold = self.foretold.iter().find(|failure| halts && failure.is(event, handler));
        let verdict = match foretold {
            None => slot.deliver(event, config.seed, *room, &mut self.staged, circuit),
            Some(failure) => slot.fail_again(event, failure.reason.clone()),
        };
        match verdict {
            Verdict::PassedOver => {}
            Verdict::Done if self.staged.is_empty() => {}
            Verdict::Done => self.release_staged(event, handler, room),
            Verdict::Noted { succeeded: true, outcomes } => {
                self.queue_outcomes(event, handler, outcomes);
                self.release_staged(event, handler, room);
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

    /// Hands an event to a handler for which it is parked when it fails, or when an earlier one of its key is. An error
    /// is what to record when there is no room for it.
    #[inline(never)]
    fn deliver_or_park(
        &mut self,
        at: usize,
        event: &Event,
        key: ParkedKey,
        room: &mut usize,
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
        let verdict = match self.foretold.iter().find(|failure| failure.is(event, handler)) {
            None => slot.deliver_or_undo(event, seed, *room, &mut self.staged),
            Some(failure) => slot.fail_again(event, failure.reason.clone()),
        };
        let outcomes = match verdict {
            Verdict::PassedOver => return Ok(()),
            Verdict::Done => {
                self.release_staged(event, handler, room);
                return Ok(());
            }
            Verdict::Noted { succeeded: true, outcomes } => {
                self.queue_outcomes(event, handler, outcomes);
                self.release_staged(event, handler, room);
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

    /// Where `asked` is an operator's release, hands out what is parked under its key until an event fails: back to
    /// back, ahead of what they cause, as they would have been handed out had they come just now.
    #[cold]
    fn release_if_asked(&mut self, asked: &Event, room: &mut usize) {
        let Body::System(System::Operator { action: OperatorAction::Release(release), .. }) =
            asked.body
        else {
            return;
        };
        let Release { key, past } = release;
        let by_name = |slot: &Slot| slot.name == key.handler;
        let Some(at) = self.slots.iter().position(by_name) else { return };
        // What handlers emit is no operator's doing.
        if asked.origin != Origin::Input || !self.parking.holds(&key) {
            return;
        }
        if past {
            self.parking.pop(&key);
            self.parking.given_up += 1;
        }
        while let Some(first) = self.parking.first(&key) {
            // Its place and header are those it came with; its time is the engine's, or timers would be set in the past.
            let event = Event { time: self.time, ..first.clone() };
            // Each may cause as much as an input, which keeps the cascade of all of them bounded.
            let mut own_room = self.config.cascade_limit;
            if let Err(reason) = self.retry(at, &event, own_room) {
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
            self.release_staged(&event, key.handler, &mut own_room);
            *room += own_room;
        }
    }

    /// Tries an event that was parked. Circuits know nothing of it: an operator has asked.
    fn retry(&mut self, at: usize, event: &Event, room: usize) -> Result<(), String> {
        let slot = &mut self.slots[at];
        match self.foretold.iter().find(|failure| failure.is_retry(event, slot.name)) {
            None => slot.call_or_undo(event, self.config.seed, room, &mut self.staged),
            Some(failure) => Err(failure.reason.clone()),
        }
    }

    /// Lets what a handler staged take effect.
    fn release_staged(&mut self, event: &Event, handler: Name, room: &mut usize) {
        let mut staged = mem::take(&mut self.staged);
        *room -= staged.emitted.len();
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
        // Hands the buffers back, so that a step allocates nothing once they have grown.
        self.staged = staged;
    }
}
