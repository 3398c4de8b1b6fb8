//! One partition, two owners: the earlier one is told and the log stays whole.

use std::{thread::sleep, time::Duration};

use crate::{
    cli::{finish, silvertine, spawn},
    folder, long_scenario,
    redis_server::RedisServer,
    text,
};

#[test]
fn a_second_owner_fences_the_first_and_the_log_stays_whole() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 30_000);
    let undisturbed = silvertine(&["run", text(&scenario), "--json"]).json();
    let server = RedisServer::start();
    let url = server.url();
    // Thirty seconds of recorded time at ten times its pace.
    let first = spawn(&["run", text(&scenario), "--log", &url, "--speed", "10x"]);
    while !server.send("EXISTS sv:{long}:s:market_data").starts_with(":1") {
        sleep(Duration::from_millis(5));
    }
    let second = silvertine(&["run", text(&scenario), "--json", "--log", &url, "--resume"]).json();
    assert_eq!(second["digest"], undisturbed["digest"]);
    let first = finish(first);
    assert_eq!(first.code, Some(24), "{first:?}");
    assert!(first.stderr.contains("fenced"), "{first:?}");
    let verified = silvertine(&["verify", &format!("{url}#long"), "--json"]).json();
    assert_eq!(verified["digest"], undisturbed["digest"]);
}

#[test]
fn a_sled_folder_belongs_to_one_process_at_a_time() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 30_000);
    let log = format!("sled:{}", folder.path().join("log").display());
    let mut first = spawn(&["run", text(&scenario), "--log", &log, "--speed", "1x"]);
    while !folder.path().join("log/db").exists() {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(100));
    let second = silvertine(&["run", text(&scenario), "--log", &log, "--resume"]);
    assert_eq!(second.code, Some(20), "{second:?}");
    assert!(second.stderr.contains("in use by another process"), "{second:?}");
    first.kill().expect("can be killed");
    first.wait().expect("ends");
}

#[test]
fn a_log_of_another_scenario_or_seed_is_not_continued() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 1_000);
    let log = format!("sled:{}", folder.path().join("log").display());
    silvertine(&["run", text(&scenario), "--json", "--log", &log]).json();
    let again = silvertine(&["run", text(&scenario), "--log", &log]);
    assert_eq!(again.code, Some(13), "{again:?}");
    assert!(again.stderr.contains("--resume"), "{again:?}");
    let other = silvertine(&["run", text(&scenario), "--log", &log, "--resume", "--seed", "10"]);
    assert_eq!(other.code, Some(13), "{other:?}");
    assert!(other.stderr.contains("another seed"), "{other:?}");
    let same = silvertine(&["run", text(&scenario), "--json", "--log", &log, "--resume"]).json();
    assert_eq!(same["events"], 1_000);
}
