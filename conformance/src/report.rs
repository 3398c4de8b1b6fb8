//! What a check comes to: [`Checked`] or a [`BrokenLaw`].

use std::{fmt, panic::Location};

use crate::{breach::Breach, journal::Journal};

/// Every law held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The laws that were checked, by name.
    pub laws: Vec<&'static str>,
    /// The laws that were not, as the fixture says that they cannot hold.
    pub skipped: Vec<&'static str>,
    /// So many random histories were compared with the model.
    pub histories: u32,
}

/// A law that does not hold.
///
/// Its text names the law and tells what was expected, what came, and after which operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Text(self))]
pub struct BrokenLaw {
    law: &'static str,
    what: String,
    at: Option<&'static Location<'static>>,
    operations: Vec<String>,
    left_out: usize,
    history: Option<String>,
}

impl BrokenLaw {
    pub(crate) fn new(law: &'static str, breach: Breach, journal: &Journal) -> Self {
        let (operations, left_out) = journal.newest();
        let Breach { what, at } = breach;
        Self { law, what, at, operations, left_out, history: None }
    }

    /// The same, found by a random history that `history` describes.
    pub(crate) fn in_history(mut self, history: String) -> Self {
        self.history = Some(history);
        self
    }

    /// The name of the law: that of the test which the macro makes of it.
    #[must_use]
    pub const fn law(&self) -> &'static str {
        self.law
    }

    /// The number of the law, such as 3 for L3, where it has one.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        number(self.law)
    }

    /// What was expected and what came.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The operations before it, oldest first, each with its answer; of a long list, the newest.
    #[must_use]
    pub fn operations(&self) -> &[String] {
        &self.operations
    }
}

/// The number in a name such as `l3_a_refused_commit_leaves_nothing`.
fn number(law: &str) -> Option<u8> {
    let (first, _) = law.split_once('_')?;
    first.strip_prefix('l')?.parse().ok()
}

struct Text<'a>(&'a BrokenLaw);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BrokenLaw { law, what, at, operations, left_out, history } = self.0;
        match number(law) {
            Some(number) => writeln!(f, "law L{number} is broken: {law}")?,
            None => writeln!(f, "a law is broken: {law}")?,
        }
        writeln!(f, "{what}")?;
        if let Some(at) = at {
            writeln!(f, "  at: {at}")?;
        }
        writeln!(f, "after these operations:")?;
        if *left_out > 0 {
            writeln!(f, "  ({left_out} earlier ones)")?;
        }
        for (n, operation) in operations.iter().enumerate() {
            writeln!(f, "  {}. {operation}", n + 1 + left_out)?;
        }
        history.as_ref().map_or(Ok(()), |history| writeln!(f, "{history}"))
    }
}
