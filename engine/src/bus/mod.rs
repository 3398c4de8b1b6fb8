//! The bus: handlers, what they can see and do, and how they are isolated from each other.

mod context;
mod handler;
mod policy;
mod slot;

pub use self::{
    context::Context,
    handler::{Figure, Handler, HandlerError, Priority, decode_state, encode_state},
    policy::{FailurePolicy, OnFailure, UnknownPolicy},
};
pub(crate) use self::{
    context::{Staged, TimerChange},
    slot::{Slot, SlotState, Verdict},
};
