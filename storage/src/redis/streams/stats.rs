//! Lengths and counts.

use redis::Value;
use silvertine_engine::{log::Applied, pos::Pos, span::Span};
use silvertine_streams::{GroupName, GroupStats, StoreError, StreamName, StreamSpec, StreamStats};

use super::{
    Call, RedisStreams,
    answers::{self, Parsed},
};

const OPERATION: &str = "stats";

impl RedisStreams {
    pub(super) async fn read_stream_stats(
        &self,
        stream: &StreamName,
    ) -> Result<Option<StreamStats>, StoreError> {
        let Some(spec) = self.inner.topology.owner_of(stream) else { return Ok(None) };
        let (_, keys) = self.spec(OPERATION, &spec.name)?;
        let mut call = Call::default();
        call.key(stream.as_str()).key(spec.name.as_str());
        call.key(keys.dead.as_str()).key(&keys.counts);
        call.arg(spec.groups_on(stream).count());
        for group in spec.groups_on(stream) {
            let lanes = keys.groups.get(&group.name).map(|group| group.lanes.iter());
            let lane = lanes.into_iter().flatten().find(|lane| lane.stream == *stream);
            call.key(lane.map_or("", |lane| lane.counts.as_str()));
            call.arg(&group.name).arg(group.reclaim_after.as_millis());
        }
        let answer = self.run(OPERATION, &self.inner.scripts.stats, &call).await;
        let answer = answer.map_err(|error| StoreError { applied: Applied::No, ..error })?;
        if answer == Value::Nil {
            return Ok(None);
        }
        parse(spec, answer).map(Some).map_err(|why| self.odd(OPERATION, why))
    }
}

fn parse(spec: &StreamSpec, answer: Value) -> Parsed<StreamStats> {
    let [length, added, last, first, cut, dead, now, groups] = answers::parts(answer)?;
    let (added, last) = (answers::count(&added)?, answers::id(&last)?);
    let now = answers::count(&now)?;
    let length = answers::count(&length)?;
    let mut stats = Vec::new();
    for group in answers::array(groups)? {
        stats.push(group_stats(spec, added, length, now, group)?);
    }
    Ok(StreamStats {
        length,
        added,
        last,
        first: optional_id(&first)?,
        cut: answers::count(&cut)?,
        dead: answers::count(&dead)?,
        groups: stats,
    })
}

fn group_stats(
    spec: &StreamSpec,
    added: u64,
    length: u64,
    now: u64,
    answer: Value,
) -> Parsed<GroupStats> {
    let [
        name,
        pending,
        waits,
        blocked,
        done,
        duplicates,
        dead,
        begun,
        skipped,
        oldest,
        unread,
        members,
    ] = answers::parts(answer)?;
    let name = answers::text(&name).and_then(|name| GroupName::new(&name).ok());
    let group = name.and_then(|name| spec.group(&name)).ok_or("a group that nobody knows")?;
    let [pending, waits, blocked] =
        [answers::count(&pending)?, answers::count(&waits)?, answers::count(&blocked)?];
    let [done, duplicates, dead] =
        [answers::count(&done)?, answers::count(&duplicates)?, answers::count(&dead)?];
    // What was added since the group began and is nowhere else has not been delivered. A foreign hand that trims
    // or deletes makes it an upper bound, which the stream's length bounds again.
    let elsewhere = pending + done + duplicates + dead + answers::count(&skipped)?;
    let since = i128::from(added) - i128::from(answers::number(&begun)?);
    let waiting = u64::try_from(since - i128::from(elsewhere)).unwrap_or(0);
    let waiting = if answers::count(&unread)? == 0 { 0 } else { waiting.clamp(1, length.max(1)) };
    let oldest = optional_id(&oldest)?;
    Ok(GroupStats {
        group: group.name.clone(),
        waiting,
        held: pending.saturating_sub(waits + blocked),
        retrying: waits,
        blocked,
        done,
        duplicates,
        dead,
        oldest: oldest.map(|id| Span::from_millis(now.saturating_sub(id.ms))),
        members: answers::count(&members)?,
    })
}

fn optional_id(value: &Value) -> Parsed<Option<Pos>> {
    match answers::bytes(value) {
        Some([]) => Ok(None),
        _ => answers::id(value).map(Some),
    }
}
