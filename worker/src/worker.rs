//! A worker before it runs: which member of which group it is, its handler, and when it stops.

use std::{sync::Arc, time::Duration};

use silvertine_engine::{codec::Codec, stop::StopFlag};
use silvertine_streams::{
    ConsumerName, GroupName, Member, MemberConfig, RetryPolicy, RetryVariableError, StoreError,
    StreamName, Streams,
};

use crate::handle::{Batched, Handle, HandleBatch, Service, Single};

/// How long handlers that run may go on when a worker is asked to stop.
const DRAIN_DEFAULT: Duration = Duration::from_secs(10);

/// One member of a group, ready to run.
///
/// ```
/// use silvertine_storage::streams::MemoryStreams;
/// use silvertine_worker::{
///     GroupSpec, Handled, Message, MessageContext, Publication, RetryPolicy, Span, StreamName, StreamSpec, Streams,
///     Topology, Worker, handler, now,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let alerts: StreamName = "monitoring:events".parse()?;
/// let mut spec = StreamSpec::new(alerts.clone()).with_group(GroupSpec::new("pagers".parse()?));
/// spec.retry = RetryPolicy::new(Span::from_millis(1), 2, 3);
/// let streams = MemoryStreams::in_memory(Topology::new(vec![spec]));
/// streams.declare(now()).await?;
/// let alert = Message::default().with("data", "the feed is silent");
/// streams.publish(&[Publication::new(alerts.clone(), alert)], now()).await?;
///
/// // The pager does not answer at the first two attempts; both are tried again.
/// let page = handler(async |_: Message, cx: MessageContext| match cx.attempt() {
///     1 | 2 => Err(std::io::Error::other("the pager does not answer")),
///     _ => Ok(Handled::done()),
/// });
/// let worker = Worker::new(streams, alerts, "pagers".parse()?, "pager-1".parse()?, page)?;
/// let stats = worker.until_idle().run().await?;
/// assert_eq!((stats.done, stats.retried), (1, 2));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Worker<S, H> {
    pub(crate) streams: S,
    pub(crate) service: Arc<H>,
    pub(crate) config: MemberConfig,
    pub(crate) codec: Codec,
    pub(crate) drain: Duration,
    pub(crate) until_idle: bool,
    pub(crate) stop: StopFlag,
}

impl<S: Streams, H: Handle> Worker<S, Single<H>> {
    /// A member called `consumer` of a group of a stream, whose messages `handler` handles one by one.
    ///
    /// A restarted process takes its former name, so that it goes on with what it held; no two living ones
    /// share a name. `MAX_RETRY_ATTEMPTS` and `RETRY_BACKOFF_BASE` of the environment override the policy.
    ///
    /// # Errors
    /// The topology knows no such stream or group, or the environment makes no sense.
    pub fn new(
        streams: S,
        stream: StreamName,
        group: GroupName,
        consumer: ConsumerName,
        handler: H,
    ) -> Result<Self, WorkerError> {
        Self::build(streams, Member { stream, group, consumer }, Single(handler))
    }
}

impl<S: Streams, H: HandleBatch> Worker<S, Batched<H>> {
    /// The same with a handler of batches.
    ///
    /// # Errors
    /// As for [`Worker::new`].
    pub fn batched(
        streams: S,
        stream: StreamName,
        group: GroupName,
        consumer: ConsumerName,
        handler: H,
    ) -> Result<Self, WorkerError> {
        Self::build(streams, Member { stream, group, consumer }, Batched(handler))
    }
}

impl<S: Streams, H: Service> Worker<S, H> {
    fn build(streams: S, member: Member, service: H) -> Result<Self, WorkerError> {
        let spec = streams.topology().stream(&member.stream);
        let spec = spec.ok_or_else(|| WorkerError::NoStream(member.stream.clone()))?;
        let group = spec.group(&member.group).cloned();
        let no_group = || WorkerError::NoGroup(member.stream.clone(), member.group.clone());
        let group = group.ok_or_else(no_group)?;
        let retry = group.retry.clone().unwrap_or_else(|| spec.retry.clone());
        let retry = from_environment(retry)?;
        let codec = spec.codec;
        let config = MemberConfig::new(member, group, retry)
            .with_handler(&service.name(), env!("CARGO_PKG_VERSION"));
        let (drain, stop) = (DRAIN_DEFAULT, StopFlag::default());
        let service = Arc::new(service);
        Ok(Self { streams, service, config, codec, drain, until_idle: false, stop })
    }

    /// Names the handler's version, for dead letters.
    #[must_use]
    pub fn version(mut self, build: &str) -> Self {
        build.clone_into(&mut self.config.build);
        self
    }

    /// Stops when this flag is raised: takes nothing new, lets handlers end for at most `drain`, and gives
    /// back what was not finished.
    #[must_use]
    pub fn stop_on(mut self, stop: &StopFlag, drain: Duration) -> Self {
        self.stop = stop.clone();
        self.drain = drain;
        self
    }

    /// Stops once there is nothing to do: nothing new, nothing held, no retry waiting.
    #[must_use]
    pub const fn until_idle(mut self) -> Self {
        self.until_idle = true;
        self
    }
}

fn from_environment(retry: RetryPolicy) -> Result<RetryPolicy, RetryVariableError> {
    let variable = |name| std::env::var(name).ok();
    let (attempts, base) = (variable("MAX_RETRY_ATTEMPTS"), variable("RETRY_BACKOFF_BASE"));
    retry.with_environment(attempts.as_deref(), base.as_deref())
}

/// Why a worker cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The topology has no such stream.
    #[error("there is no stream {0} in the topology")]
    NoStream(StreamName),
    /// The stream has no such group.
    #[error("the stream {0} has no group {1} in the topology")]
    NoGroup(StreamName, GroupName),
    /// A variable of the environment makes no sense.
    #[error(transparent)]
    Environment(#[from] RetryVariableError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
