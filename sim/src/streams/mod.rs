//! The worker plane under faults: members, producers and operators on one store of streams, on a virtual clock.
//!
//! A [`Plan`] drawn from a seed says who there is, what handlers make of each message, what becomes of requests and
//! what strikes when. [`simulate`] runs it: the members are the product's own state machines
//! ([`MemberMachine`](silvertine_streams::MemberMachine)), the store is the product's own too, and everything between them is
//! simulated. A witness is told what the store was told and compares every answer; when faults have ended,
//! everything must come to rest.

mod counterexample;
mod end;
pub mod fault;
mod handlers;
mod members;
mod network;
mod op;
mod operators;
mod plan;
mod process;
mod producers;
pub mod promise;
mod report;
mod server;
mod stage;
mod strikes;
mod trace;
mod witness;
mod world;

use silvertine_streams::{MessageId, Streams};

use self::world::World;
pub use self::{
    counterexample::Counterexample,
    op::OpKind,
    plan::{Plan, PlanError},
    report::Report,
    trace::{Happened, What, Who},
};
use crate::kernel::shrink::{Budget, shrink};

/// A store under faults: how an empty one is made, and how somebody damages it.
pub struct Subject<'a, S> {
    /// Makes an empty store that keeps the topology of the plan. Called once more at each failover, since the server that takes
    /// over is built from the writes that it has seen.
    pub open: &'a dyn Fn(&Plan) -> S,
    /// Removes a message as a stranger would who has access to the store's files.
    pub delete: &'a dyn Fn(&S, &MessageId),
}

impl<S> Clone for Subject<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Subject<'_, S> {}

/// Runs a plan.
///
/// # Panics
/// When the plan does not [check out](Plan::check), as those that are drawn do.
pub fn simulate<S: Streams>(plan: &Plan, subject: Subject<'_, S>) -> Report {
    run(plan, subject, false)
}

/// Runs a plan and keeps all that happens, to find where two runs part.
///
/// # Panics
/// When the plan does not [check out](Plan::check).
pub fn simulate_keeping_all<S: Streams>(plan: &Plan, subject: Subject<'_, S>) -> Report {
    run(plan, subject, true)
}

fn run<S: Streams>(plan: &Plan, subject: Subject<'_, S>, keep_all: bool) -> Report {
    if let Err(why) = plan.check() {
        panic!("the plan makes no sense: {why}");
    }
    let mut world = World::new(plan, subject, keep_all);
    let violation = world.run().err();
    let messages = world.witness().numbers;
    let (trace, counts, virtual_ns) = world.into_record();
    Report { seed: plan.seed, trace, virtual_ns, messages, counts, violation }
}

/// The smallest plan that breaks the same promise, and what it does.
pub fn shrink_failure<S: Streams>(
    drawn: &Plan,
    subject: Subject<'_, S>,
    promise: promise::Promise,
    budget: Budget<'_>,
) -> Counterexample {
    let plan = shrink(drawn, &(), budget, &mut |plan| {
        let broken = simulate(plan, subject).violation;
        broken.is_some_and(|broken| broken.promise == promise)
    });
    let report = simulate(&plan, subject);
    Counterexample { drawn: drawn.clone(), plan, report }
}
