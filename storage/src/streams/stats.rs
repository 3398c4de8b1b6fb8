//! Lengths and counts.

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    GroupSpec, GroupStats, StoreErrorKind, StreamName, StreamSpec, StreamStats,
};

use super::{
    dead,
    keys::{Key, Tag, behind, last_id},
    kv::{Kv, Step},
    records::{GroupRecord, StreamRecord},
};

pub(super) fn stream<K: Kv>(
    step: &Step<'_, K>,
    spec: &StreamSpec,
    name: &StreamName,
    now: Nanos,
) -> Result<Option<StreamStats>, StoreErrorKind> {
    let Some(record) = step.load::<StreamRecord>(&Key::of(Tag::Stream, name).done())? else {
        return Ok(None);
    };
    let first = step.oldest(name, &record)?;
    let mut groups = Vec::new();
    for group in spec.groups_on(name) {
        if let Some(counts) = step.group(name, &group.name)? {
            groups.push(group_stats(step, spec, name, &record, group, &counts, now)?);
        }
    }
    let dead = if *name == spec.name { dead::record(step, name)?.count } else { 0 };
    let StreamRecord { last, length, added, cut, .. } = record;
    Ok(Some(StreamStats { length, added, last, first, cut, dead, groups }))
}

fn group_stats<K: Kv>(
    step: &Step<'_, K>,
    stream: &StreamSpec,
    name: &StreamName,
    record: &StreamRecord,
    group: &GroupSpec,
    counts: &GroupRecord,
    now: Nanos,
) -> Result<GroupStats, StoreErrorKind> {
    let new = behind(Key::of(Tag::Message, name), counts.delivered.max(record.trimmed));
    let new = step.first(&new)?.map(|key| last_id(&key)).transpose()?;
    let oldest = step.oldest_pending(name, &group.name)?.into_iter().chain(new).min();
    let age = |id: Pos| now.as_ms().saturating_sub(id.ms);
    let (from, to) = Key::of(Tag::Member, &stream.name).group(&group.name).prefix();
    Ok(GroupStats {
        group: group.name.clone(),
        // Messages go from the oldest on, so what is kept are the newest so many.
        waiting: record.added - counts.read.max(record.added - record.length),
        held: counts.held,
        retrying: counts.retrying,
        blocked: counts.blocked,
        done: counts.done,
        duplicates: counts.duplicates,
        dead: counts.dead,
        oldest: oldest.map(|id| Span::from_millis(age(id))),
        members: step.keys(&from, &to, usize::MAX)?.len() as u64,
    })
}
