//! Servers that die, come back with less, or change their role.

use silvertine_conformance::log::draft::{message, name};
use silvertine_engine::log::{Applied, EventLog, IngressCursor, LogErrorKind};
use silvertine_testkit::redis_server::RedisServer;

use crate::{
    FOR_EVER, acquire, draft_after, everything, failure, first_draft, kind, log_on, run,
    until_waiting,
};

#[test]
fn a_server_killed_and_restarted_keeps_every_synced_commit() {
    let mut server = RedisServer::start_durable();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft();
        log.commit(&lease, &first.commit(&lease)).await.expect("commits");
        server.kill9();
        let second = draft_after(&first);
        let lost = failure(log.commit(&lease, &second.commit(&lease)).await);
        assert!(matches!(lost.kind, LogErrorKind::Unavailable { .. }), "{lost}");
        let refused = failure(log.commit(&lease, &second.commit(&lease)).await);
        assert_eq!(refused.applied, Applied::No, "nobody was there to take it: {refused}");
        server.restart();
        assert_eq!(everything(&log).await, first.entries);
        let committed = log.commit(&lease, &second.commit(&lease)).await.expect("commits");
        assert!(!committed.duplicate);
    });
}

#[test]
fn a_server_that_comes_back_with_less_is_recognised_by_its_head() {
    let mut server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft();
        log.commit(&lease, &first.commit(&lease)).await.expect("commits");
        server.send("SAVE");
        let second = draft_after(&first);
        log.commit(&lease, &second.commit(&lease)).await.expect("commits");
        server.restart();
        let third = draft_after(&second);
        let refused = loop {
            // The first answer may only say that the connection is gone.
            match kind(log.commit(&lease, &third.commit(&lease)).await) {
                LogErrorKind::Unavailable { .. } => {}
                other => break other,
            }
        };
        // The driver makes a lost tail of a head below the expected one.
        let expected = LogErrorKind::Conflict { expected: second.head(), head: first.head() };
        assert_eq!(refused, expected);
        assert_eq!(everything(&log).await, first.entries);
    });
}

/// Makes a replica of nobody, so that it never loads what another holds.
const DEMOTE: &str = "REPLICAOF 127.0.0.1 1";

#[test]
fn a_demoted_server_is_left_and_dialled_anew() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        server.send(DEMOTE);
        let first = first_draft();
        let refused = failure(log.commit(&lease, &first.commit(&lease)).await);
        assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::No);
        // Dialled anew, the role is checked: by then no command is even sent.
        let refused = failure(log.commit(&lease, &first.commit(&lease)).await);
        assert!(refused.to_string().contains("not a primary"), "{refused}");
    });
}

#[test]
fn publishing_to_a_demoted_server_stores_nothing_and_dials_anew() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        log.publish(&[message("p", 1)]).await.expect("publishes");
        server.send(DEMOTE);
        for reason in ["READONLY", "not a primary"] {
            let refused = failure(log.publish(&[message("p", 2)]).await);
            assert!(matches!(refused.kind, LogErrorKind::RefusesWrites { .. }), "{refused}");
            assert!(refused.to_string().contains(reason), "{refused}");
            assert_eq!(refused.applied, Applied::No);
        }
    });
}

#[test]
fn a_reader_waiting_on_a_server_that_is_demoted_is_told() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        log.publish(&[message("p", 1)]).await.expect("publishes");
        let cursor = IngressCursor::from([(name("p"), 1)]);
        let reader = tokio::spawn({
            let (log, cursor) = (log.clone(), cursor.clone());
            async move { log.ingress(None, &cursor, 10, FOR_EVER).await }
        });
        until_waiting(&server, 1).await;
        server.send(DEMOTE);
        let told = failure(reader.await.expect("ends"));
        assert!(matches!(told.kind, LogErrorKind::Unavailable { .. }), "{told}");
        assert_eq!(told.applied, Applied::No, "a read changes nothing: {told}");
        let refused = failure(log.ingress(None, &cursor, 10, FOR_EVER).await);
        assert!(refused.to_string().contains("not a primary"), "{refused}");
    });
}

#[test]
fn a_write_to_a_server_that_falls_silent_may_have_taken_effect_and_a_read_has_not() {
    let mut server = RedisServer::start_durable();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        let first = first_draft();
        server.kill9();
        let write = failure(log.commit(&lease, &first.commit(&lease)).await);
        assert_eq!(write.applied, Applied::Maybe, "{write}");
        server.restart();
        log.head().await.expect("dials anew");
        server.kill9();
        let read = failure(log.head().await);
        assert_eq!(read.applied, Applied::No, "{read}");
        assert!(matches!(read.kind, LogErrorKind::Unavailable { .. }), "{read}");
    });
}
