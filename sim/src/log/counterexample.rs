//! A seed whose run broke a promise, shrunk, and how it is shown.

use std::fmt;

use crate::{
    kernel::{report::Broken, spell},
    log::{oracle::Violation, plan::Plan, report::Report},
};

/// A seed whose run broke a promise, and the smallest plan that breaks the same one.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The seed.
    pub seed: u64,
    /// The plan that was drawn.
    pub drawn: Plan,
    /// The smallest plan that breaks the same promise.
    pub plan: Plan,
    /// What the smallest plan does.
    pub report: Report,
}

impl Counterexample {
    /// The promise that was broken, as the smallest plan breaks it.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.report.violation.as_ref()
    }

    fn plan_lines(&self) -> Vec<String> {
        let summary = format!(
            "{} of {} faults, {} of {} inputs left after shrinking; virtual time {}, {} owners",
            self.plan.faults.len(),
            self.drawn.faults.len(),
            self.plan.events(),
            self.drawn.events(),
            spell::clock(self.report.virtual_ns),
            self.report.owners,
        );
        let faults = self.plan.faults.iter().map(|fault| format!("fault: {fault}"));
        [summary].into_iter().chain(faults).collect()
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(violation) = self.violation() else {
            return write!(f, "seed {}: the shrunk plan breaks nothing", self.seed);
        };
        let (seed, plan, timeline) = (self.seed, self.plan_lines(), self.report.timeline());
        Broken { seed, violation, plan: &plan, timeline: &timeline, again: None }.fmt(f)
    }
}
