//! The run loop: starts processes, lets what is scheduled happen, and judges how owners end.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use silvertine_engine::{
    Counts,
    driver::{Driver, DriverConfig, End, Outcome, RunError, RunRequest},
    engine::Engine,
    feed::{IngressFeed, Merge},
    log::OwnerId,
    pos::Pos,
};

use super::{
    Options, end,
    producer::{SENT_AGAIN, publish},
};
use crate::log::{
    coverage::{Coverage, Sight},
    fault::{Fault, FaultKind, Scope},
    oracle::{Promise, Violation, entry::describe, explain::explain, same},
    report::Report,
    subject::{SetupError, Subject},
    trace::{Trace, What},
    twin::{Reference, Twin},
    world::{
        Next, Producer, Shared, World,
        client::{Inputs, SimClock, SimFeed, SimLog, SimObserver},
        process::{Process, Role},
        server::Server,
    },
};

/// Steps that a run may take for each input, on top of [`STEPS_BASE`]; one that takes more does not end.
const STEPS_PER_INPUT: u64 = 400;
/// Steps that a run without inputs may take.
const STEPS_BASE: u64 = 200_000;
/// Owners that a run may start, on top of one for each second that its faults last: a supervisor waits about a second
/// before it starts another one.
const OWNERS_BASE: u64 = 1_000;

type Running<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

/// How a process ended.
enum Ended {
    Owner(Box<(Result<Outcome, RunError>, Engine)>),
    Producer { number: usize },
}

/// A run under way.
pub(super) struct Run<'a, S: Subject> {
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

impl<'a, S: Subject> Run<'a, S> {
    pub(super) fn new(
        subject: &'a S,
        reference: &'a Reference,
        faults: &[Fault],
        options: Options,
        stop: &'a AtomicBool,
    ) -> Self {
        let Reference { producers, twin } = reference;
        let config = subject.driver();
        let may_lose = faults.iter().any(|fault| fault.kind.scope() == Scope::Loss);
        let trace = if options.keep_trace { Trace::keeping_all() } else { Trace::default() };
        let twin_log = twin.as_ref().map(|twin| Arc::clone(&twin.log));
        let server = Server::new(may_lose);
        let mut world = World::new(server, faults, options.seed, trace, config.retry, twin_log);
        world.violation = twin.as_ref().and_then(|twin| twin.violation.clone());
        let inputs = producers.iter().map(|messages| messages.len() as u64).sum::<u64>()
            + twin.as_ref().map_or(0, |twin| twin.counts.inputs);
        let seconds = faults.iter().map(|fault| fault.for_ns / 1_000_000_000).sum::<u64>();
        Self {
            subject,
            reference,
            world: Shared::new(world),
            futures: Vec::new(),
            steps_left: STEPS_BASE + STEPS_PER_INPUT * inputs,
            owners_left: OWNERS_BASE + seconds,
            manifest: subject.manifest(),
            config,
            past_halt: None,
            finished: None,
            stop,
            stopped: false,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, SetupError> {
        self.world.lock().producers = vec![Producer::default(); self.reference.producers.len()];
        for number in 0..self.reference.producers.len() {
            self.start_producer(number);
        }
        self.world.lock().schedule(0, Next::Start);
        self.run_until_quiet()?;
        if self.finished.is_some() && self.is_well() && !self.stopped {
            // The cold restart: whatever a crash at the very end leaves must do.
            self.world.lock().end_faults();
            self.finished = None;
            self.start_owner()?;
            self.run_until_quiet()?;
        }
        if self.is_well() && !self.stopped {
            let checked = panic::catch_unwind(AssertUnwindSafe(|| self.check_end()));
            let checked = checked.unwrap_or_else(|_| {
                let what = "the log that is left makes its reader panic";
                Err(Violation::new(Promise::NoPanic, what, "a log that can be read", "a panic"))
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
    fn run_until_quiet(&mut self) -> Result<(), SetupError> {
        while let Some(next) = self.next() {
            if self.stop.load(Ordering::Relaxed) {
                self.stopped = true;
                return Ok(());
            }
            self.handle(next)?;
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

    fn handle(&mut self, next: Next) -> Result<(), SetupError> {
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
                self.process_ended(process, ended);
            }
            Err(payload) => {
                self.futures[process] = None;
                let said = payload.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
                let what = format!("p{process} panics");
                let said = said.unwrap_or("without a message");
                self.world.lock().violate(Violation::new(Promise::NoPanic, what, "no panic", said));
            }
        }
    }

    /// The next event, unless a promise is broken. Drops the futures of processes that have died meanwhile.
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

    fn start_owner(&mut self) -> Result<(), SetupError> {
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
        world.lock().schedule(0, Next::Wake(process));
        Ok(())
    }

    /// Starts a producer, unless it is running. One that died begins with its first message, because it kept no notes; one
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
                log.world.lock().count_felt(FaultKind::ProducerRestart);
                let last = messages.len().saturating_sub(SENT_AGAIN);
                publish(&log, number, &messages[last..]).await;
            } else {
                publish(&log, number, &messages).await;
            }
            Ended::Producer { number }
        })));
        self.world.lock().schedule(0, Next::Wake(process));
    }

    /// A live run has no end of its own: it is over when every message is consumed.
    fn stop_when_complete(&self) {
        if !self.is_live() {
            return;
        }
        let mut world = self.world.lock();
        if world.is_all_consumed() && world.strike_when_idle() {
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

    fn process_ended(&mut self, process: usize, ended: Ended) {
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
            Ok(outcome) => self.owner_ended_well(process, outcome, engine),
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
                let at = world.now() + pause;
                world.schedule(at, Next::Start);
            }
        }
    }

    fn owner_ended_well(&mut self, process: usize, outcome: Outcome, engine: Engine) {
        let complete = self.is_complete();
        let mut world = self.world.lock();
        let acknowledged = world.processes[process].acknowledged;
        let reported = same(
            Promise::Truth,
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
            world.violate(Violation::new(Promise::Transparency, what, expected, actual));
            return;
        }
        if lost {
            world.coverage.see(Sight::LostAfterEnd);
        }
        let at = world.now() + world.processes[process].restart_after;
        world.schedule(at, Next::Start);
    }

    fn check_end(&self) -> Result<(), Violation> {
        let Some((outcome, engine)) = &self.finished else { return Ok(()) };
        let Self { subject, reference, world, config, .. } = self;
        end::End { subject: *subject, reference, world, config, outcome, engine }.check()
    }

    /// Breaks LIVENESS, and says who waits for what.
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
        world.violate(Violation::new(Promise::Liveness, what, "the end", waiting));
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
            virtual_ns: world.now(),
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
