//! The step: a deterministic function from an input to entries.
//!
//! Each input runs to completion: due timers fire first, each as an entry with its own cascade; then the input is handled;
//! then everything that it causes, first in first out. The engine reads only its arguments and its own state, so the same
//! inputs give the same bytes, on any machine and in any batching.

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
    failure::RecordedFailure,
    halt::{Dispatch, Halt, HaltedCascade},
    log::Batch,
    ordinal,
    park::{Parked, ParkedKey, Parking, Release},
    pos::Pos,
    source::Input,
    text::Name,
    time::Nanos,
    timers::{TimerKey, Timers},
};

/// The source of operators' actions that are called directly, not published to the ingress.
const OPERATOR: &str = "operator";

/// The parameters that determine an engine's behaviour. Two runs are equal only if these are.
///
/// Start from the default and set fields:
/// ```
/// # use silvertine_engine::engine::EngineConfig;
/// let mut config = EngineConfig::default();
/// config.seed = 42;
/// config.cascade_limit = 64;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineConfig {
    /// The seed of all random numbers that handlers draw.
    pub seed: u64,
    /// The most events that handlers may emit because of one input or timer.
    pub cascade_limit: usize,
    /// When a failing handler is skipped.
    pub circuit: CircuitConfig,
    /// What follows when a handler fails.
    pub on_failure: FailurePolicy,
    /// The most events that are parked, for all handlers together; one more halts the engine.
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
///
/// An engine needs no driver and no log: a test steps it by hand and looks at the entries.
/// ```
/// use std::time::Duration;
///
/// use silvertine_engine::{
///     bus::{Context, Handler, HandlerError, Priority},
///     engine::{Engine, EngineConfig, Stepped},
///     event::{Event, Side, Topic, TopicSet, Trade},
///     log::Batch,
///     numbers::{Price, Qty},
///     source::Input,
///     text::{Name, Symbol},
///     time::Nanos,
/// };
///
/// /// Sets a timer at each trade.
/// struct Watch;
///
/// impl Handler for Watch {
///     fn topics(&self) -> TopicSet {
///         TopicSet::of(&[Topic::MarketData])
///     }
///     fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
///         if event.body.topic() == Topic::MarketData {
///             ctx.set_timer(1, Duration::from_secs(5));
///         }
///         Ok(())
///     }
///     fn save(&self) -> Result<Vec<u8>, HandlerError> {
///         Ok(Vec::new())
///     }
///     fn load(&mut self, _state: &[u8]) -> Result<(), HandlerError> {
///         Ok(())
///     }
/// }
///
/// let mut engine = Engine::builder(EngineConfig::default())
///     .handler(Name::new("watch")?, Priority::Normal, Watch)
///     .build()?;
/// let trade = Trade {
///     symbol: Symbol::new("BTCUSDT")?,
///     trade_id: 1,
///     price: Price::from_whole(61_837)?,
///     qty: Qty::from_whole(1)?,
///     aggressor: Side::Buy,
/// };
/// let (source, now) = (Name::new("market")?, Nanos::from_ms(1_000).ok_or("in range")?);
/// let input = Input {
///     source,
///     source_seq: 1,
///     id: None,
///     event_time: now,
///     recv_time: now,
///     body: trade.into(),
/// };
///
/// let mut batch = Batch::default();
/// assert_eq!(engine.step(input.clone(), now, &mut batch), Stepped::Handled);
/// assert_eq!(batch.len(), 1);
/// // The same input again is a duplicate.
/// assert_eq!(engine.step(input, now, &mut batch), Stepped::Duplicate);
/// // Six seconds later the timer fires, which is an entry.
/// engine.advance(now.saturating_add(Duration::from_secs(6)), &mut batch);
/// assert_eq!((batch.len(), engine.counts().timers), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Emitted events that wait to be written. Empty between steps, unless the engine is halted.
    queue: VecDeque<Queued>,
    staged: Staged,
    /// The topics on whose events a failure halts.
    halting: TopicSet,
    /// The topics whose events are parked behind a failure.
    parks: TopicSet,
    parking: Parking,
    /// The rest of the cascade, while the engine is halted.
    halted_cascade: Option<Box<HaltedCascade>>,
    /// The failures recorded in the cascade that replay executes next. Empty outside replay.
    recorded_failures: Vec<RecordedFailure>,
}

/// An event of the running cascade that is not yet written.
struct Queued {
    /// Position and time are set when it is written.
    event: Event,
    /// Whether handlers receive it. A failure while handling the record of a failure is recorded but not delivered;
    /// otherwise two failing handlers could cause each other's failures for ever.
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
    /// The input and everything it caused is in the batch.
    Handled,
    /// The input was seen before: it was dropped. Timers that were due have fired.
    Duplicate,
    /// The engine is halted, perhaps by a timer that fired first: the input was not handled.
    Halted,
}

impl Engine {
    /// Handles one input at engine time `max(time so far, at)` and appends to `batch` every entry that
    /// comes of it. Timers that are due by then fire first.
    ///
    /// A halted engine accepts one input only: an operator's [`OperatorAction::PastHalt`].
    pub fn step(&mut self, input: Input, at: Nanos, batch: &mut Batch) -> Stepped {
        if self.halted_cascade.is_some() {
            return self.step_past_halt(input, at, batch);
        }
        self.advance(at, batch);
        if self.halted_cascade.is_some() {
            return Stepped::Halted;
        }
        let now = self.time.max(at);
        if !self.dedup.admit(&input, now, &self.config.dedup) {
            // Time does not move: a duplicate leaves no entry, so replay could not repeat the move.
            return Stepped::Duplicate;
        }
        self.time = now;
        self.run_cascade(Queued::of_input(input), self.config.cascade_limit, batch);
        Stepped::Handled
    }

    /// Continues a halted cascade, in the order of positions: the failed event's remaining handlers, the operator's
    /// action, then what had been emitted before the halt. The failed handler does not receive the event again.
    #[cold]
    fn step_past_halt(&mut self, input: Input, at: Nanos, batch: &mut Batch) -> Stepped {
        let continues = matches!(
            input.body,
            Body::System(System::Operator { action: OperatorAction::PastHalt, .. })
        );
        let Some(halted_cascade) = self.halted_cascade.take_if(|_| continues) else {
            return Stepped::Halted;
        };
        let HaltedCascade { mut unfinished, mut cascade_budget, .. } = *halted_cascade;
        self.time = self.time.max(at);
        let Queued { mut event, .. } = Queued::of_input(input);
        self.append(&mut event, batch);
        unfinished.push_back(Dispatch { event, from: 0 });
        while let Some(Dispatch { event, from }) = unfinished.pop_front() {
            if let Err(failed) = self.dispatch(&event, from, &mut cascade_budget) {
                self.halt(failed, event, unfinished, cascade_budget, batch);
                return Stepped::Handled;
            }
        }
        if let Some(next) = self.queue.pop_front() {
            self.run_cascade(next, cascade_budget, batch);
        }
        Stepped::Handled
    }

    /// Continues a halted engine after the failed event: the operator's action becomes an entry, then the rest of the
    /// cascade runs. `recv_time` is when the operator acted. Does nothing when the engine is not halted.
    pub fn go_past_halt(&mut self, recv_time: Nanos, batch: &mut Batch) {
        if self.halted().is_some() {
            self.operate(OperatorAction::PastHalt, recv_time, batch);
        }
    }

    /// Releases the events that are parked under a key: the operator's action becomes an entry, the handler receives
    /// the parked events in order, and what it emits is handled in the same cascade. An event that fails again stays first
    /// in its queue, and the later ones stay parked. Does nothing when nothing is parked or the engine is halted.
    pub fn release(&mut self, release: Release, recv_time: Nanos, batch: &mut Batch) {
        if self.parking.holds(&release.key) && self.halted().is_none() {
            self.operate(OperatorAction::Release(release), recv_time, batch);
        }
    }

    fn operate(&mut self, action: OperatorAction, recv_time: Nanos, batch: &mut Batch) {
        let by = Name::new(OPERATOR).expect("a short name");
        // Positions strictly increase, so no two actions share a number.
        let source_seq = self.head.seq;
        let body = System::Operator { action, by }.into();
        let event_time = recv_time;
        let input = Input { source: by, source_seq, id: None, event_time, recv_time, body };
        self.step(input, self.time, batch);
    }

    /// Fires every timer that is due at `to` or before, each with its own cascade, and appends the entries to `batch`.
    /// Engine time moves to the last timer that fired. Where `to` is before engine time (a clock was set back), engine
    /// time takes its place. A halted engine fires no timer.
    #[inline]
    pub fn advance(&mut self, to: Nanos, batch: &mut Batch) {
        // Replay knows only the engine time of an input, and fires what is due by it.
        let to = to.max(self.time);
        while self.timers.next_due().is_some_and(|due| due <= to) && self.halted_cascade.is_none() {
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

    fn run_cascade(&mut self, mut first: Queued, mut cascade_budget: usize, batch: &mut Batch) {
        if self.run_entry(&mut first, &mut cascade_budget, batch).is_break() {
            return;
        }
        loop {
            // Borrowed in place: events are large, and moving one out would copy it once more.
            let mut next = self.queue.pop_front();
            let Some(queued) = &mut next else { return };
            if self.run_entry(queued, &mut cascade_budget, batch).is_break() {
                return;
            }
        }
    }

    /// Appends an entry and delivers it. `Break` means that the engine halted.
    #[inline]
    fn run_entry(
        &mut self,
        queued: &mut Queued,
        cascade_budget: &mut usize,
        batch: &mut Batch,
    ) -> ControlFlow<()> {
        self.append(&mut queued.event, batch);
        if queued.dispatched
            && let Err(failed) = self.dispatch(&queued.event, 0, cascade_budget)
        {
            self.halt(failed, queued.event.clone(), VecDeque::new(), *cascade_budget, batch);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Gives an event its position, encodes it into the batch, and counts it.
    #[inline]
    fn append(&mut self, event: &mut Event, batch: &mut Batch) {
        self.head = Pos { ms: self.time.as_ms(), seq: self.head.seq + 1 };
        (event.pos, event.time) = (self.head, self.time);
        self.digest = self.digest.chain(batch.push(event));
        self.counts.note(event);
    }

    /// The parameters that it was built with.
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

    /// Where and why it is halted, if it is.
    #[inline]
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.halted_cascade.as_ref().map(|halted_cascade| &halted_cascade.halt)
    }

    /// What is parked under each key, in the order of keys.
    #[must_use]
    pub fn parked(&self) -> Vec<Parked> {
        self.parking.list()
    }

    /// The events that are parked under a key, in order; the handler failed on the first.
    pub fn parked_events(&self, key: ParkedKey) -> impl Iterator<Item = &Event> {
        self.parking.events(&key)
    }

    /// The number of (event, handler) pairs where the handler failed and the event is skipped for good. Parked events and
    /// released ones do not count.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        let failed = |queued: &&Queued| {
            queued.event.origin == Origin::Outcome
                && matches!(queued.event.body, Body::System(System::HandlerFailed { .. }))
        };
        // While halted, the record of another failure may wait in the queue.
        let waiting = self.queue.iter().filter(failed).count() as u64;
        self.counts.handler_failures + waiting + self.parking.given_up - self.parking.failures
    }

    /// Sets the failures that the log records in the cascade that replay executes next.
    pub(crate) fn expect_failures(&mut self, failures: Vec<RecordedFailure>) {
        self.recorded_failures = failures;
    }

    /// Engine time at which the next timer is due, if one is set.
    #[must_use]
    pub fn next_timer(&self) -> Option<Nanos> {
        self.timers.next_due()
    }

    /// The figures that the handlers report, in bus order.
    #[must_use]
    pub fn figures(&self) -> Vec<(Name, &'static str, Figure)> {
        let of_slot = |slot: &Slot| {
            let name = slot.name;
            slot.handler.figures().into_iter().map(move |(figure, value)| (name, figure, value))
        };
        self.slots.iter().flat_map(of_slot).collect()
    }
}
