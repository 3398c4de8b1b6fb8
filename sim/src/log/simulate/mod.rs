//! One run under faults: from a subject and a list of faults to a report.
//!
//! 1. The twin ([`twin`](super::twin)): the same inputs without driver, log or faults.
//! 2. The run: owners crash, are replaced and recover, until one has finished.
//! 3. With all faults ended, a cold restart, which must end where the twin ended.
//!
//! Every oracle watches from the first step to the last.

mod end;
mod producer;
mod run;

use std::sync::atomic::AtomicBool;

use self::run::Run;
use super::{
    fault::Fault,
    report::Report,
    subject::{SetupError, Subject},
    twin::Reference,
};

/// What the simulator is asked for besides the subject and its faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Root of the latencies and coin tosses of the world.
    pub seed: u64,
    /// Keep all that happens, not only the last of it.
    pub keep_trace: bool,
}

impl Options {
    /// A world that draws from this seed and keeps the last of what happens.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, keep_trace: false }
    }

    /// The same, and whether to keep all that happens.
    #[must_use]
    pub const fn keep_trace(self, keep_trace: bool) -> Self {
        Self { keep_trace, ..self }
    }
}

/// Runs a subject under faults.
///
/// # Errors
/// The subject cannot be set up. A broken promise is no error but [`Report::violation`].
pub fn simulate<S: Subject>(
    subject: &S,
    faults: &[Fault],
    options: Options,
) -> Result<Report, SetupError> {
    simulate_until(subject, faults, options, &AtomicBool::new(false))
}

/// Runs a subject under faults until its end, or until `stop` is raised: then the report says what happened so far.
///
/// # Errors
/// Those of [`simulate`].
pub fn simulate_until<S: Subject>(
    subject: &S,
    faults: &[Fault],
    options: Options,
    stop: &AtomicBool,
) -> Result<Report, SetupError> {
    let reference = Reference::of(subject, stop)?;
    simulate_against(subject, &reference, faults, options, stop)
}

/// The same for a subject whose `reference` is at hand.
///
/// # Errors
/// Those of [`simulate`].
pub fn simulate_against<S: Subject>(
    subject: &S,
    reference: &Reference,
    faults: &[Fault],
    options: Options,
    stop: &AtomicBool,
) -> Result<Report, SetupError> {
    Run::new(subject, reference, faults, options, stop).run()
}
