//! A naive model of what is parked, which follows a finished log entry by entry.
//!
//! Per handler and key the order is kept, nothing of a parked key is handed out before its release, and in the end every
//! event was handed out, was given up by an operator, or is still parked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use silvertine_engine::{
    engine::{Engine, EngineConfig},
    event::{Body, Event, EventId, System, TopicSet},
    park::{ParkedKey, Release},
    text::Name,
};

use super::{
    Promise, Violation,
    entry::{Waiting, is_retry, release},
};
use crate::log::coverage::Sight;

/// Everything that is parked at one place of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes(BTreeMap<ParkedKey, VecDeque<Waiting>>);

impl Lanes {
    /// What an engine says is parked.
    pub(crate) fn of(engine: &Engine) -> Self {
        let lane = |key: ParkedKey| {
            let waiting = |event: &Event| Waiting { seq: event.pos.seq, id: event.header.id };
            (key, engine.parked_events(key).map(waiting).collect())
        };
        Self(engine.parked().iter().map(|parked| lane(parked.key)).collect())
    }

    fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }
}

/// The model.
pub(crate) struct Parking {
    topics: TopicSet,
    capacity: usize,
    lanes: Lanes,
    /// What was parked before the first entry that is kept.
    before: BTreeSet<EventId>,
    /// Where, and for whom, there was no room.
    full: BTreeSet<(usize, Name)>,
    /// What the release at hand has handed out, in order.
    released: Vec<(EventId, Name)>,
    pub(crate) sights: Vec<Sight>,
}

impl Parking {
    pub(crate) fn new(config: &EngineConfig, lanes: Lanes) -> Self {
        let before = lanes.0.values().flatten().map(|waiting| waiting.id).collect();
        let (full, released, sights) = Default::default();
        let topics = config.on_failure.parking();
        Self { topics, capacity: config.park_capacity, lanes, before, full, released, sights }
    }

    /// Where `event` would be parked for `handler`.
    pub(crate) fn key(&self, handler: Name, event: &Event) -> Option<ParkedKey> {
        let symbol = match &event.body {
            Body::System(System::Operator { .. }) => return None,
            Body::System(System::Gap { symbol, .. }) => Some(*symbol),
            Body::System(_) => None,
            Body::MarketData(data) => Some(data.symbol()),
            Body::Signal(signal) => Some(signal.symbol),
            Body::Order(order) => Some(order.symbol),
            Body::Fill(fill) => Some(fill.symbol),
        };
        self.topics.contains(event.body.topic()).then_some(ParkedKey { handler, symbol })
    }

    pub(crate) fn holds(&self, key: &ParkedKey) -> bool {
        self.lanes.0.contains_key(key)
    }

    /// Parks the event at `at`.
    pub(crate) fn park(&mut self, key: ParkedKey, event: &Event, at: usize) {
        let waiting = Waiting { seq: event.pos.seq, id: event.header.id };
        self.lanes.0.entry(key).or_default().push_back(waiting);
        self.sights.push(Sight::KeyParked);
        if self.lanes.len() > self.capacity {
            self.full.insert((at, key.handler));
            self.sights.push(Sight::ParkFull);
        }
    }

    /// Whether there was no room for what a handler was to be handed there.
    pub(crate) fn was_full(&self, at: usize, handler: Name) -> bool {
        self.full.contains(&(at, handler))
    }

    /// Whether an entry of that id may have been trimmed while the event was parked.
    pub(crate) fn was_parked_before(&self, id: EventId) -> bool {
        self.before.contains(&id)
    }

    /// Begins the entry behind: an input or timer ends what a release hands out.
    pub(crate) fn begin(&mut self, event: &Event, is_past_halt: bool) {
        if !event.origin.is_caused() && !is_past_halt {
            self.released.clear();
        }
    }

    /// What the entry releases: the key, when anything is parked there, behind the event that is given up.
    pub(crate) fn asked(&mut self, event: &Event) -> Option<ParkedKey> {
        let Release { key, past } = release(event).filter(|release| self.holds(&release.key))?;
        self.sights.push(if past { Sight::ReleasedPast } else { Sight::KeyReleased });
        if past {
            self.pop(&key);
        }
        Some(key)
    }

    pub(crate) fn first(&self, key: &ParkedKey) -> Option<Waiting> {
        self.lanes.0.get(key).and_then(|lane| lane.front().copied())
    }

    /// Notes that the first of a key was handed out.
    pub(crate) fn hand_out(&mut self, key: &ParkedKey) {
        if let Some(waiting) = self.pop(key) {
            self.released.push((waiting.id, key.handler));
        }
    }

    fn pop(&mut self, key: &ParkedKey) -> Option<Waiting> {
        let lane = self.lanes.0.get_mut(key)?;
        let waiting = lane.pop_front();
        if lane.is_empty() {
            self.lanes.0.remove(key);
        }
        waiting
    }

    /// The turn of an entry within the release at hand, not before `least`, when it comes of one of its calls. Two of
    /// them may have handed out events of one id.
    pub(crate) fn turn(&self, event: &Event, least: usize) -> Option<usize> {
        let of = (event.header.causation?, event.header.source);
        if is_retry(event) {
            return Some(self.released.len());
        }
        let nth = |(_, released): &(usize, &(EventId, Name))| **released == of;
        let mut turns = self.released.iter().enumerate().filter(nth).map(|(nth, _)| nth);
        turns.clone().find(|&nth| nth >= least).or_else(|| turns.next())
    }

    /// Compares with what is parked in the end.
    pub(crate) fn finish(self, end: &Lanes) -> Result<Vec<Sight>, Violation> {
        if self.lanes == *end {
            return Ok(self.sights);
        }
        let (what, expected, actual) = ("what is parked in the end", &self.lanes, end);
        let show = |lanes: &Lanes| format!("{:?}", lanes.0);
        Err(Violation::new(Promise::Dispatch, what, show(expected), show(actual)))
    }
}
