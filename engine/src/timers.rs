//! Timers on engine time, fired in (due time, creation) order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{event::EventId, text::Name, time::Nanos};

/// Names a timer: a handler has at most one per key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TimerKey {
    pub(crate) handler: Name,
    pub(crate) key: u64,
}

/// A timer that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timer {
    pub(crate) key: TimerKey,
    /// The event that was being handled when it was set.
    pub(crate) set_by: EventId,
    /// The root cause of that event.
    pub(crate) correlation: EventId,
}

/// All timers that are set; part of the snapshot.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timers {
    by_due: BTreeMap<(Nanos, u64), Timer>,
    by_key: BTreeMap<TimerKey, (Nanos, u64)>,
    created: u64,
}

impl Timers {
    /// Whether both indexes hold the same timers, and fewer than `limit` were ever created.
    pub(crate) fn are_sound(&self, limit: u64) -> bool {
        let paired = |(slot, timer): (&(Nanos, u64), &Timer)| {
            slot.1 < self.created && self.by_key.get(&timer.key) == Some(slot)
        };
        self.created < limit
            && self.by_due.len() == self.by_key.len()
            && self.by_due.iter().all(paired)
    }

    pub(crate) fn set(&mut self, due: Nanos, timer: Timer) {
        self.cancel(&timer.key);
        let slot = (due, self.created);
        self.created += 1;
        self.by_key.insert(timer.key, slot);
        self.by_due.insert(slot, timer);
    }

    pub(crate) fn cancel(&mut self, key: &TimerKey) {
        if let Some(slot) = self.by_key.remove(key) {
            self.by_due.remove(&slot);
        }
    }

    /// When the next timer is due.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.by_due.first_key_value().map(|(&(due, _), _)| due)
    }

    /// Removes and returns the next timer that is due at `now` or before.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, u64, Timer)> {
        let entry = self.by_due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((due, created), timer) = entry.remove_entry();
        self.by_key.remove(&timer.key);
        Some((due, created, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(key: u64) -> Timer {
        let handler = Name::new("h").expect("valid");
        let key = TimerKey { handler, key };
        Timer { key, set_by: EventId::default(), correlation: EventId::default() }
    }

    #[test]
    fn timers_fire_in_order_of_due_time_then_creation() {
        let mut timers = Timers::default();
        timers.set(Nanos(20), timer(1));
        timers.set(Nanos(10), timer(2));
        timers.set(Nanos(10), timer(3));
        let fired: Vec<u64> =
            std::iter::from_fn(|| timers.pop_due(Nanos(20))).map(|(_, _, t)| t.key.key).collect();
        assert_eq!(fired, [2, 3, 1]);
    }

    #[test]
    fn a_timer_is_never_early_and_setting_it_again_moves_it() {
        let mut timers = Timers::default();
        timers.set(Nanos(10), timer(1));
        timers.set(Nanos(30), timer(1));
        assert_eq!(timers.pop_due(Nanos(29)), None);
        assert_eq!(timers.next_due(), Some(Nanos(30)));
        assert!(timers.pop_due(Nanos(30)).is_some());
        assert_eq!(timers.pop_due(Nanos::MAX), None);
    }

    #[test]
    fn timers_that_no_engine_set_are_told() {
        let mut timers = Timers::default();
        timers.set(Nanos(10), timer(1));
        assert!(timers.are_sound(2) && !timers.are_sound(1));
        timers.by_key.clear();
        assert!(!timers.are_sound(2));
        let never_created = Timers { created: 0, ..timers };
        assert!(!never_created.are_sound(2));
    }

    #[test]
    fn a_cancelled_timer_does_not_fire() {
        let mut timers = Timers::default();
        timers.set(Nanos(10), timer(1));
        timers.cancel(&timer(1).key);
        assert_eq!(timers.pop_due(Nanos::MAX), None);
    }
}
