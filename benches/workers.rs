//! What the worker plane costs on Redis, beside the same loop written by hand and beside the server's own
//! benchmark, in one run on one machine; and what failing messages cost the healthy ones.
//!
//! `cargo bench --bench workers [-- MESSAGES] [rates]`; with `rates` without the latencies. Needs redis-server and redis-benchmark.

#![expect(clippy::float_arithmetic, reason = "rates and ratios for people")]

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use redis::{AsyncConnectionConfig, Client, Value, aio::MultiplexedConnection};
use silvertine::{
    engine::stop::StopFlag,
    storage::redis::RedisStreams,
    streams::{
        Class, Classify, GroupSpec, Message, Publication, StreamName, StreamSpec, Streams, Topology,
    },
    worker::{Handled, MessageContext, Worker, handler_with, now},
};
use silvertine_testkit::redis_server::RedisServer;
use tokio::runtime::Builder;

/// What another system reports for publish, group read and acknowledgement of one message after the other.
const REFERENCE_PER_SECOND: f64 = 757.0;
const ROUNDS: usize = 5;
const BATCH: usize = 100;
const IN_FLIGHT: usize = 256;
const PAYLOAD: &str = r#"{"command":"start","strategy":"ema-cross","symbol":"BTCUSDT","quantity":"0.25","note":"one hundred and fifty bytes or so, as commands have them"}"#;

fn main() {
    let messages = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(50_000_usize);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = RedisServer::start();
    println!("{messages} messages a round, {ROUNDS} rounds, medians; one connection, one thread\n");
    let (mut by_hand, mut ours) = (Vec::<[f64; 3]>::new(), Vec::<[f64; 3]>::new());
    for _ in 0..ROUNDS {
        server.send("FLUSHALL");
        by_hand.push(runtime.block_on(hand_written(&server.url(), messages)));
        server.send("FLUSHALL");
        ours.push(runtime.block_on(workers(&server.url(), messages)));
    }
    server.send("FLUSHALL");
    let (by_hand, ours) = (medians(&by_hand), medians(&ours));
    let xadd = benchmark(&server);
    println!("messages/s {:>28} {:>12} {:>12}", "publish", "consume", "both");
    println!("  by hand (XADD, XREADGROUP, XACK) {}", row(&by_hand));
    println!("  silvertine, one worker           {}", row(&ours));
    let ratio = [0, 1, 2].map(|at| ours[at] / by_hand[at]);
    println!(
        "  silvertine ÷ by hand             {:>8.2} {:>12.2} {:>12.2}",
        ratio[0], ratio[1], ratio[2]
    );
    if let Some(xadd) = xadd {
        println!("  redis-benchmark -P 64, XADD alone{xadd:>9.0}");
    }
    let ours = ours[2];
    let times = ours / REFERENCE_PER_SECOND;
    println!("  the reference of {REFERENCE_PER_SECOND:.0}/s, times    {times:>35.0}");

    if std::env::args().any(|arg| arg == "rates") {
        return;
    }
    println!("\ntime from publishing to done of healthy messages at a steady 500/s, ms");
    for percent in [0, 5] {
        server.send("FLUSHALL");
        let latency = runtime.block_on(latency(&server.url(), percent));
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        println!(
            "  {percent} % failing   p50 {:>7.2}   p99 {:>7.2}   p99.9 {:>7.2}   ({} messages)",
            ms(0.5),
            ms(0.99),
            ms(0.999),
            latency.len()
        );
    }
}

/// Medians of publishing, consuming, and both.
fn medians(rounds: &[[f64; 3]]) -> [f64; 3] {
    [0, 1, 2].map(|at| {
        let mut rates: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    })
}

fn row(rates: &[f64; 3]) -> String {
    format!("{:>8.0} {:>12.0} {:>12.0}", rates[0], rates[1], rates[2])
}

/// Rates of publishing, consuming up to the last message, and both.
fn rates(messages: usize, published: Duration, consumed: Duration) -> [f64; 3] {
    [published, consumed, published + consumed].map(|took| messages as f64 / took.as_secs_f64())
}

fn stream() -> StreamName {
    "mgmt:trading:commands".parse().expect("a name")
}

fn topology() -> Topology {
    let mut group = GroupSpec::new("traders".parse().expect("a name"));
    group.in_flight = IN_FLIGHT;
    // A handler that fails now and then is what is measured, not one that is down.
    group.circuit.failure_threshold = u32::MAX;
    let streams = vec![StreamSpec::new(stream()).with_group(group)];
    Topology::new(streams)
}

/// What somebody would write who needs no retries, no dead letters and no duplicates.
async fn hand_written(url: &str, messages: usize) -> [f64; 3] {
    let mut connection = connect(url).await;
    let key = "mgmt:trading:commands";
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(key).arg("traders").arg("0").arg("MKSTREAM");
    create.query_async::<()>(&mut connection).await.expect("creates");
    let began = Instant::now();
    let mut left = messages;
    while left > 0 {
        let count = left.min(BATCH);
        let mut batch = redis::pipe();
        for _ in 0..count {
            batch.cmd("XADD").arg(key).arg("*").arg("codec").arg("json").arg("data").arg(PAYLOAD);
        }
        batch.query_async::<Vec<String>>(&mut connection).await.expect("publishes");
        left -= count;
    }
    let published = began.elapsed();
    let (mut handled, mut last) = (0, began);
    while handled < messages {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg("traders").arg("worker-1").arg("COUNT").arg(IN_FLIGHT);
        read.arg("STREAMS").arg(key).arg(">");
        let answer: Value = read.query_async(&mut connection).await.expect("reads");
        let entries = entries_of(&answer);
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(key).arg("traders");
        for (id, payload) in &entries {
            assert_eq!(*payload, PAYLOAD.as_bytes());
            last = Instant::now();
            acknowledge.arg(id);
        }
        let acknowledged: usize = acknowledge.query_async(&mut connection).await.expect("acks");
        handled += acknowledged;
    }
    rates(messages, published, last.duration_since(began) - published)
}

async fn connect(url: &str) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = Client::open(url).expect("a URL");
    client.get_multiplexed_async_connection_with_config(&config).await.expect("connects")
}

/// Ids and payloads of a group's read from one stream.
fn entries_of(answer: &Value) -> Vec<(&[u8], &[u8])> {
    let Value::Array(streams) = answer else { return Vec::new() };
    let Some(Value::Array(stream)) = streams.first() else { return Vec::new() };
    let Some(Value::Array(entries)) = stream.get(1) else { return Vec::new() };
    entries.iter().filter_map(id_and_payload).collect()
}

fn id_and_payload(entry: &Value) -> Option<(&[u8], &[u8])> {
    let Value::Array(entry) = entry else { return None };
    let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice() else { return None };
    match fields.as_slice() {
        [_, _, _, Value::BulkString(payload)] => Some((id, payload)),
        _ => None,
    }
}

/// The same through the worker plane.
async fn workers(url: &str, messages: usize) -> [f64; 3] {
    let streams = RedisStreams::open(url, topology()).expect("opens");
    streams.declare(now()).await.expect("declares");
    let began = Instant::now();
    let mut left = messages;
    while left > 0 {
        let count = left.min(BATCH);
        streams.publish(&vec![publication(); count], now()).await.expect("publishes");
        left -= count;
    }
    let published = began.elapsed();
    let last = Arc::new(Mutex::new(began));
    let quick =
        handler_with(Arc::clone(&last), async |last, message: Message, _: MessageContext| {
            assert_eq!(message.payload(), PAYLOAD.as_bytes());
            *last.lock().expect("not poisoned") = Instant::now();
            Ok::<_, Failing>(Handled::done())
        });
    let worker =
        Worker::new(streams, stream(), group_name(), "worker-1".parse().expect("a name"), quick);
    let worker = worker.expect("known").until_idle();
    let stats = worker.run().await.expect("works");
    assert_eq!(stats.done as usize, messages);
    // Then the worker waited for more, which is no work.
    let handled = last.lock().expect("not poisoned").duration_since(began);
    rates(messages, published, handled - published)
}

fn group_name() -> silvertine::streams::GroupName {
    "traders".parse().expect("a name")
}

fn publication() -> Publication {
    let message = Message::default().with("codec", "json").with("data", PAYLOAD);
    Publication::new(stream(), message)
}

/// What the server takes at most from one connection: XADD alone, pipelined.
fn benchmark(server: &RedisServer) -> Option<f64> {
    let port = server.port().to_string();
    let args = ["-p", &port, "-c", "1", "-P", "64", "-n", "200000", "--csv"];
    let command = ["xadd", "bench", "*", "codec", "json", "data", PAYLOAD];
    let output = Command::new("redis-benchmark").args(args).args(command).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = text.lines().last()?;
    // The command is quoted and holds commas itself.
    let after_command = row.rsplit("\"").nth(13).or_else(|| row.split("\",\"").nth(1))?;
    after_command.parse().ok()
}

/// The latency of healthy messages while `percent` of all fail for now.
async fn latency(url: &str, percent: u64) -> Histogram<u64> {
    const SECONDS: u64 = 10;
    const PER_SECOND: u64 = 500;
    let streams = RedisStreams::open(url, topology()).expect("opens");
    streams.declare(now()).await.expect("declares");
    let histogram = Arc::new(Mutex::new(Histogram::new(3).expect("a histogram")));
    let finished = Arc::new(AtomicU64::new(0));
    let state = (Arc::clone(&histogram), Arc::clone(&finished));
    let broker =
        handler_with(state, async |(histogram, finished), message: Message, _: MessageContext| {
            if message.field("fails").is_some() {
                return Err(Failing);
            }
            let sent: u64 =
                message.text("sent").and_then(|sent| sent.parse().ok()).expect("has it");
            let took_us = now().0.saturating_sub(sent) / 1000;
            histogram.lock().expect("not poisoned").record(took_us).expect("in range");
            finished.fetch_add(1, Ordering::Relaxed);
            Ok(Handled::done())
        });
    let stop = StopFlag::default();
    let name = "worker-1".parse().expect("a name");
    let worker = Worker::new(streams.clone(), stream(), group_name(), name, broker).expect("known");
    let worker = tokio::spawn(worker.stop_on(&stop, Duration::from_secs(1)).run());
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
    let mut healthy = 0;
    for n in 0..SECONDS * PER_SECOND {
        ticks.tick().await;
        let mut message = Message::default().with("data", PAYLOAD);
        message = message.with("sent", now().0.to_string());
        if n % 100 < percent {
            message = message.with("fails", "yes");
        } else {
            healthy += 1;
        }
        streams.publish(&[Publication::new(stream(), message)], now()).await.expect("publishes");
    }
    while finished.load(Ordering::Relaxed) < healthy {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.request();
    worker.await.expect("ends").expect("works");
    Arc::try_unwrap(histogram).expect("the worker has ended").into_inner().expect("not poisoned")
}

/// The service that fails now and then.
#[derive(Debug, thiserror::Error)]
#[error("the broker does not answer")]
struct Failing;

impl Classify for Failing {
    fn class(&self) -> Class {
        Class::Transient
    }
}
