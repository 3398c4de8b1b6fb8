//! The engine's whole state as bytes, and back.
//!
//! A snapshot is checked before it is used. Bytes that decode may still be no state that an engine can reach, and the step
//! relies on invariants without checking them: counters cannot overflow, timers and ids are indexed consistently.

use serde::{Deserialize, Serialize};

use super::{Engine, EngineError};
use crate::{
    bus::{Slot, SlotState},
    counts::Counts,
    dedup::Dedup,
    digest::Digest,
    event::TopicSet,
    ordinal,
    park::{Parking, SavedParking},
    pos::Pos,
    text::Name,
    time::Nanos,
    timers::Timers,
};

/// Version of the snapshot format. A snapshot of another version is refused.
const SNAPSHOT_VERSION: u32 = 2;

impl Engine {
    /// The whole state, from which an engine with the same handlers continues.
    ///
    /// # Errors
    /// [`EngineError::HandlerState`] when a handler cannot write its state, [`EngineError::Halted`] when it is
    /// halted.
    pub fn save(&self) -> Result<Vec<u8>, EngineError> {
        if let Some(halt) = self.halted() {
            return Err(EngineError::Halted(halt.clone()));
        }
        debug_assert!(self.queue.is_empty(), "a snapshot is taken between steps");
        let save = |slot: &Slot| slot.save().map_err(|why| EngineError::state_of(slot.name, &why));
        let slots = self.slots.iter().map(save).collect::<Result<Vec<_>, _>>()?;
        let state = SavedRef {
            version: SNAPSHOT_VERSION,
            time: self.time,
            head: self.head,
            digest: self.digest,
            counts: self.counts,
            timers: &self.timers,
            dedup: &self.dedup,
            slots: &slots,
        };
        // A small snapshot would otherwise reallocate several times.
        let saved = postcard::to_extend(&state, Vec::with_capacity(1024));
        debug_assert!(
            saved.as_ref().is_ok_and(|saved| {
                postcard::from_bytes::<Saved>(saved)
                    .is_ok_and(|saved| saved.broken_invariant().is_none())
            }),
            "a snapshot passes the checks of its loading"
        );
        let saved = match saved {
            Ok(saved) if self.parks != TopicSet::EMPTY => {
                postcard::to_extend(&self.parking.save(), saved)
            }
            saved => saved,
        };
        saved.map_err(|why| EngineError::Snapshot(why.to_string()))
    }

    /// Restores the state that [`save`](Self::save) returned.
    ///
    /// # Errors
    /// [`EngineError::Snapshot`] when the snapshot is of other handlers or another version,
    /// [`EngineError::HandlerState`] when a handler refuses its state. The engine is then in no
    /// particular state and must not be used.
    pub fn load(&mut self, snapshot: &[u8]) -> Result<(), EngineError> {
        let undecodable =
            |why: postcard::Error| EngineError::Snapshot(format!("does not decode ({why})"));
        let (saved, rest) = postcard::take_from_bytes::<Saved>(snapshot).map_err(undecodable)?;
        let (parking, rest) = match self.parks {
            TopicSet::EMPTY => (None, rest),
            _ => {
                let (parking, rest) =
                    postcard::take_from_bytes::<SavedParking>(rest).map_err(undecodable)?;
                (Some(parking), rest)
            }
        };
        if !rest.is_empty() {
            let why = format!("{} bytes follow it", rest.len());
            return Err(EngineError::Snapshot(why));
        }
        if saved.version != SNAPSHOT_VERSION {
            let version = saved.version;
            let why = format!("format version {version}, this build reads {SNAPSHOT_VERSION}");
            return Err(EngineError::Snapshot(why));
        }
        if let Some(part) = saved.broken_invariant() {
            return Err(EngineError::Snapshot(format!("inconsistent: {part}")));
        }
        let names = |slots: &mut dyn Iterator<Item = Name>| {
            slots.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
        };
        let theirs = names(&mut saved.slots.iter().map(|slot| slot.name));
        let ours = names(&mut self.slots.iter().map(|slot| slot.name));
        if theirs != ours {
            let why = format!("it is of the handlers {theirs}; this engine has {ours}");
            return Err(EngineError::Snapshot(why));
        }
        let names: Vec<Name> = self.slots.iter().map(|slot| slot.name).collect();
        let parking = match parking {
            None => Some(Parking::default()),
            Some(parking) => Parking::load(parking, &names, saved.head, saved.time)
                .filter(|parking| parking.failures <= saved.counts.handler_failures),
        };
        let Some(parking) = parking else {
            let why = "inconsistent: the parked events do not match the counters or the handlers"
                .to_owned();
            return Err(EngineError::Snapshot(why));
        };
        for (slot, saved) in self.slots.iter_mut().zip(&saved.slots) {
            slot.load(saved).map_err(|why| EngineError::state_of(slot.name, &why))?;
        }
        self.time = saved.time;
        self.head = saved.head;
        self.digest = saved.digest;
        self.counts = saved.counts;
        self.timers = saved.timers;
        self.dedup = saved.dedup;
        self.parking = parking;
        self.queue.clear();
        self.halted_cascade = None;
        Ok(())
    }
}

/// The snapshot as written; field for field the same as [`Saved`].
#[derive(Serialize)]
struct SavedRef<'a> {
    version: u32,
    time: Nanos,
    head: Pos,
    digest: Digest,
    counts: Counts,
    timers: &'a Timers,
    dedup: &'a Dedup,
    slots: &'a [SlotState],
}

#[derive(Deserialize)]
struct Saved {
    version: u32,
    time: Nanos,
    head: Pos,
    digest: Digest,
    counts: Counts,
    timers: Timers,
    dedup: Dedup,
    slots: Vec<SlotState>,
}

impl Saved {
    /// Names the first invariant that does not hold.
    fn broken_invariant(&self) -> Option<&'static str> {
        // Sequence numbers and timers are counted in ordinals.
        let head = self.head.ms <= self.time.as_ms() && self.head.seq < ordinal::RANGE;
        let parts = [
            (head, "the position does not match the time"),
            (self.counts.are_of(self.head.seq), "the totals do not match the position"),
            (self.timers.are_sound(ordinal::RANGE), "the timers are not indexed consistently"),
            (self.dedup.is_sound(self.time), "the remembered ids are not indexed consistently"),
        ];
        parts.into_iter().find(|(sound, _)| !sound).map(|(_, part)| part)
    }
}
