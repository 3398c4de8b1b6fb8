//! A server with one stream and one group on it, and what members do, in few words.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll as Ready,
    time::Duration,
};

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_storage::redis::RedisStreams;
use silvertine_streams::{
    Class, ConsumerName, DeadLetter, DeadState, Delivery, Disposition, Fetch, FetchScope, Fetched,
    GroupName, GroupSpec, GroupStats, HandlerFailure, LaneOrder, Member, Message, MessageId,
    Publication, Reason, Settled, Settlement, StoreError, Story, StreamName, StreamSpec,
    StreamStats, Streams, Topology, Tries,
};

use crate::redis_server::RedisServer;

/// Far longer than any test takes on the slowest machine: what hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(300);
/// After so long a member has died, in these tests.
pub const RECLAIM_AFTER: Span = Span::from_millis(300);

/// Runs a future to its end on a runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let patient = async { tokio::time::timeout(PATIENCE, future).await.expect("hangs") };
    runtime.expect("a runtime").block_on(patient)
}

/// Runs two futures side by side.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|context| {
        if from_a.is_none()
            && let Ready::Ready(output) = a.as_mut().poll(context)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Ready::Ready(output) = b.as_mut().poll(context)
        {
            from_b = Some(output);
        }
        match from_a.is_some() && from_b.is_some() {
            true => Ready::Ready(()),
            false => Ready::Pending,
        }
    })
    .await;
    (from_a.expect("it ended"), from_b.expect("it ended"))
}

pub fn stream() -> StreamName {
    StreamName::new("mgmt:trading:commands").expect("a name")
}

pub fn group() -> GroupName {
    GroupName::new("trading_consumers").expect("a name")
}

pub fn member(name: &str) -> Member {
    let consumer = ConsumerName::new(name).expect("a name");
    Member { stream: stream(), group: group(), consumer }
}

pub fn group_spec() -> GroupSpec {
    let mut spec = GroupSpec::new(group());
    spec.reclaim_after = RECLAIM_AFTER;
    spec
}

/// A stream with one group.
pub fn spec() -> StreamSpec {
    StreamSpec::new(stream()).with_group(group_spec())
}

/// The same stream, changed.
pub fn spec_with(change: impl FnOnce(&mut StreamSpec)) -> StreamSpec {
    let mut spec = spec();
    change(&mut spec);
    spec
}

/// A stream without groups, changed.
pub fn bare_with(change: impl FnOnce(&mut StreamSpec)) -> StreamSpec {
    let mut spec = StreamSpec::new(stream());
    change(&mut spec);
    spec
}

pub fn message(text: &str) -> Message {
    Message::default().with("type", "test").with("data", text)
}

pub fn numbered(from: u32, to: u32) -> Vec<Message> {
    (from..to).map(|n| message(&n.to_string())).collect()
}

/// The texts of what was delivered.
pub fn texts(deliveries: &[Delivery]) -> Vec<String> {
    let text = |delivery: &Delivery| match &delivery.message {
        Some(message) => message.text("data").unwrap_or_default().into_owned(),
        None => "(gone)".to_owned(),
    };
    deliveries.iter().map(text).collect()
}

pub fn done(id: &MessageId) -> Settlement {
    Settlement { id: id.clone(), disposition: Disposition::Done { key: None, emit: vec![] } }
}

pub fn keyed(id: &MessageId, key: &str, emit: Vec<Publication>) -> Settlement {
    Settlement { id: id.clone(), disposition: Disposition::Done { key: Some(key.into()), emit } }
}

pub fn retry(id: &MessageId, attempts: u32, after: Span) -> Settlement {
    let tries = Tries { attempts, ..Tries::default() };
    Settlement { id: id.clone(), disposition: Disposition::Retry { tries, after } }
}

pub fn release(id: &MessageId) -> Settlement {
    Settlement { id: id.clone(), disposition: Disposition::Release }
}

pub fn dead(id: &MessageId, message: Option<Message>) -> Settlement {
    let letter = letter(id, message.unwrap_or_default());
    Settlement { id: id.clone(), disposition: Disposition::Dead(Box::new(letter)) }
}

pub fn letter(id: &MessageId, message: Message) -> DeadLetter {
    let failure = HandlerFailure::new(Class::Permanent, "refused", "the broker refuses it: \"no\"");
    let story = Story {
        origin: id.clone(),
        group: group(),
        key: id.to_string(),
        published: Nanos(1),
        first_failed: Nanos(2),
        last_failed: Nanos(3),
        attempts: 1,
        deliveries: 1,
        reclaims: 0,
        reason: Reason::Permanent,
        fingerprint: u64::MAX,
        failure,
        handler: "broker".to_owned(),
        consumer: member("a").consumer,
        build: "test".to_owned(),
        redrives: 0,
    };
    DeadLetter { message, story, state: DeadState::default() }
}

pub struct Fixture {
    pub server: RedisServer,
    pub streams: RedisStreams,
}

impl Fixture {
    pub async fn new(spec: StreamSpec) -> Self {
        Self::on(RedisServer::start(), vec![spec]).await
    }

    pub async fn on(server: RedisServer, streams: Vec<StreamSpec>) -> Self {
        let topology = Topology::new(streams);
        let streams = RedisStreams::open(&server.url(), topology).expect("a good URL");
        streams.declare(Nanos::ZERO).await.expect("declares");
        Self { server, streams }
    }

    pub async fn publish(&self, messages: Vec<Message>) -> Vec<Pos> {
        self.publish_to(&stream(), messages).await.expect("publishes")
    }

    pub async fn publish_to(
        &self,
        stream: &StreamName,
        messages: Vec<Message>,
    ) -> Result<Vec<Pos>, StoreError> {
        let publication = |message| Publication::new(stream.clone(), message);
        let publications: Vec<Publication> = messages.into_iter().map(publication).collect();
        self.streams.publish(&publications, Nanos::ZERO).await
    }

    /// What a member gets that asks for ten, without waiting.
    pub async fn fetch(&self, name: &str) -> Fetched {
        self.fetch_with(name, |_| ()).await.expect("fetches")
    }

    /// What a busy member gets that does not tend.
    pub async fn fetch_new(&self, name: &str) -> Vec<Delivery> {
        self.fetch_with(name, |fetch| fetch.scope = FetchScope::NewOnly)
            .await
            .expect("fetches")
            .deliveries
    }

    pub async fn fetch_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut Fetch<'_>),
    ) -> Result<Fetched, StoreError> {
        let member = member(name);
        let mut fetch = Fetch {
            member: &member,
            limit: 10,
            wait: Duration::ZERO,
            scope: FetchScope::WithReturned,
            lanes: LaneOrder::UrgentFirst,
            reclaim_after: RECLAIM_AFTER,
            now: Nanos::ZERO,
        };
        change(&mut fetch);
        self.streams.fetch(&fetch).await
    }

    /// Fetches until there is something: until a retry is due, or a member has died.
    pub async fn fetch_until(&self, name: &str) -> Vec<Delivery> {
        loop {
            let deliveries = self.fetch(name).await.deliveries;
            if !deliveries.is_empty() {
                return deliveries;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn settle(&self, name: &str, settlements: &[Settlement]) -> Vec<Settled> {
        self.try_settle(name, settlements).await.expect("settles")
    }

    pub async fn try_settle(
        &self,
        name: &str,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        self.streams.settle(&member(name), settlements, Nanos::ZERO).await
    }

    pub async fn stats(&self) -> StreamStats {
        self.stats_of(&stream()).await
    }

    pub async fn stats_of(&self, stream: &StreamName) -> StreamStats {
        let stats = self.streams.stream_stats(stream, Nanos::ZERO).await;
        stats.expect("reads").expect("the stream is there")
    }

    /// The group's counts, which must add up to the messages added.
    pub async fn counts(&self) -> GroupStats {
        let stats = self.stats().await;
        let group = stats.groups.into_iter().next().expect("the group is there");
        assert_eq!(group.accounted(), stats.added, "{group:?}");
        group
    }

    pub async fn dead_letters(&self) -> Vec<(Pos, DeadLetter)> {
        self.streams.dead_letters(&stream(), Pos::ZERO, 100).await.expect("reads")
    }
}
