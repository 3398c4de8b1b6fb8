//! What `RedbLog` does about files: strangers, locks, damaged records. What a failing disk does to it is in
//! `redb_disk`; the laws are in the conformance suite.

#![cfg(feature = "redb")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use redb::{Database, TableDefinition};
use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    log::{
        Applied, Batch, Commit, CommitId, EventLog, IngressCursor, IngressMessage, Lease, LogError,
        LogErrorKind, OwnerId, RangeQuery, Snapshot,
    },
    pos::Pos,
};
use silvertine_storage::redb::{RedbLog, RedbOptions};
use silvertine_testkit::{
    events::{batch, name, pos},
    ready::now,
};
use tempfile::TempDir;

const PER_COMMIT: u64 = 10;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
const LOG: Table = TableDefinition::new("silvertine log");
const INGRESS: Table = TableDefinition::new("silvertine ingress");

fn commit(log: &RedbLog, lease: &Lease, expected: u64) -> Result<Pos, LogError> {
    let entries = batch(expected + 1..=expected + PER_COMMIT);
    let digest = Digest::from_bytes(u128::from(expected).to_le_bytes());
    let commit = Commit {
        id: CommitId::derive(lease, pos(expected), digest),
        expected: pos(expected),
        entries: &entries,
        digest,
        checkpoint: b"checkpoint",
        snapshot: Some(Snapshot { bytes: b"state", keep_from: Pos::ZERO }),
        ingress_done: None,
    };
    now(log.commit(lease, &commit)).map(|committed| committed.head)
}

fn open(path: &Path) -> Result<RedbLog, LogError> {
    RedbLog::open(path, &RedbOptions::default())
}

fn acquire(log: &RedbLog, owner: u128) -> Result<Lease, LogError> {
    now(log.acquire(OwnerId(owner), b"manifest")).map(|acquired| acquired.lease)
}

fn message(seq: u64) -> IngressMessage {
    IngressMessage { producer: name("p"), seq, codec: Codec::Json, payload: b"payload".to_vec() }
}

/// A closed log of three commits with a snapshot each, and two messages.
struct Written {
    _folder: TempDir,
    path: PathBuf,
    lease: Lease,
}

fn written() -> Written {
    let folder = TempDir::new().expect("a temporary folder");
    // Folders on the way are made.
    let path = folder.path().join("some/where/log.redb");
    let log = open(&path).expect("opens");
    let lease = acquire(&log, 7).expect("acquires");
    for number in 0..3 {
        commit(&log, &lease, number * PER_COMMIT).expect("commits");
    }
    now(log.publish(&[message(1), message(2)])).expect("publishes");
    Written { _folder: folder, path, lease }
}

/// Changes a record of a closed log behind our back, or its key.
fn tamper(path: &Path, table: Table, key: &[u8], change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
    let db = Database::open(path).expect("opens");
    let transaction = db.begin_write().expect("begins");
    {
        let mut table = transaction.open_table(table).expect("is there");
        let (mut key, value) = (key.to_vec(), table.remove(key).expect("reads"));
        let mut value = value.expect("is there").value().to_vec();
        change(&mut key, &mut value);
        if !value.is_empty() {
            table.insert(key.as_slice(), value.as_slice()).expect("inserts");
        }
    }
    transaction.commit().expect("commits");
}

fn frame_key(first: u64) -> Vec<u8> {
    [b"f", pos(first).to_be_bytes().as_slice()].concat()
}

fn snapshot_key(at: u64) -> Vec<u8> {
    [b"s", pos(at).to_be_bytes().as_slice()].concat()
}

fn message_key(seq: u64) -> Vec<u8> {
    [b"ip\0", seq.to_be_bytes().as_slice()].concat()
}

/// Where something is corrupt.
fn corrupt_at<T: std::fmt::Debug>(result: Result<T, LogError>) -> String {
    match result.expect_err("must be noticed") {
        LogError { kind: LogErrorKind::Corrupt { at, .. }, applied: Applied::No, .. } => at,
        other => panic!("another error: {other:?}"),
    }
}

fn read(log: &RedbLog, after: u64) -> Result<Batch, LogError> {
    now(log.range(RangeQuery::all_after(pos(after)))).map(|page| page.entries)
}

#[test]
fn a_flipped_byte_in_a_frame_is_named_by_position_and_other_frames_are_readable() {
    for first in [1, 11, 21] {
        for at in [0, 2, 5, 9, 16, 200] {
            let Written { _folder, path, .. } = written();
            tamper(&path, LOG, &frame_key(first), |_, value| value[at] ^= 0x10);
            let log = open(&path).expect("redb finds nothing wrong: its pages are as written");
            assert_eq!(corrupt_at(read(&log, first)), pos(first).to_string(), "byte {at}");
            // A reader begins with the frame that its position stands in.
            assert!(read(&log, first + 10) == Ok(batch(first + 11..=30)), "byte {at}");
        }
    }
}

#[test]
fn a_missing_frame_is_found_wherever_it_is_missing() {
    for (first, at) in [(1, "0-11"), (11, "0-21"), (21, "0-30")] {
        let Written { _folder, path, .. } = written();
        tamper(&path, LOG, &frame_key(first), |_, value| value.clear());
        assert_eq!(corrupt_at(read(&open(&path).expect("opens"), 0)), at);
    }
}

#[test]
fn a_whole_record_under_a_wrong_key_is_corrupt() {
    let Written { _folder, path, .. } = written();
    tamper(&path, LOG, &frame_key(21), |key, _| *key = frame_key(20));
    tamper(&path, LOG, &snapshot_key(20), |key, _| *key = snapshot_key(21));
    tamper(&path, INGRESS, &message_key(2), |key, _| *key = message_key(3));
    let log = open(&path).expect("opens");
    assert_eq!(corrupt_at(read(&log, 10)), "0-20");
    assert_eq!(corrupt_at(now(log.snapshot(pos(21)))), "snapshot 0-21");
    let ingress = now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
    assert_eq!(corrupt_at(ingress), "a message");
}

#[test]
fn a_flipped_byte_in_any_other_record_is_named() {
    let Written { _folder, path, .. } = written();
    tamper(&path, LOG, &snapshot_key(20), |_, value| value[9] ^= 1);
    tamper(&path, INGRESS, &message_key(1), |_, value| value[9] ^= 1);
    tamper(&path, INGRESS, b"pp", |_, value| value[9] ^= 1);
    let log = open(&path).expect("opens");
    assert_eq!(corrupt_at(now(log.snapshot(pos(20)))), "snapshot 0-20");
    assert_eq!(now(log.snapshot(pos(30))), Ok(Some(b"state".to_vec())));
    let ingress = now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
    assert_eq!(corrupt_at(ingress), "a message");
    assert_eq!(corrupt_at(now(log.publish(&[message(3)]))), "last number of producer p");
    drop(log);
    tamper(&path, LOG, b"m", |_, value| value[12] ^= 1);
    assert_eq!(corrupt_at(open(&path)), "meta");
    tamper(&path, LOG, b"m", |_, value| value.clear());
    assert_eq!(corrupt_at(open(&path)), "meta");
}

#[test]
fn a_damaged_page_is_found_when_the_log_is_opened_and_named_by_its_record() {
    let Written { _folder, path, .. } = written();
    let mut image = fs::read(&path).expect("reads");
    let frame = batch(11..=11);
    let entry = frame.get(0).bytes;
    let at = image.windows(entry.len()).position(|bytes| bytes == entry).expect("is in there");
    image[at + 20] ^= 1;
    fs::write(&path, image).expect("writes");
    assert_eq!(corrupt_at(open(&path)), "0-11");
    let unchecked = RedbOptions::default().with_check_pages(false);
    let log = RedbLog::open(&path, &unchecked).expect("nobody has looked");
    assert_eq!(corrupt_at(read(&log, 0)), "0-11");
    assert!(read(&log, 21) == Ok(batch(22..=30)), "the frame behind it");
}

#[test]
fn acquiring_a_partition_that_cannot_be_recovered_fences_nobody() {
    for (key, at) in [(b"M", "manifest"), (b"s", "a snapshot")] {
        let Written { _folder, path, lease } = written();
        if key == b"M" {
            tamper(&path, LOG, key, |_, value| value[9] ^= 1);
        } else {
            tamper(&path, LOG, &snapshot_key(20), |key, _| key.truncate(9));
        }
        let log = open(&path).expect("opens");
        assert_eq!(corrupt_at(acquire(&log, 8)), at);
        if key == b"M" {
            commit(&log, &lease, 30).expect("the owner is still the owner");
        }
    }
}

#[test]
fn a_log_of_a_newer_version_is_left_alone() {
    let Written { _folder, path, .. } = written();
    tamper(&path, LOG, b"m", |_, value| value[0] = 9);
    let refused = open(&path).expect_err("must be refused").kind;
    assert_eq!(refused, LogErrorKind::TooNew { found: 9, known: 1 });
}

#[test]
fn an_open_file_is_locked_and_free_again_afterwards() {
    let Written { _folder, path, .. } = written();
    let log = open(&path).expect("opens");
    let refused = open(&path).expect_err("must be refused");
    assert!(matches!(refused.kind, LogErrorKind::Locked { .. }), "{refused}");
    let clone = log.clone();
    drop(log);
    assert!(open(&path).is_err(), "a clone holds it open");
    drop(clone);
    assert_eq!(read(&open(&path).expect("is free again"), 0), Ok(batch(1..=30)));
}

#[test]
fn what_belongs_to_somebody_else_is_left_as_it_was() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("precious");
    fs::write(&file, "precious").expect("writes");
    let database = folder.path().join("theirs");
    {
        let db = Database::create(&database).expect("creates");
        let transaction = db.begin_write().expect("begins");
        transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).expect("creates");
        transaction.commit().expect("commits");
    }
    for path in [folder.path(), &file, &database] {
        let refused = open(path).expect_err("must be refused").kind;
        assert!(matches!(refused, LogErrorKind::Foreign { .. }), "{refused}");
    }
    assert_eq!(fs::read(&file).expect("reads"), b"precious");
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 2);
    let db = Database::open(&database).expect("opens");
    let tables = db.begin_write().expect("begins").list_tables().expect("reads").count();
    assert_eq!(tables, 1, "nothing was added");
}

#[test]
fn a_path_that_cannot_be_a_file_is_refused_in_words() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("writes");
    let refused = open(&file.join("below")).expect_err("a file is no folder");
    assert_eq!(refused.applied, Applied::No);
    assert!(refused.to_string().starts_with("redb:"), "{refused}");
    // An empty file is as good as none.
    assert_eq!(now(open(&file).expect("opens").head()), Ok(None));
}
