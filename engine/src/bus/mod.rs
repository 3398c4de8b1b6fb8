//! The bus: handlers, what they see, and how they are isolated from each other.

mod circuit;
mod context;
mod handler;
mod slot;

pub(crate) use self::slot::{Slot, SlotState, Verdict};
pub use self::{
    circuit::CircuitConfig,
    context::Context,
    handler::{Figure, Handler, HandlerError, Priority, decode_state, encode_state},
};
