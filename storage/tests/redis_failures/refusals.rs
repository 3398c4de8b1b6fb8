//! Servers that refuse: what the error says, whether it took effect, and that nothing half-done remains.

use silvertine_conformance::log::draft::{ALICE, message, name};
use silvertine_engine::{
    log::{Advice, Applied, EventLog, IngressCursor, LogErrorKind, RangeQuery},
    pos::Pos,
};
use silvertine_testkit::redis_server::RedisServer;

use crate::{acquire, draft_after, everything, failure, first_draft, kind, log_at, log_on, run};

#[test]
fn a_server_out_of_memory_refuses_a_commit_whole() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft().with_snapshot(b"snapshot", Pos::ZERO);
        log.commit(&lease, &first.commit(&lease)).await.expect("commits");
        server.send("CONFIG SET maxmemory 1");
        let second = draft_after(&first).with_snapshot(b"another", Pos::ZERO);
        let refused = failure(log.commit(&lease, &second.commit(&lease)).await);
        assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::No);
        assert_eq!(everything(&log).await, first.entries, "reading goes on");
        server.send("CONFIG SET maxmemory 0");
        assert!(!log.commit(&lease, &second.commit(&lease)).await.expect("commits").duplicate);
    });
}

#[test]
fn a_message_refused_for_want_of_memory_can_be_sent_again() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    run(async {
        let log = log_on(&server);
        let messages: Vec<_> = (1..=600).map(|seq| message("p", seq)).collect();
        server.send("CONFIG SET maxmemory 1");
        let refused = failure(log.publish(&messages).await);
        assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::No);
        server.send("CONFIG SET maxmemory 0");
        log.publish(&messages).await.expect("publishes");
        let waiting =
            log.ingress(None, &IngressCursor::new(), 1_000, std::time::Duration::ZERO).await;
        assert_eq!(waiting.expect("reads"), messages);
    });
}

#[test]
fn a_user_without_permission_is_denied_and_not_asked_to_retry() {
    let server = RedisServer::start();
    server.send("ACL SETUSER reader on >secret ~* +@read +@connection +info +role");
    run(async {
        acquire(&log_on(&server)).await;
        let log = log_at(format!("redis://reader:secret@127.0.0.1:{}", server.port()));
        assert_eq!(everything(&log).await.len(), 0, "reading is permitted");
        for refused in
            [failure(log.acquire(ALICE, b"").await), failure(log.publish(&[message("p", 1)]).await)]
        {
            assert!(matches!(refused.kind, LogErrorKind::Denied { .. }), "{refused}");
            assert_eq!(refused.advice(), Advice::GiveUp);
            assert_eq!(refused.applied, Applied::No);
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    });
}

#[test]
fn a_user_without_permission_for_transactions_is_denied_and_told_whether_messages_are_in() {
    let server = RedisServer::start();
    run(async {
        // Without MULTI the server runs each command alone; without EXEC it runs none.
        for (missing, applied) in [("multi", Applied::Maybe), ("exec", Applied::No)] {
            server.send(&format!("ACL SETUSER {missing} on >secret ~* +@all -{missing}"));
            let url = format!("redis://{missing}:secret@127.0.0.1:{}", server.port());
            let refused = failure(log_at(url).publish(&[message(missing, 1)]).await);
            assert!(matches!(refused.kind, LogErrorKind::Denied { .. }), "{refused}");
            assert_eq!(refused.applied, applied, "{refused}");
            let stored = server.send(&format!("EXISTS sv:{{p}}:in:{missing}")).starts_with(":1");
            assert_eq!(stored, applied == Applied::Maybe, "{missing}");
        }
    });
}

#[test]
fn a_wrong_password_is_denied_and_never_shown() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    run(async {
        for credentials in ["", ":hunter2@", "nobody:hunter2@"] {
            let log = log_at(format!("redis://{credentials}127.0.0.1:{}", server.port()));
            let refused = failure(log.head().await);
            assert!(matches!(refused.kind, LogErrorKind::Denied { .. }), "{refused}");
            assert_eq!(refused.applied, Applied::No);
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
        let log = log_at(format!("redis://:right@127.0.0.1:{}", server.port()));
        assert_eq!(log.head().await, Ok(None));
    });
}

#[test]
fn an_unreachable_server_is_unavailable_and_nothing_was_done() {
    run(async {
        let refused = failure(log_at("redis://127.0.0.1:1".to_owned()).head().await);
        let why = "connection refused".to_owned();
        assert_eq!(refused.kind, LogErrorKind::Unavailable { why });
        assert_eq!(refused.applied, Applied::No);
    });
}

#[test]
fn a_replica_is_refused_before_anything_is_written() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.send(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    run(async {
        let refused = failure(log_on(&replica).acquire(ALICE, b"").await);
        assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::No);
    });
}

#[test]
fn a_key_of_another_kind_under_our_name_is_named_and_left_alone() {
    let server = RedisServer::start();
    run(async {
        for key in ["meta", "snap", "s:market_data", "s:system", "producers"] {
            let key = format!("sv:{{p}}:{key}");
            server.send("FLUSHALL");
            server.send(&format!("SET {key} precious"));
            let refused = failure(log_on(&server).acquire(ALICE, b"").await);
            assert!(matches!(refused.kind, LogErrorKind::Foreign { .. }), "{refused}");
            assert!(refused.to_string().contains(&key), "{refused}");
            assert!(server.send("DBSIZE").starts_with(":1"), "nothing else was written");
        }
    });
}

#[test]
fn a_key_that_turns_foreign_under_an_owner_refuses_the_commit_whole() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        log.publish(&[message("q", 1)]).await.expect("publishes");
        for key in ["snap", "s:fill", "s:system", "in:q"] {
            let key = format!("sv:{{p}}:{key}");
            server.send(&format!("DEL {key}"));
            server.send(&format!("SET {key} precious"));
            let mut draft = first_draft().with_snapshot(b"snapshot", Pos::ZERO);
            draft.ingress_done = Some(IngressCursor::from([(name("q"), 1)]));
            let refused = failure(log.commit(&lease, &draft.commit(&lease)).await);
            assert!(matches!(refused.kind, LogErrorKind::Foreign { .. }), "{key}: {refused}");
            assert_eq!(refused.applied, Applied::No, "{key}");
            server.send(&format!("DEL {key}"));
            assert_eq!(everything(&log).await.len(), 0, "{key}");
        }
    });
}

#[test]
fn a_stream_that_somebody_else_wrote_into_refuses_the_commit() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        server.send("XADD sv:{p}:s:order 99999999999999-1 e x");
        let draft = first_draft();
        let refused = kind(log.commit(&lease, &draft.commit(&lease)).await);
        assert!(matches!(refused, LogErrorKind::Foreign { .. }), "{refused}");
        assert!(
            server.send("EXISTS sv:{p}:s:market_data").starts_with(":0"),
            "nothing was written"
        );
    });
}

#[test]
fn a_removed_or_altered_entry_is_reported_with_its_position() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let draft = first_draft();
        log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
        let damaged = draft.entries.iter().find(|entry| entry.topic.to_string() == "order");
        let at = damaged.expect("one of every topic").pos;
        server.send(&format!("XDEL sv:{{p}}:s:order {at}"));
        let missing = kind(log.range(RangeQuery::all_after(Pos::ZERO)).await);
        let LogErrorKind::Corrupt { why, .. } = missing else { panic!("{missing}") };
        assert_eq!(why, format!("entry number {} is missing before it", at.seq));

        server.send("DEL sv:{p}:s:order");
        server.send(&format!("XADD sv:{{p}}:s:order {at} e garbage"));
        let altered = kind(log.range(RangeQuery::all_after(Pos::ZERO)).await);
        assert!(
            matches!(altered, LogErrorKind::Corrupt { at: found, .. } if found == at.to_string())
        );
    });
}
