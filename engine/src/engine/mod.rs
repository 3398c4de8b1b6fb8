//! The step: a deterministic function from an input to entries.
//!
//! Run to completion is per input: due timers first, each an entry with its own cascade; then the
//! input; then everything it causes, first in first out. The engine reads nothing but its arguments
//! and its own state, so the same inputs give the same bytes, on any machine and in any batching.

mod build;
mod dispatch;
mod error;
mod outcome;
mod snapshot;

use std::{collections::VecDeque, ops::ControlFlow};

pub use self::{build::EngineBuilder, error::EngineError};
use crate::{
    bus::{FailurePolicy, Figure, Slot, Staged},
    circuit::CircuitConfig,
    counts::Counts,
    dedup::{Dedup, DedupConfig},
    digest::Digest,
    event::{Body, Event, EventId, Header, OperatorAction, Origin, System, Topic, TopicSet},
    halt::{Dispatch, Foretold, Halt, Standstill},
    log::Batch,
    ordinal,
    park::{Parked, ParkedKey, Parking, Release},
    pos::Pos,
    source::Input,
    text::Name,
    time::Nanos,
    timers::{TimerKey, Timers},
};

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

impl Engine {
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

    /// Gives an event its position, writes it down and counts it.
    #[inline]
    fn append(&mut self, event: &mut Event, batch: &mut Batch) {
        self.head = Pos { ms: self.time.as_ms(), seq: self.head.seq + 1 };
        (event.pos, event.time) = (self.head, self.time);
        self.digest = self.digest.chain(batch.push(event));
        self.counts.note(event);
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
}
