//! Other languages: a Python producer and consumer, with nothing but redis-py, and a worker between them.

use std::process::{Command, Output};

use crate::{
    cli::{feed, root, silvertine},
    redis_server::RedisServer,
};

const COMMANDS: &str = "mgmt:trading:commands";

/// Runs the example with the Python that `./test.sh` has prepared.
fn python(args: &[&str]) -> Output {
    let prepared = root().join("target/python/bin/python");
    let python = std::env::var_os("SILVERTINE_PYTHON").unwrap_or_else(|| prepared.into());
    let script = root().join("examples/python/commands.py");
    Command::new(python).arg(script).args(args).output().expect("./test.sh prepares a Python")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
#[ignore = "needs Python with redis-py, which ./test.sh installs before it runs this"]
fn a_python_service_exchanges_json_messages_with_a_worker() {
    let server = RedisServer::start();
    let store = server.url();
    assert_eq!(silvertine(&["streams", "init", "--store", &store]).code, Some(0));
    assert_eq!(said(&python(&["publish", &store, "5"])), "5 commands published\n");
    // The same once more: each has a key, so each is handled once.
    assert_eq!(said(&python(&["publish", &store, "5"])), "5 commands published\n");
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

    let consumed = said(&python(&["consume", &store, "5"]));
    let mut lines: Vec<&str> = consumed.lines().collect();
    assert_eq!(lines.pop(), Some("5 results handled"));
    lines.sort_unstable();
    assert_eq!(lines[0], "python-command-1: started ema-1");
    assert_eq!(lines.len(), 5);
    let dead = silvertine(&["dlq", "list", COMMANDS, "--store", &store]);
    assert!(dead.stdout.contains(" new permanent status_65 attempts=1 "), "{dead:?}");
}
