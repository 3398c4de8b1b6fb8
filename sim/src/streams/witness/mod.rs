//! The witness: a naive model of the store that is told every request and answer in the order of effect.
//!
//! It shares no code with any store. Where the laws leave a store free (when a message is blocked behind another one of
//! its ordering key, whether a former holder may still say that the work is done) it takes the answer's word;
//! everywhere else an answer that differs is a broken promise.
//!
//! This file holds what the model knows and how messages come onto it and leave it. [`observe`] takes in requests with
//! their answers, [`settled`] the end of a message, [`accounts`] compares counts and contents, and [`group`] holds what is
//! known of one consumer group.

mod accounts;
mod group;
mod observe;
mod settled;
mod standing;

use std::collections::{BTreeMap, VecDeque};

use silvertine_engine::pos::Pos;
use silvertine_streams::{
    DeadLetter, GroupName, Message, MessageId, Publication, StreamName, Topology,
};

pub(in crate::streams) use self::group::{Group, Seen, tries_of};
use self::{
    group::{Entry, Place},
    standing::Standing,
};
use super::{
    plan::Plan,
    promise::{Checked, ensure},
};

pub(in crate::streams) struct Witness {
    topology: Topology,
    pub(in crate::streams) streams: BTreeMap<StreamName, Vec<Standing>>,
    pub(in crate::streams) groups: Vec<Group>,
    /// Dead letters in order of burial, each with its own id once that is known.
    letters: Vec<(Option<Pos>, DeadLetter)>,
    /// The ids of letters that are buried once more, in the same order, where they are known.
    letter_ids: Vec<Option<Pos>>,
    /// Appended by operations whose answers give no ids.
    unread: BTreeMap<StreamName, VecDeque<Message>>,
    /// Messages that a failover has lost, with their numbers.
    lost: BTreeMap<MessageId, (u64, Message)>,
    /// Messages so far, which are numbered for the trace.
    pub(in crate::streams) numbers: u64,
}

impl Witness {
    pub(in crate::streams) fn new(plan: &Plan) -> Self {
        let (topology, silence) = (&plan.topology, plan.has_silence());
        let mut streams = BTreeMap::new();
        let mut groups = Vec::new();
        for spec in &topology.streams {
            for key in spec.keys() {
                streams.insert(key, Vec::new());
            }
            groups.extend(spec.groups.iter().map(|group| Group::new(spec, group, silence)));
        }
        Self {
            topology: topology.clone(),
            streams,
            groups,
            letters: Vec::new(),
            letter_ids: Vec::new(),
            unread: BTreeMap::new(),
            lost: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// How many messages are not finished, over all groups.
    pub(in crate::streams) fn unfinished(&self) -> usize {
        self.groups.iter().map(|group| group.unfinished).sum()
    }

    pub(in crate::streams) fn group(&mut self, name: &GroupName) -> &mut Group {
        self.groups.iter_mut().find(|group| group.spec.name == *name).expect("a group of the plan")
    }

    fn append(&mut self, stream: &StreamName, id: Pos, message: Message) -> Checked {
        let standing = self.streams.entry(stream.clone()).or_default();
        let last = standing.last().map_or(Pos::ZERO, |last| last.id);
        ensure!(id > last, Model, "{stream}: the id {id} behind {last}");
        standing.push(Standing { id, message: message.clone(), deleted: false });
        self.numbers += 1;
        let id = MessageId { stream: stream.clone(), id };
        ensure!(
            !self.lost.contains_key(&id),
            Model,
            "{id} is given again, and a member may still hold the lost message that had it"
        );
        for group in self.groups.iter_mut().filter(|group| group.keys.contains(stream)) {
            group.add(id.clone(), self.numbers, &message);
        }
        Ok(())
    }

    fn expect(&mut self, publication: &Publication) {
        let unread = self.unread.entry(publication.stream.clone()).or_default();
        unread.push_back(publication.message.clone());
    }

    /// The number of a message that a failover has lost.
    pub(in crate::streams) fn number_of_lost(&self, id: &MessageId) -> Option<u64> {
        self.lost.get(id).map(|(number, _)| *number)
    }

    /// Whether a failover has lost this message, as it was published to a stream.
    pub(in crate::streams) fn has_lost(&self, stream: &StreamName, message: &Message) -> bool {
        let is = |(id, (_, lost)): (&MessageId, &(u64, Message))| {
            id.stream == *stream && lost == message
        };
        self.lost.iter().any(is)
    }

    /// Takes over what a former witness knows beside what it was told: which messages are lost, what handlers really did,
    /// which ids dead letters have. Goes before anything is observed once more.
    pub(in crate::streams) fn learn_from(&mut self, former: &Self) {
        self.lost.clone_from(&former.lost);
        for (group, before) in self.groups.iter_mut().zip(&former.groups) {
            let known =
                |(id, entry): (&MessageId, &Entry)| (id.clone(), (entry.seen, entry.ghosted));
            group.before = before.entries.iter().map(known).collect();
            group.undone.clone_from(&before.undone);
        }
        self.letter_ids = former.letters.iter().map(|(id, _)| *id).collect();
    }

    /// Takes the place of the witness of a server that has lost its newest changes, after having observed all the others.
    ///
    /// What handlers really did stays known, and which messages are lost. Members do not know of the loss, so
    /// what is pending, and what the loss has moved, may be started by a member that does not hold it.
    pub(in crate::streams) fn take_over(&mut self, former: Self) {
        for (group, before) in self.groups.iter_mut().zip(former.groups) {
            group.punctual = before.punctual;
            group.before.clear();
            let undone =
                before.done_keys.into_keys().filter(|key| !group.done_keys.contains_key(key));
            group.undone = undone.chain(before.undone).collect();
            for (id, before) in before.entries {
                if let Some(entry) = group.entries.get_mut(&id) {
                    entry.number = before.number;
                    entry.seen = before.seen;
                    entry.ghosted |=
                        before.ghosted || before.place != entry.place || entry.is_pending();
                } else if let Some(standing) =
                    former.streams[&id.stream].iter().find(|standing| standing.id == id.id)
                {
                    self.lost.insert(id, (before.number, standing.message.clone()));
                }
            }
        }
        self.letter_ids.clear();
        self.numbers = former.numbers;
    }

    /// The store's clock has jumped ahead: living members may have been taken for dead at once, and do not know it.
    pub(in crate::streams) fn leases_may_have_run_out(&mut self) {
        for group in &mut self.groups {
            group.entries.values_mut().for_each(|entry| entry.ghosted |= entry.is_pending());
        }
    }

    /// Notes that somebody deleted a message.
    pub(in crate::streams) fn deleted(&mut self, id: &MessageId) {
        let stream = self.streams.get_mut(&id.stream);
        if let Some(standing) =
            stream.and_then(|all| all.iter_mut().find(|standing| standing.id == id.id))
        {
            standing.deleted = true;
        }
        for group in &mut self.groups {
            if let Some(entry) = group.entries.get_mut(id) {
                entry.deleted = true;
                entry.seen.deleted = true;
                if entry.place == Place::Waiting {
                    // Nobody will ever hand it over, so nobody waits for it.
                    entry.gone = true;
                    group.unfinished -= 1;
                }
            }
        }
    }

    /// Messages that a stranger may delete so that the model still knows what must follow.
    pub(in crate::streams) fn deletable(&self) -> Vec<MessageId> {
        let known = |id: &MessageId| {
            self.groups.iter().filter(|group| group.keys.contains(&id.stream)).all(|group| {
                group.entries.get(id).is_some_and(|entry| {
                    entry.is_pending()
                        || entry.place == Place::Waiting && group.spec.order_by.is_none()
                })
            })
        };
        let of = |(stream, standing): (&StreamName, &Vec<Standing>)| {
            let alive = standing.iter().filter(|standing| !standing.deleted);
            alive
                .map(|standing| MessageId { stream: stream.clone(), id: standing.id })
                .collect::<Vec<_>>()
        };
        let consumed = self
            .streams
            .iter()
            .filter(|(stream, _)| self.groups.iter().any(|group| group.keys.contains(stream)));
        consumed.flat_map(of).filter(known).collect()
    }
}
