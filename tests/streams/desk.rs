//! A bed with declared streams, and short ways to work on them.

use std::time::Duration;

use silvertine::{
    engine::{pos::Pos, span::Span, time::Nanos},
    streams::{
        Class, ConsumerName, DeadLetter, DeadState, Delivery, Disposition, Fetch, FetchScope,
        Fetched, GroupName, GroupSpec, GroupStats, HandlerFailure, LaneOrder, Member, Message,
        MessageId, Publication, Reason, Settled, Settlement, StoreError, StoreErrorKind, Story,
        StreamName, StreamSpec, StreamStats, Streams, Topology, Tries, Why,
    },
};

use crate::beds::Bed;

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
    StreamName::new(text).expect("a name")
}

pub fn group(text: &str) -> GroupName {
    GroupName::new(text).expect("a name")
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
        consumer: ConsumerName::new("a").expect("a name"),
        build: "1".to_owned(),
        redrives: 8,
    };
    DeadLetter { message: text(said), story, state: DeadState::default() }
}

pub fn dead(id: &MessageId) -> Disposition {
    Disposition::Dead(Box::new(letter(id, "dead")))
}

pub fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.expect_err("must be refused").kind
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

/// A bed with declared streams.
pub struct Desk<B> {
    pub bed: B,
    pub member_of: GroupName,
}

impl<B: Bed> Desk<B> {
    /// This stream and one for outputs.
    pub async fn open(spec: StreamSpec) -> Self {
        Self::open_all(vec![spec, StreamSpec::new(outputs())]).await
    }

    pub async fn open_all(streams: Vec<StreamSpec>) -> Self {
        let bed = B::new(Topology::new(streams));
        let desk = Self { bed, member_of: group("workers") };
        desk.streams().declare(desk.now()).await.expect("declares");
        desk
    }

    pub fn streams(&self) -> &B::Streams {
        self.bed.streams()
    }

    pub fn now(&self) -> Nanos {
        self.bed.now()
    }

    pub async fn pass(&mut self, span: Span) {
        self.bed.pass(span).await;
    }

    pub fn member(&self, name: &str) -> Member {
        let consumer = ConsumerName::new(name).expect("a name");
        Member { stream: stream(), group: self.member_of.clone(), consumer }
    }

    pub async fn publish_to(&self, to: &StreamName, messages: &[Message]) -> Vec<Pos> {
        let publications: Vec<Publication> =
            messages.iter().map(|one| Publication::new(to.clone(), one.clone())).collect();
        self.streams().publish(&publications, self.now()).await.expect("publishes")
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
        let fetch = Fetch { member, limit, wait, scope, lanes, reclaim_after: DEAD_AFTER, now };
        self.streams().fetch(&fetch).await.expect("polls")
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
        let settled = self.try_settle(name, &[(id.clone(), disposition)]).await.expect("settles");
        assert_eq!(settled.len(), 1);
        settled[0]
    }

    /// Settles as done, each under a key of its own.
    pub async fn done(&self, name: &str, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let settled = self.settle(name, &delivery.id, plainly_done()).await;
            assert_eq!(settled, Settled::Applied, "{}", delivery.id);
        }
    }

    pub async fn extend(&self, name: &str, held: &[MessageId]) -> Vec<MessageId> {
        self.streams().extend(&self.member(name), held, self.now()).await.expect("extends")
    }

    pub async fn begin(&self, name: &str, id: &MessageId, starts: u32) -> bool {
        let tries = [(id.clone(), Tries { starts, ..Tries::default() })];
        self.streams().begin(&self.member(name), &tries, self.now()).await.expect("begins")[0]
    }

    pub async fn leave(&self, name: &str) {
        self.streams().leave(&self.member(name), self.now()).await.expect("leaves");
    }

    pub async fn stats_of(&self, stream: &StreamName) -> StreamStats {
        let stats = self.streams().stream_stats(stream, self.now()).await;
        stats.expect("reads").expect("is there")
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
        groups.into_iter().find(|stats| stats.group == self.member_of).expect("is there")
    }

    /// What lies on a stream.
    pub async fn read(&self, stream: &StreamName) -> Vec<String> {
        let read = self.streams().read(stream, Pos::ZERO, 10_000).await.expect("reads");
        read.iter().map(|(_, message)| spoken(message)).collect()
    }

    pub async fn letters(&self) -> Vec<(Pos, DeadLetter)> {
        self.streams().dead_letters(&stream(), Pos::ZERO, 1_000).await.expect("reads")
    }
}
