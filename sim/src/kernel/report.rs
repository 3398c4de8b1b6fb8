//! How a broken promise is shown: the promise, the values that differ, the plan, what happened just before, and the line
//! that shows it again.

use std::fmt;

use super::catalogue::Kind;

/// Happenings shown before a violation.
const SHOWN: usize = 40;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<P> {
    /// Which one.
    pub promise: P,
    /// What happened, over one or more lines.
    pub what: String,
    /// What should have been; empty where there are no two values to compare.
    pub expected: String,
    /// What was; empty where [`expected`](Self::expected) is.
    pub actual: String,
}

impl<P> Violation<P> {
    /// Two values differ.
    pub fn new(
        promise: P,
        what: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        Self { promise, what: what.into(), expected, actual }
    }

    /// Something happened that must not, whatever the values are.
    pub fn plain(promise: P, what: impl Into<String>) -> Self {
        Self::new(promise, what, "", "")
    }
}

impl<P: Kind> fmt::Display for Violation<P> {
    /// `broke ORDER: …` and the lines that say how.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, what, expected, actual } = self;
        write!(f, "broke {promise}: {}\n  {what}", promise.meaning())?;
        if !expected.is_empty() || !actual.is_empty() {
            write!(f, "\n    expected  {expected}\n    actual    {actual}")?;
        }
        Ok(())
    }
}

/// A broken promise with all that people want to know of it.
pub struct Broken<'a, P, H> {
    /// The seed of the plan.
    pub seed: u64,
    /// The promise.
    pub violation: &'a Violation<P>,
    /// The plan, line by line.
    pub plan: &'a [String],
    /// What happened, oldest first; the last of it is shown.
    pub timeline: &'a [H],
    /// The command that shows it again, where there is one.
    pub again: Option<&'a str>,
}

impl<P: Kind, H: fmt::Display> fmt::Display for Broken<'_, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} {}", self.seed, self.violation)?;
        for (at, line) in self.plan.iter().enumerate() {
            let indent = if at == 0 { "  plan: " } else { "    " };
            writeln!(f, "{indent}{line}")?;
        }
        writeln!(f, "  what happened last:")?;
        for happened in &self.timeline[self.timeline.len().saturating_sub(SHOWN)..] {
            writeln!(f, "    {happened}")?;
        }
        match self.again {
            Some(again) => writeln!(f, "  again: {again}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::catalogue::catalogue;

    catalogue! {
        /// For the test.
        enum Promise {
            Order "ORDER" "what comes first stands first";
        }
    }

    #[test]
    fn a_report_names_the_promise_the_difference_the_plan_and_the_way_back() {
        let violation = Violation::new(Promise::Order, "two entries", 1, 2);
        let plan = ["1 fault".to_owned(), "crash".to_owned()];
        let timeline: Vec<u32> = (0..50).collect();
        let again = Some("sim --from-seed 7");
        let broken =
            Broken { seed: 7, violation: &violation, plan: &plan, timeline: &timeline, again };
        let said = broken.to_string();
        let begin = "seed 7 broke ORDER: what comes first stands first\n  two entries\n    \
                     expected  1\n    actual    2\n  plan: 1 fault\n    crash\n  \
                     what happened last:\n    10\n";
        assert!(said.starts_with(begin), "{said}");
        assert!(said.ends_with("    49\n  again: sim --from-seed 7\n"), "{said}");
        let plain = Violation::plain(Promise::Order, "it spins").to_string();
        assert!(!plain.contains("expected"), "{plain}");
    }
}
