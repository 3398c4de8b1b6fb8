//! Logs that cannot be used: unreachable, locked, foreign, damaged, newer, full, read-only.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    assert_refused,
    cli::{Finished, silvertine},
    redis_server::RedisServer,
};

const SCENARIO: &str = "scenarios/ema-cross.toml";

fn run_on(log: &str) -> Finished {
    silvertine(&["run", SCENARIO, "--log", log, "--resume", "--give-up-after", "0"])
}

/// The last line only: while a server does not answer, a line before it says that it is waited for.
fn last_line(mut finished: Finished) -> Finished {
    let last = finished.stderr.trim_end().lines().last().unwrap_or_default().to_owned();
    finished.stderr = last;
    finished
}

#[test]
fn an_unreachable_server_is_named() {
    let finished = last_line(run_on("redis://127.0.0.1:1"));
    assert_refused(&finished, 20, &["redis://127.0.0.1:1#ema-cross", "connection refused"]);
    let verified = silvertine(&["verify", "redis://127.0.0.1:1#x"]);
    assert_refused(&verified, 20, &["connection refused"]);
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let wrong = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let finished = run_on(&wrong);
    assert_refused(&finished, 20, &["access denied"]);
    assert!(!finished.stderr.contains("hunter2"), "{finished:?}");
    assert_refused(&run_on(&server.url()), 20, &["access denied"]);
    let right = format!("redis://:right@127.0.0.1:{}", server.port());
    assert_eq!(run_on(&right).code, Some(0));
}

#[test]
fn a_key_of_another_kind_under_our_name_is_left_alone() {
    let server = RedisServer::start();
    for key in ["sv:{ema-cross}:meta", "sv:{ema-cross}:s:order"] {
        server.send("FLUSHALL");
        server.send(&format!("SET {key} precious"));
        let finished = run_on(&server.url());
        assert_refused(&finished, 21, &["not a log of ours", key]);
        assert!(server.send(&format!("GET {key}")).contains("precious"));
        assert!(server.send("DBSIZE").starts_with(":1"), "nothing else was written");
    }
}

#[test]
fn a_replica_is_refused() {
    let primary = RedisServer::start();
    let replica = RedisServer::start();
    replica.send(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let finished = last_line(run_on(&replica.url()));
    assert_refused(&finished, 20, &["refuses writes", "not a primary"]);
}

#[test]
fn a_server_out_of_memory_refuses_the_commit_whole_and_the_run_goes_on_later() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let scenario_of = |events: u32| {
        let text = format!(
            "name = \"oom\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = {events}\n"
        );
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("oom.toml");
        fs::write(&path, text).expect("can be written");
        (folder, path.to_str().expect("a plain path").to_owned())
    };
    let (_folder, scenario) = scenario_of(60_000);
    server.send("CONFIG SET maxmemory 4mb");
    let url = server.url();
    let args = ["run", &scenario, "--log", &url, "--give-up-after", "0"];
    assert_refused(&last_line(silvertine(&args)), 20, &["refuses writes", "OOM"]);
    let log = format!("{url}#oom");
    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "what was acknowledged is whole: {verified:?}");
    server.send("CONFIG SET maxmemory 0");
    let resumed = silvertine(&["run", &scenario, "--log", &url, "--resume", "--json"]).json();
    let undisturbed = silvertine(&["run", &scenario, "--json"]).json();
    assert_eq!(resumed["digest"], undisturbed["digest"]);
}

#[test]
fn a_flushed_server_is_reported_and_never_filled_up_in_silence() {
    let server = RedisServer::start();
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("long.toml");
    fs::write(&path, "name = \"long\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\nsymbols = [\"X\"]\nevents = 20000\n")
        .expect("can be written");
    let child = crate::cli::spawn(&[
        "run",
        path.to_str().expect("plain"),
        "--log",
        &server.url(),
        "--speed",
        "5x",
    ]);
    while !server.send("EXISTS sv:{long}:s:market_data").starts_with(":1") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.send("FLUSHALL");
    let finished = crate::cli::finish(child);
    assert_refused(&finished, 25, &["the partition is gone"]);
    assert!(server.send("DBSIZE").starts_with(":0"), "nothing was written behind the flush");
}

#[test]
fn a_newer_log_is_refused() {
    let server = RedisServer::start();
    server.send("HSET sv:{ema-cross}:meta v 2");
    assert_refused(&run_on(&server.url()), 21, &["version 2 is newer than 1"]);

    let folder = sled_log();
    let path = folder.path().join("log");
    with_raw_sled(&path, |db| {
        let mut meta = db.get("m").expect("reads").expect("is there").to_vec();
        meta[0] = 2;
        db.insert("m", meta).expect("writes");
    });
    assert_refused(&run_on(&sled(&path)), 21, &["version 2 is newer than 1"]);
}

/// A folder with a finished run in its subfolder `log`.
fn sled_log() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let finished = run_on(&sled(&folder.path().join("log")));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    folder
}

fn sled(path: &Path) -> String {
    format!("sled:{}", path.display())
}

fn with_raw_sled(path: &Path, change: impl FnOnce(&sled::Db)) {
    let db = sled::open(path).expect("opens");
    change(&db);
    db.flush().expect("flushes");
}

#[test]
fn a_foreign_folder_or_a_file_is_left_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("precious.txt");
    fs::write(&file, "precious").expect("can be written");
    assert_refused(&run_on(&sled(folder.path())), 21, &["holds something else"]);
    assert_refused(&run_on(&sled(&file)), 21, &["this is a file"]);
    assert_eq!(fs::read_to_string(&file).expect("reads"), "precious");
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 1);
    let nothing = folder.path().join("nothing");
    assert_refused(&silvertine(&["verify", &sled(&nothing)]), 20, &["there is no log"]);
    assert!(!nothing.exists(), "verify creates nothing");
}

#[test]
fn a_damaged_record_is_found_with_its_position() {
    let folder = sled_log();
    let path = folder.path().join("log");
    with_raw_sled(&path, |db| {
        let (key, frame) = db.scan_prefix("f").nth(3).expect("many frames").expect("reads");
        let mut frame = frame.to_vec();
        let middle = frame.len() / 2;
        frame[middle] ^= 1;
        db.insert(key, frame).expect("writes");
    });
    let verified = silvertine(&["verify", &sled(&path)]);
    assert_refused(&verified, 21, &["corrupt record at 17040", "checksum differs"]);
}

#[test]
fn a_missing_record_is_found_with_its_position() {
    let folder = sled_log();
    let path = folder.path().join("log");
    with_raw_sled(&path, |db| {
        let (key, _) = db.scan_prefix("f").nth(3).expect("many frames").expect("reads");
        db.remove(key).expect("removes");
    });
    let verified = silvertine(&["verify", &sled(&path)]);
    assert_refused(&verified, 21, &["corrupt record at 17040", "missing"]);

    let server = RedisServer::start();
    assert_eq!(run_on(&server.url()).code, Some(0));
    let oldest = server.send("XRANGE sv:{ema-cross}:s:order - + COUNT 1");
    let id = oldest.lines().find(|line| line.contains('-')).expect("an id");
    server.send(&format!("XDEL sv:{{ema-cross}}:s:order {id}"));
    let verified = silvertine(&["verify", &format!("{}#ema-cross", server.url())]);
    assert_refused(&verified, 21, &["corrupt record at 17040", "is missing"]);
}

#[test]
fn garbage_over_sleds_files_is_an_error_and_no_panic() {
    let folder = sled_log();
    let path = folder.path().join("log");
    let db = path.join("db");
    let size = fs::metadata(&db).expect("is there").len() as usize;
    fs::write(&db, vec![0xa5; size]).expect("can be written");
    assert_refused(&run_on(&sled(&path)), 21, &["corrupt"]);
}

#[test]
fn a_log_on_redb_is_verified_resumed_and_refused_like_any_other() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log.redb");
    let log = format!("redb:{}", path.display());
    assert_refused(&silvertine(&["verify", &log]), 20, &["there is no log in this file"]);
    assert!(!path.exists(), "verify creates nothing");
    let finished = run_on(&log);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let verified = silvertine(&["verify", &log]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let on_sled = sled_log();
    let same = silvertine(&["diff", &log, &sled(&on_sled.path().join("log"))]);
    assert_eq!(same.code, Some(0), "{same:?}");

    let whole = fs::read(&path).expect("reads");
    let frame = whole.windows(4).position(|bytes| bytes == b"SF\x01\0").expect("a frame");
    let mut damaged = whole.clone();
    damaged[frame + 100] ^= 1;
    fs::write(&path, damaged).expect("can be written");
    assert_refused(
        &silvertine(&["verify", &log]),
        21,
        &["corrupt record at 17040", "checksum differs"],
    );

    fs::write(&path, vec![0xa5; whole.len()]).expect("can be written");
    assert_refused(&run_on(&log), 21, &["this is no file of redb"]);
    let folder = format!("redb:{}", folder.path().display());
    assert_refused(&run_on(&folder), 21, &["this is a folder"]);
}
