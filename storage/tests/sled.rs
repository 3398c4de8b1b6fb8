//! What of a `SledLog` outlives the handle: everything it acknowledged, who owns it, and what was trimmed.
//! `sled_records` is about damage and strangers.

#![cfg(feature = "sled")]

use std::{path::Path, time::Duration};

use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    log::{
        Acquired, Applied, Batch, Commit, CommitId, Committed, Epoch, EventLog, IngressCursor,
        IngressMessage, Lease, LogError, LogErrorKind, OwnerId, Published, RangeQuery, Snapshot,
    },
    pos::Pos,
};
use silvertine_storage::sled::{SledLog, SledOptions};
use silvertine_testkit::{
    events::{batch, name, pos},
    ready::now,
};
use tempfile::TempDir;

const PER_COMMIT: u64 = 10;
const COMMITS: u64 = 3;

fn open(folder: &TempDir) -> SledLog {
    SledLog::open(folder.path(), &SledOptions::default()).expect("opens")
}

fn acquire(log: &SledLog, owner: u128) -> Result<Acquired, LogError> {
    now(log.acquire(OwnerId(owner), b"manifest"))
}

/// The digest that the fixture gives to a log that ends at `seq`.
fn digest(seq: u64) -> Digest {
    Digest::from_bytes(u128::from(seq).to_le_bytes())
}

/// Commits the entries after `expected` with a snapshot, consuming message 1 of producer p.
fn commit(log: &SledLog, lease: &Lease, expected: u64) -> Result<Committed, LogError> {
    let last = expected + PER_COMMIT;
    let consumed = IngressCursor::from([(name("p"), 1)]);
    now(log.commit(
        lease,
        &Commit {
            id: CommitId::derive(lease, pos(expected), digest(last)),
            expected: pos(expected),
            entries: &batch(expected + 1..=last),
            digest: digest(last),
            checkpoint: format!("checkpoint {last}").as_bytes(),
            snapshot: Some(Snapshot { bytes: b"state", keep_from: Pos::ZERO }),
            ingress_done: Some(&consumed),
        },
    ))
}

fn message(seq: u64) -> IngressMessage {
    IngressMessage { producer: name("p"), seq, codec: Codec::Json, payload: vec![seq as u8; 3] }
}

/// A closed log of owner 7: three commits with a snapshot each, one message consumed and one waiting.
fn written() -> (TempDir, Lease) {
    let folder = TempDir::new().expect("a temporary folder");
    let log = open(&folder);
    let lease = acquire(&log, 7).expect("acquires").lease;
    now(log.publish(&[message(1), message(2)])).expect("publishes");
    for number in 0..COMMITS {
        commit(&log, &lease, number * PER_COMMIT).expect("commits");
    }
    (folder, lease)
}

fn read(log: &SledLog, after: u64) -> Result<Batch, LogError> {
    now(log.range(RangeQuery::all_after(pos(after)))).map(|page| page.entries)
}

fn waiting(log: &SledLog) -> Vec<IngressMessage> {
    now(log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO)).expect("reads")
}

/// Opens a closed log's store behind our back.
fn raw<T>(path: &Path, look: impl FnOnce(&sled::Db) -> T) -> T {
    // A handle that was just dropped gives its lock back on a thread of its own.
    let opened = (0..100).find_map(|_| {
        let opened = sled::open(path).ok();
        if opened.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        opened
    });
    let db = opened.expect("is free again");
    let seen = look(&db);
    db.flush().expect("flushes");
    seen
}

#[test]
fn everything_acknowledged_is_there_after_opening_again() {
    let (folder, lease) = written();
    let log = open(&folder);
    let head = now(log.head()).expect("reads").expect("exists");
    assert_eq!((head.pos, head.digest, head.trimmed), (pos(30), digest(30), Pos::ZERO));
    assert_eq!(head.commit, CommitId::derive(&lease, pos(20), digest(30)));
    assert_eq!(read(&log, 0), Ok(batch(1..=30)));
    assert_eq!(read(&log, 14), Ok(batch(15..=30)));
    assert_eq!(now(log.manifest()), Ok(Some(b"manifest".to_vec())));
    assert_eq!(now(log.snapshots()), Ok(vec![pos(10), pos(20), pos(30)]));
    assert_eq!(now(log.snapshot(pos(20))), Ok(Some(b"state".to_vec())));
    assert_eq!(waiting(&log), [message(2)], "message 1 was consumed");
    let published = now(log.publish(&[message(2), message(3)])).expect("publishes");
    assert_eq!(published, [Published::Duplicate, Published::Stored]);
    let acquired = now(log.acquire(OwnerId(7), b"another")).expect("acquires");
    assert_eq!(acquired.lease, lease, "the same owner keeps its epoch");
    assert_eq!(acquired.checkpoint, b"checkpoint 30");
    assert_eq!(acquired.manifest, b"manifest", "the first manifest stays");
    assert_eq!(acquired.snapshots, [pos(10), pos(20), pos(30)]);
}

#[test]
fn a_commit_sent_again_after_opening_again_is_a_duplicate_and_changes_nothing() {
    let (folder, lease) = written();
    let log = open(&folder);
    assert_eq!(commit(&log, &lease, 20), Ok(Committed { head: pos(30), duplicate: true }));
    assert_eq!(read(&log, 0), Ok(batch(1..=30)));
    let older = commit(&log, &lease, 10).expect_err("only the newest is recognised").kind;
    assert_eq!(older, LogErrorKind::Conflict { expected: pos(10), head: pos(30) });
    assert_eq!(commit(&log, &lease, 30), Ok(Committed { head: pos(40), duplicate: false }));
}

#[test]
fn an_owner_is_fenced_by_the_next_one_also_after_opening_again() {
    let (folder, earlier) = written();
    let log = open(&folder);
    let later = acquire(&log, 8).expect("acquires").lease;
    assert_eq!(later, Lease { epoch: Epoch(earlier.epoch.0 + 1), owner: OwnerId(8) });
    let fenced = LogErrorKind::Fenced { ours: earlier.epoch, current: later.epoch };
    assert_eq!(commit(&log, &earlier, 30).expect_err("is fenced").kind, fenced);
    drop(log);
    let log = open(&folder);
    let other_handle = log.clone();
    assert_eq!(commit(&other_handle, &earlier, 30).expect_err("is fenced").kind, fenced);
    assert_eq!(now(log.trim(&earlier, pos(10))).expect_err("is fenced").kind, fenced);
    assert_eq!(read(&log, 0), Ok(batch(1..=30)), "nothing of it became visible");
    commit(&log, &later, 30).expect("the later owner commits");
}

#[test]
fn trimming_removes_whole_frames_for_good_and_says_so_to_those_who_read_below() {
    let (folder, lease) = written();
    let log = open(&folder);
    let above = now(log.trim(&lease, pos(40))).expect_err("is above the floor");
    assert!(matches!(above.kind, LogErrorKind::Invalid { .. }), "{above}");
    assert_eq!(now(log.trim(&lease, pos(15))), Ok(0), "not a snapshot");
    assert_eq!(now(log.trim(&lease, pos(20))), Ok(20));
    assert_eq!(now(log.trim(&lease, pos(20))), Ok(0), "already gone");
    drop(log);
    let frames = raw(folder.path(), |db| db.scan_prefix("f").count());
    assert_eq!(frames, 1);
    let log = open(&folder);
    for below in [0, 10, 19] {
        let trimmed = read(&log, below).expect_err("is gone").kind;
        assert_eq!(trimmed, LogErrorKind::Trimmed { through: pos(20) });
    }
    assert_eq!(read(&log, 20), Ok(batch(21..=30)));
    assert_eq!(now(log.snapshots()), Ok(vec![pos(20), pos(30)]));
    assert_eq!(now(log.stats()).expect("reads").entries, 10);
    commit(&log, &lease, 30).expect("goes on");
}

#[test]
fn acquiring_a_partition_with_a_damaged_or_missing_manifest_fences_nobody() {
    for damage in [Some(vec![0; 20]), None] {
        let (folder, lease) = written();
        raw(folder.path(), |db| match &damage {
            Some(rubbish) => db.insert("M", rubbish.as_slice()),
            None => db.remove("M"),
        })
        .expect("writes");
        let log = open(&folder);
        for refused in [acquire(&log, 8).map(drop), now(log.manifest()).map(drop)] {
            let refused = refused.expect_err("must be noticed");
            let corrupt =
                matches!(&refused.kind, LogErrorKind::Corrupt { at, .. } if at == "manifest");
            assert!(corrupt, "{refused}");
            assert_eq!(refused.applied, Applied::No);
        }
        commit(&log, &lease, 30).expect("the owner is still the owner");
    }
}

#[test]
fn a_damaged_message_is_named_by_producer_and_number() {
    let (folder, _) = written();
    raw(folder.path(), |db| {
        let (key, _) = db.scan_prefix("i").next().expect("one waits").expect("reads");
        db.insert(key, b"much too short".as_slice()).expect("writes");
    });
    let read = now(open(&folder).ingress(None, &IngressCursor::new(), 10, Duration::ZERO));
    let text = read.expect_err("must be noticed").to_string();
    assert!(text.contains("number 2 of producer p"), "{text}");
}
