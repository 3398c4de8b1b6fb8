//! Records outcomes as entries: a handler failed, or its circuit changed.

use std::collections::VecDeque;

use super::{Engine, Queued};
use crate::{
    event::{Event, EventId, Header, Origin, System},
    halt::{Dispatch, Halt, HaltedCascade, Halting},
    log::Batch,
    ordinal,
    text::Name,
};

impl Engine {
    /// Halts: records the failure before everything that waits, and keeps the rest of the cascade. No handler receives the
    /// record; handlers learn of the halt by the operator's action that ends it.
    #[cold]
    pub(super) fn halt(
        &mut self,
        failed: Halting,
        event: Event,
        mut unfinished: VecDeque<Dispatch>,
        cascade_budget: usize,
        batch: &mut Batch,
    ) {
        let Halting { handler, next, outcomes } = failed;
        let reason = reason_in(&outcomes);
        for (n, system) in outcomes.into_iter().enumerate() {
            let mut outcome = self.outcome(&event, handler, n, system);
            self.append(&mut outcome.event, batch);
        }
        let topic = event.body.topic();
        let parked = self.parks.contains(topic);
        let halt = Halt { pos: self.head, handler, event: event.pos, topic, reason, parked };
        unfinished.push_front(Dispatch { event, from: next });
        self.halted_cascade = Some(Box::new(HaltedCascade { halt, unfinished, cascade_budget }));
    }

    #[cold]
    pub(super) fn queue_outcomes(&mut self, event: &Event, handler: Name, outcomes: Vec<System>) {
        for (n, system) in outcomes.into_iter().enumerate() {
            let outcome = self.outcome(event, handler, n, system);
            self.queue.push_back(outcome);
        }
    }

    /// The `n`-th record, from zero, of delivering `event` to `handler`.
    fn outcome(&self, event: &Event, handler: Name, n: usize, system: System) -> Queued {
        self.outcome_at(event, handler, ordinal::of_outcome(n), system)
    }

    pub(super) fn outcome_at(
        &self,
        event: &Event,
        handler: Name,
        ordinal: u64,
        system: System,
    ) -> Queued {
        let id = EventId::of_emitted(event.header.id, &handler, ordinal);
        let header = self.caused_header(event, id, handler, ordinal);
        let dispatched = event.origin != Origin::Outcome;
        Queued { dispatched, ..Queued::new(Origin::Outcome, header, system.into()) }
    }

    pub(super) fn caused_header(
        &self,
        cause: &Event,
        id: EventId,
        handler: Name,
        ordinal: u64,
    ) -> Header {
        Header {
            id,
            event_time: self.time,
            recv_time: self.time,
            source: handler,
            source_seq: ordinal,
            correlation: cause.header.correlation,
            causation: Some(cause.header.id),
        }
    }
}

/// The reason of the failure among the records of a delivery.
pub(super) fn reason_in(outcomes: &[System]) -> String {
    let reason = outcomes.iter().rev().find_map(|outcome| match outcome {
        System::HandlerFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    reason.unwrap_or_default()
}
