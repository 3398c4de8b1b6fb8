//! The simulated world: one server that holds the log, the processes that use it, and what goes wrong between them.
//!
//! Everything that happens is an event of one queue. An operation is data: a request that takes effect at one time and is
//! answered at another, and a fault may prevent, delay or repeat either. A process that dies drops its future; its
//! requests stay on their way. The files build on each other in this order: `requests`, `answer`, `effect`, `strike`, `ask`.

mod answer;
mod ask;
mod by_id;
pub(crate) mod client;
mod effect;
pub(crate) mod process;
mod requests;
pub(crate) mod server;
mod strike;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use silvertine_engine::{
    driver::RetryConfig,
    log::{Batch, EventLog},
    rng::mix,
    time::Nanos,
};

use self::{
    by_id::ById,
    process::{Process, Role},
    requests::{Pending, Travelling},
    server::Server,
};
use crate::{
    kernel::{queue::Queue, wall_clock::WallClock},
    log::{
        coverage::{Coverage, Phase},
        fault::{Fault, FaultKind, OpKind, When},
        oracle::Violation,
        trace::{Happened, Place, Trace, What},
    },
};

/// What the wall clock reads when a run begins: 2024-01-01T00:00:00Z.
const EPOCH_NS: u64 = 1_704_067_200_000_000_000;
/// Entries that a server puts into a page at most; a run keeps to one of these. All are fewer than what a
/// driver asks for, which no run would fill.
const PAGES: [usize; 4] = [4, 16, 64, 256];

/// A world that several processes share.
pub(crate) struct Shared<L>(Arc<Mutex<World<L>>>);

impl<L> Clone for Shared<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L> Shared<L> {
    pub(crate) fn new(world: World<L>) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World<L>> {
        // A handler's panic never unwinds through here; the driver's is a violation of its own.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// A request reaches the server.
    Effect(u64),
    /// An answer reaches the client.
    Reply(u64),
    /// A process has waited for long enough.
    Wake(usize),
    /// A frozen process goes on.
    Thaw(usize),
    /// Somebody starts an owner, unless one is at work.
    Start,
    /// Somebody starts an owner, even if one is at work.
    StartAnyway,
    /// Somebody starts a producer again.
    StartProducer(usize),
    /// A fault's time has come.
    Strike(usize),
}

/// What the world knows of a producer, whichever process it is in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Producer {
    /// It must send again from an earlier message.
    pub(crate) resend: bool,
    /// All its messages are acknowledged.
    pub(crate) done: bool,
}

pub(crate) struct World<L> {
    queue: Queue<Next>,
    seed: u64,
    draws: u64,
    pending: ById<Pending>,
    travelling: ById<Travelling>,
    next_id: u64,
    pub(crate) op_counts: [u64; OpKind::ALL.len()],
    pub(crate) server: Server<L>,
    /// Entries in a page at most.
    pub(crate) page_entries: usize,
    pub(crate) processes: Vec<Process>,
    /// How long owners are to wait.
    retry: RetryConfig,
    faults: Vec<Fault>,
    by_op: BTreeMap<(OpKind, u64), Vec<usize>>,
    by_events: BTreeMap<u64, Vec<usize>>,
    when_idle: VecDeque<usize>,
    /// Answers to wait for before an idle system may end, after a fault struck it.
    watched: u32,
    /// Faults whose time has come, and that strike the next operation of their kind.
    armed: Vec<usize>,
    /// Faults that did strike.
    pub(crate) struck: u64,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    /// Inputs taken, by all owners together.
    pub(crate) taken: u64,
    /// Time of the first input, which virtual time counts from.
    origin: Option<Nanos>,
    wall_clock: WallClock,
    pub(crate) producers: Vec<Producer>,
    /// Faults that struck and count only once they have an effect, with the phase in which they struck.
    unfelt: Vec<(FaultKind, Phase)>,
    /// The log of the fault-free twin, where there is one.
    twin: Option<Arc<Batch>>,
}

impl<L: EventLog + Default> World<L> {
    pub(crate) fn new(
        server: Server<L>,
        faults: &[Fault],
        seed: u64,
        trace: Trace,
        retry: RetryConfig,
        twin: Option<Arc<Batch>>,
    ) -> Self {
        let mut world = Self {
            queue: Queue::default(),
            seed,
            draws: 0,
            pending: ById::default(),
            travelling: ById::default(),
            next_id: 0,
            op_counts: [0; OpKind::ALL.len()],
            server,
            page_entries: PAGES[(seed % PAGES.len() as u64) as usize],
            processes: Vec::new(),
            retry,
            faults: faults.to_vec(),
            by_op: BTreeMap::new(),
            by_events: BTreeMap::new(),
            when_idle: VecDeque::new(),
            watched: 0,
            armed: Vec::new(),
            struck: 0,
            coverage: Coverage::default(),
            trace,
            violation: None,
            taken: 0,
            origin: None,
            wall_clock: WallClock::new(EPOCH_NS),
            producers: Vec::new(),
            unfelt: Vec::new(),
            twin,
        };
        for (at, fault) in faults.iter().enumerate() {
            match fault.at {
                When::Op(kind, n) => world.by_op.entry((kind, n)).or_default().push(at),
                When::Events(n) => world.by_events.entry(n).or_default().push(at),
                When::Time(ns) => world.schedule(ns, Next::Strike(at)),
                When::Idle => world.when_idle.push_back(at),
            }
        }
        world
    }

    /// Virtual time in nanoseconds.
    pub(crate) const fn now(&self) -> u64 {
        self.queue.now_ns()
    }

    /// Schedules something at `at`, or now if that is past.
    pub(crate) fn schedule(&mut self, at: u64, next: Next) {
        self.queue.schedule(at, next);
    }

    /// Takes out what happens next and moves time there.
    pub(crate) fn next(&mut self) -> Option<Next> {
        self.queue.pop()
    }

    /// From now on no fault strikes, and lasting states of the server end.
    pub(crate) fn end_faults(&mut self) {
        self.by_op.clear();
        self.by_events.clear();
        self.when_idle.clear();
        self.armed.clear();
        self.faults.clear();
        self.server.end_faults();
    }

    /// A number below `bound` that depends on the seed and on how many were drawn before.
    fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws) % bound
    }

    /// One way through a local network: from 20 to 200 microseconds.
    fn latency(&mut self) -> u64 {
        20_000 + self.draw(180_000)
    }

    pub(crate) fn note(&mut self, process: Option<usize>, what: What) {
        let place = process.map_or(Place::Server, |process| Place::Process(process as u32));
        self.trace.note(Happened { time_ns: self.now(), place, what });
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    /// The wall clock.
    pub(crate) const fn wall_time(&self) -> Nanos {
        self.wall_clock.read(self.now())
    }

    /// Moves virtual time to an input that is being handled.
    pub(crate) fn advance_to_input(&mut self, recv_time: Nanos) {
        let origin = *self.origin.get_or_insert(recv_time);
        self.queue.advance_to(recv_time.0.saturating_sub(origin.0));
    }

    /// The owner that is at work.
    pub(crate) fn owner(&self) -> Option<usize> {
        let at_work = |p: &Process| p.role == Role::Owner && !p.dead && !p.frozen;
        self.processes.iter().rposition(at_work)
    }

    /// Whether producers are done and nothing that they published waits for an owner.
    pub(crate) fn is_all_consumed(&self) -> bool {
        let owner = self.owner().map(|owner| &self.processes[owner]);
        let misses_nothing =
            owner.filter(|owner| owner.acknowledged <= self.server.witness.head.pos);
        let read = misses_nothing.and_then(|owner| owner.read.as_ref());
        self.producers.iter().all(|producer| producer.done)
            && !self.server.witness.some_message_waits(read)
    }
}
