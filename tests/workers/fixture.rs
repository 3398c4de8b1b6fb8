//! Stores, streams and handlers for the tests.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use silvertine::{
    engine::{pos::Pos, span::Span},
    storage::{LogAddress, streams::AnyStreams},
    streams::{
        CircuitSpec, Class, Classify, GroupName, GroupSpec, GroupStats, MemberStats, Message,
        Publication, RetryPolicy, StreamName, StreamSpec, Streams, Topology,
    },
    worker::{Handle, Worker, now},
};
use silvertine_testkit::redis_server::RedisServer;
use tokio::runtime::Builder;

pub fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("a name")
}

pub fn group() -> GroupName {
    GroupName::new("traders").expect("a name")
}

/// Commands, results, and where operators' actions are recorded.
pub fn topology() -> Topology {
    let mut commands = StreamSpec::new(stream("mgmt:trading:commands"));
    commands.retry = RetryPolicy::new(Span::from_millis(20), 2, 3).with_jitter_percent(0);
    let mut group = GroupSpec::new(group());
    group.in_flight = 16;
    group.handler_timeout = Span::from_millis(500);
    group.reclaim_after = Span::from_millis(300);
    group.circuit = CircuitSpec::new(1_000_000, Span::from_millis(200));
    group.redrive_per_second = 200;
    let streams = vec![
        commands.with_group(group),
        StreamSpec::new(stream("trading:mgmt:results")),
        StreamSpec::new(stream("audit:events")),
    ];
    Topology::new(streams)
}

/// Runs a test on each store, empty and of this topology.
pub fn on_every_store(topology: &Topology, test: impl AsyncFn(AnyStreams)) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let redis = RedisServer::start();
    let sled = format!("sled:{}", folder.path().join("sled").display());
    let redb = format!("redb:{}", folder.path().join("redb").display());
    for address in ["memory".to_owned(), sled, redb, redis.url()] {
        eprintln!("on {address}");
        let address: LogAddress = address.parse().expect("an address");
        let streams = AnyStreams::open(&address, topology.clone(), false).expect("opens");
        block_on(async {
            streams.declare(now()).await.expect("declares");
            test(streams.clone()).await;
            for spec in &streams.topology().streams {
                for name in spec.keys() {
                    check_accounts(&streams, &name).await;
                }
            }
        });
    }
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

async fn check_accounts(streams: &AnyStreams, name: &StreamName) {
    let stats = streams.stream_stats(name, now()).await.expect("reads").expect("was declared");
    for group in &stats.groups {
        assert_eq!(group.accounted(), stats.added, "{name} {group:?}");
    }
}

/// The counts of the tests' group.
pub async fn counts(streams: &AnyStreams) -> GroupStats {
    let commands = stream("mgmt:trading:commands");
    let stats = streams.stream_stats(&commands, now()).await.expect("reads").expect("there");
    stats.groups[0].clone()
}

/// Publishes commands with these payloads.
pub async fn publish(streams: &AnyStreams, payloads: impl IntoIterator<Item = String>) -> Vec<Pos> {
    let publication = |payload: String| {
        let message = Message::default().with("data", payload);
        Publication::new(stream("mgmt:trading:commands"), message)
    };
    let publications: Vec<_> = payloads.into_iter().map(publication).collect();
    streams.publish(&publications, now()).await.expect("publishes")
}

/// A worker of the tests' group.
pub fn worker<H: Handle>(
    streams: &AnyStreams,
    name: &str,
    handler: H,
) -> Worker<AnyStreams, silvertine::worker::Single<H>> {
    let name = name.parse().expect("a name");
    let commands = stream("mgmt:trading:commands");
    Worker::new(streams.clone(), commands, group(), name, handler).expect("the topology knows it")
}

/// Works until nothing is left.
pub async fn work<H: Handle>(streams: &AnyStreams, handler: H) -> MemberStats {
    let worker = worker(streams, "worker-1", handler).until_idle();
    let worked = tokio::time::timeout(Duration::from_secs(60), worker.run()).await;
    worked.expect("comes to an end").expect("works")
}

/// How often each payload was handled.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, u64>>>);

impl Calls {
    /// Counts a call; returns which it is for this payload, from one.
    pub fn count(&self, payload: &str) -> u64 {
        let mut calls = self.0.lock().expect("no test panics while it counts");
        let count = calls.entry(payload.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().expect("no test panics while it counts").clone()
    }
}

/// A counter that handlers share.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn add(&self, by: i64) -> u64 {
        self.0.fetch_add(by.cast_unsigned(), Ordering::SeqCst).wrapping_add(by.cast_unsigned())
    }

    pub fn at_least(&self, number: u64) {
        self.0.fetch_max(number, Ordering::SeqCst);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the tests' handlers fail with.
#[derive(Debug)]
pub struct Broken(pub Class);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker is broken ({})", self.0.as_str())
    }
}

impl std::error::Error for Broken {}

impl Classify for Broken {
    fn class(&self) -> Class {
        self.0
    }

    fn code(&self) -> std::borrow::Cow<'static, str> {
        "broken".into()
    }
}

/// A message's payload as text.
pub fn text(message: &Message) -> String {
    message.text("data").expect("the tests' messages have one").into_owned()
}

/// Waits until something holds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
