//! Executes inputs and timers again, and compares the entries that they produce with those of the log.

use super::error::{ReplayError, diverged};
use crate::{
    codec::{DecodeError, decode_entry},
    engine::{Engine, Stepped},
    event::{Event, EventId, Origin},
    log::Batch,
    pos::Pos,
    source::Input,
};

/// The entries that the engine produced for the last input or timer, and how many of them the log has confirmed.
#[derive(Default)]
pub(super) struct Comparison {
    produced: Batch,
    confirmed: usize,
}

impl Comparison {
    pub(super) fn check(
        &mut self,
        engine: &mut Engine,
        pos: Pos,
        bytes: &[u8],
        keeper: &mut impl Keeper,
    ) -> Result<(), ReplayError> {
        let undecodable = |why| ReplayError::Undecodable { pos, why };
        if self.confirmed == self.produced.len() {
            let event = decode_entry(bytes).map_err(undecodable)?;
            self.produced.clear();
            self.confirmed = 0;
            keeper.executed(&event);
            self.execute(engine, event);
        } else {
            keeper.confirmed(bytes).map_err(undecodable)?;
        }
        let produced =
            (self.confirmed < self.produced.len()).then(|| self.produced.get(self.confirmed));
        match produced {
            Some(produced) if produced.bytes == bytes => {
                self.confirmed += 1;
                Ok(())
            }
            produced => Err(diverged(pos, Some(bytes), produced.map(|entry| entry.bytes))),
        }
    }

    /// Executes an input or fires a timer again. Decisions and outcomes are never executed, only confirmed; one that the
    /// engine did not produce has no counterpart, which the caller reports.
    fn execute(&mut self, engine: &mut Engine, event: Event) {
        match event.origin {
            Origin::Input => {
                let header = event.header;
                let derived = EventId::of_input(&header.source, header.source_seq);
                let input = Input {
                    source: header.source,
                    source_seq: header.source_seq,
                    id: (header.id != derived).then_some(header.id),
                    event_time: header.event_time,
                    recv_time: header.recv_time,
                    body: event.body,
                };
                let stepped = engine.step(input, event.time, &mut self.produced);
                debug_assert!(
                    stepped == Stepped::Handled || self.produced.is_empty(),
                    "a duplicate produces nothing"
                );
            }
            // Only one: each timer that fired is an entry of the log.
            Origin::Timer if engine.halted().is_none() => {
                engine.fire_next_timer(event.time, &mut self.produced);
            }
            Origin::Timer => {}
            Origin::Decision | Origin::Outcome => {}
        }
    }

    /// Checks that the log holds everything that the engine produced.
    pub(super) fn finish(self) -> Result<(), ReplayError> {
        if self.confirmed == self.produced.len() {
            return Ok(());
        }
        let missing = self.produced.get(self.confirmed);
        Err(diverged(missing.pos, None, Some(missing.bytes)))
    }
}

/// Receives every entry of a replay: those that were executed, and those that were only compared.
pub(super) trait Keeper {
    fn executed(&mut self, event: &Event);
    fn confirmed(&mut self, bytes: &[u8]) -> Result<(), DecodeError>;
}

/// Keeps nothing; entries that are only compared are not decoded.
pub(super) struct Discarded;

impl Keeper for Discarded {
    fn executed(&mut self, _event: &Event) {}

    fn confirmed(&mut self, _bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Keeper for Vec<Event> {
    fn executed(&mut self, event: &Event) {
        self.push(event.clone());
    }

    fn confirmed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.push(decode_entry(bytes)?);
        Ok(())
    }
}
