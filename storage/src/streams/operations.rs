//! The operations of a store of streams, each as one step.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadLetter, Fetch, Fetched, Member, Message, MessageId, Publication, Settled,
    Settlement, Start, StoreError, StoreErrorKind, StreamName, StreamStats, Streams, Topology,
    Tries,
};

use super::{
    EmbeddedStreams, dead, fetch,
    keys::{Key, Tag, behind, last_id},
    kv::Kv,
    publish::{self, unknown},
    records::{GroupRecord, Stored, decode},
    stats,
};

impl<K: Kv> Streams for EmbeddedStreams<K> {
    fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    async fn declare(&self, _now: Nanos) -> Result<(), StoreError> {
        let known = |why: String| StoreErrorKind::Invalid { why };
        self.step("declare", |step| {
            self.inner.topology.check().map_err(|why| known(why.to_string()))?;
            for spec in &self.inner.topology.streams {
                for stream in spec.keys() {
                    let record = step.stream(&stream)?;
                    step.save_stream(&stream, &record);
                    for group in spec.groups_on(&stream) {
                        if step.group(&stream, &group.name)?.is_some() {
                            continue;
                        }
                        let mut begun = GroupRecord::default();
                        if group.start == Start::End {
                            begun.delivered = record.last;
                            begun.read = record.added;
                        } else {
                            begun.read = record.added - record.length;
                        }
                        step.save_group(&stream, &group.name, &begun);
                    }
                }
            }
            Ok(())
        })
    }

    async fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        self.step_and_ring("publish", |step| {
            let topology = &self.inner.topology;
            publications.iter().map(|one| publish::append(step, topology, one, now)).collect()
        })
    }

    async fn relay(&self, messages: &[(Pos, Publication)], now: Nanos) -> Result<u64, StoreError> {
        self.step_and_ring("relay", |step| {
            let topology = &self.inner.topology;
            let mut added = 0;
            for (id, publication) in messages {
                added += u64::from(publish::append_at(step, topology, *id, publication, now)?);
            }
            Ok(added)
        })
    }

    async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        self.step("fetch", |step| {
            let (stream, spec) = self.specs(fetch.member)?;
            fetch::fetch(step, stream, spec, fetch)
        })
    }

    fn arrival(&self) -> impl Future<Output = ()> + Send {
        let heard = self.bell().rings;
        let streams = self.clone();
        poll_fn(move |context| {
            let mut bell = streams.bell();
            if bell.rings > heard {
                return Poll::Ready(());
            }
            bell.sleepers.push(context.waker().clone());
            Poll::Pending
        })
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        self.settling("begin", member, now, |settling| settling.begin(tries))
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, StoreError> {
        self.settling("settle", member, now, |settling| settling.settle(settlements))
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.settling("extend", member, now, |settling| settling.extend(held))
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), StoreError> {
        // A member may hold any number of messages, and others want their turn.
        while !self.settling("leave", member, now, |settling| settling.leave())? {}
        Ok(())
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        self.step("read", |step| {
            self.inner.topology.owner_of(stream).ok_or_else(|| unknown(stream))?;
            let (from, to) = behind(Key::of(Tag::Message, stream), after);
            let mut messages = Vec::new();
            for (key, value) in step.scan(&from, &to, limit)? {
                messages.push((last_id(&key)?, decode::<Stored<Message>>(&key, &value)?.message));
            }
            Ok(messages)
        })
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> Result<Option<StreamStats>, StoreError> {
        self.step("stats", |step| match self.inner.topology.owner_of(stream) {
            Some(spec) => stats::stream(step, spec, stream, now),
            None => Ok(None),
        })
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        self.step("dead letters", |step| {
            self.spec(stream)?;
            dead::page(step, stream, after, limit)
        })
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        self.step("bury", |step| {
            let spec = self.spec(stream)?;
            letters.iter().map(|letter| dead::bury(step, spec, letter, now)).collect()
        })
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        self.step_and_ring("amend", |step| {
            self.spec(stream)?;
            let topology = &self.inner.topology;
            let amend = |one| dead::amend(step, topology, stream, one, now);
            let amended = amendments.iter().map(amend).collect::<Result<Vec<bool>, _>>()?;
            if amended.contains(&true) {
                for publication in audit {
                    publish::append(step, topology, publication, now)?;
                }
            }
            Ok(amended)
        })
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = Key::of(Tag::Record, stream).bytes(name.as_bytes()).done();
        self.step("read a record", |step| {
            self.spec(stream)?;
            step.get(&key)
        })
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let key = Key::of(Tag::Record, stream).bytes(name.as_bytes()).done();
        self.step("write a record", |step| {
            self.spec(stream)?;
            if step.get(&key)?.as_deref() != expected {
                return Ok(false);
            }
            match new {
                Some(new) => step.put(key, new.to_vec()),
                None => step.remove(key),
            }
            Ok(true)
        })
    }
}
