//! Live on Redis: producers in any language publish, the engine handles, crashes and goes on.

use std::{
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cli::{finish, silvertine, spawn},
    redis_server::RedisServer,
};

const SCENARIO: &str = "scenarios/live-ingress.toml";

/// Publishes a quote as another language would: a JSON message in the producer's own stream.
fn publish(server: &RedisServer, producer: &str, seq: u64, mid: u64) -> String {
    let body = format!(
        r#"{{"event_time":{seq},"body":{{"market_data":{{"quote":{{"symbol":"DEMO","bid":"{}","bid_qty":"1","ask":"{}","ask_qty":"1"}}}}}}}}"#,
        mid - 1,
        mid + 1
    );
    server.send(&format!("SADD sv:{{live-ingress}}:producers {producer}"));
    let quoted = body.replace('"', "\\\"");
    server.send(&format!("XADD sv:{{live-ingress}}:in:{producer} {seq}-0 c json e \"{quoted}\""))
}

fn entries(server: &RedisServer, topic: &str) -> u64 {
    let reply = server.send(&format!("XLEN sv:{{live-ingress}}:s:{topic}"));
    reply.trim_start_matches(':').trim().parse().unwrap_or(0)
}

fn wait_for_quotes(server: &RedisServer, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while entries(server, "market_data") < count {
        assert!(Instant::now() < deadline, "only {} arrived", entries(server, "market_data"));
        sleep(Duration::from_millis(5));
    }
}

fn stop(child: Child) -> crate::cli::Finished {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    finish(child)
}

#[test]
fn live_events_are_handled_once_across_a_crash_and_the_log_verifies() {
    let server = RedisServer::start_durable();
    let url = server.url();
    let args = ["run", SCENARIO, "--log", &url, "--resume", "--json"];
    let mut first = spawn(&args);
    for seq in 1..=60 {
        let reply = publish(&server, "feed-a", seq, 100 + (seq % 20));
        assert!(reply.contains("-0"), "{reply}");
    }
    wait_for_quotes(&server, 60);
    first.kill().expect("can be killed");
    first.wait().expect("ends");

    // A number that was used already is refused by the server itself.
    assert!(publish(&server, "feed-a", 60, 1).contains("equal or smaller"));
    for seq in 1..=40 {
        publish(&server, "feed-b", seq, 100 + (seq % 20));
    }
    server.send("XADD sv:{live-ingress}:in:feed-b 41-0 c json e nonsense");
    let second = spawn(&args);
    wait_for_quotes(&server, 100);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !server.send("XLEN sv:{live-ingress}:in:feed-b").starts_with(":0") {
        assert!(Instant::now() < deadline, "what was consumed is discarded from the ingress");
        sleep(Duration::from_millis(5));
    }
    let stopped = stop(second);
    assert_eq!(stopped.code, Some(30), "{stopped:?}");
    let run: serde_json::Value = serde_json::from_str(&stopped.stdout).expect("JSON");
    assert_eq!(run["events"], 101, "100 quotes and one refusal: {run}");
    assert_eq!(run["refused_inputs"], 1, "{run}");
    assert!(run["fills"].as_u64() > Some(1), "{run}");
    assert_eq!(entries(&server, "market_data"), 100, "none lost, none twice");

    let verified = silvertine(&["verify", &format!("{url}#live-ingress"), "--json"]).json();
    assert_eq!(verified["digest"], run["digest"]);
}

#[test]
fn a_live_run_waits_for_a_server_that_is_killed_and_goes_on() {
    let mut server = RedisServer::start_durable();
    let url = server.url();
    let run = spawn(&["run", SCENARIO, "--log", &url, "--resume", "--json"]);
    for round in 0..5 {
        for seq in 1..=10 {
            publish(&server, "feed-a", round * 10 + seq, 100 + seq);
        }
        wait_for_quotes(&server, (round + 1) * 10);
        server.kill9();
        sleep(Duration::from_millis(60));
        server.restart();
    }
    let stopped = stop(run);
    assert_eq!(stopped.code, Some(30), "{stopped:?}");
    let verified = silvertine(&["verify", &format!("{url}#live-ingress"), "--json"]).json();
    assert_eq!(verified["entries"], verified["head"].as_str().map_or(0, last_number));
    assert_eq!(entries(&server, "market_data"), 50);
}

fn last_number(position: &str) -> u64 {
    position.split('-').next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
}
