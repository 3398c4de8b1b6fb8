//! A scenario whose handler fails now and then where failures halt, and an operator who lets it go on.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;

use crate::cli::{Finished, silvertine};

/// Writes it; `policy` is what `[on_failure]` holds.
pub fn scenario(folder: &Path, policy: &str) -> String {
    let path = folder.join("halting.toml");
    let text = format!(
        r#"
name = "halting"
seed = 3
[on_failure]
{policy}
[run]
batch_entries = 7
snapshot_entries = 60
[[source]]
kind = "generator"
name = "generated"
symbols = ["X"]
events = 300
[[handler]]
kind = "probe"
name = "steady"
[[handler]]
kind = "probe"
name = "fragile"
priority = "high"
params = {{ fails = 20, panics = 15 }}
"#
    );
    std::fs::write(&path, text).expect("can be written");
    path.to_str().expect("a plain path").to_owned()
}

/// The position that a halted run names, on stderr and, where it prints JSON, there too.
#[track_caller]
pub fn halted_at(run: &Finished) -> String {
    assert_eq!(run.code, Some(31), "{run:?}");
    let at =
        run.stderr.strip_prefix("silvertine: halted at ").and_then(|said| said.split_once(':'));
    let at = at.unwrap_or_else(|| panic!("where? {run:?}")).0.to_owned();
    if !run.stdout.is_empty() {
        let said: serde_json::Value = serde_json::from_str(&run.stdout).expect("one object");
        assert_eq!((&said["end"], &said["head"]), (&"halted".into(), &at.as_str().into()));
    }
    at
}

/// Runs it to its end, and goes past every halt. Returns the last run's result and the number of halts.
#[track_caller]
pub fn run_past_all(scenario: &str, log: &str, more: &[&str]) -> (serde_json::Value, u32) {
    let args = [&["run", scenario, "--log", log, "--json"], more].concat();
    let mut run = silvertine(&args);
    let mut halts = 0;
    while run.code != Some(0) {
        let at = halted_at(&run);
        halts += 1;
        assert!(halts < 100, "it never ends: {run:?}");
        run = silvertine(&[args.as_slice(), &["--resume", "--past-halt", &at]].concat());
    }
    (run.json(), halts)
}

/// Runs it to its end and releases what is parked, key by key, until nothing is; every other time it gives up the first
/// event of the key. Returns the last run's result and the number of releases.
#[track_caller]
pub fn release_all(scenario: &str, log: &str, more: &[&str]) -> (serde_json::Value, u32) {
    let args = [&["run", scenario, "--log", log, "--json"], more].concat();
    let mut run = silvertine(&args);
    let mut releases = 0;
    while run.code == Some(32) {
        let said: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object");
        let key = said["parked"][0]["key"].as_str().expect("a key");
        let flag = if releases % 2 == 0 { "--release" } else { "--release-past" };
        releases += 1;
        assert!(releases < 100, "it never ends: {run:?}");
        run = silvertine(&[args.as_slice(), &["--resume", flag, key]].concat());
    }
    (run.json(), releases)
}
