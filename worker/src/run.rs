//! The loop around a member's state machine: carries out what it says and reports how that ended.
//!
//! Fetches, settlements and handlers run side by side as tasks, and each reports back through one queue. So nothing
//! here waits for two things at once, and no fetch is dropped while it is under way.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use silvertine_streams::{
    Action, Class, Fetch, Fetched, HandlerFailure, HandlerOutcome, MemberMachine, MemberStats,
    MessageId, Publication, Settled, Settlement, StoreError, Streams, Topology, Work,
};
use tokio::{
    runtime::{Handle as Runtime, RuntimeFlavor},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, yield_now},
    time::timeout,
};

use crate::{
    Worker, WorkerError, clock::now, guard::handle_guarded, handle::Service, notice::Notices,
    tend::Tending,
};

impl<S: Streams, H: Service> Worker<S, H> {
    /// Works until it is told to stop. Outages of the store are waited out.
    ///
    /// # Errors
    /// The store's first answer refuses in a way that waiting does not mend, such as a wrong password.
    pub async fn run(self) -> Result<MemberStats, WorkerError> {
        let started = now();
        let mut member = MemberMachine::new(self.config.clone(), started);
        let (sender, mut reports) = unbounded_channel();
        let mut running = Running {
            worker: &self,
            sender,
            handlers: BTreeMap::new(),
            ended: Vec::new(),
            alone: Runtime::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            changes: 0,
            idle_since: None,
            tending: Tending::new(started),
            answered: false,
            refused: None,
            notices: Notices::default(),
        };
        loop {
            running.act(&mut member).await;
            if member.has_stopped() {
                return Ok(member.stats());
            }
            if self.stop.is_requested() {
                member.drain(now().saturating_add(self.drain));
            }
            running.take_reports(&mut member, &mut reports).await;
            if let Some(error) = running.refused.take() {
                return Err(error.into());
            }
            running.notices.circuit(&self.config.member.consumer, member.circuit_is_closed());
            running.tending.tend(
                &self.streams,
                &self.config,
                member.stats().circuit_closed,
                &self.stop,
            );
            if self.until_idle && running.is_idle(&member) {
                member.drain(now().saturating_add(self.drain));
            }
        }
    }
}

/// What a task reports.
enum Report {
    /// With the number of changes before it was asked, where it looked at retries that wait.
    Fetched(Option<u64>, Result<Fetched, StoreError>),
    Began(Vec<MessageId>, Result<Vec<bool>, StoreError>),
    Handled(Vec<(MessageId, HandlerOutcome)>),
    Settled(Vec<Settlement>, Result<Vec<Settled>, StoreError>),
    Extended(Result<Vec<MessageId>, StoreError>),
    Left(Result<(), StoreError>),
}

/// A worker at work.
struct Running<'w, S, H> {
    worker: &'w Worker<S, H>,
    sender: UnboundedSender<Report>,
    /// Handlers that run, to be cancelled when a drain takes too long.
    handlers: BTreeMap<MessageId, AbortHandle>,
    /// Handlers that ended at the first try, and how.
    ended: Vec<(MessageId, HandlerOutcome)>,
    /// Whether the runtime has one thread.
    alone: bool,
    /// Counts what may have left something to do: deliveries, settlements.
    changes: u64,
    /// How many changes there had been when a fetch was asked for that found nothing, and nothing that waits.
    idle_since: Option<u64>,
    tending: Tending,
    /// Whether the store has ever answered a fetch.
    answered: bool,
    /// Why it never will.
    refused: Option<StoreError>,
    notices: Notices,
}

impl<S: Streams, H: Service> Running<'_, S, H> {
    /// Carries out whatever is to be done now.
    async fn act(&mut self, member: &mut MemberMachine) {
        let mut work = Vec::new();
        loop {
            // Settled together with what else has ended by now.
            let Some(action) = member.next(now()) else {
                if !work.is_empty() {
                    self.handle(std::mem::take(&mut work));
                }
                if self.ended.is_empty() {
                    return;
                }
                let time = now();
                for (id, outcome) in self.ended.drain(..) {
                    member.handled(&id, checked(self.worker.streams.topology(), outcome), time);
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
                fetch @ Action::Fetch { .. } => {
                    self.ask(fetch);
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
                Action::Fetch { limit, wait, scope, lanes } => {
                    let fetch = Fetch {
                        member: &member,
                        limit,
                        wait,
                        scope,
                        lanes,
                        reclaim_after,
                        now: now(),
                    };
                    let asked_at = scope.includes_returned().then_some(changes);
                    Report::Fetched(asked_at, fetch_and_wait(&streams, &fetch).await)
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
            let mut at_once = Context::from_waker(Waker::noop());
            if let Poll::Ready(outcomes) = call.as_mut().poll(&mut at_once) {
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
    async fn take_reports(
        &mut self,
        member: &mut MemberMachine,
        reports: &mut UnboundedReceiver<Report>,
    ) {
        let time = now();
        let patience = member.wake_at(time).since(time).max(Duration::from_millis(1));
        let Ok(Some(report)) = timeout(patience, reports.recv()).await else { return };
        self.take(member, report);
        while let Ok(report) = reports.try_recv() {
            self.take(member, report);
        }
    }

    fn take(&mut self, member: &mut MemberMachine, report: Report) {
        let (time, name) = (now(), &self.worker.config.member.consumer);
        match report {
            Report::Fetched(asked_at, result) => {
                match &result {
                    Ok(fetched) => {
                        let nothing = fetched.deliveries.is_empty() && fetched.next_due.is_none();
                        self.idle_since = asked_at.filter(|_| nothing);
                        self.changes += u64::from(!nothing);
                        self.notices.store_answers(name);
                        fetched.regrouped.iter().for_each(|one| Notices::group_was_gone(name, one));
                    }
                    Err(error) if !self.answered && !error.is_retryable() => {
                        self.refused = Some(error.clone());
                    }
                    Err(error) => {
                        self.notices.store_is_away(name, error);
                        tracing::warn!(%error, "fetching failed; trying again");
                    }
                }
                self.answered |= result.is_ok();
                member.fetched(result, time);
            }
            Report::Began(ids, result) => {
                for work in member.began(&ids, result, time) {
                    self.handle(vec![work]);
                }
            }
            Report::Handled(outcomes) => {
                for (id, outcome) in outcomes {
                    self.handlers.remove(&id);
                    member.handled(&id, checked(self.worker.streams.topology(), outcome), time);
                }
            }
            Report::Settled(settlements, result) => {
                if let Err(error) = &result {
                    tracing::warn!(%error, "settling failed; trying again");
                }
                self.changes += 1;
                member.settled(settlements, result, time);
            }
            Report::Extended(result) => member.extended(result, time),
            Report::Left(result) => member.left(result, time),
        }
    }

    fn is_idle(&self, member: &MemberMachine) -> bool {
        self.idle_since == Some(self.changes) && member.in_flight() == 0
    }
}

/// An outcome that the store can take: what would go to a stream that nobody knows is a failure of the handler.
fn checked(topology: &Topology, outcome: HandlerOutcome) -> HandlerOutcome {
    let HandlerOutcome::Done(emit) = &outcome else { return outcome };
    let unknown = emit.iter().find(|one| topology.owner_of(&one.stream).is_none());
    let Some(Publication { stream, .. }) = unknown else { return outcome };
    let text = format!("the handler emitted to {stream}, which is no stream in the topology");
    HandlerOutcome::Failed(HandlerFailure::new(Class::Permanent, "invalid_output", &text))
}

/// Fetches; where the store's answer comes at once, waits here for something to arrive.
async fn fetch_and_wait<S: Streams>(streams: &S, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
    let began = Instant::now();
    let arrival = streams.arrival();
    let fetched = streams.fetch(fetch).await?;
    let patience = fetched.next_due.map_or(fetch.wait, |due| due.duration().min(fetch.wait));
    let rest = patience.saturating_sub(began.elapsed());
    if fetched.deliveries.is_empty() && !rest.is_zero() {
        // Either is a reason to look again.
        let _either = timeout(rest, arrival).await;
    }
    Ok(fetched)
}
