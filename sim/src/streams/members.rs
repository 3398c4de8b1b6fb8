//! Members: processes that start, work, stand still, leave and die, each around the product's own state machine.

use silvertine_streams::{
    Action, ConsumerName, Member, MemberConfig, MemberMachine, StoreError, Streams, Work,
};

use super::{
    fault::Fault,
    handlers::{self, Handlers},
    network::{Network, PATIENCE_NS},
    op::{Answer, Ask, Client, Request},
    plan::{MS, SECOND},
    process::{Arrival, Ends, Process, State},
    promise::{Checked, ensure},
    stage::{EPOCH_NS, Event, Stage},
    trace::{What, Who},
};
use crate::kernel::{spell, wall_clock::WallClock};

/// The longest that a request takes which does not fail: slow there, and slow back.
const SLOWEST_NS: u64 = PATIENCE_NS * 3 / 2;
/// A member that is to leave has left so long after its deadline, whatever the store does. Behind the deadline come, one
/// after the other, at most four requests: the settlement under way, one more while a fetch is still under way, the
/// release of what that fetch brought, and the leaving.
const DRAIN_SLACK_NS: u64 = 4 * SLOWEST_NS + SECOND / 2;
/// Actions of one member at one moment; more means that it spins.
const ACTIONS_MAX: u32 = 2000;

/// A place for a member: whenever its process has ended, another one starts.
struct Slot {
    group: usize,
    process: Option<usize>,
}

pub(super) struct Members {
    pub(super) processes: Vec<Process>,
    slots: Vec<Slot>,
    /// Names given out so far.
    names: u64,
    handlers: Handlers,
}

const fn who(process: usize) -> Who {
    Who::Member(process as u32)
}

impl Members {
    pub(super) fn new(stage: &mut Stage<'_>) -> Self {
        let mut slots = Vec::new();
        for (group, members) in stage.plan.members.iter().enumerate() {
            for _ in 0..*members {
                stage.at(0, Event::Start(slots.len()));
                slots.push(Slot { group, process: None });
            }
        }
        Self { processes: Vec::new(), slots, names: 0, handlers: Handlers::default() }
    }

    /// Whether every member has started and has stopped or died.
    pub(super) fn are_gone(&self) -> bool {
        let is_gone = |slot: &Slot| slot.process.is_some_and(|at| self.processes[at].is_gone());
        self.slots.iter().all(is_gone)
    }

    /// Processes that are up, in the order of their slots.
    pub(super) fn up(&self) -> Vec<usize> {
        let processes = self.slots.iter().filter_map(|slot| slot.process);
        processes.filter(|&process| self.processes[process].state == State::Up).collect()
    }

    fn group_of(&self, process: usize) -> usize {
        self.slots[self.processes[process].slot].group
    }

    /// All is done: every member is to leave.
    pub(super) fn close(&mut self, stage: &mut Stage<'_>) {
        for slot in 0..self.slots.len() {
            let process = self.slots[slot].process;
            if let Some(process) = process.filter(|&at| !self.processes[at].is_gone()) {
                self.drain(process, SECOND, stage);
            }
        }
    }

    /// A process starts in a slot, under the member's name or another one.
    pub(super) fn start<S: Streams>(
        &mut self,
        slot: usize,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        if stage.closing {
            return Ok(());
        }
        let plan = stage.plan;
        let Slot { group, process: before } = self.slots[slot];
        let renamed = stage.dice.below(100) < plan.rename_percent;
        let consumer = match before {
            Some(before) if !renamed => self.processes[before].member.consumer.clone(),
            before => {
                self.names += 1;
                if before.is_some() {
                    stage.strike(Who::World, Fault::Renamed);
                }
                ConsumerName::new(&format!("m{}", self.names)).expect("a name")
            }
        };
        let spec = plan.group(group).clone();
        let stream = &plan.topology.streams[0];
        let member = Member { stream: stream.name.clone(), group: spec.name.clone(), consumer };
        let retry = spec.retry.clone().unwrap_or_else(|| stream.retry.clone());
        let skew_ns = match plan.skew.as_nanos() {
            0 => 0,
            most => stage.dice.below(2 * most) as i64 - most as i64,
        };
        let clock = WallClock::new(EPOCH_NS).ahead_by(skew_ns);
        let config = MemberConfig::new(member.clone(), spec, retry).with_handler("simulated", "1");
        let process = self.processes.len();
        let core = MemberMachine::new(config, clock.read(stage.now_ns()));
        self.processes.push(Process::new(slot, member, core, clock));
        self.slots[slot].process = Some(process);
        stage.note(who(process), What::Starts(self.names));
        if skew_ns != 0 {
            stage.strike(who(process), Fault::Skew);
        }
        self.act(process, network, stage)
    }

    /// Something reaches a process, or waits until the process goes on.
    pub(super) fn reach<S: Streams>(
        &mut self,
        process: usize,
        arrival: Arrival,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
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
            Arrival::Answer(request, answer) => {
                for work in one.answered(request, answer, stage.now_ns()) {
                    self.handle(process, work, network, stage)?;
                }
            }
            Arrival::HandlerEnds(run) => {
                if !self.handler_ends(process, run, network, stage) {
                    return Ok(());
                }
            }
        }
        self.act(process, network, stage)
    }

    /// The store has answered a process, or has not.
    pub(super) fn answered<S: Streams>(
        &mut self,
        process: usize,
        request: Request,
        result: Result<Answer, StoreError>,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        self.reach(process, Arrival::Answer(request, result), network, stage)
    }

    /// Does what a member's state machine wants done, until there is nothing more to do.
    fn act<S: Streams>(
        &mut self,
        process: usize,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        for actions in 0.. {
            ensure!(actions < ACTIONS_MAX, NoSpin, "p{process} does {ACTIONS_MAX} things at once");
            let one = &mut self.processes[process];
            if one.is_gone() {
                return Ok(());
            }
            let now = one.time(stage.now_ns());
            let Some(action) = one.core.next(now) else { break };
            self.perform(process, action, network, stage)?;
        }
        let one = &mut self.processes[process];
        let stats = one.core.stats();
        let opened = stats.circuit_opened > one.circuit_opened;
        let closed = one.core.circuit_is_closed() && !one.circuit_was_closed;
        one.circuit_opened = stats.circuit_opened;
        one.circuit_was_closed = one.core.circuit_is_closed();
        let now = one.time(stage.now_ns());
        let wake = one.core.wake_at(now);
        ensure!(
            wake > now,
            NoSpin,
            "p{process} has nothing to do and wants to be asked again at once"
        );
        let wake_ns = one.when(wake);
        if one.wakes_ns.is_none_or(|wakes| wakes <= stage.now_ns() || wake_ns < wakes) {
            one.wakes_ns = Some(wake_ns);
            stage.at(wake_ns, Event::Wake(process));
        }
        if opened {
            stage.strike(who(process), Fault::Opened);
        }
        if closed {
            stage.strike(who(process), Fault::Closed);
        }
        Ok(())
    }

    fn perform<S: Streams>(
        &mut self,
        process: usize,
        action: Action,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let client = Client::Member(process as u32);
        let member = self.processes[process].member.clone();
        match action {
            Action::Fetch { limit, wait, scope, lanes } => {
                let reclaim_after = stage.plan.group(self.group_of(process)).reclaim_after;
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                let ask = Ask { limit, wait_ns, scope, lanes, reclaim_after };
                network.send(client, Request::Fetch { member, ask }, stage);
            }
            Action::Begin(tries) => {
                let ids = tries.iter().map(|(id, _)| id.clone());
                self.processes[process].beginning.extend(ids);
                network.send(client, Request::Begin { member, tries }, stage);
            }
            Action::Handle(work) => self.handle(process, work, network, stage)?,
            Action::Settle(settlements) => {
                network.send(client, Request::Settle { member, settlements }, stage);
            }
            Action::Extend(held) => network.send(client, Request::Extend { member, held }, stage),
            Action::Abandon(ids) => {
                stage.strike(client, Fault::Abandoned);
                self.processes[process].runs.retain(|_, run| !ids.contains(&run.id));
            }
            Action::Leave => network.send(client, Request::Leave { member }, stage),
            Action::Stop => {
                let one = &mut self.processes[process];
                one.state = State::Stopped;
                network.close(client);
                stage.note(client, What::Stops);
                ensure!(one.runs.is_empty(), Drained, "p{process} stops while handlers run");
                let pause_ns = stage.dice.below(SECOND);
                stage.at(stage.now_ns() + pause_ns, Event::Start(one.slot));
            }
        }
        Ok(())
    }

    fn handle<S: Streams>(
        &mut self,
        process: usize,
        work: Work,
        network: &Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let group = self.group_of(process);
        let witness = &network.server.witness;
        self.handlers.start(process, &mut self.processes[process], group, work, witness, stage)
    }

    /// A handler ends. Returns whether its process is still there.
    fn handler_ends<S: Streams>(
        &mut self,
        process: usize,
        run: u64,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> bool {
        let group = self.group_of(process);
        let one = &mut self.processes[process];
        if one.runs.get(&run).is_some_and(|run| run.ends == Ends::Kills) {
            handlers::killed(process, &one.runs[&run], stage);
            self.die(process, network, stage);
            return false;
        }
        if let Some(run) = one.runs.remove(&run) {
            let witness = &mut network.server.witness;
            let outcome = handlers::outcome(process, group, &run, witness, stage);
            one.core.handled(&run.id, outcome, one.time(stage.now_ns()));
        }
        true
    }

    /// A process dies with all its handlers; another one starts after a while.
    pub(super) fn die<S: Streams>(
        &mut self,
        process: usize,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        stage.note(who(process), What::Dies);
        let group = self.group_of(process);
        let one = &mut self.processes[process];
        one.state = State::Dead;
        let runs = std::mem::take(&mut one.runs).into_values().map(|run| run.id);
        let beginning = std::mem::take(&mut one.beginning);
        for id in runs.chain(beginning) {
            if let Some(entry) = network.server.witness.groups[group].entries.get_mut(&id) {
                entry.seen.deaths += 1;
            }
        }
        network.hang_up(Client::Member(process as u32), stage);
        let pause_ns = MS * [10, 100, 1000, 2500][stage.dice.below(4) as usize];
        stage.at(stage.now_ns() + pause_ns, Event::Start(one.slot));
    }

    /// A process stands still for a while.
    pub(super) fn pause(&mut self, process: usize, ns: u64, stage: &mut Stage<'_>) {
        self.processes[process].state = State::Paused;
        stage.at(stage.now_ns() + ns, Event::Resume(process));
    }

    /// A process goes on as if it had not stood still.
    pub(super) fn resume<S: Streams>(
        &mut self,
        process: usize,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let one = &mut self.processes[process];
        if one.state != State::Paused {
            return Ok(());
        }
        one.state = State::Up;
        stage.note(who(process), What::Resumes);
        if let Some(by_ns) = &mut one.drains_by_ns {
            // It could not leave while it stood still.
            *by_ns = stage.now_ns().max(*by_ns);
            stage.at(*by_ns + DRAIN_SLACK_NS, Event::MustHaveLeft(process));
        }
        while let Some(arrival) = self.processes[process].inbox.pop_front() {
            self.reach(process, arrival, network, stage)?;
        }
        self.reach(process, Arrival::Wake, network, stage)
    }

    /// A process is to leave within `grace_ns`.
    pub(super) fn drain(&mut self, process: usize, grace_ns: u64, stage: &mut Stage<'_>) {
        stage.note(who(process), What::Drains);
        let by_ns = stage.now_ns() + grace_ns;
        let one = &mut self.processes[process];
        one.core.drain(one.time(by_ns));
        if one.drains_by_ns.is_none() {
            one.drains_by_ns = Some(by_ns);
            stage.at(by_ns + DRAIN_SLACK_NS, Event::MustHaveLeft(process));
        }
        stage.at(stage.now_ns(), Event::Wake(process));
    }

    /// A failover may have undone what members were told is done.
    pub(super) fn forget_what_is_done(&mut self) {
        self.processes.iter_mut().for_each(|process| process.known_done.clear());
    }

    /// Checks that a process that was to leave has left.
    pub(super) fn must_have_left(&self, process: usize, now_ns: u64) -> Checked {
        let one = &self.processes[process];
        let Some(by_ns) = one.drains_by_ns else { return Ok(()) };
        let (due, holds) = (by_ns + DRAIN_SLACK_NS <= now_ns, one.core.in_flight());
        ensure!(
            !due || one.is_gone() || one.state == State::Paused,
            Drained,
            "p{process} was to leave by {} and is still there; it holds {holds}",
            spell::clock(by_ns)
        );
        Ok(())
    }
}
