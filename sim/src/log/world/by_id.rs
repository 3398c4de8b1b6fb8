//! A small map by number for the few operations that are under way at once.
//!
//! Numbers are given in ascending order, so a plain list stays sorted. A tree would allocate and free a node of kilobytes for
//! nearly every operation.

#[derive(Debug)]
pub(super) struct ById<T>(Vec<(u64, T)>);

impl<T> Default for ById<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ById<T> {
    fn find(&self, id: u64) -> Option<usize> {
        self.0.binary_search_by_key(&id, |&(id, _)| id).ok()
    }

    /// Adds a value under a number above all others.
    pub(super) fn push(&mut self, id: u64, thing: T) {
        debug_assert!(self.0.last().is_none_or(|&(last, _)| last < id), "numbers are in order");
        self.0.push((id, thing));
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.find(id).map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.find(id).map(|at| &mut self.0[at].1)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        self.find(id).map(|at| self.0.remove(at).1)
    }

    /// All of them, lowest number first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }

    /// All numbers, lowest first.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.0.iter().map(|&(id, _)| id).collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
