//! The world: one store, members, producers, operators and a network between them, on one virtual clock.

use std::collections::BTreeMap;

use silvertine_engine::{log::Applied, pos::Pos, time::Nanos};
use silvertine_streams::{
    Action, Amendment, Class, ConsumerName, DeadChange, DeadLetter, DeadState, GroupSpec,
    HandlerFailure, HandlerOutcome, Member, MemberConfig, MemberMachine, Message, MessageId,
    Publication, Status, StoreError, StoreErrorKind, Streams, Work,
};

use super::{
    end,
    fault::Fault,
    member::{Arrival, EPOCH_NS, Ends, Process, Run, Sent, State},
    op::{Answer, Ask, OpKind, Request, execute},
    plan::{MS, Nature, Plan, SECOND, StrikeKind, audit_stream, out_stream, work_stream},
    promise::{Checked, ensure},
    trace::{Trace, What, Who},
    witness::Witness,
};
use crate::kernel::spell;
use silvertine_engine::rng::Rng;

/// A client gives up on a request that has not been answered for so long (and what a poll asked to wait).
const PATIENCE_NS: u64 = SECOND;
/// A request that comes late does so within this time.
const LATE_MAX_NS: u64 = 4 * SECOND;
/// A member that is to leave has left so long after its deadline, whatever the store does.
const DRAIN_SLACK_NS: u64 = 2 * PATIENCE_NS + SECOND;
/// Actions of one member at one moment; more means that it spins.
const ACTIONS_MAX: u32 = 2000;
/// Effects between two comparisons of all counts.
const ACCOUNT_EVERY: u64 = 32;
/// Replays that a run begins at most.
const REPLAYS_MAX: u32 = 20;

pub(super) struct World<'a, S> {
    plan: &'a Plan,
    store: S,
    delete: &'a dyn Fn(&S, &MessageId),
    pub(super) now_ns: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_op: u64,
    next_run: u64,
    net: Rng,
    dice: Rng,
    ops: BTreeMap<u64, Op>,
    /// Polls that the store, or their member, holds until something arrives.
    waiting: Vec<u64>,
    outage_until_ns: u64,
    processes: Vec<Process>,
    /// The process that each member is at the moment, with the group's place.
    slots: Vec<(usize, usize)>,
    names: u64,
    producers: Vec<Producer>,
    operators: Vec<Operator>,
    replays: u32,
    handled: BTreeMap<(usize, usize), u32>,
    healed: bool,
    closing: bool,
    effects: u64,
    late: u32,
    pub(super) witness: Witness,
    pub(super) trace: Trace,
}

enum Event {
    /// A request arrives at the store.
    Arrive(u64),
    /// An answer, or the end of patience, reaches the client.
    Answer(u64),
    /// A poll has waited long enough.
    WaitOver(u64),
    ToProcess(usize, Arrival),
    Strike(usize),
    Restart(usize),
    Resume(usize),
    Produce(usize),
    Drained(usize),
    Heal,
    HealthyDone,
}

struct Op {
    from: From,
    request: Request,
    kind: OpKind,
    answer: Option<Result<Answer, StoreError>>,
    /// What the client gets whatever the store says.
    instead: Option<StoreError>,
    /// Its effect comes after its client has given up.
    late: bool,
    sent: Option<Sent>,
    settled: bool,
}

#[derive(Clone, Copy)]
enum From {
    Process(usize),
    Producer(usize),
    Operator(usize),
}

#[derive(Default)]
struct Producer {
    sends: Vec<usize>,
    next: usize,
    batch: usize,
}

struct Operator {
    draw: u64,
    attempts: u32,
    contended: bool,
}

fn error(operation: &'static str, applied: Applied, why: &str) -> StoreError {
    let kind = StoreErrorKind::Unavailable { why: why.to_owned() };
    StoreError { kind, applied, operation, store: "simulated".to_owned() }
}

impl<'a, S: Streams> World<'a, S> {
    pub(super) fn new(plan: &'a Plan, store: S, delete: &'a dyn Fn(&S, &MessageId)) -> Self {
        let producers = 1 + plan.sends.iter().map(|send| send.producer).max().unwrap_or(0);
        let mut world = Self {
            plan,
            store,
            delete,
            now_ns: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            next_op: 0,
            next_run: 0,
            net: Rng::new(plan.seed ^ 0x4e45_5457),
            dice: Rng::new(plan.seed ^ 0x4449_4345),
            ops: BTreeMap::new(),
            waiting: Vec::new(),
            outage_until_ns: 0,
            processes: Vec::new(),
            slots: Vec::new(),
            names: 0,
            producers: (0..producers).map(|_| Producer::default()).collect(),
            operators: Vec::new(),
            replays: 0,
            handled: BTreeMap::new(),
            healed: false,
            closing: false,
            effects: 0,
            late: 0,
            witness: Witness::new(&plan.topology, plan.has_silence()),
            trace: Trace::default(),
        };
        for (at, send) in plan.sends.iter().enumerate() {
            world.producers[send.producer].sends.push(at);
        }
        for producer in 0..producers {
            world.at(0, Event::Produce(producer));
        }
        for (at, strike) in plan.strikes.iter().enumerate() {
            world.at(strike.at_ns, Event::Strike(at));
        }
        world.at(plan.heals_ns, Event::Heal);
        for (group, members) in plan.members.iter().enumerate() {
            for _ in 0..*members {
                world.slots.push((group, usize::MAX));
                world.at(0, Event::Restart(world.slots.len() - 1));
            }
        }
        world
    }

    /// When everything must have come to rest.
    fn rest_by_ns(&self) -> u64 {
        let reclaim_ns = self.group(0).reclaim_after.as_nanos();
        let killers = self.plan.killers();
        self.plan.heals_ns + 120 * SECOND + killers * 12 * (reclaim_ns + 3 * SECOND)
    }

    /// How late a retry may be once faults have healed: a dead member is noticed, a handler runs into its time-out, a
    /// circuit closes again, and processes that a message kills come back.
    fn late_max_ns(&self) -> u64 {
        let group = self.group(0);
        let circuit = group.circuit.reset_after.as_nanos();
        let once = group.reclaim_after.as_nanos() + group.handler_timeout.as_nanos() + circuit;
        20 * SECOND
            + 4 * once
            + self.plan.killers() * 8 * (group.reclaim_after.as_nanos() + 3 * SECOND)
    }

    fn group(&self, at: usize) -> &GroupSpec {
        &self.plan.topology.streams[0].groups[at]
    }

    fn at(&mut self, time_ns: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((time_ns.max(self.now_ns), self.next_event), event);
    }

    fn store_time(&self) -> Nanos {
        Nanos(EPOCH_NS + self.now_ns)
    }

    fn note(&mut self, who: Who, what: What) {
        self.trace.note(self.now_ns, who, what);
    }

    fn strike(&mut self, who: Who, fault: Fault) {
        self.witness.counts.note(fault);
        self.note(who, What::Struck(fault));
    }

    /// Runs until everything has come to rest and every member has left.
    pub(super) fn run(&mut self) -> Checked {
        let declared = silvertine_engine::executor::block_on(self.store.declare(self.store_time()));
        ensure!(declared.is_ok(), Told, "declare fails: {declared:?}");
        let rest_by_ns = self.rest_by_ns();
        loop {
            if !self.closing && self.is_at_rest() {
                self.close();
            }
            if self.closing
                && self.late == 0
                && self.slots.iter().all(|&(_, process)| self.is_gone(process))
            {
                return self.finish();
            }
            let Some(((time_ns, _), event)) = self.queue.pop_first() else {
                return self.stuck("nothing is going to happen any more");
            };
            self.now_ns = time_ns;
            if time_ns > rest_by_ns {
                return self.stuck("time is up");
            }
            self.happen(event)?;
        }
    }

    fn is_gone(&self, process: usize) -> bool {
        self.processes.get(process).is_some_and(Process::is_gone)
    }

    fn is_at_rest(&self) -> bool {
        self.healed
            && self.late == 0
            && self.witness.unfinished() == 0
            && self.producers.iter().all(|producer| producer.next == producer.sends.len())
            && self.ops.values().all(|op| matches!(op.from, From::Process(_)))
    }

    /// All is done: everybody leaves.
    fn close(&mut self) {
        self.closing = true;
        for slot in 0..self.slots.len() {
            let process = self.slots[slot].1;
            if process != usize::MAX && !self.is_gone(process) {
                self.drain(process, SECOND);
            }
        }
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Arrive(op) => self.arrive(op)?,
            Event::Answer(op) => self.answer(op)?,
            Event::WaitOver(op) => {
                if let Some(at) = self.waiting.iter().position(|&waiting| waiting == op) {
                    self.waiting.remove(at);
                    self.reply(op);
                }
            }
            Event::ToProcess(process, arrival) => self.reach(process, arrival)?,
            Event::Strike(at) => self.struck(at)?,
            Event::Restart(slot) => self.start(slot)?,
            Event::Resume(process) => {
                if self.processes[process].state == State::Paused {
                    self.processes[process].state = State::Up;
                    self.note(Who::Member(process as u32), What::Resumes);
                    let now_ns = self.now_ns;
                    if let Some(by_ns) = &mut self.processes[process].drains_by_ns {
                        // It could not leave while it stood still.
                        *by_ns = now_ns.max(*by_ns);
                        let by_ns = *by_ns;
                        self.at(by_ns + DRAIN_SLACK_NS, Event::Drained(process));
                    }
                    while let Some(arrival) = self.processes[process].inbox.pop_front() {
                        self.reach(process, arrival)?;
                    }
                    self.reach(process, Arrival::Wake)?;
                }
            }
            Event::Produce(producer) => self.produce(producer),
            Event::Drained(process) => {
                let one = &self.processes[process];
                if one.drains_by_ns.is_some_and(|by| by + DRAIN_SLACK_NS <= self.now_ns)
                    && !one.is_gone()
                {
                    let by = spell::clock(one.drains_by_ns.unwrap_or_default());
                    let holds = one.core.in_flight();
                    ensure!(
                        one.state == State::Paused,
                        Drained,
                        "p{process} was to leave by {by} and is still there; it holds {holds}"
                    );
                }
            }
            Event::Heal => {
                self.healed = true;
                self.outage_until_ns = 0;
                self.note(Who::World, What::Heals);
                let (now, late_max_ns) = (self.store_time(), self.late_max_ns());
                for group in &mut self.witness.groups {
                    group.punctual = Some((now, late_max_ns));
                }
                self.at(self.now_ns + late_max_ns, Event::HealthyDone);
            }
            Event::HealthyDone => end::healthy_are_done(self.plan, &self.witness)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> Checked {
        let now = self.store_time();
        end::check(self.plan, &self.store, &mut self.witness, now)
    }

    fn stuck(&self, why: &str) -> Checked {
        Err(end::stuck(why, &self.witness, &self.processes, self.now_ns))
    }

    // Members.

    fn start(&mut self, slot: usize) -> Checked {
        if self.closing {
            return Ok(());
        }
        let (group, before) = self.slots[slot];
        let renamed = self.dice.below(100) < self.plan.rename_percent;
        let consumer = match self.processes.get(before) {
            Some(before) if !renamed => before.member.consumer.clone(),
            before => {
                let again = before.is_some();
                self.names += 1;
                if again {
                    self.strike(Who::World, Fault::Renamed);
                }
                ConsumerName::new(&format!("m{}", self.names)).expect("a name")
            }
        };
        let spec = self.group(group).clone();
        let stream = &self.plan.topology.streams[0];
        let member = Member { stream: stream.name.clone(), group: spec.name.clone(), consumer };
        let retry = spec.retry.clone().unwrap_or_else(|| stream.retry.clone());
        let skew_ns = match self.plan.skew_ns {
            0 => 0,
            most => self.dice.below(2 * most) as i64 - most as i64,
        };
        let config = MemberConfig::new(member.clone(), spec, retry).with_handler("simulated", "1");
        let process = self.processes.len();
        let now = Nanos((EPOCH_NS + self.now_ns).saturating_add_signed(skew_ns));
        self.processes.push(Process::new(slot, member, MemberMachine::new(config, now), skew_ns));
        self.slots[slot].1 = process;
        self.note(Who::Member(process as u32), What::Starts(self.names));
        if skew_ns != 0 {
            self.strike(Who::Member(process as u32), Fault::Skew);
        }
        self.pump(process)
    }

    /// Something reaches a process, or waits until it goes on.
    fn reach(&mut self, process: usize, arrival: Arrival) -> Checked {
        let one = &mut self.processes[process];
        match one.state {
            State::Dead | State::Stopped => return Ok(()),
            State::Paused => {
                one.inbox.push_back(arrival);
                return Ok(());
            }
            State::Up => {}
        }
        match arrival {
            Arrival::Wake => {}
            Arrival::Answer(sent, answer) => {
                let work = one.answered(sent, answer, self.now_ns);
                for work in work {
                    self.handle(process, work)?;
                }
            }
            Arrival::Ended(run) => {
                if !self.ended(process, run) {
                    return Ok(());
                }
            }
        }
        self.pump(process)
    }

    /// Does what a member's state machine wants done.
    fn pump(&mut self, process: usize) -> Checked {
        for actions in 0.. {
            ensure!(actions < ACTIONS_MAX, Calm, "p{process} does {ACTIONS_MAX} things at once");
            if self.processes[process].is_gone() {
                return Ok(());
            }
            let one = &mut self.processes[process];
            let now = one.clock(self.now_ns);
            let Some(action) = one.core.next(now) else { break };
            self.perform(process, action)?;
        }
        let now_ns = self.now_ns;
        let one = &mut self.processes[process];
        let stats = one.core.stats();
        let opened = stats.circuit_opened > one.circuit_opened;
        let closed = one.core.circuit_is_closed() && !one.circuit_was_closed;
        one.circuit_opened = stats.circuit_opened;
        one.circuit_was_closed = one.core.circuit_is_closed();
        let now = one.clock(now_ns);
        let wake = one.core.wake_at(now);
        ensure!(
            wake > now,
            Calm,
            "p{process} has nothing to do and wants to be asked again at once"
        );
        let wake_ns = one.when(wake);
        if one.wakes_ns.is_none_or(|wakes| wakes <= now_ns || wake_ns < wakes) {
            one.wakes_ns = Some(wake_ns);
            self.at(wake_ns, Event::ToProcess(process, Arrival::Wake));
        }
        if opened {
            self.strike(Who::Member(process as u32), Fault::Opened);
        }
        if closed {
            self.strike(Who::Member(process as u32), Fault::Closed);
        }
        Ok(())
    }

    fn perform(&mut self, process: usize, action: Action) -> Checked {
        let member = self.processes[process].member.clone();
        let from = From::Process(process);
        match action {
            Action::Fetch { limit, wait, scope, lanes } => {
                let group = self.slots[self.processes[process].slot].0;
                let reclaim_after = self.group(group).reclaim_after;
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                let ask = Ask { limit, wait_ns, scope, lanes, reclaim_after };
                self.send(from, Request::Fetch { member, ask }, Some(Sent::Fetch));
            }
            Action::Begin(tries) => {
                let ids: Vec<_> = tries.iter().map(|(id, _)| id.clone()).collect();
                self.processes[process].beginning.extend(ids.iter().cloned());
                self.send(from, Request::Begin { member, tries }, Some(Sent::Begin(ids)));
            }
            Action::Handle(work) => self.handle(process, work)?,
            Action::Settle(settlements) => {
                let sent = Some(Sent::Settle(settlements.clone()));
                self.send(from, Request::Settle { member, settlements }, sent);
            }
            Action::Extend(held) => {
                self.send(from, Request::Extend { member, held }, Some(Sent::Extend));
            }
            Action::Abandon(ids) => {
                self.strike(Who::Member(process as u32), Fault::Abandoned);
                self.processes[process].runs.retain(|_, run| !ids.contains(&run.id));
            }
            Action::Leave => self.send(from, Request::Leave { member }, Some(Sent::Leave)),
            Action::Stop => {
                self.processes[process].state = State::Stopped;
                self.note(Who::Member(process as u32), What::Stops);
                ensure!(
                    self.processes[process].runs.is_empty(),
                    Drained,
                    "p{process} stops while handlers run"
                );
                let pause_ns = self.dice.below(SECOND);
                self.at(self.now_ns + pause_ns, Event::Restart(self.processes[process].slot));
            }
        }
        Ok(())
    }

    /// Starts a handler; what will come of it is drawn here.
    fn handle(&mut self, process: usize, work: Work) -> Checked {
        let one = &self.processes[process];
        let group = self.slots[one.slot].0;
        let now = self.store_time();
        let spec = self.group(group);
        let (in_flight, timeout_ns) = (spec.in_flight, spec.handler_timeout.as_nanos());
        let window_ns = spec.idempotency_window.as_nanos();
        ensure!(
            one.runs.len() < in_flight,
            Bounded,
            "p{process} handles more than {in_flight} messages"
        );
        let holder = &self.witness.groups[group];
        let Some(entry) = holder.entries.get(&work.id) else {
            ensure!(false, Told, "p{process} handles {}, which was never published", work.id);
            return Ok(());
        };
        let ours = holder.holds(&work.id, &one.member);
        ensure!(
            ours || entry.ghosted,
            Settled,
            "p{process} starts to handle {}, although it is {:?} and nothing came late",
            work.id,
            entry.place
        );
        let name = work.name();
        let told = one.known_done.get(&name).is_some_and(|at| at + window_ns >= self.now_ns);
        ensure!(
            !told || !holder.is_done(&name, now),
            Settled,
            "p{process} starts to handle {} although it was told that the key {name} is done",
            work.id
        );
        let number = entry.number;
        self.note(Who::Member(process as u32), What::Handles(number));
        let (ends, takes_ns) = match end::label(&work.message) {
            Some(label) => {
                let times = self.handled.entry((group, label)).or_default();
                *times += 1;
                let times = *times;
                self.draw_end(label, times, timeout_ns, work.redrives)
            }
            // What was trimmed before anybody saw it is replayed as nothing at all.
            None => (Ends::Undecodable, MS),
        };
        self.next_run += 1;
        let run = Run { id: work.id, key: name, number, ends };
        self.processes[process].runs.insert(self.next_run, run);
        self.at(self.now_ns + takes_ns, Event::ToProcess(process, Arrival::Ended(self.next_run)));
        Ok(())
    }

    fn draw_end(&mut self, label: usize, times: u32, timeout_ns: u64, replays: u32) -> (Ends, u64) {
        let of = &self.plan.labels[label];
        let done = Ends::Done { label, invalid: false };
        // Somebody mended what was wrong before it was replayed; not always.
        let nature = match of.nature {
            _ if replays > 0 && self.dice.below(2) == 0 => Nature::Well,
            nature => nature,
        };
        let ends = match nature {
            Nature::Well => done,
            Nature::Transient(most) if times <= most && !self.healed => Ends::Transient,
            Nature::Down if !self.healed => Ends::Transient,
            Nature::Transient(_) | Nature::Down => done,
            Nature::Permanent => Ends::Permanent,
            Nature::Undecodable => Ends::Undecodable,
            Nature::Panics => Ends::Panics,
            Nature::TimesOut(most) if times <= most && !self.healed => Ends::TimedOut,
            Nature::TimesOut(_) => done,
            Nature::Invalid => Ends::Done { label, invalid: true },
            Nature::Kills(most) if times <= most => Ends::Kills,
            Nature::Kills(_) => done,
        };
        let takes_ns = match ends {
            Ends::TimedOut => timeout_ns,
            _ => of.work_ns.min(timeout_ns - 1),
        };
        (ends, takes_ns)
    }

    /// A handler ends. Returns whether its process is still there.
    fn ended(&mut self, process: usize, run: u64) -> bool {
        let Some(run) = self.processes[process].runs.remove(&run) else { return true };
        let who = Who::Member(process as u32);
        let group = self.slots[self.processes[process].slot].0;
        if run.ends == Ends::Kills {
            self.note(who, What::Ended(run.number, 5));
            self.strike(who, Fault::Killer);
            self.processes[process].runs.insert(u64::MAX, run);
            self.die(process);
            return false;
        }
        let seen = self.witness.groups[group].entries.get_mut(&run.id).map(|entry| &mut entry.seen);
        let mut unseen = super::group::Seen::default();
        let seen = seen.unwrap_or(&mut unseen);
        let text = "as drawn";
        let (outcome, code, fault) = match &run.ends {
            Ends::Done { label, invalid } => {
                seen.permanent += u32::from(*invalid);
                let fault = invalid.then_some(Fault::InvalidOutput);
                (HandlerOutcome::Done(self.outputs(group, &run.key, *label, *invalid)), 0, fault)
            }
            Ends::Transient => {
                seen.transient += 1;
                let failure = HandlerFailure::new(Class::Transient, "down", text);
                (HandlerOutcome::Failed(failure), 1, Some(Fault::Transient))
            }
            Ends::Permanent => {
                seen.permanent += 1;
                let failure = HandlerFailure::new(Class::Permanent, "refused", text);
                (HandlerOutcome::Failed(failure), 1, Some(Fault::Permanent))
            }
            Ends::Undecodable => {
                seen.undecodable += 1;
                (HandlerOutcome::Undecodable(text.to_owned()), 2, Some(Fault::Undecodable))
            }
            Ends::Panics => {
                seen.panicked += 1;
                (HandlerOutcome::Panicked(text.to_owned()), 3, Some(Fault::Panicked))
            }
            Ends::TimedOut | Ends::Kills => {
                seen.transient += 1;
                (HandlerOutcome::TimedOut, 4, Some(Fault::TimedOut))
            }
        };
        if let Some(fault) = fault {
            self.witness.counts.note(fault);
        }
        self.note(who, What::Ended(run.number, code));
        let one = &mut self.processes[process];
        let now = one.clock(self.now_ns);
        one.core.handled(&run.id, outcome, now);
        true
    }

    fn outputs(&self, group: usize, key: &str, label: usize, invalid: bool) -> Vec<Publication> {
        let of = &self.plan.labels[label];
        let group = &self.group(group).name;
        let one = |n| {
            let data = format!("{group} {key} {n}");
            Publication::new(out_stream(), Message::default().with("data", data))
        };
        let broken = invalid.then(|| Publication::new(out_stream(), Message::default()));
        (0..of.outputs).map(one).chain(broken).collect()
    }

    fn die(&mut self, process: usize) {
        let who = Who::Member(process as u32);
        self.note(who, What::Dies);
        let one = &mut self.processes[process];
        one.state = State::Dead;
        let slot = one.slot;
        let group = self.slots[slot].0;
        let runs = std::mem::take(&mut one.runs).into_values().map(|run| run.id);
        let begun = std::mem::take(&mut one.beginning);
        for id in runs.chain(begun) {
            if let Some(entry) = self.witness.groups[group].entries.get_mut(&id) {
                entry.seen.deaths += 1;
            }
        }
        // A server mostly learns that a connection is gone.
        let mut gone = Vec::new();
        for &op in &self.waiting {
            let from_it = matches!(self.ops[&op].from, From::Process(from) if from == process);
            if from_it && self.dice.below(4) > 0 {
                gone.push(op);
            }
        }
        self.waiting.retain(|op| !gone.contains(op));
        let pause_ns = MS * [10, 100, 1000, 2500][self.dice.below(4) as usize];
        self.at(self.now_ns + pause_ns, Event::Restart(slot));
    }

    fn drain(&mut self, process: usize, grace_ns: u64) {
        self.note(Who::Member(process as u32), What::Drains);
        let by_ns = self.now_ns + grace_ns;
        let one = &mut self.processes[process];
        let deadline = one.clock(by_ns);
        one.core.drain(deadline);
        if one.drains_by_ns.is_none() {
            one.drains_by_ns = Some(by_ns);
            self.at(by_ns + DRAIN_SLACK_NS, Event::Drained(process));
        }
        self.at(self.now_ns, Event::ToProcess(process, Arrival::Wake));
    }

    // The network and the store.

    /// Sends a request; what becomes of it is drawn here.
    fn send(&mut self, from: From, request: Request, sent: Option<Sent>) {
        self.next_op += 1;
        let (op, kind) = (self.next_op, request.kind());
        self.note(who(from), What::Asks(kind, op));
        let fates = self.plan.fates;
        let waits_ns = match &request {
            Request::Fetch { ask, .. } => ask.wait_ns,
            _ => 0,
        };
        let give_up_ns = self.now_ns + waits_ns + PATIENCE_NS;
        let mut arrives_ns = self.now_ns + MS / 10 + self.net.below(MS);
        let (mut instead, mut late, mut takes_effect) = (None, false, true);
        if !self.healed {
            let mut draw = self.net.below(1000);
            let mut falls = |rate: u64| {
                let falls = draw < rate;
                draw = draw.wrapping_sub(rate);
                if !falls && draw > 1000 {
                    draw = 1000;
                }
                falls
            };
            let maybe = || Some(error(kind.name(), Applied::Maybe, "no answer"));
            if falls(fates.lost_request) {
                self.strike(who(from), Fault::LostRequest);
                (instead, takes_effect) = (maybe(), false);
            } else if falls(fates.lost_reply) {
                self.strike(who(from), Fault::LostReply);
                instead = maybe();
            } else if falls(fates.late) {
                self.strike(who(from), Fault::Late);
                (instead, late) = (maybe(), true);
                arrives_ns = give_up_ns + self.net.below(LATE_MAX_NS);
            } else if falls(fates.refused) {
                self.strike(who(from), Fault::Refused);
                instead = Some(error(kind.name(), Applied::No, "refused"));
                takes_effect = false;
            } else if falls(fates.slow) {
                self.strike(who(from), Fault::Slow);
                arrives_ns += self.net.below(PATIENCE_NS * 9 / 10);
            }
        }
        let refused = instead.as_ref().is_some_and(|error| error.applied == Applied::No);
        if instead.is_some() {
            let told_ns = if refused { self.now_ns + MS } else { give_up_ns };
            self.at(told_ns, Event::Answer(op));
        }
        if takes_effect {
            self.at(arrives_ns, Event::Arrive(op));
        }
        self.late += u32::from(late);
        let op_data = Op { from, request, kind, answer: None, instead, late, sent, settled: false };
        self.ops.insert(op, op_data);
    }

    /// A request reaches the store.
    fn arrive(&mut self, op: u64) -> Checked {
        let Some(data) = self.ops.get(&op) else { return Ok(()) };
        self.late -= u32::from(data.late);
        if self.now_ns < self.outage_until_ns {
            if data.instead.is_none() {
                let name = data.kind.name();
                // Half of the time the client is told at once.
                let (applied, pause_ns) = match self.net.below(2) {
                    0 => (Applied::No, MS),
                    _ => (Applied::Maybe, PATIENCE_NS),
                };
                self.ops.get_mut(&op).expect("there").instead =
                    Some(error(name, applied, "outage"));
                self.at(self.now_ns + pause_ns, Event::Answer(op));
            } else if data.settled {
                self.ops.remove(&op);
            }
            return Ok(());
        }
        self.take_effect(op)
    }

    fn take_effect(&mut self, op: u64) -> Checked {
        let now = self.store_time();
        let data = &self.ops[&op];
        let (kind, from) = (data.kind, data.from);
        let of_dead = match from {
            From::Process(process) => self.is_gone(process),
            _ => false,
        };
        // Late is also what an earlier process of the same name left on its way.
        let late = data.late || of_dead || data.settled;
        let result = execute(&self.store, &data.request, now);
        self.note(who(from), What::Takes(kind, op, result.is_ok()));
        if of_dead {
            self.witness.counts.note(Fault::Ghost);
        }
        let checked = self.witness.observe(&self.store, &self.ops[&op].request, &result, now, late);
        for (_, what) in std::mem::take(&mut self.witness.notes) {
            self.note(who(from), what);
        }
        checked?;
        self.effects += 1;
        if self.effects.is_multiple_of(ACCOUNT_EVERY) {
            self.witness.account(&self.store, now)?;
        }
        let data = self.ops.get_mut(&op).expect("there");
        let empty = matches!(&result, Ok(Answer::Fetched(polled)) if polled.deliveries.is_empty());
        let waits_ns = match &data.request {
            Request::Fetch { ask, .. } => ask.wait_ns,
            _ => 0,
        };
        let (rings, answered, settled) =
            (data.request.rings() && result.is_ok(), data.instead.is_some(), data.settled);
        let first_time = data.answer.is_none();
        data.answer = Some(result);
        if settled {
            self.ops.remove(&op);
        } else if !answered {
            if empty && waits_ns > 0 {
                if first_time {
                    self.waiting.push(op);
                    self.at(self.now_ns + waits_ns, Event::WaitOver(op));
                }
            } else {
                self.waiting.retain(|&waiting| waiting != op);
                self.reply(op);
            }
        }
        if rings { self.ring() } else { Ok(()) }
    }

    /// Something may have arrived: polls that wait look again.
    fn ring(&mut self) -> Checked {
        for op in self.waiting.clone() {
            if self.plan.store_waits {
                if self.waiting.contains(&op) {
                    self.take_effect(op)?;
                }
            } else {
                self.waiting.retain(|&waiting| waiting != op);
                self.reply(op);
            }
        }
        Ok(())
    }

    fn reply(&mut self, op: u64) {
        let mut takes_ns = MS / 10 + self.net.below(MS);
        if !self.healed && self.net.below(1000) < self.plan.fates.slow {
            takes_ns += self.net.below(PATIENCE_NS / 2);
        }
        self.at(self.now_ns + takes_ns, Event::Answer(op));
    }

    /// The client hears of its request, or gives up.
    fn answer(&mut self, op: u64) -> Checked {
        let Some(data) = self.ops.get_mut(&op) else { return Ok(()) };
        if data.settled {
            return Ok(());
        }
        let result = match &data.instead {
            Some(error) => Err(error.clone()),
            None => data.answer.clone().expect("it took effect"),
        };
        data.settled = true;
        let (kind, from, sent) = (data.kind, data.from, data.sent.take());
        let request = match from {
            From::Process(_) => None,
            _ => Some(data.request.clone()),
        };
        // What is still on its way stays known.
        let on_its_way = data.late && data.answer.is_none();
        if !on_its_way {
            self.ops.remove(&op);
            self.waiting.retain(|&waiting| waiting != op);
        }
        self.note(who(from), What::Answered(kind, op, result.is_ok()));
        match from {
            From::Process(process) => {
                let sent = sent.expect("a process knows what it asked");
                self.reach(process, Arrival::Answer(sent, result))
            }
            From::Producer(producer) => {
                self.published(producer, result.is_ok());
                Ok(())
            }
            From::Operator(operator) => {
                self.told(operator, &request.expect("kept"), result);
                Ok(())
            }
        }
    }

    // Producers.

    fn produce(&mut self, producer: usize) {
        let now_ns = self.now_ns;
        let one = &self.producers[producer];
        if one.batch > 0 {
            return;
        }
        let Some(&first) = one.sends.get(one.next) else { return };
        if self.plan.sends[first].at_ns > now_ns {
            self.at(self.plan.sends[first].at_ns, Event::Produce(producer));
            return;
        }
        let most = 1 + self.dice.below(3) as usize;
        let one = &self.producers[producer];
        let due = one.sends[one.next..].iter().take(most);
        let due: Vec<usize> =
            due.copied().filter(|&send| self.plan.sends[send].at_ns <= now_ns).collect();
        self.publish(producer, &due);
    }

    fn publish(&mut self, producer: usize, sends: &[usize]) {
        self.producers[producer].batch = sends.len();
        let publications = sends.iter().map(|&send| {
            let label = self.plan.sends[send].label;
            Publication::new(self.plan.stream_of(label), self.plan.message(label))
        });
        let publications = publications.collect();
        for &send in sends {
            let before = self.plan.sends[..send].iter();
            if before.clone().any(|other| other.label == self.plan.sends[send].label) {
                self.strike(Who::Producer(producer as u32), Fault::Twice);
            }
        }
        self.send(From::Producer(producer), Request::Publish(publications), None);
    }

    fn published(&mut self, producer: usize, well: bool) {
        let one = &mut self.producers[producer];
        let batch = std::mem::take(&mut one.batch);
        if well {
            one.next += batch;
            self.produce(producer);
        } else {
            let pause_ns = MS * (20 + self.dice.below(200));
            self.at(self.now_ns + pause_ns, Event::Produce(producer));
        }
    }

    // Operators.

    fn look_at_letters(&mut self, operator: usize) {
        let request = Request::Letters { stream: work_stream(), after: Pos::ZERO };
        self.send(From::Operator(operator), request, None);
    }

    /// The store has answered an operator.
    fn told(&mut self, operator: usize, request: &Request, result: Result<Answer, StoreError>) {
        match (request, result) {
            (_, Ok(Answer::Letters(letters))) => self.send_back(operator, &letters),
            (_, Ok(Answer::Amended(amended))) => {
                for amended in amended {
                    let fault = if amended { Fault::Replay } else { Fault::Contended };
                    self.strike(Who::Operator(operator as u32), fault);
                }
            }
            // It looks before it does anything again.
            _ => {
                let one = &mut self.operators[operator];
                one.attempts += 1;
                if one.attempts < 4 {
                    self.look_at_letters(operator);
                }
            }
        }
    }

    fn send_back(&mut self, operator: usize, letters: &[(Pos, DeadLetter)]) {
        let fresh: Vec<_> = letters.iter().filter(|(_, letter)| Witness::is_new(letter)).collect();
        if fresh.is_empty() || self.replays >= REPLAYS_MAX {
            return;
        }
        let draw = self.operators[operator].draw;
        let first = (draw % fresh.len() as u64) as usize;
        let wanted = 1 + (draw >> 32) as usize % 3;
        let mut amendments = Vec::new();
        for (id, letter) in fresh.into_iter().skip(first).take(wanted) {
            let sent = DeadState {
                status: Status::Redriven,
                redrives: letter.state.redrives + 1,
                note: format!("operator {operator}"),
            };
            let publication =
                Publication::new(letter.redrive_stream(&work_stream()), letter.redrive());
            let change = DeadChange::Send(sent, publication);
            amendments.push(Amendment { id: *id, expected: letter.state.clone(), change });
        }
        self.replays += amendments.len() as u32;
        let told = Message::default().with("data", format!("operator {operator}"));
        let audit = vec![Publication::new(audit_stream(), told)];
        let request = Request::Amend { stream: work_stream(), amendments, audit };
        self.send(From::Operator(operator), request.clone(), None);
        if std::mem::take(&mut self.operators[operator].contended) {
            // A colleague who saw the same page.
            let colleague = self.operators.len();
            self.operators.push(Operator { draw, attempts: 3, contended: false });
            self.send(From::Operator(colleague), request, None);
        }
    }

    // What strikes.

    fn struck(&mut self, at: usize) -> Checked {
        let strike = self.plan.strikes[at];
        let up = |process: &usize| {
            self.processes.get(*process).is_some_and(|one| one.state == State::Up)
        };
        let alive: Vec<usize> = self.slots.iter().map(|slot| slot.1).filter(up).collect();
        let victim = match alive.len() {
            0 => None,
            count => Some(alive[(strike.draw % count as u64) as usize]),
        };
        match (strike.what, victim) {
            (StrikeKind::Crash, Some(victim)) => {
                self.strike(Who::Member(victim as u32), Fault::Crash);
                self.die(victim);
            }
            (StrikeKind::Pause { ns }, Some(victim)) => {
                self.strike(Who::Member(victim as u32), Fault::Pause);
                self.processes[victim].state = State::Paused;
                self.at(self.now_ns + ns, Event::Resume(victim));
            }
            (StrikeKind::Drain { grace_ns }, Some(victim)) => {
                self.strike(Who::Member(victim as u32), Fault::Drain);
                self.drain(victim, grace_ns);
            }
            (StrikeKind::Outage { ns }, _) => {
                self.strike(Who::World, Fault::Outage);
                self.outage_until_ns = self.outage_until_ns.max(self.now_ns + ns);
            }
            (StrikeKind::Stranger, _) => {
                let ids = self.witness.deletable();
                if !ids.is_empty() {
                    let id = &ids[(strike.draw % ids.len() as u64) as usize];
                    self.strike(Who::World, Fault::Stranger);
                    (self.delete)(&self.store, id);
                    self.witness.deleted(id);
                }
            }
            (StrikeKind::Replay { contended }, _) => {
                let operator = self.operators.len();
                self.operators.push(Operator { draw: strike.draw, attempts: 0, contended });
                self.look_at_letters(operator);
            }
            (_, None) => {}
        }
        Ok(())
    }
}

const fn who(from: From) -> Who {
    match from {
        From::Process(process) => Who::Member(process as u32),
        From::Producer(producer) => Who::Producer(producer as u32),
        From::Operator(operator) => Who::Operator(operator as u32),
    }
}
