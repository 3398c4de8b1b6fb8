//! A handler made of a closure.

use silvertine_engine::{
    bus::{Context, Handler, HandlerError, decode_state, encode_state},
    event::{Event, Topic, TopicSet},
};

/// What a [`Probe`] does with an event.
pub type Reaction = Box<dyn FnMut(&Event, &mut Context<'_>) -> Result<(), HandlerError> + Send>;

/// Counts its events as state, before the closure can fail.
pub struct Probe {
    topics: TopicSet,
    called: u64,
    react: Reaction,
}

/// A handler of these topics.
pub fn probe(
    topics: &[Topic],
    react: impl FnMut(&Event, &mut Context<'_>) -> Result<(), HandlerError> + Send + 'static,
) -> Probe {
    Probe { topics: TopicSet::of(topics), called: 0, react: Box::new(react) }
}

impl Handler for Probe {
    fn topics(&self) -> TopicSet {
        self.topics
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.called += 1;
        (self.react)(event, ctx)
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.called)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.called = decode_state(state)?;
        Ok(())
    }
}
