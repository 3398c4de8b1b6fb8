//! The step: a deterministic function from an input to entries.
//!
//! Run to completion is per input: due timers first, each an entry with its own cascade; then the
//! input; then everything it causes, first in first out. The engine reads nothing but its arguments
//! and its own state, so the same inputs give the same bytes, on any machine and in any batching.

use std::{collections::VecDeque, mem, ops::ControlFlow};

use serde::{Deserialize, Serialize};

use crate::{
    bus::{
        FailurePolicy, Figure, Handler, HandlerError, Priority, Slot, SlotState, Staged,
        TimerChange, Verdict,
    },
    circuit::CircuitConfig,
    counts::Counts,
    dedup::{Dedup, DedupConfig},
    digest::Digest,
    event::{Body, Event, EventId, Header, OperatorAction, Origin, System, Topic, TopicSet},
    halt::{Dispatch, Foretold, Halt, Standstill},
    log::Batch,
    ordinal,
    park::{Parked, ParkedKey, Parking, Release, SavedParking},
    pos::Pos,
    source::Input,
    text::Name,
    time::Nanos,
    timers::{Timer, TimerKey, Timers},
};

/// Version of the snapshot format. A snapshot of another version is not used.
const SNAPSHOT_VERSION: u32 = 2;
/// The source of what operators do where they are: beside the engine, not at its ingress.
const OPERATOR: &str = "operator";

/// What shapes an engine's behaviour. Part of what makes two runs the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// The root of all randomness that handlers see.
    pub seed: u64,
    /// The most events that handlers may emit because of one input or timer.
    pub cascade_limit: usize,
    /// When a failing handler is passed over.
    pub circuit: CircuitConfig,
    /// What follows when a handler fails.
    pub on_failure: FailurePolicy,
    /// The most events that are parked, for all handlers together; each one beyond halts.
    pub park_capacity: usize,
    /// How long the ids that producers bring along are remembered.
    pub dedup: DedupConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            cascade_limit: 1024,
            circuit: CircuitConfig::default(),
            on_failure: FailurePolicy::default(),
            park_capacity: 4096,
            dedup: DedupConfig::default(),
        }
    }
}

/// Handlers on a bus, and the state they share: time, timers, duplicates, position, digest.
pub struct Engine {
    config: EngineConfig,
    /// In order of priority, then registration.
    slots: Vec<Slot>,
    /// Per topic, which slots are handed its events, in that order.
    routes: [Vec<usize>; Topic::ALL.len()],
    time: Nanos,
    head: Pos,
    digest: Digest,
    counts: Counts,
    timers: Timers,
    dedup: Dedup,
    /// Empty between steps, unless the engine stands still.
    queue: VecDeque<Queued>,
    staged: Staged,
    /// The topics on whose events a failure halts.
    halting: TopicSet,
    /// The topics whose events are parked behind a failure.
    parks: TopicSet,
    parking: Parking,
    /// Where it stopped in the middle of a cascade.
    standstill: Option<Box<Standstill>>,
    /// The failures in the cascade which replay is about to execute again.
    foretold: Vec<Foretold>,
}

/// An event of the running cascade that waits for its turn.
struct Queued {
    /// Its position and time are given when its turn comes.
    event: Event,
    /// Whether handlers see it. A failure *about* a failure is recorded and goes no further, or two
    /// failing handlers could feed each other for ever.
    dispatched: bool,
}

impl Queued {
    const fn new(origin: Origin, header: Header, body: Body) -> Self {
        let event = Event { pos: Pos::ZERO, time: Nanos::ZERO, origin, header, body };
        Self { event, dispatched: true }
    }

    fn of_input(input: Input) -> Self {
        let id = input.id.unwrap_or_else(|| EventId::of_input(&input.source, input.source_seq));
        let header = Header {
            id,
            event_time: input.event_time,
            recv_time: input.recv_time,
            source: input.source,
            source_seq: input.source_seq,
            correlation: id,
            causation: None,
        };
        Self::new(Origin::Input, header, input.body)
    }
}

/// A failure that halts, on its way out of the dispatch.
struct Halting {
    handler: Name,
    /// How many of the event's handlers had their turn.
    next: usize,
    outcomes: Vec<System>,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It and everything it caused is in the batch.
    Handled,
    /// It had been seen before; nothing happened but the timers that came due.
    Duplicate,
    /// The engine stands still, perhaps because of a timer that came due first: the input was not handled.
    Halted,
}

/// Why an engine cannot be built, saved or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Two handlers with one name: ids and snapshots could not tell them apart.
    #[error("two handlers are called {0}; give each its own name")]
    DuplicateHandler(Name),
    /// A handler cannot write or read its state.
    #[error("handler {handler}: state: {why}")]
    HandlerState {
        /// Which handler.
        handler: Name,
        /// Why.
        why: String,
    },
    /// The engine stands still in the middle of a cascade; the newest snapshot before it stays the newest.
    #[error("there is no snapshot of an engine that stands still: {0}")]
    Halted(Halt),
    /// The snapshot is of other handlers, another version, or no snapshot at all.
    #[error("snapshot does not fit this engine: {0}")]
    Snapshot(String),
}

/// Collects handlers for an engine.
#[derive(Default)]
pub struct EngineBuilder {
    config: EngineConfig,
    slots: Vec<Slot>,
}

impl EngineBuilder {
    /// Registers a handler under a name of its own.
    #[must_use]
    pub fn handler(self, name: Name, priority: Priority, handler: impl Handler + 'static) -> Self {
        self.boxed_handler(name, priority, Box::new(handler))
    }

    /// Registers a handler whose type is not known here.
    #[must_use]
    pub fn boxed_handler(
        mut self,
        name: Name,
        priority: Priority,
        handler: Box<dyn Handler>,
    ) -> Self {
        self.slots.push(Slot::new(name, priority, handler));
        self
    }

    /// The engine, at the beginning of an empty log.
    ///
    /// # Errors
    /// [`EngineError::DuplicateHandler`] when a name is taken twice.
    pub fn build(self) -> Result<Engine, EngineError> {
        let Self { config, mut slots } = self;
        for (at, slot) in slots.iter().enumerate() {
            if slots[..at].iter().any(|earlier| earlier.name == slot.name) {
                return Err(EngineError::DuplicateHandler(slot.name));
            }
        }
        // A stable sort, so that registration order decides within a priority.
        slots.sort_by_key(|slot| slot.priority);
        let routes = Topic::ALL.map(|topic| {
            let subscribed = |&at: &usize| slots[at].handler.topics().contains(topic);
            (0..slots.len()).filter(subscribed).collect()
        });
        Ok(Engine {
            config,
            slots,
            routes,
            time: Nanos::ZERO,
            head: Pos::ZERO,
            digest: Digest::EMPTY,
            counts: Counts::default(),
            timers: Timers::default(),
            dedup: Dedup::default(),
            queue: VecDeque::new(),
            staged: Staged::default(),
            halting: config.on_failure.halting(),
            parks: config.on_failure.parking(),
            parking: Parking::default(),
            standstill: None,
            foretold: Vec::new(),
        })
    }
}

impl Engine {
    /// Begins an engine.
    #[must_use]
    pub fn builder(config: EngineConfig) -> EngineBuilder {
        EngineBuilder { config, slots: Vec::new() }
    }

    /// Handles one input at engine time `max(time so far, at)` and appends to `batch` every entry that
    /// comes of it. Timers that are due by then fire first.
    ///
    /// An engine that stands still takes one input only: an operator's [`OperatorAction::PastHalt`].
    pub fn step(&mut self, input: Input, at: Nanos, batch: &mut Batch) -> Stepped {
        if self.standstill.is_some() {
            return self.step_past_halt(input, at, batch);
        }
        self.advance(at, batch);
        if self.standstill.is_some() {
            return Stepped::Halted;
        }
        let now = self.time.max(at);
        if !self.dedup.admit(&input, now, &self.config.dedup) {
            // Not even time moves: a duplicate is no entry, so replay could not move it again.
            return Stepped::Duplicate;
        }
        self.time = now;
        self.run_cascade(Queued::of_input(input), self.config.cascade_limit, batch);
        Stepped::Handled
    }

    /// Goes on where a cascade was left, in the order of positions: the failed event's other handlers, the
    /// operator's action, what had been emitted before. The failed event itself is not handed out again.
    #[cold]
    fn step_past_halt(&mut self, input: Input, at: Nanos, batch: &mut Batch) -> Stepped {
        let goes_on = matches!(
            input.body,
            Body::System(System::Operator { action: OperatorAction::PastHalt, .. })
        );
        let Some(standstill) = self.standstill.take_if(|_| goes_on) else { return Stepped::Halted };
        let Standstill { mut unfinished, mut room, .. } = *standstill;
        self.time = self.time.max(at);
        let Queued { mut event, .. } = Queued::of_input(input);
        self.append(&mut event, batch);
        unfinished.push_back(Dispatch { event, from: 0 });
        while let Some(Dispatch { event, from }) = unfinished.pop_front() {
            if let Err(failed) = self.dispatch(&event, from, &mut room) {
                self.stand_still(failed, event, unfinished, room, batch);
                return Stepped::Handled;
            }
        }
        if let Some(next) = self.queue.pop_front() {
            self.run_cascade(next, room, batch);
        }
        Stepped::Handled
    }

    /// Lets an engine that stands still go on behind the failed event: the operator's action becomes an
    /// entry, and then the cascade runs on. `recv_time` is when the operator acted. Without a halt it does nothing.
    pub fn go_past_halt(&mut self, recv_time: Nanos, batch: &mut Batch) {
        if self.halted().is_some() {
            self.operate(OperatorAction::PastHalt, recv_time, batch);
        }
    }

    /// Hands out what is parked under a key: the operator's action becomes an entry, and what the handler emits is
    /// handled in its cascade. The event that fails again stays the first, and nothing behind it is handed out. Where
    /// nothing is parked, or the engine stands still, it does nothing.
    pub fn release(&mut self, release: Release, recv_time: Nanos, batch: &mut Batch) {
        if self.parking.holds(&release.key) && self.halted().is_none() {
            self.operate(OperatorAction::Release(release), recv_time, batch);
        }
    }

    fn operate(&mut self, action: OperatorAction, recv_time: Nanos, batch: &mut Batch) {
        let by = Name::new(OPERATOR).expect("a short name");
        // Positions strictly increase, and so no two actions share a number.
        let source_seq = self.head.seq;
        let body = System::Operator { action, by }.into();
        let event_time = recv_time;
        let input = Input { source: by, source_seq, id: None, event_time, recv_time, body };
        self.step(input, self.time, batch);
    }

    /// Fires every timer that is due at `to` or before (or by now, where `to` is past: a clock may have been set
    /// back), each with its own cascade, and appends the entries to `batch`. Time moves to the last one that
    /// fired. An engine that stands still fires none.
    #[inline]
    pub fn advance(&mut self, to: Nanos, batch: &mut Batch) {
        // Replay knows an input's engine time alone, and would fire then what is due by it.
        let to = to.max(self.time);
        while self.timers.next_due().is_some_and(|due| due <= to) && self.standstill.is_none() {
            self.fire_next_timer(to, batch);
        }
    }

    /// Fires the first timer that is due at `to` or before.
    #[cold]
    pub(crate) fn fire_next_timer(&mut self, to: Nanos, batch: &mut Batch) {
        let Some((due, created, timer)) = self.timers.pop_due(to) else { return };
        self.time = self.time.max(due);
        let TimerKey { handler, key } = timer.key;
        let header = Header {
            // `created` is unique over the log, so setting the same timer twice gives two ids.
            id: EventId::of_emitted(timer.set_by, &handler, ordinal::of_timer(created)),
            event_time: due,
            recv_time: self.time,
            source: handler,
            source_seq: created,
            correlation: timer.correlation,
            causation: Some(timer.set_by),
        };
        let body = System::TimerFired { handler, key }.into();
        let fired = Queued::new(Origin::Timer, header, body);
        self.run_cascade(fired, self.config.cascade_limit, batch);
    }

    fn run_cascade(&mut self, mut first: Queued, mut room: usize, batch: &mut Batch) {
        if self.run_entry(&mut first, &mut room, batch).is_break() {
            return;
        }
        loop {
            // Borrowed where it was put: events are not small, and a binding of its own would be one more copy.
            let mut next = self.queue.pop_front();
            let Some(queued) = &mut next else { return };
            if self.run_entry(queued, &mut room, batch).is_break() {
                return;
            }
        }
    }

    /// Writes an entry down and hands it out. The cascade breaks off where that halts.
    #[inline]
    fn run_entry(
        &mut self,
        queued: &mut Queued,
        room: &mut usize,
        batch: &mut Batch,
    ) -> ControlFlow<()> {
        self.append(&mut queued.event, batch);
        if queued.dispatched
            && let Err(failed) = self.dispatch(&queued.event, 0, room)
        {
            self.stand_still(failed, queued.event.clone(), VecDeque::new(), *room, batch);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Records a failure that halts, ahead of all that waits, and stops. Nobody is handed the record: handlers
    /// are told of the halt by the operator's action that ends it.
    #[cold]
    fn stand_still(
        &mut self,
        failed: Halting,
        event: Event,
        mut unfinished: VecDeque<Dispatch>,
        room: usize,
        batch: &mut Batch,
    ) {
        let Halting { handler, next, outcomes } = failed;
        let reason = reason_in(&outcomes);
        for (n, system) in outcomes.into_iter().enumerate() {
            let mut outcome = self.outcome(&event, handler, n, system);
            self.append(&mut outcome.event, batch);
        }
        let topic = event.body.topic();
        let parked = self.parks.contains(topic);
        let halt = Halt { pos: self.head, handler, event: event.pos, topic, reason, parked };
        unfinished.push_front(Dispatch { event, from: next });
        self.standstill = Some(Box::new(Standstill { halt, unfinished, room }));
    }

    /// Gives an event its position, writes it down and counts it.
    #[inline]
    fn append(&mut self, event: &mut Event, batch: &mut Batch) {
        self.head = Pos { ms: self.time.as_ms(), seq: self.head.seq + 1 };
        (event.pos, event.time) = (self.head, self.time);
        self.digest = self.digest.chain(batch.push(event));
        self.counts.note(event);
    }

    /// Hands an event to its handlers, but for the first `from` of them. An error is a failure that halts.
    #[inline]
    fn dispatch(&mut self, event: &Event, from: usize, room: &mut usize) -> Result<(), Halting> {
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

    #[cold]
    fn queue_outcomes(&mut self, event: &Event, handler: Name, outcomes: Vec<System>) {
        for (n, system) in outcomes.into_iter().enumerate() {
            let outcome = self.outcome(event, handler, n, system);
            self.queue.push_back(outcome);
        }
    }

    /// The record of what became of a handler that was handed `event`, the `n`th from zero.
    fn outcome(&self, event: &Event, handler: Name, n: usize, system: System) -> Queued {
        self.outcome_at(event, handler, ordinal::of_outcome(n), system)
    }

    fn outcome_at(&self, event: &Event, handler: Name, ordinal: u64, system: System) -> Queued {
        let id = EventId::of_emitted(event.header.id, &handler, ordinal);
        let header = self.caused_header(event, id, handler, ordinal);
        let dispatched = event.origin != Origin::Outcome;
        Queued { dispatched, ..Queued::new(Origin::Outcome, header, system.into()) }
    }

    fn caused_header(&self, cause: &Event, id: EventId, handler: Name, ordinal: u64) -> Header {
        Header {
            id,
            event_time: self.time,
            recv_time: self.time,
            source: handler,
            source_seq: ordinal,
            correlation: cause.header.correlation,
            causation: Some(cause.header.id),
        }
    }

    /// What shapes its behaviour.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Engine time: that of the last entry.
    #[must_use]
    pub const fn time(&self) -> Nanos {
        self.time
    }

    /// Position of the last entry.
    #[must_use]
    pub const fn head(&self) -> Pos {
        self.head
    }

    /// Digest over every entry so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Totals over every entry so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Why it stands still, if it does.
    #[inline]
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.standstill.as_ref().map(|standstill| &standstill.halt)
    }

    /// What is parked, in the order of keys.
    #[must_use]
    pub fn parked(&self) -> Vec<Parked> {
        self.parking.list()
    }

    /// The events that are parked under a key, in order; the handler failed on the first.
    pub fn parked_events(&self, key: ParkedKey) -> impl Iterator<Item = &Event> {
        self.parking.events(&key)
    }

    /// Events that are given up for a handler that failed on them. Those that are parked are not, nor those that were
    /// released.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        let failed = |queued: &&Queued| {
            queued.event.origin == Origin::Outcome
                && matches!(queued.event.body, Body::System(System::HandlerFailed { .. }))
        };
        // Where it stands still, the record of a failure may wait to be written.
        let waiting = self.queue.iter().filter(failed).count() as u64;
        self.counts.handler_failures + waiting + self.parking.given_up - self.parking.failures
    }

    /// Says beforehand which failures stand in the cascade that replay executes next.
    pub(crate) fn foretell(&mut self, failures: Vec<Foretold>) {
        self.foretold = failures;
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Nanos> {
        self.timers.next_due()
    }

    /// What the handlers report, in bus order.
    #[must_use]
    pub fn figures(&self) -> Vec<(Name, &'static str, Figure)> {
        let of_slot = |slot: &Slot| {
            let name = slot.name;
            slot.handler.figures().into_iter().map(move |(figure, value)| (name, figure, value))
        };
        self.slots.iter().flat_map(of_slot).collect()
    }

    /// Everything the engine needs to go on from here.
    ///
    /// # Errors
    /// [`EngineError::HandlerState`] when a handler cannot write its state, [`EngineError::Halted`] when it
    /// stands still.
    pub fn save(&self) -> Result<Vec<u8>, EngineError> {
        if let Some(halt) = self.halted() {
            return Err(EngineError::Halted(halt.clone()));
        }
        debug_assert!(self.queue.is_empty(), "a snapshot stands between steps");
        let save = |slot: &Slot| slot.save().map_err(|why| state_error(slot.name, &why));
        let slots = self.slots.iter().map(save).collect::<Result<Vec<_>, _>>()?;
        let state = SavedRef {
            version: SNAPSHOT_VERSION,
            time: self.time,
            head: self.head,
            digest: self.digest,
            counts: self.counts,
            timers: &self.timers,
            dedup: &self.dedup,
            slots: &slots,
        };
        // Room for a small engine, which would otherwise grow byte by byte at first.
        let saved = postcard::to_extend(&state, Vec::with_capacity(1024));
        let saved = match saved {
            Ok(saved) if self.parks != TopicSet::EMPTY => {
                postcard::to_extend(&self.parking.save(), saved)
            }
            saved => saved,
        };
        saved.map_err(|why| EngineError::Snapshot(why.to_string()))
    }

    /// Becomes what [`save`](Self::save) saved.
    ///
    /// # Errors
    /// [`EngineError::Snapshot`] when the snapshot is of other handlers or another version,
    /// [`EngineError::HandlerState`] when a handler refuses its state. The engine is then in no
    /// particular state and must not be used.
    pub fn load(&mut self, snapshot: &[u8]) -> Result<(), EngineError> {
        let undecodable =
            |why: postcard::Error| EngineError::Snapshot(format!("it does not decode ({why})"));
        let (saved, rest) = postcard::take_from_bytes::<Saved>(snapshot).map_err(undecodable)?;
        let (parking, rest) = match self.parks {
            TopicSet::EMPTY => (None, rest),
            _ => {
                let (parking, rest) =
                    postcard::take_from_bytes::<SavedParking>(rest).map_err(undecodable)?;
                (Some(parking), rest)
            }
        };
        if !rest.is_empty() {
            let why = format!("there are {} bytes behind it", rest.len());
            return Err(EngineError::Snapshot(why));
        }
        if saved.version != SNAPSHOT_VERSION {
            let version = saved.version;
            let why = format!("its version is {version}, this build uses {SNAPSHOT_VERSION}");
            return Err(EngineError::Snapshot(why));
        }
        if let Some(part) = saved.impossible_part() {
            return Err(EngineError::Snapshot(format!("no engine was ever in its state ({part})")));
        }
        let names = |slots: &mut dyn Iterator<Item = Name>| {
            slots.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
        };
        let theirs = names(&mut saved.slots.iter().map(|slot| slot.name));
        let ours = names(&mut self.slots.iter().map(|slot| slot.name));
        if theirs != ours {
            let why = format!("it holds the handlers {theirs}; this engine has {ours}");
            return Err(EngineError::Snapshot(why));
        }
        let names: Vec<Name> = self.slots.iter().map(|slot| slot.name).collect();
        let parking = match parking {
            None => Some(Parking::default()),
            Some(parking) => Parking::load(parking, &names, saved.head, saved.time)
                .filter(|parking| parking.failures <= saved.counts.handler_failures),
        };
        let Some(parking) = parking else {
            let why = "no engine was ever in its state (parked events)".to_owned();
            return Err(EngineError::Snapshot(why));
        };
        for (slot, saved) in self.slots.iter_mut().zip(&saved.slots) {
            slot.load(saved).map_err(|why| state_error(slot.name, &why))?;
        }
        self.time = saved.time;
        self.head = saved.head;
        self.digest = saved.digest;
        self.counts = saved.counts;
        self.timers = saved.timers;
        self.dedup = saved.dedup;
        self.parking = parking;
        self.queue.clear();
        self.standstill = None;
        Ok(())
    }
}

/// Why a handler failed, of what is recorded about it.
fn reason_in(outcomes: &[System]) -> String {
    let reason = outcomes.iter().rev().find_map(|outcome| match outcome {
        System::HandlerFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    reason.unwrap_or_default()
}

fn state_error(handler: Name, why: &HandlerError) -> EngineError {
    EngineError::HandlerState { handler, why: why.to_string() }
}

/// The snapshot as written; field for field the same as [`Saved`].
#[derive(Serialize)]
struct SavedRef<'a> {
    version: u32,
    time: Nanos,
    head: Pos,
    digest: Digest,
    counts: Counts,
    timers: &'a Timers,
    dedup: &'a Dedup,
    slots: &'a [SlotState],
}

#[derive(Deserialize)]
struct Saved {
    version: u32,
    time: Nanos,
    head: Pos,
    digest: Digest,
    counts: Counts,
    timers: Timers,
    dedup: Dedup,
    slots: Vec<SlotState>,
}

impl Saved {
    /// Names a part that no engine can have saved. What holds here keeps the step free of checks: its
    /// counters cannot overflow, and timers and ids are found where they are looked for.
    fn impossible_part(&self) -> Option<&'static str> {
        // Sequence numbers and timers are counted in ordinals.
        let head = self.head.ms <= self.time.as_ms() && self.head.seq < ordinal::RANGE;
        let parts = [
            (head, "position"),
            (self.counts.are_of(self.head.seq), "counts"),
            (self.timers.are_sound(ordinal::RANGE), "timers"),
            (self.dedup.is_sound(self.time), "ids seen"),
        ];
        parts.into_iter().find(|(sound, _)| !sound).map(|(_, part)| part)
    }
}
