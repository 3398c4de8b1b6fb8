//! Runs in which a handler fails where that parks its key.

use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::silvertine,
    halting::{release_all, scenario},
};

const PARK: &str = "market_data = \"park-key\"";

#[test]
fn a_run_that_ends_with_events_parked_says_which_and_what_to_do() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = scenario(folder.path(), &format!("{PARK}\nsignal = \"park-key\""));
    let log = format!("sled:{}", folder.path().join("log").display());
    let parked = silvertine(&["run", &scenario, "--log", &log]);
    assert_eq!((parked.code, parked.stderr.lines().count()), (Some(32), 1), "{parked:?}");
    assert!(parked.stderr.contains("parked under fragile:X; "), "{parked:?}");
    let line = parked.stdout.lines().find(|line| line.contains("parked")).expect("a line");
    assert!(
        line.contains("fragile:X: ")
            && line.contains(" events parked, fragile failed on the market_data event at "),
        "{line}"
    );
    assert!(line.contains(": the probe "), "and why: {line}");

    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "what is there is good: {verified:?}");
    let said = line.trim_start().strip_prefix("parked").expect("what it is").trim();
    assert!(verified.stdout.contains(said), "{verified:?}");
    assert!(!verified.stdout.contains("given up"), "nothing is lost so far: {verified:?}");
    let verified = silvertine(&["verify", &log, "--json"]).json();
    assert_eq!(
        (&verified["parked"][0]["key"], &verified["given_up"]),
        (&"fragile:X".into(), &0.into())
    );
}

#[test]
fn what_is_not_parked_cannot_be_released_and_nothing_changes() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = scenario(folder.path(), PARK);
    let log = format!("sled:{}", folder.path().join("log").display());
    silvertine(&["run", &scenario, "--log", &log]);
    let before = silvertine(&["verify", &log, "--json"]).json();
    for key in ["fragile:Y", "fragile", "steady:X", "nobody:X"] {
        for flag in ["--release", "--release-past"] {
            let args =
                ["run", &scenario, "--log", &log, "--resume", "--release", "fragile:X", flag, key];
            let says =
                format!("nothing is parked under {key}; parked are fragile:X; nothing was changed");
            assert_refused(&silvertine(&args), 2, &[&says]);
        }
    }
    assert_eq!(silvertine(&["verify", &log, "--json"]).json(), before);
    let without_resume = silvertine(&["run", &scenario, "--log", &log, "--release", "fragile:X"]);
    assert_eq!(without_resume.code, Some(2), "{without_resume:?}");
}

#[test]
fn releases_give_the_same_log_on_any_log_in_any_batches() {
    let folder = TempDir::new().expect("a temporary folder");
    for policy in [PARK, "market_data = \"park-key\"\nsignal = \"park-key\"\nsystem = \"park-key\""]
    {
        let scenario = scenario(folder.path(), policy);
        let mut facts = Vec::new();
        for (kind, batch) in [("sled", "7"), ("sled", "1"), ("sled", "512"), ("redb", "7")] {
            let name = format!("{kind}-{batch}-{}", policy.len());
            let log = format!("{kind}:{}", folder.path().join(name).display());
            let (run, releases) = release_all(&scenario, &log, &["--batch", batch]);
            assert_eq!(
                run["events"],
                300 + releases,
                "every input once, and the operator's: {run}"
            );
            let verified = silvertine(&["verify", &log, "--json"]).json();
            assert_eq!(
                (&verified["digest"], &verified["parked"]),
                (&run["digest"], &serde_json::json!([]))
            );
            facts.push((
                releases,
                run["digest"].clone(),
                run["head"].clone(),
                verified["given_up"].clone(),
            ));
        }
        assert!(facts[0].0 > 1, "a scenario that hardly parks proves little: {facts:?}");
        assert!(facts.windows(2).all(|pair| pair[0] == pair[1]), "{facts:?}");
    }
}

#[test]
fn a_scenario_can_expect_what_is_parked() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = scenario(folder.path(), PARK);
    let text = std::fs::read_to_string(&path).expect("it is there");
    let run = silvertine(&["run", &path, "--json"]);
    let run: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object");
    let events = run["parked"][0]["events"].as_u64().expect("a number");
    for (expected, code) in [(events, 0), (events + 1, 11)] {
        std::fs::write(&path, format!("{text}[expect]\nparked = {expected}\n"))
            .expect("can be written");
        assert_eq!(silvertine(&["run", &path]).code, Some(code));
    }
}

#[test]
fn the_shipped_scenario_of_parked_events_ends_as_it_says_on_any_log() {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |kind: &str| format!("{kind}:{}", folder.path().join(kind).display());
    for log in ["memory".to_owned(), at("sled"), at("redb")] {
        let run = silvertine(&["run", "scenarios/parking.toml", "--log", &log]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{log}: {run:?}");
    }
}
