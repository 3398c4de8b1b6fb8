//! What the witness knows of one group: where each message is, and why it may be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use silvertine_engine::time::Nanos;
use silvertine_streams::{
    ConsumerName, DeadLetter, Delivery, GroupSpec, GroupStats, Member, Message, MessageId, Reason,
    StreamName, StreamSpec, Tries, Why,
};

use super::standing::{Standing, key_of};
use crate::{
    kernel::spell,
    streams::{
        op::Ask,
        promise::{Checked, Violation, ensure},
    },
};

/// Processes that must have died for a message to be blamed for it.
const DEATHS: u32 = 3;

pub(in crate::streams) struct Group {
    pub(in crate::streams) spec: GroupSpec,
    /// The streams that it takes messages from.
    pub(in crate::streams) keys: Vec<StreamName>,
    pub(in crate::streams) attempts_max: u32,
    /// Whether a living member may be unheard for long enough to be taken for dead.
    pub(in crate::streams) silence: bool,
    pub(in crate::streams) entries: BTreeMap<MessageId, Entry>,
    /// Of messages that are observed once more: what is known to have happened in handlers, and whether they were moved
    /// without their holder's knowledge.
    pub(super) before: BTreeMap<MessageId, (Seen, bool)>,
    /// When each member was last heard.
    pub(in crate::streams) alive: BTreeMap<ConsumerName, Nanos>,
    pub(in crate::streams) done_keys: BTreeMap<String, Nanos>,
    /// How often a key was done, not counting duplicates.
    pub(in crate::streams) dones: BTreeMap<String, u32>,
    /// Keys that were done until a failover lost that.
    pub(super) undone: BTreeSet<String>,
    /// Of those, keys that were done again without results: a member was told before the failover that they are done.
    pub(in crate::streams) without_results: BTreeSet<String>,
    pub(in crate::streams) unfinished: usize,
    /// When faults healed, and how late a retry may be from then on, in nanoseconds.
    pub(in crate::streams) punctual: Option<(Nanos, u64)>,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::streams) enum Place {
    /// Not delivered yet, or blocked behind another one of its ordering key.
    Waiting,
    Held(ConsumerName),
    Retrying(Nanos),
    Done,
    Duplicate,
    Dead,
    /// Deleted before the group came to it.
    Vanished,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Held(holder) => write!(f, "held by {holder}"),
            Self::Retrying(due) => write!(f, "waiting for its retry at {due}"),
            Self::Done => f.write_str("done"),
            Self::Duplicate => f.write_str("a duplicate of one that is done"),
            Self::Dead => f.write_str("a dead letter"),
            Self::Vanished => f.write_str("deleted"),
        }
    }
}

/// A message of a group.
#[derive(Clone, Debug)]
pub(in crate::streams) struct Entry {
    pub(in crate::streams) number: u64,
    pub(in crate::streams) place: Place,
    pub(in crate::streams) tries: Tries,
    pub(in crate::streams) deliveries: u64,
    pub(super) order: Option<Vec<u8>>,
    pub(in crate::streams) key: String,
    producers_key: bool,
    pub(in crate::streams) deleted: bool,
    /// Deleted before it was delivered: nobody waits for it.
    pub(in crate::streams) gone: bool,
    /// A request that came late or twice, somebody who held it before, a failover or the store's clock has moved it, so that
    /// its holder need not know.
    pub(in crate::streams) ghosted: bool,
    /// A start is on record since it was handed over.
    pub(in crate::streams) begun: bool,
    pub(in crate::streams) seen: Seen,
}

/// What really happened to a message in handlers.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::streams) struct Seen {
    pub(in crate::streams) transient: u32,
    pub(in crate::streams) permanent: u32,
    pub(in crate::streams) undecodable: u32,
    pub(in crate::streams) panicked: u32,
    /// Processes that died while they handled it.
    pub(in crate::streams) deaths: u32,
    /// Members that were taken for dead with a start on record, whether they were or not.
    pub(in crate::streams) taken: u32,
    /// Somebody deleted it. It stays so where a failover undoes that: a member may have been told before.
    pub(in crate::streams) deleted: bool,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transient, permanent, undecodable, panicked, deaths, taken, deleted } = self;
        let deleted = if *deleted { ", deleted" } else { "" };
        write!(
            f,
            "{transient} transient failures, {permanent} permanent ones, {undecodable} times undecodable, {panicked} panics, {deaths} deaths, taken {taken} times from a member that had started it{deleted}"
        )
    }
}

impl Entry {
    pub(in crate::streams) const fn is_pending(&self) -> bool {
        matches!(self.place, Place::Held(_) | Place::Retrying(_))
    }

    pub(in crate::streams) const fn is_finished(&self) -> bool {
        self.gone
            || matches!(self.place, Place::Done | Place::Duplicate | Place::Dead | Place::Vanished)
    }

    /// Whether what happened to it justifies giving it up for this reason.
    pub(in crate::streams) fn judge(
        &self,
        id: &MessageId,
        letter: &DeadLetter,
        deleted: bool,
        attempts_max: u32,
        silence: bool,
    ) -> Checked {
        let seen = self.seen;
        let just = match letter.story.reason {
            Reason::MaxAttempts => seen.transient > attempts_max,
            Reason::Permanent => seen.permanent > 0,
            Reason::Undecodable => seen.undecodable > 0,
            Reason::Panicked => seen.panicked > 0,
            // A store cannot tell a member that died from one that it does not hear.
            Reason::Crashed => seen.deaths >= DEATHS || silence && seen.taken >= DEATHS,
            Reason::Trimmed => deleted || seen.deleted,
            Reason::Expired | Reason::Imported => false,
        };
        let reason = letter.story.reason.as_str();
        ensure!(just, Blame, "{id} is given up as {reason}, but what happened is: {seen}");
        Ok(())
    }
}

impl Group {
    pub(in crate::streams) fn new(stream: &StreamSpec, spec: &GroupSpec, silence: bool) -> Self {
        let keys = stream.lanes().into_iter().chain([stream.name.redrives(&spec.name)]).collect();
        Self {
            spec: spec.clone(),
            keys,
            attempts_max: spec.retry.as_ref().unwrap_or(&stream.retry).attempts,
            silence,
            entries: BTreeMap::new(),
            before: BTreeMap::new(),
            alive: BTreeMap::new(),
            done_keys: BTreeMap::new(),
            dones: BTreeMap::new(),
            undone: BTreeSet::new(),
            without_results: BTreeSet::new(),
            unfinished: 0,
            punctual: None,
        }
    }

    pub(in crate::streams) fn add(&mut self, id: MessageId, number: u64, message: &Message) {
        let (key, producers_key) = key_of(&id, message);
        let by = self.spec.order_by.as_deref();
        let (seen, ghosted) = self.before.get(&id).copied().unwrap_or_default();
        let entry = Entry {
            number,
            place: Place::Waiting,
            tries: Tries::default(),
            deliveries: 0,
            order: by.and_then(|field| message.field(field)).map(<[u8]>::to_vec),
            key,
            producers_key,
            deleted: false,
            gone: false,
            ghosted,
            begun: false,
            seen,
        };
        self.unfinished += 1;
        self.entries.insert(id, entry);
    }

    pub(in crate::streams) fn touch(&mut self, member: &Member, now: Nanos) {
        self.alive.insert(member.consumer.clone(), now);
    }

    pub(in crate::streams) fn holds(&self, id: &MessageId, member: &Member) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.place == Place::Held(member.consumer.clone()))
    }

    /// Whether a message of this key was done within the window.
    pub(in crate::streams) fn is_done(&self, key: &str, now: Nanos) -> bool {
        let window = self.spec.idempotency_window.duration();
        self.done_keys.get(key).is_some_and(|at| at.saturating_add(window) >= now)
    }

    pub(in crate::streams) fn finish(&mut self, id: &MessageId, place: Place) {
        let entry = self.entries.get_mut(id).expect("what is finished was there");
        entry.place = place;
        self.unfinished -= 1;
    }

    /// A member was handed a message: was it its turn?
    pub(in crate::streams) fn handed_over(
        &mut self,
        member: &Member,
        ask: Ask,
        delivery: &Delivery,
        now: Nanos,
    ) -> Checked {
        let Delivery { id, why, tries, deliveries, done, .. } = delivery;
        let Some(entry) = self.entries.get(id) else {
            let group = &self.spec.name;
            ensure!(false, Model, "{id} is none of {group}'s");
            return Ok(());
        };
        let to = &member.consumer;
        let place = &entry.place;
        ensure!(!entry.is_finished(), Settled, "{to} is handed {id}, which is {place}");
        if let Place::Retrying(due) = place {
            ensure!(
                *due <= now,
                Punctual,
                "{to} is handed {id} {} early",
                spell::span(nanos(due.since(now)))
            );
            if let Some((healed, late_max_ns)) = self.punctual {
                let late = now.since(healed.max(*due));
                let most = std::time::Duration::from_nanos(late_max_ns);
                ensure!(
                    late <= most,
                    Punctual,
                    "{to} is handed {id} {} late",
                    spell::span(nanos(late))
                );
            }
        }
        let alive = |holder| self.alive.get(holder).copied().unwrap_or_default();
        let silent = |holder| alive(holder).saturating_add(ask.reclaim_after.duration()) <= now;
        let right = match (why, place) {
            (Why::New, Place::Waiting) => true,
            (Why::Own, Place::Held(holder)) => ask.scope.includes_own() && holder == to,
            (Why::Reclaimed, Place::Held(holder)) => {
                ask.scope.includes_returned() && holder != to && silent(holder)
            }
            (Why::Due, Place::Retrying(_)) => ask.scope.includes_returned(),
            // It was blocked.
            (Why::Due, Place::Waiting) => ask.scope.includes_returned() && entry.order.is_some(),
            _ => false,
        };
        ensure!(right, Model, "{to} is handed {id} as {}, but it is {place}", reason_of(*why));
        ensure!(
            *tries == entry.tries,
            Model,
            "{id} has {} on record, not {}",
            tries_of(&entry.tries),
            tries_of(tries)
        );
        let times = entry.deliveries + 1;
        ensure!(*deliveries == times, Model, "{id} is delivered {times} times, not {deliveries}");
        let known = entry.producers_key && !entry.deleted && self.is_done(&entry.key, now);
        ensure!(*done == known, Settled, "{id} is handed over with done {done}, not {known}");
        self.in_turn(id, entry)?;
        let entry = self.entries.get_mut(id).expect("was there");
        entry.deliveries = times;
        entry.seen.taken += u32::from(std::mem::take(&mut entry.begun));
        entry.place = Place::Held(to.clone());
        Ok(())
    }

    /// Nothing of the same ordering key may be pending, or stand before it on its stream.
    fn in_turn(&self, id: &MessageId, entry: &Entry) -> Checked {
        if entry.order.is_none() {
            return Ok(());
        }
        for (other_id, other) in &self.entries {
            if other.order != entry.order || other_id == id || other.is_finished() {
                continue;
            }
            let before = other_id.stream == id.stream && other_id.id < id.id;
            ensure!(!before, InOrder, "{id} comes before {other_id}, which is {}", other.place);
            ensure!(!other.is_pending(), InOrder, "{id} comes while {other_id} is {}", other.place);
        }
        Ok(())
    }

    /// A new message was delivered: those before it were too, or are gone. Returns how many were deleted.
    pub(in crate::streams) fn pass_over(
        &mut self,
        id: &MessageId,
        streams: &BTreeMap<StreamName, Vec<Standing>>,
    ) -> Result<usize, Violation> {
        let mut vanished = 0;
        for standing in streams[&id.stream].iter().take_while(|standing| standing.id < id.id) {
            let before = MessageId { stream: id.stream.clone(), id: standing.id };
            let Some(entry) = self.entries.get_mut(&before) else { continue };
            if entry.place == Place::Waiting {
                ensure!(standing.deleted, Model, "{id} is delivered before {before}");
                entry.place = Place::Vanished;
                vanished += 1;
            }
        }
        Ok(vanished)
    }

    /// Compares the counts of one stream.
    pub(in crate::streams) fn account(
        &self,
        stream: &StreamName,
        said: &GroupStats,
        added: u64,
    ) -> Checked {
        let [mut waiting, mut held, mut retrying, mut done, mut duplicates, mut dead, mut gone] =
            [0; 7];
        for (_, entry) in self.entries.iter().filter(|(id, _)| id.stream == *stream) {
            match entry.place {
                Place::Waiting => waiting += 1,
                Place::Held(_) => held += 1,
                Place::Retrying(_) => retrying += 1,
                Place::Done => done += 1,
                Place::Duplicate => duplicates += 1,
                Place::Dead => dead += 1,
                Place::Vanished => gone += 1,
            }
        }
        // What was blocked and has come up waits for its member, so only their sum is known.
        let ordered = self.spec.order_by.is_some();
        let theirs = match ordered {
            true => [said.waiting + said.blocked + said.retrying, said.held, 0],
            false => [said.waiting + said.blocked, said.held, said.retrying],
        };
        let ours = match ordered {
            true => [waiting + retrying, held, 0],
            false => [waiting, held, retrying],
        };
        let ends = ([said.done, said.duplicates, said.dead], [done, duplicates, dead]);
        ensure!(
            theirs == ours && ends.0 == ends.1,
            Account,
            "{} on {stream} counts {}; it should be {}",
            self.spec.name,
            counted(theirs, ends.0),
            counted(ours, ends.1)
        );
        let accounted = said.accounted() + gone;
        ensure!(
            accounted == added,
            Account,
            "{} accounts for {accounted} of {added} on {stream}",
            self.spec.name
        );
        Ok(())
    }
}

/// Counts in words: waiting, held and retrying; done, duplicates and dead.
fn counted(open: [u64; 3], ended: [u64; 3]) -> String {
    let [waiting, held, retrying] = open;
    let [done, duplicates, dead] = ended;
    format!(
        "{waiting} waiting, {held} held, {retrying} retrying, {done} done, {duplicates} duplicates, {dead} dead"
    )
}

/// What is on record about a message, in words.
pub(in crate::streams) fn tries_of(tries: &Tries) -> String {
    let Tries { attempts, starts, reclaims, .. } = tries;
    format!("{attempts} failed attempts, {starts} starts without an end, {reclaims} reclaims")
}

const fn reason_of(why: Why) -> &'static str {
    match why {
        Why::Own => "its own",
        Why::Reclaimed => "reclaimed",
        Why::Due => "due",
        Why::New => "new",
    }
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
