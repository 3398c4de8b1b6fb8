//! Replay: executes a log again and compares every byte that the handlers produce with what the log holds.

mod compare;
mod dead_letters;
mod error;

use self::compare::{Comparison, Discarded, Keeper};
pub use self::{
    dead_letters::{RecordedDeadLetter, dead_letters},
    error::{Divergence, ReplayError},
};
use crate::{
    codec::{decode_entry, peek_entry},
    engine::Engine,
    event::{Body, Event, OperatorAction, Origin, System, Topic},
    failure::RecordedFailure,
    log::{EventLog, Head, Page, RangeQuery},
    pos::Pos,
};

/// The extent of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// It began after this position.
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

/// Executes the log again from the engine's position up to `head`, compares every entry, and finally compares the digest.
/// Calls `on_progress` with the position reached after each page.
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

/// A replay in progress, for callers that read the log by themselves: read the pages that are [wanted](Self::wanted),
/// [absorb](Self::absorb) each, then [finish](Self::finish).
pub struct Replay {
    head: Head,
    from: Pos,
    after: Pos,
    entries: u64,
    cascade: Cascade,
    comparison: Comparison,
}

/// The entries from an input or timer up to the next one, also across a halt. They are executed together, because the
/// engine needs the recorded failures in them (those that halt and those that park) before it executes the first.
#[derive(Default)]
struct Cascade {
    bytes: Vec<u8>,
    /// The position of each entry, and where its bytes end.
    index: Vec<(Pos, usize)>,
    /// The places in the index of the entries that are outcomes.
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
    fn failures(&self) -> Vec<RecordedFailure> {
        let outcomes = self.outcomes.iter().map(|&at| self.get(at).1);
        outcomes
            .filter_map(|bytes| decode_entry(bytes).ok().and_then(RecordedFailure::of))
            .collect()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
        self.outcomes.clear();
    }
}

impl Replay {
    /// A replay from the engine's position up to `head`.
    ///
    /// # Errors
    /// [`ReplayError::NoSnapshot`] when entries that the engine needs are trimmed.
    pub fn begin(engine: &Engine, head: &Head) -> Result<Self, ReplayError> {
        let from = engine.head();
        if from.seq < head.trimmed.seq {
            return Err(ReplayError::NoSnapshot { through: head.trimmed });
        }
        let (cascade, comparison) = Default::default();
        Ok(Self { head: *head, from, after: from, entries: 0, cascade, comparison })
    }

    /// The query for the next page; `None` at the head.
    #[must_use]
    pub fn wanted(&self) -> Option<RangeQuery> {
        (self.after.seq < self.head.pos.seq).then(|| RangeQuery::all_after(self.after))
    }

    /// Executes a page again, and returns the position reached. A cascade that may continue on the next page waits for it.
    ///
    /// # Errors
    /// The first position that differs, or [`ReplayError::LostTail`] when the log ends before its head.
    pub fn absorb(&mut self, engine: &mut Engine, page: &Page) -> Result<Pos, ReplayError> {
        self.absorb_keeping(engine, page, &mut Discarded)
    }

    /// Like [`absorb`](Self::absorb), and appends every entry to `events`, decoded and in order.
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
        // An entry after the head while one before it is missing: the tail was lost, and another owner has committed.
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
        engine.expect_failures(self.cascade.failures());
        for at in 0..self.cascade.index.len() {
            let (pos, bytes) = self.cascade.get(at);
            self.comparison.check(engine, pos, bytes, keeper)?;
        }
        engine.expect_failures(Vec::new());
        self.cascade.clear();
        Ok(())
    }

    /// Compares the end: the handlers produce no more entries, and the digest is the stored one.
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

/// Whether it is an operator's action that continues a halted cascade.
fn is_past_halt(bytes: &[u8]) -> bool {
    peek_entry(bytes).is_ok_and(|peek| (peek.origin, peek.topic) == (Origin::Input, Topic::System))
        && decode_entry(bytes).is_ok_and(|event| {
            let action = OperatorAction::PastHalt;
            matches!(event.body, Body::System(System::Operator { action: done, .. }) if done == action)
        })
}
