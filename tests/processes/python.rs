//! Other languages: Python programs with nothing but redis-py, beside workers and beside a live run.
//!
//! `./test.sh` installs redis-py and names its Python in `SILVERTINE_PYTHON`; without it the one that it prepared
//! before is used.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cli::{feed, finish, root, silvertine, spawn},
    folder,
    redis_server::RedisServer,
    text,
};

const COMMANDS: &str = "mgmt:trading:commands";
const LIVE: &str = "examples/live-ingress/scenario.toml";

/// An example script with the Python that `./test.sh` has prepared.
fn python(script: &str, args: &[&str]) -> Command {
    let prepared = root().join("target/python/bin/python");
    let python = std::env::var_os("SILVERTINE_PYTHON").unwrap_or_else(|| prepared.into());
    let mut command = Command::new(python);
    command.arg(root().join("examples").join(script)).args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
fn run_python(script: &str, args: &[&str]) -> Output {
    python(script, args).output().expect("./test.sh prepares a Python")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_python_service_exchanges_json_messages_with_a_worker() {
    let server = RedisServer::start();
    let store = server.url();
    assert_eq!(silvertine(&["streams", "init", "--store", &store]).code, Some(0));
    assert_eq!(
        said(&run_python("python/commands.py", &["publish", &store, "5"])),
        "5 commands published\n"
    );
    // The same once more: each has a key, so each is handled once.
    assert_eq!(
        said(&run_python("python/commands.py", &["publish", &store, "5"])),
        "5 commands published\n"
    );
    let nonsense = ["streams", "publish", COMMANDS, "--store", &store];
    assert_eq!(feed(&nonsense, "nonsense\n").code, Some(0));

    let work = [
        "work",
        COMMANDS,
        "trading_consumers",
        "--store",
        &store,
        "--name",
        "broker-1",
        "--until-idle",
        "--emit",
        "trading:mgmt:results",
        "--",
        "python3",
        "examples/python/trade.py",
    ];
    let worked = silvertine(&work);
    let expected = "5 done, 5 duplicates, 0 retries, 1 dead, 0 taken by others\n";
    assert_eq!((worked.code, worked.stdout.as_str()), (Some(0), expected), "{}", worked.stderr);

    let consumed = said(&run_python("python/commands.py", &["consume", &store, "5"]));
    let mut lines: Vec<&str> = consumed.lines().collect();
    assert_eq!(lines.pop(), Some("5 results handled"));
    lines.sort_unstable();
    assert_eq!(lines[0], "python-command-1: started ema-1");
    assert_eq!(lines.len(), 5);
    let dead = silvertine(&["dlq", "list", COMMANDS, "--store", &store]);
    assert!(dead.stdout.contains(" new permanent status_65 attempts=1 "), "{dead:?}");
}

#[test]
fn a_python_producer_publishes_each_quote_once_though_it_and_the_server_fail() {
    let mut server = RedisServer::start_durable();
    let (url, folder) = (server.url(), folder());
    let state = folder.path().join("state.json");
    let produce =
        |count: &str| said(&run_python("live-ingress/producer.py", &[&url, text(&state), count]));
    let run = spawn(&["run", LIVE, "--log", &url, "--resume", "--json"]);

    assert_eq!(produce("20"), "20 quotes published, the last one is number 20\n");
    // Its last answer was lost as far as it knows.
    assert!(produce("0").starts_with("message 20, the last one of the run before, had arrived\n"));
    // It died between numbering a message and sending it.
    let mut last: Value = serde_json::from_slice(&fs::read(&state).expect("reads")).expect("JSON");
    last["seq"] = json!(21);
    fs::write(&state, last.to_string()).expect("writes");
    let sent = produce("9");
    assert!(
        sent.starts_with("message 21, the last one of the run before, had not arrived"),
        "{sent}"
    );
    assert!(sent.ends_with("9 quotes published, the last one is number 30\n"), "{sent}");

    // The server dies under both of them.
    let mut producer = python("live-ingress/producer.py", &[&url, text(&state), "200"]);
    let producer = producer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    wait_for_quotes(&server, 100);
    server.kill9();
    sleep(Duration::from_millis(200));
    server.restart();
    let published = producer.wait_with_output().expect("ends");
    let sent = said(&published);
    assert!(sent.ends_with("200 quotes published, the last one is number 230\n"), "{sent}");
    wait_for_quotes(&server, 230);
    let finished = stop(run);
    assert_eq!(finished.code, Some(30), "{finished:?}");
    let ended: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!((&ended["events"], &ended["refused_inputs"]), (&json!(230), &json!(0)), "{ended}");
    assert!(ended["fills"].as_u64() > Some(1), "{ended}");
    let verified = silvertine(&["verify", &format!("{url}#live-demo"), "--json"]).json();
    assert_eq!(verified["digest"], ended["digest"]);
}

/// Waits until the run has committed so many quotes.
fn wait_for_quotes(server: &RedisServer, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = server.send("XLEN sv:{live-demo}:s:market_data");
        let there: u64 = reply.trim_start_matches(':').trim().parse().unwrap_or(0);
        if there >= count {
            return;
        }
        assert!(Instant::now() < deadline, "only {there} of {count} arrived");
        sleep(Duration::from_millis(5));
    }
}

fn stop(run: Child) -> crate::cli::Finished {
    let sent = Command::new("kill").args(["-TERM", &run.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    finish(run)
}
