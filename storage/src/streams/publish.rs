//! Appending messages, and keeping streams as long as their topology says.

use silvertine_engine::{
    log::{LogErrorKind, Pos},
    span::Span,
    time::Nanos,
    worker::{Message, Publication, StreamName, StreamSpec, Topology, WhenFull},
};

use super::{
    keys::{Key, Tag, last_id},
    kv::{Kv, Step},
    records::{Stored, StreamRecord},
};

/// Old messages looked at per append for their age: more are added by one call only to be looked at by the next.
const RETIRE_MAX: usize = 64;

/// Appends a message under the next id.
pub(super) fn append<K: Kv>(
    step: &mut Step<'_, K>,
    topology: &Topology,
    publication: &Publication,
    now: Nanos,
) -> Result<Pos, LogErrorKind> {
    let Publication { stream, message } = publication;
    message.check().map_err(|why| LogErrorKind::Invalid { why: why.to_string() })?;
    let mut record = step.stream(stream)?;
    let id = next_id(record.last, now);
    let spec = topology.owner_of(stream);
    if let Some(spec) = spec {
        trim(step, spec, stream, &mut record, now, 1)?;
    }
    insert(step, stream, &mut record, id, message);
    Ok(id)
}

/// The id behind `last` at `now`, by the rule of Redis.
pub(super) fn next_id(last: Pos, now: Nanos) -> Pos {
    let ms = now.as_ms();
    if ms > last.ms { Pos { ms, seq: 0 } } else { Pos { ms: last.ms, seq: last.seq + 1 } }
}

/// Appends a message under an id of the caller's; passes over what is there already.
pub(super) fn append_at<K: Kv>(
    step: &mut Step<'_, K>,
    topology: &Topology,
    id: Pos,
    publication: &Publication,
    now: Nanos,
) -> Result<bool, LogErrorKind> {
    let Publication { stream, message } = publication;
    message.check().map_err(|why| LogErrorKind::Invalid { why: why.to_string() })?;
    let mut record = step.stream(stream)?;
    if id <= record.last {
        return Ok(false);
    }
    if let Some(spec) = topology.owner_of(stream) {
        trim(step, spec, stream, &mut record, now, 1)?;
    }
    insert(step, stream, &mut record, id, message);
    Ok(true)
}

fn insert<K: Kv>(
    step: &mut Step<'_, K>,
    stream: &StreamName,
    record: &mut StreamRecord,
    id: Pos,
    message: &Message,
) {
    record.last = id;
    record.length += 1;
    record.added += 1;
    let stored = Stored { number: record.added, message };
    step.save(Key::of(Tag::Message, stream).id(id).done(), &stored);
    step.save_stream(stream, record);
}

/// Makes room for `coming` messages, as far as the groups allow it.
fn trim<K: Kv>(
    step: &mut Step<'_, K>,
    spec: &StreamSpec,
    stream: &StreamName,
    record: &mut StreamRecord,
    now: Nanos,
    coming: u64,
) -> Result<(), LogErrorKind> {
    let full = spec.max_len.is_some_and(|max| record.length + coming > max);
    if !full && spec.retention.is_none() {
        return Ok(());
    }
    let floor = floor(step, spec, stream)?;
    let oldest_kept = spec.retention.map(|age| oldest_kept(now, age));
    let (from, to) = Key::of(Tag::Message, stream).prefix();
    let surplus = spec.max_len.map_or(0, |max| (record.length + coming).saturating_sub(max));
    let looked_at = usize::try_from(surplus).unwrap_or(usize::MAX).max(RETIRE_MAX);
    let mut surplus = surplus;
    for (key, _) in step.scan(&from, &to, looked_at)? {
        let Some(id) = last_id(&key) else { continue };
        let handled = floor.is_none_or(|floor| id < floor);
        let too_old = oldest_kept.is_some_and(|kept| id < kept);
        let cut = !handled && surplus > 0 && spec.when_full == WhenFull::Cut;
        if !(cut || handled && (surplus > 0 || too_old)) {
            break;
        }
        step.remove(key);
        record.length -= 1;
        record.cut += u64::from(cut);
        surplus = surplus.saturating_sub(1);
    }
    if surplus > 0 && spec.when_full == WhenFull::Refuse {
        let max = spec.max_len.unwrap_or_default();
        let why = format!("{stream} holds {max} messages that a group has not handled; it is full");
        return Err(LogErrorKind::RefusesWrites { why });
    }
    Ok(())
}

fn oldest_kept(now: Nanos, age: Span) -> Pos {
    Pos { ms: Nanos(now.0.saturating_sub(age.as_nanos())).as_ms(), seq: 0 }
}

/// The oldest id that some group has not handled; `None` where all are handled or nobody consumes.
fn floor<K: Kv>(
    step: &Step<'_, K>,
    spec: &StreamSpec,
    stream: &StreamName,
) -> Result<Option<Pos>, LogErrorKind> {
    let mut floor = None;
    for group in spec.groups_on(stream) {
        let Some(record) = step.group(stream, &group.name)? else { continue };
        let (from, to) = Key::of(Tag::Pending, stream).group(&group.name).prefix();
        let pending = step.scan(&from, &to, 1)?;
        let oldest = pending.first().and_then(|(key, _)| last_id(key));
        let next = Pos { ms: record.delivered.ms, seq: record.delivered.seq + 1 };
        let unhandled = oldest.unwrap_or(next).min(next);
        floor = Some(floor.map_or(unhandled, |floor: Pos| floor.min(unhandled)));
    }
    Ok(floor)
}
