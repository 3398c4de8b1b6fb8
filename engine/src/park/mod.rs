//! Parking: a failure on an event whose topic parks holds back the later events of its key, for that handler.
//!
//! A handler that failed on a fill must not receive the next fill of the instrument, or its position is wrong. To halt
//! everything for one instrument may be worse than the failure. Therefore the failed event stays first in a queue of its
//! handler and key, and later events for them join the queue, in the order of positions. Other handlers and other keys
//! continue. An operator's [`Release`] delivers the failed event again and then the rest of the queue.
//!
//! The queue holds the events themselves and every snapshot contains it, so that trimming need not wait for an operator. The
//! handler's state is restored after the failed call (see the slot on the bus). A retry therefore counts nothing twice, and
//! replay need not repeat a failure that the log holds.

mod key;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use serde::{Deserialize, Serialize};

pub use self::key::{ParkedKey, Release};
use crate::{
    codec::{decode_entry, encode_entry},
    event::{Body, Event, System, Topic},
    pos::Pos,
    text::Name,
    time::Nanos,
};

impl ParkedKey {
    /// The key under which `event` is parked for `handler`, or `None` when it is never parked: operators' actions, above all
    /// the kill switch, must reach every handler.
    pub(crate) fn of(handler: Name, event: &Event) -> Option<Self> {
        let symbol = match &event.body {
            Body::MarketData(data) => Some(data.symbol()),
            Body::Signal(signal) => Some(signal.symbol),
            Body::Order(order) => Some(order.symbol),
            Body::Fill(fill) => Some(fill.symbol),
            Body::System(System::Gap { symbol, .. }) => Some(*symbol),
            Body::System(System::Operator { .. }) => return None,
            Body::System(_) => None,
        };
        Some(Self { handler, symbol })
    }
}

/// The events that are parked under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The key.
    pub key: ParkedKey,
    /// How many events.
    pub events: usize,
    /// The position of the first, on which the handler failed.
    pub first: Pos,
    /// Its topic.
    pub topic: Topic,
    /// Why it failed the last time.
    pub reason: String,
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, events, first, topic, reason } = self;
        let plural = if *events == 1 { "" } else { "s" };
        let handler = key.handler;
        write!(
            f,
            "{key}: {events} event{plural} parked, {handler} failed on the {topic} event at {first}: {reason}"
        )
    }
}

/// All parked events; part of the snapshot if any topic parks.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    /// No queue is empty.
    queues: BTreeMap<ParkedKey, Queue>,
    /// Events in all of them.
    len: usize,
    /// Events that operators skipped.
    pub(crate) given_up: u64,
    /// Failures on parked events.
    pub(crate) failures: u64,
}

#[derive(Debug)]
struct Queue {
    events: VecDeque<Event>,
    reason: String,
}

impl Parking {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Events parked, under all keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn holds(&self, key: &ParkedKey) -> bool {
        self.queues.contains_key(key)
    }

    /// In the order of keys.
    pub(crate) fn list(&self) -> Vec<Parked> {
        let parked = |(&key, queue): (&ParkedKey, &Queue)| {
            let Queue { events, reason } = queue;
            let first = events.front()?;
            let (reason, topic) = (reason.clone(), first.body.topic());
            Some(Parked { key, events: events.len(), first: first.pos, topic, reason })
        };
        self.queues.iter().filter_map(parked).collect()
    }

    /// The events of a key, in order.
    pub(crate) fn events(&self, key: &ParkedKey) -> impl Iterator<Item = &Event> + use<'_> {
        self.queues.get(key).into_iter().flat_map(|queue| &queue.events)
    }

    /// Parks the event that a handler failed on, as the first of its key.
    pub(crate) fn begin(&mut self, key: ParkedKey, failed: &Event, reason: String) {
        let queue = Queue { events: VecDeque::from([failed.clone()]), reason };
        let before = self.queues.insert(key, queue);
        assert!(before.is_none(), "a handler is not called for a key that is parked");
        self.len += 1;
        self.failures += 1;
    }

    /// Parks an event after those of its key.
    pub(crate) fn push(&mut self, key: ParkedKey, event: &Event) {
        let queue = self.queues.get_mut(&key).expect("the key is parked");
        queue.events.push_back(event.clone());
        self.len += 1;
    }

    pub(crate) fn first(&self, key: &ParkedKey) -> Option<&Event> {
        self.queues.get(key)?.events.front()
    }

    /// Notes that the first event failed again.
    pub(crate) fn fail_again(&mut self, key: &ParkedKey, why: String) {
        self.queues.get_mut(key).expect("the key is parked").reason = why;
        self.failures += 1;
    }

    /// Removes the first event of a key, if there is one. The key is free once its last event is removed.
    pub(crate) fn pop(&mut self, key: &ParkedKey) -> Option<Event> {
        let queue = self.queues.get_mut(key)?;
        let event = queue.events.pop_front();
        self.len -= usize::from(event.is_some());
        if queue.events.is_empty() {
            self.queues.remove(key);
        }
        event
    }

    /// The state for a snapshot.
    pub(crate) fn save(&self) -> SavedParking {
        // What `load` recomputes.
        debug_assert_eq!(self.len, self.queues.values().map(|q| q.events.len()).sum::<usize>());
        let save = |(&key, queue): (&ParkedKey, &Queue)| {
            let bytes = |event: &Event| {
                let mut bytes = Vec::new();
                encode_entry(event, &mut bytes);
                SavedEvent(bytes)
            };
            let events = queue.events.iter().map(bytes).collect();
            SavedQueue { key, events, reason: queue.reason.clone() }
        };
        let queues = self.queues.iter().map(save).collect();
        SavedParking { queues, given_up: self.given_up, failures: self.failures }
    }

    /// The state that was saved. `None` when an engine with these handlers cannot have saved it at this position.
    pub(crate) fn load(
        saved: SavedParking,
        handlers: &[Name],
        head: Pos,
        now: Nanos,
    ) -> Option<Self> {
        let SavedParking { queues, given_up, failures } = saved;
        let mut parking = Self { given_up, failures, ..Self::default() };
        for SavedQueue { key, events, reason } in queues {
            let decode = |saved: &SavedEvent| decode_entry(&saved.0).ok();
            let events: VecDeque<Event> = events.iter().map(decode).collect::<Option<_>>()?;
            let fits = |event: &Event| {
                ParkedKey::of(key.handler, event) == Some(key)
                    && event.pos.seq <= head.seq
                    && event.time <= now
            };
            let in_order = events.iter().is_sorted_by(|a, b| a.pos.seq < b.pos.seq);
            let is_new = parking.queues.keys().next_back().is_none_or(|&last| last < key);
            let is_sound = !events.is_empty() && in_order && is_new && events.iter().all(fits);
            if !is_sound || !handlers.contains(&key.handler) {
                return None;
            }
            parking.len += events.len();
            parking.queues.insert(key, Queue { events, reason });
        }
        let queues = parking.queues.len() as u64;
        (failures >= queues && failures <= head.seq && given_up <= failures).then_some(parking)
    }
}

/// [`Parking`] as stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedParking {
    queues: Vec<SavedQueue>,
    given_up: u64,
    failures: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedQueue {
    key: ParkedKey,
    events: Vec<SavedEvent>,
    reason: String,
}

/// The canonical bytes of an entry.
#[derive(Serialize, Deserialize)]
struct SavedEvent(#[serde(with = "crate::bytes")] Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EventId, Header, Origin},
        text::Symbol,
    };

    const HEAD: Pos = Pos { ms: 0, seq: 9 };

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    fn gap(of: &str, seq: u64) -> Event {
        let id = EventId(seq.into());
        let time = Nanos(seq);
        let header = Header {
            id,
            event_time: time,
            recv_time: time,
            source: name("feed"),
            source_seq: seq,
            correlation: id,
            causation: None,
        };
        let body = System::Gap { symbol: Symbol::new(of).expect("valid"), reason: String::new() };
        Event { pos: Pos { ms: 0, seq }, time, origin: Origin::Input, header, body: body.into() }
    }

    fn parked() -> Parking {
        let mut parking = Parking::default();
        parking.begin("h:X".parse().expect("a key"), &gap("X", 3), "no".to_owned());
        parking.push("h:X".parse().expect("a key"), &gap("X", 5));
        parking
    }

    fn load(saved: SavedParking) -> Option<Vec<Parked>> {
        let handlers = [name("h")];
        Parking::load(saved, &handlers, HEAD, Nanos(9)).map(|parking| parking.list())
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for text in ["portfolio:BTCUSDT", "portfolio", "portfolio:NYSE:IBM"] {
            assert_eq!(text.parse::<ParkedKey>().expect("a key").to_string(), text);
        }
        for text in ["", ":X", "portfolio:", "portfolio:A B"] {
            assert!(text.parse::<ParkedKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_no_engine_can_have_saved_is_refused() {
        assert_eq!(load(parked().save()), Some(parked().list()));
        let changes: [fn(&mut SavedParking); 7] = [
            |saved| saved.queues[0].events.reverse(),
            |saved| saved.queues[0].events.clear(),
            |saved| saved.queues[0].events[0].0.truncate(9),
            |saved| saved.queues[0].key.symbol = None,
            |saved| saved.queues[0].key.handler = name("other"),
            |saved| saved.failures = 0,
            |saved| saved.given_up = 2,
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut saved = parked().save();
            change(&mut saved);
            assert_eq!(load(saved), None, "change {n}");
        }
        let early = Parking::load(parked().save(), &[name("h")], Pos { ms: 0, seq: 4 }, Nanos(9));
        assert!(early.is_none(), "an event from behind the snapshot");
    }
}
