//! A seed whose run broke a promise, and how it is shown.

use std::fmt;

use super::{plan::Plan, promise::Violation, report::Report};
use crate::kernel::{report::Broken, spell};

/// A seed whose run broke a promise.
#[derive(Clone, Debug)]
pub struct Counterexample {
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
        let mut lines = self.plan.lines();
        if self.plan != self.drawn {
            let (strikes, messages) = self.drawn.size();
            lines.push(format!(
                "before shrinking: {strikes} strikes, {messages} messages; virtual time now {}",
                spell::clock(self.report.virtual_ns)
            ));
        }
        lines
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.drawn.seed;
        let Some(violation) = self.violation() else {
            return write!(f, "seed {seed}: the shrunk plan breaks nothing");
        };
        let (plan, timeline) = (self.plan_lines(), self.report.timeline());
        Broken { seed, violation, plan: &plan, timeline: &timeline, again: None }.fmt(f)
    }
}
