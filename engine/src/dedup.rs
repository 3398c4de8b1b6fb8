//! Deduplication of inputs: by producer and sequence number without limit, by event id within a window of time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{event::EventId, source::Input, text::Name, time::Nanos};

/// How long the ids that producers assign are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DedupConfig {
    /// Engine time for which an id is remembered.
    pub window: Duration,
    /// The most ids remembered; the oldest goes first.
    pub capacity: usize,
}

impl DedupConfig {
    /// Remembers at most `capacity` ids, each for `window` of engine time.
    #[must_use]
    pub const fn new(window: Duration, capacity: usize) -> Self {
        Self { window, capacity }
    }
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self { window: Duration::from_secs(300), capacity: 100_000 }
    }
}

/// The inputs seen so far; part of the snapshot.
///
/// Ids that derive from producer and sequence number are not remembered: the producer's last number refuses them all. Only
/// ids that a producer assigns are remembered one by one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dedup {
    producers: BTreeMap<Name, u64>,
    /// When each remembered id was admitted.
    seen: BTreeMap<EventId, Nanos>,
    by_age: VecDeque<(Nanos, EventId)>,
}

impl Dedup {
    /// Notes an input handled at `now`; `false` when it was seen before.
    ///
    /// A refusal changes nothing: it leaves no entry, so replay could not repeat the change.
    #[inline]
    pub(crate) fn admit(&mut self, input: &Input, now: Nanos, config: &DedupConfig) -> bool {
        let fresh = |&at: &Nanos| now.since(at) <= config.window;
        if input.id.is_some_and(|id| self.seen.get(&id).is_some_and(fresh)) {
            return false;
        }
        match self.producers.get_mut(&input.source) {
            Some(last) if input.source_seq <= *last => return false,
            Some(last) => *last = input.source_seq,
            None if input.source_seq == 0 => return false,
            None => {
                self.producers.insert(input.source, input.source_seq);
            }
        }
        if let Some(id) = input.id {
            self.expire(now, config);
            self.seen.insert(id, now);
            self.by_age.push_back((now, id));
        }
        true
    }

    /// Whether the ids are remembered alike by id and by age, oldest first, and none is from after `now`.
    pub(crate) fn is_sound(&self, now: Nanos) -> bool {
        let mut by_id: Vec<(EventId, Nanos)> =
            self.by_age.iter().map(|&(at, id)| (id, at)).collect();
        by_id.sort_unstable();
        by_id.into_iter().eq(self.seen.iter().map(|(&id, &at)| (id, at)))
            && self.by_age.iter().is_sorted_by_key(|&(at, _)| at)
            && self.by_age.back().is_none_or(|&(at, _)| at <= now)
    }

    fn expire(&mut self, now: Nanos, config: &DedupConfig) {
        while let Some(&(seen_at, id)) = self.by_age.front() {
            let stale = now.since(seen_at) > config.window;
            if !stale && self.by_age.len() < config.capacity {
                break;
            }
            self.by_age.pop_front();
            self.seen.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{OperatorAction, System};

    fn input(source: &str, source_seq: u64, id: Option<u128>) -> Input {
        let by = Name::new("op").expect("valid");
        Input {
            source: Name::new(source).expect("valid"),
            source_seq,
            id: id.map(EventId),
            event_time: Nanos::ZERO,
            recv_time: Nanos::ZERO,
            body: System::Operator { action: OperatorAction::Kill, by }.into(),
        }
    }

    const CONFIG: DedupConfig = DedupConfig { window: Duration::from_nanos(10), capacity: 2 };

    #[test]
    fn a_producers_number_never_passes_twice() {
        let mut dedup = Dedup::default();
        assert!(dedup.admit(&input("a", 1, None), Nanos(0), &CONFIG));
        assert!(!dedup.admit(&input("a", 1, None), Nanos(0), &CONFIG));
        assert!(dedup.admit(&input("a", 5, None), Nanos(0), &CONFIG));
        assert!(!dedup.admit(&input("a", 4, None), Nanos(0), &CONFIG));
        assert!(dedup.admit(&input("b", 4, None), Nanos(0), &CONFIG));
    }

    #[test]
    fn an_id_passes_once_within_the_window_even_from_another_producer() {
        let mut dedup = Dedup::default();
        assert!(dedup.admit(&input("a", 1, Some(7)), Nanos(0), &CONFIG));
        assert!(!dedup.admit(&input("b", 1, Some(7)), Nanos(10), &CONFIG));
        assert!(dedup.admit(&input("b", 1, Some(7)), Nanos(11), &CONFIG));
    }

    #[test]
    fn a_refusal_leaves_no_trace() {
        let mut dedup = Dedup::default();
        assert!(dedup.admit(&input("a", 1, Some(7)), Nanos(0), &CONFIG));
        assert!(dedup.admit(&input("a", 2, Some(8)), Nanos(5), &CONFIG));
        let before = format!("{dedup:?}");
        // By its number; by its id, from a new producer, when the oldest id is about to expire.
        assert!(!dedup.admit(&input("a", 2, Some(9)), Nanos(11), &CONFIG));
        assert!(!dedup.admit(&input("b", 1, Some(8)), Nanos(11), &CONFIG));
        assert_eq!(format!("{dedup:?}"), before);
    }

    #[test]
    fn ids_that_no_engine_remembered_so_are_told() {
        let ids = |seen: &[(u128, u64)], by_age: &[(u64, u128)]| Dedup {
            producers: BTreeMap::new(),
            seen: seen.iter().map(|&(id, at)| (EventId(id), Nanos(at))).collect(),
            by_age: by_age.iter().map(|&(at, id)| (Nanos(at), EventId(id))).collect(),
        };
        let sound = |dedup: Dedup| dedup.is_sound(Nanos(5));
        assert!(sound(ids(&[], &[])));
        assert!(sound(ids(&[(7, 5), (8, 5), (9, 1)], &[(1, 9), (5, 8), (5, 7)])));
        assert!(!sound(ids(&[(7, 1)], &[])), "of no age");
        assert!(!sound(ids(&[], &[(1, 7)])), "known by age only");
        assert!(!sound(ids(&[(7, 2)], &[(1, 7)])), "of two ages");
        assert!(!sound(ids(&[(7, 1), (8, 1)], &[(1, 7), (1, 7)])), "twice");
        assert!(!sound(ids(&[(7, 2), (8, 1)], &[(2, 7), (1, 8)])), "the younger first");
        assert!(!sound(ids(&[(7, 6)], &[(6, 7)])), "from the future");
    }

    #[test]
    fn the_window_is_bounded_in_number() {
        let mut dedup = Dedup::default();
        for n in 1..=100 {
            assert!(dedup.admit(&input("a", n, Some(n.into())), Nanos(0), &CONFIG));
        }
        assert!(dedup.seen.len() <= CONFIG.capacity);
        assert_eq!(dedup.seen.len(), dedup.by_age.len());
    }
}
