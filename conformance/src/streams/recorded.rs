//! A store that notes in the journal what it is asked and what it answers.

use silvertine_engine::{log::LogError, pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, DeadLetter, Delivery, Member, Message, MessageId, Poll, Polled, Publication,
    Settled, Settlement, StreamName, StreamStats, Streams, Topology, Tries,
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

    async fn declare(&self, now: Nanos) -> Result<(), LogError> {
        let answer = self.streams.declare(now).await;
        self.journal.answer(format_args!("declare()"), &answer);
        answer
    }

    async fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> Result<Vec<Pos>, LogError> {
        let answer = self.streams.publish(publications, now).await;
        self.journal.answer(format_args!("publish({} messages)", publications.len()), &answer);
        answer
    }

    async fn relay(&self, messages: &[(Pos, Publication)], now: Nanos) -> Result<u64, LogError> {
        let answer = self.streams.relay(messages, now).await;
        self.journal.answer(format_args!("relay({} messages)", messages.len()), &answer);
        answer
    }

    async fn poll(&self, poll: &Poll<'_>) -> Result<Polled, LogError> {
        let answer = self.streams.poll(poll).await;
        let Poll { member, limit, own, tend, reverse, .. } = poll;
        let found = answer.as_ref().map(|polled| ids(&polled.deliveries));
        self.journal.answer(
            format_args!(
                "poll({}, limit {limit}, own {own}, tend {tend}, reverse {reverse})",
                member.consumer
            ),
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
    ) -> Result<Vec<bool>, LogError> {
        let answer = self.streams.begin(member, tries, now).await;
        self.journal.answer(format_args!("begin({}, {tries:?})", member.consumer), &answer);
        answer
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, LogError> {
        let answer = self.streams.settle(member, settlements, now).await;
        let asked: Vec<_> = settlements.iter().map(|one| (&one.id.id, &one.verdict)).collect();
        self.journal.answer(format_args!("settle({}, {asked:?})", member.consumer), &answer);
        answer
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, LogError> {
        let answer = self.streams.extend(member, held, now).await;
        self.journal
            .answer(format_args!("extend({}, {} messages)", member.consumer, held.len()), &answer);
        answer
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), LogError> {
        let answer = self.streams.leave(member, now).await;
        self.journal.answer(format_args!("leave({})", member.consumer), &answer);
        answer
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, LogError> {
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
    ) -> Result<Option<StreamStats>, LogError> {
        // Asked after every step: to note it would push out the operations that matter.
        self.streams.stream_stats(stream, now).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, LogError> {
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
    ) -> Result<Vec<Pos>, LogError> {
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
    ) -> Result<Vec<bool>, LogError> {
        let answer = self.streams.amend(stream, amendments, audit, now).await;
        self.journal.answer(format_args!("amend({stream}, {amendments:?})"), &answer);
        answer
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, LogError> {
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
    ) -> Result<bool, LogError> {
        let answer = self.streams.swap_record(stream, name, expected, new).await;
        self.journal
            .answer(format_args!("swap_record({stream}, {name}, {expected:?}, {new:?})"), &answer);
        answer
    }
}
