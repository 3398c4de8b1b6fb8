//! Virtual time and the events to come, in the order of (time, scheduling).
//!
//! Of two events at one time, the one that was scheduled first happens first, so that a run depends on nothing but its plan.

use std::{cmp::Ordering, collections::BinaryHeap};

/// The events to come. Taking one out moves time to it; time never goes back.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Scheduled<E>>,
    scheduled: u64,
    now_ns: u64,
}

#[derive(Debug)]
struct Scheduled<E> {
    at_ns: u64,
    number: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: 0, now_ns: 0 }
    }
}

impl<E> Queue<E> {
    /// Virtual time since the run began, in nanoseconds.
    #[inline]
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Schedules an event at `at_ns`, or now if that has passed.
    pub fn schedule(&mut self, at_ns: u64, event: E) {
        self.scheduled += 1;
        let at_ns = at_ns.max(self.now_ns);
        self.heap.push(Scheduled { at_ns, number: self.scheduled, event });
    }

    /// Takes out the next event and moves time to it.
    pub fn pop(&mut self) -> Option<E> {
        let Scheduled { at_ns, event, .. } = self.heap.pop()?;
        self.advance_to(at_ns);
        Some(event)
    }

    /// Moves time to `ns` without an event, unless it has passed.
    pub fn advance_to(&mut self, ns: u64) {
        self.now_ns = self.now_ns.max(ns);
    }
}

impl<E> Scheduled<E> {
    /// The heap gives the greatest first, and the earliest must come first.
    const fn key(&self) -> (std::cmp::Reverse<u64>, std::cmp::Reverse<u64>) {
        (std::cmp::Reverse(self.at_ns), std::cmp::Reverse(self.number))
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_scheduling() {
        let mut queue = Queue::default();
        for (at_ns, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b')] {
            queue.schedule(at_ns, event);
        }
        let all: String = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((all.as_str(), queue.now_ns()), ("abcd", 5));
    }

    #[test]
    fn what_is_scheduled_for_the_past_happens_now() {
        let mut queue = Queue::default();
        queue.advance_to(10);
        queue.schedule(3, ());
        assert_eq!((queue.pop(), queue.now_ns()), (Some(()), 10));
        queue.advance_to(7);
        assert_eq!(queue.now_ns(), 10, "time never goes back");
    }
}
