//! What the driver of a process is given: a simulated log, clock, feed and observer.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use silvertine_engine::{
    clock::Clock,
    driver::{Observer, Progress},
    feed::{Feed, FeedError, IngressFeed, Merge, Polled},
    log::{
        Acquired, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
    source::Input,
    time::Nanos,
};

use super::{Next, Shared};
use crate::log::{
    coverage::{Phase, Sight},
    fault::FaultKind,
    op::{Answer, OwnedCommit, Request},
    trace::What,
};

/// A process's connection to the simulated log.
pub(crate) struct SimLog<L> {
    pub(crate) world: Shared<L>,
    pub(crate) process: usize,
}

impl<L> Clone for SimLog<L> {
    fn clone(&self) -> Self {
        Self { world: self.world.clone(), process: self.process }
    }
}

impl<L: EventLog + Default> SimLog<L> {
    fn ask(&self, request: Request) -> Asked<L> {
        let op = self.world.lock().ask(self.process, request);
        Asked { world: self.world.clone(), op }
    }
}

/// Waits for an answer.
struct Asked<L> {
    world: Shared<L>,
    op: u64,
}

impl<L: EventLog + Default> Future for Asked<L> {
    type Output = Result<Answer, LogError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.world.lock().take_answer(self.op);
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Awaits an answer, which must be of the operation's kind.
macro_rules! expect {
    ($asked:expr, $variant:ident) => {
        match $asked.await? {
            Answer::$variant(answer) => Ok(answer),
            other => unreachable!("asked for {}, answered {other:?}", stringify!($variant)),
        }
    };
}

impl<L: EventLog + Default> EventLog for SimLog<L> {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let manifest = manifest.to_vec();
        expect!(self.ask(Request::Acquire { owner, manifest }), Acquired)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let commit = OwnedCommit::of(commit);
        expect!(self.ask(Request::Commit { lease: *lease, commit }), Committed)
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        expect!(self.ask(Request::Head), Head)
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        let limit = query.limit.min(self.world.lock().page_entries);
        expect!(self.ask(Request::Range(RangeQuery { limit, ..query })), Page)
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        expect!(self.ask(Request::Manifest), Bytes)
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        expect!(self.ask(Request::Snapshots), Positions)
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        expect!(self.ask(Request::Snapshot(pos)), Bytes)
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        expect!(self.ask(Request::Publish(messages.to_vec())), Published)
    }

    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let (lease, cursor) = (lease.copied(), cursor.clone());
        expect!(self.ask(Request::Ingress { lease, cursor, limit, wait }), Messages)
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        expect!(self.ask(Request::Trim { lease: *lease, at }), Removed)
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        expect!(self.ask(Request::Stats), Stats)
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        Ok("simulated: a crash loses what its plan says".to_owned())
    }
}

/// Virtual time for recorded inputs, a wall clock for live ones.
pub(crate) struct SimClock<L> {
    pub(crate) world: Shared<L>,
    pub(crate) process: usize,
    pub(crate) live: bool,
}

impl<L: EventLog + Default> Clock for SimClock<L> {
    fn stamp(&mut self, recv_time: Nanos) -> Nanos {
        let mut world = self.world.lock();
        if self.live {
            // It stands in the entry.
            world.count_felt(FaultKind::ClockJump);
            return world.wall_time();
        }
        world.advance_to_input(recv_time);
        recv_time
    }

    fn hold_back(&mut self, _recv_time: Nanos) -> Duration {
        Duration::ZERO
    }

    fn idle_time(&mut self) -> Option<Nanos> {
        self.live.then(|| self.world.lock().wall_time())
    }

    fn sleep(&mut self, pause: Duration) -> impl Future<Output = ()> + Send {
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.world.lock().check_patience(self.process, pause_ns);
        let until = sleep(&self.world, self.process, pause_ns);
        Slept { world: self.world.clone(), until }
    }
}

/// Puts a process to sleep and says until when.
pub(crate) fn sleep<L: EventLog + Default>(
    world: &Shared<L>,
    process: usize,
    pause_ns: u64,
) -> u64 {
    let mut world = world.lock();
    let until = world.now().saturating_add(pause_ns);
    world.note(Some(process), What::Slept(pause_ns));
    world.schedule(until, Next::Wake(process));
    until
}

/// Waits for a point of virtual time.
pub(crate) struct Slept<L> {
    pub(crate) world: Shared<L>,
    pub(crate) until: u64,
}

impl<L: EventLog + Default> Future for Slept<L> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.world.lock().now() >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The inputs; a process that has died between two of them gets no further one.
pub(crate) struct SimFeed<L> {
    pub(crate) inner: Inputs<L>,
    /// Set by the observer when the process has died while it handled the last input.
    pub(crate) died: Arc<AtomicBool>,
}

pub(crate) enum Inputs<L> {
    Recorded(Merge),
    Live(IngressFeed<SimLog<L>>),
}

impl<L: EventLog + Default> Feed for SimFeed<L> {
    fn acquired(&mut self, lease: &Lease) {
        match &mut self.inner {
            Inputs::Recorded(merge) => merge.acquired(lease),
            Inputs::Live(ingress) => ingress.acquired(lease),
        }
    }

    async fn poll(&mut self, wait: Duration) -> Result<Polled, FeedError> {
        if self.died.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match &mut self.inner {
            Inputs::Recorded(merge) => merge.poll(wait).await,
            Inputs::Live(ingress) => ingress.poll(wait).await,
        }
    }

    fn take(&mut self) -> Input {
        match &mut self.inner {
            Inputs::Recorded(merge) => merge.take(),
            Inputs::Live(ingress) => ingress.take(),
        }
    }

    fn checkpoint(&self) -> Vec<u8> {
        match &self.inner {
            Inputs::Recorded(merge) => merge.checkpoint(),
            Inputs::Live(ingress) => ingress.checkpoint(),
        }
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError> {
        match &mut self.inner {
            Inputs::Recorded(merge) => merge.restore(checkpoint),
            Inputs::Live(ingress) => ingress.restore(checkpoint),
        }
    }

    fn ingress_done(&self) -> Option<&IngressCursor> {
        match &self.inner {
            Inputs::Recorded(merge) => merge.ingress_done(),
            Inputs::Live(ingress) => ingress.ingress_done(),
        }
    }
}

/// Tells the world what a driver does.
pub(crate) struct SimObserver<L> {
    pub(crate) world: Shared<L>,
    pub(crate) process: usize,
    pub(crate) died: Arc<AtomicBool>,
}

impl<L: EventLog + Default> Observer for SimObserver<L> {
    fn taken(&mut self) {
        let mut world = self.world.lock();
        world.processes[self.process].phase = Phase::Handling;
        world.note_taken();
        if world.processes[self.process].dead {
            self.died.store(true, Ordering::Relaxed);
        }
    }

    fn committed(&mut self, progress: Progress) {
        let mut world = self.world.lock();
        let head = world.processes[self.process].acknowledged.seq;
        if progress.counts.entries != head {
            use crate::log::oracle::{Promise, Violation};
            let what = "what the driver says is committed has been acknowledged";
            let violation = Violation::new(Promise::Truth, what, head, progress.counts.entries);
            world.violate(violation);
        }
    }

    fn retrying(&mut self, error: &LogError, _attempt: u32, _pause: Duration) {
        let mut world = self.world.lock();
        let process = &mut world.processes[self.process];
        if process.phase == Phase::Recovering {
            world.coverage.see(Sight::WaitedRecovering);
        }
        let process = &mut world.processes[self.process];
        process.phase = Phase::Resting;
        process.resting_for = Some(error.operation);
    }
}
