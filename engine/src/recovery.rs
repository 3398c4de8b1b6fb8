//! Recovery is replay: re-execute the log and compare every byte the handlers produce with what it holds.

use crate::{
    codec::{DecodeError, decode_entry, peek_entry},
    engine::{Engine, EngineError, Stepped},
    event::{Body, Event, EventId, OperatorAction, Origin, System, Topic, TopicSet},
    halt::Foretold,
    log::{Batch, EventLog, Head, LogError, Page, RangeQuery},
    pos::Pos,
    source::Input,
    text::Name,
};

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Where it began: behind this position.
    pub from: Pos,
    /// Entries compared.
    pub entries: u64,
}

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An entry does not decode.
    #[error("entry at {pos} does not decode: {why}")]
    Undecodable {
        /// Which entry.
        pos: Pos,
        /// Why.
        why: DecodeError,
    },
    /// The handlers do not produce what the log holds.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The entries agree but the stored digest is another.
    #[error("digest differs at {pos}: the log says {stored}, its entries give {computed}")]
    Digest {
        /// The head.
        pos: Pos,
        /// What the log says.
        stored: crate::digest::Digest,
        /// What its entries give.
        computed: crate::digest::Digest,
    },
    /// The log ends before the head it had when it was acquired: a failover or a crash of the server lost
    /// the tail meanwhile.
    #[error(
        "the log lost its tail: entries after {head} up to {expected} were acknowledged and are gone"
    )]
    LostTail {
        /// The head that had been acknowledged.
        expected: Pos,
        /// The last entry that is there.
        head: Pos,
    },
    /// The beginning of the log is trimmed and no snapshot covers it.
    #[error("entries up to {through} are trimmed and no snapshot stands in for them")]
    NoSnapshot {
        /// Everything up to here is gone.
        through: Pos,
    },
}

/// The first position at which re-execution and log differ: a handler whose behaviour changed, or that
/// is not deterministic, or whose state is not whole in its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Where.
    pub pos: Pos,
    /// What the log holds there; `None` when it ends before.
    pub logged: Option<Event>,
    /// What the handlers produce there; `None` when they produce nothing.
    pub produced: Option<Event>,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let describe = |event: &Option<Event>| match event {
            None => "nothing".to_owned(),
            Some(event) => {
                format!("a {} event of {}", event.body.topic(), event.header.source)
            }
        };
        write!(
            f,
            "re-execution differs at {}: the log holds {}, the handlers produce {}",
            self.pos,
            describe(&self.logged),
            describe(&self.produced)
        )
    }
}

/// Puts `engine` where the snapshot at `pos` was taken.
///
/// # Errors
/// The snapshot cannot be read or does not fit the engine.
pub async fn load_snapshot<L: EventLog>(
    engine: &mut Engine,
    log: &L,
    pos: Pos,
) -> Result<(), ReplayError> {
    match log.snapshot(pos).await? {
        Some(bytes) => Ok(engine.load(&bytes)?),
        None => Err(ReplayError::NoSnapshot { through: pos }),
    }
}

/// Re-executes the log from where `engine` stands up to `head`, comparing as it goes, and finally the digest.
/// `on_progress` is told the position reached after each page.
///
/// # Errors
/// [`ReplayError`] names the first position that differs.
pub async fn replay<L: EventLog>(
    engine: &mut Engine,
    log: &L,
    head: &Head,
    mut on_progress: impl FnMut(Pos),
) -> Result<Replayed, ReplayError> {
    let mut replay = Replay::begin(engine, head)?;
    while let Some(query) = replay.wanted() {
        let page = log.range(query).await?;
        on_progress(replay.absorb(engine, &page)?);
    }
    replay.finish(engine)
}

/// A replay under way, for callers that read the log in their own manner: ask what is
/// [wanted](Self::wanted), read it, have it [absorbed](Self::absorb), and [finish](Self::finish).
pub struct Replay {
    head: Head,
    from: Pos,
    after: Pos,
    entries: u64,
    cascade: Cascade,
    comparison: Comparison,
}

/// Entries from an input or timer up to the next one, also past a halt. They are executed together, because the failures
/// in them (those that halt and those behind which events are parked) are needed where they begin.
#[derive(Default)]
struct Cascade {
    bytes: Vec<u8>,
    /// Where each entry stands, and where its bytes end.
    index: Vec<(Pos, usize)>,
    /// The outcomes among them, by their place in the index.
    outcomes: Vec<usize>,
}

impl Cascade {
    fn push(&mut self, pos: Pos, bytes: &[u8], is_outcome: bool) {
        if is_outcome {
            self.outcomes.push(self.index.len());
        }
        self.bytes.extend_from_slice(bytes);
        self.index.push((pos, self.bytes.len()));
    }

    fn get(&self, at: usize) -> (Pos, &[u8]) {
        let (pos, end) = self.index[at];
        let start = if at == 0 { 0 } else { self.index[at - 1].1 };
        (pos, &self.bytes[start..end])
    }

    /// The failures that it records.
    fn failures(&self) -> Vec<Foretold> {
        let outcomes = self.outcomes.iter().map(|&at| self.get(at).1);
        outcomes.filter_map(|bytes| decode_entry(bytes).ok().and_then(Foretold::of)).collect()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
        self.outcomes.clear();
    }
}

impl Replay {
    /// A replay from where `engine` stands up to `head`.
    ///
    /// # Errors
    /// [`ReplayError::NoSnapshot`] when entries behind the engine are trimmed.
    pub fn begin(engine: &Engine, head: &Head) -> Result<Self, ReplayError> {
        let from = engine.head();
        if from.seq < head.trimmed.seq {
            return Err(ReplayError::NoSnapshot { through: head.trimmed });
        }
        let (cascade, comparison) = Default::default();
        Ok(Self { head: *head, from, after: from, entries: 0, cascade, comparison })
    }

    /// What to read next; `None` at the head.
    #[must_use]
    pub fn wanted(&self) -> Option<RangeQuery> {
        (self.after.seq < self.head.pos.seq).then(|| RangeQuery::all_after(self.after))
    }

    /// Executes a page again, but for a cascade that may go on behind it, and returns the position reached.
    ///
    /// # Errors
    /// The first position that differs, or [`ReplayError::LostTail`] when the log ends before its head.
    pub fn absorb(&mut self, engine: &mut Engine, page: &Page) -> Result<Pos, ReplayError> {
        self.absorb_keeping(engine, page, &mut Discarded)
    }

    /// The same, and keeps what was decoded: every entry executed, in order.
    ///
    /// # Errors
    /// Those of [`absorb`](Self::absorb), and [`ReplayError::Undecodable`] for an entry that was only to be compared.
    pub fn absorb_into(
        &mut self,
        engine: &mut Engine,
        page: &Page,
        events: &mut Vec<Event>,
    ) -> Result<Pos, ReplayError> {
        self.absorb_keeping(engine, page, events)
    }

    fn absorb_keeping(
        &mut self,
        engine: &mut Engine,
        page: &Page,
        keeper: &mut impl Keeper,
    ) -> Result<Pos, ReplayError> {
        let head = self.head.pos;
        for entry in page.entries.iter().take_while(|entry| entry.pos <= head) {
            let origin = peek_entry(entry.bytes).ok().map(|peek| peek.origin);
            if !origin.is_some_and(Origin::is_caused) && !is_past_halt(entry.bytes) {
                self.execute_cascade(engine, keeper)?;
            }
            self.cascade.push(entry.pos, entry.bytes, origin == Some(Origin::Outcome));
            self.entries += 1;
            self.after = entry.pos;
        }
        if self.wanted().is_none() {
            self.execute_cascade(engine, keeper)?;
        }
        // An entry beyond the head with one missing below it: the tail was lost, and somebody has written on.
        let beyond = page.entries.last_pos().is_some_and(|last| last > head);
        if (page.next.is_none() || beyond) && self.after.seq < self.head.pos.seq {
            return Err(ReplayError::LostTail { expected: self.head.pos, head: self.after });
        }
        Ok(self.after)
    }

    fn execute_cascade(
        &mut self,
        engine: &mut Engine,
        keeper: &mut impl Keeper,
    ) -> Result<(), ReplayError> {
        engine.foretell(self.cascade.failures());
        for at in 0..self.cascade.index.len() {
            let (pos, bytes) = self.cascade.get(at);
            self.comparison.check(engine, pos, bytes, keeper)?;
        }
        engine.foretell(Vec::new());
        self.cascade.clear();
        Ok(())
    }

    /// Compares the end: nothing left over, and the digest.
    ///
    /// # Errors
    /// The handlers produce more than the log holds, or the digest differs.
    pub fn finish(self, engine: &Engine) -> Result<Replayed, ReplayError> {
        let Self { head, from, entries, comparison, .. } = self;
        comparison.finish()?;
        let computed = engine.digest();
        if engine.head() != head.pos || computed != head.digest {
            return Err(ReplayError::Digest { pos: head.pos, stored: head.digest, computed });
        }
        Ok(Replayed { from, entries })
    }
}

/// Whether it is an operator's permission to go on behind a halt: it continues the cascade that halted.
fn is_past_halt(bytes: &[u8]) -> bool {
    peek_entry(bytes).is_ok_and(|peek| (peek.origin, peek.topic) == (Origin::Input, Topic::System))
        && decode_entry(bytes).is_ok_and(|event| {
            let action = OperatorAction::PastHalt;
            matches!(event.body, Body::System(System::Operator { action: done, .. }) if done == action)
        })
}

/// A handler's failure as the log records it: the event was given up for that handler, or is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entry that records it; the event stands shortly before.
    pub pos: Pos,
    /// Which handler failed.
    pub handler: Name,
    /// On which event.
    pub event: EventId,
    /// Why.
    pub reason: String,
}

/// The first `limit` failures of handlers that a log records behind `after`.
///
/// # Errors
/// The log cannot be read, or an entry does not decode.
pub async fn dead_letters<L: EventLog>(
    log: &L,
    after: Pos,
    limit: usize,
) -> Result<Vec<DeadLetter>, ReplayError> {
    let mut letters = Vec::new();
    let mut next = Some(after);
    while let Some(after) = next.filter(|_| letters.len() < limit) {
        let topics = TopicSet::of(&[Topic::System]);
        let page = log.range(RangeQuery { topics, ..RangeQuery::all_after(after) }).await?;
        for entry in page.entries.iter() {
            let pos = entry.pos;
            let decoded = decode_entry(entry.bytes);
            let event = decoded.map_err(|why| ReplayError::Undecodable { pos, why })?;
            if let Some(Foretold { handler, event, reason, .. }) = Foretold::of(event) {
                letters.push(DeadLetter { pos, handler, event, reason });
            }
        }
        next = page.next;
    }
    letters.truncate(limit);
    Ok(letters)
}

/// What becomes of entries that were decoded to be executed, and of those that were only compared.
trait Keeper {
    fn executed(&mut self, event: &Event);
    fn confirmed(&mut self, bytes: &[u8]) -> Result<(), DecodeError>;
}

/// Keeps nothing, and so nothing is decoded but what is executed.
struct Discarded;

impl Keeper for Discarded {
    fn executed(&mut self, _event: &Event) {}

    fn confirmed(&mut self, _bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Keeper for Vec<Event> {
    fn executed(&mut self, event: &Event) {
        self.push(event.clone());
    }

    fn confirmed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.push(decode_entry(bytes)?);
        Ok(())
    }
}

/// What the engine produced for the last input, and how far the log has confirmed it.
#[derive(Default)]
struct Comparison {
    produced: Batch,
    confirmed: usize,
}

impl Comparison {
    fn check(
        &mut self,
        engine: &mut Engine,
        pos: Pos,
        bytes: &[u8],
        keeper: &mut impl Keeper,
    ) -> Result<(), ReplayError> {
        let undecodable = |why| ReplayError::Undecodable { pos, why };
        if self.confirmed == self.produced.len() {
            let event = decode_entry(bytes).map_err(undecodable)?;
            self.produced.clear();
            self.confirmed = 0;
            keeper.executed(&event);
            self.execute(engine, event);
        } else {
            keeper.confirmed(bytes).map_err(undecodable)?;
        }
        let produced =
            (self.confirmed < self.produced.len()).then(|| self.produced.get(self.confirmed));
        match produced {
            Some(produced) if produced.bytes == bytes => {
                self.confirmed += 1;
                Ok(())
            }
            produced => Err(diverged(pos, Some(bytes), produced.map(|entry| entry.bytes))),
        }
    }

    /// Lets the engine do again what led to `event`. Decisions and outcomes are never executed, only
    /// confirmed, so one that nothing produced is left without a counterpart.
    fn execute(&mut self, engine: &mut Engine, event: Event) {
        match event.origin {
            Origin::Input => {
                let header = event.header;
                let derived = crate::event::EventId::of_input(&header.source, header.source_seq);
                let input = Input {
                    source: header.source,
                    source_seq: header.source_seq,
                    id: (header.id != derived).then_some(header.id),
                    event_time: header.event_time,
                    recv_time: header.recv_time,
                    body: event.body,
                };
                let stepped = engine.step(input, event.time, &mut self.produced);
                debug_assert!(
                    stepped == Stepped::Handled || self.produced.is_empty(),
                    "a duplicate produces nothing"
                );
            }
            // One of them: each timer that fired stands in the log.
            Origin::Timer if engine.halted().is_none() => {
                engine.fire_next_timer(event.time, &mut self.produced);
            }
            Origin::Timer => {}
            Origin::Decision | Origin::Outcome => {}
        }
    }

    /// Whatever the engine produced must have been in the log.
    fn finish(self) -> Result<(), ReplayError> {
        if self.confirmed == self.produced.len() {
            return Ok(());
        }
        let missing = self.produced.get(self.confirmed);
        Err(diverged(missing.pos, None, Some(missing.bytes)))
    }
}

fn diverged(pos: Pos, logged: Option<&[u8]>, produced: Option<&[u8]>) -> ReplayError {
    let decode = |bytes: Option<&[u8]>| bytes.and_then(|bytes| decode_entry(bytes).ok());
    let (logged, produced) = (decode(logged), decode(produced));
    ReplayError::Diverged(Box::new(Divergence { pos, logged, produced }))
}
