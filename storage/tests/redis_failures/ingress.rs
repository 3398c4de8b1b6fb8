//! Messages of producers: duplicates, waiting, and what a waiting reader must not hold up.

use std::time::Duration;

use silvertine_conformance::log::draft::{message, name};
use silvertine_engine::log::{Applied, EventLog, IngressCursor, LogErrorKind, Published};
use silvertine_testkit::redis_server::RedisServer;

use crate::{FOR_EVER, acquire, failure, first_draft, log_at, log_on, run, until_waiting};

#[test]
fn a_repeated_message_is_a_duplicate() {
    use Published::{Duplicate, Stored};
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let sent = [message("p", 1), message("q", 7), message("p", 1), message("q", 3)];
        assert_eq!(log.publish(&sent).await, Ok(vec![Stored, Stored, Duplicate, Duplicate]));
        assert_eq!(log_on(&server).publish(&sent[..2]).await, Ok(vec![Duplicate; 2]));
        assert!(log.publish(&[message("p", 0)]).await.is_err(), "a producer counts from one");
    });
}

#[test]
fn a_message_that_cannot_be_stored_is_named_and_its_neighbours_may_be_in() {
    let server = RedisServer::start();
    server.send("SET sv:{p}:in:q precious");
    run(async {
        let log = log_on(&server);
        let sent = [message("q", 1), message("p", 1), message("p", 2)];
        let refused = failure(log.publish(&sent).await);
        assert!(matches!(refused.kind, LogErrorKind::Foreign { .. }), "{refused}");
        assert!(refused.to_string().contains("message 1 of q"), "{refused}");
        assert_eq!(refused.applied, Applied::Maybe);
        assert_eq!(log.publish(&sent[1..]).await, Ok(vec![Published::Duplicate; 2]));
        let alone = failure(log.publish(&sent[..2]).await);
        assert_eq!(alone.applied, Applied::No, "nothing was stored: {alone}");
    });
}

#[test]
fn producers_that_cannot_be_registered_are_an_error_although_their_messages_are_in() {
    let server = RedisServer::start();
    server.send("SET sv:{p}:producers precious");
    run(async {
        let refused = failure(log_on(&server).publish(&[message("p", 1)]).await);
        assert!(matches!(refused.kind, LogErrorKind::Foreign { .. }), "{refused}");
        assert!(refused.to_string().contains("sv:{p}:producers"), "{refused}");
        assert_eq!(refused.applied, Applied::Maybe);
    });
}

#[test]
fn messages_before_a_refused_transaction_may_be_in() {
    let server = RedisServer::start();
    server.send("ACL SETUSER narrow on >secret ~sv:{p}:producers ~sv:{p}:in:p +@all");
    run(async {
        let log = log_at(format!("redis://narrow:secret@127.0.0.1:{}", server.port()));
        // More than go into one transaction, and one at the end that is not permitted.
        let mut sent: Vec<_> = (1..=300).map(|seq| message("p", seq)).collect();
        sent.push(message("q", 1));
        let refused = failure(log.publish(&sent).await);
        assert!(matches!(refused.kind, LogErrorKind::Denied { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::Maybe);
        let refused = failure(log.publish(&sent[256..]).await);
        assert_eq!(refused.applied, Applied::No, "a transaction is all or nothing: {refused}");
    });
}

#[test]
fn a_waiting_reader_holds_up_nobody_and_is_woken() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        log.publish(&[message("p", 1)]).await.expect("publishes");
        let cursor = IngressCursor::from([(name("p"), 1)]);
        let reader = tokio::spawn({
            let (log, cursor) = (log.clone(), cursor.clone());
            async move { log.ingress(None, &cursor, 10, FOR_EVER).await }
        });
        until_waiting(&server, 1).await;
        let first = first_draft();
        log.commit(&lease, &first.commit(&lease)).await.expect("commits meanwhile");
        let second = log.ingress(None, &cursor, 10, Duration::from_millis(1)).await;
        assert_eq!(second, Ok(Vec::new()), "nor does it hold up a reader");
        log.publish(&[message("p", 2)]).await.expect("publishes meanwhile");
        assert_eq!(reader.await.expect("ends"), Ok(vec![message("p", 2)]));
    });
}

#[test]
fn a_reader_that_is_cancelled_leaves_no_waiting_connection_behind() {
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
        reader.abort();
        until_waiting(&server, 0).await;
        let next = log.ingress(None, &cursor, 10, Duration::from_millis(1)).await;
        assert_eq!(next, Ok(Vec::new()), "not behind the cancelled one");
    });
}

#[test]
fn a_wait_longer_than_the_time_out_of_the_client_library_is_no_error() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        log.publish(&[message("p", 1)]).await.expect("publishes");
        let cursor = IngressCursor::from([(name("p"), 1)]);
        // The library's own default would end this after 500 ms.
        let answer = log.ingress(None, &cursor, 10, Duration::from_millis(900)).await;
        assert_eq!(answer, Ok(Vec::new()));
    });
}

#[test]
fn a_producer_that_appears_later_is_noticed() {
    let server = RedisServer::start();
    run(async {
        let log = log_on(&server);
        assert_eq!(
            log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO).await,
            Ok(Vec::new())
        );
        log_on(&server).publish(&[message("z", 4), message("a", 9)]).await.expect("publishes");
        let found = log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO).await;
        assert_eq!(found, Ok(vec![message("a", 9), message("z", 4)]), "sorted by producer");
        let ahead = IngressCursor::from([(name("a"), 50), (name("z"), 4)]);
        assert_eq!(log.ingress(None, &ahead, 10, Duration::ZERO).await, Ok(Vec::new()));
    });
}

#[test]
fn an_owner_reads_its_ingress_on_a_server_that_is_out_of_memory() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    run(async {
        let log = log_on(&server);
        let lease = acquire(&log).await;
        log.publish(&[message("p", 1)]).await.expect("publishes");
        server.send("CONFIG SET maxmemory 1");
        let waiting = log.ingress(Some(&lease), &IngressCursor::new(), 10, Duration::ZERO).await;
        assert_eq!(waiting.expect("reads"), [message("p", 1)]);
    });
}
