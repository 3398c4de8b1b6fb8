//! Counts and contents of whole streams, compared with the model's.

use silvertine_engine::{executor::block_on, pos::Pos};
use silvertine_streams::{StreamName, Streams};

use super::{Witness, standing::shown};
use crate::streams::{
    fault::Fault,
    plan::work_stream,
    promise::{Checked, Promise, Violation, ensure},
    stage::Stage,
};

impl Witness {
    /// Compares the counts of all streams and groups.
    pub(in crate::streams) fn account<S: Streams>(
        &self,
        store: &S,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let now = stage.store_time();
        for (stream, standing) in &self.streams {
            let stats = block_on(store.stream_stats(stream, now));
            let stats = stats.map_err(|error| {
                Violation::plain(Promise::Model, format!("stats fail: {error}"))
            })?;
            let Some(stats) = stats else {
                return Err(Violation::plain(Promise::Account, format!("{stream} is gone")));
            };
            let added = standing.len() as u64;
            ensure!(
                stats.added == added,
                Durable,
                "{stream} has {} messages, not {added}",
                stats.added
            );
            if *stream == work_stream() {
                let dead = self.letters.len() as u64;
                ensure!(stats.dead == dead, Account, "{} dead letters, not {dead}", stats.dead);
            }
            for group in self.groups.iter().filter(|group| group.keys.contains(stream)) {
                let said = stats.groups.iter().find(|stats| stats.group == group.spec.name);
                let Some(said) = said else {
                    return Err(Violation::plain(
                        Promise::Account,
                        format!("the group {} is gone", group.spec.name),
                    ));
                };
                group.account(stream, said, added)?;
                if said.blocked > 0 {
                    stage.counts.note(Fault::Blocked);
                }
            }
        }
        Ok(())
    }

    /// Compares everything on a stream that is never trimmed.
    pub(in crate::streams) fn compare<S: Streams>(
        &self,
        store: &S,
        stream: &StreamName,
    ) -> Checked {
        let standing = &self.streams[stream];
        let read = block_on(store.read(stream, Pos::ZERO, standing.len() + 8));
        let read =
            read.map_err(|error| Violation::plain(Promise::Model, format!("read fails: {error}")))?;
        let mut read = read.iter();
        for standing in standing.iter().filter(|standing| !standing.deleted) {
            let found = read.next();
            let same = found
                .is_some_and(|(id, message)| *id == standing.id && *message == standing.message);
            ensure!(
                same,
                Durable,
                "{stream} holds {}, not {} at {}",
                shown(found.map(|(_, message)| message)),
                shown(Some(&standing.message)),
                standing.id
            );
        }
        let more = read.next();
        let more = more.map(|(_, message)| message);
        ensure!(more.is_none(), Effect, "{stream} holds {}, which nobody published", shown(more));
        Ok(())
    }
}
