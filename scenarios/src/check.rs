//! A check for a test: runs a user's handlers under the faults of many seeds and reports the first broken promise.

use std::fmt;

use silvertine_engine::log::EventLog;
use silvertine_sim::log::{
    counterexample::Counterexample,
    coverage::Coverage,
    oracle::Promise,
    plan::{Plan, seeds_from},
    subject::SetupError,
};

use crate::under_faults::UnderFaults;

/// Seeds that a check runs unless it is told otherwise.
const SEEDS: u64 = 200;

/// A check that is set up and has not run yet.
pub struct Check<L> {
    subject: UnderFaults<L>,
    from: u64,
    seeds: u64,
}

/// The result of a check in which every promise held.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// Runs.
    pub runs: u64,
    /// Faults that took effect, over all runs.
    pub faults: u64,
    /// Which faults and states were reached.
    pub coverage: Coverage,
}

/// Why a check failed.
#[non_exhaustive]
pub enum CheckError {
    /// The handlers cannot be run at all.
    Setup(SetupError),
    /// A run broke a promise.
    Broken {
        /// The report.
        failure: Box<Counterexample>,
        /// The shrunk run as a scenario; `silvertine run` shows it again where the handlers are known.
        scenario: String,
    },
}

impl<L: EventLog + Default> Check<L> {
    /// A check of what `subject` runs.
    #[must_use]
    pub const fn new(subject: UnderFaults<L>) -> Self {
        Self { subject, from: 0, seeds: SEEDS }
    }

    /// Runs this many seeds; 200 without it.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        Self { seeds, ..self }
    }

    /// Starts at this seed; at 0 without it.
    #[must_use]
    pub fn from_seed(self, from: u64) -> Self {
        Self { from, ..self }
    }

    /// Runs the seeds, up to the first that breaks a promise; that one is shrunk.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn run(&self) -> Result<Checked, CheckError> {
        let mut checked = Checked { runs: 0, faults: 0, coverage: Coverage::default() };
        let mut runner = self.subject.runner();
        let seeds = seeds_from(self.from, self.seeds).map_err(SetupError::new);
        for seed in seeds.map_err(CheckError::Setup)? {
            let plan = self.subject.plan(seed);
            let report = runner.run(&plan, false).map_err(CheckError::Setup)?;
            if let Some(violation) = &report.violation {
                return Err(self.explain(seed, plan, violation.promise)?);
            }
            checked.runs += 1;
            checked.faults += report.faults;
            checked.coverage.add(&report.coverage);
        }
        Ok(checked)
    }

    fn explain(&self, seed: u64, drawn: Plan, promise: Promise) -> Result<CheckError, CheckError> {
        let mut plan = self.subject.shrink(&drawn, promise, &|| false);
        let mut report = self.subject.run(&plan, false).map_err(CheckError::Setup)?;
        if report.violation.is_none() {
            // A handler with a random source of its own may not fail again on the shrunk plan.
            plan = drawn.clone();
            report = self.subject.run(&plan, false).map_err(CheckError::Setup)?;
        }
        let scenario = self.subject.scenario(&plan).to_toml();
        let scenario = scenario.map_err(|why| CheckError::Setup(SetupError::new(why)))?;
        let failure = Box::new(Counterexample { seed, drawn, plan, report });
        Ok(CheckError::Broken { failure, scenario })
    }

    /// Runs the seeds in a test.
    ///
    /// # Panics
    /// With the report when a run breaks a promise or cannot be set up.
    pub fn assert(&self) {
        if let Err(error) = self.run() {
            panic!("{error}");
        }
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(why) => fmt::Display::fmt(why, f),
            Self::Broken { failure, scenario } => {
                write!(f, "{failure}\nthe run as a scenario:\n\n{scenario}")
            }
        }
    }
}

impl fmt::Debug for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CheckError {}
