//! Inputs and scenarios that make no sense.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::{Finished, silvertine},
};

const HEADER: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n";
const GOOD: &str = "1,X,99,1,100,1\n2,X,99,1,100,1\n";

/// Runs a scenario over a file with this content.
fn run_over(content: &[u8], on_bad_row: &str) -> (Finished, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("quotes.csv"), content).expect("can be written");
    let finished = run_source(folder.path(), "quotes.csv", on_bad_row);
    (finished, folder)
}

fn run_source(folder: &Path, path: &str, on_bad_row: &str) -> Finished {
    let scenario = format!(
        "name = \"hostile\"\n[[source]]\nkind = \"quotes\"\nname = \"q\"\npath = \"{path}\"\non_bad_row = \"{on_bad_row}\"\n"
    );
    run_scenario(folder, &scenario, &[])
}

fn run_scenario(folder: &Path, scenario: &str, more: &[&str]) -> Finished {
    let file = folder.join("scenario.toml");
    fs::write(&file, scenario).expect("can be written");
    let file = file.to_str().expect("a plain path");
    silvertine(&[&["run", file], more].concat())
}

#[test]
fn a_bad_row_stops_the_run_with_its_line_and_reason() {
    for (row, says) in [
        ("3,X,-5,1,100,1\n", "bid must be above zero"),
        ("3,X,NaN,1,100,1\n", "bid \"NaN\" is not a decimal number"),
        ("3,X,101,1,100,1\n", "crossed"),
        ("3,X,99,1,100\n", "5 columns instead of 6"),
        ("3,X,99,1,100,1,7\n", "7 columns instead of 6"),
        ("x,X,99,1,100,1\n", "time_ns"),
        ("3,,99,1,100,1\n", "symbol"),
        ("3,X,99.0000000001,1,100,1\n", "9 decimal places"),
        ("3,X,99,1,1e999,1\n", "ask"),
        ("3,X,99,-1,100,1\n", "bid_qty must not be negative"),
        ("3,X,99999999999999999999,1,100,1\n", "range"),
    ] {
        let content = [HEADER, GOOD, row].concat();
        let (finished, _folder) = run_over(content.as_bytes(), "stop");
        assert_refused(&finished, 22, &["quotes.csv: line 4", says]);
    }
    let garbage = [HEADER.as_bytes(), GOOD.as_bytes(), &[0xff, 0, 1, 200, b'\n']].concat();
    assert_refused(&run_over(&garbage, "stop").0, 22, &["line 4"]);
}

#[test]
fn a_bad_row_is_counted_and_passed_over_where_the_scenario_says_so() {
    let content = [HEADER, GOOD, "3,X,-5,1,100,1\nnonsense\n4,X,99,1,100,1\n"].concat();
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("quotes.csv"), content).expect("can be written");
    let scenario = "name = \"hostile\"\n[[source]]\nkind = \"quotes\"\nname = \"q\"\npath = \"quotes.csv\"\non_bad_row = \"skip\"\n";
    let run = run_scenario(folder.path(), scenario, &["--json"]).json();
    assert_eq!((run["events"].as_u64(), run["refused_inputs"].as_u64()), (Some(5), Some(2)));
}

#[test]
fn a_scenario_without_any_event_is_empty_input_however_it_runs() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("none.toml");
    let fault = "[[fault]]\nkind = \"crash\"\nafter_events = 1\n";
    for kind in ["generator", "workload"] {
        for (command, fault) in [("run", ""), ("run", fault), ("sim", "")] {
            let text = format!(
                "name = \"none\"\n[[source]]\nkind = \"{kind}\"\nname = \"g\"\nseed = 1\nsymbols = [\"X\"]\nevents = 0\n[[handler]]\nkind = \"probe\"\n{fault}"
            );
            fs::write(&path, text).expect("can be written");
            let finished = silvertine(&[command, path.to_str().expect("plain")]);
            assert_refused(&finished, 4, &["source g", "events = 0", "holds no event"]);
        }
    }
}

#[test]
fn a_line_of_ten_megabytes_is_one_bad_row() {
    let mut content = [HEADER, GOOD].concat().into_bytes();
    content.extend(std::iter::repeat_n(b'9', 10 << 20));
    content.extend_from_slice(b"\n3,X,99,1,100,1\n");
    assert_refused(&run_over(&content, "stop").0, 22, &["line 4", "longer than 1048576 bytes"]);
    let (skipped, _folder) = run_over(&content, "skip");
    assert_eq!(skipped.code, Some(0), "{skipped:?}");
    assert!(skipped.stdout.contains("refused inputs  1"), "{skipped:?}");
}

#[test]
fn files_that_are_not_there_or_not_files_are_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let missing = run_source(folder.path(), "missing.csv", "stop");
    assert_refused(&missing, 22, &["missing.csv", "no such file"]);
    let directory = run_source(folder.path(), ".", "stop");
    assert_refused(&directory, 22, &["is a folder"]);
    assert_refused(&run_over(b"", "stop").0, 4, &["quotes.csv", "holds no event"]);
    assert_refused(&run_over(HEADER.as_bytes(), "stop").0, 4, &["holds no event"]);
    assert_refused(&run_over(b"a,b,c\n1,2,3\n", "stop").0, 22, &["header must be"]);
}

#[test]
fn a_damaged_gzip_file_stops_the_run_and_is_named() {
    use std::io::Write;
    let rows: String = (1..5_000).map(|n| format!("{n},X,99,1,100,{n}\n")).collect();
    let folder = TempDir::new().expect("a temporary folder");
    let plain = folder.path().join("plain");
    fs::write(&plain, [HEADER, &rows].concat()).expect("can be written");
    let zipped = std::process::Command::new("gzip").arg("-c").arg(&plain).output();
    let zipped = zipped.expect("gzip is there").stdout;
    assert_eq!(run_over(&zipped, "stop").0.code, Some(0));
    let cut = &zipped[..zipped.len() / 2];
    assert_refused(&run_over(cut, "stop").0, 22, &["gzip stream ends early"]);
    let mut garbage = vec![0x1f, 0x8b];
    garbage.write_all(b"this is no gzip stream at all").expect("a vector takes all");
    assert_refused(&run_over(&garbage, "stop").0, 22, &["gzip stream"]);
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused_with_its_line() {
    let folder = TempDir::new().expect("a temporary folder");
    let source = "[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = 1\n";
    let refused = |scenario: &str, says: &[&str]| {
        assert_refused(&run_scenario(folder.path(), scenario, &[]), 3, says);
    };
    refused(&format!("name = \"x\"\nsede = 1\n{source}"), &["scenario.toml:2", "sede"]);
    refused(
        &format!("name = \"x\"\nseed = \"one\"\n{source}"),
        &["scenario.toml:2", "invalid type"],
    );
    refused(&format!("name = \"x\"\nseed = -1\n{source}"), &["scenario.toml:2"]);
    refused(source, &["name"]);
    refused("name = \"x\"", &["source"]);
    refused("this is no TOML", &["scenario.toml:1"]);
    refused("name = \"x\"\nsource = []", &["nothing to run"]);
    let handler = |text: &str| format!("name = \"x\"\n{source}[[handler]]\n{text}\n");
    refused(&handler("kind = \"nonsense\""), &["nonsense", "known are ema-cross"]);
    refused(&handler("kind = \"ema-cross\"\nparams = { symbol = \"X\", fsat = 3 }"), &["fsat"]);
    refused(&handler("kind = \"portfolio\"\n[[handler]]\nkind = \"portfolio\""), &["two handlers"]);
    refused(&format!("name = \"x\"\n{source}evnets = 3\n"), &["evnets"]);
    refused(&format!("name = \"x\"\n{source}tick = \"0\"\n"), &["source g", "tick"]);
    refused(&format!("name = \"x\"\n[run]\nbatch_entries = 0\n{source}"), &["batch_entries"]);
    let policy = |text: &str| format!("name = \"x\"\n[on_failure]\n{text}\n{source}");
    for (text, says) in [
        ("order = \"park\"", "\"park\" is no failure policy; choose halt, park-key or dead-letter"),
        ("order = \"Halt\"", "\"Halt\" is no failure policy"),
        ("order = \"\"", "choose halt, park-key or dead-letter"),
        ("order = true", "invalid type"),
        ("orders = \"halt\"", "orders"),
        ("order = \"halt\"\norder = \"halt\"", "duplicate"),
    ] {
        refused(&policy(text), &["scenario.toml:", says]);
    }
    refused(&format!("name = \"x\"\non_failure = \"halt\"\n{source}"), &["scenario.toml:2"]);
    refused(
        "name = \"x\"\n[[source]]\nkind = \"binance\"\nname = \"b\"\npath = \"${data}/f\"\n",
        &["--data"],
    );
    let missing = silvertine(&["run", "no-such-scenario.toml"]);
    assert_refused(&missing, 3, &["no-such-scenario.toml"]);
    let directory = silvertine(&["run", folder.path().to_str().expect("a plain path")]);
    assert_refused(&directory, 3, &["is a folder"]);
}

#[test]
fn what_came_before_a_bad_row_is_kept_and_resume_goes_on_once_it_is_mended() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("quotes.csv");
    let scenario =
        "name = \"hostile\"\n[[source]]\nkind = \"quotes\"\nname = \"q\"\npath = \"quotes.csv\"\n";
    let log = format!("sled:{}", folder.path().join("log").display());
    fs::write(&file, [HEADER, GOOD, "3,X,bad,1,100,1\n4,X,99,1,100,1\n"].concat())
        .expect("written");
    let stopped = run_scenario(folder.path(), scenario, &["--log", &log]);
    assert_refused(&stopped, 22, &["line 4"]);
    fs::write(&file, [HEADER, GOOD, "3,X,099,1,100,1\n4,X,99,1,100,1\n"].concat())
        .expect("written");
    let resumed =
        run_scenario(folder.path(), scenario, &["--log", &log, "--resume", "--json"]).json();
    let undisturbed = run_scenario(folder.path(), scenario, &["--json"]).json();
    assert_eq!(resumed["events"], 4);
    assert_eq!(resumed["digest"], undisturbed["digest"]);
}
