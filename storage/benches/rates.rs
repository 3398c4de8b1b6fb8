//! Rates of the logs beside what they stand on, in one run on one machine; prints medians and ratios.
//!
//! `cargo bench -p silvertine-storage`. The Redis part needs `redis-server` and `redis-benchmark`.

use std::{
    fs::File,
    future::Future,
    io::Write,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    event::{Event, EventId, Header, Origin, Quote},
    log::{Batch, Commit, CommitId, EventLog, IngressMessage, OwnerId},
    numbers::{Price, Qty},
    pos::Pos,
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_storage::{
    memory::MemoryLog,
    redb::{RedbLog, RedbOptions},
    redis::{RedisConfig, RedisLog},
    sled::{SledLog, SledOptions},
};

const PER_COMMIT: u64 = 256;
const COMMITS: u64 = 1_000;
const ROUNDS: usize = 3;
const RAW: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("raw");

fn main() {
    let batches: Vec<Batch> = (0..COMMITS).map(batch).collect();
    let bytes: usize = batches.iter().map(Batch::byte_len).sum();
    let entries = PER_COMMIT * COMMITS;
    println!(
        "{entries} quotes of {} bytes in commits of {PER_COMMIT}, median of {ROUNDS}",
        bytes as u64 / entries
    );
    embedded(&batches);
    redis(&batches);
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    for n in 1..=PER_COMMIT {
        let seq = number * PER_COMMIT + n;
        let time = Nanos(1_704_067_200_000_000_000 + seq * 1_000_000);
        let source = Name::new("bench").expect("a short word");
        let id = EventId::of_input(&source, seq);
        let price = Price::from_units(100_000_000_000 + seq as i64);
        let quote = Quote {
            symbol: Symbol::new("BENCH").expect("a short word"),
            bid: price,
            bid_qty: Qty::from_units(1_000_000_000),
            ask: price,
            ask_qty: Qty::from_units(1_000_000_000),
        };
        let header = Header {
            id,
            event_time: time,
            recv_time: time,
            source,
            source_seq: seq,
            correlation: id,
            causation: None,
        };
        let pos = Pos { ms: time.as_ms(), seq };
        batch.push(&Event { pos, time, origin: Origin::Input, header, body: quote.into() });
    }
    batch
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn commit_all<L: EventLog>(log: &L, batches: &[Batch]) {
    let lease = log.acquire(OwnerId(1), b"bench").await.expect("acquires").lease;
    let mut expected = Pos::ZERO;
    for (n, batch) in batches.iter().enumerate() {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&(n as u64 + 1).to_le_bytes());
        let digest = Digest::from_bytes(digest);
        let commit = Commit {
            id: CommitId::derive(&lease, expected, digest),
            expected,
            entries: batch,
            digest,
            checkpoint: b"checkpoint",
            snapshot: None,
            ingress_done: None,
        };
        expected = log.commit(&lease, &commit).await.expect("commits").head;
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn rate(time: Duration) -> u128 {
    u128::from(PER_COMMIT * COMMITS) * 1_000_000_000 / time.as_nanos().max(1)
}

fn median(mut rates: Vec<u128>) -> u128 {
    rates.sort_unstable();
    rates[rates.len() / 2]
}

fn report(label: &str, rate: u128, baseline: Option<(&str, u128)>) {
    let beside = baseline.map_or(String::new(), |(name, baseline)| {
        format!("  {:>4} % of {name}", rate * 100 / baseline.max(1))
    });
    println!("  {label:<42} {rate:>9} entries/s{beside}");
}

fn embedded(batches: &[Batch]) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let [mut file, mut raw, mut ours, mut memory] = [const { Vec::new() }; 4];
    let [mut raw_synced, mut ours_synced] = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        let path = |what: &str| folder.path().join(format!("{what}-{round}"));
        file.push(rate(timed(|| {
            let mut file = File::create(path("file")).expect("creates");
            for batch in batches {
                for entry in batch.iter() {
                    file.write_all(entry.bytes).expect("writes");
                }
            }
        })));
        let db = sled::Config::new().path(path("raw")).mode(sled::Mode::HighThroughput);
        let db = db.open().expect("opens");
        raw.push(rate(timed(|| {
            for batch in batches {
                let frame: Vec<u8> = batch.iter().flat_map(|e| e.bytes).copied().collect();
                let first = batch.first_pos().expect("not empty");
                db.insert(first.to_be_bytes(), frame).expect("inserts");
                db.flush().expect("flushes");
            }
        })));
        let log = SledLog::open(&path("ours"), &SledOptions::default()).expect("opens");
        ours.push(rate(timed(|| run(commit_all(&log, batches)))));
        let db = redb::Database::create(path("raw-redb")).expect("creates");
        raw_synced.push(rate(timed(|| {
            for batch in batches {
                let frame: Vec<u8> = batch.iter().flat_map(|e| e.bytes).copied().collect();
                let first = batch.first_pos().expect("not empty");
                let transaction = db.begin_write().expect("begins");
                let mut table = transaction.open_table(RAW).expect("opens");
                table.insert(&first.to_be_bytes()[..], &frame[..]).expect("inserts");
                drop(table);
                transaction.commit().expect("commits");
            }
        })));
        let log = RedbLog::open(&path("ours-redb"), &RedbOptions::default()).expect("opens");
        ours_synced.push(rate(timed(|| run(commit_all(&log, batches)))));
        let log = MemoryLog::new();
        memory.push(rate(timed(|| run(commit_all(&log, batches)))));
    }
    let raw = median(raw);
    report("plain file, a write per entry", median(file), None);
    report("raw sled, the same frames, flushed", raw, None);
    report("SledLog::commit, flushed", median(ours), Some(("raw sled", raw)));
    let raw = median(raw_synced);
    report("raw redb, the same frames, synced", raw, None);
    report("RedbLog::commit, synced", median(ours_synced), Some(("raw redb", raw)));
    report("MemoryLog::commit", median(memory), None);
}

fn redis(batches: &[Batch]) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    drop(listener);
    let server = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut server) = server else {
        println!("  redis-server is absent: its part is skipped");
        return;
    };
    while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        sleep(Duration::from_millis(10));
    }
    let open = |name: String| {
        let partition = Name::new(&name).expect("a short word");
        RedisLog::open(RedisConfig::new(format!("redis://127.0.0.1:{port}"), partition))
            .expect("a good URL")
    };
    let [mut baseline, mut commits, mut publishes] = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        baseline.extend(redis_benchmark(&port));
        let log = open(format!("commit{round}"));
        commits.push(rate(timed(|| run(commit_all(&log, batches)))));
        let log = open(format!("publish{round}"));
        let producer = Name::new("bench").expect("a short word");
        let messages: Vec<IngressMessage> = batches
            .iter()
            .flat_map(Batch::iter)
            .map(|entry| IngressMessage {
                producer,
                seq: entry.pos.seq,
                codec: Codec::Postcard,
                payload: entry.bytes.to_vec(),
            })
            .collect();
        publishes.push(rate(timed(|| {
            run(async {
                for chunk in messages.chunks(4096) {
                    log.publish(chunk).await.expect("publishes");
                }
            });
        })));
    }
    server.kill().expect("our child can be killed");
    server.wait().expect("a killed child ends");
    if baseline.is_empty() {
        println!("  redis-benchmark is absent: no baseline");
        return;
    }
    let baseline = median(baseline);
    report("redis-benchmark -P 64, XADD of 110 bytes", baseline, None);
    report("RedisLog::commit", median(commits), Some(("redis-benchmark", baseline)));
    report("RedisLog::publish", median(publishes), Some(("redis-benchmark", baseline)));
}

/// Appends per second as `redis-benchmark` measures them.
fn redis_benchmark(port: &str) -> Option<u128> {
    let payload = "x".repeat(110);
    let output = Command::new("redis-benchmark")
        .args([
            "-p", port, "-P", "64", "-n", "256000", "--csv", "XADD", "bench", "*", "e", &payload,
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().last()?.split("\",\"").nth(1)?;
    rate.split('.').next()?.trim_matches('"').parse().ok()
}
