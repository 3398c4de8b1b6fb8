//! Operating on dead letters: looking at them, sending them back, holding, discarding, moving them between
//! systems. Each change is checked against what the operator saw, and leaves an audit event in the same
//! atomic step.

mod alerts;
mod filter;
mod redrive;
mod stats;
mod transfer;

use std::collections::BTreeMap;

use serde::Serialize;
use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadChange, DeadLetter, DeadState, Message, Publication, Status, StoreError,
    StreamName, Streams,
};

pub use self::{
    alerts::watch_alerts,
    filter::Filter,
    redrive::{RedriveEnd, RedriveOptions, RedriveState, Redriver},
    stats::{DeadStats, FailureKind},
    transfer::{FieldBytes, ImportError, LetterLine},
};
use crate::clock::now;

/// Where operators' actions are recorded, if the topology has it.
const AUDIT: &str = "audit:events";
/// Letters read or changed at a time.
const PAGE: usize = 256;

/// The dead letters of one stream, as somebody sees and changes them.
#[derive(Clone, Debug)]
pub struct DeadLetters<S> {
    streams: S,
    stream: StreamName,
    actor: Actor,
}

/// Who acts, and why: written into every audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub who: String,
    /// Why; empty when nobody said.
    pub why: String,
}

/// A page of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterPage {
    /// The letters, oldest first, each with its own id.
    pub letters: Vec<(Pos, DeadLetter)>,
    /// Go on behind this id; `None` at the end.
    pub next: Option<Pos>,
}

/// What is to be done with letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send them back: to the group that gave them up, or to another stream.
    Redrive(Option<StreamName>),
    /// Keep them from being redriven.
    Hold,
    /// Let held, redriven or discarded ones be redriven again.
    Release,
    /// Give them up for good; they stay to be looked at.
    Discard,
    /// Remove them.
    Purge,
}

/// How many letters an operation found and changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ActCounts {
    /// Letters that the filter found.
    pub found: u64,
    /// Letters changed, or that would be.
    pub changed: u64,
    /// Letters whose status does not allow it, such as a held one that is to be redriven.
    pub refused: u64,
    /// Letters that somebody else changed in the meantime.
    pub overtaken: u64,
}

impl Act {
    const fn name(&self) -> &'static str {
        match self {
            Self::Redrive(_) => "redrive",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard => "discard",
            Self::Purge => "purge",
        }
    }

    /// Whether a letter of this status can be treated so.
    const fn allows(&self, status: Status) -> bool {
        match self {
            Self::Redrive(_) => matches!(status, Status::New),
            Self::Hold => matches!(status, Status::New),
            Self::Release => !matches!(status, Status::New),
            Self::Discard => !matches!(status, Status::Discarded),
            Self::Purge => true,
        }
    }
}

impl<S: Streams> DeadLetters<S> {
    /// The dead letters of `stream`; what is changed is recorded under the name of `actor`.
    pub const fn new(streams: S, stream: StreamName, actor: Actor) -> Self {
        Self { streams, stream, actor }
    }

    /// The stream whose dead letters these are.
    pub const fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Up to `limit` letters after `after` that pass `filter`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn page(
        &self,
        filter: &Filter,
        after: Pos,
        limit: usize,
    ) -> Result<LetterPage, StoreError> {
        let mut page = LetterPage::default();
        let mut after = after;
        let time = now();
        loop {
            let read = self.streams.dead_letters(&self.stream, after, PAGE).await?;
            let at_the_end = read.len() < PAGE;
            for (id, letter) in read {
                if page.letters.len() == limit {
                    page.next = Some(after);
                    return Ok(page);
                }
                after = id;
                if filter.passes(id, &letter, time) {
                    page.letters.push((id, letter));
                }
            }
            if at_the_end {
                return Ok(page);
            }
        }
    }

    /// The letter with this id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn letter(&self, id: Pos) -> Result<Option<DeadLetter>, StoreError> {
        let before = match id.seq.checked_sub(1) {
            Some(seq) => Pos { ms: id.ms, seq },
            None => Pos { ms: id.ms.saturating_sub(1), seq: u64::MAX - 1 },
        };
        let found = self.streams.dead_letters(&self.stream, before, 1).await?;
        Ok(found.into_iter().find(|(found, _)| *found == id).map(|(_, letter)| letter))
    }

    /// Does `act` with up to `limit` letters that pass `filter`, `batch` at a time; `pause` is awaited after
    /// each batch, so that a caller can limit the rate. With `dry_run` nothing is changed.
    ///
    /// # Errors
    /// The store fails; what was done by then stays done, and doing the rest again is safe.
    pub async fn act(
        &self,
        act: &Act,
        filter: &Filter,
        limit: u64,
        batch: usize,
        dry_run: bool,
        mut pause: impl AsyncFnMut(),
    ) -> Result<ActCounts, StoreError> {
        let mut done = ActCounts::default();
        let mut after = Pos::ZERO;
        // What comes in while this runs, such as redriven letters that died again, is not touched.
        let time = now();
        while done.changed < limit {
            let room =
                usize::try_from(limit - done.changed).unwrap_or(PAGE).min(batch.clamp(1, PAGE));
            let page = self.page(filter, after, room).await?;
            let fresh = |(id, _): &&(Pos, DeadLetter)| id.ms <= time.as_ms();
            let letters: Vec<&(Pos, DeadLetter)> = page.letters.iter().filter(fresh).collect();
            let Some((last, _)) = letters.last() else { break };
            after = *last;
            done.found += letters.len() as u64;
            let allowed = |(_, letter): &&&(Pos, DeadLetter)| {
                act.allows(letter.state.status) && self.has_way_back(act, letter)
            };
            let allowed: Vec<_> = letters.iter().copied().filter(|one| allowed(&one)).collect();
            done.refused += (letters.len() - allowed.len()) as u64;
            if dry_run {
                done.changed += allowed.len() as u64;
            } else if !allowed.is_empty() {
                let changed = self.change(act, &allowed).await?;
                done.changed += changed;
                done.overtaken += allowed.len() as u64 - changed;
                pause().await;
            }
            if page.next.is_none() {
                break;
            }
        }
        Ok(done)
    }

    /// Whether the topology has the stream that a letter would go to: its group may have been taken out since.
    fn has_way_back(&self, act: &Act, letter: &DeadLetter) -> bool {
        let back = || letter.redrive_stream(&self.stream);
        !matches!(act, Act::Redrive(None)) || self.streams.topology().owner_of(&back()).is_some()
    }

    /// Changes these letters in one atomic step. Returns how many were still as they were seen.
    async fn change(&self, act: &Act, letters: &[&(Pos, DeadLetter)]) -> Result<u64, StoreError> {
        let amend = |(id, letter): &&(Pos, DeadLetter)| Amendment {
            id: *id,
            expected: letter.state.clone(),
            change: self.changed(act, letter),
        };
        let amendments: Vec<Amendment> = letters.iter().map(amend).collect();
        let ids: Vec<String> = letters.iter().map(|(id, _)| id.to_string()).collect();
        let audit = self.audit(act.name(), &BTreeMap::from([("ids", ids)]));
        let amended = self.streams.amend(&self.stream, &amendments, &audit, now()).await?;
        Ok(amended.into_iter().filter(|&amended| amended).count() as u64)
    }

    fn changed(&self, act: &Act, letter: &DeadLetter) -> DeadChange {
        let note = self.actor.why.clone();
        let marked = |status| DeadState { status, note: note.clone(), ..letter.state.clone() };
        match act {
            Act::Redrive(to) => {
                let state =
                    DeadState { redrives: letter.state.redrives + 1, ..marked(Status::Redriven) };
                let publication = match to {
                    // Another stream's consumers know it by its key.
                    Some(to) => Publication::new(to.clone(), with_key(letter)),
                    None => Publication::new(letter.redrive_stream(&self.stream), letter.redrive()),
                };
                DeadChange::Send(state, publication)
            }
            Act::Hold => DeadChange::Mark(marked(Status::Held)),
            Act::Release => DeadChange::Mark(marked(Status::New)),
            Act::Discard => DeadChange::Mark(marked(Status::Discarded)),
            Act::Purge => DeadChange::Remove,
        }
    }

    /// The audit event of an action, where the topology has a stream for it.
    fn audit<T: Serialize>(&self, action: &str, about: &T) -> Vec<Publication> {
        #[derive(Serialize)]
        struct Event<'a, T> {
            action: &'a str,
            stream: &'a StreamName,
            who: &'a str,
            why: &'a str,
            at: String,
            #[serde(flatten)]
            about: &'a T,
        }
        let Ok(audit) = StreamName::new(AUDIT) else { return Vec::new() };
        if self.streams.topology().stream(&audit).is_none() {
            return Vec::new();
        }
        let Actor { who, why } = &self.actor;
        let at = now().to_string();
        let event = Event { action, stream: &self.stream, who, why, at, about };
        let message = Message::json(&event).expect("an audit event has no map of other keys");
        vec![Publication::new(audit, message.with_type("dead_letters"))]
    }
}

/// The message with the key by which its handlers knew it.
fn with_key(letter: &DeadLetter) -> Message {
    use silvertine_streams::message::KEY;
    let message = letter.message.clone();
    if message.field(KEY).is_some() { message } else { message.with_key(&letter.story.key) }
}

/// How long ago a letter came to the queue, by its id.
fn age_ns(id: Pos, time: Nanos) -> u64 {
    let arrived = Nanos::from_ms(id.ms).unwrap_or(time);
    u64::try_from(time.since(arrived).as_nanos()).unwrap_or(u64::MAX)
}
