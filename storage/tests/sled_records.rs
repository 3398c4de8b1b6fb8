//! What `SledLog` does about damage, strangers and full disks: it says what and where, and skips nothing.

#![cfg(feature = "sled")]

use std::{fs::File, path::Path, process::Command, time::Duration};

use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    log::{
        Applied, Batch, Commit, CommitId, EventLog, IngressCursor, IngressMessage, Lease, LogError,
        LogErrorKind, OwnerId, RangeQuery, Snapshot,
    },
    pos::Pos,
};
use silvertine_storage::sled::{Durability, SledLog, SledOptions};
use silvertine_testkit::{
    events::{batch, name},
    ready::now,
};
use tempfile::TempDir;

/// Entries of each of the commits in [`written`].
const PER_COMMIT: u64 = 10;

fn commit(log: &SledLog, lease: &Lease, entries: &Batch, state: &[u8]) -> Result<Pos, LogError> {
    let expected = Pos { ms: 0, seq: entries.first_pos().expect("not empty").seq - 1 };
    let digest = Digest::from_bytes(u128::from(expected.seq + 1).to_le_bytes());
    let commit = Commit {
        id: CommitId::derive(lease, expected, digest),
        expected,
        entries,
        digest,
        checkpoint: b"checkpoint",
        snapshot: Some(Snapshot { bytes: state, keep_from: Pos::ZERO }),
        ingress_done: None,
    };
    now(log.commit(lease, &commit)).map(|committed| committed.head)
}

fn acquire(log: &SledLog) -> Lease {
    now(log.acquire(OwnerId(7), b"manifest")).expect("acquires").lease
}

fn open(path: &Path) -> Result<SledLog, LogError> {
    SledLog::open(path, &SledOptions::default())
}

fn message(seq: u64) -> IngressMessage {
    IngressMessage { producer: name("p"), seq, codec: Codec::Json, payload: b"payload".to_vec() }
}

/// A closed log of three commits with a snapshot each, and a message.
fn written() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let log = open(folder.path()).expect("opens");
    let lease = acquire(&log);
    for number in 0..3 {
        commit(&log, &lease, &batch(number * PER_COMMIT + 1..=(number + 1) * PER_COMMIT), b"state")
            .expect("ok");
    }
    now(log.publish(&[message(1)])).expect("publishes");
    drop(log);
    wait_until_closed(&folder);
    folder
}

/// sled finishes on threads of its own after its last handle is dropped, and gives up its lock last.
fn wait_until_closed(folder: &TempDir) {
    let db = File::open(folder.path().join("db")).expect("is there");
    db.lock().expect("sled gives it up");
}

/// Changes a closed log behind our back.
fn tamper(folder: &TempDir, change: impl FnOnce(&sled::Db)) {
    let db = sled::open(folder.path()).expect("opens");
    change(&db);
    db.flush().expect("flushes");
    drop(db);
    wait_until_closed(folder);
}

fn flip(db: &sled::Db, key: &[u8], at: usize) {
    let mut value = db.get(key).expect("reads").expect("is there").to_vec();
    value[at] ^= 0x10;
    db.insert(key, value).expect("writes");
}

fn nth_key(db: &sled::Db, prefix: u8, at: usize) -> Vec<u8> {
    let (key, _) = db.scan_prefix([prefix]).nth(at).expect("so many").expect("reads");
    key.to_vec()
}

/// Where and why something is corrupt.
fn corruption<T: std::fmt::Debug>(result: Result<T, LogError>) -> (String, String) {
    match result.expect_err("must be noticed").kind {
        LogErrorKind::Corrupt { at, why } => (at, why),
        other => panic!("another kind: {other:?}"),
    }
}

fn read(log: &SledLog) -> Result<Batch, LogError> {
    now(log.range(RangeQuery::all_after(Pos::ZERO))).map(|page| page.entries)
}

#[test]
fn a_flipped_byte_in_a_frame_is_named_by_position_and_frames_before_it_are_readable() {
    for (frame, first) in [(0, "0-1"), (1, "0-11"), (2, "0-21")] {
        for at in [0, 2, 5, 9, 16, 200] {
            let folder = written();
            tamper(&folder, |db| flip(db, &nth_key(db, b'f', frame), at));
            let log = open(folder.path()).expect("the damage is not in what opening reads");
            assert_eq!(corruption(read(&log)).0, first, "byte {at}");
            let limit = frame * PER_COMMIT as usize;
            if limit > 0 {
                // Whether a full page goes on is only known from the next entry.
                let query = RangeQuery { limit: limit - 1, ..RangeQuery::all_after(Pos::ZERO) };
                assert_eq!(now(log.range(query)).expect("whole").entries.len(), limit - 1);
            }
        }
    }
}

#[test]
fn a_missing_frame_is_found_wherever_it_is_missing() {
    for (frame, at) in [(0, "0-11"), (1, "0-21"), (2, "0-30")] {
        let folder = written();
        tamper(&folder, |db| {
            db.remove(nth_key(db, b'f', frame)).expect("removes");
        });
        let (found, why) = corruption(read(&open(folder.path()).expect("opens")));
        assert_eq!(found, at);
        assert!(why.contains("missing"), "{why}");
    }
}

#[test]
fn a_frame_under_the_key_of_another_is_corrupt() {
    let folder = written();
    tamper(&folder, |db| {
        let other = db.get(nth_key(db, b'f', 2)).expect("reads").expect("is there");
        db.insert(nth_key(db, b'f', 1), other).expect("writes");
    });
    let (at, why) = corruption(read(&open(folder.path()).expect("opens")));
    assert_eq!((at.as_str(), why.as_str()), ("0-11", "the frame here begins elsewhere"));
}

#[test]
fn a_flipped_byte_in_any_other_record_is_named() {
    let folder = written();
    tamper(&folder, |db| flip(db, b"m", 12));
    assert_eq!(corruption(open(folder.path())).0, "meta");

    let folder = written();
    tamper(&folder, |db| {
        flip(db, b"M", 9);
        flip(db, &nth_key(db, b's', 1), 9);
        flip(db, &nth_key(db, b'i', 0), 9);
        flip(db, &nth_key(db, b'p', 0), 9);
    });
    let log = open(folder.path()).expect("opens");
    assert_eq!(corruption(now(log.manifest())).0, "manifest");
    assert_eq!(corruption(now(log.snapshot(Pos { ms: 0, seq: 20 }))).0, "snapshot 0-20");
    let ingress = now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
    assert_eq!(corruption(ingress).0, "a message");
    let published = now(log.publish(&[message(2)]));
    assert_eq!(corruption(published).0, "last number of producer p");
    assert_eq!(now(log.snapshot(Pos { ms: 0, seq: 30 })), Ok(Some(b"state".to_vec())));
}

#[test]
fn a_log_of_a_newer_version_is_left_alone() {
    let folder = written();
    tamper(&folder, |db| {
        let mut meta = db.get("m").expect("reads").expect("is there").to_vec();
        meta[0] = 9;
        db.insert("m", meta).expect("writes");
    });
    let refused = open(folder.path()).expect_err("must be refused").kind;
    assert_eq!(refused, LogErrorKind::TooNew { found: 9, known: 1 });
}

#[test]
fn a_log_whose_records_are_gone_is_not_taken_for_an_empty_one() {
    let folder = written();
    tamper(&folder, |db| db.clear().expect("clears"));
    assert_eq!(corruption(open(folder.path())).0, "meta");
}

#[test]
fn sleds_files_cut_short_or_overwritten_never_end_in_a_panic_or_in_wrong_entries() {
    let folder = written();
    let whole = read(&open(folder.path()).expect("opens")).expect("reads");
    for part in 0..24 {
        let folder = written();
        let path = folder.path().join("db");
        let mut bytes = std::fs::read(&path).expect("reads");
        let at = bytes.len() * part / 24;
        if part % 2 == 0 {
            bytes.truncate(at);
        } else {
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0xa5);
        }
        std::fs::write(&path, bytes).expect("writes");
        // Either sled notices, or we do, or what is read was written.
        if let Ok(log) = open(folder.path())
            && let Ok(entries) = read(&log)
        {
            let known = entries.iter().zip(whole.iter()).all(|(read, wrote)| read == wrote);
            assert!(known, "part {part}");
        }
    }
}

/// Whether sled by itself opens a folder.
fn sled_opens(path: &Path) -> bool {
    sled::Config::new().path(path).open().is_ok()
}

#[test]
fn a_log_whose_creation_was_cut_short_anywhere_in_its_parameters_is_created() {
    let whole = std::fs::read(written().path().join("conf")).expect("reads");
    let mut refused_by_sled = 0;
    for length in 0..=whole.len() {
        let folder = TempDir::new().expect("a temporary folder");
        let cut_short = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.join("blobs")).expect("creates");
            std::fs::write(path.join("SILVERTINE_LOG"), "").expect("writes");
            std::fs::write(path.join("conf"), &whole[..length]).expect("writes");
            path
        };
        refused_by_sled += u32::from(!sled_opens(&cut_short("sled")));
        let path = cut_short("log");
        let log = open(&path).unwrap_or_else(|why| panic!("{length} bytes: {why}"));
        commit(&log, &acquire(&log), &batch(1..=PER_COMMIT), b"state").expect("commits");
    }
    assert!(refused_by_sled > 0, "sled has learnt it, and nothing of this is needed any more");
}

#[test]
fn an_index_that_a_killed_recovery_left_unfinished_costs_nothing() {
    let whole = read(&open(written().path()).expect("opens")).expect("reads");
    for unfinished in [&b""[..], b"half of an index", &[0xa5; 200]] {
        let folder = written();
        let leave = || {
            let name = folder.path().join("snap.0000000000FFFFFF.generating");
            std::fs::write(name, unfinished).expect("writes");
        };
        leave();
        assert!(!sled_opens(folder.path()), "sled has learnt it, and this is not needed any more");
        leave();
        let log = open(folder.path()).expect("opens");
        assert_eq!(read(&log).as_ref(), Ok(&whole));
        let waiting = now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
        assert_eq!(waiting, Ok(vec![message(1)]));
    }
}

#[test]
fn messages_published_before_there_is_an_owner_survive_unfinished_files() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = open(folder.path()).expect("opens");
    now(log.publish(&[message(1), message(2)])).expect("publishes");
    drop(log);
    wait_until_closed(&folder);
    std::fs::write(folder.path().join("snap.0000000000000060.generating"), "x").expect("writes");
    let log = open(folder.path()).expect("opens");
    acquire(&log);
    let waiting = now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
    assert_eq!(waiting, Ok(vec![message(1), message(2)]));
}

#[test]
fn damaged_parameters_of_a_log_in_use_are_reported_and_left_as_they_were() {
    let folder = written();
    let conf = folder.path().join("conf");
    let cut = std::fs::read(&conf).expect("reads")[..58].to_vec();
    std::fs::write(&conf, &cut).expect("writes");
    assert_eq!(corruption(open(folder.path())).0, "sled's files");
    assert_eq!(std::fs::read(&conf).expect("still there"), cut);
}

#[test]
fn what_an_owner_is_writing_is_not_removed_by_who_finds_the_log_locked() {
    let folder = TempDir::new().expect("a temporary folder");
    let _log = open(folder.path()).expect("opens");
    let index = folder.path().join("snap.0000000000000060.generating");
    std::fs::write(&index, "being written").expect("writes");
    let refused = open(folder.path()).expect_err("must be refused");
    assert!(matches!(refused.kind, LogErrorKind::Locked { .. }), "{refused}");
    assert!(index.is_file() && folder.path().join("conf").is_file());
}

#[test]
fn a_folder_that_is_open_is_locked_and_free_again_afterwards() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = open(folder.path()).expect("opens");
    let refused = open(folder.path()).expect_err("must be refused");
    assert!(matches!(refused.kind, LogErrorKind::Locked { .. }), "{refused}");
    acquire(&log);
    drop(log);
    let log = open(folder.path()).expect("is free again");
    assert!(now(log.head()).expect("reads").is_some());
}

#[test]
fn a_file_or_a_folder_of_something_else_is_left_as_it_was() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("precious");
    std::fs::write(&file, "precious").expect("writes");
    for path in [folder.path(), &file] {
        let refused = open(path).expect_err("must be refused").kind;
        assert!(matches!(refused, LogErrorKind::Foreign { .. }), "{refused}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 1);
    assert_eq!(std::fs::read(&file).expect("reads"), b"precious");
}

#[test]
fn every_durability_keeps_everything_over_a_clean_restart() {
    for durability in [Durability::Buffered, Durability::Flush, Durability::Fsync] {
        let folder = TempDir::new().expect("a temporary folder");
        let options = SledOptions::default().with_durability(durability);
        let entries = batch(1..=2_000);
        let large = vec![5; 400_000];
        let log = SledLog::open(folder.path(), &options).expect("opens");
        let head = commit(&log, &acquire(&log), &entries, &large).expect("commits");
        drop(log);
        let log = SledLog::open(folder.path(), &options).expect("opens");
        assert_eq!(read(&log), Ok(entries), "{durability:?}");
        assert_eq!(now(log.snapshot(head)), Ok(Some(large)), "{durability:?}");
    }
}

/// Set for the child of the test below: the folder that it fills.
const FILL: &str = "SILVERTINE_TEST_FILL";

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_was_acknowledged() {
    if let Some(folder) = std::env::var_os(FILL) {
        return fill(Path::new(&folder));
    }
    let folder = TempDir::new().expect("a temporary folder");
    // A limit on the size of files stands in for a full disk: any user can set it, for a child of ours.
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" --exact --nocapture \"$1\"";
    let finished = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().expect("this test"))
        .arg("a_full_disk_refuses_writes_and_keeps_what_was_acknowledged")
        .env(FILL, folder.path())
        .output()
        .expect("sh is everywhere");
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{text}{}", String::from_utf8_lossy(&finished.stderr));
    let acknowledged =
        text.lines().find_map(|line| line.split_once("acknowledged=")?.1.parse().ok());
    let acknowledged: u64 = acknowledged.expect("the child says how far it came");
    assert!(acknowledged > 0);
    let log = open(folder.path()).expect("opens once there is room");
    let head = now(log.head()).expect("reads").expect("exists").pos.seq;
    assert!(head >= acknowledged, "{head} of {acknowledged} acknowledged");
    let lease = acquire(&log);
    commit(&log, &lease, &batch(head + 1..=head + PER_COMMIT), b"state").expect("goes on");
}

/// Commits until the disk is full, which must be said as it is.
fn fill(folder: &Path) {
    let log = open(folder).expect("opens");
    let lease = acquire(&log);
    let mut next = 1;
    let refused = loop {
        match commit(&log, &lease, &batch(next..=next + 499), b"state") {
            Ok(head) => next = head.seq + 1,
            Err(error) => break error,
        }
        assert!(next < 1_000_000, "the limit never took effect");
    };
    println!("acknowledged={}", next - 1);
    assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused:?}");
    assert_eq!(refused.applied, Applied::Maybe);
}
