//! What a group must do, as simply as it can be said. Shares no code with any store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Settled, Tries, Why};

use crate::breach::ensure;

/// A message of the one stream, under a number of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMessage {
    pub id: Pos,
    pub key: Option<String>,
    pub account: Option<u8>,
    pub tries: Tries,
    pub deliveries: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Held(u8),
    Retry(Nanos),
    Blocked,
    Done,
    Duplicate,
    Dead,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    Retry(Tries, Span),
    Release,
    Dead,
}

/// A message as it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    pub id: Pos,
    pub why: Why,
    pub tries: Tries,
    pub deliveries: u64,
    pub done: bool,
}

/// How a member asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub limit: usize,
    pub own: bool,
    pub tend: bool,
    pub dead_after: Span,
    /// Whether it looks for dead members where it tends.
    pub look: bool,
}

/// One stream with one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub messages: Vec<ModelMessage>,
    seen: BTreeMap<u8, Nanos>,
    keys: BTreeSet<String>,
}

impl Model {
    pub fn publish(&mut self, id: Pos, key: Option<String>, account: Option<u8>) {
        let last = self.messages.last().map(|last| last.id);
        ensure!(last.is_none_or(|last| last < id), "ids rise");
        let (tries, deliveries, place) = (Tries::default(), 0, Place::Waiting);
        self.messages.push(ModelMessage { id, key, account, tries, deliveries, place });
    }

    pub fn poll(&mut self, member: u8, asked: Asked, now: Nanos) -> Vec<Handed> {
        self.seen.insert(member, now);
        let mut handed = Vec::new();
        if asked.own {
            for at in self.all(Place::Held(member)) {
                handed.push(self.hand(at, member, Why::Own));
            }
        }
        let room = |handed: &Vec<Handed>| asked.limit.saturating_sub(handed.len());
        if asked.tend {
            let dead =
                |seen: Nanos| asked.look && seen.saturating_add(asked.dead_after.duration()) <= now;
            let others = self.seen.clone();
            for (&other, _) in others.iter().filter(|(_, seen)| dead(**seen)) {
                for at in self.all(Place::Held(other)).into_iter().take(room(&handed)) {
                    handed.push(self.hand(at, member, Why::Reclaimed));
                }
            }
            let mut due: Vec<(Nanos, usize)> = (0..self.messages.len())
                .filter_map(|at| match self.messages[at].place {
                    Place::Retry(due) if due <= now => Some((due, at)),
                    _ => None,
                })
                .collect();
            due.sort_unstable();
            for (_, at) in due.into_iter().take(room(&handed)) {
                handed.push(self.hand(at, member, Why::Due));
            }
        }
        for at in self.all(Place::Waiting) {
            if room(&handed) == 0 {
                break;
            }
            if self.is_taken(self.messages[at].account) {
                self.messages[at].place = Place::Blocked;
            } else {
                handed.push(self.hand(at, member, Why::New));
            }
        }
        handed
    }

    fn all(&self, place: Place) -> Vec<usize> {
        (0..self.messages.len()).filter(|&at| self.messages[at].place == place).collect()
    }

    fn is_taken(&self, account: Option<u8>) -> bool {
        let active = |message: &ModelMessage| {
            matches!(message.place, Place::Held(_) | Place::Retry(_) | Place::Blocked)
        };
        let of_account = |message: &&ModelMessage| message.account == account;
        account.is_some() && self.messages.iter().filter(of_account).any(active)
    }

    fn hand(&mut self, at: usize, member: u8, why: Why) -> Handed {
        let known = self.messages[at].key.as_ref().is_some_and(|key| self.keys.contains(key));
        let message = &mut self.messages[at];
        message.place = Place::Held(member);
        message.deliveries += 1;
        let ModelMessage { id, tries, deliveries, .. } = *message;
        Handed { id, why, tries, deliveries, done: known }
    }

    pub fn begin(&mut self, member: u8, at: usize, tries: Tries, now: Nanos) -> bool {
        self.seen.insert(member, now);
        let ours = self.messages[at].place == Place::Held(member);
        if ours {
            self.messages[at].tries = tries;
        }
        ours
    }

    pub fn extend(&mut self, member: u8, now: Nanos) -> Vec<usize> {
        self.seen.insert(member, now);
        let lost = |&at: &usize| self.messages[at].place != Place::Held(member);
        (0..self.messages.len()).filter(lost).collect()
    }

    pub fn leave(&mut self, member: u8, now: Nanos) {
        for at in self.all(Place::Held(member)) {
            self.messages[at].place = Place::Retry(now);
        }
        self.seen.remove(&member);
    }

    pub fn settle(&mut self, member: u8, at: usize, end: End, now: Nanos) -> Settled {
        self.seen.insert(member, now);
        let place = self.messages[at].place;
        let ours = place == Place::Held(member);
        let anybodys = matches!(place, Place::Held(_) | Place::Retry(_));
        match end {
            End::Done if anybodys => {
                let key = self.messages[at].key.clone();
                let first = key.is_none_or(|key| self.keys.insert(key));
                self.finish(at, if first { Place::Done } else { Place::Duplicate }, now);
                if first { Settled::Applied } else { Settled::Duplicate }
            }
            _ if !ours => Settled::Lost,
            End::Done => Settled::Lost,
            End::Retry(tries, pause) => {
                self.messages[at].tries = tries;
                self.messages[at].place = Place::Retry(now.saturating_add(pause.duration()));
                Settled::Applied
            }
            End::Release => {
                self.messages[at].place = Place::Retry(now);
                Settled::Applied
            }
            End::Dead => {
                self.finish(at, Place::Dead, now);
                Settled::Applied
            }
        }
    }

    /// The key under which a message is done.
    pub fn key(&self, at: usize) -> Option<Arc<str>> {
        self.messages[at].key.as_deref().map(Into::into)
    }

    fn finish(&mut self, at: usize, place: Place, now: Nanos) {
        self.messages[at].place = place;
        let account = self.messages[at].account;
        let next = |message: &&mut ModelMessage| {
            account.is_some() && message.account == account && message.place == Place::Blocked
        };
        if let Some(next) = self.messages.iter_mut().find(next) {
            next.place = Place::Retry(now);
        }
    }

    /// Waiting, held, retrying, blocked, done, duplicates, dead.
    pub fn counts(&self) -> [u64; 7] {
        let mut counts = [0; 7];
        for message in &self.messages {
            counts[match message.place {
                Place::Waiting => 0,
                Place::Held(_) => 1,
                Place::Retry(_) => 2,
                Place::Blocked => 3,
                Place::Done => 4,
                Place::Duplicate => 5,
                Place::Dead => 6,
            }] += 1;
        }
        counts
    }

    /// Messages that are neither done nor dead.
    pub fn open(&self) -> BTreeSet<Pos> {
        let settled = [Place::Done, Place::Duplicate, Place::Dead];
        let open = self.messages.iter().filter(|message| !settled.contains(&message.place));
        open.map(|message| message.id).collect()
    }
}
