//! How long a stream gets.

use silvertine_engine::span::Span;
use silvertine_streams::{
    Publication, Settled, StoreErrorKind, StreamSpec, Streams, Trim, WhenFull, Why,
};

use super::{
    StreamsFixture,
    harness::{
        ANY, Ask, DEAD_AFTER, Harness, LONG, Setup, dead, done, group, kind, plain, said, stream,
        text, texts,
    },
};
use crate::breach::{Must, ensure, ensure_eq};

fn short(when_full: WhenFull) -> StreamSpec {
    let mut spec = plain();
    spec.max_len = Some(5);
    spec.when_full = when_full;
    spec
}

async fn publish_many<F: StreamsFixture>(harness: &Harness<F>, numbers: std::ops::Range<u32>) {
    let many: Vec<String> = numbers.map(|n| n.to_string()).collect();
    harness.publish(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn handle_all<F: StreamsFixture>(harness: &Harness<F>) {
    let all = harness.poll("a", Ask { limit: 1_000, ..ANY }).await;
    harness.done("a", &all).await;
}

pub async fn a_stream_whose_messages_are_handled_keeps_exactly_its_maximum<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(short(WhenFull::Grow)).await;
    for from in [0, 10, 20] {
        for n in from..from + 10 {
            publish_many(&harness, n..n + 1).await;
            handle_all(&harness).await;
            let length = harness.stats().await.length;
            ensure_eq!(length, u64::from(n + 1).min(5));
        }
        harness.restart();
    }
    ensure_eq!(harness.read(&stream()).await, ["25", "26", "27", "28", "29"]);
    let stats = harness.stats().await;
    ensure_eq!((stats.added, stats.cut), (30, 0));
    let first = harness.streams().read(&stream(), Default::default(), 1).await.must("reads");
    ensure_eq!(stats.first, Some(first[0].0));
}

pub async fn a_stream_that_is_trimmed_approximately_does_not_grow_without_end<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut spec = short(WhenFull::Grow);
    spec.trim = Trim::Approximate;
    let harness = setup.open(spec).await;
    for n in 0..30 {
        publish_many(&harness, n * 20..n * 20 + 20).await;
        handle_all(&harness).await;
    }
    publish_many(&harness, 0..1).await;
    let length = harness.stats().await.length;
    ensure!((5..=205).contains(&length), "{length}");
}

pub async fn a_full_stream_grows_while_messages_are_not_handled<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(short(WhenFull::Grow)).await;
    publish_many(&harness, 0..12).await;
    ensure_eq!(harness.stats().await.length, 12);
    handle_all(&harness).await;
    publish_many(&harness, 12..13).await;
    let stats = harness.stats().await;
    ensure_eq!((stats.length, stats.cut), (5, 0));
    ensure_eq!(harness.counts().await.accounted(), 13);
}

pub async fn a_full_stream_refuses_until_a_group_has_caught_up<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(short(WhenFull::Refuse)).await;
    publish_many(&harness, 0..5).await;
    let one = [Publication::new(stream(), text("more"))];
    let refused = harness.streams().publish(&one, harness.now()).await;
    ensure!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }));
    ensure_eq!(harness.stats().await.length, 5);
    let first = harness.poll("a", Ask { limit: 2, ..ANY }).await;
    harness.done("a", &first[1..]).await;
    let refused = harness.streams().publish(&one, harness.now()).await;
    ensure!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }), "the oldest is held");
    harness.done("a", &first[..1]).await;
    for _ in 0..2 {
        harness.streams().publish(&one, harness.now()).await.must("there is room");
    }
    let two = [one[0].clone(), one[0].clone()];
    let refused = harness.streams().publish(&two, harness.now()).await;
    ensure!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }));
    let stats = harness.stats().await;
    ensure_eq!((stats.length, stats.added, stats.cut), (5, 7, 0));
}

pub async fn a_full_stream_cuts_the_oldest_and_says_how_many<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(short(WhenFull::Cut)).await;
    let ids = harness.publish(&["held", "retried", "new"]).await;
    harness.poll("a", Ask { limit: 2, ..ANY }).await;
    harness.settle("a", &ids[1], super::harness::retry(1, Span::from_millis(50))).await;
    publish_many(&harness, 0..10).await;
    let stats = harness.stats().await;
    ensure_eq!((stats.length, stats.added, stats.cut), (5, 13, 8));
    let counts = harness.counts().await;
    ensure_eq!((counts.waiting, counts.held, counts.retrying), (5, 1, 1));
    harness.restart();
    harness.pass(LONG).await;
    let gone = harness.poll("b", ANY).await;
    let shown: Vec<_> = gone.iter().map(|one| (said(one), one.why, one.id.clone())).collect();
    let gone_one = |why, id: usize| ("-".to_owned(), why, ids[id].clone());
    ensure_eq!(shown[..2], [gone_one(Why::Reclaimed, 0), gone_one(Why::Due, 1)]);
    ensure_eq!(texts(&gone[2..]), ["5", "6", "7", "8", "9"]);
    ensure_eq!(harness.settle("b", &ids[0], dead(&ids[0])).await, Settled::Applied);
    ensure_eq!(harness.settle("b", &ids[1], done("k")).await, Settled::Applied);
    harness.done("b", &gone[2..]).await;
    let counts = harness.counts().await;
    let lost_unseen = 6;
    ensure_eq!((counts.dead, counts.done), (1, 6));
    ensure_eq!(counts.accounted() + lost_unseen, 13);
    ensure_eq!(counts.oldest, None);
}

pub async fn old_messages_go_once_they_are_handled<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut spec = plain();
    spec.retention = Some(Span::from_millis(300));
    let mut harness = setup.open(spec).await;
    publish_many(&harness, 0..3).await;
    harness.poll("a", Ask { limit: 1, ..ANY }).await;
    harness.pass(LONG).await;
    publish_many(&harness, 3..4).await;
    ensure_eq!(harness.stats().await.length, 4, "none is handled");
    let all = harness.drain().await;
    ensure_eq!(texts(&all), ["0", "1", "2", "3"]);
    harness.done("undertaker", &all[..2]).await;
    publish_many(&harness, 4..5).await;
    ensure_eq!(harness.read(&stream()).await, ["2", "3", "4"]);
    harness.done("undertaker", &all[2..]).await;
    publish_many(&harness, 5..6).await;
    ensure_eq!(harness.read(&stream()).await, ["4", "5"], "what is young stays");
}

pub async fn the_slowest_group_and_what_is_pending_hold_messages_back<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let spec =
        short(WhenFull::Grow).with_group(silvertine_streams::GroupSpec::new(group("auditors")));
    let mut harness = setup.open(spec).await;
    publish_many(&harness, 0..8).await;
    handle_all(&harness).await;
    publish_many(&harness, 8..9).await;
    ensure_eq!(harness.stats().await.length, 9, "the auditors have seen none");
    harness.member_of = group("auditors");
    let taken = harness.poll("a", Ask { limit: 4, ..ANY }).await;
    harness.done("a", &taken[..1]).await;
    harness.settle("a", &taken[1].id, super::harness::retry(1, LONG)).await;
    harness.done("a", &taken[2..]).await;
    publish_many(&harness, 9..10).await;
    ensure_eq!(harness.read(&stream()).await[0], "1", "its retry waits");
    harness.pass(DEAD_AFTER).await;
    harness.pass(LONG).await;
    let due = harness.poll("a", Ask { limit: 1, ..ANY }).await;
    ensure_eq!(texts(&due), ["1"]);
    harness.done("a", &due).await;
    publish_many(&harness, 10..11).await;
    ensure_eq!(harness.read(&stream()).await[0], "4");
}

pub async fn a_stream_without_groups_keeps_its_newest<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut spec = StreamSpec::new(stream());
    spec.max_len = Some(5);
    spec.when_full = WhenFull::Refuse;
    let harness = setup.open(spec).await;
    publish_many(&harness, 0..20).await;
    ensure_eq!(harness.read(&stream()).await, ["15", "16", "17", "18", "19"]);
}
