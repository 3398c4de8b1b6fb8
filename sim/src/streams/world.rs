//! The world: one store, members, producers, operators and a network between them, on one virtual clock.

use silvertine_streams::Streams;

use super::{
    Subject, end,
    fault::Counts,
    members::Members,
    network::{Answered, Network},
    op::Client,
    operators::Operators,
    plan::{Plan, SECOND},
    process::Arrival,
    producers::Producers,
    promise::Checked,
    server::Server,
    stage::{Event, Stage},
    strikes,
    trace::{Trace, What, Who},
    witness::Witness,
};

pub(super) struct World<'a, S> {
    stage: Stage<'a>,
    network: Network<'a, S>,
    members: Members,
    producers: Producers,
    operators: Operators,
}

impl<'a, S: Streams> World<'a, S> {
    pub(super) fn new(plan: &'a Plan, subject: Subject<'a, S>, keep_all: bool) -> Self {
        let mut stage = Stage::new(plan, keep_all);
        let network = Network::new(Server::new(plan, subject), plan.seed);
        let producers = Producers::new(plan, &mut stage);
        for (at, strike) in plan.strikes.iter().enumerate() {
            stage.at(strike.at_ns, Event::Strike(at));
        }
        stage.at(plan.heals_ns, Event::Heal);
        let members = Members::new(&mut stage);
        Self { stage, network, members, producers, operators: Operators::default() }
    }

    pub(super) const fn witness(&self) -> &Witness {
        &self.network.server.witness
    }

    /// What happened, how often each fault and state was seen, and the virtual time that passed, in nanoseconds.
    pub(super) fn into_record(self) -> (Trace, Counts, u64) {
        let now_ns = self.stage.now_ns();
        (self.stage.trace, self.stage.counts, now_ns)
    }

    /// Runs until everything has come to rest and every member has left.
    pub(super) fn run(&mut self) -> Checked {
        self.network.server.declare()?;
        let rest_by_ns = rest_by_ns(self.stage.plan);
        loop {
            if !self.stage.closing && self.is_at_rest() {
                self.stage.closing = true;
                self.members.close(&mut self.stage);
            }
            if self.stage.closing && self.network.is_quiet() && self.members.are_gone() {
                return end::check(&mut self.network.server, &mut self.stage);
            }
            let Some(event) = self.stage.next() else {
                return self.stuck("nothing is going to happen any more");
            };
            if self.stage.now_ns() > rest_by_ns {
                return self.stuck("time is up");
            }
            self.happen(event)?;
        }
    }

    fn is_at_rest(&self) -> bool {
        self.stage.healed
            && self.network.is_quiet()
            && self.witness().unfinished() == 0
            && self.producers.are_done()
            && self.network.only_members_wait()
    }

    fn stuck(&self, why: &str) -> Checked {
        Err(end::stuck(why, self.witness(), &self.members.processes, self.stage.now_ns()))
    }

    fn happen(&mut self, event: Event) -> Checked {
        let Self { stage, network, members, producers, operators } = self;
        match event {
            Event::Arrive(op) => network.arrive(op, stage),
            Event::Answer(op) => match network.answer(op, stage) {
                Some(answered) => self.tell(answered),
                None => Ok(()),
            },
            Event::WaitOver(op) => {
                network.wait_over(op, stage);
                Ok(())
            }
            Event::Wake(process) => members.reach(process, Arrival::Wake, network, stage),
            Event::HandlerEnds(process, run) => {
                members.reach(process, Arrival::HandlerEnds(run), network, stage)
            }
            Event::Strike(at) => {
                let strike = stage.plan.strikes[at];
                strikes::strike(strike, members, operators, network, stage)
            }
            Event::Start(slot) => members.start(slot, network, stage),
            Event::Resume(process) => members.resume(process, network, stage),
            Event::Produce(producer) => {
                producers.produce(producer, network, stage);
                Ok(())
            }
            Event::MustHaveLeft(process) => members.must_have_left(process, stage.now_ns()),
            Event::Heal => {
                self.heal();
                Ok(())
            }
            Event::HealthyMustBeDone => end::healthy_are_done(stage.plan, &network.server.witness),
        }
    }

    /// Tells a client what came of its request.
    fn tell(&mut self, answered: Answered) -> Checked {
        let Self { stage, network, members, producers, operators } = self;
        let Answered { client, request, result } = answered;
        match client {
            Client::Member(process) => {
                return members.answered(process as usize, request, result, network, stage);
            }
            Client::Producer(producer) => {
                producers.answered(producer as usize, result.is_ok(), network, stage);
            }
            Client::Operator(operator) => {
                operators.answered(operator as usize, request, result, network, stage);
            }
        }
        Ok(())
    }

    /// Faults end; from here on retries must be punctual.
    fn heal(&mut self) {
        let Self { stage, network, .. } = self;
        stage.healed = true;
        stage.note(Who::World, What::Heals);
        network.server.heal();
        let (now, late_max_ns) = (stage.store_time(), late_max_ns(stage.plan));
        for group in &mut network.server.witness.groups {
            group.punctual = Some((now, late_max_ns));
        }
        stage.at(stage.now_ns() + late_max_ns, Event::HealthyMustBeDone);
    }
}

/// When everything must have come to rest.
fn rest_by_ns(plan: &Plan) -> u64 {
    let reclaim_ns = plan.group(0).reclaim_after.as_nanos();
    plan.heals_ns
        + plan.set_back_ns()
        + 120 * SECOND
        + plan.killers() * 12 * (reclaim_ns + 3 * SECOND)
}

/// How late a retry may be once faults have ended: the store's clock reaches again what it read, a dead member is noticed, a handler runs into its time-out, a
/// circuit closes again, and processes that a message kills come back.
fn late_max_ns(plan: &Plan) -> u64 {
    let group = plan.group(0);
    let circuit = group.circuit.reset_after.as_nanos();
    let once = group.reclaim_after.as_nanos() + group.handler_timeout.as_nanos() + circuit;
    20 * SECOND
        + plan.set_back_ns()
        + 4 * once
        + plan.killers() * 8 * (group.reclaim_after.as_nanos() + 3 * SECOND)
}
