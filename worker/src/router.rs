//! A handler that passes messages on by the topology's route.

use std::convert::Infallible;

use silvertine_streams::{Classify, Message, Route, message};

use super::handle::{Handle, Handled, MessageContext};

/// Passes each message on to where a [`Route`] sends it: published exactly when it is done here.
#[derive(Clone, Debug)]
pub struct Router {
    route: Route,
}

impl Router {
    /// A router by this route.
    #[must_use]
    pub const fn new(route: Route) -> Self {
        Self { route }
    }
}

impl Handle for Router {
    type Message = Message;
    type Error = Never;

    async fn handle(&self, message: Message, context: MessageContext) -> Result<Handled, Never> {
        let targets = self.route.targets(&message);
        let passed_on = keyed(message.clone(), context.key());
        Ok(targets.iter().fold(Handled::done(), |handled, to| handled.emit(to, passed_on.clone())))
    }

    fn name(&self) -> String {
        format!("route:{}", self.route.from)
    }
}

/// The same message with a key, by which a consumer that gets it twice recognises it.
fn keyed(message: Message, key: &str) -> Message {
    if message.field(message::KEY).is_some() { message } else { message.with_key(key) }
}

/// Routing does not fail.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Never(Infallible);

impl Classify for Never {}
