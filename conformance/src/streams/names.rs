//! Streams and their edges: declaring, publishing, relaying, reading, small records, what is refused.

use silvertine_engine::{log::Applied, pos::Pos};
use silvertine_streams::{
    Member, Message, Publication, StoreError, StoreErrorKind, Streams,
    message::{BYTES_MAX, FIELDS_MAX},
};

use super::{
    StreamsFixture,
    harness::{
        ANY, Harness, Setup, group, kind, letter, name, outputs, plain, spoken, stream, text, texts,
    },
};
use crate::breach::{Must, broken, ensure, ensure_eq};

pub async fn declaring_again_changes_nothing<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    harness.publish(&["1", "2"]).await;
    let first = harness.poll("a", super::harness::Ask { limit: 1, ..ANY }).await;
    ensure_eq!(texts(&first), ["1"]);
    let before = harness.stats_at_rest().await;
    harness.streams().declare(harness.now()).await.must("declares");
    harness.restart();
    harness.streams().declare(harness.now()).await.must("declares");
    let after = harness.stats_at_rest().await;
    ensure_eq!((after.groups[0].held, after.groups[0].waiting), (1, 1));
    ensure_eq!((after.added, after.length, after.last), (before.added, before.length, before.last));
}

pub async fn ids_rise_and_reading_pages_through_them<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let mut ids = harness.publish(&["1", "2", "3"]).await;
    harness.restart();
    ids.extend(harness.publish(&["4", "5"]).await);
    ensure!(ids.windows(2).all(|pair| pair[0].id < pair[1].id));
    let (mut after, mut seen) = (Pos::ZERO, Vec::new());
    loop {
        let page = harness.streams().read(&stream(), after, 2).await.must("reads");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        seen.extend(page.iter().map(|(id, message)| (*id, spoken(message))));
    }
    let expected = ids.iter().zip(["1", "2", "3", "4", "5"]);
    ensure_eq!(seen, expected.map(|(id, said)| (id.id, said.to_owned())).collect::<Vec<_>>());
    let stats = harness.stats().await;
    ensure_eq!((stats.last, stats.first), (ids[4].id, Some(ids[0].id)));
    let end = Pos { ms: u64::MAX, seq: u64::MAX };
    ensure_eq!(harness.streams().read(&stream(), end, 2).await, Ok(vec![]));
}

pub async fn a_message_comes_as_it_was_published<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let odd = Message::from_fields(vec![
        (b"data".to_vec(), vec![0, 255, 10]),
        (vec![], vec![]),
        (b"data".to_vec(), b"twice".to_vec()),
        (b"large".to_vec(), vec![7; 300_000]),
    ]);
    harness.publish_to(&stream(), std::slice::from_ref(&odd)).await;
    harness.restart();
    ensure_eq!(harness.poll("a", ANY).await[0].message.as_ref(), Some(&odd));
    let read = harness.streams().read(&stream(), Pos::ZERO, 1).await.must("reads");
    ensure_eq!(read[0].1, odd);
}

pub async fn relaying_again_adds_nothing<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let at = |ms, seq| (Pos { ms, seq }, Publication::new(stream(), text(&format!("{ms}-{seq}"))));
    let first = [at(5, 1), at(5, 2), at(9, 0)];
    ensure_eq!(harness.streams().relay(&first, harness.now()).await, Ok(3));
    ensure_eq!(harness.streams().relay(&first, harness.now()).await, Ok(0));
    harness.restart();
    let more = [at(5, 2), at(9, 0), at(9, 1)];
    ensure_eq!(harness.streams().relay(&more, harness.now()).await, Ok(1));
    ensure_eq!(harness.read(&stream()).await, ["5-1", "5-2", "9-0", "9-1"]);
    let taken = harness.poll("a", ANY).await;
    ensure_eq!(taken[3].id.id, Pos { ms: 9, seq: 1 });
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.accounted(), harness.stats().await.added), (4, 4, 4));
}

pub async fn a_record_is_replaced_only_where_it_is_as_expected<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let swap =
        async |harness: &Harness<F>, name: &str, expected: Option<&str>, new: Option<&str>| {
            let (expected, new) = (expected.map(str::as_bytes), new.map(str::as_bytes));
            harness.streams().swap_record(&stream(), name, expected, new).await.must("writes")
        };
    ensure!(!swap(&harness, "r", Some("x"), Some("y")).await);
    ensure!(swap(&harness, "r", None, Some("1")).await);
    ensure!(!swap(&harness, "r", None, Some("2")).await);
    ensure!(swap(&harness, "other", None, Some("")).await);
    harness.restart();
    ensure!(swap(&harness, "r", Some("1"), Some("2")).await);
    let read = async |name: &str| harness.streams().record(&stream(), name).await;
    ensure_eq!(read("r").await, Ok(Some(b"2".to_vec())));
    ensure_eq!(read("other").await, Ok(Some(Vec::new())));
    ensure!(swap(&harness, "r", Some("2"), None).await);
    ensure_eq!(read("r").await, Ok(None));
}

pub async fn names_that_the_topology_does_not_have_are_refused<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(plain()).await;
    let (streams, now, unknown) = (harness.streams(), harness.now(), name("no:such:stream"));
    let publication = Publication::new(unknown.clone(), text("x"));
    let good = Publication::new(stream(), text("x"));
    let invalid = |what: &str, error: Option<StoreError>| {
        let error = error.unwrap_or_else(|| broken!("{what} must be refused"));
        ensure!(matches!(error.kind, StoreErrorKind::Invalid { .. }), "{what}: {error}");
        ensure_eq!(error.applied, Applied::No, "{what}");
    };
    let published = streams.publish(&[good, publication.clone()], now).await;
    invalid("publish", published.err());
    ensure_eq!(harness.stats().await.added, 0, "all or none");
    invalid("relay", streams.relay(&[(Pos { ms: 1, seq: 1 }, publication)], now).await.err());
    invalid("read", streams.read(&unknown, Pos::ZERO, 1).await.err());
    invalid("dead letters", streams.dead_letters(&unknown, Pos::ZERO, 1).await.err());
    let id = harness.publish(&["1"]).await.remove(0);
    let letters = [letter(&id, "x")];
    invalid("bury", streams.bury(&unknown, &letters, now).await.err());
    invalid("amend", streams.amend(&unknown, &[], &[], now).await.err());
    invalid("record", streams.record(&unknown, "r").await.err());
    invalid("swap", streams.swap_record(&unknown, "r", None, None).await.err());
    ensure_eq!(streams.stream_stats(&unknown, now).await, Ok(None));
    let strangers = [
        Member { stream: unknown, ..harness.member("a") },
        Member { group: group("strangers"), ..harness.member("a") },
    ];
    for member in strangers {
        invalid("begin", streams.begin(&member, &[], now).await.err());
        invalid("settle", streams.settle(&member, &[], now).await.err());
        invalid("extend", streams.extend(&member, &[], now).await.err());
        invalid("leave", streams.leave(&member, now).await.err());
    }
}

pub async fn messages_beyond_the_limits_are_refused<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let harness = setup.open(plain()).await;
    let mut wide = Message::default();
    for _ in 0..=FIELDS_MAX {
        wide = wide.with("a", "b");
    }
    let large = Message::default().with("data", vec![0; BYTES_MAX - 3]);
    for message in [Message::default(), wide, large] {
        let both = [text("good"), message].map(|one| Publication::new(outputs(), one));
        let refused = kind(harness.streams().publish(&both, harness.now()).await);
        ensure!(matches!(refused, StoreErrorKind::Invalid { .. }));
    }
    ensure_eq!(harness.read(&outputs()).await, [""; 0]);
    harness
        .publish_to(&outputs(), &[Message::default().with("data", vec![0; BYTES_MAX - 4])])
        .await;
}
