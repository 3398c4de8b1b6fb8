//! A stranger's program: a crate outside the workspace with a handler and a source of its own, `examples/own-binary`,
//! has every command.

#[path = "../support/cli.rs"]
mod cli;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;
use silvertine_testkit::redis_server::RedisServer;
use tempfile::TempDir;

use self::cli::Finished;

const DIGEST: &str = "daeb9f97a9d7465088f6e4e03f576659";

/// Where the example is.
fn example() -> PathBuf {
    cli::root().join("examples/own-binary")
}

/// Builds the crate in `folder` as a user does, and returns the program.
///
/// All builds share what they depend on, so one goes on at a time; and the program is copied away before the next one.
fn build(name: &str, folder: &Path, into: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = cli::root().join("target/examples");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = into.join(name);
    fs::copy(target.join("debug").join(name), &program).expect("the program is there");
    program
}

/// Runs a command of the program in the example's folder.
fn run(program: &Path, args: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.args(args).current_dir(example()).stdin(Stdio::null());
    command.env_remove("SILVERTINE_DATA").output().expect("the program starts").into()
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_program_of_ones_own_has_every_command_with_its_handler_and_its_source() {
    let folder = folder();
    let program = build("my-bot", &example(), folder.path());
    let my_bot = |args: &[&str]| run(&program, args);

    let in_memory = my_bot(&["run", "scenario.toml", "--json"]).json();
    assert_eq!(in_memory["digest"], DIGEST);
    assert_eq!(in_memory["fills"], 20);

    let server = RedisServer::start();
    let redis = server.url();
    let on_redis = my_bot(&["run", "scenario.toml", "--log", &redis, "--json"]).json();
    assert_eq!(on_redis["digest"], DIGEST);
    let partition = format!("{redis}#streak");
    let verified = my_bot(&["verify", &partition, "--json"]).json();
    assert_eq!((&verified["good"], &verified["digest"]), (&Value::Bool(true), &DIGEST.into()));
    let resumed = my_bot(&["run", "scenario.toml", "--log", &redis, "--resume", "--json"]).json();
    assert_eq!(resumed["digest"], DIGEST);

    let redb = format!("redb:{}", text(&folder.path().join("log")));
    assert_eq!(my_bot(&["run", "scenario.toml", "--log", &redb]).code, Some(0));
    let equal = my_bot(&["diff", &redb, &partition]);
    assert_eq!((equal.code, &*equal.stdout), (Some(0), "equal: 520 entries\n"), "{equal:?}");

    let sim = my_bot(&["sim", "scenario.toml", "--seeds", "40", "--check-determinism", "--json"]);
    assert_eq!(sim.json()["good"], true);
}

#[test]
fn its_expectations_parameters_and_rows_are_checked_like_those_that_ship() {
    let folder = folder();
    let program = build("my-bot", &example(), folder.path());
    let scenario = fs::read_to_string(example().join("scenario.toml")).expect("readable");
    let tape = fs::read_to_string(example().join("tape.csv")).expect("readable");
    let changed = |from: &str, to: &str| {
        assert!(scenario.contains(from), "{from}");
        let path = folder.path().join("changed.toml");
        fs::write(&path, scenario.replace(from, to)).expect("writable");
        run(&program, &["run", text(&path)])
    };
    fs::write(folder.path().join("tape.csv"), &tape).expect("writable");
    let missed = changed("fills = 20", "fills = 21");
    assert_eq!(missed.code, Some(11), "{missed:?}");
    assert!(missed.stderr.starts_with("my-bot: "), "{missed:?}");

    for (from, to, said) in [
        ("streak = 3", "streak = 0", "handler streak: streak must be at least 1"),
        ("streak = 3", "streak = 3, sterak = 4", "unknown field `sterak`"),
        ("path = \"tape.csv\"", "paht = \"tape.csv\"", "source tape: unknown field `paht`"),
        ("kind = \"tape\"", "kind = \"tepa\"", "no source of kind \"tepa\"; known are binance,"),
    ] {
        let refused = changed(from, to);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
    }

    let broken = tape.replacen("DEMO;", "DEMO;x", 1);
    fs::write(folder.path().join("tape.csv"), broken).expect("writable");
    let refused = changed("fills = 20", "fills = 20");
    assert_eq!(refused.code, Some(22), "{refused:?}");
    assert!(refused.stderr.contains("line 1") && refused.stderr.contains("price"), "{refused:?}");

    let shipped = cli::silvertine(&["run", text(&example().join("scenario.toml"))]);
    assert_eq!(shipped.code, Some(3), "{shipped:?}");
}

/// The example with a bug that only a crash shows: the length of the streak is missing from the snapshot.
#[test]
fn a_shrunk_scenario_of_a_handler_of_ones_own_breaks_the_same_promise_again() {
    let folder = folder();
    let copy = folder.path().join("crate");
    fs::create_dir_all(folder.path().join("crate/src")).expect("writable");
    let read = |name: &str| fs::read_to_string(example().join(name)).expect("readable");
    let replaced = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    // Cargo takes two packages of one name that share a target folder for one.
    let renamed = |name: &str| replaced(read(name), "name = \"my-bot\"", "name = \"forgetful\"");
    let root = format!("{:?}", text(cli::root()));
    let manifest = replaced(renamed("Cargo.toml"), "\"../..\"", &root);
    let saved = "encode_state(&self.state)";
    let source = replaced(read("src/main.rs"), saved, "encode_state(&(self.state.0, 0))");
    for (name, text) in [
        ("Cargo.toml", manifest),
        ("Cargo.lock", renamed("Cargo.lock")),
        ("src/main.rs", source),
        ("scenario.toml", read("scenario.toml")),
        ("tape.csv", read("tape.csv")),
    ] {
        fs::write(copy.join(name), text).expect("writable");
    }
    let program = build("forgetful", &copy, folder.path());
    let shrunk = folder.path().join("shrunk.toml");
    let scenario = copy.join("scenario.toml");
    let sim = ["sim", text(&scenario), "--seeds", "500", "--out", text(&shrunk)];
    let found = run(&program, &sim);
    assert_eq!(found.code, Some(12), "{found:?}");
    assert!(found.stdout.contains("again: forgetful run "), "{found:?}");
    let again = run(&program, &["run", text(&shrunk)]);
    assert_eq!(again.code, Some(12), "{again:?}");
    let promise = |text: &str| text.split("broke ").nth(1).map(|rest| rest[..4].to_owned());
    assert!(promise(&found.stderr).is_some(), "{found:?}");
    assert_eq!(promise(&again.stderr), promise(&found.stderr), "{again:?}");
}
