//! A fixture with declared streams, short ways to work on them, and the clock that all go by.

use std::time::Duration;

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    Class, ConsumerName, DeadLetter, DeadState, Delivery, Disposition, Fetch, FetchScope, Fetched,
    GroupName, GroupSpec, GroupStats, HandlerFailure, LaneOrder, Member, Message, MessageId,
    Publication, Reason, Settled, Settlement, StoreError, StoreErrorKind, Story, StreamName,
    StreamSpec, StreamStats, Streams, Topology, Tries, Why,
};

use super::{StreamsFixture, recorded::Recorded};
use crate::{
    breach::{Must, ensure_eq, refused},
    journal::Journal,
};

pub const NANOS_PER_MS: u64 = 1_000_000;

/// Where the suite's own clock begins.
const BEGINNING: Nanos = Nanos(1_700_000_000_000_000_000);

/// A pause before a retry.
pub const PAUSE: Span = Span::from_millis(150);
/// A member without a sign of life for so long has died.
pub const DEAD_AFTER: Span = Span::from_millis(300);
/// So long that everything that waits for something is due.
pub const LONG: Span = Span::from_millis(700);

pub fn stream() -> StreamName {
    name("mgmt:trading:commands")
}

/// Where handlers publish to.
pub fn outputs() -> StreamName {
    name("mgmt:trading:results")
}

pub fn name(text: &str) -> StreamName {
    StreamName::new(text).must("a name")
}

pub fn group(text: &str) -> GroupName {
    GroupName::new(text).must("a name")
}

/// A group with the defaults.
pub fn workers() -> GroupSpec {
    GroupSpec::new(group("workers"))
}

/// The stream with one group.
pub fn plain() -> StreamSpec {
    StreamSpec::new(stream()).with_group(workers())
}

pub fn text(text: &str) -> Message {
    Message::default().with("data", text)
}

/// What `text` wrote; a dash where the message is gone.
pub fn said(delivery: &Delivery) -> String {
    delivery.message.as_ref().map_or("-".to_owned(), spoken)
}

pub fn spoken(message: &Message) -> String {
    message.text("data").unwrap_or_default().into_owned()
}

/// What was delivered and why, in order.
pub fn shown(deliveries: &[Delivery]) -> Vec<(String, Why)> {
    deliveries.iter().map(|delivery| (said(delivery), delivery.why)).collect()
}

pub fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(said).collect()
}

pub fn done(key: &str) -> Disposition {
    Disposition::Done { key: Some(key.into()), emit: Vec::new() }
}

/// Done, and known by its place alone.
pub const fn plainly_done() -> Disposition {
    Disposition::Done { key: None, emit: Vec::new() }
}

pub fn retry(attempts: u32, after: Span) -> Disposition {
    Disposition::Retry { tries: Tries { attempts, ..Tries::default() }, after }
}

pub fn letter(id: &MessageId, said: &str) -> DeadLetter {
    let story = Story {
        origin: id.clone(),
        group: group("workers"),
        key: id.to_string(),
        published: Nanos(1_000_000),
        first_failed: Nanos(2_000_000),
        last_failed: Nanos(3_000_000),
        attempts: 4,
        deliveries: 5,
        reclaims: 6,
        reason: Reason::Permanent,
        failure: HandlerFailure::new(Class::Permanent, "refused", "no such account"),
        fingerprint: 7,
        handler: "handler".to_owned(),
        consumer: ConsumerName::new("a").must("a name"),
        build: "1".to_owned(),
        redrives: 8,
    };
    DeadLetter { message: text(said), story, state: DeadState::default() }
}

pub fn dead(id: &MessageId) -> Disposition {
    Disposition::Dead(Box::new(letter(id, "dead")))
}

/// This machine's clock.
fn system_time() -> Nanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Nanos(since.must("a clock after 1970").as_nanos() as u64)
}

pub fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    refused(result, "it is refused").kind
}

/// How a member asks.
#[derive(Clone, Copy)]
pub struct Ask {
    pub limit: usize,
    pub own: bool,
    pub tend: bool,
    pub reverse: bool,
}

/// New messages, retries and what dead members held.
pub const ANY: Ask = Ask { limit: 10, own: false, tend: true, reverse: false };
/// The same after a start.
pub const STARTED: Ask = Ask { own: true, ..ANY };
/// New messages alone.
pub const NEW: Ask = Ask { tend: false, ..ANY };

/// Makes fixtures, each for the topology that a law needs.
pub struct Setup<'a, F> {
    fresh: &'a dyn Fn(Topology) -> F,
    journal: &'a Journal,
}

impl<'a, F: StreamsFixture> Setup<'a, F> {
    pub fn new(fresh: &'a dyn Fn(Topology) -> F, journal: &'a Journal) -> Self {
        Self { fresh, journal }
    }

    /// This stream and one for outputs.
    pub async fn open(&self, spec: StreamSpec) -> Harness<F> {
        self.open_all(vec![spec, StreamSpec::new(outputs())]).await
    }

    pub async fn open_all(&self, streams: Vec<StreamSpec>) -> Harness<F> {
        let fixture = (self.fresh)(Topology::new(streams));
        let clock = fixture.own_time().is_none().then_some(BEGINNING);
        let journal = self.journal.clone();
        let harness = Harness { fixture, member_of: group("workers"), clock, journal };
        harness.streams().declare(harness.now()).await.must("declares");
        harness
    }
}

/// A fixture with declared streams.
pub struct Harness<F> {
    fixture: F,
    pub member_of: GroupName,
    /// The suite's clock, where the store has none of its own.
    clock: Option<Nanos>,
    journal: Journal,
}

impl<F: StreamsFixture> Harness<F> {
    pub fn streams(&self) -> Recorded<F::Streams> {
        Recorded::new(self.fixture.streams().clone(), self.journal.clone())
    }

    /// What a restarted process sees.
    pub fn restart(&mut self) {
        if F::SURVIVES_RESTART {
            self.journal.note(format_args!("restart"));
            self.fixture.restart();
        }
    }

    /// The caller's time.
    pub fn now(&self) -> Nanos {
        self.clock.unwrap_or_else(system_time)
    }

    /// The time by which the store decides.
    pub fn store_time(&self) -> Nanos {
        self.clock.or_else(|| self.fixture.own_time()).must("a time of its own, as before")
    }

    /// Lets at least so much time pass.
    pub async fn pass(&mut self, span: Span) {
        self.journal.note(format_args!("{span} pass"));
        match &mut self.clock {
            Some(clock) => *clock = clock.saturating_add(span.duration()),
            // It may count whole milliseconds.
            None => tokio::time::sleep(span.duration() + Duration::from_millis(3)).await,
        }
    }

    pub fn member(&self, name: &str) -> Member {
        let consumer = ConsumerName::new(name).must("a name");
        Member { stream: stream(), group: self.member_of.clone(), consumer }
    }

    pub async fn publish_to(&self, to: &StreamName, messages: &[Message]) -> Vec<Pos> {
        let publications: Vec<Publication> =
            messages.iter().map(|one| Publication::new(to.clone(), one.clone())).collect();
        self.streams().publish(&publications, self.now()).await.must("publishes")
    }

    pub async fn publish(&self, said: &[&str]) -> Vec<MessageId> {
        let messages: Vec<Message> = said.iter().map(|one| text(one)).collect();
        let ids = self.publish_to(&stream(), &messages).await;
        ids.into_iter().map(|id| MessageId { stream: stream(), id }).collect()
    }

    pub async fn ask(&self, name: &str, ask: Ask) -> Fetched {
        let Ask { limit, own, tend, reverse } = ask;
        let scope = match (own, tend) {
            (true, _) => FetchScope::WithOwn,
            (false, true) => FetchScope::WithReturned,
            (false, false) => FetchScope::NewOnly,
        };
        let lanes = if reverse { LaneOrder::UrgentLast } else { LaneOrder::UrgentFirst };
        let (member, wait, now) = (&self.member(name), Duration::ZERO, self.now());
        let poll = Fetch { member, limit, wait, scope, lanes, reclaim_after: DEAD_AFTER, now };
        self.streams().fetch(&poll).await.must("polls")
    }

    pub async fn poll(&self, name: &str, ask: Ask) -> Vec<Delivery> {
        self.ask(name, ask).await.deliveries
    }

    /// What comes when nobody is alive and everything is due.
    pub async fn drain(&mut self) -> Vec<Delivery> {
        self.pass(LONG).await;
        self.poll("undertaker", Ask { limit: 1_000, ..STARTED }).await
    }

    pub async fn try_settle(
        &self,
        name: &str,
        settlements: &[(MessageId, Disposition)],
    ) -> Result<Vec<Settled>, StoreError> {
        let settlements: Vec<Settlement> = settlements
            .iter()
            .map(|(id, disposition)| Settlement {
                id: id.clone(),
                disposition: disposition.clone(),
            })
            .collect();
        self.streams().settle(&self.member(name), &settlements, self.now()).await
    }

    pub async fn settle(&self, name: &str, id: &MessageId, disposition: Disposition) -> Settled {
        let settled = self.try_settle(name, &[(id.clone(), disposition)]).await.must("settles");
        ensure_eq!(settled.len(), 1);
        settled[0]
    }

    /// Settles as done, each under a key of its own.
    pub async fn done(&self, name: &str, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let settled = self.settle(name, &delivery.id, plainly_done()).await;
            ensure_eq!(settled, Settled::Applied, "{}", delivery.id);
        }
    }

    pub async fn extend(&self, name: &str, held: &[MessageId]) -> Vec<MessageId> {
        self.streams().extend(&self.member(name), held, self.now()).await.must("extends")
    }

    pub async fn begin(&self, name: &str, id: &MessageId, starts: u32) -> bool {
        let tries = [(id.clone(), Tries { starts, ..Tries::default() })];
        self.streams().begin(&self.member(name), &tries, self.now()).await.must("begins")[0]
    }

    pub async fn leave(&self, name: &str) {
        self.streams().leave(&self.member(name), self.now()).await.must("leaves");
    }

    pub async fn stats_of(&self, stream: &StreamName) -> StreamStats {
        let stats = self.streams().stream_stats(stream, self.now()).await;
        stats.must("reads").must("is there")
    }

    pub async fn stats(&self) -> StreamStats {
        self.stats_of(&stream()).await
    }

    /// The same without what changes by waiting alone, where time is real.
    pub async fn stats_at_rest(&self) -> StreamStats {
        let mut stats = self.stats().await;
        stats.groups.iter_mut().for_each(|group| group.oldest = None);
        stats
    }

    /// Counts of the group on the stream itself.
    pub async fn counts(&self) -> GroupStats {
        let groups = self.stats().await.groups;
        groups.into_iter().find(|stats| stats.group == self.member_of).must("is there")
    }

    /// What lies on a stream.
    pub async fn read(&self, stream: &StreamName) -> Vec<String> {
        let read = self.streams().read(stream, Pos::ZERO, 10_000).await.must("reads");
        read.iter().map(|(_, message)| spoken(message)).collect()
    }

    pub async fn letters(&self) -> Vec<(Pos, DeadLetter)> {
        self.streams().dead_letters(&stream(), Pos::ZERO, 1_000).await.must("reads")
    }
}
