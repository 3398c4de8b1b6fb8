//! Reads a finished log and the calls of a watched re-execution, and checks what neither could know of the
//! other: causes, timers, who was handed what, and that failures were recorded.

use std::{
    iter::{Peekable, successors},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use silvertine_engine::{
    Counts,
    bus::{Context, Figure, Handler, HandlerError, Priority},
    engine::EngineConfig,
    event::{Body, Event, EventId, Header, OperatorAction, OrderStatus, Origin, System, TopicSet},
    park::ParkedKey,
    text::Name,
    time::Nanos,
};

use super::{
    Promise, Violation,
    parking::{Lanes, Parking, is_retry, is_retry_of, may_be_of, release},
    same,
};
use crate::log::coverage::Sight;

type Check = Result<(), Violation>;

/// What the handlers of one engine were handed, and how each call ended. Each handler notes its own calls
/// and hands them in when the engine is dropped; a shared number puts them in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallLog {
    next: Arc<AtomicU64>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    handlers: Vec<Registered>,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Registered {
    name: Name,
    priority: Priority,
    topics: TopicSet,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    seq: u64,
    handler: usize,
    ended_well: bool,
}

impl CallLog {
    /// Puts a watch around a handler.
    pub(crate) fn watch(
        &self,
        name: Name,
        priority: Priority,
        inner: Box<dyn Handler>,
    ) -> Box<dyn Handler> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let handler = calls.handlers.len();
        calls.handlers.push(Registered { name, priority, topics: inner.topics() });
        Box::new(Watched { inner, handler, calls: Vec::new(), log: self.clone() })
    }

    /// All calls in order, once the engine is gone.
    pub(crate) fn take(&self) -> Calls {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // Each handler's calls are in order already, and this sort merges what is.
        calls.calls.sort_by_key(|call| call.number);
        std::mem::take(&mut calls)
    }
}

struct Watched {
    inner: Box<dyn Handler>,
    handler: usize,
    calls: Vec<Call>,
    log: CallLog,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut calls = self.log.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.calls.append(&mut self.calls);
    }
}

impl Handler for Watched {
    fn topics(&self) -> TopicSet {
        self.inner.topics()
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let number = self.log.next.fetch_add(1, Ordering::Relaxed);
        // Stays so when the handler panics.
        let ended_well = false;
        let call = Call { number, seq: event.pos.seq, handler: self.handler, ended_well };
        self.calls.push(call);
        let result = self.inner.handle(event, ctx);
        if let Some(call) = self.calls.last_mut() {
            call.ended_well = result.is_ok();
        }
        result
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        self.inner.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.inner.load(state)
    }

    fn figures(&self) -> Vec<(&'static str, Figure)> {
        self.inner.figures()
    }
}

/// What is parked before the first kept entry, and behind the last one.
pub(crate) struct Parked {
    pub(crate) before: Lanes,
    pub(crate) after: Lanes,
}

/// Checks a log from its first kept entry on, with the calls of its re-execution from there. Returns what it saw.
pub(crate) fn audit(
    events: &[Event],
    calls: &Calls,
    config: &EngineConfig,
    parked: &Parked,
) -> Result<Vec<Sight>, Violation> {
    let parking = Parking::new(config, parked.before.clone());
    let by_id = index(events)?;
    // The newest entry of that id before `at`: beyond its window, a producer's id may come again.
    let find = |id: EventId, at: usize| -> Option<usize> {
        let behind = by_id.partition_point(|&entry| entry < (id, at));
        by_id[..behind].last().filter(|found| found.0 == id).map(|found| found.1)
    };
    let cause_of = |(at, event): (usize, &Event)| find(event.header.causation?, at);
    let causes: Vec<Option<usize>> = events.iter().enumerate().map(cause_of).collect();
    let whole = events.first().is_none_or(|first| first.pos.seq == 1);
    for (at, event) in events.iter().enumerate() {
        match event.origin {
            Origin::Input => {}
            Origin::Timer => timer(events, at, causes[at], whole)?,
            // What caused it may have been trimmed while it was parked.
            Origin::Decision | Origin::Outcome
                if causes[at].is_none()
                    && event.header.causation.is_some_and(|id| parking.was_parked_before(id)) => {}
            Origin::Decision | Origin::Outcome => caused(events, at, causes[at])?,
        }
    }
    timers_in_order(events)?;
    Deliveries::new(events, &causes, calls, config, parking).check(&find, whole, &parked.after)
}

/// Whether it is an operator's permission to go on behind a halt.
pub(crate) fn is_past_halt(event: &Event) -> bool {
    let Body::System(System::Operator { action, .. }) = &event.body else { return false };
    event.origin == Origin::Input && *action == OperatorAction::PastHalt
}

type Find<'a> = dyn Fn(EventId, usize) -> Option<usize> + 'a;

/// Every id with its place, in order. Only an input's id may come again (and then what it causes again has
/// the ids that it had).
fn index(events: &[Event]) -> Result<Vec<(EventId, usize)>, Violation> {
    let mut by_id: Vec<_> = events.iter().enumerate().map(|(at, e)| (e.header.id, at)).collect();
    by_id.sort_unstable();
    let twice = |pair: &&[(EventId, usize)]| pair[0].0 == pair[1].0;
    let came_again = |id: EventId| {
        let mut inputs = events.iter().filter(|e| e.origin == Origin::Input && e.header.id == id);
        inputs.nth(1).is_some()
    };
    for pair in by_id.windows(2).filter(twice) {
        let (first, second) = (&events[pair[0].1], &events[pair[1].1]);
        if !came_again(second.header.correlation) {
            let what = format!("two entries have the id {}", pair[0].0);
            return Err(Violation::new(Promise::Once, what, first.pos, second.pos));
        }
    }
    Ok(by_id)
}

fn caused(events: &[Event], at: usize, cause: Option<usize>) -> Check {
    let event = &events[at];
    let Some(cause) = cause.filter(|&cause| cause < at).map(|cause| &events[cause]) else {
        let what = format!("the entry at {} has no cause before it", event.pos);
        return Err(Violation::new(Promise::Integrity, what, "a cause", "none"));
    };
    let (expected, actual) = (cause.header.correlation, event.header.correlation);
    same(Promise::Integrity, "an entry shares the root cause of its cause", &expected, &actual)
}

fn timer(events: &[Event], at: usize, set_by: Option<usize>, whole: bool) -> Check {
    let fired = &events[at];
    let due = fired.header.event_time;
    if fired.time < due {
        let what = format!("the timer at {} fires early", fired.pos);
        return Err(Violation::new(Promise::Time, what, due, fired.time));
    }
    let Some(set_by) = set_by else {
        // What set it may have been trimmed.
        let what = format!("nothing set the timer at {}", fired.pos);
        let violation = Violation::new(Promise::Integrity, what, "an entry that set it", "none");
        return if whole { Err(violation) } else { Ok(()) };
    };
    let overtook =
        |event: &&Event| event.origin == Origin::Input && event.time >= due && !is_past_halt(event);
    // Where what was parked has been released since, that may be when it was set.
    let behind = (set_by + 1).min(at);
    let behind = events[behind..at]
        .iter()
        .rposition(|e| release(e).is_some())
        .map_or(behind, |nth| behind + nth + 1);
    match events[behind..at].iter().find(overtook) {
        None => Ok(()),
        Some(input) => {
            let what = format!("the timer at {} fires behind a later input", fired.pos);
            let expected = format!("before the input at {} ({})", input.pos, input.time);
            Err(Violation::new(Promise::Time, what, expected, format!("due {due}")))
        }
    }
}

/// Timers fire in the order (due, creation), over the whole log: a new one is never due before now.
fn timers_in_order(events: &[Event]) -> Check {
    let timers = events.iter().filter(|event| event.origin == Origin::Timer);
    let mut before = None;
    for fired in timers {
        let this = (fired.header.event_time, fired.header.source_seq);
        if before.is_some_and(|before| before >= this) {
            let what = format!("the timer at {} fires out of turn", fired.pos);
            let expected = format!("due behind {:?}", before.unwrap_or_default());
            return Err(Violation::new(Promise::Time, what, expected, format!("{this:?}")));
        }
        before = Some(this);
    }
    Ok(())
}

/// Who was handed what.
struct Deliveries<'a> {
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
    fn new(
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

    fn check(
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
        (self.parking.holds(&key) || self.outcomes(event).any(|system| fails(system, name, event)))
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
        Err(Violation::new(Promise::Poison, what, "nothing", actual))
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
        Err(Violation::new(Promise::Poison, what, expected, actual))
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
        let failed = |system: &System| fails(system, name, event);
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
            return Err(Violation::new(Promise::Poison, what, "a recorded failure", "none"));
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

/// Whether it records that the handler failed on the event.
fn fails(system: &System, by: Name, on: &Event) -> bool {
    matches!(system, System::HandlerFailed { handler, event, .. } if (*handler, *event) == (by, on.header.id))
}

/// Counts a whole log again.
pub(crate) fn recount(events: &[Event]) -> Counts {
    let mut counts = Counts { entries: events.len() as u64, ..Counts::default() };
    for event in events {
        counts.inputs += u64::from(event.origin == Origin::Input);
        counts.timers += u64::from(event.origin == Origin::Timer);
        match &event.body {
            Body::MarketData(_) => {}
            Body::Signal(_) => counts.signals += 1,
            Body::Fill(_) => counts.fills += 1,
            Body::Order(order) => match order.status {
                OrderStatus::Submitted => counts.orders += 1,
                OrderStatus::Denied { .. } | OrderStatus::Rejected { .. } => counts.rejected += 1,
                _ => {}
            },
            Body::System(System::Rejected { .. }) => counts.refused_inputs += 1,
            Body::System(System::HandlerFailed { .. }) => counts.handler_failures += 1,
            Body::System(_) => {}
        }
    }
    counts
}
