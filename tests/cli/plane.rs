//! Commands about named streams, as an operator types them.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::{feed, finish, silvertine, silvertine_onto, spawn},
};

const COMMANDS: &str = "mgmt:trading:commands";
const GROUP: &str = "trading_consumers";

struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        let store = Self { folder: TempDir::new().expect("a temporary folder") };
        let init = silvertine(&["streams", "init", "--store", &store.address()]);
        assert_eq!(init.code, Some(0), "{init:?}");
        store
    }

    fn address(&self) -> String {
        format!("redb:{}/streams", self.folder.path().display())
    }

    fn publish(&self, lines: &[u8]) {
        let published = feed(&["streams", "publish", COMMANDS, "--store", &self.address()], lines);
        assert_eq!(published.code, Some(0), "{published:?}");
    }

    /// Has a shell script handle everything that is there.
    fn work(&self, script: &str, more: &[&str]) -> String {
        let address = self.address();
        let work = ["work", COMMANDS, GROUP, "--store", &address, "--name", "w", "--until-idle"];
        let worked = silvertine(&[&work[..], more, &["--", "sh", "-c", script]].concat());
        assert_eq!(worked.code, Some(0), "{worked:?}");
        worked.stdout
    }
}

#[test]
fn a_payload_is_whatever_bytes_stand_on_a_line() {
    let store = Store::new();
    store.publish(b"plain\r\n\xff\xfe\x00\n");
    let payloads = TempDir::new().expect("a temporary folder");
    let done = store.work(&format!("cat > {}/$$", payloads.path().display()), &[]);
    assert!(done.starts_with("2 done"), "{done}");
    let files = std::fs::read_dir(payloads.path()).expect("a folder");
    let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file?.path());
    let mut payloads: Vec<_> = files.map(|file| read(file).expect("written")).collect();
    payloads.sort();
    assert_eq!(payloads, [&b"plain"[..], b"\xff\xfe\x00"]);
}

#[test]
fn a_command_that_a_signal_ends_is_named_by_it() {
    let store = Store::new();
    store.publish(b"x\n");
    let topology = store.folder.path().join("topology.toml");
    let reference = silvertine(&["streams", "topology"]).stdout;
    let hasty = format!(
        "[[stream]]\nname = \"{COMMANDS}\"\n[stream.retry]\nattempts = 0\n[[stream.group]]\nname = \"{GROUP}\"\n"
    );
    assert!(reference.contains(COMMANDS));
    std::fs::write(&topology, hasty).expect("can be written");
    let topology = topology.to_str().expect("plain");
    store.work("kill -9 $$", &["--topology", topology]);
    let address = store.address();
    let list = ["dlq", "list", COMMANDS, "--store", &address, "--topology", topology];
    let listed = silvertine(&list);
    assert!(listed.stdout.contains("signal_9"), "{listed:?}");
}

#[test]
fn nothing_stands_under_a_title_that_has_no_answer() {
    let nobody = "redis://127.0.0.1:1";
    assert_refused(&silvertine(&["streams", "list", "--store", nobody]), 20, &["refused"]);
    let store = Store::new();
    let listed = silvertine(&["streams", "list", "--store", &store.address()]);
    assert!(listed.stdout.starts_with("STREAM / group"), "{listed:?}");
    let columns = |line: &str| line.split_whitespace().count();
    let mut lines = listed.stdout.lines();
    let titles = lines.next().map_or(0, columns);
    let group = lines.find(|line| line.contains(GROUP)).map_or(0, columns);
    // A group has no length and no number of what was added, and nothing is old; its stream's title has a slash.
    assert_eq!(group, titles - 2 - 2 - 1, "{listed:?}");
}

#[test]
fn a_server_address_that_is_none_is_refused_in_words_and_no_password_is_shown() {
    for (url, says) in [
        ("redis://", "Missing hostname"),
        ("redis://host:99999", "did not parse"),
        ("redis://user:secret@host:abc", "did not parse"),
        ("redis://127.0.0.1/first", "Invalid database number"),
        ("redis://user:se'cret/x@host:1", "did not parse"),
        ("redis://user:#secret@host", "written %23"),
        ("redis://user:sec ret@host", "no spaces"),
    ] {
        for args in [
            &["streams", "list", "--store", url][..],
            &["run", "scenarios/ema-cross.toml", "--log", url],
        ] {
            let refused = silvertine(args);
            assert_eq!(refused.code, Some(2), "{refused:?}");
            assert!(refused.stderr.contains(says), "{says}: {refused:?}");
            for hidden in ["InvalidClientConfig", "access denied", "cret", "sec"] {
                assert!(!refused.stderr.contains(hidden), "{refused:?}");
            }
        }
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure_to_speak_of() {
    let mut child = spawn(&["generate", "--events", "200000"]);
    let mut first = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut first).expect("a line");
    let ended = finish(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(23), ""), "{first}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let listed = silvertine_onto(&["streams", "topology"], writer, Stdio::piped());
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(23), ""));
}

#[test]
fn an_import_says_which_line_is_none_and_how_many_letters_are_in() {
    let store = Store::new();
    let address = store.address();
    let import = ["dlq", "import", COMMANDS, "--store", &address, "--who", "ops", "--why", "moved"];
    let refused = feed(&import, "\n{\"fields\": 7}\n");
    assert_refused(&refused, 22, &["stdin: line 2: ", "0 letters before it are in"]);
    assert!(!refused.stderr.contains("line 1 "), "{refused:?}");
}

#[test]
fn streams_hold_the_events_of_one_log() {
    let store = Store::new();
    let address = store.address();
    let log = |scenario: &str, name: &str| {
        let log = format!("redb:{}/{name}", store.folder.path().display());
        let run = silvertine(&["run", scenario, "--log", &log]);
        assert_eq!(run.code, Some(0), "{run:?}");
        log
    };
    // Two of the same places, with other events there.
    let short = |symbol: &str| {
        let path = store.folder.path().join(symbol);
        let text = format!(
            "name = \"short\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"{symbol}\"]\nevents = 10\n"
        );
        std::fs::write(&path, text).expect("can be written");
        log(path.to_str().expect("plain"), &format!("log-{symbol}"))
    };
    let first = short("X");
    let relay = |log: &str| silvertine(&["relay", log, "--store", &address]);
    let passed_on = relay(&first);
    assert_eq!(passed_on.code, Some(0), "{passed_on:?}");
    assert!(!passed_on.stdout.starts_with("0 "), "{passed_on:?}");
    assert_eq!(relay(&first).stdout, "0 events passed on\n");
    for other in [short("Y"), log("scenarios/ema-cross.toml", "other")] {
        assert_refused(&relay(&other), 21, &["is not of this log"]);
    }
    assert_refused(&relay("memory"), 2, &["is gone with its process"]);
    assert_refused(&relay("redis://127.0.0.1:1"), 2, &["#PARTITION"]);
}

#[test]
fn what_may_be_a_password_is_shown_nowhere() {
    for args in [
        &["run", "redis://:s3cret@127.0.0.1:1"][..],
        &[
            "work",
            "redis://:s3cret@h",
            "g",
            "--store",
            "redb:/nowhere/x",
            "--name",
            "w",
            "--",
            "cat",
        ],
        &["streams", "list", "--store", "redis:/:s3cret@h:1"],
        &["streams", "list", "--store", ":s3cret@h:1"],
        &["verify", "rediss//:s3cret@h#x"],
        &["run", "scenarios/ema-cross.toml", "--resume", "--release", "redis://:s3cret@h"],
    ] {
        let refused = silvertine(args);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
    }
    let help = silvertine(&["run", "--help"]).stdout;
    assert!(help.contains("redis://[USER:PASSWORD@]HOST:PORT"), "{help}");
}

#[test]
fn contradictions_are_refused_before_anything_is_done() {
    let store = Store::new();
    let address = store.address();
    let publish = ["streams", "publish", COMMANDS, "--store", &address];
    let twice = [&publish[..], &["--key", "k", "--field", "key=v"]].concat();
    assert_refused(&feed(&twice, "x\n"), 2, &["leave one out"]);
    let both = ["--resume", "--release", "a:X", "--release-past", "a:X"];
    let run = [&["run", "scenarios/ema-cross.toml"], &both[..]].concat();
    assert_refused(&silvertine(&run), 2, &["contradict each other"]);
    let long = format!("ok\n{}\n", "x".repeat(1 << 21));
    let one_by_one = [&publish[..], &["--batch", "1"]].concat();
    assert_refused(&feed(&one_by_one, long), 22, &["stdin:2: ", "lines published before it: 1"]);
    let redrive = [
        "dlq", "redrive", COMMANDS, "--store", &address, "--id", "1-1", "--who", "o", "--why", "w",
    ];
    assert_refused(&silvertine(&redrive), 22, &["no dead letter 1-1"]);
}
