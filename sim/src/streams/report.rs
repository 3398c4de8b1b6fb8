//! What came of a run of the worker plane.

use silvertine_engine::digest::Digest;

use super::{
    fault::Counts,
    promise::Violation,
    trace::{Happened, Trace},
};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// Virtual time that passed, in nanoseconds.
    pub virtual_ns: u64,
    /// Messages that stood on streams.
    pub messages: u64,
    /// What struck, and how often.
    pub counts: Counts,
    /// The promise that was broken.
    pub violation: Option<Violation>,
}

impl Report {
    /// 128 bits that two runs share exactly when all that happened is the same.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.trace.hash()
    }

    /// The last things that happened, oldest first.
    #[must_use]
    pub fn timeline(&self) -> Vec<Happened> {
        self.trace.tail()
    }
}
