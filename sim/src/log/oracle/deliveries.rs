//! Who was handed what: every subscriber every event once, in order, unless its circuit is open or its key is parked; and
//! nothing comes of a call that failed.

use std::iter::{Peekable, successors};

use silvertine_engine::{
    engine::EngineConfig,
    event::{Body, Event, EventId, Header, Origin, System, TopicSet},
    park::ParkedKey,
    time::Nanos,
};

use super::{
    Promise, Violation,
    calls::{Call, Calls, Registered},
    entry::{is_failure_of, is_past_halt, is_retry, is_retry_of, may_be_of},
    parking::{Lanes, Parking},
    same,
};
use crate::log::coverage::Sight;

type Check = Result<(), Violation>;

/// Finds the newest entry of an id before a place.
pub(super) type Find<'a> = dyn Fn(EventId, usize) -> Option<usize> + 'a;

/// Who was handed what.
pub(super) struct Deliveries<'a> {
    events: &'a [Event],
    /// Of each entry, the place of the one that caused it.
    causes: &'a [Option<usize>],
    calls: &'a Calls,
    config: &'a EngineConfig,
    /// The topics on whose events a failure halts.
    halting: TopicSet,
    /// Handlers in the order in which they must be called.
    order: Vec<usize>,
    /// By entry, then handler: whether its call ended well, where there was one.
    ends: Vec<Option<bool>>,
    parking: Parking,
}

/// What is known of a handler's circuit while reading along.
#[derive(Clone, Copy)]
enum Standing {
    /// Its failures before the first kept entry are not known.
    Unknown,
    /// Called, after so many failures in a row.
    Closed { failures: u32 },
    /// Passed over until then, and tried once after.
    Open { until: Nanos },
}

impl<'a> Deliveries<'a> {
    pub(super) fn new(
        events: &'a [Event],
        causes: &'a [Option<usize>],
        calls: &'a Calls,
        config: &'a EngineConfig,
        parking: Parking,
    ) -> Self {
        let mut order: Vec<usize> = (0..calls.handlers.len()).collect();
        order.sort_by_key(|&handler| calls.handlers[handler].priority);
        let ends = vec![None; events.len() * order.len()];
        let halting = config.on_failure.halting();
        Self { events, causes, calls, config, halting, order, ends, parking }
    }

    pub(super) fn check(
        mut self,
        find: &Find<'_>,
        whole: bool,
        parked: &Lanes,
    ) -> Result<Vec<Sight>, Violation> {
        let begin = if whole { Standing::Closed { failures: 0 } } else { Standing::Unknown };
        let mut standing = vec![begin; self.calls.handlers.len()];
        let mut calls = self.calls.calls.iter().peekable();
        let mut turn = (0, 0);
        let mut released_at = 0;
        for (at, event) in self.events.iter().enumerate() {
            self.parking.begin(event, is_past_halt(event));
            self.nothing_of_a_failure(event, at, find, whole)?;
            let cause = self.causes[at];
            turn = self.in_turn(event, cause, turn, released_at)?;
            let halts = self.tells_of_halt(at, cause);
            self.nothing_behind_a_halt(at, halts)?;
            let silent = event.origin == Origin::Outcome
                && (halts
                    || cause.is_some_and(|cause| self.events[cause].origin == Origin::Outcome));
            for turn in 0..self.order.len() {
                let handler = self.order[turn];
                let wanted = !silent && self.subscribed(handler, event);
                let parks = if wanted { self.parks(event, handler) } else { None };
                let ended = if let Some(key) = parks {
                    // Not called: a call for it is left to a release, and found out of order where there is none.
                    let failed = !self.parking.holds(&key);
                    self.parking.park(key, event, at);
                    failed.then_some(false)
                } else {
                    let called =
                        calls.next_if(|call| call.seq == event.pos.seq && call.handler == handler);
                    let standing = &mut standing[handler];
                    self.delivery(event, handler, wanted, called.copied(), standing)?
                };
                self.ends[at * self.order.len() + handler] = ended;
            }
            if let Some(key) = self.parking.asked(event) {
                released_at = at;
                self.hand_out(event, &key, &mut calls)?;
            }
        }
        match calls.next() {
            None => self.parking.finish(parked),
            Some(call) => {
                let name = self.calls.handlers[call.handler].name;
                let what = format!("{name} is called out of order");
                Err(Violation::new(Promise::Dispatch, what, "by priority", format!("{call:?}")))
            }
        }
    }

    /// The key under which the handler's event is parked: it holds one already, or the handler fails on this one. Then
    /// whoever executes the log again takes the failure from there, and circuits know nothing of it.
    fn parks(&self, event: &Event, handler: usize) -> Option<ParkedKey> {
        let name = self.calls.handlers[handler].name;
        let key = self.parking.key(name, event)?;
        (self.parking.holds(&key)
            || self.outcomes(event).any(|system| is_failure_of(system, name, event)))
        .then_some(key)
    }

    /// Checks that a release hands out what is parked, in order, until the log says that one failed again.
    fn hand_out<'c>(
        &mut self,
        asked: &Event,
        key: &ParkedKey,
        calls: &mut Peekable<impl Iterator<Item = &'c Call>>,
    ) -> Check {
        let named = |registered: &Registered| registered.name == key.handler;
        let Some(handler) = self.calls.handlers.iter().position(named) else { return Ok(()) };
        while let Some(waiting) = self.parking.first(key) {
            let fails = |later: &Event| is_retry_of(later, key.handler, waiting);
            if self.cascade(asked).any(fails) {
                self.parking.sights.push(Sight::ReleaseFailed);
                return Ok(());
            }
            let is_it = |call: &&Call| call.seq == waiting.seq && call.handler == handler;
            if !calls.next_if(is_it).is_some_and(|call| call.ended_well) {
                let what = format!("the release at {} of {key}", asked.pos);
                let expected =
                    format!("the event {} is handed out, or fails on record", waiting.seq);
                let actual = format!("{:?}", calls.peek());
                return Err(Violation::new(Promise::Dispatch, what, expected, actual));
            }
            let base = self.events.first().map_or(1, |first| first.pos.seq);
            if let Some(at) = waiting.seq.checked_sub(base) {
                self.ends[at as usize * self.order.len() + handler] = Some(true);
            }
            self.parking.hand_out(key);
        }
        Ok(())
    }

    /// No decision and no timer comes of a call that failed. A decision stands in the cascade of its cause; but
    /// where a producer's id came again, any entry of that id may have set a timer, a trimmed one too.
    fn nothing_of_a_failure(
        &self,
        event: &Event,
        at: usize,
        find: &Find<'_>,
        whole: bool,
    ) -> Check {
        let header = &event.header;
        let (Origin::Decision | Origin::Timer, Some(id)) = (event.origin, header.causation) else {
            return Ok(());
        };
        let by = |registered: &Registered| registered.name == header.source;
        let Some(handler) = self.calls.handlers.iter().position(by) else { return Ok(()) };
        let is_timer = event.origin == Origin::Timer;
        let earlier = |&cause: &usize| if is_timer { find(id, cause) } else { None };
        let causes = successors(self.causes[at], earlier);
        let mut ends = causes.filter_map(|cause| self.ends[cause * self.order.len() + handler]);
        if ends.next() != Some(false) || ends.any(|well| well) {
            return Ok(());
        }
        let root = find(header.correlation, at).map(|root| &self.events[root].header);
        let is_derived =
            |root: &Header| root.id == EventId::of_input(&root.source, root.source_seq);
        if is_timer && !whole && !root.is_some_and(is_derived) {
            return Ok(());
        }
        let what = format!("the entry at {} comes of a call that failed", event.pos);
        let actual = format!("a decision of {}", header.source);
        Err(Violation::new(Promise::Isolation, what, "nothing", actual))
    }

    /// Whether the entry is part of the record of a failure that halts: the failure, or just before it that the
    /// handler was tried.
    fn tells_of_halt(&self, at: usize, cause: Option<usize>) -> bool {
        let event = &self.events[at];
        let halts = cause.is_some_and(|at| {
            self.halting.contains(self.events[at].body.topic())
                || self.parking.was_full(at, event.header.source)
        });
        let fails = |event: &Event| {
            let failed = matches!(&event.body, Body::System(System::HandlerFailed { .. }));
            failed && event.origin == Origin::Outcome
        };
        let same_call = |next: &&Event| {
            next.header.causation == event.header.causation
                && next.header.source == event.header.source
        };
        let tried = matches!(&event.body, Body::System(System::CircuitHalfOpened { .. }));
        halts
            && !is_retry(event)
            && (fails(event)
                || tried && self.events.get(at + 1).filter(same_call).is_some_and(fails))
    }

    /// Behind a failure that halts comes the operator's permission, and it comes nowhere else.
    fn nothing_behind_a_halt(&self, at: usize, halts: bool) -> Check {
        let (event, next) = (&self.events[at], self.events.get(at + 1));
        let failed = matches!(&event.body, Body::System(System::HandlerFailed { .. })) && halts;
        let permitted = next.is_some_and(is_past_halt);
        if next.is_none() || failed == permitted {
            return Ok(());
        }
        let what = format!("the entry behind the one at {}", event.pos);
        let (expected, actual) = if failed {
            ("an operator's permission: the failure halts", "something else")
        } else {
            ("no permission to go past a halt: there is none", "one")
        };
        Err(Violation::new(Promise::Isolation, what, expected, actual))
    }

    /// Within a cascade, what was caused first comes first, and what one event causes comes in the order
    /// in which handlers were called. Returns the entry's turn, given that of the one before.
    fn in_turn(
        &self,
        event: &Event,
        cause: Option<usize>,
        before: (usize, usize),
        released_at: usize,
    ) -> Result<(usize, usize), Violation> {
        if !event.origin.is_caused() {
            return Ok((0, 0));
        }
        // What a release handed out comes behind what its subscribers caused.
        let handlers = self.order.len();
        let least = if before.0 == released_at { before.1.saturating_sub(handlers) } else { 0 };
        let of_release = self.parking.turn(event, least).map(|nth| (released_at, handlers + nth));
        let by = |&handler: &usize| self.calls.handlers[handler].name == event.header.source;
        let of_cause = |cause| (cause, self.order.iter().position(by).unwrap_or(0));
        // What an entry of the cascade caused may look like what a released event did, whose id came again with it.
        let turns = [of_release, cause.map(of_cause)].into_iter().flatten();
        if let Some(turn) = turns.clone().find(|turn| *turn >= before) {
            return Ok(turn);
        }
        let Some((cause, _)) = turns.into_iter().next() else { return Ok((0, 0)) };
        let what = format!("the entry at {} overtakes what was caused earlier", event.pos);
        let (expected, actual) = (self.events[before.0].pos, self.events[cause].pos);
        let expected = format!("behind all that {expected} caused");
        Err(Violation::new(Promise::Dispatch, what, expected, format!("caused by {actual}")))
    }

    fn subscribed(&self, handler: usize, event: &Event) -> bool {
        let Registered { name, topics, .. } = self.calls.handlers[handler];
        let owns = matches!(&event.body, Body::System(System::TimerFired { handler, .. }) if *handler == name);
        owns || topics.contains(event.body.topic())
    }

    /// Checks that a handler was rightly called, or rightly not. Whether the call ended well, if there was one.
    fn delivery(
        &self,
        event: &Event,
        handler: usize,
        wanted: bool,
        call: Option<Call>,
        standing: &mut Standing,
    ) -> Result<Option<bool>, Violation> {
        let name = self.calls.handlers[handler].name;
        let broken = |expected: &str, actual: &str| {
            let what = format!("{name} and the entry at {}", event.pos);
            Err(Violation::new(Promise::Dispatch, what, expected, actual))
        };
        let is_open = matches!(*standing, Standing::Open { until } if event.time < until);
        let failed = |system: &System| is_failure_of(system, name, event);
        if self.halting.contains(event.body.topic()) && self.outcomes(event).any(failed) {
            // Whoever executes the log again takes the failure from there, and circuits know nothing of it.
            return match call {
                None => Ok(Some(false)),
                Some(_) => broken("not called again: its failure halted the run", "called"),
            };
        }
        let Some(call) = call else {
            if wanted && !is_open && !matches!(standing, Standing::Unknown) {
                return broken(
                    "is called: it is subscribed and its circuit is closed",
                    "not called",
                );
            }
            return Ok(None);
        };
        if !wanted {
            return broken("not called: it is not subscribed", "called");
        }
        if is_open {
            return broken("passed over: its circuit is open", "called");
        }
        let recorded = self.outcomes(event).any(failed);
        if !call.ended_well && !recorded {
            let what = format!("{name} fails on the entry at {}", event.pos);
            return Err(Violation::new(Promise::Isolation, what, "a recorded failure", "none"));
        }
        let opened = self.outcomes(event).find_map(|system| match system {
            System::CircuitOpened { handler, until } if *handler == name => Some(*until),
            _ => None,
        });
        // What was emitted in excess is a failure although the call ended well.
        let well = call.ended_well && !recorded;
        *standing = self.after_call(event, *standing, well, opened);
        let expected = match *standing {
            Standing::Open { until } => Some(until),
            _ => None,
        };
        if expected != opened {
            let what = format!("the circuit of {name} behind the entry at {}", event.pos);
            same(Promise::Dispatch, &what, &expected, &opened)?;
        }
        Ok(Some(well))
    }

    fn after_call(
        &self,
        event: &Event,
        standing: Standing,
        well: bool,
        opened: Option<Nanos>,
    ) -> Standing {
        let circuit = &self.config.circuit;
        let opens = Standing::Open { until: event.time.saturating_add(circuit.reset_after) };
        match standing {
            _ if well => Standing::Closed { failures: 0 },
            Standing::Closed { failures } if failures + 1 < circuit.failure_threshold => {
                Standing::Closed { failures: failures + 1 }
            }
            Standing::Unknown if opened.is_none() => Standing::Unknown,
            _ => opens,
        }
    }

    /// The entries behind `event` in its cascade.
    fn cascade(&self, event: &Event) -> impl Iterator<Item = &'a Event> + use<'a> {
        let base = self.events.first().map_or(1, |first| first.pos.seq);
        let after = (event.pos.seq - base) as usize + 1;
        let goes_on = |later: &&Event| later.origin.is_caused() || is_past_halt(later);
        self.events[after..].iter().take_while(goes_on)
    }

    /// What the log records about handlers that were handed `event`.
    fn outcomes<'e>(&self, event: &'e Event) -> impl Iterator<Item = &'a System> + use<'a, 'e> {
        let cause = event.header.id;
        self.cascade(event).filter_map(move |later| match &later.body {
            Body::System(system)
                if later.origin == Origin::Outcome
                    && later.header.causation == Some(cause)
                    && may_be_of(later, event) =>
            {
                Some(system)
            }
            _ => None,
        })
    }
}
