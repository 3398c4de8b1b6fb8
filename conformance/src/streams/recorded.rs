//! A store that notes in the journal what it is asked and what it answers.

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadLetter, Delivery, Fetch, Fetched, Member, Message, MessageId, Publication,
    Settled, Settlement, StoreError, StreamName, StreamStats, Streams, Topology, Tries,
};

use crate::journal::Journal;

#[derive(Clone)]
pub struct Recorded<S> {
    streams: S,
    journal: Journal,
}

impl<S> Recorded<S> {
    pub fn new(streams: S, journal: Journal) -> Self {
        Self { streams, journal }
    }
}

/// Ids alone: messages are long.
fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|one| format!("{} {:?}", one.id, one.why)).collect()
}

impl<S: Streams> Streams for Recorded<S> {
    fn topology(&self) -> &Topology {
        self.streams.topology()
    }

    async fn declare(&self, now: Nanos) -> Result<(), StoreError> {
        let answer = self.streams.declare(now).await;
        self.journal.answer(format_args!("declare()"), &answer);
        answer
    }

    async fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        let answer = self.streams.publish(publications, now).await;
        self.journal.answer(format_args!("publish({} messages)", publications.len()), &answer);
        answer
    }

    async fn relay(&self, messages: &[(Pos, Publication)], now: Nanos) -> Result<u64, StoreError> {
        let answer = self.streams.relay(messages, now).await;
        self.journal.answer(format_args!("relay({} messages)", messages.len()), &answer);
        answer
    }

    async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        let answer = self.streams.fetch(fetch).await;
        let Fetch { member, limit, scope, lanes, .. } = fetch;
        let found = answer.as_ref().map(|fetched| ids(&fetched.deliveries));
        self.journal.answer(
            format_args!("fetch({}, limit {limit}, {scope:?}, {lanes:?})", member.consumer),
            &found,
        );
        answer
    }

    async fn arrival(&self) {
        self.streams.arrival().await;
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        let answer = self.streams.begin(member, tries, now).await;
        self.journal.answer(format_args!("begin({}, {tries:?})", member.consumer), &answer);
        answer
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, StoreError> {
        let answer = self.streams.settle(member, settlements, now).await;
        let asked: Vec<_> = settlements.iter().map(|one| (&one.id.id, &one.disposition)).collect();
        self.journal.answer(format_args!("settle({}, {asked:?})", member.consumer), &answer);
        answer
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, StoreError> {
        let answer = self.streams.extend(member, held, now).await;
        self.journal
            .answer(format_args!("extend({}, {} messages)", member.consumer, held.len()), &answer);
        answer
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), StoreError> {
        let answer = self.streams.leave(member, now).await;
        self.journal.answer(format_args!("leave({})", member.consumer), &answer);
        answer
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        let answer = self.streams.read(stream, after, limit).await;
        let found = answer
            .as_ref()
            .map(|messages| messages.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>());
        self.journal.answer(format_args!("read({stream}, after {after}, limit {limit})"), &found);
        answer
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> Result<Option<StreamStats>, StoreError> {
        // Asked after every step: to note it would push out the operations that matter.
        self.streams.stream_stats(stream, now).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        let answer = self.streams.dead_letters(stream, after, limit).await;
        let found = answer
            .as_ref()
            .map(|letters| letters.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>());
        self.journal
            .answer(format_args!("dead_letters({stream}, after {after}, limit {limit})"), &found);
        answer
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        let answer = self.streams.bury(stream, letters, now).await;
        self.journal.answer(format_args!("bury({stream}, {} letters)", letters.len()), &answer);
        answer
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        let answer = self.streams.amend(stream, amendments, audit, now).await;
        self.journal.answer(format_args!("amend({stream}, {amendments:?})"), &answer);
        answer
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = self.streams.record(stream, name).await;
        self.journal.answer(format_args!("record({stream}, {name})"), &answer);
        answer
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let answer = self.streams.swap_record(stream, name, expected, new).await;
        self.journal
            .answer(format_args!("swap_record({stream}, {name}, {expected:?}, {new:?})"), &answer);
        answer
    }
}
