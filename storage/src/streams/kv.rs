//! What named streams need of an embedded store: ordered records and atomic batches.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use silvertine_engine::log::LogErrorKind;

/// Records to write (`Some`) and to remove (`None`).
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and what stands under it.
pub type Record = (Vec<u8>, Vec<u8>);

/// An ordered store of records. One operation of the streams calls it at a time.
pub trait Kv: Send + Sync + 'static {
    /// What stands under `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LogErrorKind>;

    /// Records from `from` up to, not including, `to`, in order, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, LogErrorKind>;

    /// Makes all changes or none, and has them survive what the store promises to survive.
    ///
    /// # Errors
    /// The store cannot be written; the changes may have been made all the same.
    fn apply(&self, changes: Changes) -> Result<(), LogErrorKind>;
}

/// Records in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryKv {
    records: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LogErrorKind> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, LogErrorKind> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if from >= to {
            return Ok(Vec::new());
        }
        let range = records.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, changes: Changes) -> Result<(), LogErrorKind> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        Ok(())
    }
}

/// A step in the making: reads see its own changes, and nothing is written before it is committed.
pub(crate) struct Step<'a, K> {
    store: &'a K,
    changes: Changes,
}

impl<'a, K: Kv> Step<'a, K> {
    pub(crate) const fn begin(store: &'a K) -> Self {
        Self { store, changes: BTreeMap::new() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LogErrorKind> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.store.get(key),
        }
    }

    /// Records from `from` up to, not including, `to`, in order, at most `limit`.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Record>, LogErrorKind> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        let changed = self.changes.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        // As many more as this step may have removed.
        let wanted = limit.saturating_add(changed.clone().count());
        let stored = self.store.scan(from, to, wanted)?;
        // What lies behind the last record read is not known yet.
        let known =
            if stored.len() < wanted { None } else { stored.last().map(|last| last.0.clone()) };
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, change) in changed {
            match change {
                Some(value) if known.as_ref().is_none_or(|known| key <= known) => {
                    merged.insert(key.clone(), value.clone());
                }
                Some(_) => {}
                None => {
                    merged.remove(key);
                }
            }
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    pub(crate) fn commit(self) -> Result<(), LogErrorKind> {
        if self.changes.is_empty() { Ok(()) } else { self.store.apply(self.changes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_sees_its_own_changes_and_nobody_else_does_before_it_is_committed() {
        let store = MemoryKv::default();
        let key = |n: u8| vec![n];
        let mut step = Step::begin(&store);
        (0..10).for_each(|n| step.put(key(n), key(n)));
        step.commit().expect("memory takes all");

        let mut step = Step::begin(&store);
        (0..5).for_each(|n| step.remove(key(n)));
        step.put(key(7), vec![70]);
        step.put(key(20), vec![20]);
        let seen = step.scan(&key(0), &key(30), 4).expect("reads");
        assert_eq!(
            seen,
            [(key(5), key(5)), (key(6), key(6)), (key(7), vec![70]), (key(8), key(8))]
        );
        let all = step.scan(&key(0), &key(30), 100).expect("reads");
        assert_eq!(all.last(), Some(&(key(20), vec![20])));
        assert_eq!(store.scan(&key(0), &key(30), 100).expect("reads").len(), 10);
    }
}
