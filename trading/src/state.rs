//! Saving and loading the state of handlers that keep money and positions.
//!
//! The same invariants are checked before a state is saved and after one is loaded: a snapshot that breaks one is
//! refused, whether a bug of this build wrote it or damage changed it on the way.

use serde::{Serialize, de::DeserializeOwned};
use silvertine_engine::bus::{HandlerError, decode_state, encode_state};

/// A state with invariants.
pub(crate) trait Sound {
    /// The first invariant that is broken, if any.
    fn flaw(&self) -> Option<&'static str>;
}

/// Encodes a state that is sound.
///
/// # Errors
/// It is not sound, or cannot be encoded.
pub(crate) fn save<S: Sound + Serialize>(state: &S) -> Result<Vec<u8>, HandlerError> {
    match state.flaw() {
        None => encode_state(state),
        Some(flaw) => Err(HandlerError::new(format!("cannot save: {flaw}"))),
    }
}

/// Decodes a state and checks that it is sound.
///
/// # Errors
/// It does not decode, or is not sound.
pub(crate) fn load<S: Sound + DeserializeOwned>(bytes: &[u8]) -> Result<S, HandlerError> {
    let state: S = decode_state(bytes)?;
    match state.flaw() {
        None => Ok(state),
        Some(flaw) => Err(HandlerError::new(format!("cannot load: {flaw}"))),
    }
}
