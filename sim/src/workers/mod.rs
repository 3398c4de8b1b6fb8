//! The worker plane under faults: members, producers and operators on one store of streams, on a virtual clock.
//!
//! A [`Plan`] drawn from a seed says who there is, what handlers make of each message, what becomes of requests and
//! what strikes when. [`simulate`] runs it: the members are the product's own state machines
//! ([`MemberMachine`](silvertine_streams::MemberMachine)), the store is the product's own too, and everything between them is
//! simulated. A witness is told what the store was told and compares every answer; when faults have healed,
//! everything must come to rest.

mod end;
pub mod fault;
mod group;
mod member;
mod op;
mod plan;
pub mod promise;
mod report;
mod trace;
mod witness;
mod world;

use silvertine_streams::{MessageId, Streams};

use self::world::World;
pub use self::{
    plan::Plan,
    report::{Failure, Report},
    trace::Happened,
};

/// Runs a plan on `store`, which must be empty and keep the plan's topology. `delete` removes a message from it as a stranger
/// would who has access to its files.
pub fn simulate<S: Streams>(plan: &Plan, store: S, delete: &dyn Fn(&S, &MessageId)) -> Report {
    let mut world = World::new(plan, store, delete);
    let violation = world.run().err();
    let (steps, hash) = (world.trace.steps(), world.trace.hash());
    Report {
        seed: plan.seed,
        hash,
        steps,
        virtual_ns: world.now_ns,
        messages: world.witness.numbers,
        counts: world.witness.counts.clone(),
        violation,
        tail: world.trace.into_tail(),
    }
}
