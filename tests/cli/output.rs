//! What good commands print.

use std::{fs, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::{recorded_data, root, silvertine, silvertine_onto},
};

/// The text with everything that depends on the machine's speed taken out.
fn without_timings(text: &str) -> String {
    let timed = |line: &&str| !(line.contains('≤') || line.trim_start().starts_with("p50"));
    let lines = text.lines().filter(timed).map(|line| match line.split_once(" in ") {
        Some((facts, _)) if line.trim_start().starts_with("events") => facts.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_summary_of_the_shipped_scenario_is_as_documented() {
    let run = silvertine(&["run", "scenarios/ema-cross.toml"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    insta::assert_snapshot!(without_timings(&run.stdout));
    assert!(run.stdout.contains('█'), "the histogram is drawn: {run:?}");
    assert!(!run.stdout.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn the_json_summary_has_every_documented_field() {
    let run = silvertine(&["run", "scenarios/ema-cross.toml", "--json"]);
    assert_eq!(run.stdout.lines().count(), 1, "one object");
    let run = run.json();
    for field in ["scenario", "log", "digest", "realised_pnl", "equity"] {
        assert!(run[field].is_string(), "{field}: {run}");
    }
    for field in ["events", "signals", "orders", "fills", "rejected", "events_per_second"] {
        assert!(run[field].is_u64(), "{field}: {run}");
    }
    assert!(run["wall_seconds"].is_f64());
    for percentile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(run["latency_ns"][percentile].as_u64() > Some(0), "{percentile}: {run}");
    }
}

#[test]
fn a_run_that_is_not_as_expected_fails_and_says_how() {
    let run = silvertine(&["run", "scenarios/ema-cross.toml", "--seed", "43"]);
    // Handlers that draw no randomness give the same result for any seed; expectations then hold.
    assert_eq!(run.code, Some(0), "{run:?}");
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("expecting.toml");
    let text = "name = \"expecting\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = 10\n[expect]\nfills = 3\nequity = \"5\"\ndigest = \"00\"\n";
    std::fs::write(&path, text).expect("can be written");
    let run = silvertine(&["run", path.to_str().expect("plain")]);
    assert_eq!(run.code, Some(11), "{run:?}");
    for says in ["fills is 0, expected 3", "equity is not reported, expected 5", "digest is"] {
        assert!(run.stderr.contains(says), "{run:?}");
    }
}

#[test]
fn verify_and_diff_tell_good_logs_from_different_ones() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = |name: &str| format!("sled:{}", folder.path().join(name).display());
    let scenario = folder.path().join("s.toml");
    for (name, slow) in [("a", 20), ("b", 20), ("c", 30)] {
        let text = format!(
            "name = \"s\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = 2000\n[[handler]]\nkind = \"ema-cross\"\nparams = {{ symbol = \"X\", fast = 5, slow = {slow} }}\n"
        );
        std::fs::write(&scenario, text).expect("can be written");
        let run = silvertine(&["run", scenario.to_str().expect("plain"), "--log", &log(name)]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    let verified = silvertine(&["verify", &log("a"), "--json"]).json();
    assert_eq!(verified["good"], Value::Bool(true));
    let same = silvertine(&["diff", &log("a"), &log("b")]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.starts_with("equal: "), "{same:?}");
    let different = silvertine(&["diff", &log("a"), &log("c")]);
    assert_eq!(different.code, Some(10), "{different:?}");
    for says in ["differ at ", "--- sled:", "+++ sled:", "\"signal\"", "\"quote\""] {
        assert!(different.stdout.contains(says), "{says}: {different:?}");
    }
}

#[test]
fn a_trimmed_log_is_verified_from_its_oldest_snapshot() {
    let folder = TempDir::new().expect("a temporary folder");
    let scenario = folder.path().join("s.toml");
    let text = "name = \"s\"\n[run]\nsnapshot_entries = 500\nretention_entries = 1500\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = 10000\n[[handler]]\nkind = \"ema-cross\"\nparams = { symbol = \"X\", fast = 5, slow = 20 }\n";
    std::fs::write(&scenario, text).expect("can be written");
    let log = format!("sled:{}", folder.path().join("log").display());
    let run = silvertine(&["run", scenario.to_str().expect("plain"), "--log", &log, "--json"]);
    let run = run.json();
    let verified = silvertine(&["verify", &log, "--json"]).json();
    assert_eq!(verified["digest"], run["digest"]);
    let entries = verified["entries"].as_u64().expect("a number");
    assert!((1500..3000).contains(&entries), "{verified}");
    assert_ne!(verified["from"], "0-0");
}

#[test]
fn mistakes_on_the_command_line_end_with_code_two() {
    for args in [
        &["run"][..],
        &["run", "x.toml", "--log", "nonsense"],
        &["run", "x.toml", "--speed", "fast"],
        &["rnu", "x.toml"],
        &["verify", "memory"],
        &["verify", "redis://127.0.0.1:1"],
        &["run", "scenarios/ema-cross.toml", "--batch", "0"],
        &["run", "scenarios/ema-cross.toml", "--past-halt", "1-1"],
        &["run", "scenarios/ema-cross.toml", "--resume", "--past-halt", "here"],
        &["bench", "--events", "0"],
    ] {
        let finished = silvertine(args);
        assert_eq!(finished.code, Some(2), "{args:?}: {finished:?}");
        assert!(!finished.stderr.is_empty());
    }
}

/// A device on which every write fails.
#[cfg(target_os = "linux")]
fn full() -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

#[test]
#[cfg(target_os = "linux")]
fn an_unwritable_stderr_changes_no_exit_code() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = format!("sled:{}", folder.path().join("log").display());
    // Something to log about while it opens.
    let marker = folder.path().join("log/SILVERTINE_LOG");
    std::fs::create_dir(folder.path().join("log")).expect("creates");
    std::fs::write(marker, "").expect("writes");
    std::fs::write(folder.path().join("log/snap.00.generating"), "").expect("writes");
    for (args, code) in [
        (&["run", "scenarios/ema-cross.toml", "--log", &log, "-vv"][..], 0),
        (&["run", "scenarios/ema-cross.toml", "--log", &log], 13),
        (&["run", "not-there.toml"], 3),
        (&["rnu"], 2),
        (&["verify", "sled:/not-there"], 20),
    ] {
        let finished = silvertine_onto(args, Stdio::piped(), full());
        assert_eq!(finished.code, Some(code), "{args:?}: {finished:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_unwritable_stdout_ends_with_code_twenty_three_and_says_so() {
    for args in [
        &["run", "scenarios/ema-cross.toml"][..],
        &["run", "scenarios/ema-cross.toml", "--json"],
        &["sim", "--seeds", "2"],
        &["generate", "--events", "5"],
        &["--help"],
        &["--version"],
    ] {
        let finished = silvertine_onto(args, full(), Stdio::piped());
        assert_eq!(finished.code, Some(23), "{args:?}: {finished:?}");
        assert!(finished.stderr.starts_with("silvertine: stdout: "), "{args:?}: {finished:?}");
        let silent = silvertine_onto(args, full(), full());
        assert_eq!(silent.code, Some(23), "{args:?} with nobody to tell");
    }
}

#[test]
fn the_last_seed_is_run_and_one_behind_it_is_refused_in_words() {
    let last = i64::MAX.to_string();
    let sim =
        |from: &str, more: &[&str]| silvertine(&[&["sim", "--from-seed", from][..], more].concat());
    let run = sim(&last, &["--seeds", "1"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("good: 1 seeds"), "{run:?}");
    let behind = u64::MAX.to_string();
    for (from, more) in [
        (&last, &["--seeds", "2"][..]),
        (&last, &[]),
        (&behind, &["--seeds", "1"]),
        (&behind, &["--time", "1s"]),
    ] {
        let refused = sim(from, more);
        assert_refused(&refused, 2, &["lead past the last one", &last]);
    }
}

#[test]
fn generated_recordings_are_the_same_every_time_and_are_what_ships() {
    let args = ["generate", "--seed", "42", "--events", "5000", "--symbols", "DEMO"];
    let generated = silvertine(&args);
    let shipped = crate::cli::root().join("scenarios/recordings/generated-demo.csv");
    assert_eq!(generated.stdout, std::fs::read_to_string(shipped).expect("is there"));
}

#[test]
fn every_template_runs_over_its_recording() {
    let Some(data) = recorded_data("every_template_runs_over_its_recording") else { return };
    let data = data.to_str().expect("a plain path");
    for (scenario, events) in [
        ("binance-spot", 37_797),
        ("binance-usdm", 87_402),
        ("btc-bars", 45_031),
        ("eurusd-ticks", 9_500),
    ] {
        let path = format!("scenarios/{scenario}.toml");
        let run = silvertine(&["run", &path, "--data", data, "--json"]).json();
        assert_eq!(run["events"], events, "{scenario}");
        assert_eq!(run["handler_failures"], 0, "{scenario}");
    }
}

#[test]
fn how_often_the_equity_curve_is_drawn_changes_no_figure_of_risk() {
    let folder = TempDir::new().expect("a temporary folder");
    let shipped = root().join("scenarios/ema-cross.toml");
    let recordings = root().join("scenarios/recordings");
    let text = fs::read_to_string(shipped).expect("readable");
    let text = text.replace("recordings/", &format!("{}/", recordings.display()));
    for curve_every_ms in [1, 1000, 60_000, 3_600_000] {
        let drawn = format!("curve_every_ms = {curve_every_ms}");
        let text = text.replace("curve_every_ms = 60000", &drawn);
        assert!(text.contains(&drawn), "the scenario says how often: {text}");
        let scenario = folder.path().join("curve.toml");
        fs::write(&scenario, text).expect("writable");
        let run = silvertine(&["run", scenario.to_str().expect("a plain path"), "--json"]).json();
        assert_eq!(run["handlers"]["portfolio"]["max_drawdown"], "37.06388", "{curve_every_ms}");
    }
}
