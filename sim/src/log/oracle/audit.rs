//! Compares a finished log with the calls of a watched re-execution: causes and timers here, who was handed what in
//! `deliveries`.

use silvertine_engine::{
    engine::EngineConfig,
    event::{Event, EventId, Origin},
};

use super::{
    Promise, Violation,
    calls::Calls,
    deliveries::Deliveries,
    entry::{is_past_halt, release},
    parking::{Lanes, Parking},
    same,
};
use crate::log::coverage::Sight;

type Check = Result<(), Violation>;

/// What is parked before the first kept entry, and behind the last one.
pub(crate) struct Parked {
    pub(crate) before: Lanes,
    pub(crate) after: Lanes,
}

/// Checks a log from its first kept entry on, with the calls of its re-execution from there. Returns what it saw.
pub(crate) fn audit(
    events: &[Event],
    calls: &Calls,
    config: &EngineConfig,
    parked: &Parked,
) -> Result<Vec<Sight>, Violation> {
    let parking = Parking::new(config, parked.before.clone());
    let by_id = index(events)?;
    // The newest entry of that id before `at`: beyond its window, a producer's id may come again.
    let find = |id: EventId, at: usize| -> Option<usize> {
        let behind = by_id.partition_point(|&entry| entry < (id, at));
        by_id[..behind].last().filter(|found| found.0 == id).map(|found| found.1)
    };
    let cause_of = |(at, event): (usize, &Event)| find(event.header.causation?, at);
    let causes: Vec<Option<usize>> = events.iter().enumerate().map(cause_of).collect();
    let whole = events.first().is_none_or(|first| first.pos.seq == 1);
    for (at, event) in events.iter().enumerate() {
        match event.origin {
            Origin::Input => {}
            Origin::Timer => timer(events, at, causes[at], whole)?,
            // What caused it may have been trimmed while it was parked.
            Origin::Decision | Origin::Outcome
                if causes[at].is_none()
                    && event.header.causation.is_some_and(|id| parking.was_parked_before(id)) => {}
            Origin::Decision | Origin::Outcome => caused(events, at, causes[at])?,
        }
    }
    timers_in_order(events)?;
    Deliveries::new(events, &causes, calls, config, parking).check(&find, whole, &parked.after)
}

/// Every id with its place, in order. Only an input's id may come again (and then what it causes again has
/// the ids that it had).
fn index(events: &[Event]) -> Result<Vec<(EventId, usize)>, Violation> {
    let mut by_id: Vec<_> = events.iter().enumerate().map(|(at, e)| (e.header.id, at)).collect();
    by_id.sort_unstable();
    let twice = |pair: &&[(EventId, usize)]| pair[0].0 == pair[1].0;
    let came_again = |id: EventId| {
        let mut inputs = events.iter().filter(|e| e.origin == Origin::Input && e.header.id == id);
        inputs.nth(1).is_some()
    };
    for pair in by_id.windows(2).filter(twice) {
        let (first, second) = (&events[pair[0].1], &events[pair[1].1]);
        if !came_again(second.header.correlation) {
            let what = format!("two entries have the id {}", pair[0].0);
            return Err(Violation::new(Promise::Idempotence, what, first.pos, second.pos));
        }
    }
    Ok(by_id)
}

fn caused(events: &[Event], at: usize, cause: Option<usize>) -> Check {
    let event = &events[at];
    let Some(cause) = cause.filter(|&cause| cause < at).map(|cause| &events[cause]) else {
        let what = format!("the entry at {} has no cause before it", event.pos);
        return Err(Violation::new(Promise::Integrity, what, "a cause", "none"));
    };
    let (expected, actual) = (cause.header.correlation, event.header.correlation);
    same(Promise::Integrity, "an entry shares the root cause of its cause", &expected, &actual)
}

fn timer(events: &[Event], at: usize, set_by: Option<usize>, whole: bool) -> Check {
    let fired = &events[at];
    let due = fired.header.event_time;
    if fired.time < due {
        let what = format!("the timer at {} fires early", fired.pos);
        return Err(Violation::new(Promise::Time, what, due, fired.time));
    }
    let Some(set_by) = set_by else {
        // What set it may have been trimmed.
        let what = format!("nothing set the timer at {}", fired.pos);
        let violation = Violation::new(Promise::Integrity, what, "an entry that set it", "none");
        return if whole { Err(violation) } else { Ok(()) };
    };
    let overtook =
        |event: &&Event| event.origin == Origin::Input && event.time >= due && !is_past_halt(event);
    // Where what was parked has been released since, that may be when it was set.
    let behind = (set_by + 1).min(at);
    let behind = events[behind..at]
        .iter()
        .rposition(|e| release(e).is_some())
        .map_or(behind, |nth| behind + nth + 1);
    match events[behind..at].iter().find(overtook) {
        None => Ok(()),
        Some(input) => {
            let what = format!("the timer at {} fires behind a later input", fired.pos);
            let expected = format!("before the input at {} ({})", input.pos, input.time);
            Err(Violation::new(Promise::Time, what, expected, format!("due {due}")))
        }
    }
}

/// Timers fire in the order (due, creation), over the whole log: a new one is never due before now.
fn timers_in_order(events: &[Event]) -> Check {
    let timers = events.iter().filter(|event| event.origin == Origin::Timer);
    let mut before = None;
    for fired in timers {
        let this = (fired.header.event_time, fired.header.source_seq);
        if before.is_some_and(|before| before >= this) {
            let what = format!("the timer at {} fires out of turn", fired.pos);
            let expected = format!("due behind {:?}", before.unwrap_or_default());
            return Err(Violation::new(Promise::Time, what, expected, format!("{this:?}")));
        }
        before = Some(this);
    }
    Ok(())
}
