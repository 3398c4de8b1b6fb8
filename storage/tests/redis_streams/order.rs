//! Groups that handle messages with the same ordering key one after the other.

use std::time::{Duration, Instant};

use silvertine_engine::{span::Span, time::Nanos};
use silvertine_streams::{Settled, StreamSpec, Streams, Why};

use crate::fixture::{
    Fixture, both, dead, done, group_spec, member, message, release, retry, run, stream, texts,
};

async fn ordered() -> Fixture {
    let mut group = group_spec();
    group.order_by = Some("pair".to_owned());
    Fixture::new(StreamSpec::new(stream()).with_group(group)).await
}

async fn publish(fixture: &Fixture, pairs: &[&str]) {
    let number = |(n, pair): (usize, &&str)| message(&format!("{pair}{n}")).with("pair", *pair);
    fixture.publish(pairs.iter().enumerate().map(number).collect()).await;
}

#[test]
fn the_next_with_the_same_key_comes_when_the_one_before_is_done() {
    run(async {
        let fixture = ordered().await;
        publish(&fixture, &["btc", "btc", "eth", "btc", "eth"]).await;
        let first = fixture.fetch("a").await.deliveries;
        assert_eq!(texts(&first), ["btc0", "eth2"]);
        let counts = fixture.counts().await;
        assert_eq!((counts.held, counts.blocked), (2, 3));
        assert_eq!(fixture.fetch("b").await.deliveries, []);

        // A retry keeps the others waiting.
        fixture.settle("a", &[retry(&first[0].id, 1, Span::ZERO)]).await;
        let again = fixture.fetch("b").await.deliveries;
        assert_eq!((texts(&again), again[0].why), (vec!["btc0".to_owned()], Why::Due));
        assert_eq!(fixture.settle("b", &[done(&again[0].id)]).await, [Settled::Applied]);
        let next = fixture.fetch("b").await.deliveries;
        assert_eq!((texts(&next), next[0].deliveries), (vec!["btc1".to_owned()], 1));
        let letter = dead(&next[0].id, next[0].message.clone());
        assert_eq!(fixture.settle("b", &[letter]).await, [Settled::Applied]);
        assert_eq!(texts(&fixture.fetch("b").await.deliveries), ["btc3"]);
        fixture.settle("a", &[release(&first[1].id)]).await;
        let eth = fixture.fetch("b").await.deliveries;
        assert_eq!(texts(&eth), ["eth2"]);
        fixture.settle("b", &[done(&eth[0].id)]).await;
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["eth4"]);
        fixture.counts().await;
    });
}

#[test]
fn a_member_that_waits_is_woken_when_a_key_is_free() {
    run(async {
        let fixture = ordered().await;
        publish(&fixture, &["btc", "btc"]).await;
        let first = fixture.fetch("a").await.deliveries;
        let before = Instant::now();
        let waiting = fixture.fetch_with("b", |fetch| fetch.wait = Duration::from_secs(60));
        let settling = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fixture.settle("a", &[done(&first[0].id)]).await;
        };
        let (woken, _) = both(waiting, settling).await;
        assert_eq!(texts(&woken.expect("fetches").deliveries), ["btc1"]);
        assert!(before.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn a_holder_that_dies_or_leaves_hands_its_turn_on_with_the_message() {
    run(async {
        let fixture = ordered().await;
        publish(&fixture, &["btc", "btc"]).await;
        fixture.fetch("a").await;
        assert_eq!(texts(&fixture.fetch_until("b").await), ["btc0"]);
        fixture.streams.leave(&member("b"), Nanos::ZERO).await.expect("leaves");
        let third = fixture.fetch("c").await.deliveries;
        assert_eq!(texts(&third), ["btc0"]);
        fixture.settle("c", &[done(&third[0].id)]).await;
        assert_eq!(texts(&fixture.fetch("c").await.deliveries), ["btc1"]);
    });
}

#[test]
fn messages_blocked_in_great_number_are_looked_through() {
    run(async {
        let fixture = ordered().await;
        let mut pairs = vec!["btc"; 2500];
        pairs.push("eth");
        publish(&fixture, &pairs).await;
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["btc0"]);
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["eth2500"]);
        assert_eq!(fixture.counts().await.blocked, 2499);
    });
}

#[test]
fn what_is_blocked_is_free_when_order_is_given_up() {
    run(async {
        let fixture = ordered().await;
        publish(&fixture, &["btc", "btc", "btc"]).await;
        fixture.fetch("a").await;
        let fixture = Fixture::on(fixture.server, vec![crate::fixture::spec()]).await;
        assert_eq!(texts(&fixture.fetch_until("b").await), ["btc1", "btc2"]);
        assert_eq!(fixture.counts().await.held, 3);
    });
}
