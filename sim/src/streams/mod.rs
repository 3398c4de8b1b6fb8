//! The worker plane under faults: members, producers and operators on one store of streams, on a virtual clock.
//!
//! A [`Plan`] drawn from a seed says who there is, what handlers make of each message, what becomes of requests and
//! what strikes when. [`simulate`] runs it: the members are the product's own state machines
//! ([`Core`](silvertine_streams::Core)), the store is the product's own too, and everything between them is
//! simulated. A witness is told what the store was told and compares every answer; when faults have healed,
//! everything must come to rest.

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
    plan::Plan,
    report::{Failure, Report},
    trace::Happened,
};

/// Runs a plan on `store`, which must be empty and keep the plan's topology. `delete` removes a message from it as a stranger
/// would who has access to its files.
pub fn simulate<S: Streams>(plan: &Plan, store: S, delete: &dyn Fn(&S, &MessageId)) -> Report {
    let mut world = World::new(plan, store, delete);
    let violation = world.run().err();
    let messages = world.witness().numbers;
    let stage = world.stage;
    Report {
        seed: plan.seed,
        hash: stage.trace.hash(),
        steps: stage.trace.steps(),
        virtual_ns: stage.now_ns,
        messages,
        counts: stage.counts,
        violation,
        tail: stage.trace.into_tail(),
    }
}
