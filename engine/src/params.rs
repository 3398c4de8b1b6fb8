//! Parameters that make no sense: how constructors of handlers and sources say so.

/// Why a handler or a source cannot be built from its parameters: one line that names the parameter.
///
/// It converts from text, so a constructor may write `return Err("fast must be below slow".into())`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidParams(String);

impl InvalidParams {
    /// Says `why`, in one line.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<&str> for InvalidParams {
    fn from(why: &str) -> Self {
        Self::new(why)
    }
}

impl From<String> for InvalidParams {
    fn from(why: String) -> Self {
        Self(why)
    }
}
