//! Faults written into scenario files.

use std::{fs, path::Path};

use serde_json::Value;
use silvertine::sim::log::fault::{FaultKind, Scope};
use tempfile::TempDir;

use crate::cli::silvertine;

/// A run of generated inputs, live or recorded, with these faults.
fn scenario(folder: &TempDir, live: bool, faults: &str) -> String {
    let clock = if live { "wall" } else { "virtual" };
    let text = format!(
        r#"
name = "faulty"
seed = 3
clock = "{clock}"
[run]
batch_entries = 5
snapshot_entries = 30
retention_entries = 40
[[source]]
kind = "workload"
name = "inputs"
seed = 9
symbols = ["A", "B"]
events = 120
interval_ns = 100000000
publish = {live}
[[handler]]
kind = "probe"
{faults}
"#
    );
    let path = folder.path().join("faulty.toml");
    fs::write(&path, text).expect("writes");
    path.to_str().expect("plain").to_owned()
}

fn run_json(path: &str) -> Value {
    silvertine(&["run", path, "--json"]).json()
}

#[test]
fn every_kind_of_fault_can_be_written_and_strikes() {
    let folder = TempDir::new().expect("a temporary folder");
    for kind in FaultKind::ALL {
        let live = matches!(kind.scope(), Scope::Clock | Scope::Producer);
        let keys: String = kind
            .keys()
            .iter()
            .map(|key| match *key {
                "for" => "for = \"250ms\"\n",
                "lose" => "lose = 2\n",
                "by" => "by = \"-5s\"\n",
                "op" => "op = \"commit\"\n",
                _ => "request = \"applied\"\n",
            })
            .collect();
        let fault = format!("[[fault]]\nkind = \"{}\"\nafter_events = 50\n{keys}", kind.name());
        let report = run_json(&scenario(&folder, live, &fault));
        assert_eq!(report["faults"][kind.name()], 1, "{}: {report}", kind.name());
        assert_eq!(report["good"], true, "{report}");
    }
}

#[test]
fn what_nothing_can_feel_does_not_count_as_fired() {
    let folder = TempDir::new().expect("a temporary folder");
    let fired = |kind: &str, live: bool, at: &str| {
        let fault = format!("[[fault]]\nkind = \"{kind}\"\n{at}\n");
        run_json(&scenario(&folder, live, &fault))["faults"][kind].as_u64()
    };
    for kind in ["clock_jump", "producer_restart"] {
        let live = fired(kind, true, "after_events = 50");
        assert_eq!(live, Some(1), "{kind} where producers publish on the wall clock");
        let recorded = fired(kind, false, "after_events = 50");
        assert_eq!(recorded, None, "{kind} where inputs bring their times");
    }
    // While the owner is down, the producer comes to its end; it begins anew to send its last messages again.
    let down = "[[fault]]\nkind = \"crash\"\nafter_events = 100\nfor = \"5s\"";
    let restarted = fired("producer_restart", true, &format!("at = \"00:00:03\"\n{down}"));
    assert_eq!(restarted, Some(1), "a producer that was done sends again");
}

#[test]
fn a_scenario_can_run_in_the_simulator_without_a_fault() {
    let folder = TempDir::new().expect("a temporary folder");
    let report = run_json(&scenario(&folder, false, "[sim]\nseed = 7\n"));
    assert_eq!((&report["log"], &report["good"]), (&"simulated".into(), &true.into()), "{report}");
}

#[test]
fn what_strikes_an_idle_system_is_noticed_and_made_good() {
    let folder = TempDir::new().expect("a temporary folder");
    let faults = "[[fault]]\nkind = \"failover\"\nat = \"idle\"\nlose = 4\nfor = \"20ms\"\n\
                  [[fault]]\nkind = \"producer_restart\"\nat = \"idle\"\n";
    let report = run_json(&scenario(&folder, true, faults));
    let fired = |kind: &str| report["faults"][kind].as_u64();
    assert_eq!((fired("failover"), fired("producer_restart")), (Some(1), Some(1)), "{report}");
    assert_eq!(report["good"], true, "{report}");
    let recorded = run_json(&scenario(&folder, false, faults));
    assert!(recorded["faults"]["failover"].is_null(), "recorded inputs end, nobody waits");
}

#[test]
fn a_run_that_is_stopped_says_so_and_looks_at_no_end() {
    use std::sync::atomic::AtomicBool;

    use silvertine::{
        scenarios::{registry::Registry, scenario::Scenario, under_faults::ScenarioSubject},
        sim::log::simulate::{Options, simulate_until},
        storage::memory::MemoryLog,
    };
    let folder = TempDir::new().expect("a temporary folder");
    for live in [false, true] {
        let path = scenario(&folder, live, "[[fault]]\nkind = \"crash\"\nafter_events = 9\n");
        let scenario = Scenario::read(Path::new(&path)).expect("a good scenario");
        let registry = Registry::standard();
        let subject = ScenarioSubject::<MemoryLog>::new(&scenario, &registry, None);
        let until = |stop: bool| {
            let stop = AtomicBool::new(stop);
            simulate_until(&subject, &scenario.faults, Options::default(), &stop).expect("runs")
        };
        let (stopped, whole) = (until(true), until(false));
        assert!(stopped.stopped && stopped.taken == 0, "live: {live}");
        assert!(!whole.stopped && whole.taken >= 120, "live: {live}");
        assert_eq!((stopped.violation, whole.violation), (None, None));
    }
}

#[test]
fn a_fault_strikes_at_its_virtual_time_and_at_its_operation() {
    let folder = TempDir::new().expect("a temporary folder");
    let faults = r#"
[[fault]]
at = "00:00:10"
kind = "disconnect"
for = "5s"
[[fault]]
at = "commit#3"
kind = "lost_reply"
"#;
    let path = scenario(&folder, false, faults);
    let run = silvertine(&["run", &path, "--timeline"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let said = run.stdout;
    let struck: Vec<&str> = said.lines().filter(|line| line.contains("** ")).collect();
    assert_eq!(struck.len(), 2, "{said}");
    let before = said.lines().take_while(|line| !line.contains("** lost_reply")).last();
    assert!(before.is_some_and(|line| line.contains("-> commit#3")), "{said}");
    assert!(struck[1].starts_with("00:00:10"), "{said}");
}

#[test]
fn a_run_with_faults_leaves_the_digest_of_the_run_without() {
    let folder = TempDir::new().expect("a temporary folder");
    let digest = |faults: &str| {
        run_json(&scenario(&folder, false, faults))["digest"].as_str().expect("text").to_owned()
    };
    let undisturbed = digest("");
    for kind in ["crash", "failover", "flush", "pause", "torn_snapshot"] {
        let fault = format!("[[fault]]\nkind = \"{kind}\"\nafter_events = 77\n");
        assert_eq!(digest(&fault), undisturbed, "{kind}");
    }
}

#[test]
fn a_mistake_in_a_fault_is_one_line_that_names_it() {
    let folder = TempDir::new().expect("a temporary folder");
    for (fault, named) in [
        ("kind = \"nonsense\"\nafter_events = 1", "nonsense"),
        ("kind = \"crash\"", "after_events"),
        ("kind = \"crash\"\nat = \"10s\"", "00:00:10"),
        ("kind = \"crash\"\nat = \"commit#0\"", "from one"),
        ("kind = \"flush\"\nafter_events = 1\nfor = \"5s\"", "for"),
        ("kind = \"crash\"\nafter_events = 1\nfor = \"5 fortnights\"", "5 fortnights"),
        ("kind = \"crash\"\nafter_events = 1\nfor = \"2h\"", "hour"),
    ] {
        let path = scenario(&folder, false, &format!("[[fault]]\n{fault}\n"));
        let run = silvertine(&["run", &path]);
        let said = run.stderr;
        assert_eq!((run.code, said.lines().count()), (Some(3), 1), "{said}");
        assert!(said.contains(named) && said.contains("faulty.toml"), "{said}");
    }
}

#[test]
fn a_simulated_run_takes_no_log_of_its_own() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = scenario(&folder, false, "[[fault]]\nkind = \"flush\"\nafter_events = 1\n");
    let log = format!("sled:{}", folder.path().join("log").display());
    let run = silvertine(&["run", &path, "--log", &log]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(!Path::new(&folder.path().join("log")).exists());
}
