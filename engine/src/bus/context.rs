//! The engine as a handler sees it while it handles an event: engine time, random numbers, emitting, timers.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    event::{Body, Event, EventId},
    text::Name,
    time::Nanos,
    timers::TimerKey,
};

/// A handler's view of the engine while it handles one event.
///
/// Nothing it does here takes effect before the handler returns `Ok`.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) handler: Name,
    pub(crate) seed: u64,
    pub(crate) event: &'a Event,
    pub(crate) draws: u64,
    pub(crate) cascade_budget: usize,
    pub(crate) overran: bool,
    pub(crate) staged: &'a mut Staged,
}

/// The events and timer changes of a handler, held back until it returns `Ok`.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) emitted: Vec<(EventId, Body)>,
    pub(crate) timers: Vec<TimerChange>,
}

#[derive(Debug)]
pub(crate) enum TimerChange {
    Set { key: TimerKey, due: Nanos, by: EventId },
    Cancel { key: TimerKey },
}

impl Staged {
    pub(crate) fn is_empty(&self) -> bool {
        self.emitted.is_empty() && self.timers.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.emitted.clear();
        self.timers.clear();
    }
}

impl Context<'_> {
    /// Engine time: the same in a live run, a backtest and a replay.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.event.time
    }

    /// The name this handler is registered under.
    #[must_use]
    pub const fn handler(&self) -> Name {
        self.handler
    }

    /// Emits an event and returns its id. The event is handled in the same step, after everything emitted before it.
    pub fn emit(&mut self, body: impl Into<Body>) -> EventId {
        let id = self.next_event_id();
        if self.staged.emitted.len() < self.cascade_budget {
            self.staged.emitted.push((id, body.into()));
        } else {
            self.overran = true;
        }
        id
    }

    /// The id of the event that is emitted next, for bodies that contain their own id (a new order).
    #[must_use]
    pub fn next_event_id(&self) -> EventId {
        let ordinal = self.staged.emitted.len() as u64;
        EventId::of_emitted(self.event.header.id, &self.handler, ordinal)
    }

    /// Sets a timer that is due `after` from now, in engine time. A handler has one timer per key; setting it again moves
    /// it. When it fires, this handler receives [`System::TimerFired`](crate::event::System::TimerFired), before any input
    /// of a later time.
    pub fn set_timer(&mut self, key: u64, after: Duration) {
        let due = self.now().saturating_add(after);
        let key = TimerKey { handler: self.handler, key };
        self.staged.timers.push(TimerChange::Set { key, due, by: self.event.header.id });
    }

    /// Cancels a timer; does nothing when it is not set.
    pub fn cancel_timer(&mut self, key: u64) {
        let key = TimerKey { handler: self.handler, key };
        self.staged.timers.push(TimerChange::Cancel { key });
    }

    /// A random number, derived from the seed, the handler's name, the event's sequence number and the number of draws before
    /// it. It is the same in every re-execution, and independent of other handlers' draws.
    pub fn random(&mut self) -> u64 {
        let mut bytes = [0; 8 + 8 + 8 + Name::CAPACITY];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.event.pos.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.draws.to_le_bytes());
        bytes[24..].copy_from_slice(self.handler.padded());
        self.draws += 1;
        xxh3_64(&bytes[..24 + self.handler.as_bytes().len()])
    }

    /// A random number below `bound`, without bias worth measuring (multiply-shift over 64 bits).
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        ((u128::from(self.random()) * u128::from(bound)) >> 64) as u64
    }
}
