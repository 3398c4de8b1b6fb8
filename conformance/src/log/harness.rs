//! A fixture whose operations are noted in the journal.

use std::time::Duration;

use silvertine_engine::{
    log::{
        Acquired, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
};

use super::LogFixture;
use crate::journal::Journal;

pub struct Harness<F> {
    fixture: F,
    journal: Journal,
}

impl<F: LogFixture> Harness<F> {
    pub fn new(fixture: F, journal: Journal) -> Self {
        Self { fixture, journal }
    }

    pub fn log(&self) -> Recorded<F::Log> {
        Recorded { log: self.fixture.log(), journal: self.journal.clone() }
    }

    /// For another thread. What readers beside do is not noted: it would bury what the writer does.
    pub fn reader(&self) -> F::Log {
        self.fixture.reader()
    }

    pub fn reopen(&mut self) {
        if F::SURVIVES_RESTART {
            self.journal.note(format_args!("restart"));
            self.fixture.restart();
        }
    }
}

/// A log that notes what it is asked and what it answers.
#[derive(Clone)]
pub struct Recorded<L> {
    log: L,
    journal: Journal,
}

impl<L: EventLog> EventLog for Recorded<L> {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let answer = self.log.acquire(owner, manifest).await;
        self.journal.answer(format_args!("acquire(owner {:x})", owner.0), &answer);
        answer
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let answer = self.log.commit(lease, commit).await;
        self.journal.answer(
            format_args!(
                "commit(epoch {}, expected {}, {} entries up to {}{}{})",
                lease.epoch.0,
                commit.expected,
                commit.entries.len(),
                commit.resulting_pos(),
                if commit.snapshot.is_some() { ", a snapshot" } else { "" },
                if commit.ingress_done.is_some() { ", ingress done" } else { "" },
            ),
            &answer,
        );
        answer
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        let answer = self.log.head().await;
        self.journal.answer(format_args!("head()"), &answer);
        answer
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        let answer = self.log.range(query).await;
        let RangeQuery { after, topics, limit } = query;
        let found = answer.as_ref().map(|page| (page.entries.len(), page.next));
        self.journal.answer(
            format_args!("range(after {after}, {topics:?}, limit {limit}), entries and next"),
            &found,
        );
        answer
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        let answer = self.log.manifest().await;
        self.journal.answer(format_args!("manifest()"), &answer);
        answer
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        let answer = self.log.snapshots().await;
        self.journal.answer(format_args!("snapshots()"), &answer);
        answer
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        let answer = self.log.snapshot(pos).await;
        let found = answer.as_ref().map(|bytes| bytes.as_ref().map(Vec::len));
        self.journal.answer(format_args!("snapshot({pos}), bytes"), &found);
        answer
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        let answer = self.log.publish(messages).await;
        let sent: Vec<_> = messages.iter().map(|one| (one.producer.as_str(), one.seq)).collect();
        self.journal.answer(format_args!("publish({sent:?})"), &answer);
        answer
    }

    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let answer = self.log.ingress(lease, cursor, limit, wait).await;
        let found = answer.as_ref().map(|messages| {
            messages.iter().map(|one| (one.producer.as_str(), one.seq)).collect::<Vec<_>>()
        });
        let epoch = lease.map(|lease| lease.epoch.0);
        self.journal.answer(
            format_args!("ingress(epoch {epoch:?}, after {cursor:?}, limit {limit})"),
            &found,
        );
        answer
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        let answer = self.log.trim(lease, at).await;
        self.journal.answer(format_args!("trim(epoch {}, at {at})", lease.epoch.0), &answer);
        answer
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        let answer = self.log.stats().await;
        self.journal.answer(format_args!("stats()"), &answer);
        answer
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        self.log.durability_note().await
    }
}
