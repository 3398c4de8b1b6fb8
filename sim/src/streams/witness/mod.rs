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
use self::{group::Place, standing::Standing};
use super::promise::{Checked, ensure};

pub(in crate::streams) struct Witness {
    topology: Topology,
    pub(in crate::streams) streams: BTreeMap<StreamName, Vec<Standing>>,
    pub(in crate::streams) groups: Vec<Group>,
    /// Dead letters in order of burial, each with its own id once that is known.
    letters: Vec<(Option<Pos>, DeadLetter)>,
    /// Appended by operations whose answers give no ids.
    unread: BTreeMap<StreamName, VecDeque<Message>>,
    /// Messages so far, which are numbered for the trace.
    pub(in crate::streams) numbers: u64,
}

impl Witness {
    pub(in crate::streams) fn new(topology: &Topology, silence: bool) -> Self {
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
            unread: BTreeMap::new(),
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
        for group in self.groups.iter_mut().filter(|group| group.keys.contains(stream)) {
            group.add(id.clone(), self.numbers, &message);
        }
        Ok(())
    }

    fn expect(&mut self, publication: &Publication) {
        let unread = self.unread.entry(publication.stream.clone()).or_default();
        unread.push_back(publication.message.clone());
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
