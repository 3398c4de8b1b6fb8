//! The worker plane: everything that does I/O takes messages off named streams as a competing consumer.
//!
//! A [store of streams](Streams) keeps messages and promises L7. A member of a group is driven by
//! a [`Core`]: a state machine without I/O that is told what happened and says what to do next, so the same logic
//! runs on a real runtime and in the simulator.

mod core;
pub mod dead;
mod failure;
pub mod message;
mod name;
mod retry;
mod route;
mod streams;
mod topology;

pub use self::{
    core::{Action, Core, CoreConfig, CoreStats, Outcome, Work},
    dead::{Amendment, DeadChange, DeadLetter, DeadState, Reason, Status, Story},
    failure::{Class, Classify, Failure},
    message::{Message, MessageError, Publication},
    name::{ConsumerName, GroupName, NameError, StreamName},
    retry::{Next, RetryPolicy},
    route::{Condition, Route, Rule},
    streams::{
        Delivery, GroupStats, Member, MessageId, Poll, Polled, Regrouped, Settled, Settlement,
        StreamStats, Streams, Tries, Verdict, Why,
    },
    topology::{
        Alerts, CircuitSpec, GroupSpec, Naming, Start, StreamSpec, Topology, TopologyError, Trim,
        WhenFull,
    },
};
