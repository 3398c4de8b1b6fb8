//! `kill -9` at any moment, followed by `--resume`, ends where an undisturbed run ends.

use std::{thread::sleep, time::Duration};

use serde_json::Value;

use crate::{
    Draws,
    cli::{finish, silvertine, spawn},
    folder, long_scenario,
    redis_server::RedisServer,
    text,
};

/// What must be the same whatever happened on the way.
fn facts(run: &Value) -> [Value; 6] {
    ["digest", "head", "events", "fills", "equity", "duplicates"].map(|fact| run[fact].clone())
}

/// Starts runs with `--resume`, kills each after a short random time, until `kills` were killed while
/// they ran; begins again with a new log whenever a run came to its end.
fn kill_often(scenario: &str, kills: u32, new_log: impl Fn(u32) -> Vec<String>) {
    let undisturbed = silvertine(&["run", scenario, "--json"]).json();
    let mut draws = Draws(4);
    let (mut killed, mut generation) = (0, 0);
    while killed < kills {
        let log = new_log(generation);
        let mut args = vec!["run", scenario, "--json", "--resume"];
        args.extend(log.iter().map(String::as_str));
        loop {
            let mut child = spawn(&args);
            sleep(Duration::from_millis(2 + draws.below(80)));
            if killed < kills && child.try_wait().expect("can be asked").is_none() {
                child.kill().expect("can be killed");
                child.wait().expect("ends");
                killed += 1;
                continue;
            }
            let run = finish(child).json();
            assert_eq!(facts(&run), facts(&undisturbed), "after {killed} kills");
            break;
        }
        generation += 1;
    }
}

#[test]
fn a_run_killed_at_50_random_moments_on_sled_ends_with_the_undisturbed_digest() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 60_000);
    kill_often(text(&scenario), 50, |generation| {
        let log = folder.path().join(format!("log-{generation}"));
        vec!["--log".to_owned(), format!("sled:{}", log.display())]
    });
    let log = format!("sled:{}", folder.path().join("log-0").display());
    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_run_killed_at_50_random_moments_on_redb_ends_with_the_undisturbed_digest() {
    let folder = folder();
    // Each commit waits for the disk, so less is enough for as many kills.
    let scenario = long_scenario(folder.path(), 20_000);
    kill_often(text(&scenario), 50, |generation| {
        let log = folder.path().join(format!("log-{generation}.redb"));
        vec!["--log".to_owned(), format!("redb:{}", log.display())]
    });
    let log = format!("redb:{}", folder.path().join("log-0.redb").display());
    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_run_killed_at_50_random_moments_on_redis_ends_with_the_undisturbed_digest() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 60_000);
    let server = RedisServer::start_durable();
    kill_often(text(&scenario), 50, |generation| {
        let log = vec!["--log".to_owned(), server.url()];
        [log, vec!["--partition".to_owned(), format!("part-{generation}")]].concat()
    });
    let verified = silvertine(&["verify", &format!("{}#part-0", server.url())]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_server_killed_20_times_loses_nothing_and_the_run_goes_on_by_itself() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 40_000);
    let undisturbed = silvertine(&["run", text(&scenario), "--json"]).json();
    let mut server = RedisServer::start_durable();
    let mut draws = Draws(11);
    let (mut killed, mut generation) = (0, 0);
    while killed < 20 {
        let partition = format!("part-{generation}");
        let url = server.url();
        let args = ["run", text(&scenario), "--json", "--log", &url, "--partition", &partition];
        let mut child = spawn(&args);
        while killed < 20 {
            sleep(Duration::from_millis(20 + draws.below(60)));
            if child.try_wait().expect("can be asked").is_some() {
                break;
            }
            // Not before it owns its partition: a server that is not there yet is no crash.
            if !server.send(&format!("EXISTS sv:{{{partition}}}:meta")).starts_with(":1") {
                continue;
            }
            server.kill9();
            sleep(Duration::from_millis(draws.below(40)));
            server.restart();
            killed += 1;
        }
        let run = finish(child);
        assert_eq!(facts(&run.json()), facts(&undisturbed), "after {killed} kills: {}", run.stderr);
        generation += 1;
    }
}

#[test]
fn a_signal_stops_a_run_gracefully_and_resume_goes_on() {
    let folder = folder();
    let scenario = long_scenario(folder.path(), 200_000);
    let undisturbed = silvertine(&["run", text(&scenario), "--json"]).json();
    for signal in ["-INT", "-TERM"] {
        let log = format!("sled:{}", folder.path().join(signal).display());
        let child = spawn(&["run", text(&scenario), "--json", "--log", &log]);
        sleep(Duration::from_millis(100));
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill is there").success());
        let stopped = finish(child);
        assert_eq!(stopped.code, Some(30), "{stopped:?}");
        assert!(stopped.stderr.contains("--resume"), "{stopped:?}");
        let resumed = silvertine(&["run", text(&scenario), "--json", "--log", &log, "--resume"]);
        let resumed = resumed.json();
        assert_eq!(facts(&resumed), facts(&undisturbed));
        assert_eq!(resumed["replayed"], 0, "the snapshot taken at the stop covers everything");
    }
}
