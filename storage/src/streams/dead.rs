//! Dead letters in an embedded store.

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadChange, DeadLetter, DeadState, Message, StoreErrorKind, Story, StreamName,
    StreamSpec, Topology,
};

use super::{
    keys::{Key, Tag, behind, last_id},
    kv::{Kv, Step, corrupt},
    publish::{append, next_id},
    records::{DeadRecord, decode},
};

/// Letters removed for their age per letter that is added.
const RETIRE_MAX: usize = 16;

/// Puts a letter on the queue, under an id of its own.
pub(super) fn bury<K: Kv>(
    step: &mut Step<'_, K>,
    stream: &StreamSpec,
    letter: &DeadLetter,
    now: Nanos,
) -> Result<Pos, StoreErrorKind> {
    let mut record = record(step, &stream.name)?;
    if let Some(age) = stream.dead_retention {
        let (from, _) = Key::of(Tag::Dead, &stream.name).prefix();
        let oldest = Nanos(now.0.saturating_sub(age.as_nanos())).as_ms();
        let to = Key::of(Tag::Dead, &stream.name).id(Pos { ms: oldest, seq: 0 }).done();
        for key in step.keys(&from, &to, RETIRE_MAX)? {
            remove(step, &stream.name, last_id(&key)?, &mut record);
        }
    }
    let id = next_id(record.last, now);
    record.last = id;
    record.count += 1;
    step.save(Key::of(Tag::Dead, &stream.name).id(id).done(), &(&letter.message, &letter.story));
    step.save(state_key(&stream.name, id), &letter.state);
    step.save(Key::of(Tag::DeadCount, &stream.name).done(), &record);
    Ok(id)
}

pub(super) fn record<K: Kv>(
    step: &Step<'_, K>,
    stream: &StreamName,
) -> Result<DeadRecord, StoreErrorKind> {
    Ok(step.load(&Key::of(Tag::DeadCount, stream).done())?.unwrap_or_default())
}

fn state_key(stream: &StreamName, id: Pos) -> Vec<u8> {
    Key::of(Tag::DeadState, stream).id(id).done()
}

fn remove<K: Kv>(step: &mut Step<'_, K>, stream: &StreamName, id: Pos, record: &mut DeadRecord) {
    step.remove(Key::of(Tag::Dead, stream).id(id).done());
    step.remove(state_key(stream, id));
    record.count -= 1;
    step.save(Key::of(Tag::DeadCount, stream).done(), record);
}

/// A page of letters.
pub(super) fn page<K: Kv>(
    step: &Step<'_, K>,
    stream: &StreamName,
    after: Pos,
    limit: usize,
) -> Result<Vec<(Pos, DeadLetter)>, StoreErrorKind> {
    let (from, to) = behind(Key::of(Tag::Dead, stream), after);
    let mut page = Vec::new();
    for (key, value) in step.scan(&from, &to, limit)? {
        let id = last_id(&key)?;
        let (message, story): (Message, Story) = decode(&key, &value)?;
        let state_key = state_key(stream, id);
        let state = step.load(&state_key)?.ok_or_else(|| corrupt(&state_key, "it is missing"))?;
        page.push((id, DeadLetter { message, story, state }));
    }
    Ok(page)
}

/// Changes a letter where it is still as expected.
pub(super) fn amend<K: Kv>(
    step: &mut Step<'_, K>,
    topology: &Topology,
    stream: &StreamName,
    amendment: &Amendment,
    now: Nanos,
) -> Result<bool, StoreErrorKind> {
    let state: Option<DeadState> = step.load(&state_key(stream, amendment.id))?;
    if state.as_ref() != Some(&amendment.expected) {
        return Ok(false);
    }
    match &amendment.change {
        DeadChange::Mark(state) => step.save(state_key(stream, amendment.id), state),
        DeadChange::Send(state, publication) => {
            step.save(state_key(stream, amendment.id), state);
            append(step, topology, publication, now)?;
        }
        DeadChange::Remove => {
            let mut record = record(step, stream)?;
            remove(step, stream, amendment.id, &mut record);
        }
    }
    Ok(true)
}
