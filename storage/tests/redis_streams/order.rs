//! Groups that handle messages with the same ordering key one after the other.

use std::time::{Duration, Instant};

use silvertine_engine::{span::Span, time::Nanos};
use silvertine_streams::{Settled, StreamSpec, Streams, Why};

use crate::bed::{
    Bed, both, dead, done, group_spec, member, message, release, retry, run, stream, texts,
};

async fn ordered() -> Bed {
    let mut group = group_spec();
    group.order_by = Some("pair".to_owned());
    Bed::new(StreamSpec::new(stream()).with_group(group)).await
}

async fn publish(bed: &Bed, pairs: &[&str]) {
    let number = |(n, pair): (usize, &&str)| message(&format!("{pair}{n}")).with("pair", *pair);
    bed.publish(pairs.iter().enumerate().map(number).collect()).await;
}

#[test]
fn the_next_with_the_same_key_comes_when_the_one_before_is_done() {
    run(async {
        let bed = ordered().await;
        publish(&bed, &["btc", "btc", "eth", "btc", "eth"]).await;
        let first = bed.poll("a").await.deliveries;
        assert_eq!(texts(&first), ["btc0", "eth2"]);
        let counts = bed.counts().await;
        assert_eq!((counts.held, counts.parked), (2, 3));
        assert_eq!(bed.poll("b").await.deliveries, []);

        // A retry keeps the others waiting.
        bed.settle("a", &[retry(&first[0].id, 1, Span::ZERO)]).await;
        let again = bed.poll("b").await.deliveries;
        assert_eq!((texts(&again), again[0].why), (vec!["btc0".to_owned()], Why::Due));
        assert_eq!(bed.settle("b", &[done(&again[0].id)]).await, [Settled::Applied]);
        let next = bed.poll("b").await.deliveries;
        assert_eq!((texts(&next), next[0].deliveries), (vec!["btc1".to_owned()], 1));
        let letter = dead(&next[0].id, next[0].message.clone());
        assert_eq!(bed.settle("b", &[letter]).await, [Settled::Applied]);
        assert_eq!(texts(&bed.poll("b").await.deliveries), ["btc3"]);
        bed.settle("a", &[release(&first[1].id)]).await;
        let eth = bed.poll("b").await.deliveries;
        assert_eq!(texts(&eth), ["eth2"]);
        bed.settle("b", &[done(&eth[0].id)]).await;
        assert_eq!(texts(&bed.poll("a").await.deliveries), ["eth4"]);
        bed.counts().await;
    });
}

#[test]
fn a_member_that_waits_is_woken_when_a_key_is_free() {
    run(async {
        let bed = ordered().await;
        publish(&bed, &["btc", "btc"]).await;
        let first = bed.poll("a").await.deliveries;
        let before = Instant::now();
        let waiting = bed.poll_with("b", |poll| poll.wait = Duration::from_secs(60));
        let settling = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bed.settle("a", &[done(&first[0].id)]).await;
        };
        let (woken, _) = both(waiting, settling).await;
        assert_eq!(texts(&woken.expect("polls").deliveries), ["btc1"]);
        assert!(before.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn a_holder_that_dies_or_leaves_hands_its_turn_on_with_the_message() {
    run(async {
        let bed = ordered().await;
        publish(&bed, &["btc", "btc"]).await;
        bed.poll("a").await;
        assert_eq!(texts(&bed.poll_until("b").await), ["btc0"]);
        bed.streams.leave(&member("b"), Nanos::ZERO).await.expect("leaves");
        let third = bed.poll("c").await.deliveries;
        assert_eq!(texts(&third), ["btc0"]);
        bed.settle("c", &[done(&third[0].id)]).await;
        assert_eq!(texts(&bed.poll("c").await.deliveries), ["btc1"]);
    });
}

#[test]
fn messages_parked_in_great_number_are_looked_through() {
    run(async {
        let bed = ordered().await;
        let mut pairs = vec!["btc"; 2500];
        pairs.push("eth");
        publish(&bed, &pairs).await;
        assert_eq!(texts(&bed.poll("a").await.deliveries), ["btc0"]);
        assert_eq!(texts(&bed.poll("a").await.deliveries), ["eth2500"]);
        assert_eq!(bed.counts().await.parked, 2499);
    });
}

#[test]
fn what_is_parked_is_free_when_order_is_given_up() {
    run(async {
        let bed = ordered().await;
        publish(&bed, &["btc", "btc", "btc"]).await;
        bed.poll("a").await;
        let bed = Bed::on(bed.server, vec![crate::bed::spec()]).await;
        assert_eq!(texts(&bed.poll_until("b").await), ["btc1", "btc2"]);
        assert_eq!(bed.counts().await.held, 3);
    });
}
