//! Why an engine cannot be built, saved or restored.

use crate::{bus::HandlerError, halt::Halt, text::Name};

/// Why an engine cannot be built, saved or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Two handlers have one name; ids and snapshots could not tell them apart.
    #[error("two handlers are called {0}; give each its own name")]
    DuplicateHandler(Name),
    /// A handler cannot save or load its state.
    #[error("handler {handler}: state: {why}")]
    HandlerState {
        /// Which handler.
        handler: Name,
        /// Why.
        why: String,
    },
    /// The engine is halted in the middle of a cascade, which no snapshot can hold.
    #[error("cannot snapshot while {0}")]
    Halted(Halt),
    /// The snapshot is of other handlers or another version, or it is damaged.
    #[error("snapshot does not fit this engine: {0}")]
    Snapshot(String),
}

impl EngineError {
    /// A handler's refusal to write or read its state.
    pub(super) fn state_of(handler: Name, why: &HandlerError) -> Self {
        Self::HandlerState { handler, why: why.to_string() }
    }
}
