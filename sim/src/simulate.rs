//! One run under faults: from a subject and a list of faults to a report.
//!
//! First the twin ([`crate::twin`]): the same inputs without driver, log or faults. Then the storm, in
//! which owners crash, are replaced and recover. Then, with everything healed, a cold restart that
//! must end where the twin ended. Every oracle watches from the first step to the last.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use silvertine_engine::{
    Counts,
    bus::Figure,
    digest::Digest,
    driver::{Driver, DriverConfig, End, Outcome, RunError, RunRequest},
    engine::Engine,
    feed::{IngressFeed, Merge},
    log::{EventLog, LogError, LogErrorKind, Message, OwnerId, RangeQuery},
    park,
    pos::Pos,
    text::Name,
};

use crate::{
    coverage::{Coverage, Sight},
    fault::{Fault, FaultKind, OpKind, Scope},
    oracle::{
        Oracle, Violation,
        execution::{Executed, Execution},
        explain::explain,
        same, same_bytes,
    },
    subject::Subject,
    trace::{Happened, Trace, What},
    twin::{Reference, Twin},
    world::{
        Next, Producer, Shared, World,
        client::{Inputs, SimClock, SimFeed, SimLog, SimObserver, Slept, sleep},
        describe,
        process::{Process, Role},
        server::Server,
    },
};
use silvertine_engine::executor::block_on;

/// Steps that a run may take for each input, on top of a number that suits any run.
const STEPS_PER_INPUT: u64 = 400;
const STEPS_BASE: u64 = 200_000;
/// Owners that a run may start, on top of one for each second that its faults last: none follows
/// another sooner for long.
const OWNERS_BASE: u64 = 1_000;
/// Messages that a producer publishes at once.
const PUBLISHED_AT_ONCE: usize = 7;
/// How many messages a producer that restarts sends again.
const SENT_AGAIN: usize = 10;

/// What came of a run under faults.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The run was stopped before its end: what must hold of the end was not looked at.
    pub stopped: bool,
    /// Digest of the log that the run left.
    pub digest: Digest,
    /// Totals of the log that the run left.
    pub counts: Counts,
    /// What the handlers report at the end, in bus order.
    pub figures: Vec<(Name, &'static str, Figure)>,
    /// What is parked at the end, in the order of keys.
    pub parked: Vec<park::Parked>,
    /// Hash over all that happened, and the last of it.
    pub trace: Trace,
    /// What was reached.
    pub coverage: Coverage,
    /// Faults that struck.
    pub faults: u64,
    /// Inputs taken by all owners together, repeated ones included.
    pub taken: u64,
    /// Owners that were started.
    pub owners: u64,
    /// Virtual time at the end, in nanoseconds.
    pub virtual_ns: u64,
    /// Operations asked of the log, by [`OpKind`].
    pub operations: [u64; OpKind::ALL.len()],
}

/// What the simulator is asked for besides the subject and its faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Root of the latencies and coin tosses of the world.
    pub seed: u64,
    /// Keep all that happens, not only the last of it.
    pub keep_trace: bool,
}

/// Runs a subject under faults.
///
/// # Errors
/// The subject cannot be set up. A broken promise is no error but [`Report::violation`].
pub fn simulate<S: Subject>(
    subject: &S,
    faults: &[Fault],
    options: Options,
) -> Result<Report, String> {
    simulate_until(subject, faults, options, &AtomicBool::new(false))
}

/// Runs a subject under faults until its end, or until `stop` is raised: then the report says what happened so far.
///
/// # Errors
/// Those of [`simulate`].
pub fn simulate_until<S: Subject>(
    subject: &S,
    faults: &[Fault],
    options: Options,
    stop: &AtomicBool,
) -> Result<Report, String> {
    let reference = Reference::of(subject, stop)?;
    simulate_against(subject, &reference, faults, options, stop)
}

/// The same for a subject whose `reference` is at hand.
///
/// # Errors
/// Those of [`simulate`].
pub fn simulate_against<S: Subject>(
    subject: &S,
    reference: &Reference,
    faults: &[Fault],
    options: Options,
    stop: &AtomicBool,
) -> Result<Report, String> {
    let Reference { producers, twin } = reference;
    let may_lose = faults.iter().any(|fault| fault.kind.info().scope == Scope::Loss);
    let trace = if options.keep_trace { Trace::keeping_all() } else { Trace::default() };
    let twin_log = twin.as_ref().map(|twin| Arc::clone(&twin.log));
    let mut world = World::new(
        Server::new(may_lose),
        faults,
        options.seed,
        trace,
        subject.driver().retry,
        twin_log,
    );
    world.violation = twin.as_ref().and_then(|twin| twin.violation.clone());
    let inputs = producers.iter().map(|messages| messages.len() as u64).sum::<u64>()
        + twin.as_ref().map_or(0, |twin| twin.counts.inputs);
    let run = Run {
        subject,
        reference,
        world: Shared::new(world),
        futures: Vec::new(),
        steps_left: STEPS_BASE + STEPS_PER_INPUT * inputs,
        owners_left: OWNERS_BASE
            + faults.iter().map(|fault| fault.for_ns / 1_000_000_000).sum::<u64>(),
        manifest: subject.manifest(),
        config: subject.driver(),
        past_halt: None,
        finished: None,
        stop,
        stopped: false,
    };
    run.through()
}

type Running<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

/// How a process ended.
enum Ended {
    Owner(Box<(Result<Outcome, RunError>, Engine)>),
    Producer { number: usize },
}

struct Run<'a, S: Subject> {
    subject: &'a S,
    reference: &'a Reference,
    world: Shared<S::Log>,
    /// One for each process of the world, until it ends or dies.
    futures: Vec<Option<Running<'a>>>,
    steps_left: u64,
    owners_left: u64,
    manifest: Vec<u8>,
    config: DriverConfig,
    /// The newest halt that an owner reported; an operator lets the next one go on behind it.
    past_halt: Option<Pos>,
    finished: Option<(Outcome, Engine)>,
    stop: &'a AtomicBool,
    stopped: bool,
}

impl<S: Subject> Run<'_, S> {
    fn through(mut self) -> Result<Report, String> {
        self.world.lock().producers = vec![Producer::default(); self.reference.producers.len()];
        for number in 0..self.reference.producers.len() {
            self.start_producer(number);
        }
        self.world.lock().plan(0, Next::Start);
        self.weather()?;
        if self.finished.is_some() && self.is_well() && !self.stopped {
            // The cold restart: whatever a crash at the very end leaves must do.
            self.world.lock().heal();
            self.finished = None;
            self.start_owner()?;
            self.weather()?;
        }
        if self.is_well() && !self.stopped {
            let checked = panic::catch_unwind(AssertUnwindSafe(|| self.check_end()));
            let checked = checked.unwrap_or_else(|_| {
                let what = "the log that is left makes its reader panic";
                Err(Violation::new(Oracle::NoPanic, what, "a log that can be read", "a panic"))
            });
            self.world.lock().check(checked);
        }
        Ok(self.report())
    }

    /// Whether it reads an ingress on the wall clock, not recorded inputs on a virtual one.
    fn is_live(&self) -> bool {
        !self.reference.producers.is_empty()
    }

    fn twin(&self) -> Option<&Twin> {
        self.reference.twin.as_ref()
    }

    fn is_well(&self) -> bool {
        self.world.lock().violation.is_none()
    }

    /// Lets things happen until nothing more does.
    fn weather(&mut self) -> Result<(), String> {
        while let Some(next) = self.next() {
            if self.stop.load(Ordering::Relaxed) {
                self.stopped = true;
                return Ok(());
            }
            self.happen(next)?;
            self.steps_left -= 1;
            if self.steps_left == 0 || self.owners_left == 0 {
                self.stuck("the run does not come to its end");
            }
        }
        if !self.is_well() {
            return Ok(());
        }
        if self.finished.is_none() {
            self.stuck("nothing happens any more and the run is not at its end");
        }
        Ok(())
    }

    fn happen(&mut self, next: Next) -> Result<(), String> {
        match next {
            Next::Effect(request) => self.world.lock().take_effect(request),
            Next::Reply(op) => {
                let process = self.world.lock().deliver(op);
                if let Some(process) = process {
                    self.poll(process);
                    self.stop_when_complete();
                }
            }
            Next::Wake(process) => self.poll(process),
            Next::Thaw(process) => {
                {
                    let mut world = self.world.lock();
                    if world.processes[process].dead {
                        return Ok(());
                    }
                    world.processes[process].frozen = false;
                    world.processes[process].was_frozen = true;
                    world.note(Some(process), What::Thawed);
                }
                self.poll(process);
            }
            Next::Start => {
                let idle = self.world.lock().owner().is_none();
                if idle && self.finished.is_none() {
                    self.start_owner()?;
                }
            }
            Next::StartAnyway => {
                if self.finished.is_none() {
                    self.world.lock().coverage.see(Sight::TwoOwners);
                    self.start_owner()?;
                }
            }
            Next::StartProducer(number) => self.start_producer(number),
            Next::Strike(fault) => {
                if self.finished.is_none() {
                    self.world.lock().strike(fault);
                }
            }
        }
        Ok(())
    }

    /// Lets a process run until it waits, ends or dies.
    fn poll(&mut self, process: usize) {
        {
            let world = self.world.lock();
            if world.processes[process].frozen || world.processes[process].dead {
                return;
            }
        }
        let Some(future) = &mut self.futures[process] else { return };
        let mut context = Context::from_waker(Waker::noop());
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(ended)) => {
                self.futures[process] = None;
                self.conclude(process, ended);
            }
            Err(payload) => {
                self.futures[process] = None;
                let said = payload.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
                let what = format!("p{process} panics");
                let said = said.unwrap_or("without a message");
                self.world.lock().violate(Violation::new(Oracle::NoPanic, what, "no panic", said));
            }
        }
    }

    /// What happens next, unless a promise is broken. Drops what processes were doing that have died meanwhile.
    fn next(&mut self) -> Option<Next> {
        let mut world = self.world.lock();
        for (process, future) in world.processes.iter().zip(&mut self.futures) {
            if process.dead && future.is_some() {
                *future = None;
            }
        }
        if world.violation.is_some() { None } else { world.next() }
    }

    fn add_process(&mut self, role: Role) -> (usize, OwnerId) {
        let mut world = self.world.lock();
        let process = world.processes.len();
        let owner = OwnerId(process as u128 + 1);
        world.processes.push(Process::new(role));
        world.note(Some(process), What::Started);
        (process, owner)
    }

    fn start_owner(&mut self) -> Result<(), String> {
        self.owners_left = self.owners_left.saturating_sub(1);
        let (process, owner) = self.add_process(Role::Owner);
        let world = self.world.clone();
        let log = SimLog { world: world.clone(), process };
        let inner = if self.is_live() {
            Inputs::Live(IngressFeed::new(log.clone()))
        } else {
            Inputs::Recorded(Merge::new(self.subject.lanes()?))
        };
        let died = Arc::new(AtomicBool::new(false));
        let mut driver = Driver {
            log,
            feed: SimFeed { inner, died: Arc::clone(&died) },
            clock: SimClock { world: world.clone(), process, live: self.is_live() },
            observer: SimObserver { world: world.clone(), process, died },
            engine: self.subject.engine(&mut |_, _, handler| handler)?,
            config: self.config,
        };
        let stop = world.lock().processes[process].stop.clone();
        let mut request = RunRequest::new(owner, self.manifest.clone());
        request.resume = true;
        request.past_halt = self.past_halt;
        self.futures.push(Some(Box::pin(async move {
            let result = driver.run(&request, &stop).await;
            Ended::Owner(Box::new((result, driver.engine)))
        })));
        world.lock().plan(0, Next::Wake(process));
        Ok(())
    }

    /// Starts a producer, unless it is at work. One that died begins with its first message, having kept no notes; one
    /// that was done sends its last messages again.
    fn start_producer(&mut self, number: usize) {
        let ours = |p: &Process| p.role == Role::Producer { number } && !p.dead;
        if self.world.lock().processes.iter().any(ours) {
            return;
        }
        let (process, _) = self.add_process(Role::Producer { number });
        let producer = std::mem::take(&mut self.world.lock().producers[number]);
        let messages = Arc::clone(&self.reference.producers[number]);
        let log = SimLog { world: self.world.clone(), process };
        self.futures.push(Some(Box::pin(async move {
            if producer.done {
                log.world.lock().feel(FaultKind::ProducerRestart);
                let last = messages.len().saturating_sub(SENT_AGAIN);
                publish(&log, number, &messages[last..]).await;
            } else {
                publish(&log, number, &messages).await;
            }
            Ended::Producer { number }
        })));
        self.world.lock().plan(0, Next::Wake(process));
    }

    /// A live run has no end of its own: it is over when every message is consumed.
    fn stop_when_complete(&self) {
        if !self.is_live() {
            return;
        }
        let mut world = self.world.lock();
        if world.is_all_consumed() && world.comes_to_rest() {
            for process in world.processes.iter().filter(|p| p.role == Role::Owner && !p.dead) {
                process.stop.request();
            }
        }
    }

    /// Whether the log holds everything that it should in the end.
    fn is_complete(&self) -> bool {
        let world = self.world.lock();
        match self.twin() {
            Some(twin) => world.server.witness.digest() == twin.digest,
            None => world.is_all_consumed(),
        }
    }

    fn conclude(&mut self, process: usize, ended: Ended) {
        self.world.lock().processes[process].dead = true;
        let (result, engine) = match ended {
            Ended::Owner(ended) => *ended,
            Ended::Producer { number } => {
                self.world.lock().producers[number].done = true;
                return;
            }
        };
        let how = match &result {
            Ok(outcome) if outcome.end == End::Finished => 0,
            Ok(_) => 1,
            Err(_) => 2,
        };
        self.world.lock().note(Some(process), What::Ended(how));
        match result {
            Ok(outcome) => self.conclude_well(process, outcome, engine),
            Err(error) => {
                if let RunError::Halted(halt) = &error {
                    self.past_halt = Some(halt.pos);
                }
                let mut world = self.world.lock();
                let retry = &self.config.retry;
                match explain(&error, &world.processes[process], &world.server, retry) {
                    Ok(sight) => world.coverage.see(sight),
                    Err(violation) => world.violate(violation),
                }
                world.server.repair();
                let pause = 1_000_000_000;
                let at = world.now + pause;
                world.plan(at, Next::Start);
            }
        }
    }

    fn conclude_well(&mut self, process: usize, outcome: Outcome, engine: Engine) {
        let complete = self.is_complete();
        let mut world = self.world.lock();
        let acknowledged = world.processes[process].acknowledged;
        let reported = same(
            Oracle::Truth,
            "a run reports the head that it was told is committed",
            &acknowledged,
            &outcome.head,
        );
        world.check(reported);
        if outcome.end == End::Stopped {
            world.coverage.see(Sight::Stopped);
        }
        if complete {
            drop(world);
            self.finished = Some((outcome, engine));
            return;
        }
        let lost = world.server.lost_writes;
        if outcome.end == End::Finished && !lost {
            let head = world.server.witness.head.pos;
            let missing = self.twin().and_then(|twin| {
                // Whatever it holds, its twin holds too: that was compared as it was committed.
                let next = usize::try_from(head.seq).ok()?;
                (next < twin.log.len()).then(|| describe(twin.log.get(next).bytes))
            });
            let what = "a run that finished leaves the log of its fault-free twin";
            let expected = missing.unwrap_or_else(|| "the same entries".to_owned());
            let actual = format!("the log ends at {head}");
            world.violate(Violation::new(Oracle::Transparent, what, expected, actual));
            return;
        }
        if lost {
            world.coverage.see(Sight::LostAfterEnd);
        }
        let at = world.now + world.processes[process].restart_after;
        world.plan(at, Next::Start);
    }

    /// Says who waits for what.
    fn stuck(&self, what: &str) {
        let mut world = self.world.lock();
        let waiting: Vec<String> = world
            .processes
            .iter()
            .enumerate()
            .filter(|(_, process)| !process.dead)
            .map(|(number, process)| {
                let frozen = if process.frozen { ", frozen" } else { "" };
                format!("p{number} is {}{frozen}", process.phase)
            })
            .collect();
        let waiting =
            if waiting.is_empty() { "nobody is at work".to_owned() } else { waiting.join("; ") };
        world.violate(Violation::new(Oracle::Live, what, "the end", waiting));
    }

    /// What must hold of the log and of the state that are left.
    fn check_end(&self) -> Result<(), Violation> {
        let Some((outcome, engine)) = &self.finished else { return Ok(()) };
        let world = self.world.lock();
        let witness = &world.server.witness;
        same(
            Oracle::Durable,
            "the log ends where it was told to",
            &witness.head.pos,
            &outcome.head,
        )?;
        same(Oracle::Fold, "the run's digest is the log's", &witness.digest(), &outcome.digest)?;
        let log = world.server.log().clone();
        let snapshots = witness.snapshot_count();
        // Where something is trimmed, only a snapshot is a place to begin.
        let begin = match witness.head.trimmed {
            Pos::ZERO => Pos::ZERO,
            trimmed => witness.oldest_snapshot().unwrap_or(trimmed),
        };
        let accepted = witness.messages_accepted();
        let trimmed = witness.head.trimmed;
        drop(world);
        check_floor(&log, trimmed)?;
        let state = save(engine)?;
        if let Some(twin) = self.twin() {
            same(Oracle::Transparent, "the log is the twin's", &twin.digest, &outcome.digest)?;
        }
        let sights = match self.twin() {
            // What holds of the twin's log holds of this one. Left is whether the rest of it goes with its oldest snapshot.
            Some(twin) => {
                if begin > Pos::ZERO {
                    self.execute_again(&log, begin, &state)?;
                }
                twin.judged.clone()?
            }
            None => {
                let executed = self.execute_again(&log, begin, &state)?;
                let sights = executed.judge(&outcome.counts)?;
                if let Some(messages) = executed.messages() {
                    self.account_for(messages + outcome.duplicates, accepted)?;
                }
                sights
            }
        };
        let mut world = self.world.lock();
        sights.into_iter().for_each(|sight| world.coverage.see(sight));
        drop(world);
        if let Some(twin) = self.twin() {
            same(Oracle::Transparent, "the totals are the twin's", &twin.counts, &outcome.counts)?;
            same(
                Oracle::Transparent,
                "the figures are the twin's",
                &twin.figures,
                &engine.figures(),
            )?;
            same_bytes(Oracle::Transparent, "the state is the twin's", &twin.state, &state)?;
            let what = "duplicates are counted";
            same(Oracle::Truth, what, &twin.duplicates, &outcome.duplicates)?;
        }
        self.check_bounds(snapshots)
    }

    /// Executes the log again from the oldest snapshot and compares the state.
    fn execute_again(&self, log: &S::Log, begin: Pos, state: &[u8]) -> Result<Executed, Violation> {
        let unreadable = |error: LogError| {
            let what = "the log is executed again";
            Violation::new(Oracle::Fold, what, "the log, entry for entry", error)
        };
        let head = block_on(log.head()).map_err(unreadable)?.unwrap_or_default();
        let snapshot = match begin {
            Pos::ZERO => None,
            begin => block_on(log.snapshot(begin)).map_err(unreadable)?,
        };
        let mut execution = Execution::begin(self.subject, &head, snapshot.as_deref())?;
        while let Some(query) = execution.wanted() {
            execution.absorb(&block_on(log.range(query)).map_err(unreadable)?)?;
        }
        execution.finish(state)
    }

    /// Whether every message that was accepted is an entry or a duplicate.
    fn account_for(&self, accounted: u64, accepted: u64) -> Result<(), Violation> {
        if self.world.lock().server.lost_writes && accounted > accepted {
            // The engine had read a message that the server then lost; it is handled once.
            return Ok(());
        }
        let what = "every message accepted is an entry or a duplicate";
        same(Oracle::Ledger, what, &accepted, &accounted)
    }

    fn check_bounds(&self, snapshots: usize) -> Result<(), Violation> {
        // Where they are taken by time too, any entry may be followed by one.
        let by_time = self.config.snapshot_interval != Duration::MAX;
        let every = if by_time { 1 } else { self.config.snapshot_entries.max(1) };
        // An owner that ends takes one more than are due.
        let ended = self.world.lock().processes.len() as u64;
        let limit = match self.config.retention_entries {
            None => 2,
            Some(retention) => retention / every + 3 + ended,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if snapshots <= limit {
            return Ok(());
        }
        let limit = format!("at most {limit}");
        Err(Violation::new(Oracle::Bounded, "snapshots are kept", limit, snapshots))
    }

    fn report(self) -> Report {
        drop(self.futures);
        let mut world = self.world.lock();
        let (digest, counts, figures) = match &self.finished {
            Some((outcome, engine)) => (outcome.digest, outcome.counts, engine.figures()),
            None => (world.server.witness.digest(), Counts::default(), Vec::new()),
        };
        let parked = self.finished.as_ref().map(|(_, engine)| engine.parked()).unwrap_or_default();
        world.trace.chain(&digest.to_bytes());
        for (name, figure, value) in &figures {
            world.trace.chain(format!("{name} {figure} {value:?}").as_bytes());
        }
        if let Some(violation) = &world.violation {
            let text = format!("{violation:?}");
            world.trace.chain(text.as_bytes());
        }
        see_counts(&mut world.coverage, &counts);
        if self.finished.as_ref().is_some_and(|(outcome, _)| outcome.duplicates > 0) {
            world.coverage.see(Sight::DuplicateRefused);
        }
        Report {
            violation: world.violation.take(),
            stopped: self.stopped,
            digest,
            counts,
            figures,
            parked,
            trace: std::mem::take(&mut world.trace),
            coverage: std::mem::take(&mut world.coverage),
            faults: world.struck,
            taken: world.taken,
            owners: world.processes.iter().filter(|p| p.role == Role::Owner).count() as u64,
            virtual_ns: world.now,
            operations: world.op_counts,
        }
    }
}

fn see_counts(coverage: &mut Coverage, counts: &Counts) {
    for (count, sight) in [
        (counts.timers, Sight::TimerFired),
        (counts.handler_failures, Sight::HandlerFailed),
        (counts.refused_inputs, Sight::InputRefused),
    ] {
        if count > 0 {
            coverage.see(sight);
        }
    }
}

/// A reader that misses a single trimmed entry is told, too. Owners hardly ever stand right there.
fn check_floor<L: EventLog>(log: &L, trimmed: Pos) -> Result<(), Violation> {
    if trimmed == Pos::ZERO {
        return Ok(());
    }
    let after = Pos { seq: trimmed.seq - 1, ..trimmed };
    let read = block_on(log.range(RangeQuery { limit: 1, ..RangeQuery::all_after(after) }));
    match read.map_err(|error| error.kind) {
        Err(LogErrorKind::Trimmed { through }) if through == trimmed => Ok(()),
        told => {
            let what = format!("a reader behind {after} is told that an entry is missing");
            let expected = format!("trimmed through {trimmed}");
            Err(Violation::new(Oracle::Trim, what, expected, format!("{told:?}")))
        }
    }
}

fn save(engine: &Engine) -> Result<Vec<u8>, Violation> {
    engine
        .save()
        .map_err(|error| Violation::new(Oracle::Fold, "the state is saved", "bytes", error))
}

/// A producer: publishes its messages in order, each as often as it takes.
async fn publish<L: EventLog + Default>(log: &SimLog<L>, number: usize, messages: &[Message]) {
    let rest = |ns: u64| {
        let until = sleep(&log.world, log.process, ns);
        Slept { world: log.world.clone(), until }
    };
    let mut next = 0;
    loop {
        if std::mem::take(&mut log.world.lock().producers[number].resend) && next > 0 {
            next = usize::saturating_sub(next, SENT_AGAIN);
            log.world.lock().feel(FaultKind::ProducerRestart);
        }
        if next == messages.len() {
            return;
        }
        let end = (next + PUBLISHED_AT_ONCE).min(messages.len());
        match log.publish(&messages[next..end]).await {
            Ok(_) => {
                next = end;
                rest(3_000_000).await;
            }
            Err(_) => rest(250_000_000).await,
        }
    }
}

impl Report {
    /// The last things that happened, oldest first.
    #[must_use]
    pub fn timeline(&self) -> Vec<Happened> {
        self.trace.tail()
    }
}
