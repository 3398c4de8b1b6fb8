//! What a broken promise looks like to people: the promise, the two values that differ, what happened just before,
//! and the line that shows it again.

use std::fmt;

use crate::{oracle::Violation, plan::Plan, simulate::Report, spell};

/// Happenings shown before a violation.
const SHOWN: usize = 24;

/// A seed whose run broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The plan that was drawn.
    pub drawn: Plan,
    /// The least plan that breaks the same promise.
    pub plan: Plan,
    /// What the least plan does.
    pub report: Report,
}

impl Failure {
    /// The promise that was broken, as the least plan breaks it.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.report.violation.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(violation) = self.violation() else {
            return write!(f, "seed {}: the shrunk plan breaks nothing", self.seed);
        };
        let Violation { oracle, what, expected, actual } = violation;
        writeln!(f, "seed {} broke {oracle}: {}", self.seed, oracle.says())?;
        writeln!(f, "  {what}")?;
        writeln!(f, "    expected  {expected}")?;
        writeln!(f, "    actual    {actual}")?;
        writeln!(
            f,
            "  plan: {} of {} faults, {} of {} inputs left after shrinking; virtual time {}, {} owners",
            self.plan.faults.len(),
            self.drawn.faults.len(),
            self.plan.events(),
            self.drawn.events(),
            spell::clock(self.report.virtual_ns),
            self.report.owners,
        )?;
        for fault in &self.plan.faults {
            writeln!(f, "    fault: {fault}")?;
        }
        writeln!(f, "  what happened last:")?;
        let timeline = self.report.timeline();
        for happened in &timeline[timeline.len().saturating_sub(SHOWN)..] {
            writeln!(f, "    {happened}")?;
        }
        Ok(())
    }
}
