//! Commits, trims and what they answer when the server has forgotten scripts or more.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use silvertine_conformance::log::draft::{BOB, CAROL, Draft};
use silvertine_engine::{
    event::{Topic, TopicSet},
    log::{CommitId, EventLog, LogErrorKind, RangeQuery},
    pos::Pos,
};
use silvertine_testkit::redis_server::RedisServer;

use crate::{acquire, draft_after, everything, first_draft, kind, log_on, run};

#[test]
fn what_was_committed_is_read_back() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let draft = first_draft().with_snapshot(b"snapshot", Pos::ZERO);
        let committed = log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
        assert_eq!((committed.head, committed.duplicate), (draft.head(), false));
        assert_eq!(everything(&log).await, draft.entries);
        assert_eq!(log.snapshot(draft.head()).await, Ok(Some(b"snapshot".to_vec())));
        let again = log.commit(&lease, &draft.commit(&lease)).await.expect("is recognised");
        assert_eq!((again.head, again.duplicate), (draft.head(), true));
    });
}

#[test]
fn a_server_that_forgot_the_scripts_gets_them_again() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let mut draft = first_draft();
        for _ in 0..3 {
            server.send("SCRIPT FLUSH");
            let committed = log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
            assert!(!committed.duplicate);
            draft = draft_after(&draft);
        }
    });
}

#[test]
fn a_fenced_owner_can_neither_commit_nor_trim() {
    let server = RedisServer::start();
    run(async {
        let (early, late) = (log_on(&server), log_on(&server));
        let old = acquire(&early).await;
        let draft = first_draft().with_snapshot(b"snapshot", Pos::ZERO);
        early.commit(&old, &draft.commit(&old)).await.expect("commits");
        let new = late.acquire(BOB, b"").await.expect("acquires").lease;
        let fenced = LogErrorKind::Fenced { ours: old.epoch, current: new.epoch };
        let next = draft_after(&draft);
        assert_eq!(kind(early.commit(&old, &next.commit(&old)).await), fenced);
        assert_eq!(kind(early.trim(&old, draft.head()).await), fenced);
        assert_eq!(everything(&late).await, draft.entries);
        let newest = late.acquire(CAROL, b"").await.expect("acquires").lease;
        assert!(newest.epoch > new.epoch);
    });
}

#[test]
fn an_owner_of_the_same_epoch_but_another_name_is_fenced() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        // As after a failover that lost an acquisition: the epoch comes again with another owner.
        server.send(&format!("HSET sv:{{p}}:meta owner {BOB}"));
        let refused = kind(log.commit(&lease, &first_draft().commit(&lease)).await);
        assert_eq!(refused, LogErrorKind::Fenced { ours: lease.epoch, current: lease.epoch });
    });
}

#[test]
fn a_partition_that_was_flushed_away_is_gone() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        server.send("FLUSHALL");
        let refused = kind(log.commit(&lease, &first_draft().commit(&lease)).await);
        assert_eq!(refused, LogErrorKind::Gone);
        assert!(server.send("DBSIZE").starts_with(":0"));
    });
}

#[test]
fn positions_beyond_what_a_double_holds_are_kept_exactly() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        // 2^53 and its neighbours are one and the same number to Lua.
        let base = 9_007_199_254_740_990;
        // As if everything before had been trimmed.
        let mut head = Pos { ms: 9_007_199_254_740, seq: base - 1 };
        server.send(&format!("HSET sv:{{p}}:meta head {head} trimmed {head}"));
        let after = head;
        let mut digest = silvertine_engine::digest::Digest::EMPTY;
        for step in 0..6 {
            let mut draft = Draft::on(head, digest, &[Topic::Fill]);
            let pos = Pos { ms: head.ms, seq: base + step };
            let event = silvertine_conformance::log::draft::entry(pos, Topic::Fill);
            draft.entries.clear();
            digest = digest.chain(draft.entries.push(&event));
            draft.digest = digest;
            log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
            head = draft.head();
        }
        let only = RangeQuery { after, topics: TopicSet::of(&[Topic::Fill]), limit: 10 };
        let page = log.range(only).await.expect("reads");
        let read: Vec<u64> = page.entries.iter().map(|entry| entry.pos.seq - base).collect();
        assert_eq!(read, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn trimming_stops_at_a_snapshot_and_readers_below_are_told() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft().with_snapshot(b"1", Pos::ZERO);
        log.commit(&lease, &first.commit(&lease)).await.expect("commits");
        let second = draft_after(&first).with_snapshot(b"2", Pos::ZERO);
        log.commit(&lease, &second.commit(&lease)).await.expect("commits");
        assert_eq!(log.trim(&lease, first.head()).await, Ok(5));
        let told = kind(log.range(RangeQuery::all_after(Pos::ZERO)).await);
        assert_eq!(told, LogErrorKind::Trimmed { through: first.head() });
        let rest = log.range(RangeQuery::all_after(first.head())).await.expect("reads");
        assert_eq!(rest.entries, second.entries);
    });
}

#[test]
fn a_reader_beside_a_trimming_owner_reads_without_holes_or_is_told() {
    let server = RedisServer::start();
    let (stop, pages) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let readers: Vec<_> = [TopicSet::ALL, TopicSet::of(&[Topic::MarketData])]
            .into_iter()
            .map(|topics| {
                let (server, stop, pages) = (&server, &stop, &pages);
                scope.spawn(move || run(read_until(server, topics, stop, pages)))
            })
            .collect();
        run(async {
            let log = log_on(&server);
            let lease = acquire(&log).await;
            let mut draft = Draft::on(Pos::ZERO, silvertine_engine::digest::Digest::EMPTY, &[]);
            let mut commits = 0;
            // Until somebody has read something, however slowly the readers are scheduled.
            while commits < 600 || pages.load(Ordering::Relaxed) == 0 {
                if readers.iter().any(thread::ScopedJoinHandle::is_finished) {
                    break;
                }
                commits += 1;
                let topics = Topic::ALL.repeat(8);
                let next = Draft::on(draft.head(), draft.digest, &topics);
                let next = next.with_snapshot(b"s", draft.head());
                log.commit(&lease, &next.commit(&lease)).await.expect("commits");
                log.trim(&lease, next.head()).await.expect("trims");
                draft = next;
            }
        });
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("reads"));
    });
}

/// Reads behind the newest trimmed position again and again, and counts the pages.
async fn read_until(
    server: &RedisServer,
    topics: TopicSet,
    stop: &AtomicBool,
    pages: &AtomicUsize,
) {
    let log = log_on(server);
    while !stop.load(Ordering::Relaxed) {
        let Some(head) = log.head().await.expect("reads") else { continue };
        match log.range(RangeQuery { after: head.trimmed, topics, limit: 100 }).await {
            // Every topic comes once in five entries, so each shows a hole.
            Ok(page) => {
                let mut expected = head.trimmed.seq + 1;
                for entry in page.entries.iter() {
                    assert_eq!(entry.pos.seq, expected, "{topics:?} shows a hole");
                    expected += if topics == TopicSet::ALL { 1 } else { 5 };
                }
                pages.fetch_add(usize::from(!page.entries.is_empty()), Ordering::Relaxed);
            }
            Err(error) => assert!(matches!(error.kind, LogErrorKind::Trimmed { .. }), "{error}"),
        }
    }
}

#[test]
fn a_commit_that_leaves_numbers_out_is_refused() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft();
        log.commit(&lease, &first.commit(&lease)).await.expect("commits");
        let mut draft = draft_after(&draft_after(&first));
        draft.expected = first.head();
        let refused = kind(log.commit(&lease, &draft.commit(&lease)).await);
        assert!(matches!(refused, LogErrorKind::Invalid { .. }), "{refused}");
        assert_eq!(everything(&log).await, first.entries);
    });
}

#[test]
fn a_commit_of_nothing_but_a_checkpoint_keeps_the_head() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let draft = first_draft();
        log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
        let mut empty = Draft::on(draft.head(), draft.digest, &[]);
        empty.checkpoint = b"later".to_vec();
        let mut commit = empty.commit(&lease);
        commit.id = CommitId(7);
        assert_eq!(log.commit(&lease, &commit).await.expect("commits").head, draft.head());
        let acquired = log.acquire(BOB, b"").await.expect("acquires");
        assert_eq!(acquired.checkpoint, b"later");
    });
}
