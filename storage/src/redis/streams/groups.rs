//! Creating streams and groups, and creating groups again that somebody removed.

use silvertine_engine::pos::Pos;
use silvertine_streams::{MessageId, Regrouped, Start, StoreError, StreamName, StreamSpec};

use super::{Call, Place, RedisStreams, StreamKeys, answers};

impl RedisStreams {
    pub(super) async fn declare_all(&self) -> Result<(), StoreError> {
        let topology = &self.inner.topology;
        topology.check().map_err(|why| self.invalid("declare", why.to_string()))?;
        for spec in &topology.streams {
            let Some(keys) = self.inner.keys.get(&spec.name) else { continue };
            for stream in spec.keys() {
                self.declare_stream(spec, keys, &stream).await?;
            }
        }
        Ok(())
    }

    async fn declare_stream(
        &self,
        spec: &StreamSpec,
        keys: &StreamKeys,
        stream: &StreamName,
    ) -> Result<(), StoreError> {
        let counts = |group| {
            let lanes = &keys.groups.get(group)?.lanes;
            lanes.iter().find(|lane| lane.stream == *stream).map(|lane| &lane.counts)
        };
        let groups = spec.groups_on(stream);
        let groups = groups.filter_map(|group| Some((group, counts(&group.name)?)));
        let groups: Vec<_> = groups.collect();
        let mut call = Call::default();
        call.key(stream.as_str()).arg(groups.len());
        for (group, counts) in groups {
            call.key(counts).arg(&group.name);
            call.arg(if group.start == Start::End { "end" } else { "beginning" });
        }
        self.run("declare", &self.inner.scripts.declare, &call).await.map(|_| ())
    }

    /// Creates the group on those lanes where it is gone. What was delivered there up to the newest of `ids` and
    /// is not known to be finished waits to be delivered again.
    pub(super) async fn regroup<'a>(
        &self,
        operation: &'static str,
        place: Place<'_>,
        ids: impl Iterator<Item = &'a MessageId>,
    ) -> Result<(), StoreError> {
        let lanes = &place.keys.lanes;
        let mut newest: Vec<Option<Pos>> = vec![None; lanes.len()];
        for id in ids {
            if let Some(lane) = place.lane(&id.stream) {
                newest[lane - 1] = newest[lane - 1].max(Some(id.id));
            }
        }
        let mut call = place.call();
        for newest in newest {
            call.arg(newest.map(|id| id.to_string()).unwrap_or_default());
        }
        let answer = self.run(operation, &self.inner.scripts.regroup, &call).await?;
        let set = answers::array(answer).map_err(|why| self.odd(operation, why))?;
        let regrouped = lanes.iter().zip(&set).filter_map(|(lane, at)| {
            Some(Regrouped { stream: lane.stream.clone(), at: answers::id(at).ok()? })
        });
        self.note_regrouped(place, regrouped);
        Ok(())
    }
}
