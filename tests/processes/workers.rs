//! Worker processes that are killed, over servers that are killed: every message has one effect.

use std::{
    collections::BTreeSet,
    fs,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use silvertine::{
    engine::pos::Pos,
    storage::{LogAddress, streams::AnyStreams},
    streams::Streams,
    worker::{now, read_topology},
};
use tempfile::TempDir;

use crate::{
    cli::{feed, spawn},
    redis_server::RedisServer,
};

const MESSAGES: usize = 100_000;
const WORKERS: usize = 4;

/// Commands that are all passed on to the results.
const TOPOLOGY: &str = r#"
[[stream]]
name = "mgmt:trading:commands"
group = [{ name = "traders", reclaim_after = "1s", in_flight = 256, idempotency_entries = 1000000 }]

[[stream]]
name = "trading:mgmt:results"

[[route]]
from = "mgmt:trading:commands"
group = "traders"
otherwise = ["trading:mgmt:results"]
"#;

/// A worker process; the same name again takes up what it held.
fn worker(number: usize, store: &str, topology: &str) -> Child {
    let name = format!("worker-{number}");
    spawn(&[
        "work",
        "mgmt:trading:commands",
        "traders",
        "--store",
        store,
        "--topology",
        topology,
        "--name",
        &name,
        "--route",
    ])
}

#[test]
fn four_workers_killed_every_second_over_a_server_killed_three_times_have_each_effect_once() {
    let mut redis = RedisServer::start_durable();
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("streams.toml");
    fs::write(&file, TOPOLOGY).expect("writes");
    let topology = file.to_str().expect("a plain path");
    let store = redis.url();
    let lines: String = (0..MESSAGES).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let at = ["--store", &store, "--topology", topology];
    let mut publish = vec!["streams", "publish", "mgmt:trading:commands", "--key", "command-"];
    publish.extend(at);
    publish.extend(["--batch", "500"]);
    crate::cli::silvertine(&[&["streams", "init"][..], &at[..]].concat());
    let published = feed(&publish, &lines);
    assert_eq!(published.code, Some(0), "{published:?}");

    let mut workers: Vec<Child> =
        (0..WORKERS).map(|number| worker(number, &store, topology)).collect();
    let address: LogAddress = store.parse().expect("an address");
    let topology_read = read_topology(&file).expect("parses");
    let streams = AnyStreams::open(&address, topology_read, true).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let commands = "mgmt:trading:commands".parse().expect("a name");
    let group = || {
        let stats = runtime.block_on(streams.stream_stats(&commands, now()));
        stats.ok().flatten().map(|stats| stats.groups[0].clone())
    };
    let done = || group().map_or(0, |group| group.done);

    let (mut kills, mut server_kills) = (0, 0);
    let began = Instant::now();
    while done() < MESSAGES as u64 {
        assert!(began.elapsed() < Duration::from_secs(300), "stuck: {:?}", group());
        sleep(Duration::from_millis(20));
        if began.elapsed() >= Duration::from_secs(1) * (kills as u32 + 1) {
            let victim = kills % WORKERS;
            workers[victim].kill().expect("our child can be killed");
            workers[victim].wait().expect("a killed child ends");
            workers[victim] = worker(victim, &store, topology);
            kills += 1;
        }
        // Spread over the run, whatever its speed.
        if server_kills < 3 && done() >= (MESSAGES as u64 / 4) * (server_kills + 1) {
            redis.kill9();
            redis.restart();
            server_kills += 1;
            let back = Instant::now();
            let patience = || assert!(back.elapsed() < Duration::from_secs(60), "nobody works");
            let before = loop {
                if let Some(group) = group() {
                    break group.done;
                }
                patience();
            };
            while done() <= before && before < MESSAGES as u64 {
                patience();
                sleep(Duration::from_millis(1));
            }
            eprintln!("work went on {:?} after the server was back", back.elapsed());
        }
    }
    eprintln!("{kills} workers and {server_kills} servers killed in {:?}", began.elapsed());
    for mut worker in workers {
        worker.kill().expect("our child can be killed");
        worker.wait().expect("a killed child ends");
    }

    let results = "trading:mgmt:results".parse().expect("a name");
    let mut keys = BTreeSet::new();
    let mut after = Pos::ZERO;
    let mut effects = 0;
    loop {
        let page = runtime.block_on(streams.read(&results, after, 1000)).expect("reads");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        effects += page.len();
        keys.extend(page.iter().filter_map(|(_, message)| message.text("key").map(String::from)));
    }
    let group = group().expect("reads");
    assert_eq!((effects, keys.len()), (MESSAGES, MESSAGES), "{group:?}");
    let added = runtime.block_on(streams.stream_stats(&commands, now())).expect("reads");
    assert_eq!(group.accounted(), added.expect("there").added, "{group:?}");
    assert_eq!((group.dead, group.held, group.retrying), (0, 0, 0), "{group:?}");
    assert_eq!(server_kills, 3, "the run was too short for the servers' kills");
}
