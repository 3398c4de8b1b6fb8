//! Executes a log again with watched handlers: the state must be the one its owner has, and the calls are there to audit.

use std::{collections::BTreeMap, fmt::Display};

use silvertine_engine::{
    Counts,
    engine::{Engine, EngineConfig},
    event::{Body, Event, OrderStatus, Origin, System},
    log::{Head, Page, RangeQuery},
    recovery::{Replay, ReplayError},
    text::Name,
};

use super::{
    Promise, Violation,
    audit::{Parked, audit},
    calls::{CallLog, Calls},
    entry::is_past_halt,
    parking::Lanes,
    same, same_bytes,
};
use crate::log::{coverage::Sight, subject::Subject};

/// An execution under way.
pub(crate) struct Execution {
    engine: Engine,
    calls: CallLog,
    replay: Replay,
    events: Vec<Event>,
    parked_before: Lanes,
    is_whole: bool,
}

/// A log that was executed.
pub(crate) struct Executed {
    events: Vec<Event>,
    calls: Calls,
    config: EngineConfig,
    parked: Parked,
    /// It was executed from its beginning.
    is_whole: bool,
}

fn failed(what: &str, why: &dyn Display) -> Violation {
    Violation::new(Promise::Replay, what, "the log, entry for entry", why)
}

fn broken(why: ReplayError) -> Violation {
    failed("the log is executed again", &why)
}

impl Execution {
    /// Begins at a snapshot, or at the beginning of the log.
    pub(crate) fn begin<S: Subject>(
        subject: &S,
        head: &Head,
        snapshot: Option<&[u8]>,
    ) -> Result<Self, Violation> {
        let calls = CallLog::default();
        let engine =
            subject.engine(&mut |name, priority, handler| calls.watch(name, priority, handler));
        let mut engine = engine.map_err(|error| failed("no engine", &error))?;
        if let Some(bytes) = snapshot {
            engine.load(bytes).map_err(|error| broken(error.into()))?;
        }
        let parked_before = Lanes::of(&engine);
        let replay = Replay::begin(&engine, head).map_err(broken)?;
        let entries = head.pos.seq.saturating_sub(engine.head().seq);
        let events = Vec::with_capacity(usize::try_from(entries).unwrap_or(0));
        let is_whole = snapshot.is_none();
        Ok(Self { engine, calls, replay, events, parked_before, is_whole })
    }

    /// What to read next.
    pub(crate) fn wanted(&self) -> Option<RangeQuery> {
        self.replay.wanted()
    }

    /// Executes what was read.
    pub(crate) fn absorb(&mut self, page: &Page) -> Result<(), Violation> {
        let absorbed = self.replay.absorb_into(&mut self.engine, page, &mut self.events);
        absorbed.map(drop).map_err(broken)
    }

    /// Compares the end, and the state with the owner's.
    pub(crate) fn finish(self, state: &[u8]) -> Result<Executed, Violation> {
        let Self { engine, calls, replay, events, parked_before, is_whole } = self;
        replay.finish(&engine).map_err(broken)?;
        let saved = engine.save().map_err(|why| failed("the state is saved", &why))?;
        same_bytes(Promise::Replay, "executing the log again gives the state", &saved, state)?;
        let config = *engine.config();
        let parked = Parked { before: parked_before, after: Lanes::of(&engine) };
        // What watched it hands in its notes.
        drop(engine);
        Ok(Executed { events, calls: calls.take(), config, parked, is_whole })
    }
}

impl Executed {
    /// Audits the log; `counts` are the totals that its owner reports. Returns the sights in it.
    pub(crate) fn judge(&self, counts: &Counts) -> Result<Vec<Sight>, Violation> {
        let mut sights = audit(&self.events, &self.calls, &self.config, &self.parked)?;
        if self.is_whole {
            let what = "the totals are those of the log";
            same(Promise::Truth, what, &recount(&self.events), counts)?;
            self.inputs_in_order()?;
        }
        if self.events.iter().any(is_past_halt) {
            sights.push(Sight::WentPastHalt);
        }
        let outcomes = self.events.iter().filter(|event| event.origin == Origin::Outcome);
        sights.extend(outcomes.filter_map(|event| match &event.body {
            Body::System(System::CircuitOpened { .. }) => Some(Sight::CircuitOpened),
            Body::System(System::CircuitClosed { .. }) => Some(Sight::CircuitClosed),
            _ => None,
        }));
        Ok(sights)
    }

    /// Inputs, but for permissions to go on; `None` where the beginning of the log is gone.
    pub(crate) fn messages(&self) -> Option<u64> {
        let messages = self.inputs().filter(|input| !is_past_halt(input));
        self.is_whole.then(|| messages.count() as u64)
    }

    fn inputs(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.origin == Origin::Input)
    }

    fn inputs_in_order(&self) -> Result<(), Violation> {
        let mut last = BTreeMap::<Name, u64>::new();
        for input in self.inputs() {
            let header = &input.header;
            let earlier = last.insert(header.source, header.source_seq).unwrap_or(0);
            if header.source_seq <= earlier {
                let what = format!("inputs of {} stand in its order", header.source);
                let expected = format!("above {earlier}");
                return Err(Violation::new(Promise::Ledger, what, expected, header.source_seq));
            }
        }
        Ok(())
    }
}

/// Counts a whole log again.
fn recount(events: &[Event]) -> Counts {
    let mut counts = Counts { entries: events.len() as u64, ..Counts::default() };
    for event in events {
        counts.inputs += u64::from(event.origin == Origin::Input);
        counts.timers += u64::from(event.origin == Origin::Timer);
        match &event.body {
            Body::MarketData(_) => {}
            Body::Signal(_) => counts.signals += 1,
            Body::Fill(_) => counts.fills += 1,
            Body::Order(order) => match order.status {
                OrderStatus::Submitted => counts.orders += 1,
                OrderStatus::Denied { .. } | OrderStatus::Rejected { .. } => counts.rejected += 1,
                _ => {}
            },
            Body::System(System::Rejected { .. }) => counts.refused_inputs += 1,
            Body::System(System::HandlerFailed { .. }) => counts.handler_failures += 1,
            Body::System(_) => {}
        }
    }
    counts
}
