//! What was reached: how often each kind was, in which phase, and which never.
//!
//! A set of seeds that never reaches a fault or a state says nothing about it; these counts make that visible.

use std::{fmt, marker::PhantomData};

use super::catalogue::Kind;

/// How often each kind was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<K> {
    counts: Vec<u64>,
    kind: PhantomData<K>,
}

impl<K: Kind> Default for Counts<K> {
    fn default() -> Self {
        Self { counts: vec![0; K::ALL.len()], kind: PhantomData }
    }
}

impl<K: Kind> Counts<K> {
    /// Counts one.
    pub fn note(&mut self, kind: K) {
        self.counts[kind.index()] += 1;
    }

    /// How often this one was reached.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.counts[kind.index()]
    }

    /// How often any was reached.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Those that were never reached.
    pub fn missing(&self) -> impl Iterator<Item = K> {
        K::ALL.iter().copied().filter(|&kind| self.of(kind) == 0)
    }
}

/// How often each kind was reached in each phase; printed, a line for each kind and a column for each phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix<K, P> {
    /// Phase by phase for the first kind, then for the next.
    cells: Vec<u64>,
    kinds: PhantomData<(K, P)>,
}

impl<K: Kind, P: Kind> Default for Matrix<K, P> {
    fn default() -> Self {
        Self { cells: vec![0; K::ALL.len() * P::ALL.len()], kinds: PhantomData }
    }
}

impl<K: Kind, P: Kind> Matrix<K, P> {
    fn row(&self, kind: K) -> &[u64] {
        &self.cells[kind.index() * P::ALL.len()..][..P::ALL.len()]
    }

    /// Counts one.
    pub fn note(&mut self, kind: K, phase: P) {
        self.cells[kind.index() * P::ALL.len() + phase.index()] += 1;
    }

    /// How often this kind was reached, in all phases together.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.row(kind).iter().sum()
    }

    /// How often this kind was reached in a phase.
    #[must_use]
    pub fn in_phase(&self, kind: K, phase: P) -> u64 {
        self.row(kind)[phase.index()]
    }

    /// How often any kind was reached.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.cells.iter_mut().zip(&other.cells).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Kinds that were never reached.
    pub fn missing(&self) -> impl Iterator<Item = K> {
        K::ALL.iter().copied().filter(|&kind| self.of(kind) == 0)
    }
}

impl<K: Kind, P: Kind> fmt::Display for Matrix<K, P> {
    /// `x` where a kind was reached in a phase, `.` where not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = K::ALL.iter().map(|kind| kind.name().len()).max().unwrap_or(0).max(18);
        write!(f, "{:<width$}", "")?;
        for phase in P::ALL {
            write!(f, " {phase}")?;
        }
        for kind in K::ALL {
            write!(f, "\n{kind:<width$}")?;
            for (phase, &count) in P::ALL.iter().zip(self.row(*kind)) {
                let mark = if count > 0 { 'x' } else { '.' };
                write!(f, " {mark:<width$}", width = phase.name().len())?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::catalogue::catalogue;

    catalogue! {
        /// For the test.
        enum Fault {
            Crash "crash" "It dies";
            Pause "pause" "It stands still";
        }
    }

    catalogue! {
        /// For the test.
        enum Phase {
            Idle "idle" "Nothing to do";
            Busy "busy" "Something to do";
        }
    }

    #[test]
    fn what_was_never_reached_is_missing() {
        let mut counts = Counts::default();
        counts.note(Fault::Pause);
        assert_eq!(counts.missing().collect::<Vec<_>>(), [Fault::Crash]);
        let mut both = counts.clone();
        both.add(&counts);
        assert_eq!((both.of(Fault::Pause), both.total()), (2, 2));
    }

    #[test]
    fn the_matrix_marks_what_was_reached_in_which_phase() {
        let mut matrix = Matrix::default();
        matrix.note(Fault::Pause, Phase::Busy);
        matrix.note(Fault::Pause, Phase::Busy);
        assert_eq!((matrix.of(Fault::Pause), matrix.in_phase(Fault::Pause, Phase::Idle)), (2, 0));
        assert_eq!(matrix.missing().collect::<Vec<_>>(), [Fault::Crash]);
        let text = matrix.to_string();
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let (crash, pause) = (vec!["crash", ".", "."], vec!["pause", ".", "x"]);
        assert_eq!(words, [vec!["idle", "busy"], crash, pause]);
    }
}
