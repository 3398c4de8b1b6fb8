//! The step: a deterministic function from an input to entries.
//!
//! Run to completion is per input: due timers first, each an entry with its own cascade; then the
//! input; then everything it causes, first in first out. The engine reads nothing but its arguments
//! and its own state, so the same inputs give the same bytes, on any machine and in any batching.

use std::{collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use crate::{
    bus::{
        CircuitConfig, Figure, Handler, HandlerError, Priority, Slot, SlotState, Staged,
        TimerChange, Verdict,
    },
    counts::Counts,
    dedup::{Dedup, DedupConfig},
    digest::Digest,
    event::{Body, Event, EventId, Header, Origin, System, Topic},
    log::{Batch, Pos},
    source::Input,
    text::Name,
    time::Nanos,
    timers::{Timer, TimerKey, Timers},
};

/// Version of the snapshot format. A snapshot of another version is not used.
const SNAPSHOT_VERSION: u32 = 2;
/// Ordinals from here on belong to what the engine records about a handler, so that their ids never
/// meet those of the handler's own emissions.
const OUTCOME_ORDINALS: u64 = 1 << 63;

/// What shapes an engine's behaviour. Part of what makes two runs the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// The root of all randomness that handlers see.
    pub seed: u64,
    /// The most events that handlers may emit because of one input or timer.
    pub cascade_limit: usize,
    /// When a failing handler is passed over.
    pub circuit: CircuitConfig,
    /// How long the ids that producers bring along are remembered.
    pub dedup: DedupConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            cascade_limit: 1024,
            circuit: CircuitConfig::default(),
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
    /// Empty between steps.
    queue: VecDeque<Queued>,
    staged: Staged,
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
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It and everything it caused is in the batch.
    Handled,
    /// It had been seen before; nothing happened but the timers that came due.
    Duplicate,
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
    pub fn step(&mut self, input: Input, at: Nanos, batch: &mut Batch) -> Stepped {
        self.advance(at, batch);
        let now = self.time.max(at);
        if !self.dedup.admit(&input, now, &self.config.dedup) {
            // Not even time moves: a duplicate is no entry, so replay could not move it again.
            return Stepped::Duplicate;
        }
        self.time = now;
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
        self.run_cascade(Queued::new(Origin::Input, header, input.body), batch);
        Stepped::Handled
    }

    /// Fires every timer that is due at `to` or before, each with its own cascade, and appends the
    /// entries to `batch`. Time moves to the last one that fired.
    #[inline]
    pub fn advance(&mut self, to: Nanos, batch: &mut Batch) {
        while self.timers.next_due().is_some_and(|due| due <= to) {
            self.fire_next_timer(to, batch);
        }
    }

    #[cold]
    fn fire_next_timer(&mut self, to: Nanos, batch: &mut Batch) {
        let Some((due, created, timer)) = self.timers.pop_due(to) else { return };
        self.time = self.time.max(due);
        let TimerKey { handler, key } = timer.key;
        let header = Header {
            // `created` is unique over the log, so setting the same timer twice gives two ids.
            id: EventId::of_emitted(timer.set_by, &handler, OUTCOME_ORDINALS / 2 + created),
            event_time: due,
            recv_time: self.time,
            source: handler,
            source_seq: created,
            correlation: timer.correlation,
            causation: Some(timer.set_by),
        };
        let body = System::TimerFired { handler, key }.into();
        self.run_cascade(Queued::new(Origin::Timer, header, body), batch);
    }

    fn run_cascade(&mut self, first: Queued, batch: &mut Batch) {
        let mut room = self.config.cascade_limit;
        let mut queued = first;
        loop {
            self.append(&mut queued.event, batch);
            if queued.dispatched {
                self.dispatch(&queued.event, &mut room);
            }
            match self.queue.pop_front() {
                Some(next) => queued = next,
                None => return,
            }
        }
    }

    /// Gives an event its position, writes it down and counts it.
    #[inline]
    fn append(&mut self, event: &mut Event, batch: &mut Batch) {
        self.head = Pos { ms: self.time.as_ms(), seq: self.head.seq + 1 };
        (event.pos, event.time) = (self.head, self.time);
        self.digest = self.digest.chain(batch.push(event));
        self.counts.note(event);
    }

    #[inline]
    fn dispatch(&mut self, event: &Event, room: &mut usize) {
        let topic = event.body.topic();
        if let Body::System(System::TimerFired { handler, .. }) = &event.body {
            self.dispatch_timer(event, *handler, room);
            return;
        }
        for at in 0..self.routes[topic.index()].len() {
            self.deliver(self.routes[topic.index()][at], event, room);
        }
    }

    /// A timer reaches its owner and whoever subscribes to `system`, in the usual order.
    fn dispatch_timer(&mut self, event: &Event, owner: Name, room: &mut usize) {
        for at in 0..self.slots.len() {
            let subscribed = self.routes[Topic::System.index()].contains(&at);
            if subscribed || self.slots[at].name == owner {
                self.deliver(at, event, room);
            }
        }
    }

    #[inline]
    fn deliver(&mut self, at: usize, event: &Event, room: &mut usize) {
        let slot = &mut self.slots[at];
        let handler = slot.name;
        let config = &self.config;
        match slot.deliver(event, config.seed, *room, &mut self.staged, &config.circuit) {
            Verdict::PassedOver => {}
            Verdict::Done if self.staged.is_empty() => {}
            Verdict::Done => self.release_staged(event, handler, room),
            Verdict::Noted { succeeded, outcomes } => {
                self.queue_outcomes(event, handler, outcomes);
                if succeeded {
                    self.release_staged(event, handler, room);
                } else {
                    self.staged.clear();
                }
            }
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
            let ordinal = OUTCOME_ORDINALS + n as u64;
            let id = EventId::of_emitted(event.header.id, &handler, ordinal);
            let header = self.caused_header(event, id, handler, ordinal);
            let queued = Queued::new(Origin::Outcome, header, system.into());
            let dispatched = event.origin != Origin::Outcome;
            self.queue.push_back(Queued { dispatched, ..queued });
        }
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
    /// [`EngineError::HandlerState`] when a handler cannot write its state.
    pub fn save(&self) -> Result<Vec<u8>, EngineError> {
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
        postcard::to_extend(&state, Vec::with_capacity(1024))
            .map_err(|why| EngineError::Snapshot(why.to_string()))
    }

    /// Becomes what [`save`](Self::save) saved.
    ///
    /// # Errors
    /// [`EngineError::Snapshot`] when the snapshot is of other handlers or another version,
    /// [`EngineError::HandlerState`] when a handler refuses its state. The engine is then in no
    /// particular state and must not be used.
    pub fn load(&mut self, snapshot: &[u8]) -> Result<(), EngineError> {
        let saved = match postcard::take_from_bytes::<Saved>(snapshot) {
            Ok((saved, [])) => saved,
            Ok((_, rest)) => {
                let why = format!("there are {} bytes behind it", rest.len());
                return Err(EngineError::Snapshot(why));
            }
            Err(why) => return Err(EngineError::Snapshot(format!("it does not decode ({why})"))),
        };
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
        for (slot, saved) in self.slots.iter_mut().zip(&saved.slots) {
            slot.load(saved).map_err(|why| state_error(slot.name, &why))?;
        }
        self.time = saved.time;
        self.head = saved.head;
        self.digest = saved.digest;
        self.counts = saved.counts;
        self.timers = saved.timers;
        self.dedup = saved.dedup;
        Ok(())
    }
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
        // Positions share their range with ordinals; neither will ever be reached.
        let head = self.head.ms <= self.time.as_ms() && self.head.seq < OUTCOME_ORDINALS;
        let parts = [
            (head, "position"),
            (self.counts.are_of(self.head.seq), "counts"),
            (self.timers.are_sound(OUTCOME_ORDINALS / 2), "timers"),
            (self.dedup.is_sound(self.time), "ids seen"),
        ];
        parts.into_iter().find(|(sound, _)| !sound).map(|(_, part)| part)
    }
}
