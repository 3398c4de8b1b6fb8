//! One digest: whatever the log, the pace, the batch size, the process.

use std::path::Path;

use serde_json::Value;

use crate::{
    cli::{recorded_data, root, silvertine},
    folder, halting,
    redis_server::RedisServer,
    text,
};

fn facts(run: &Value) -> [Value; 7] {
    ["digest", "head", "events", "orders", "fills", "realised_pnl", "equity"]
        .map(|fact| run[fact].clone())
}

/// Runs a scenario in every combination of log and batch size, each in a process of its own.
fn check_everywhere(scenario: &Path, data: Option<&Path>, paced: Option<&str>) {
    let folder = folder();
    let server = RedisServer::start();
    let data: Vec<&str> = data.map_or(Vec::new(), |data| vec!["--data", text(data)]);
    let run = |more: &[&str]| {
        let args = [&["run", text(scenario), "--json"], data.as_slice(), more].concat();
        facts(&silvertine(&args).json())
    };
    let expected = run(&[]);
    assert_ne!(expected[4], 0, "a scenario without fills proves little");
    assert_eq!(run(&[]), expected, "a second process");
    for batch in ["1", "7", "256"] {
        assert_eq!(run(&["--batch", batch]), expected, "memory, batch {batch}");
        let log = format!("redb:{}", folder.path().join(format!("{batch}.redb")).display());
        // Every commit is synced: small ones would take minutes here and prove nothing more.
        if batch == "256" {
            assert_eq!(run(&["--batch", batch, "--log", &log]), expected, "redb, batch {batch}");
        }
        let log = format!("sled:{}", folder.path().join(batch).display());
        assert_eq!(run(&["--batch", batch, "--log", &log]), expected, "sled, batch {batch}");
        let partition = format!("batch-{batch}");
        let on_redis = ["--batch", batch, "--log", &server.url(), "--partition", &partition];
        assert_eq!(run(&on_redis), expected, "redis, batch {batch}");
        let a = format!("{}#{partition}", server.url());
        let same = silvertine(&["diff", &a, &log]);
        assert_eq!(same.code, Some(0), "{same:?}");
    }
    if let Some(speed) = paced {
        assert_eq!(run(&["--speed", speed]), expected, "memory at {speed}");
        let log = format!("sled:{}", folder.path().join("paced").display());
        assert_eq!(run(&["--speed", speed, "--log", &log]), expected, "sled at {speed}");
        let on_redis = ["--speed", speed, "--log", &server.url(), "--partition", "paced"];
        assert_eq!(run(&on_redis), expected, "redis at {speed}");
    }
}

#[test]
fn a_run_that_halts_and_goes_on_has_one_digest_on_redis_too() {
    let (folder, server) = (folder(), RedisServer::start());
    let scenario = halting::scenario(folder.path(), "market_data = \"halt\"");
    let on_sled = format!("sled:{}", folder.path().join("log").display());
    let (sled, halts) = halting::run_past_all(&scenario, &on_sled, &[]);
    let on_redis = format!("{}#halting", server.url());
    let (redis, halts_there) = halting::run_past_all(&scenario, &on_redis, &[]);
    assert!(halts > 1, "a scenario that hardly halts proves little");
    assert_eq!((facts(&redis), halts_there), (facts(&sled), halts));
    let same = silvertine(&["diff", &on_redis, &on_sled]);
    assert_eq!(same.code, Some(0), "{same:?}");
    let verified = silvertine(&["verify", &on_redis, "--json"]).json();
    assert_eq!(verified["digest"], redis["digest"]);
}

#[test]
fn a_run_that_parks_and_releases_has_one_digest_on_redis_too() {
    let (folder, server) = (folder(), RedisServer::start());
    let scenario = halting::scenario(folder.path(), "market_data = \"park-key\"");
    let on_sled = format!("sled:{}", folder.path().join("log").display());
    let (sled, releases) = halting::release_all(&scenario, &on_sled, &[]);
    let on_redis = format!("{}#parking", server.url());
    let (redis, releases_there) = halting::release_all(&scenario, &on_redis, &[]);
    assert!(releases > 1, "a scenario that hardly parks proves little");
    assert_eq!((facts(&redis), releases_there), (facts(&sled), releases));
    let same = silvertine(&["diff", &on_redis, &on_sled]);
    assert_eq!(same.code, Some(0), "{same:?}");
}

#[test]
fn the_shipped_scenario_has_one_digest_everywhere() {
    // 5 000 s of recorded time in about a second.
    check_everywhere(&root().join("scenarios/ema-cross.toml"), None, Some("5000x"));
}

#[test]
fn the_spot_recording_has_one_digest_everywhere() {
    let test = "the_spot_recording_has_one_digest_everywhere";
    let Some(data) = recorded_data(test) else { return };
    let scenario = root().join("scenarios/binance-spot.toml");
    check_everywhere(&scenario, Some(&data), Some("200x"));
}

#[test]
fn the_futures_recording_has_one_digest_everywhere() {
    let test = "the_futures_recording_has_one_digest_everywhere";
    let Some(data) = recorded_data(test) else { return };
    let scenario = root().join("scenarios/binance-usdm.toml");
    check_everywhere(&scenario, Some(&data), Some("200x"));
}

#[test]
fn the_bar_recording_has_one_digest_everywhere() {
    let test = "the_bar_recording_has_one_digest_everywhere";
    let Some(data) = recorded_data(test) else { return };
    check_everywhere(&root().join("scenarios/btc-bars.toml"), Some(&data), Some("2000000x"));
}
