//! What a server answers in a state in which it refuses, as the log on it reports it and as the simulator's
//! server says it: the simulator must not be more lenient, or what it proves would not hold.

use std::{
    fs,
    io::Write,
    mem::discriminant,
    net::TcpStream,
    time::{Duration, Instant},
};

use silvertine::{
    engine::{
        codec::Codec,
        digest::Digest,
        event::{Event, EventId, Header, Origin, Quote},
        log::{
            Applied, Batch, Commit, CommitId, EventLog, IngressCursor, IngressMessage, Lease,
            LogError, LogErrorKind, OwnerId, Published, RangeQuery, Snapshot,
        },
        numbers::{Price, Qty},
        pos::Pos,
        text::{Name, Symbol},
        time::Nanos,
    },
    sim::log::fault::FaultKind,
    storage::redis::{RedisConfig, RedisLog},
};

use crate::{harness::block_on, redis_server::RedisServer};

const OWNER: OwnerId = OwnerId(7);

/// One request of every kind.
const REQUESTS: [&str; 11] = [
    "acquire",
    "commit",
    "trim",
    "publish",
    "head",
    "range",
    "manifest",
    "snapshots",
    "snapshot",
    "ingress",
    "stats",
];

fn writes(request: &str) -> bool {
    ["acquire", "commit", "trim", "publish"].contains(&request)
}

/// A log that holds a commit and a snapshot of it, and the right to write on.
struct Partition {
    server: RedisServer,
    lease: Lease,
    head: Pos,
}

impl Partition {
    fn on(server: RedisServer) -> Self {
        block_on(async {
            let log = open(&server);
            let lease = log.acquire(OWNER, b"manifest").await.expect("acquires").lease;
            let mut partition = Self { server, lease, head: Pos::ZERO };
            partition.commit(&log).await.expect("commits");
            partition.head = log.head().await.expect("reads").expect("is there").pos;
            assert_eq!(log.publish(&[message(1)]).await, Ok(vec![Published::Stored]));
            partition
        })
    }

    /// The next commit, with a snapshot where it is the first.
    async fn commit(&self, log: &RedisLog) -> Result<bool, LogError> {
        let (entries, digest) = entries_after(self.head);
        let snapshot = Snapshot { bytes: b"snapshot", keep_from: Pos::ZERO };
        let commit = Commit {
            id: CommitId::derive(&self.lease, self.head, digest),
            expected: self.head,
            entries: &entries,
            digest,
            checkpoint: b"checkpoint",
            snapshot: (self.head == Pos::ZERO).then_some(snapshot),
            ingress_done: None,
        };
        log.commit(&self.lease, &commit).await.map(|committed| committed.duplicate)
    }

    async fn send(&self, log: &RedisLog, request: &str) -> Result<(), LogError> {
        match request {
            "acquire" => log.acquire(OWNER, b"manifest").await.map(drop),
            "commit" => self.commit(log).await.map(drop),
            "trim" => log.trim(&self.lease, self.head).await.map(drop),
            "publish" => log.publish(&[message(2)]).await.map(drop),
            "head" => log.head().await.map(drop),
            "range" => log.range(RangeQuery::all_after(Pos::ZERO)).await.map(drop),
            "manifest" => log.manifest().await.map(drop),
            "snapshots" => log.snapshots().await.map(drop),
            "snapshot" => log.snapshot(self.head).await.map(drop),
            "ingress" => {
                let (none, cursor) = (Duration::ZERO, IngressCursor::new());
                log.ingress(Some(&self.lease), &cursor, 10, none).await.map(drop)
            }
            "stats" => log.stats().await.map(drop),
            other => panic!("what is {other}?"),
        }
    }
}

fn open(server: &RedisServer) -> RedisLog {
    let partition = Name::new("p").expect("a good name");
    RedisLog::open(RedisConfig::new(server.url(), partition)).expect("a good URL")
}

fn entries_after(head: Pos) -> (Batch, Digest) {
    let time = Nanos(1_000_000_000);
    let pos = Pos { ms: time.as_ms(), seq: head.seq + 1 };
    let source = Name::new("test").expect("a good name");
    let id = EventId::of_input(&source, pos.seq);
    let price = Price::from_units(100_000_000_000);
    let qty = Qty::from_units(1_000_000_000);
    let symbol = Symbol::new("A").expect("a good symbol");
    let quote = Quote { symbol, bid: price, bid_qty: qty, ask: price, ask_qty: qty };
    let header = Header {
        id,
        event_time: time,
        recv_time: time,
        source,
        source_seq: pos.seq,
        correlation: id,
        causation: None,
    };
    let event = Event { pos, time, origin: Origin::Input, header, body: quote.into() };
    let mut entries = Batch::default();
    let digest = Digest::EMPTY.chain(entries.push(&event));
    (entries, digest)
}

fn message(seq: u64) -> IngressMessage {
    let producer = Name::new("feed").expect("a good name");
    IngressMessage { producer, seq, codec: Codec::Json, payload: b"{}".to_vec() }
}

fn why(kind: &LogErrorKind) -> &str {
    match kind {
        LogErrorKind::Unavailable { why }
        | LogErrorKind::RefusesWrites { why }
        | LogErrorKind::Denied { why } => why,
        other => panic!("{other}"),
    }
}

/// Sends every request to a server in this state, over connections from before and over new ones where there
/// can be any, and then finds that none of the refused ones took effect.
fn compare(
    state: FaultKind,
    mut partition: Partition,
    enter: impl FnOnce(&mut Partition),
    leave: impl FnOnce(&Partition),
) {
    // Requests that change what others find come last, the commit among them.
    let mut order = REQUESTS;
    order.sort_by_key(|request| writes(request));
    let logs = order.map(|_| (open(&partition.server), open(&partition.server)));
    block_on(async {
        // A server that loads its data has just been started and knows no earlier connection.
        if state != FaultKind::Loading {
            for (dialled, _) in &logs {
                dialled.head().await.expect("nothing is wrong yet");
            }
        }
        enter(&mut partition);
        let mut word = None;
        for (request, (dialled, new)) in order.into_iter().zip(&logs) {
            for log in [dialled, new] {
                let real = partition.send(log, request).await;
                let simulated = state.refusal(writes(request));
                let what = format!("{state:?}: {request}: {real:?}, simulated: {simulated:?}");
                let Err(real) = real else {
                    assert!(!writes(request), "{what}");
                    continue;
                };
                let simulated = simulated.unwrap_or_else(|| panic!("too lenient: {what}"));
                assert_eq!(discriminant(&real.kind), discriminant(&simulated), "{what}");
                assert_eq!(real.applied, Applied::No, "{what}");
                assert_one_short_line(&real);
                let first_word = |kind| why(kind).split(' ').find(|word| !word.ends_with(':'));
                if first_word(&real.kind) == first_word(&simulated) {
                    word = first_word(&simulated).map(str::to_owned);
                }
            }
        }
        assert!(word.is_some(), "{state:?}: the server itself never says it");
        leave(&partition);
        let log = open(&partition.server);
        assert_eq!(partition.commit(&log).await, Ok(false), "{state:?}: it had taken effect");
        let published = log.publish(&[message(2)]).await;
        assert_eq!(published, Ok(vec![Published::Stored]), "{state:?}: it had taken effect");
    });
}

/// Enough for the longest words of a server, which are those of MISCONF, and not for several answers.
fn assert_one_short_line(error: &LogError) {
    let line = error.to_string();
    assert!(line.len() < 500 && !line.contains('\n'), "{line}");
    assert!(!line.contains("EXECABORT") && !line.contains("Extension error"), "{line}");
}

fn expect(server: &RedisServer, command: &str, reply: &str) {
    let answer = server.send(command);
    assert!(answer.starts_with(reply), "{command}: {answer}");
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A state that one command brings about and another one ends.
fn compare_commands(state: FaultKind, enter: &str, leave: &str) {
    compare(
        state,
        Partition::on(RedisServer::start()),
        |partition| expect(&partition.server, enter, "+OK"),
        |partition| expect(&partition.server, leave, "+OK"),
    );
}

#[test]
fn a_server_out_of_memory_answers_no_worse_than_the_simulated_one() {
    let (enter, leave) = ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0");
    compare_commands(FaultKind::OutOfMemory, enter, leave);
}

#[test]
fn a_demoted_server_answers_no_worse_than_the_simulated_one() {
    let (enter, leave) = ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE");
    compare_commands(FaultKind::ReadOnly, enter, leave);
}

#[test]
fn a_server_that_misses_its_replicas_answers_no_worse_than_the_simulated_one() {
    let set = "CONFIG SET min-replicas-to-write";
    compare_commands(FaultKind::NoReplicas, &format!("{set} 1"), &format!("{set} 0"));
}

#[test]
fn a_server_that_withdraws_permission_answers_no_worse_than_the_simulated_one() {
    let partition = Partition::on(RedisServer::start());
    // What tests are sent through has to remain permitted.
    let (enter, leave) = ("ACL SETUSER default -@all +acl", "ACL SETUSER default +@all");
    compare(
        FaultKind::Denied,
        partition,
        |partition| expect(&partition.server, enter, "+OK"),
        |partition| expect(&partition.server, leave, "+OK"),
    );
}

#[test]
fn a_server_that_cannot_persist_answers_no_worse_than_the_simulated_one() {
    compare(
        FaultKind::Misconf,
        Partition::on(RedisServer::start()),
        |partition| {
            let server = &partition.server;
            // A folder is where its file would go.
            fs::create_dir(server.folder().join("dump.rdb")).expect("a folder can be made");
            expect(server, "CONFIG SET save \"3600 1000000\"", "+OK");
            expect(server, "BGSAVE", "+Background saving started");
            until("a failed save", || {
                server.send("INFO persistence").contains("rdb_last_bgsave_status:err")
            });
        },
        |partition| {
            fs::remove_dir(partition.server.folder().join("dump.rdb")).expect("it is empty");
            expect(&partition.server, "SAVE", "+OK");
        },
    );
}

#[test]
fn a_server_that_runs_a_script_without_end_answers_no_worse_than_the_simulated_one() {
    let partition = Partition::on(RedisServer::start());
    expect(&partition.server, "CONFIG SET busy-reply-threshold 1", "+OK");
    let address = ("127.0.0.1", partition.server.port());
    let mut caller = TcpStream::connect(address).expect("the server is there");
    compare(
        FaultKind::Busy,
        partition,
        |partition| {
            caller.write_all(b"EVAL \"while true do end\" 0\r\n").expect("can be sent");
            until("a busy script", || partition.server.send("PING").starts_with("-BUSY"));
        },
        |partition| {
            expect(&partition.server, "SCRIPT KILL", "+OK");
            until("an end", || partition.server.send("PING").starts_with("+PONG"));
        },
    );
}

#[test]
fn a_server_that_loads_its_data_answers_no_worse_than_the_simulated_one() {
    // While it loads it looks at requests after every so many bytes and waits before every key: far longer
    // in all than the requests take.
    let keys_are_large = ["--appendonly", "no", "--rdbcompression", "no"];
    let partition = Partition::on(RedisServer::start_with(&keys_are_large));
    let fill = "for n = 1, 5000 do redis.call('SET', 'other'..n, string.rep('x', 2000)) end";
    expect(&partition.server, &format!("EVAL \"{fill}\" 0"), "$-1");
    compare(
        FaultKind::Loading,
        partition,
        |partition| {
            expect(&partition.server, "SAVE", "+OK");
            partition.server.restart_loading(&[
                "--key-load-delay",
                "10000",
                "--loading-process-events-interval-bytes",
                "1024",
            ]);
        },
        |partition| {
            expect(&partition.server, "CONFIG SET key-load-delay 0", "+OK");
            until("loading", || partition.server.send("PING").starts_with("+PONG"));
        },
    );
}
