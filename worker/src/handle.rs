//! Handlers: what the author of a worker writes, and what a handler is given and returns.

use std::{any::type_name, future::Future, sync::OnceLock};

use serde::de::DeserializeOwned;
use silvertine_engine::codec::Codec;
use silvertine_streams::{
    Classify, HandlerFailure, HandlerOutcome, Message, MessageError, MessageId, Publication,
    StreamName, Work,
};

/// Handles messages one by one. The same handler may run in any number of processes at a time.
///
/// It may be called again for the same message: after a failure, and when its process dies before the store has
/// recorded that the message is done. Give [`MessageContext::key`] to whatever must not act twice, or [emit](Handled::emit) the effect:
/// what is emitted is published exactly when the message is done.
pub trait Handle: Send + Sync + 'static {
    /// What a message is decoded to: [`Typed`] for a payload, [`Message`] for all of it.
    type Message: FromMessage + Send;
    /// Why it failed, and what that means for the message.
    type Error: Classify + Send;

    /// Handles one message.
    ///
    /// # Errors
    /// The error of the handler; its [class](Classify::class) decides between a retry and a dead letter.
    fn handle(
        &self,
        message: Self::Message,
        context: MessageContext,
    ) -> impl Future<Output = Result<Handled, Self::Error>> + Send;

    /// The name by which dead letters and logs call it.
    fn name(&self) -> String {
        short_name(type_name::<Self>())
    }
}

/// Handles several messages at once, for example by one insert of many rows.
pub trait HandleBatch: Send + Sync + 'static {
    /// What a message is decoded to.
    type Message: FromMessage + Send;
    /// Why it failed, and what that means for the messages.
    type Error: Classify + Send;

    /// Handles the messages, one result for each, in order. When it panics or runs out of time, each message is
    /// tried once more alone, so that one does not take the others with it.
    fn handle(
        &self,
        messages: Vec<(Self::Message, MessageContext)>,
    ) -> impl Future<Output = Vec<Result<Handled, Self::Error>>> + Send;

    /// The most messages at once.
    fn batch_max(&self) -> usize;

    /// The name by which dead letters and logs call it.
    fn name(&self) -> String {
        short_name(type_name::<Self>())
    }
}

/// `Broker` of `my_crate::orders::Broker<Live>`.
fn short_name(path: &str) -> String {
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").find(|part| !part.starts_with('{')).unwrap_or(path).to_owned()
}

/// A message is done, and these are its effects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    emit: Vec<Publication>,
}

impl Handled {
    /// Done, and nothing to publish.
    #[must_use]
    pub fn done() -> Self {
        Self::default()
    }

    /// Publishes a message in the same atomic step that ends the handling of this one: both or neither.
    #[must_use]
    pub fn emit(mut self, stream: &StreamName, message: Message) -> Self {
        self.emit.push(Publication::new(stream.clone(), message));
        self
    }
}

/// What a handler may know about a message besides its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageContext {
    work: Work,
    /// The key, computed when it is first asked for.
    name: OnceLock<String>,
}

impl MessageContext {
    const fn of(work: Work) -> Self {
        Self { work, name: OnceLock::new() }
    }

    /// Names the message for the outside world: the same at every delivery, retry and redrive. The producer's
    /// own key where it gave one.
    #[must_use]
    pub fn key(&self) -> &str {
        self.name.get_or_init(|| self.work.name())
    }

    /// The stream on which the message stands, and its id there.
    #[must_use]
    pub const fn id(&self) -> &MessageId {
        &self.work.id
    }

    /// Which attempt this is, from one.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.work.attempt
    }

    /// How often it was redriven from the dead letters.
    #[must_use]
    pub const fn redrives(&self) -> u32 {
        self.work.redrives
    }

    /// The message as its producer wrote it, with all headers.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.work.message
    }
}

/// What a message can be decoded to.
pub trait FromMessage: Sized {
    /// Decodes it; `default` is the codec of a message that does not name one.
    ///
    /// # Errors
    /// The message does not decode; it becomes a dead letter at once.
    fn from_message(message: &Message, default: Codec) -> Result<Self, MessageError>;
}

/// A handler's argument that takes the payload, decoded to a `T`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed<T>(pub T);

impl<T: DeserializeOwned> FromMessage for Typed<T> {
    fn from_message(message: &Message, default: Codec) -> Result<Self, MessageError> {
        message.decode(default).map(Self)
    }
}

impl FromMessage for Message {
    fn from_message(message: &Message, _default: Codec) -> Result<Self, MessageError> {
        Ok(message.clone())
    }
}

/// A handler of this closure and what it needs: each call gets a clone of `state`.
///
/// An async closure that captured the state instead could not be called twice at a time.
pub fn handler_with<T, M, E, F, R>(state: T, call: F) -> impl Handle<Message = M, Error = E>
where
    T: Clone + Send + Sync + 'static,
    M: FromMessage + Send + 'static,
    E: Classify + Send + 'static,
    F: Fn(T, M, MessageContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Handled, E>> + Send + 'static,
{
    handler(move |message, context| call(state.clone(), message, context))
}

/// A handler of this closure.
pub fn handler<M, E, F, R>(call: F) -> impl Handle<Message = M, Error = E>
where
    M: FromMessage + Send + 'static,
    E: Classify + Send + 'static,
    F: Fn(M, MessageContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Handled, E>> + Send + 'static,
{
    Closure { call, marker: std::marker::PhantomData::<fn() -> (M, E)> }
}

struct Closure<F, T> {
    call: F,
    marker: std::marker::PhantomData<fn() -> T>,
}

impl<M, E, F, R> Handle for Closure<F, (M, E)>
where
    M: FromMessage + Send + 'static,
    E: Classify + Send + 'static,
    F: Fn(M, MessageContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Handled, E>> + Send + 'static,
{
    type Message = M;
    type Error = E;

    fn handle(
        &self,
        message: M,
        context: MessageContext,
    ) -> impl Future<Output = Result<Handled, E>> + Send {
        (self.call)(message, context)
    }

    fn name(&self) -> String {
        short_name(type_name::<F>())
    }
}

/// A handler of batches of this closure.
pub fn batch_handler<M, E, F, R>(
    batch_max: usize,
    call: F,
) -> impl HandleBatch<Message = M, Error = E>
where
    M: FromMessage + Send + 'static,
    E: Classify + Send + 'static,
    F: Fn(Vec<(M, MessageContext)>) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<Result<Handled, E>>> + Send + 'static,
{
    let marker = std::marker::PhantomData::<fn() -> (M, E)>;
    BatchClosure { batch_max, closure: Closure { call, marker } }
}

struct BatchClosure<F, T> {
    batch_max: usize,
    closure: Closure<F, T>,
}

impl<M, E, F, R> HandleBatch for BatchClosure<F, (M, E)>
where
    M: FromMessage + Send + 'static,
    E: Classify + Send + 'static,
    F: Fn(Vec<(M, MessageContext)>) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<Result<Handled, E>>> + Send + 'static,
{
    type Message = M;
    type Error = E;

    fn handle(
        &self,
        messages: Vec<(M, MessageContext)>,
    ) -> impl Future<Output = Vec<Result<Handled, E>>> + Send {
        (self.closure.call)(messages)
    }

    fn batch_max(&self) -> usize {
        self.batch_max.max(1)
    }

    fn name(&self) -> String {
        short_name(type_name::<F>())
    }
}

/// What the loop of a worker calls: any handler, with messages decoded and errors classified. Users do not name it.
pub trait Service: Send + Sync + 'static {
    /// One outcome per piece of work, in order.
    fn call(
        &self,
        work: Vec<Work>,
        codec: Codec,
    ) -> impl Future<Output = Vec<HandlerOutcome>> + Send;

    /// The most messages at once.
    fn batch_max(&self) -> usize;

    /// The handler's name.
    fn name(&self) -> String;
}

/// Handles one message at a time.
pub struct Single<H>(pub(super) H);

impl<H: Handle> Service for Single<H> {
    async fn call(&self, work: Vec<Work>, codec: Codec) -> Vec<HandlerOutcome> {
        let mut outcomes = Vec::with_capacity(work.len());
        for work in work {
            outcomes.push(match H::Message::from_message(&work.message, codec) {
                Ok(message) => outcome(self.0.handle(message, MessageContext::of(work)).await),
                Err(why) => HandlerOutcome::Undecodable(why.to_string()),
            });
        }
        outcomes
    }

    fn batch_max(&self) -> usize {
        1
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

/// Handles several messages at once.
pub struct Batched<H>(pub(super) H);

impl<H: HandleBatch> Service for Batched<H> {
    async fn call(&self, work: Vec<Work>, codec: Codec) -> Vec<HandlerOutcome> {
        let mut outcomes: Vec<Option<HandlerOutcome>> = Vec::with_capacity(work.len());
        let mut messages = Vec::with_capacity(work.len());
        for work in work {
            match H::Message::from_message(&work.message, codec) {
                Ok(message) => {
                    messages.push((message, MessageContext::of(work)));
                    outcomes.push(None);
                }
                Err(why) => outcomes.push(Some(HandlerOutcome::Undecodable(why.to_string()))),
            }
        }
        let asked = messages.len();
        let mut results = if asked == 0 { Vec::new() } else { self.0.handle(messages).await };
        // Fewer or more results than messages do not say which is whose.
        if results.len() != asked {
            results.clear();
        }
        let mut results = results.into_iter();
        let next = |known: Option<HandlerOutcome>| match known {
            Some(outcome) => outcome,
            None => results.next().map_or_else(miscounted, outcome),
        };
        outcomes.into_iter().map(next).collect()
    }

    fn batch_max(&self) -> usize {
        self.0.batch_max().max(1)
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

fn miscounted() -> HandlerOutcome {
    use silvertine_streams::Class;
    let text = "the batch handler gave another number of results than it got messages";
    HandlerOutcome::Failed(HandlerFailure::new(Class::Permanent, "miscounted", text))
}

fn outcome<E: Classify>(result: Result<Handled, E>) -> HandlerOutcome {
    match result {
        Ok(handled) => HandlerOutcome::Done(handled.emit),
        Err(error) => HandlerOutcome::Failed(HandlerFailure::of(&error)),
    }
}
