//! Small events and batches.

use std::ops::RangeInclusive;

use silvertine_engine::{
    codec::decode_entry,
    event::{Body, Event, EventId, Header, Origin, System},
    log::Batch,
    pos::Pos,
    source::Input,
    text::Name,
    time::Nanos,
};

/// A name.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a short name")
}

/// A position of the first millisecond.
#[must_use]
pub const fn pos(seq: u64) -> Pos {
    Pos { ms: 0, seq }
}

/// An input of the source `feed`, ten nanoseconds after the one before.
#[must_use]
pub fn input(source_seq: u64, body: Body) -> Input {
    let at = Nanos(source_seq * 10);
    Input { source: name("feed"), source_seq, id: None, event_time: at, recv_time: at, body }
}

/// Entries with these numbers, all of the same kind.
#[must_use]
pub fn batch(seqs: RangeInclusive<u64>) -> Batch {
    let mut batch = Batch::default();
    for seq in seqs {
        let id = EventId(seq.into());
        let header = Header {
            id,
            event_time: Nanos(0),
            recv_time: Nanos(0),
            source: name("fixture"),
            source_seq: seq,
            correlation: id,
            causation: None,
        };
        let body = System::CircuitClosed { handler: name("h") }.into();
        batch.push(&Event { pos: pos(seq), time: Nanos(0), origin: Origin::Input, header, body });
    }
    batch
}

/// The events of a batch.
///
/// # Panics
/// When one does not decode.
#[must_use]
pub fn entries(batch: &Batch) -> Vec<Event> {
    batch.iter().map(|entry| decode_entry(entry.bytes).expect("decodes")).collect()
}
