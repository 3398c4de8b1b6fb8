//! Streams in files: whose files they are, and what damage does.

use std::path::Path;

use silvertine::{
    engine::{
        executor::block_on,
        log::{EventLog, OwnerId},
        pos::Pos,
        time::Nanos,
    },
    storage::{
        AnyLog, LogAddress,
        redb::{RedbLog, RedbOptions},
        sled::{SledLog, SledOptions},
        streams::{AnyStreams, RedbStreams, SledStreams},
    },
    streams::{
        Message, Publication, StoreError, StoreErrorKind, StreamName, StreamSpec, Streams, Topology,
    },
};
use tempfile::TempDir;

fn stream() -> StreamName {
    StreamName::new("mgmt:trading:commands").expect("a name")
}

fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.expect_err("must be refused").kind
}

fn topology() -> Topology {
    Topology::new(vec![StreamSpec::new(stream())])
}

fn foreign<T, E: Into<StoreError>>(opened: Result<T, E>) -> String {
    match opened.err().expect("must be refused").into().kind {
        StoreErrorKind::Foreign { why } => why,
        other => panic!("{other}"),
    }
}

fn acquire(log: &impl EventLog) {
    block_on(log.acquire(OwnerId(1), b"")).expect("acquires");
}

fn publish(streams: &impl Streams) {
    block_on(streams.declare(Nanos(1))).expect("declares");
    let publications = [Publication::new(stream(), Message::default().with("data", "precious"))];
    block_on(streams.publish(&publications, Nanos(1))).expect("publishes");
}

#[test]
fn a_log_and_streams_are_never_taken_for_each_other() {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    acquire(&SledLog::open(&at("l"), &SledOptions::default()).expect("opens"));
    let why = foreign(SledStreams::open(&at("l"), &SledOptions::default(), topology()));
    assert_eq!(why, "this folder holds a partition's log, not named streams");
    publish(&SledStreams::open(&at("s"), &SledOptions::default(), topology()).expect("opens"));
    let why = foreign(SledLog::open(&at("s"), &SledOptions::default()));
    assert_eq!(why, "this folder holds named streams, not a partition's log");
    acquire(&RedbLog::open(&at("l.redb"), &RedbOptions::default()).expect("opens"));
    let why = foreign(RedbStreams::open(&at("l.redb"), &RedbOptions::default(), topology()));
    assert_eq!(why, "this file holds a partition's log, not named streams");
    publish(&RedbStreams::open(&at("s.redb"), &RedbOptions::default(), topology()).expect("opens"));
    let why = foreign(RedbLog::open(&at("s.redb"), &RedbOptions::default()));
    assert_eq!(why, "this file holds named streams, not a partition's log");
}

#[test]
fn the_address_chooses_the_store_and_nothing_is_created_that_must_exist() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().display();
    for address in [format!("sled:{path}/s"), format!("redb:{path}/s.redb")] {
        let address: LogAddress = address.parse().expect("an address");
        let missing = AnyStreams::open(&address, topology(), true);
        assert!(foreign(missing).starts_with("there are no streams"), "{address}");
        publish(&AnyStreams::open(&address, topology(), false).expect("opens"));
        let streams = AnyStreams::open(&address, topology(), true).expect("opens");
        assert_eq!(block_on(streams.read(&stream(), Pos::ZERO, 9)).map(|all| all.len()), Ok(1));
        drop(streams);
        let partition = silvertine::engine::text::Name::new("p").expect("a short name");
        foreign(AnyLog::open(&address, partition, false));
    }
    publish(&AnyStreams::open(&LogAddress::Memory, topology(), false).expect("opens"));
    let server: LogAddress = "redis://user:secret@localhost:1#part".parse().expect("an address");
    let error = foreign(AnyStreams::open(&server, topology(), false));
    assert!(error.contains("leave out #part"), "{error}");
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("precious"), "work of years").expect("writes");
    foreign(SledStreams::open(folder.path(), &SledOptions::default(), topology()));
    let file = folder.path().join("precious");
    foreign(RedbStreams::open(&file, &RedbOptions::default(), topology()));
    foreign(SledStreams::open(&file, &SledOptions::default(), topology()));
    foreign(RedbStreams::open(folder.path(), &RedbOptions::default(), topology()));
    assert_eq!(std::fs::read(&file).expect("reads"), b"work of years");
}

#[test]
fn a_store_that_is_open_is_locked() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("s.redb");
    let open = || RedbStreams::open(&path, &RedbOptions::default(), topology());
    let first = open().expect("opens");
    assert!(matches!(kind(open()), StoreErrorKind::Locked { .. }));
    drop(first);
    open().expect("opens");
}

#[test]
fn a_damaged_record_is_told_with_its_key() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("s");
    let open = || SledStreams::open(&path, &SledOptions::default(), topology());
    publish(&open().expect("opens"));
    let damage = |prefix: u8| {
        let db = raw(&path);
        let record =
            db.iter().find(|record| record.as_ref().is_ok_and(|(key, _)| key[0] == prefix));
        let (key, value) = record.expect("is there").expect("reads");
        let mut value = value.to_vec();
        *value.last_mut().expect("a checksum at least") ^= 1;
        db.insert(&key, value).expect("writes");
        db.flush().expect("flushes");
        key
    };
    let corrupt = |kind: StoreErrorKind| match kind {
        StoreErrorKind::Corrupt { at, why } => (at, why),
        other => panic!("{other}"),
    };
    let differs = "checksum differs".to_owned();
    damage(b'm');
    let (at, why) = {
        let streams = open().expect("opens");
        corrupt(kind(block_on(streams.read(&stream(), Pos::ZERO, 9))))
    };
    assert!(at.starts_with("record mmgmt:trading:commands"), "{at}");
    assert_eq!(why, differs);
    let key = damage(b'v');
    assert_eq!(corrupt(kind(open())), ("record v".to_owned(), differs));
    let db = raw(&path);
    db.remove(&key).expect("removes");
    db.flush().expect("flushes");
    drop(db);
    let (at, why) = corrupt(kind(open()));
    assert_eq!((at.as_str(), why.contains("are gone")), ("record v", true));
}

/// sled gives up its lock a moment after it is closed.
fn raw(path: &Path) -> sled::Db {
    for _ in 0..200 {
        if let Ok(db) = sled::open(path) {
            return db;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("sled stays locked")
}
