//! Servers that die, refuse, or answer into the void.

use std::time::Duration;

use silvertine_engine::{log::Applied, pos::Pos, span::Span, time::Nanos};
use silvertine_storage::redis::RedisStreams;
use silvertine_streams::{
    FetchScope, Publication, Settled, StoreErrorKind, Streams, Topology, Why,
};

use crate::{
    fixture::{
        Fixture, bare_with, dead, done, keyed, message, numbered, retry, run, spec, stream, texts,
    },
    redis_server::RedisServer,
};

#[test]
fn everything_is_where_it_was_after_a_kill() {
    run(async {
        let mut fixture = Fixture::on(RedisServer::start_durable(), vec![spec()]).await;
        fixture.publish(numbered(0, 6)).await;
        let held =
            fixture.fetch_with("a", |fetch| fetch.limit = 5).await.expect("fetches").deliveries;
        let settlements = [
            done(&held[0].id),
            keyed(&held[1].id, "k", vec![Publication::new(stream(), message("out"))]),
            retry(&held[2].id, 3, Span::from_millis(200)),
            dead(&held[3].id, held[3].message.clone()),
        ];
        assert_eq!(fixture.settle("a", &settlements).await, [Settled::Applied; 4]);
        let before = fixture.stats().await;
        fixture.server.kill9();
        let error = fixture.fetch_with("a", |_| ()).await.expect_err("nobody is there");
        assert!(matches!(error.kind, StoreErrorKind::Unavailable { .. }), "{error}");
        fixture.server.restart();
        let after = fixture.stats().await;
        let counts = |stats: &silvertine_streams::StreamStats| {
            let group = &stats.groups[0];
            (stats.added, stats.dead, group.held, group.retrying, group.done, group.waiting)
        };
        assert_eq!(counts(&before), counts(&after));
        assert_eq!(fixture.settle("a", &settlements[..2]).await, [Settled::Lost; 2]);
        let mut rest = fixture.fetch_until("a").await;
        if rest.len() == 2 {
            rest.extend(fixture.fetch_until("a").await);
        }
        let retried = rest.iter().find(|one| one.why == Why::Due).expect("the retry");
        assert_eq!((&retried.id, retried.tries.attempts), (&held[2].id, 3));
        let own = fixture
            .fetch_with("a", |fetch| fetch.scope = FetchScope::WithOwn)
            .await
            .expect("fetches")
            .deliveries;
        assert!(texts(&own).contains(&"4".to_owned()), "{own:?}");
    });
}

#[test]
fn a_settlement_whose_answer_was_lost_is_sent_again() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let out = Publication::new(stream(), message("out"));
        fixture.publish(numbered(0, 1)).await;
        let held = fixture.fetch_new("a").await;
        fixture.server.freeze();
        let settlement = [keyed(&held[0].id, "k", vec![out])];
        let lost =
            tokio::time::timeout(Duration::from_millis(100), fixture.try_settle("a", &settlement));
        assert!(lost.await.is_err(), "a frozen server answers nothing");
        fixture.server.thaw();
        let again = fixture.settle("a", &settlement).await[0];
        assert!(again == Settled::Lost || again == Settled::Applied);
        let read = fixture.streams.read(&stream(), Pos::ZERO, 10).await.expect("reads");
        assert_eq!(read.len(), 2, "published once");
    });
}

#[test]
fn a_poll_that_is_dropped_while_it_waits_leaves_nothing_behind_that_is_not_asked_for() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let waiting = fixture.fetch_with("a", |fetch| fetch.wait = Duration::from_secs(60));
        let dropped = tokio::time::timeout(Duration::from_millis(100), waiting).await;
        assert!(dropped.is_err());
        fixture.publish(numbered(0, 1)).await;
        let mut found = fixture
            .fetch_with("a", |fetch| fetch.scope = FetchScope::WithOwn)
            .await
            .expect("fetches")
            .deliveries;
        if found.is_empty() {
            found = fixture.fetch_until("a").await;
        }
        assert_eq!(texts(&found), ["0"]);
    });
}

#[test]
fn a_server_without_memory_refuses_outputs_whole_and_lets_workers_finish() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 3)).await;
        let held =
            fixture.fetch_with("a", |fetch| fetch.limit = 2).await.expect("fetches").deliveries;
        fixture.server.send("CONFIG SET maxmemory 1");
        let emit = vec![Publication::new(stream(), message("out"))];
        let refused =
            fixture.try_settle("a", &[done(&held[0].id), keyed(&held[1].id, "k", emit)]).await;
        let error = refused.expect_err("no memory");
        assert!(matches!(error.kind, StoreErrorKind::RefusesWrites { .. }), "{error}");
        assert_eq!((error.applied, fixture.counts().await.held), (Applied::No, 2));
        for batch in [numbered(3, 4), numbered(3, 23)] {
            let error = fixture.publish_to(&stream(), batch).await.expect_err("no memory");
            assert!(matches!(error.kind, StoreErrorKind::RefusesWrites { .. }), "{error}");
            assert_eq!(error.applied, Applied::No);
        }
        assert_eq!(fixture.stats().await.added, 3);
        assert_eq!(fixture.settle("a", &[done(&held[0].id)]).await, [Settled::Applied]);
        let hour = Span::from_secs(3600);
        assert_eq!(fixture.settle("a", &[retry(&held[1].id, 1, hour)]).await, [Settled::Applied]);
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["2"]);
    });
}

#[test]
fn something_else_under_a_name_is_said_in_words() {
    run(async {
        let server = RedisServer::start();
        server.send("SET mgmt:trading:commands x");
        let topology = Topology::new(vec![spec()]);
        let streams = RedisStreams::open(&server.url(), topology).expect("a good URL");
        let error = streams.declare(Nanos::ZERO).await.expect_err("a string");
        assert!(
            matches!(&error.kind, StoreErrorKind::Foreign { why } if why.contains("holds a string, not a stream")),
            "{error}"
        );
        for count in [1, 20] {
            let messages = vec![Publication::new(stream(), message("x")); count];
            let error = streams.publish(&messages, Nanos::ZERO).await.expect_err("a string");
            assert!(matches!(error.kind, StoreErrorKind::Foreign { .. }), "{error}");
            assert!(error.to_string().contains("mgmt:trading:commands"), "{error}");
            assert_eq!(error.applied, Applied::No);
        }
    });
}

#[test]
fn what_no_topology_knows_and_what_cannot_be_a_message_is_invalid() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let empty = silvertine_streams::Message::default();
        let error =
            fixture.publish_to(&stream(), vec![message("x"), empty]).await.expect_err("empty");
        assert!(matches!(error.kind, StoreErrorKind::Invalid { .. }));
        assert_eq!(fixture.stats().await.added, 0);
        let unknown = silvertine_streams::StreamName::new("a:b").expect("a name");
        assert_eq!(fixture.streams.stream_stats(&unknown, Nanos::ZERO).await, Ok(None));
        assert!(fixture.streams.bury(&unknown, &[], Nanos::ZERO).await.is_err());
    });
}

#[test]
fn a_batch_is_trimmed_by_a_server_that_forgot_how() {
    run(async {
        let fixture = Fixture::new(bare_with(|spec| spec.max_len = Some(5))).await;
        fixture.publish(numbered(0, 12)).await;
        fixture.server.send("SCRIPT FLUSH");
        let ids = fixture.publish_to(&stream(), numbered(12, 24)).await.expect("publishes");
        let kept = fixture.streams.read(&stream(), Pos::ZERO, 100).await.expect("reads");
        assert_eq!(kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[7..]);
    });
}

#[test]
fn scripts_that_a_server_forgot_are_sent_again() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 1)).await;
        fixture.server.send("SCRIPT FLUSH");
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["0"]);
    });
}
