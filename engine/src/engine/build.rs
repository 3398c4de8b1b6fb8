//! Builds an engine from its handlers: checks their names, sorts them by priority, and derives who receives which topic.

use std::collections::VecDeque;

use super::{Engine, EngineConfig, EngineError};
use crate::{
    bus::{Handler, Priority, Slot, Staged},
    counts::Counts,
    dedup::Dedup,
    digest::Digest,
    event::Topic,
    park::Parking,
    pos::Pos,
    text::Name,
    time::Nanos,
    timers::Timers,
};

/// Collects handlers for an engine.
#[derive(Default)]
pub struct EngineBuilder {
    config: EngineConfig,
    slots: Vec<Slot>,
}

impl EngineBuilder {
    /// Registers a handler under a name of its own.
    #[must_use]
    pub fn handler(self, name: Name, priority: Priority, handler: impl Handler + 'static) -> Self {
        self.boxed_handler(name, priority, Box::new(handler))
    }

    /// Registers a handler whose type is not known here.
    #[must_use]
    pub fn boxed_handler(
        mut self,
        name: Name,
        priority: Priority,
        handler: Box<dyn Handler>,
    ) -> Self {
        self.slots.push(Slot::new(name, priority, handler));
        self
    }

    /// The engine, at the start of an empty log.
    ///
    /// # Errors
    /// [`EngineError::DuplicateHandler`] when two handlers have one name.
    pub fn build(self) -> Result<Engine, EngineError> {
        let Self { config, mut slots } = self;
        for (at, slot) in slots.iter().enumerate() {
            if slots[..at].iter().any(|earlier| earlier.name == slot.name) {
                return Err(EngineError::DuplicateHandler(slot.name));
            }
        }
        // A stable sort, so that registration order decides within a priority.
        slots.sort_by_key(|slot| slot.priority);
        let routes = Topic::ALL.map(|topic| {
            let subscribed = |&at: &usize| slots[at].handler.topics().contains(topic);
            (0..slots.len()).filter(subscribed).collect()
        });
        Ok(Engine {
            config,
            slots,
            routes,
            time: Nanos::ZERO,
            head: Pos::ZERO,
            digest: Digest::EMPTY,
            counts: Counts::default(),
            timers: Timers::default(),
            dedup: Dedup::default(),
            queue: VecDeque::new(),
            staged: Staged::default(),
            halting: config.on_failure.halting(),
            parks: config.on_failure.parking(),
            parking: Parking::default(),
            halted_cascade: None,
            recorded_failures: Vec::new(),
        })
    }
}

impl Engine {
    /// Begins an engine.
    #[must_use]
    pub fn builder(config: EngineConfig) -> EngineBuilder {
        EngineBuilder { config, slots: Vec::new() }
    }
}
