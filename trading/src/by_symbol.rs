//! A small table by symbol for hot paths: a handful of instruments, looked up per market event.

use serde::{Deserialize, Serialize};
use silvertine_engine::text::Symbol;

/// Values by symbol, in the order in which symbols first appeared.
///
/// A linear scan that begins at the last hit: feeds speak of one instrument many times in a row, and
/// for the few that a strategy trades a scan beats a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BySymbol<T> {
    rows: Vec<(Symbol, T)>,
    #[serde(skip)]
    last: usize,
}

impl<T> Default for BySymbol<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), last: 0 }
    }
}

impl<T: Default> BySymbol<T> {
    /// The value of `symbol`, created on first sight.
    #[inline]
    pub fn entry(&mut self, symbol: Symbol) -> &mut T {
        let hit = self.rows.get(self.last).is_some_and(|(known, _)| *known == symbol);
        if !hit {
            self.last = self.place(symbol);
        }
        &mut self.rows[self.last].1
    }

    fn place(&mut self, symbol: Symbol) -> usize {
        let known = self.rows.iter().position(|(known, _)| *known == symbol);
        known.unwrap_or_else(|| {
            self.rows.push((symbol, T::default()));
            self.rows.len() - 1
        })
    }

    /// The value of `symbol`, where there is one.
    #[must_use]
    pub fn get(&self, symbol: Symbol) -> Option<&T> {
        self.rows.iter().find(|(known, _)| *known == symbol).map(|(_, value)| value)
    }

    /// All values, by first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &T)> {
        self.rows.iter().map(|(symbol, value)| (*symbol, value))
    }
}
