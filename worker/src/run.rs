//! The loop around a member's state machine: carries out what it says and reports how that ended.
//!
//! Polling, settling and handlers run side by side as tasks, each reporting back through one queue, so
//! nothing here ever waits for two things at once, and a poll is never dropped half-way.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as TaskContext, Poll as Readiness, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use silvertine_engine::{
    codec::Codec,
    log::{Advice, LogError},
    span::Span,
    stop::StopFlag,
    time::Nanos,
};
use silvertine_streams::{
    Action, Class, ConsumerName, Core, CoreConfig, CoreStats, Failure, GroupName, Member,
    MessageId, Outcome, Poll, Polled, Publication, RetryPolicy, Settled, Settlement, StreamName,
    Streams, Topology, Work,
};
use tokio::{
    runtime::{Handle as Runtime, RuntimeFlavor},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, yield_now},
    time::timeout,
};

use super::{
    dlq::{Actor, DeadLetters, DrainOptions, Drainer, watch_alerts},
    handle::{Batched, Handle, HandleBatch, Service, Single},
    notice::{self, Notices},
};

/// How long handlers that run may go on when a worker is asked to stop.
const DRAIN_DEFAULT: Duration = Duration::from_secs(10);

/// How often a worker looks whether dead letters need somebody's attention, where limits are set.
const ALERTS_EVERY: Duration = Duration::from_secs(60);

/// The system clock's time, in nanoseconds since the epoch.
#[must_use]
pub fn now() -> Nanos {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// Why a worker cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The topology has no such stream.
    #[error("there is no stream {0} in the topology")]
    NoStream(StreamName),
    /// The stream has no such group.
    #[error("the stream {0} has no group {1} in the topology")]
    NoGroup(StreamName, GroupName),
    /// A variable of the environment makes no sense.
    #[error("{0}")]
    Environment(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] LogError),
}

/// One member of a group, ready to run.
pub struct Worker<S, H> {
    streams: S,
    service: Arc<H>,
    config: CoreConfig,
    codec: Codec,
    drain: Duration,
    until_idle: bool,
    stop: StopFlag,
}

/// What a task reports.
enum Report {
    /// With the number of changes before it was asked, where it looked at retries that wait.
    Polled(Option<u64>, Result<Polled, LogError>),
    Began(Vec<MessageId>, Result<Vec<bool>, LogError>),
    Handled(Vec<(MessageId, Outcome)>),
    Settled(Vec<Settlement>, Result<Vec<Settled>, LogError>),
    Extended(Result<Vec<MessageId>, LogError>),
    Left(Result<(), LogError>),
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
        let handler = service.name();
        let build = env!("CARGO_PKG_VERSION").to_owned();
        let config = CoreConfig { member, group, retry, handler, build };
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

    /// Works until it is told to stop. Outages of the store are waited out.
    ///
    /// # Errors
    /// The store's first answer refuses in a way that waiting does not mend, such as a wrong password.
    pub async fn run(self) -> Result<CoreStats, WorkerError> {
        let started = now();
        let mut core = Core::new(self.config.clone(), started);
        let (sender, mut reports) = unbounded_channel();
        let mut running = Running {
            worker: &self,
            sender,
            handlers: BTreeMap::new(),
            ended: Vec::new(),
            alone: Runtime::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            changes: 0,
            idle_since: None,
            drained: 0,
            alerted: started,
            answered: false,
            refused: None,
            notices: Notices::default(),
            over: StopFlag::default(),
        };
        loop {
            running.act(&mut core).await;
            if core.has_stopped() {
                return Ok(core.stats());
            }
            if self.stop.is_requested() {
                core.drain(now().saturating_add(self.drain));
            }
            running.take_reports(&mut core, &mut reports).await;
            if let Some(error) = running.refused.take() {
                return Err(error.into());
            }
            running.notices.circuit(&self.config.member.consumer, core.circuit_is_closed());
            running.tend_dead_letters(&core);
            if self.until_idle && running.is_idle(&core) {
                core.drain(now().saturating_add(self.drain));
            }
        }
    }
}

fn from_environment(retry: RetryPolicy) -> Result<RetryPolicy, WorkerError> {
    let variable = |name| std::env::var(name).ok();
    let (attempts, base) = (variable("MAX_RETRY_ATTEMPTS"), variable("RETRY_BACKOFF_BASE"));
    retry.with_environment(attempts.as_deref(), base.as_deref()).map_err(WorkerError::Environment)
}

/// A worker at work.
struct Running<'w, S, H> {
    worker: &'w Worker<S, H>,
    sender: UnboundedSender<Report>,
    /// Handlers that run, to be cancelled when a drain takes too long.
    handlers: BTreeMap<MessageId, AbortHandle>,
    /// Handlers that ended at the first try, and how.
    ended: Vec<(MessageId, Outcome)>,
    /// Whether the runtime has one thread.
    alone: bool,
    /// Counts what may have left something to do: deliveries, settlements.
    changes: u64,
    /// How many changes there had been when a poll was asked that found nothing, and nothing that waits.
    idle_since: Option<u64>,
    /// Times the circuit had closed again when dead letters were last sent back.
    drained: u64,
    /// When it was last looked whether dead letters need attention.
    alerted: Nanos,
    /// Whether the store has ever answered a poll.
    answered: bool,
    /// Why it never will.
    refused: Option<LogError>,
    notices: Notices,
    /// Raised when the worker is gone, for what it has started beside itself.
    over: StopFlag,
}

impl<S, H> Drop for Running<'_, S, H> {
    fn drop(&mut self) {
        self.over.request();
    }
}

impl<S: Streams, H: Service> Running<'_, S, H> {
    /// Carries out whatever is to be done now.
    async fn act(&mut self, core: &mut Core) {
        let mut work = Vec::new();
        loop {
            // Settled together with what else has ended by now.
            let Some(action) = core.next(now()) else {
                if !work.is_empty() {
                    self.handle(std::mem::take(&mut work));
                }
                if self.ended.is_empty() {
                    return;
                }
                let time = now();
                for (id, outcome) in self.ended.drain(..) {
                    core.handled(&id, checked(self.worker.streams.topology(), outcome), time);
                }
                continue;
            };
            match action {
                Action::Handle(one) => {
                    work.push(one);
                    if work.len() >= self.worker.service.batch_max() {
                        self.handle(std::mem::take(&mut work));
                    }
                }
                Action::Abandon(ids) => {
                    for id in ids {
                        if let Some(handler) = self.handlers.remove(&id) {
                            handler.abort();
                        }
                    }
                }
                Action::Stop => {}
                poll @ Action::Poll { .. } => {
                    self.ask(poll);
                    if self.alone {
                        // One turn for the task that asks and one for the connection that sends: the store works
                        // while the handlers have the thread.
                        yield_now().await;
                        yield_now().await;
                    }
                }
                other => self.ask(other),
            }
        }
    }

    /// Starts an operation on the store.
    fn ask(&self, action: Action) {
        let streams = self.worker.streams.clone();
        let config = &self.worker.config;
        let (member, reclaim_after) = (config.member.clone(), config.group.reclaim_after);
        let sender = self.sender.clone();
        let changes = self.changes;
        tokio::spawn(async move {
            let report = match action {
                Action::Poll { limit, wait, own, tend, reverse } => {
                    let member = &member;
                    let now = now();
                    let poll = Poll { member, limit, wait, own, tend, reverse, reclaim_after, now };
                    Report::Polled(tend.then_some(changes), poll_and_wait(&streams, &poll).await)
                }
                Action::Begin(tries) => {
                    let result = streams.begin(&member, &tries, now()).await;
                    Report::Began(tries.into_iter().map(|(id, _)| id).collect(), result)
                }
                Action::Settle(settlements) => {
                    let result = streams.settle(&member, &settlements, now()).await;
                    Report::Settled(settlements, result)
                }
                Action::Extend(ids) => Report::Extended(streams.extend(&member, &ids, now()).await),
                Action::Leave => Report::Left(streams.leave(&member, now()).await),
                Action::Handle(_) | Action::Abandon(_) | Action::Stop => return,
            };
            // Nobody listens any more once the worker has stopped.
            let _stopped = sender.send(report);
        });
    }

    /// Starts the handler. On a runtime of one thread it is tried at once, and only what has to wait becomes a task;
    /// where there are more threads, each call may have one of its own.
    fn handle(&mut self, work: Vec<Work>) {
        let service = Arc::clone(&self.worker.service);
        let limit = self.worker.config.group.handler_timeout;
        let codec = self.worker.codec;
        let ids: Box<[MessageId]> = work.iter().map(|one| one.id.clone()).collect();
        let call = async move { handle_guarded(&*service, work, codec, limit).await };
        let mut call = Box::pin(call);
        if self.alone {
            let mut at_once = TaskContext::from_waker(Waker::noop());
            if let Readiness::Ready(outcomes) = call.as_mut().poll(&mut at_once) {
                self.ended.extend(ids.into_iter().zip(outcomes));
                return;
            }
        }
        let sender = self.sender.clone();
        let asked = ids.clone();
        // The first thing a task does is to poll, so nobody misses the waker of the try above.
        let task = tokio::spawn(async move {
            let outcomes = call.await;
            let _stopped = sender.send(Report::Handled(asked.into_iter().zip(outcomes).collect()));
        });
        for id in ids {
            self.handlers.insert(id, task.abort_handle());
        }
    }

    /// Waits for a report, or until there is something to do without one.
    async fn take_reports(&mut self, core: &mut Core, reports: &mut UnboundedReceiver<Report>) {
        let time = now();
        let patience = core.wake_at(time).since(time).max(Duration::from_millis(1));
        let Ok(Some(report)) = timeout(patience, reports.recv()).await else { return };
        self.take(core, report);
        while let Ok(report) = reports.try_recv() {
            self.take(core, report);
        }
    }

    fn take(&mut self, core: &mut Core, report: Report) {
        let (time, member) = (now(), &self.worker.config.member.consumer);
        match report {
            Report::Polled(asked_at, result) => {
                match &result {
                    Ok(polled) => {
                        let nothing = polled.deliveries.is_empty() && polled.next_due.is_none();
                        self.idle_since = asked_at.filter(|_| nothing);
                        self.changes += u64::from(!nothing);
                        self.notices.store_answers(member);
                        polled
                            .regrouped
                            .iter()
                            .for_each(|one| Notices::group_was_gone(member, one));
                    }
                    Err(error) if !self.answered && error.advice() == Advice::GiveUp => {
                        self.refused = Some(error.clone());
                    }
                    Err(error) => {
                        self.notices.store_is_away(member, error);
                        tracing::warn!(%error, "polling failed; trying again");
                    }
                }
                self.answered |= result.is_ok();
                core.polled(result, time);
            }
            Report::Began(ids, result) => {
                for work in core.began(&ids, result, time) {
                    self.handle(vec![work]);
                }
            }
            Report::Handled(outcomes) => {
                for (id, outcome) in outcomes {
                    self.handlers.remove(&id);
                    core.handled(&id, checked(self.worker.streams.topology(), outcome), time);
                }
            }
            Report::Settled(settlements, result) => {
                if let Err(error) = &result {
                    tracing::warn!(%error, "settling failed; trying again");
                }
                self.changes += 1;
                core.settled(settlements, result, time);
            }
            Report::Extended(result) => core.extended(result, time),
            Report::Left(result) => core.left(result, time),
        }
    }

    /// Sends back what failed while the circuit was open, and watches the limits.
    fn tend_dead_letters(&mut self, core: &Core) {
        let Worker { streams, config, stop, .. } = self.worker;
        let closed = core.stats().circuit_closed;
        let time = now();
        let drain = config.group.auto_drain && closed > self.drained;
        let look = time >= self.alerted.saturating_add(ALERTS_EVERY);
        if !drain && !look {
            return;
        }
        let actor = Actor {
            who: format!("worker {}", config.member.consumer),
            why: "the circuit has closed again".to_owned(),
        };
        let letters = DeadLetters::new(streams.clone(), config.member.stream.clone(), actor);
        if look {
            self.alerted = time;
            let letters = letters.clone();
            tokio::spawn(async move {
                match watch_alerts(&letters).await {
                    Ok(alerts) => alerts
                        .iter()
                        .for_each(|alert| tracing::warn!(target: notice::TARGET, "{alert}")),
                    Err(error) => tracing::warn!(%error, "looking at the dead letters failed"),
                }
            });
        }
        if drain {
            self.drained = closed;
            let rate_per_second = config.group.drain_per_second;
            let options = DrainOptions { rate_per_second, ..DrainOptions::default() };
            let drainer = Drainer::new(letters, config.member.group.clone(), options);
            let (stop, over) = (stop.clone(), self.over.clone());
            tokio::spawn(async move {
                let stops = || stop.is_requested() || over.is_requested();
                match drainer.run(stops).await {
                    Ok(Some(state)) => tracing::info!(?state, "dead letters were sent back"),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "sending dead letters back failed"),
                }
            });
        }
    }

    fn is_idle(&self, core: &Core) -> bool {
        self.idle_since == Some(self.changes) && core.in_flight() == 0
    }
}

/// An outcome that the store can take: what would go to a stream that nobody knows is a failure of the handler.
fn checked(topology: &Topology, outcome: Outcome) -> Outcome {
    let Outcome::Done(emit) = &outcome else { return outcome };
    let unknown = emit.iter().find(|one| topology.owner_of(&one.stream).is_none());
    let Some(Publication { stream, .. }) = unknown else { return outcome };
    let text = format!("the handler emitted to {stream}, which is no stream in the topology");
    Outcome::Failed(Failure::new(Class::Permanent, "invalid_output", &text))
}

/// Polls; where the store's answer comes at once, waits here for something to arrive.
async fn poll_and_wait<S: Streams>(streams: &S, poll: &Poll<'_>) -> Result<Polled, LogError> {
    let began = Instant::now();
    let arrival = streams.arrival();
    let polled = streams.poll(poll).await?;
    let patience = polled.next_due.map_or(poll.wait, |due| due.duration().min(poll.wait));
    let rest = patience.saturating_sub(began.elapsed());
    if polled.deliveries.is_empty() && !rest.is_zero() {
        // Either is a reason to look again.
        let _either = timeout(rest, arrival).await;
    }
    Ok(polled)
}

/// Calls the handler with a time limit; a panic is an outcome like any other. When a batch fails as a whole,
/// each of its messages is tried once more alone.
async fn handle_guarded<H: Service>(
    service: &H,
    work: Vec<Work>,
    codec: Codec,
    limit: Span,
) -> Vec<Outcome> {
    if work.len() > 1 {
        let together = guarded(service.call(work.clone(), codec), limit).await;
        if let Ok(outcomes) = together {
            return outcomes;
        }
    }
    let mut outcomes = Vec::with_capacity(work.len());
    for one in work {
        match guarded(service.call(vec![one], codec), limit).await {
            Ok(outcome) => outcomes.extend(outcome),
            Err(outcome) => outcomes.push(outcome),
        }
    }
    outcomes
}

async fn guarded(
    call: impl Future<Output = Vec<Outcome>> + Send,
    limit: Span,
) -> Result<Vec<Outcome>, Outcome> {
    match timeout(limit.duration(), Caught(pin!(call))).await {
        Ok(Ok(outcomes)) => Ok(outcomes),
        Ok(Err(panic)) => Err(Outcome::Panicked(panic)),
        Err(_elapsed) => Err(Outcome::TimedOut),
    }
}

/// A future whose panics are errors.
struct Caught<F>(F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Readiness<Self::Output> {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context)));
        match polled {
            Ok(Readiness::Ready(output)) => Readiness::Ready(Ok(output)),
            Ok(Readiness::Pending) => Readiness::Pending,
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                Readiness::Ready(Err(text.unwrap_or("no message").to_owned()))
            }
        }
    }
}
