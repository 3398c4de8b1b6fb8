//! Ordinals: the numbers from which the ids of caused events are derived.
//!
//! An id derives from the event that is the cause, a handler, and an ordinal
//! ([`EventId::of_emitted`](crate::event::EventId::of_emitted)). A handler's emissions, its timers and the records that
//! the engine writes about it share cause and handler, and so each kind takes its ordinals from a range of its own:
//!
//! | range | ordinals of | counted by |
//! |---|---|---|
//! | `0 .. 2^62` | events that a handler emits | place in the emission |
//! | `2^62 .. 2^63` | timers that came due | timers created so far |
//! | `2^63 .. 2^63 + 2^62` | outcomes: failures, changes of the circuit | place in the list of outcomes |
//! | `2^63 + 2^62 ..` | failures on parked events | the event's sequence number |
//!
//! The ranges are part of the log's format: other ones give other ids.

/// The length of each range. No engine counts so far: at a million a second it takes 146 thousand years.
pub(crate) const RANGE: u64 = 1 << 62;

const TIMERS: u64 = RANGE;
const OUTCOMES: u64 = 2 * RANGE;
const PARKED_FAILURES: u64 = 3 * RANGE;

/// The ordinal of the timer that was created as the `created`-th over the whole log.
pub(crate) const fn of_timer(created: u64) -> u64 {
    TIMERS + created
}

/// The ordinal of the `n`-th outcome, from zero, of handing an event to a handler.
pub(crate) const fn of_outcome(n: usize) -> u64 {
    OUTCOMES + n as u64
}

/// The ordinal of a failure on the parked event with the sequence number `seq`. A release that hands out several events
/// is the cause of all their failures, and their ids may be equal: only the number tells them apart.
pub(crate) const fn of_parked_failure(seq: u64) -> u64 {
    PARKED_FAILURES + seq
}

/// The sequence number of the parked event, where `ordinal` is that of a failure on one.
pub(crate) const fn parked_seq(ordinal: u64) -> Option<u64> {
    ordinal.checked_sub(PARKED_FAILURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_do_not_meet() {
        let last = RANGE - 1;
        assert!(last < of_timer(0));
        assert!(of_timer(last) < of_outcome(0));
        assert!(of_outcome(last as usize) < of_parked_failure(0));
        assert_eq!(of_parked_failure(last), u64::MAX);
    }

    #[test]
    fn a_parked_event_is_found_by_the_ordinal_of_its_failure() {
        assert_eq!(parked_seq(of_parked_failure(7)), Some(7));
        assert_eq!(parked_seq(of_outcome(7)), None);
    }
}
