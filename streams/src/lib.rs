//! The contract of named streams with consumer groups, and the state machine of a group's member.
//!
//! A [store](Streams) keeps messages and promises law L7. A member of a group is driven by a [`MemberMachine`]: a state
//! machine without I/O that is told what happened and says what to do next, so the same logic runs on a real runtime
//! and in the simulator. This crate knows no runtime, no clock and no files. Who writes a worker starts at the crate
//! `silvertine-worker`, which re-exports what a worker needs from here.

pub mod dead;
mod failure;
mod member;
pub mod message;
mod name;
mod retry;
mod route;
mod store;
mod topology;

pub use self::{
    dead::{Amendment, DeadChange, DeadLetter, DeadState, Reason, Status, Story},
    failure::{Class, Classify, HandlerFailure},
    member::{Action, HandlerOutcome, MemberConfig, MemberMachine, MemberStats, Work},
    message::{Message, MessageError, Publication},
    name::{ConsumerName, GroupName, NameError, StreamName},
    retry::{RetryDecision, RetryPolicy, RetryVariableError},
    route::{Condition, Route, RouteError, Rule},
    store::{
        Applied, Delivery, Disposition, Fetch, FetchScope, Fetched, GroupStats, LaneOrder, Member,
        MessageId, Regrouped, Settled, Settlement, StoreError, StoreErrorKind, StreamStats,
        Streams, Tries, Why,
    },
    topology::{
        Alerts, CircuitSpec, GroupSpec, Naming, Start, StreamSpec, Topology, TopologyError, Trim,
        WhenFull,
    },
};
