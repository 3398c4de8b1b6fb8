//! Appending messages, and keeping streams as long as their topology says.

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Publication, StoreErrorKind, StreamName, StreamSpec, Topology, WhenFull};

use super::{
    keys::{Key, Tag, successor},
    kv::{Kv, Step},
    records::{Stored, StreamRecord},
};

/// The most old messages removed per message that is added.
const TRIM_MAX: u32 = 1_000;

/// Appends a message under the next id.
pub(super) fn append<K: Kv>(
    step: &mut Step<'_, K>,
    topology: &Topology,
    publication: &Publication,
    now: Nanos,
) -> Result<Pos, StoreErrorKind> {
    let (spec, mut record) = begin(step, topology, publication)?;
    let id = next_id(record.last, now);
    add(step, spec, &mut record, id, publication, now)?;
    Ok(id)
}

/// Checks a message and finds its stream.
fn begin<'t, K: Kv>(
    step: &Step<'_, K>,
    topology: &'t Topology,
    publication: &Publication,
) -> Result<(&'t StreamSpec, StreamRecord), StoreErrorKind> {
    let Publication { stream, message } = publication;
    message.check().map_err(|why| StoreErrorKind::Invalid { why: why.to_string() })?;
    let spec = topology.owner_of(stream).ok_or_else(|| unknown(stream))?;
    Ok((spec, step.stream(stream)?))
}

/// A stream that the topology does not have.
pub(super) fn unknown(stream: &StreamName) -> StoreErrorKind {
    StoreErrorKind::Invalid { why: format!("there is no stream {stream} in this topology") }
}

/// The id behind `last` at `now`, by the rule of Redis.
pub(super) const fn next_id(last: Pos, now: Nanos) -> Pos {
    let ms = now.as_ms();
    if ms > last.ms { Pos { ms, seq: 0 } } else { successor(last) }
}

/// Appends a message under an id of the caller's; passes over what is there already.
pub(super) fn append_at<K: Kv>(
    step: &mut Step<'_, K>,
    topology: &Topology,
    id: Pos,
    publication: &Publication,
    now: Nanos,
) -> Result<bool, StoreErrorKind> {
    let (spec, mut record) = begin(step, topology, publication)?;
    if id <= record.last {
        return Ok(false);
    }
    add(step, spec, &mut record, id, publication, now)?;
    Ok(true)
}

fn add<K: Kv>(
    step: &mut Step<'_, K>,
    spec: &StreamSpec,
    record: &mut StreamRecord,
    id: Pos,
    publication: &Publication,
    now: Nanos,
) -> Result<(), StoreErrorKind> {
    let Publication { stream, message } = publication;
    trim(step, spec, stream, record, now)?;
    record.last = id;
    record.length += 1;
    record.added += 1;
    let stored = Stored { number: record.added, message };
    step.save(Key::of(Tag::Message, stream).id(id).done(), &stored);
    step.save_stream(stream, record);
    Ok(())
}

/// Makes room for one more message, as far as the groups allow it.
fn trim<K: Kv>(
    step: &mut Step<'_, K>,
    spec: &StreamSpec,
    stream: &StreamName,
    record: &mut StreamRecord,
    now: Nanos,
) -> Result<(), StoreErrorKind> {
    let mut surplus = spec.max_len.map_or(0, |max| (record.length + 1).saturating_sub(max));
    if surplus == 0 && spec.retention.is_none() {
        return Ok(());
    }
    let oldest_kept = spec.retention.map_or(Pos::ZERO, |age| oldest_kept(now, age));
    let mut floor = None;
    for _ in 0..TRIM_MAX {
        let Some(oldest) = step.oldest(stream, record)? else { return Ok(()) };
        if surplus == 0 && oldest >= oldest_kept {
            return Ok(());
        }
        let floor = match floor {
            Some(floor) => floor,
            None => *floor.insert(self::floor(step, spec, stream)?),
        };
        let handled = oldest < floor;
        if !handled && surplus > 0 && spec.when_full == WhenFull::Refuse {
            let max = spec.max_len.unwrap_or_default();
            let why =
                format!("{stream} holds {max} messages that a group has not handled; it is full");
            return Err(StoreErrorKind::RefusesWrites { why });
        }
        let cut = !handled && surplus > 0 && spec.when_full == WhenFull::Cut;
        if !handled && !cut {
            return Ok(());
        }
        step.remove(Key::of(Tag::Message, stream).id(oldest).done());
        record.trimmed = oldest;
        record.length -= 1;
        record.cut += u64::from(cut);
        surplus = surplus.saturating_sub(1);
    }
    Ok(())
}

fn oldest_kept(now: Nanos, age: Span) -> Pos {
    Pos { ms: Nanos(now.0.saturating_sub(age.as_nanos())).as_ms(), seq: 0 }
}

/// The oldest id that some group has not handled; the last possible one where all is handled or nobody
/// consumes.
fn floor<K: Kv>(
    step: &Step<'_, K>,
    spec: &StreamSpec,
    stream: &StreamName,
) -> Result<Pos, StoreErrorKind> {
    let mut floor = Pos { ms: u64::MAX, seq: u64::MAX };
    for group in spec.groups_on(stream) {
        let Some(record) = step.group(stream, &group.name)? else { continue };
        let pending = step.oldest_pending(stream, &group.name)?;
        floor = floor.min(successor(record.delivered)).min(pending.unwrap_or(floor));
    }
    Ok(floor)
}
