//! How many messages per second go through an embedded store of named streams: publish, poll 64, settle.
//!
//! `cargo bench -p silvertine-storage --bench streams -- [messages]`; then the same with many retries waiting,
//! many messages held and many dead letters, which must not make it slower.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll as Readiness, Waker},
    time::{Duration, Instant},
};

use silvertine_engine::{span::Span, time::Nanos};
use silvertine_storage::streams::MemoryStreams;
use silvertine_streams::{
    Class, ConsumerName, DeadLetter, DeadState, Disposition, Fetch, FetchScope, GroupName,
    GroupSpec, HandlerFailure, LaneOrder, Member, Message, Publication, Reason, Settlement, Story,
    StreamName, StreamSpec, Streams, Topology, Tries,
};

const BATCH: usize = 64;
const NOW: Nanos = Nanos(1_700_000_000_000_000_000);

/// Futures of embedded stores are ready at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Readiness::Ready(output) => output,
        Readiness::Pending => unreachable!("embedded stores do not wait"),
    }
}

fn stream() -> StreamName {
    StreamName::new("mgmt:trading:commands").expect("a name")
}

fn member(name: &str) -> Member {
    let group = GroupName::new("trading_consumers").expect("a name");
    Member { stream: stream(), group, consumer: ConsumerName::new(name).expect("a name") }
}

fn topology() -> Topology {
    let mut spec = StreamSpec::new(stream()).with_group(GroupSpec::new(member("a").group));
    spec.max_len = Some(10_000);
    Topology::new(vec![spec])
}

fn publish(streams: &impl Streams, count: usize) {
    let message = Message::json(&[7; 20]).expect("serializes");
    let batch = vec![Publication::new(stream(), message); count];
    ready(streams.publish(&batch, NOW)).expect("publishes");
}

fn settle(
    streams: &impl Streams,
    name: &str,
    tend: bool,
    disposition: impl Fn(u64) -> Disposition,
) -> u64 {
    let member = member(name);
    let poll = Fetch {
        member: &member,
        limit: BATCH,
        wait: Duration::ZERO,
        scope: if tend { FetchScope::WithReturned } else { FetchScope::NewOnly },
        lanes: LaneOrder::UrgentFirst,
        reclaim_after: Span::from_secs(30),
        now: NOW,
    };
    let polled = ready(streams.fetch(&poll)).expect("polls").deliveries;
    let ended = polled.into_iter().map(|delivery| {
        let disposition = disposition(delivery.id.id.seq);
        Settlement { id: delivery.id, disposition }
    });
    let ended: Vec<Settlement> = ended.collect();
    ready(streams.settle(&member, &ended, NOW)).expect("settles");
    ended.len() as u64
}

fn done(number: u64) -> Disposition {
    let key = format!("order-{number}");
    Disposition::Done { key: Some(key.into()), emit: Vec::new() }
}

fn dead(number: u64) -> Disposition {
    let failure = HandlerFailure::new(Class::Permanent, "refused", "no");
    let story = Story {
        origin: silvertine_streams::MessageId { stream: stream(), id: Default::default() },
        group: member("a").group,
        key: number.to_string(),
        published: NOW,
        first_failed: NOW,
        last_failed: NOW,
        attempts: 1,
        deliveries: 1,
        reclaims: 0,
        reason: Reason::Permanent,
        fingerprint: 1,
        failure,
        handler: "h".to_owned(),
        consumer: member("a").consumer,
        build: "b".to_owned(),
        redrives: 0,
    };
    let letter = DeadLetter { message: Message::default(), story, state: DeadState::default() };
    Disposition::Dead(Box::new(letter))
}

/// Publishes and settles so many, and says how fast.
fn measure(what: &str, streams: &impl Streams, messages: u64) {
    let (mut publishing, mut working, mut settled) = (Duration::ZERO, Duration::ZERO, 0);
    let mut rounds = 0;
    while settled < messages {
        let began = Instant::now();
        publish(streams, BATCH);
        publishing += began.elapsed();
        let began = Instant::now();
        settled += settle(streams, "a", rounds % 8 == 0, done);
        working += began.elapsed();
        rounds += 1;
    }
    let began = Instant::now();
    let asked = 1_000;
    for _ in 0..asked {
        ready(streams.stream_stats(&stream(), NOW)).expect("reads");
    }
    let stats = began.elapsed() / asked;
    let rate = |took: Duration| u128::from(settled) * 1_000_000_000 / took.as_nanos().max(1);
    println!(
        "{what}: {} messages/s in all; publish {}/s, poll and settle {}/s, stats {} us",
        rate(publishing + working),
        rate(publishing),
        rate(working),
        stats.as_micros()
    );
}

fn fill(streams: &impl Streams, count: u64, name: &str, disposition: impl Fn(u64) -> Disposition) {
    let mut filled = 0;
    while filled < count {
        publish(streams, BATCH);
        filled += settle(streams, name, false, &disposition);
    }
}

fn main() {
    let messages = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(100_000);
    let on = |store: &dyn Fn() -> MemoryStreams| {
        let streams = store();
        ready(streams.declare(NOW)).expect("declares");
        streams
    };
    let streams = on(&|| MemoryStreams::in_memory(topology()));
    measure("memory", &streams, messages);
    let retry = |_| Disposition::Retry { tries: Tries::default(), after: Span::from_secs(60) };
    fill(&streams, messages, "a", retry);
    fill(&streams, messages, "a", dead);
    let mut held = 0;
    let holder = member("b");
    while held < messages {
        publish(&streams, BATCH);
        let poll = Fetch {
            member: &holder,
            limit: BATCH,
            wait: Duration::ZERO,
            scope: FetchScope::NewOnly,
            lanes: LaneOrder::UrgentFirst,
            reclaim_after: Span::from_secs(30),
            now: NOW,
        };
        held += ready(streams.fetch(&poll)).expect("polls").deliveries.len() as u64;
    }
    measure(&format!("memory with {messages} each held, waiting, dead"), &streams, messages);
}
