//! What came of a run under faults.

use silvertine_engine::{Counts, bus::Figure, digest::Digest, park, text::Name};

use super::{
    coverage::Coverage,
    fault::OpKind,
    oracle::Violation,
    trace::{Happened, Trace},
};

/// What came of a run under faults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The run was stopped before its end; what must hold at the end was not checked.
    pub stopped: bool,
    /// Digest of the log that the run left.
    pub digest: Digest,
    /// Totals of the log that the run left.
    pub counts: Counts,
    /// What the handlers report at the end, in bus order.
    pub figures: Vec<(Name, &'static str, Figure)>,
    /// What is parked at the end, in the order of keys.
    pub parked: Vec<park::Parked>,
    /// Hash over all that happened, and the last of it.
    pub trace: Trace,
    /// What was reached.
    pub coverage: Coverage,
    /// Faults that struck.
    pub faults: u64,
    /// Inputs taken by all owners together, repeated ones included.
    pub taken: u64,
    /// Owners that were started.
    pub owners: u64,
    /// Virtual time at the end, in nanoseconds.
    pub virtual_ns: u64,
    /// Operations asked of the log, by [`OpKind`].
    pub operations: [u64; OpKind::ALL.len()],
}

impl Report {
    /// The last things that happened, oldest first.
    #[must_use]
    pub fn timeline(&self) -> Vec<Happened> {
        self.trace.tail()
    }
}
