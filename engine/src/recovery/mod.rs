//! Recovery is replay: re-execute the log and compare every byte the handlers produce with what it holds.

mod compare;
mod dead_letters;
mod error;

use self::compare::{Comparison, Discarded, Keeper};
pub use self::{
    dead_letters::{DeadLetter, dead_letters},
    error::{Divergence, ReplayError},
};
use crate::{
    codec::{decode_entry, peek_entry},
    engine::Engine,
    event::{Body, Event, OperatorAction, Origin, System, Topic},
    halt::Foretold,
    log::{EventLog, Head, Page, RangeQuery},
    pos::Pos,
};

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Where it began: behind this position.
    pub from: Pos,
    /// Entries compared.
    pub entries: u64,
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
