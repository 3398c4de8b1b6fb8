//! What named streams need of an embedded store: ordered records and atomic batches.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use silvertine_streams::StoreErrorKind;

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
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreErrorKind>;

    /// Records from `from` up to, not including, `to`, in order, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreErrorKind>;

    /// The keys of the same records.
    ///
    /// # Errors
    /// The store cannot be read.
    fn keys(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreErrorKind> {
        Ok(self.scan(from, to, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    /// Makes all changes or none, and has them survive what the store promises to survive.
    ///
    /// # Errors
    /// The store cannot be written; the changes may have been made all the same.
    fn apply(&self, changes: Changes) -> Result<(), StoreErrorKind>;
}

/// Records in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryKv {
    records: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreErrorKind> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreErrorKind> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if from >= to {
            return Ok(Vec::new());
        }
        let range = records.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreErrorKind> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if from >= to {
            return Ok(Vec::new());
        }
        let range = records.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, _)| key.clone()).collect())
    }

    fn apply(&self, changes: Changes) -> Result<(), StoreErrorKind> {
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

/// A record that does not check out.
pub(super) fn corrupt(key: &[u8], why: impl ToString) -> StoreErrorKind {
    StoreErrorKind::Corrupt { at: format!("record {}", key.escape_ascii()), why: why.to_string() }
}

/// A value as it lies in a file: with a checksum that covers its key too.
#[cfg(any(feature = "sled", feature = "redb"))]
pub(super) fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    crate::records::seal(key, value)
}

/// What [`sealed`] sealed.
#[cfg(any(feature = "sled", feature = "redb"))]
pub(super) fn opened(key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreErrorKind> {
    let content = crate::records::content("", key, sealed).map_err(StoreErrorKind::from);
    match content {
        Ok(value) => Ok(value.to_vec()),
        Err(StoreErrorKind::Corrupt { why, .. }) => Err(corrupt(key, why)),
        Err(other) => Err(other),
    }
}

/// The most records asked for at a time beyond what is wanted.
const MERGE_MAX: usize = 1024;

/// A step in the making: reads see its own changes, and nothing is written before it is committed.
pub(crate) struct Step<'a, K> {
    store: &'a K,
    changes: Changes,
    /// Something else than notes was changed.
    matters: bool,
}

impl<'a, K: Kv> Step<'a, K> {
    /// A step behind others whose notes are not written yet.
    pub(crate) const fn begin(store: &'a K, unwritten: Changes) -> Self {
        Self { store, changes: unwritten, matters: false }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreErrorKind> {
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
    ) -> Result<Vec<Record>, StoreErrorKind> {
        let read = |from: &[u8], count| self.store.scan(from, to, count);
        let changed = |key: &Vec<u8>, value: &Vec<u8>| (key.clone(), value.clone());
        self.merge(from, to, limit, read, |record| &record.0, changed)
    }

    /// The keys of the same records.
    pub(crate) fn keys(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreErrorKind> {
        let read = |from: &[u8], count| self.store.keys(from, to, count);
        self.merge(from, to, limit, read, |key| key, |key, _| key.clone())
    }

    /// The first of the same keys.
    pub(crate) fn first(
        &self,
        range: &(Vec<u8>, Vec<u8>),
    ) -> Result<Option<Vec<u8>>, StoreErrorKind> {
        Ok(self.keys(&range.0, &range.1, 1)?.pop())
    }

    /// What the store holds in a range, with this step's changes to it. Reads no more of either than it has to.
    fn merge<T>(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        read: impl Fn(&[u8], usize) -> Result<Vec<T>, StoreErrorKind>,
        key_of: impl Fn(&T) -> &Vec<u8>,
        changed: impl Fn(&Vec<u8>, &Vec<u8>) -> T,
    ) -> Result<Vec<T>, StoreErrorKind> {
        let mut found = Vec::new();
        if from >= to || limit == 0 {
            return Ok(found);
        }
        let mut changes =
            self.changes.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut from = from.to_vec();
        let mut count = limit;
        loop {
            let stored = read(&from, count)?;
            let is_last = stored.len() < count;
            if let Some(last) = stored.last() {
                from = [key_of(last).as_slice(), &[0]].concat();
            }
            for record in stored {
                let key = key_of(&record);
                while let Some((new, value)) = changes.next_if(|(new, _)| *new < key) {
                    found.extend(value.as_ref().map(|value| changed(new, value)));
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
                match changes.next_if(|(new, _)| *new == key) {
                    Some((key, value)) => {
                        found.extend(value.as_ref().map(|value| changed(key, value)));
                    }
                    None => found.push(record),
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            if is_last {
                let rest = changes.filter_map(|(key, value)| Some(changed(key, value.as_ref()?)));
                found.extend(rest.take(limit - found.len()));
                return Ok(found);
            }
            // This step has removed some of them: ask for more at a time, so that it ends soon.
            count = count.saturating_mul(2).min(MERGE_MAX);
        }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
        self.matters = true;
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
        self.matters = true;
    }

    /// Puts what need not survive a crash: it is written together with the next change that must.
    pub(crate) fn note(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    /// Writes everything, or keeps what is only noted in `unwritten`.
    pub(crate) fn commit(self, unwritten: &mut Changes) -> Result<(), StoreErrorKind> {
        if self.matters {
            self.store.apply(self.changes)?;
            unwritten.clear();
        } else {
            *unwritten = self.changes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_sees_its_own_changes_and_nobody_else_does_before_it_is_committed() {
        let store = MemoryKv::default();
        let key = |n: u8| vec![n];
        let mut step = Step::begin(&store, Changes::new());
        (0..10).for_each(|n| step.put(key(n), key(n)));
        step.commit(&mut Changes::new()).expect("memory takes all");

        let mut step = Step::begin(&store, Changes::new());
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

    #[test]
    fn what_is_only_noted_is_seen_by_later_steps_and_written_with_the_next_change() {
        let store = MemoryKv::default();
        let mut unwritten = Changes::new();
        let mut step = Step::begin(&store, unwritten.clone());
        step.note(vec![1], vec![10]);
        step.commit(&mut unwritten).expect("nothing to write");
        assert_eq!(store.get(&[1]), Ok(None));
        let mut step = Step::begin(&store, unwritten.clone());
        assert_eq!(step.get(&[1]), Ok(Some(vec![10])));
        assert_eq!(step.keys(&[0], &[9], 9), Ok(vec![vec![1]]));
        step.put(vec![2], vec![20]);
        step.commit(&mut unwritten).expect("memory takes all");
        assert_eq!((store.get(&[1]), unwritten.len()), (Ok(Some(vec![10])), 0));
    }
}
