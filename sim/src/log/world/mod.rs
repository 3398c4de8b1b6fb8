//! The simulated world: one server that holds the log, the processes that use it, and what goes wrong between them.
//!
//! Everything happens in a queue ordered by (virtual time, order of planning). An operation is data: a
//! request that takes effect at one time and is answered at another, each of which a fault may prevent,
//! delay or repeat. A process that dies drops its future; its requests live on.

mod by_id;
pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod server;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use silvertine_engine::{
    codec::decode_entry,
    driver::RetryConfig,
    event::Event,
    log::{Batch, EntryRef, EventLog, LogError, LogErrorKind},
    time::Nanos,
};

use self::{
    by_id::ById,
    process::{Process, Role},
    server::Server,
};
use crate::{
    kernel::{
        network::{Course, Fate, Timing, Told},
        queue::Queue,
        wall_clock::WallClock,
    },
    log::{
        coverage::{Coverage, Phase, Sight},
        fault::{CrashedRequest, Fault, FaultKind, OpKind, Scope, When},
        op::{Answer, Request},
        oracle::{Promise, Violation},
        trace::{Happened, Place, Trace, What},
    },
};
use silvertine_engine::rng::mix;

/// How long a client waits for an answer, in nanoseconds.
const TIMEOUT_NS: u64 = 1_000_000_000;
/// What the wall clock reads when a run begins: 2024-01-01T00:00:00Z.
const EPOCH_NS: u64 = 1_704_067_200_000_000_000;
/// Attempts that may fail within one second of virtual time; more is a storm.
const FAILURES_PER_SECOND: usize = 60;
/// Answers for which a system is watched that was struck with nothing to do.
const WATCHED: u32 = 6;
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

/// The client's side of an operation.
struct Pending {
    process: usize,
    kind: OpKind,
    /// Its name as errors give it.
    operation: &'static str,
    n: u64,
    asked_at: u64,
    answer: Option<Result<Answer, LogError>>,
    /// The answer has reached the client.
    delivered: bool,
}

/// The server's side of an operation: what is on its way there.
struct Travelling {
    op: u64,
    kind: OpKind,
    n: u64,
    request: Arc<Request>,
}

/// What the world knows of a producer, whichever process it is in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Producer {
    /// It was told to send again from an earlier message.
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
    /// Answers that a system with nothing to do is still watched for.
    watched: u32,
    /// Struck, and waiting for the next operation of their kind.
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
    /// What struck and counts only once somebody feels it, with the phase in which it struck.
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
                When::Time(ns) => world.plan(ns, Next::Strike(at)),
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
    pub(crate) fn plan(&mut self, at: u64, next: Next) {
        self.queue.schedule(at, next);
    }

    /// Takes out what happens next and moves time there.
    pub(crate) fn next(&mut self) -> Option<Next> {
        self.queue.next()
    }

    /// The storm is over: no further fault strikes, and what lasts ends.
    pub(crate) fn heal(&mut self) {
        self.by_op.clear();
        self.by_events.clear();
        self.when_idle.clear();
        self.armed.clear();
        self.faults.clear();
        self.server.heal();
    }

    /// A number below `bound` that depends on the seed and on how many were drawn before.
    fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws) % bound
    }

    /// From 20 to 200 microseconds: one way through a network in one house.
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

    /// An input of this time is being handled: virtual time gets there.
    pub(crate) fn reach(&mut self, recv_time: Nanos) {
        let origin = *self.origin.get_or_insert(recv_time);
        self.queue.advance_to(recv_time.0.saturating_sub(origin.0));
    }

    /// An owner has taken an input.
    pub(crate) fn note_taken(&mut self) {
        self.taken += 1;
        while let Some(first) = self.by_events.first_entry().filter(|e| *e.key() <= self.taken) {
            for fault in first.remove() {
                self.strike(fault);
            }
        }
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

    /// An answer has come and there is nothing to do: whether that may be the end. Before it, what is to strike an idle
    /// system does, and what comes of it is waited for.
    pub(crate) fn comes_to_rest(&mut self) -> bool {
        if let Some(fault) = self.when_idle.pop_front() {
            self.watched = WATCHED;
            self.strike(fault);
        }
        let at_rest = self.watched == 0;
        self.watched = self.watched.saturating_sub(1);
        at_rest
    }

    // ---- the client's side -------------------------------------------------------------------

    /// A process asks something of the log.
    pub(crate) fn ask(&mut self, process: usize, request: Request) -> u64 {
        let kind = request.kind();
        self.op_counts[kind as usize] += 1;
        let n = self.op_counts[kind as usize];
        self.next_id += 1;
        let id = self.next_id;
        self.note(Some(process), What::Asked(kind, n, request.content()));
        if let Request::Commit { commit, .. } = &request {
            let checked = self.compare_with_twin(&commit.entries);
            self.check(checked);
        }
        self.processes[process].begin(&request);
        let pending = Pending {
            process,
            kind,
            operation: request.name(),
            n,
            asked_at: self.now(),
            answer: None,
            delivered: false,
        };
        self.pending.push(id, pending);
        let request = Arc::new(request);
        let arrives = self.now() + self.latency();
        let mut normal = true;
        for fault in self.faults_at(kind, n) {
            normal &= !self.befall(fault, id, &request, arrives);
        }
        if self.processes[process].dead && normal {
            // Struck by something else than this operation: the request was not sent.
            return id;
        }
        if normal {
            let away = self.server.is_away(self.now());
            let fate = if away { Fate::Refused } else { Fate::Normal };
            self.send(id, fate, arrives, &request);
        }
        id
    }

    /// Whatever an owner commits, its twin wrote too.
    fn compare_with_twin(&self, entries: &Batch) -> Result<(), Violation> {
        let Some(twin) = &self.twin else { return Ok(()) };
        let differs = |entry: &EntryRef<'_>| {
            let at = entry.pos.seq as usize - 1;
            at >= twin.len() || twin.get(at).bytes != entry.bytes
        };
        let Some(entry) = entries.iter().find(differs) else { return Ok(()) };
        let at = entry.pos.seq as usize - 1;
        let expected =
            if at < twin.len() { describe(twin.get(at).bytes) } else { "the end".into() };
        let what = format!("the entry at {} is the twin's", entry.pos);
        Err(Violation::new(Promise::Transparent, what, expected, describe(entry.bytes)))
    }

    fn faults_at(&mut self, kind: OpKind, n: u64) -> Vec<usize> {
        let mut faults = self.by_op.remove(&(kind, n)).unwrap_or_default();
        if !self.armed.is_empty() {
            let fits = |&mut at: &mut usize| {
                let fault: &Fault = &self.faults[at];
                fault.op.unwrap_or(OpKind::Commit) == kind
            };
            faults.extend(self.armed.extract_if(.., fits));
        }
        faults
    }

    /// Lets a fault strike at this operation. Whether it decides what becomes of the request.
    fn befall(&mut self, at: usize, id: u64, request: &Arc<Request>, arrives: u64) -> bool {
        let fault = self.faults[at];
        let Some(&Pending { process, .. }) = self.pending.get(id) else { return false };
        if fault.kind.scope() != Scope::Operation && fault.kind != FaultKind::Crash {
            self.strike(at);
            return false;
        }
        self.fire(fault.kind);
        let fate = match (fault.kind, fault.request) {
            (FaultKind::LostRequest, _) => Fate::LostRequest,
            (FaultKind::LostReply, _) => Fate::LostReply,
            (FaultKind::LateEffect, _) => Fate::LateEffect { after_ns: fault.for_ns },
            (FaultKind::SentTwice, _) => Fate::SentTwice { after_ns: fault.for_ns },
            (FaultKind::Slow, _) => Fate::Slow { by_ns: fault.for_ns.min(TIMEOUT_NS / 2) },
            (FaultKind::Refused, _) => Fate::Refused,
            // The owner crashes, and will not hear what becomes of its request.
            (_, CrashedRequest::Lost) => Fate::LostRequest,
            (_, CrashedRequest::Applied) => Fate::Normal,
            (_, CrashedRequest::Late) => Fate::Slow { by_ns: 2 * fault.for_ns },
        };
        if fault.kind == FaultKind::Crash {
            let Course { effects_ns, .. } = fate.course(self.timing(arrives));
            self.plan_effects(id, effects_ns, request);
            self.kill(process, fault.for_ns);
        } else {
            self.send(id, fate, arrives, request);
        }
        true
    }

    const fn timing(&self, arrives_ns: u64) -> Timing {
        Timing { arrives_ns, refused_ns: arrives_ns, gives_up_ns: self.now() + TIMEOUT_NS }
    }

    /// Sends a request: plans when it reaches the server, and what its client is told whatever the server answers.
    fn send(&mut self, op: u64, fate: Fate, arrives_ns: u64, request: &Arc<Request>) {
        let Course { effects_ns, told } = fate.course(self.timing(arrives_ns));
        self.plan_effects(op, effects_ns, request);
        if let Some((at, told)) = told {
            self.answer_later(op, at, unreachable(request.name(), told));
        }
    }

    fn plan_effects(&mut self, op: u64, effects_ns: [Option<u64>; 2], request: &Arc<Request>) {
        let Some(&Pending { kind, n, .. }) = self.pending.get(op) else { return };
        for at in effects_ns.into_iter().flatten() {
            self.next_id += 1;
            let id = self.next_id;
            self.travelling.push(id, Travelling { op, kind, n, request: Arc::clone(request) });
            self.plan(at, Next::Effect(id));
        }
    }

    fn answer_later(&mut self, id: u64, at: u64, answer: LogError) {
        if let Some(pending) = self.pending.get_mut(id).filter(|pending| !pending.delivered) {
            pending.answer = Some(Err(answer));
            self.plan(at, Next::Reply(id));
        }
    }

    /// Which process an answer is for, now that it arrives; `None` when it arrived before.
    pub(crate) fn deliver(&mut self, id: u64) -> Option<usize> {
        let pending = self.pending.get_mut(id).filter(|pending| !pending.delivered)?;
        pending.delivered = true;
        let (process, kind) = (pending.process, pending.kind);
        let well = matches!(pending.answer, Some(Ok(_)));
        if self.processes[process].dead {
            self.pending.remove(id);
            return None;
        }
        self.note(Some(process), What::Answered(kind, well));
        self.processes[process].blind = kind == OpKind::Look && !well;
        if !well {
            self.note_failure(process);
        }
        Some(process)
    }

    /// Too many failed attempts within a second are a storm.
    fn note_failure(&mut self, process: usize) {
        let now = self.now();
        let failures = &mut self.processes[process].failures;
        failures.push_back(now);
        while failures.front().is_some_and(|&at| now - at > 1_000_000_000) {
            failures.pop_front();
        }
        let count = failures.len();
        if count > FAILURES_PER_SECOND {
            let what = format!("p{process} tries again and again without a pause");
            let limit = format!("at most {FAILURES_PER_SECOND} failed attempts in a second");
            self.violate(Violation::new(Promise::Bounded, what, limit, count));
        }
    }

    /// A process sleeps.
    pub(crate) fn rest(&mut self, process: usize, pause_ns: u64) {
        let Some((operation, waited)) = self.processes[process].rest(pause_ns) else { return };
        let RetryConfig { give_up_after, give_up_acquiring_after, .. } = self.retry;
        let limit = match operation {
            "acquire" => give_up_acquiring_after,
            // Whoever is told that it is fenced looks at the head no longer than it would acquire.
            _ => give_up_after.max(give_up_acquiring_after),
        };
        if waited > limit {
            let what = format!("p{process} does not give up {operation}");
            let limit = format!("at most {limit:?}");
            self.violate(Violation::new(Promise::Bounded, what, limit, format!("{waited:?}")));
        }
    }

    /// The answer to an operation, once it is there.
    pub(crate) fn collect(&mut self, id: u64) -> Option<Result<Answer, LogError>> {
        self.pending.get(id).filter(|pending| pending.delivered)?;
        let pending = self.pending.remove(id)?;
        let answer = pending.answer?;
        let process = &mut self.processes[pending.process];
        process.end(pending.operation, &answer);
        // It may have been frozen with the answer in its hands while the log lost what it says.
        process.lost |= process.acknowledged > self.server.witness.head.pos;
        if let Ok(Answer::Page(page)) = &answer
            && let Some(first) = page.entries.first_pos()
        {
            self.coverage.see(if first.seq == 1 { Sight::ReplayedAll } else { Sight::Replayed });
        }
        Some(answer)
    }

    // ---- the server's side -------------------------------------------------------------------

    /// A request reaches the server.
    pub(crate) fn take_effect(&mut self, id: u64) {
        let Some(travelling) = self.travelling.get(id) else { return };
        let op = travelling.op;
        if let Some(thaws) = self.server.frozen_until(self.now()) {
            self.plan(thaws, Next::Effect(id));
            self.time_out(op);
            return;
        }
        let Some(Travelling { op, kind, n, request }) = self.travelling.remove(id) else { return };
        if self.server.is_gone(self.now()) {
            self.reset_connection(op);
            return;
        }
        let answer = match self.server.refusal(self.now(), &request) {
            Some(error) => Err(error),
            None => self.carry_out(&request),
        };
        let awaited = self.pending.get(op).filter(|pending| pending.answer.is_none());
        let awaited = awaited.filter(|pending| !self.processes[pending.process].dead);
        let process = self.pending.get(op).map(|pending| pending.process);
        match awaited {
            None => {
                self.note(process, What::Ghost(kind, n, answer.is_ok()));
                if kind == OpKind::Commit {
                    let taken = matches!(&answer, Ok(Answer::Committed(done)) if !done.duplicate);
                    let sight = [Sight::GhostCommitRefused, Sight::GhostCommitTaken];
                    self.coverage.see(sight[usize::from(taken)]);
                }
            }
            Some(pending) => {
                let waits_until = pending.asked_at + wait_of(&request, &answer);
                self.note(process, What::Took(kind, n, answer.is_ok()));
                let arrives = waits_until.max(self.now()) + self.latency();
                if let Some(pending) = self.pending.get_mut(op) {
                    pending.answer = Some(answer);
                    self.plan(arrives, Next::Reply(op));
                }
            }
        }
    }

    /// What the frozen server does not answer in time is given up.
    fn time_out(&mut self, op: u64) {
        let Some(pending) = self.pending.get(op).filter(|p| p.answer.is_none()) else { return };
        let deadline = pending.asked_at + TIMEOUT_NS;
        let error = unreachable(pending.operation, Told::TimedOut);
        self.answer_later(op, deadline, error);
    }

    fn carry_out(&mut self, request: &Arc<Request>) -> Result<Answer, LogError> {
        let (answer, checked) = self.server.carry_out(request);
        self.check(checked);
        if request.kind() == OpKind::Commit && answer.is_ok() && self.server.recovered_from_damage()
        {
            self.coverage.see(Sight::FellBack);
        }
        match &answer {
            Ok(Answer::Committed(done)) if done.duplicate => {
                self.coverage.see(Sight::CommitRepeated);
            }
            Ok(Answer::Removed(1..)) => self.coverage.see(Sight::Trimmed),
            Ok(Answer::Published(answers))
                if answers.contains(&silvertine_engine::log::Published::Duplicate) =>
            {
                self.coverage.see(Sight::MessageRepeated);
            }
            _ => {}
        }
        answer
    }

    // ---- faults ------------------------------------------------------------------------------

    fn fire(&mut self, kind: FaultKind) {
        self.note(None, What::Struck(kind));
        let phase = self.phase();
        if matches!(kind.scope(), Scope::Clock | Scope::Producer) {
            self.unfelt.push((kind, phase));
        } else {
            self.count(kind, phase);
        }
    }

    fn count(&mut self, kind: FaultKind, phase: Phase) {
        self.struck += 1;
        self.coverage.fire(kind, phase);
    }

    /// Somebody feels what faults of this kind have done: the wall clock was read, a message is sent again.
    pub(crate) fn feel(&mut self, kind: FaultKind) {
        for (_, phase) in
            self.unfelt.extract_if(.., |(unfelt, _)| *unfelt == kind).collect::<Vec<_>>()
        {
            self.count(kind, phase);
        }
    }

    /// What the owner is doing.
    fn phase(&self) -> Phase {
        let owner = self.processes.iter().rev().find(|p| p.role == Role::Owner && !p.dead);
        owner.map_or(Phase::Down, |owner| owner.phase)
    }

    /// A fault's moment has come.
    pub(crate) fn strike(&mut self, at: usize) {
        let Some(&fault) = self.faults.get(at) else { return };
        let scope = fault.kind.scope();
        let at_an_operation = fault.kind == FaultKind::Crash && fault.op.is_some();
        if scope == Scope::Operation || at_an_operation {
            self.armed.push(at);
            return;
        }
        self.fire(fault.kind);
        let until = self.now() + fault.for_ns;
        match scope {
            Scope::Server => {
                if matches!(fault.kind, FaultKind::Disconnect | FaultKind::Restart) {
                    self.cut(fault.kind);
                }
                self.server.enter(fault.kind, until);
            }
            Scope::Loss => self.lose(&fault),
            Scope::Damage => {
                self.server.damage(fault.kind);
                if let Some(owner) = self.owner() {
                    self.kill(owner, fault.for_ns);
                }
            }
            Scope::Clock => self.wall_clock.jump(fault.by_ns),
            Scope::Producer => self.restart_producers(),
            Scope::Process | Scope::Operation => self.strike_process(&fault),
        }
    }

    /// Producers lose their place and send again from an earlier message; those that were done begin anew for it.
    fn restart_producers(&mut self) {
        for number in 0..self.producers.len() {
            self.producers[number].resend = true;
            if self.producers[number].done {
                self.plan(self.now(), Next::StartProducer(number));
            }
        }
    }

    fn strike_process(&mut self, fault: &Fault) {
        let Some(owner) = self.owner() else { return };
        match fault.kind {
            FaultKind::Crash => self.kill(owner, fault.for_ns),
            FaultKind::Pause => {
                self.processes[owner].frozen = true;
                self.plan(self.now() + fault.for_ns, Next::Thaw(owner));
                // A supervisor sees it missing and starts another one.
                self.plan(self.now() + fault.for_ns / 2, Next::Start);
            }
            FaultKind::SecondOwner => self.plan(self.now(), Next::StartAnyway),
            FaultKind::Stop => {
                self.processes[owner].stop.request();
                self.processes[owner].restart_after = fault.for_ns;
            }
            _ => {}
        }
    }

    /// The owner that is at work.
    pub(crate) fn owner(&self) -> Option<usize> {
        let at_work = |p: &Process| p.role == Role::Owner && !p.dead && !p.frozen;
        self.processes.iter().rposition(at_work)
    }

    /// A process dies here and now; somebody starts another one later.
    fn kill(&mut self, process: usize, for_ns: u64) {
        let dying = &mut self.processes[process];
        if dying.dead {
            return;
        }
        dying.dead = true;
        if matches!(dying.phase, Phase::Recovering) {
            self.coverage.see(Sight::CrashedRecovering);
        }
        let next = match dying.role {
            Role::Owner => Next::Start,
            Role::Producer { number } => Next::StartProducer(number),
        };
        self.note(Some(process), What::Died);
        self.plan(self.now() + for_ns, next);
    }

    /// Every connection breaks. What was under way arrived just before, or never will, or (when only
    /// the network failed) still does.
    fn cut(&mut self, kind: FaultKind) {
        for id in self.travelling.ids() {
            let arrives = self.draw(2) == 0;
            match (kind, arrives) {
                (_, false) => {
                    self.travelling.remove(id);
                }
                (FaultKind::Restart, true) => self.take_effect(id),
                _ => {}
            }
        }
        self.break_connections();
    }

    fn break_connections(&mut self) {
        for op in self.pending.ids() {
            self.reset_connection(op);
        }
    }

    /// The client of an operation learns that its connection broke, unless it has an answer.
    fn reset_connection(&mut self, op: u64) {
        let Some(pending) = self.pending.get(op).filter(|p| p.answer.is_none()) else { return };
        let error = unreachable(pending.operation, Told::Reset);
        let at = self.now() + self.latency();
        self.answer_later(op, at, error);
    }

    /// Acknowledged writes are lost.
    fn lose(&mut self, fault: &Fault) {
        self.travelling.clear();
        self.break_connections();
        let before = self.server.witness.head.pos;
        let checked = match fault.kind {
            FaultKind::Flush => {
                self.server.flush();
                Ok(())
            }
            _ => self.server.lose(fault.lose as usize),
        };
        self.check(checked);
        if fault.kind != FaultKind::Flush {
            self.server.enter(FaultKind::Restart, self.now() + fault.for_ns);
        }
        let head = self.server.witness.head.pos;
        let flushed = fault.kind == FaultKind::Flush;
        if head < before || flushed {
            for process in &mut self.processes {
                process.lost |= process.acknowledged > head || flushed;
            }
            // Who stands still may hold an answer from before, and will take it for what is there.
            for pending in self.pending.iter() {
                let told = match &pending.answer {
                    Some(Ok(Answer::Acquired(acquired))) => acquired.head.pos,
                    Some(Ok(Answer::Committed(committed))) => committed.head,
                    _ => continue,
                };
                self.processes[pending.process].lost |= told > head;
            }
        }
    }
}

/// An entry, for people.
pub(crate) fn describe(bytes: &[u8]) -> String {
    decode_entry(bytes).map_or_else(
        |why| why.to_string(),
        |event| {
            let Event { pos, time, origin, header, body } = event;
            format!("{pos} at {time}, {origin:?} of {}: {body:?}", header.source)
        },
    )
}

fn unreachable(operation: &'static str, told: Told) -> LogError {
    let why = told.why().to_owned();
    server::error(operation, LogErrorKind::Unavailable { why }, told.applied())
}

/// How long the server holds an answer back: an empty ingress is waited at.
fn wait_of(request: &Request, answer: &Result<Answer, LogError>) -> u64 {
    match (request, answer) {
        (Request::Ingress { wait, .. }, Ok(Answer::Messages(messages))) if messages.is_empty() => {
            u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
        }
        _ => 0,
    }
}
