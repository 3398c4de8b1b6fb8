//! Runs that halt because a handler failed.

use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::silvertine,
    halting::{halted_at, run_past_all, scenario},
};

#[test]
fn a_halted_run_says_which_handler_failed_on_what_and_what_to_do() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = scenario(folder.path(), "market_data = \"halt\"");
    let log = format!("sled:{}", folder.path().join("log").display());
    let halted = silvertine(&["run", &scenario, "--log", &log]);
    assert_eq!((halted.code, halted.stderr.lines().count()), (Some(31), 1), "{halted:?}");
    insta::assert_snapshot!("a_halted_run", halted.stderr);
    let at = halted_at(&halted);

    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "what is there is good: {verified:?}");
    insta::assert_snapshot!("a_halted_log_verified", verified.stdout);
    let verified = silvertine(&["verify", &log, "--json"]).json();
    assert_eq!((&verified["head"], &verified["halted"]["pos"]), (&at.clone().into(), &at.into()));
}

#[test]
fn a_halted_run_says_so_in_json() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = scenario(folder.path(), "market_data = \"halt\"");
    let log = format!("redb:{}", folder.path().join("log").display());
    let halted = silvertine(&["run", &scenario, "--log", &log, "--json"]);
    halted_at(&halted);
    let said: serde_json::Value = serde_json::from_str(&halted.stdout).expect("one object");
    assert_eq!(said["halted"], silvertine(&["verify", &log, "--json"]).json()["halted"]);
    // The handler's word goes to scripts and to people.
    assert!(halted.stderr.contains(said["halted"]["reason"].as_str().expect("a reason")));
}

#[test]
fn a_halted_run_goes_on_only_behind_the_halt_that_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = scenario(folder.path(), "market_data = \"halt\"");
    let log = format!("sled:{}", folder.path().join("log").display());
    let run = |more: &[&str]| silvertine(&[&["run", &scenario, "--log", &log], more].concat());
    let halted = run(&[]);
    let first = halted_at(&halted);
    assert_eq!(run(&["--resume"]).stderr, halted.stderr, "it still stands there");
    let (ms, seq) = first.split_once('-').expect("a position");
    let other = format!("{ms}-{}", seq.parse::<u64>().expect("a number") + 1);
    assert_eq!(run(&["--resume", "--past-halt", &other]).stderr, halted.stderr);
    let second = halted_at(&run(&["--resume", "--past-halt", &first]));
    assert_ne!(second, first, "it went on, to the next failure");
    // The permission for the first one permits nothing else.
    assert_eq!(halted_at(&run(&["--resume", "--past-halt", &first])), second);
}

#[test]
fn halts_change_neither_digest_nor_inputs_on_any_log_in_any_batches() {
    let folder = TempDir::new().expect("a temporary folder");
    for policy in ["market_data = \"halt\"", "signal = \"halt\"\nsystem = \"halt\""] {
        let scenario = scenario(folder.path(), policy);
        let mut facts = Vec::new();
        for (kind, batch) in [("sled", "7"), ("sled", "1"), ("sled", "512"), ("redb", "7")] {
            let name = format!("{kind}-{batch}-{}", policy.len());
            let log = format!("{kind}:{}", folder.path().join(name).display());
            let (run, halts) = run_past_all(&scenario, &log, &["--batch", batch]);
            // Every input once, and the operator's own.
            assert_eq!(run["events"], 300 + halts, "{run}");
            assert_eq!(run["handler_failures"].as_u64() >= Some(halts.into()), halts > 0, "{run}");
            let verified = silvertine(&["verify", &log, "--json"]).json();
            assert_eq!(verified["digest"], run["digest"]);
            assert_eq!(verified["given_up"], run["handler_failures"]);
            assert!(verified["halted"].is_null(), "{verified}");
            facts.push((halts, run["digest"].clone(), run["head"].clone()));
        }
        assert!(facts[0].0 > 1, "a scenario that hardly halts proves little: {facts:?}");
        assert!(facts.windows(2).all(|pair| pair[0] == pair[1]), "{facts:?}");
    }
}

#[test]
fn the_policy_is_part_of_what_a_log_is_created_with() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = format!("sled:{}", folder.path().join("log").display());
    let halting = scenario(folder.path(), "market_data = \"halt\"");
    halted_at(&silvertine(&["run", &halting, "--log", &log]));
    let lenient = scenario(folder.path(), "market_data = \"dead-letter\"");
    let resumed = silvertine(&["run", &lenient, "--log", &log, "--resume"]);
    assert_refused(&resumed, 13, &["other parameters"]);
}

#[test]
fn verify_says_what_was_given_up() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = format!("sled:{}", folder.path().join("log").display());
    let run = silvertine(&["run", "scenarios/probes.toml", "--log", &log, "--json"]).json();
    let verified = silvertine(&["verify", &log]);
    let says = format!("  events given up: {}, the first at ", run["handler_failures"]);
    assert!(verified.stdout.contains(&says), "{verified:?}");
    assert!(verified.stdout.contains("by failing: the probe"), "{verified:?}");
    let verified = silvertine(&["verify", &log, "--json"]).json();
    assert_eq!(verified["given_up"], run["handler_failures"]);
    assert_eq!(verified["first_given_up"]["handler"], "failing");
}
