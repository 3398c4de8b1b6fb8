//! How fast one member takes messages off a named stream on Redis and settles them, beside a loop written by hand
//! with the client library that does nothing but `XREADGROUP` and `XACK`.
//!
//! `cargo bench -p silvertine-storage --bench redis_streams`

#![expect(clippy::float_arithmetic, reason = "rates are floats")]

use std::{
    future::Future,
    time::{Duration, Instant},
};

use redis::{
    AsyncCommands, RedisResult,
    aio::MultiplexedConnection,
    streams::{StreamReadOptions, StreamReadReply},
};
use silvertine_engine::{span::Span, time::Nanos};
use silvertine_storage::redis::RedisStreams;
use silvertine_streams::{
    ConsumerName, Disposition, Fetch, FetchScope, GroupName, GroupSpec, LaneOrder, Member, Message,
    Publication, Settlement, StreamName, StreamSpec, Streams, Topology,
};
use silvertine_testkit::redis_server::RedisServer;

const MESSAGES: usize = 100_000;
const PAYLOAD: usize = 200;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(compare());
}

async fn compare() {
    for batch in [64, 256] {
        let (mut by_hand, mut ours, mut publish) = (f64::MAX, f64::MAX, f64::MAX);
        // Side by side, so that both see the same neighbours; the fastest of each counts.
        for _ in 0..ROUNDS {
            let server = RedisServer::start();
            let streams = open(&server).await;
            publish = publish.min(seconds(fill(&streams)).await);
            by_hand = by_hand.min(seconds(hand_written(&server, batch)).await);
            let server = RedisServer::start();
            let streams = open(&server).await;
            fill(&streams).await;
            ours = ours.min(seconds(member_loop(&streams, batch)).await);
        }
        let rate = |seconds: f64| MESSAGES as f64 / seconds;
        println!(
            "batches of {batch}: by hand {:.0}/s, silvertine {:.0}/s ({:.0} %), publishing {:.0}/s",
            rate(by_hand),
            rate(ours),
            by_hand / ours * 100.0,
            rate(publish),
        );
    }
}

async fn seconds(work: impl Future<Output = ()>) -> f64 {
    let begun = Instant::now();
    work.await;
    begun.elapsed().as_secs_f64()
}

fn member() -> Member {
    Member {
        stream: StreamName::new("bench:orders").expect("a name"),
        group: GroupName::new("workers").expect("a name"),
        consumer: ConsumerName::new("w1").expect("a name"),
    }
}

async fn open(server: &RedisServer) -> RedisStreams {
    let Member { stream, group, .. } = member();
    let spec = StreamSpec::new(stream).with_group(GroupSpec::new(group));
    let topology = Topology::new(vec![spec]);
    let streams = RedisStreams::open(&server.url(), topology).expect("a good URL");
    streams.declare(Nanos::ZERO).await.expect("declares");
    streams
}

async fn fill(streams: &RedisStreams) {
    let message = Message::default().with("type", "order").with("data", vec![b'x'; PAYLOAD]);
    let batch = vec![Publication::new(member().stream, message); 250];
    for _ in 0..MESSAGES / batch.len() {
        streams.publish(&batch, Nanos::ZERO).await.expect("publishes");
    }
}

async fn hand_written(server: &RedisServer, batch: usize) {
    let client = redis::Client::open(server.url()).expect("a good URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection: MultiplexedConnection = connection.expect("connects");
    let options = StreamReadOptions::default().group("workers", "w1").count(batch);
    let mut handled = 0;
    while handled < MESSAGES {
        let reply: RedisResult<StreamReadReply> =
            connection.xread_options(&["bench:orders"], &[">"], &options).await;
        let reply = reply.expect("reads");
        let ids: Vec<&str> = reply.keys[0].ids.iter().map(|entry| entry.id.as_str()).collect();
        let acknowledged: usize =
            connection.xack("bench:orders", "workers", &ids).await.expect("acknowledges");
        handled += acknowledged;
    }
}

async fn member_loop(streams: &RedisStreams, batch: usize) {
    let member = member();
    let mut tended = Instant::now();
    let mut handled = 0;
    while handled < MESSAGES {
        // As often as a busy member does.
        let tend = tended.elapsed() >= Duration::from_millis(100);
        if tend {
            tended = Instant::now();
        }
        let poll = Fetch {
            member: &member,
            limit: batch,
            wait: Duration::from_millis(200),
            scope: if tend { FetchScope::WithReturned } else { FetchScope::NewOnly },
            lanes: LaneOrder::UrgentFirst,
            reclaim_after: Span::from_secs(30),
            now: Nanos::ZERO,
        };
        let polled = streams.fetch(&poll).await.expect("polls");
        let settlements: Vec<Settlement> = polled
            .deliveries
            .into_iter()
            .map(|delivery| {
                let disposition = Disposition::Done { key: None, emit: Vec::new() };
                Settlement { id: delivery.id, disposition }
            })
            .collect();
        handled += streams.settle(&member, &settlements, Nanos::ZERO).await.expect("settles").len();
    }
}
